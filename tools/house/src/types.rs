//! Types by their number of fields, with the number of files that hold an `impl` for them.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{ItemImpl, ItemMod, ItemStruct};

use crate::functions::type_name;
use crate::source::{SourceFile, is_for_tests};

/// A struct and the spread of its code.
#[derive(Debug, PartialEq, Eq)]
pub struct TypeSize {
    /// Name.
    pub name: String,
    /// File that defines it.
    pub path: String,
    /// Number of fields.
    pub fields: usize,
    /// Number of files of the package with an `impl` for a type of this name.
    pub impl_files: usize,
}

/// All structs outside of tests, largest first. Two types of one name in a package share their
/// `impl` files.
pub fn measure(files: &[SourceFile]) -> Vec<TypeSize> {
    let mut structs = Vec::new();
    let mut impls: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test) {
        let mut visitor = Visitor::default();
        visitor.visit_file(&file.syntax);
        for (name, fields) in visitor.structs {
            structs.push((file, name, fields));
        }
        for name in visitor.impls {
            impls.entry((file.package.clone(), name)).or_default().insert(file.path.clone());
        }
    }
    let mut sizes: Vec<TypeSize> = structs
        .into_iter()
        .map(|(file, name, fields)| TypeSize {
            impl_files: impls.get(&(file.package.clone(), name.clone())).map_or(0, BTreeSet::len),
            path: file.path.clone(),
            name,
            fields,
        })
        .collect();
    sizes.sort_by(|a, b| {
        b.fields.cmp(&a.fields).then_with(|| a.path.cmp(&b.path)).then_with(|| a.name.cmp(&b.name))
    });
    sizes
}

#[derive(Default)]
struct Visitor {
    structs: Vec<(String, usize)>,
    impls: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.structs.push((item.ident.to_string(), item.fields.len()));
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        self.impls.insert(type_name(&block.self_ty));
        visit::visit_item_impl(self, block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_impl_files_are_counted() {
        let files = [
            SourceFile::parse("x/src/a.rs", "x", "struct Small(u8); struct Big<T> { a: u8, b: T }").unwrap(),
            SourceFile::parse("x/src/b.rs", "x", "impl<T> Big<T> {} impl Clone for Big<u8> {}").unwrap(),
            SourceFile::parse(
                "x/src/c.rs",
                "x",
                "impl super::Big<u8> {}\n#[cfg(test)] mod tests { struct No { a: u8 } }",
            )
            .unwrap(),
            SourceFile::parse("y/src/d.rs", "y", "impl Big {}").unwrap(),
        ];
        let sizes = measure(&files);
        assert_eq!(sizes.len(), 2);
        assert_eq!((sizes[0].name.as_str(), sizes[0].fields, sizes[0].impl_files), ("Big", 2, 2));
        assert_eq!((sizes[1].name.as_str(), sizes[1].fields, sizes[1].impl_files), ("Small", 1, 0));
    }
}
