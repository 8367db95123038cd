//! Help (`?`) and TAB completion.

use super::graph::{Form, Item, Tree};
use super::walk::{ParseError, Token};

/// A line of a help listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Keyword, operand form or `<cr>`.
    pub text: String,
    /// Its help text.
    pub help: String,
}

impl<A: Copy> Tree<A> {
    /// What can follow `words`, or complete the partial word `partial` (empty after a blank).
    /// Sorted, with `<cr>` last.
    pub fn expected(
        &self,
        line: &str,
        words: &[Token<'_>],
        partial: &str,
        form: Form,
    ) -> Result<Vec<Entry>, ParseError> {
        let (threads, _) = self.walk(line, words, form)?;
        let typed = partial.to_ascii_lowercase();
        let mut entries = Vec::new();
        let mut end = false;
        for id in threads.iter().flat_map(|thread| &thread.next) {
            let node = &self.nodes[*id];
            match &node.item {
                Item::Keyword(name) if name.starts_with(&typed) => {
                    entries.push(Entry { text: name.clone(), help: node.help.into() });
                }
                Item::Keyword(_) | Item::Alias(_) => {}
                Item::Operand(_, kind) => {
                    if partial.is_empty() {
                        entries.push(Entry { text: kind.placeholder(), help: node.help.into() });
                    }
                    let choices = kind.choices().iter().filter(|(name, _)| name.starts_with(&typed));
                    entries.extend(
                        choices.map(|(name, n)| Entry { text: (*name).into(), help: format!("({n})") }),
                    );
                }
                Item::End(_) => end = true,
            }
        }
        entries.sort();
        entries.dedup_by(|a, b| a.text == b.text);
        if end && partial.is_empty() {
            entries.push(Entry { text: "<cr>".into(), help: String::new() });
        }
        Ok(entries)
    }

    /// Keywords that may replace the partial word.
    pub fn completions(&self, line: &str, words: &[Token<'_>], partial: &str, form: Form) -> Vec<String> {
        let entries = self.expected(line, words, partial, form).unwrap_or_default();
        let keyword =
            |entry: &Entry| entry.text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        entries.into_iter().filter(keyword).map(|entry| entry.text).collect()
    }
}
