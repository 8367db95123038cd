//! The source files of the tree, parsed.

use std::path::{Path, PathBuf};

use syn::{Attribute, Item};

use crate::error::{HouseError, Result};
use crate::metadata::Workspace;

/// One source file.
pub struct SourceFile {
    /// Path relative to the workspace, with `/`.
    pub path: String,
    /// Package that it belongs to; for files outside of the workspace's members, the first
    /// directory.
    pub package: String,
    /// Whether it only exists for tests, benchmarks or examples.
    pub is_test: bool,
    /// The text.
    pub text: String,
    /// The text, parsed.
    pub syntax: syn::File,
}

impl SourceFile {
    /// Parses one file.
    ///
    /// # Errors
    /// [`HouseError::Syntax`].
    pub fn parse(path: &str, package: &str, text: &str) -> Result<Self> {
        let syntax =
            syn::parse_file(text).map_err(|source| HouseError::Syntax { path: path.to_owned(), source })?;
        let is_test = ["tests", "benches", "examples"]
            .iter()
            .any(|folder| path.split('/').rev().skip(1).any(|part| part == *folder));
        Ok(Self {
            path: path.to_owned(),
            package: package.to_owned(),
            is_test,
            text: text.to_owned(),
            syntax,
        })
    }
}

/// Reads every `.rs` file below the workspace, sorted by path.
///
/// # Errors
/// [`HouseError::Read`] and [`HouseError::Syntax`].
pub fn read(workspace: &Workspace) -> Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    find(&workspace.root, &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .map_err(|source| HouseError::Read { path: path.clone(), source })?;
        let relative = path.strip_prefix(&workspace.root).unwrap_or(&path).to_string_lossy().into_owned();
        files.push(SourceFile::parse(&relative, package_of(workspace, &relative), &text)?);
    }
    mark_test_modules(&mut files);
    // The packages `tests` and `benches` are no tests of another package: they are measured like
    // others.
    for file in &mut files {
        if file.path.starts_with("tests/src/") || file.path.starts_with("benches/") {
            file.is_test = file.path.ends_with("/tests.rs");
        }
    }
    Ok(files)
}

/// Whether the attributes mark the item as for tests only.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

fn find(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let error = |source| HouseError::Read { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let entry = entry.map_err(error)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().map_err(error)?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                find(&path, paths)?;
            }
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The member with the longest directory in front of the path.
fn package_of<'a>(workspace: &'a Workspace, path: &'a str) -> &'a str {
    workspace
        .members
        .iter()
        .filter(|member| path.strip_prefix(&member.directory).is_some_and(|rest| rest.starts_with('/')))
        .max_by_key(|member| member.directory.len())
        .map_or_else(|| path.split('/').next().unwrap_or(path), |member| &member.name)
}

/// Files whose `mod` line stands behind `#[cfg(test)]`, and what lies below them.
fn mark_test_modules(files: &mut [SourceFile]) {
    let mut stems = Vec::new();
    for file in files.iter() {
        for item in &file.syntax.items {
            if let Item::Mod(module) = item
                && module.content.is_none()
                && is_for_tests(&module.attrs)
            {
                stems.push(format!("{}{}", directory_of_children(&file.path), module.ident));
            }
        }
    }
    for file in files {
        file.is_test |= stems.iter().any(|stem| {
            file.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
}

/// Directory, with a slash, in which the modules that a file declares are found.
fn directory_of_children(path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => format!("{directory}/"),
        _ => format!("{}/", path.trim_end_matches(".rs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tests_are_known_by_folder_and_by_declaration() {
        let mut files = vec![
            SourceFile::parse("a/src/lib.rs", "a", "mod b;\n#[cfg(test)] mod net;").unwrap(),
            SourceFile::parse("a/src/b.rs", "a", "#[cfg(test)]\nmod tests;\n#[cfg(not(test))] mod real;")
                .unwrap(),
            SourceFile::parse("a/src/b/tests.rs", "a", "").unwrap(),
            SourceFile::parse("a/src/b/real.rs", "a", "").unwrap(),
            SourceFile::parse("a/src/net/deep.rs", "a", "").unwrap(),
            SourceFile::parse("a/benches/speed.rs", "a", "").unwrap(),
        ];
        mark_test_modules(&mut files);
        let tests: Vec<bool> = files.iter().map(|file| file.is_test).collect();
        assert_eq!(tests, [false, false, true, false, true, true]);
    }

    #[test]
    fn a_file_belongs_to_the_innermost_member() {
        let member = |name: &str, directory: &str| crate::metadata::Member {
            name: name.into(),
            directory: directory.into(),
            ..Default::default()
        };
        let workspace = Workspace {
            members: vec![member("outer", "crates/x"), member("inner", "crates/x/y")],
            ..Workspace::default()
        };
        assert_eq!(package_of(&workspace, "crates/x/y/src/lib.rs"), "inner");
        assert_eq!(package_of(&workspace, "crates/x/src/lib.rs"), "outer");
        assert_eq!(package_of(&workspace, "fuzz/fuzz_targets/a.rs"), "fuzz");
    }
}
