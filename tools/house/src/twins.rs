//! Functions whose bodies are the same but for the names that they use.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use proc_macro2::{TokenStream, TokenTree};

use crate::functions::Function;

/// Bodies below this number of tokens are equal too often to be significant.
pub const LEAST_TOKENS: usize = 60;

/// Functions with one body.
#[derive(Debug, PartialEq, Eq)]
pub struct Twins {
    /// Tokens of the body.
    pub tokens: usize,
    /// Name and place of each, sorted by place.
    pub functions: Vec<(String, String)>,
}

/// Groups of equal functions with at least `least` tokens, the largest saving first.
pub fn measure(functions: &[&Function], least: usize) -> Vec<Twins> {
    let mut groups: BTreeMap<String, Twins> = BTreeMap::new();
    for function in functions {
        let (text, tokens) = normalised(&function.body);
        if tokens >= least {
            let twins = groups.entry(text).or_insert(Twins { tokens, functions: Vec::new() });
            twins.functions.push((function.name.clone(), function.place.clone()));
        }
    }
    let mut twins: Vec<Twins> = groups.into_values().filter(|twins| twins.functions.len() > 1).collect();
    for group in &mut twins {
        group.functions.sort_by(|a, b| a.1.cmp(&b.1));
    }
    let saving = |twins: &Twins| twins.tokens * (twins.functions.len() - 1);
    twins.sort_by(|a, b| saving(b).cmp(&saving(a)).then_with(|| a.functions.cmp(&b.functions)));
    twins
}

/// The tokens with each identifier replaced by the number of its first appearance, and how many
/// they are.
fn normalised(body: &TokenStream) -> (String, usize) {
    let mut writer = Writer::default();
    writer.write(body.clone());
    (writer.text, writer.tokens)
}

#[derive(Default)]
struct Writer {
    text: String,
    tokens: usize,
    names: HashMap<String, usize>,
}

impl Writer {
    fn write(&mut self, tokens: TokenStream) {
        for token in tokens {
            self.tokens += 1;
            match token {
                TokenTree::Group(group) => {
                    _ = write!(self.text, "{:?}<", group.delimiter());
                    self.write(group.stream());
                    self.text.push('>');
                }
                TokenTree::Ident(ident) => {
                    let next = self.names.len();
                    let number = *self.names.entry(ident.to_string()).or_insert(next);
                    _ = write!(self.text, "${number} ");
                }
                TokenTree::Punct(punct) => self.text.push(punct.as_char()),
                TokenTree::Literal(literal) => _ = write!(self.text, "{literal} "),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::of_file;
    use crate::source::SourceFile;

    #[test]
    fn renamed_copies_are_twins_and_swapped_names_are_not() {
        let text = "fn a(x: u8, y: u8) { call(x, y); call(y, 3); }\n\
                    fn b(p: u8, q: u8) { done(p, q); done(q, 3); }\n\
                    fn c(p: u8, q: u8) { done(p, q); done(p, 3); }\n\
                    fn d(p: u8, q: u8) { done(p, q); done(q, 4); }";
        let functions = of_file(&SourceFile::parse("x.rs", "x", text).unwrap());
        let twins = measure(&functions.iter().collect::<Vec<_>>(), 5);
        assert_eq!(twins.len(), 1);
        let names: Vec<&str> = twins[0].functions.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn short_bodies_do_not_count() {
        let functions = of_file(&SourceFile::parse("x.rs", "x", "fn a() { b() } fn c() { d() }").unwrap());
        assert!(measure(&functions.iter().collect::<Vec<_>>(), LEAST_TOKENS).is_empty());
    }
}
