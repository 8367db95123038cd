//! Public items that no other file names, and dependencies that no source names.

use std::collections::{BTreeMap, HashMap, HashSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemImpl, ItemMod, Visibility};

use crate::functions::type_name;
use crate::metadata::Workspace;
use crate::source::{SourceFile, is_for_tests};

/// Identifiers of each file; those in documentation are none.
pub struct Names {
    of_file: Vec<HashSet<String>>,
    files_with: HashMap<String, usize>,
}

impl Names {
    /// Reads the identifiers of all files.
    pub fn new(files: &[SourceFile]) -> Self {
        let mut of_file = Vec::new();
        let mut files_with: HashMap<String, usize> = HashMap::new();
        for file in files {
            let mut names = HashSet::new();
            if let Ok(tokens) = file.text.parse() {
                collect(tokens, &mut names);
            }
            for name in &names {
                *files_with.entry(name.clone()).or_default() += 1;
            }
            of_file.push(names);
        }
        Self { of_file, files_with }
    }
}

/// Public items of libraries that only their own file names: package → `name (path)`, sorted.
pub fn public_items(
    workspace: &Workspace,
    files: &[SourceFile],
    names: &Names,
) -> BTreeMap<String, Vec<String>> {
    let libraries: HashSet<&str> = workspace
        .members
        .iter()
        .filter(|member| member.has_library)
        .map(|member| member.name.as_str())
        .collect();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test && libraries.contains(file.package.as_str())) {
        let mut visitor = PublicItems::default();
        visitor.visit_file(&file.syntax);
        for (name, shown) in visitor.found {
            if names.files_with.get(&name).is_none_or(|&count| count <= 1) {
                found.entry(file.package.clone()).or_default().push(format!("{shown} ({})", file.path));
            }
        }
    }
    found
}

/// Dependencies that no source file of their package names: `package: crate`, sorted.
pub fn dependencies(workspace: &Workspace, files: &[SourceFile], names: &Names) -> Vec<String> {
    let mut found = Vec::new();
    for member in &workspace.members {
        for dependency in &member.dependencies {
            let named_in = |tests_too: bool| {
                std::iter::zip(files, &names.of_file).any(|(file, names)| {
                    file.package == member.name
                        && (tests_too || !file.is_test)
                        && names.contains(&dependency.crate_name)
                })
            };
            if !named_in(true) {
                found.push(format!("{}: {}", member.name, dependency.crate_name));
            } else if dependency.normal && !named_in(false) {
                found.push(format!("{}: {} (only tests name it)", member.name, dependency.crate_name));
            }
        }
    }
    found
}

fn collect(tokens: TokenStream, names: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => _ = names.insert(ident.to_string()),
            TokenTree::Group(group) => collect(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Name, and name as it is shown, of each public item.
#[derive(Default)]
struct PublicItems {
    owner: String,
    found: Vec<(String, String)>,
}

impl<'ast> Visit<'ast> for PublicItems {
    fn visit_item(&mut self, item: &'ast Item) {
        let (visibility, ident) = match item {
            Item::Const(item) => (&item.vis, &item.ident),
            Item::Enum(item) => (&item.vis, &item.ident),
            Item::Fn(item) => (&item.vis, &item.sig.ident),
            Item::Static(item) => (&item.vis, &item.ident),
            Item::Struct(item) => (&item.vis, &item.ident),
            Item::Trait(item) => (&item.vis, &item.ident),
            Item::Type(item) => (&item.vis, &item.ident),
            Item::Union(item) => (&item.vis, &item.ident),
            _ => return visit::visit_item(self, item),
        };
        if matches!(visibility, Visibility::Public(_)) {
            self.found.push((ident.to_string(), ident.to_string()));
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        if block.trait_.is_none() && !is_for_tests(&block.attrs) {
            self.owner = type_name(&block.self_ty);
            visit::visit_item_impl(self, block);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if matches!(function.vis, Visibility::Public(_)) {
            let name = function.sig.ident.to_string();
            let shown = format!("{}::{name}", self.owner);
            self.found.push((name, shown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Dependency, Member};

    fn example() -> (Workspace, Vec<SourceFile>) {
        let dependency = |name: &str| Dependency { crate_name: name.into(), normal: true };
        let member = Member {
            name: "x".into(),
            directory: "x".into(),
            has_library: true,
            dependencies: vec![dependency("absent"), dependency("present"), dependency("tested")],
            ..Member::default()
        };
        let text = concat!(
            "use present::P; pub fn lonely() {} pub fn called() {} pub(crate) fn inner() {} struct S;\n",
            "/// Text about lonely.\nimpl S { pub fn alone(&self) { lonely() } fn private(&self) {} }\n",
            "impl Clone for S { fn clone(&self) -> S { S } }"
        );
        let files = vec![
            SourceFile::parse("x/src/a.rs", "x", text).unwrap(),
            SourceFile::parse("x/tests/b.rs", "x", "/// About alone.\nfn f() { tested::t!(x::called()) }")
                .unwrap(),
        ];
        (Workspace { members: vec![member], ..Workspace::default() }, files)
    }

    #[test]
    fn public_items_that_no_other_file_names_are_found() {
        let (workspace, files) = example();
        let found = public_items(&workspace, &files, &Names::new(&files));
        assert_eq!(found["x"], ["lonely (x/src/a.rs)", "S::alone (x/src/a.rs)"]);
    }

    #[test]
    fn dependencies_that_no_source_names_are_found() {
        let (workspace, files) = example();
        let found = dependencies(&workspace, &files, &Names::new(&files));
        assert_eq!(found, ["x: absent", "x: tested (only tests name it)"]);
    }
}
