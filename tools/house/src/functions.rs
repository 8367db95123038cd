//! Every function of a file: name, place, size and body.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Signature, TraitItemFn, Type};

use crate::source::{SourceFile, is_for_tests};

/// One function or method with a body.
pub struct Function {
    /// `name`, or `Type::name`.
    pub name: String,
    /// File and first line, `path:line`.
    pub place: String,
    /// Lines from the signature to the closing brace.
    pub lines: usize,
    /// Whether it only exists for tests.
    pub is_test: bool,
    /// The body.
    pub body: TokenStream,
}

/// The functions of a file in the order of their appearance; nested ones too.
pub fn of_file(file: &SourceFile) -> Vec<Function> {
    let mut collector =
        Collector { path: &file.path, is_test: file.is_test, owner: String::new(), functions: Vec::new() };
    collector.visit_file(&file.syntax);
    collector.functions
}

/// Name of a type without its path and parameters.
pub fn type_name(of: &Type) -> String {
    match of {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        Type::Reference(reference) => type_name(&reference.elem),
        other => other.to_token_stream().to_string(),
    }
}

struct Collector<'a> {
    path: &'a str,
    is_test: bool,
    owner: String,
    functions: Vec<Function>,
}

impl Collector<'_> {
    fn add(&mut self, attributes: &[Attribute], signature: &Signature, body: &Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        let name = match self.owner.as_str() {
            "" => signature.ident.to_string(),
            owner => format!("{owner}::{}", signature.ident),
        };
        self.functions.push(Function {
            name,
            place: format!("{}:{first}", self.path),
            lines: last + 1 - first,
            is_test: self.is_test || is_for_tests(attributes),
            body: body.to_token_stream(),
        });
    }

    fn within(&mut self, owner: String, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.owner, owner);
        visit(self);
        self.owner = outer;
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let outer = self.is_test;
        self.is_test |= is_for_tests(&module.attrs);
        visit::visit_item_mod(self, module);
        self.is_test = outer;
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        self.within(type_name(&block.self_ty), |collector| visit::visit_item_impl(collector, block));
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.within(item.ident.to_string(), |collector| visit::visit_item_trait(collector, item));
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.attrs, &function.sig, &function.block);
        self.within(String::new(), |collector| visit::visit_item_fn(collector, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.attrs, &function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.attrs, &function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_owner_place_and_size() {
        let text = "fn free() {\n}\nstruct A;\nimpl A {\n    /// Text.\n    fn method(&self) {\n        free();\n    }\n}\n\
                    trait T { fn given(&self) {} fn asked(&self); }\n#[cfg(test)]\nmod tests {\n #[test]\n fn t() {}\n}\n";
        let file = SourceFile::parse("x/src/a.rs", "x", text).unwrap();
        let found: Vec<_> =
            of_file(&file).into_iter().map(|f| (f.name, f.place, f.lines, f.is_test)).collect();
        let expected = [
            ("free", "x/src/a.rs:1", 2, false),
            ("A::method", "x/src/a.rs:6", 3, false),
            ("T::given", "x/src/a.rs:10", 1, false),
            ("t", "x/src/a.rs:14", 1, true),
        ];
        assert_eq!(
            found,
            expected.map(|(name, place, lines, test)| (name.into(), place.into(), lines, test))
        );
    }
}
