//! Circles of imports between the modules of a crate.
//!
//! A module imports another when it names it by a path that begins with `crate`, `self` or `super`,
//! in a `use` or in place. Tests do not count, nor do imports between a module and the modules
//! below it.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

use crate::metadata::Workspace;
use crate::source::{SourceFile, is_for_tests};

/// The circles of one crate.
#[derive(Debug, PartialEq, Eq)]
pub struct Circles {
    /// Package name, with the folder of the root file where a package has several.
    pub name: String,
    /// Number of modules directly below the root.
    pub folders: usize,
    /// Circles between these, each sorted.
    pub between_folders: Vec<Vec<String>>,
    /// Circles between single files, each sorted.
    pub between_files: Vec<Vec<String>>,
}

type Module = Vec<String>;
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Measures each library and binary that has more than one module. Library and binary in one folder
/// count as one crate.
pub fn measure(workspace: &Workspace, files: &[SourceFile]) -> Vec<Circles> {
    let mut folders: BTreeMap<String, &str> = BTreeMap::new();
    for member in &workspace.members {
        for root in &member.roots {
            if let Some((folder, _)) = root.rsplit_once('/') {
                folders.insert(format!("{folder}/"), &member.name);
            }
        }
    }
    let mut crates: BTreeMap<&str, Vec<&SourceFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test) {
        let innermost = folders
            .keys()
            .filter(|folder| file.path.starts_with(folder.as_str()))
            .max_by_key(|folder| folder.len());
        if let Some(folder) = innermost {
            crates.entry(folder).or_default().push(file);
        }
    }
    crates
        .iter()
        .map(|(&folder, files)| {
            let package = folders[folder];
            let several = folders.values().filter(|&&name| name == package).count() > 1;
            let name = if several { format!("{package} ({folder})") } else { package.to_owned() };
            of_crate(name, folder, files)
        })
        .filter(|circles| circles.folders > 1)
        .collect()
}

/// Measures the files of one crate, whose root files lie in `folder`.
fn of_crate(name: String, folder: &str, files: &[&SourceFile]) -> Circles {
    let modules: BTreeSet<Module> = files.iter().map(|file| module_of(folder, &file.path)).collect();
    let mut graph = Graph::new();
    for file in files {
        let module = module_of(folder, &file.path);
        let mut visitor = Imports { at: module.clone(), found: Vec::new() };
        visitor.visit_file(&file.syntax);
        let targets = visitor.found.iter().filter_map(|path| longest_module(&modules, path));
        graph.entry(module.clone()).or_default().extend(targets.filter(|target| !target.is_empty()));
    }
    graph.remove(&Module::new());
    let tops: BTreeSet<&String> = modules.iter().filter_map(|module| module.first()).collect();

    let mut between_folders = Graph::new();
    let mut between_files = Graph::new();
    for (from, targets) in &graph {
        for to in targets {
            if from[0] != to[0] {
                between_folders.entry(from[..1].to_vec()).or_default().insert(to[..1].to_vec());
            }
            if !from.starts_with(to) && !to.starts_with(from) {
                between_files.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    Circles {
        name,
        folders: tops.len(),
        between_folders: circles(&between_folders),
        between_files: circles(&between_files),
    }
}

fn module_of(folder: &str, path: &str) -> Module {
    let inner = path.strip_prefix(folder).unwrap_or(path).trim_end_matches(".rs");
    let mut module: Module = inner.split('/').map(str::to_owned).collect();
    let is_root = module.len() == 1 && matches!(inner, "lib" | "main");
    if is_root || module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

fn longest_module(modules: &BTreeSet<Module>, path: &[String]) -> Option<Module> {
    (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|prefix| modules.contains(prefix))
}

/// Sets of modules that reach each other, largest first.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reachable(graph, module))).collect();
    let mut seen: BTreeSet<&Module> = BTreeSet::new();
    let mut found = Vec::new();
    for (&module, reached) in &reach {
        if !reached.contains(module) || seen.contains(module) {
            continue;
        }
        let circle: Vec<&Module> = reached
            .iter()
            .copied()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(module)))
            .collect();
        seen.extend(&circle);
        found.push(circle.iter().map(|module| module.join("::")).collect::<Vec<_>>());
    }
    found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found
}

fn reachable<'a>(graph: &'a Graph, from: &Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Module> = graph.get(from).into_iter().flatten().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(graph.get(module).into_iter().flatten());
        }
    }
    reached
}

/// Collects the absolute paths that a file names.
struct Imports {
    at: Module,
    found: Vec<Module>,
}

impl Imports {
    fn add(&mut self, segments: &[String]) {
        if let Some(path) = absolute(&self.at, segments) {
            self.found.push(path);
        }
    }

    fn add_tree(&mut self, prefix: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_tree(prefix, &path.tree);
                prefix.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(prefix, tree)),
            UseTree::Name(syn::UseName { ident }) | UseTree::Rename(syn::UseRename { ident, .. }) => {
                prefix.push(ident.to_string());
                self.add(prefix);
                prefix.pop();
            }
            UseTree::Glob(_) => self.add(prefix),
        }
    }
}

/// A path from the root of the crate; nothing for paths into other crates.
fn absolute(at: &[String], segments: &[String]) -> Option<Module> {
    let mut path = match segments.first()?.as_str() {
        "crate" => Module::new(),
        "self" => at.to_vec(),
        "super" => at[..at.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    for segment in &segments[1..] {
        match segment.as_str() {
            "super" => _ = path.pop()?,
            "self" => {}
            _ => path.push(segment.clone()),
        }
    }
    Some(path)
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_some() {
            self.at.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(sources: &[(&str, &str)]) -> Circles {
        let files: Vec<SourceFile> =
            sources.iter().map(|(path, text)| SourceFile::parse(path, "x", text).unwrap()).collect();
        of_crate("x".into(), "x/src/", &files.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_circle_through_three_folders_is_found() {
        let circles = measured(&[
            ("x/src/lib.rs", "mod a; mod b; mod c; mod d; pub use a::A;"),
            ("x/src/a.rs", "use crate::b::{inner::B, self};"),
            ("x/src/b.rs", "pub mod inner;"),
            ("x/src/b/inner.rs", "fn f() -> crate::c::C { todo!() }"),
            ("x/src/c/mod.rs", "use super::a::A; use std::fmt;"),
            ("x/src/d.rs", "use crate::a;"),
        ]);
        assert_eq!(circles.folders, 4);
        assert_eq!(circles.between_folders, [["a", "b", "c"]]);
        assert_eq!(circles.between_files, [["a", "b::inner", "c"]]);
    }

    #[test]
    fn parents_children_tests_and_other_crates_make_no_circle() {
        let circles = measured(&[
            ("x/src/a.rs", "mod deep; use self::deep::D; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("x/src/a/deep.rs", "use super::A; #[cfg(test)] use crate::b::B;"),
            ("x/src/b.rs", "use crate::a::A; use other::a::A; mod inline { use super::super::a::deep::D; }"),
        ]);
        assert_eq!((circles.between_folders, circles.between_files), (vec![], vec![]));
    }
}
