//! Parses a line: a set of nodes is advanced through the graph word by word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::graph::{Form, Item, NodeId, Tree};
use super::kind::{Kind, Value};
use crate::model::InterfaceName;

/// A word of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Byte offset in the line.
    pub at: usize,
    /// The word.
    pub text: &'a str,
}

/// Splits a line at blanks and tabs.
pub fn tokens(line: &str) -> Vec<Token<'_>> {
    let blank = |c: char| c == ' ' || c == '\t';
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c| !blank(c)) {
        let word = &rest[start..];
        let end = word.find(blank).unwrap_or(word.len());
        tokens.push(Token { at: line.len() - word.len(), text: &word[..end] });
        rest = &word[end..];
    }
    tokens
}

/// A keyword or operand of a parsed line, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binding {
    name: String,
    value: Option<Value>,
}

/// The keywords and operands of a parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// Plain, `no` or `default`.
    pub form: Form,
    bindings: Vec<Binding>,
}

impl Args {
    /// True for `no …` and `default …`.
    pub fn negated(&self) -> bool {
        self.form != Form::Plain
    }

    /// Whether the keyword was entered.
    pub fn has(&self, keyword: &str) -> bool {
        self.bindings.iter().any(|b| b.value.is_none() && b.name == keyword)
    }

    /// The first of `keywords` that was entered.
    pub fn one_of<'k>(&self, keywords: &[&'k str]) -> Option<&'k str> {
        keywords.iter().copied().find(|keyword| self.has(keyword))
    }

    /// Keywords and operands in the order entered: `(name, value)`, without a value for a keyword.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Value>)> {
        self.bindings.iter().map(|b| (b.name.as_str(), b.value.as_ref()))
    }

    /// The line with every keyword written in full.
    pub fn canonical(&self) -> String {
        let words = self.bindings.iter().map(|b| match &b.value {
            None => b.name.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Address(address)) => address.to_string(),
            Some(Value::Prefix(address, length)) => format!("{address}/{length}"),
            Some(Value::Interface(interface)) => interface.to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.bindings.iter().find(|b| b.name == name && b.value.is_some())?.value.as_ref()
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A number whose range in the tree fits `T`.
    pub fn small<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        T::try_from(self.number(name)?).ok()
    }

    /// Text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Every text operand of that name.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.bindings.iter().filter(move |b| b.name == name).filter_map(|b| match &b.value {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An address.
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        match self.value(name)? {
            Value::Address(address) => Some(*address),
            _ => None,
        }
    }

    /// Every address of that name.
    pub fn addresses<'a>(&'a self, name: &'a str) -> impl Iterator<Item = IpAddr> {
        self.bindings.iter().filter(move |b| b.name == name).filter_map(|b| match &b.value {
            Some(Value::Address(address)) => Some(*address),
            _ => None,
        })
    }

    /// An IPv4 address.
    pub fn ipv4(&self, name: &str) -> Option<Ipv4Addr> {
        match self.address(name)? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    /// An IPv6 address and prefix length.
    pub fn prefix(&self, name: &str) -> Option<(Ipv6Addr, u8)> {
        match self.value(name)? {
            Value::Prefix(address, length) => Some((*address, *length)),
            _ => None,
        }
    }

    /// An interface.
    pub fn interface(&self, name: &str) -> Option<&InterfaceName> {
        match self.value(name)? {
            Value::Interface(interface) => Some(interface),
            _ => None,
        }
    }
}

/// A parsed line.
#[derive(Clone, Debug)]
pub struct Match<A> {
    /// What the command does.
    pub action: A,
    /// Its keywords and operands.
    pub args: Args,
}

/// Why a line is not a valid command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// A word does not match. `at`: byte offset of the first invalid character.
    Invalid {
        /// Byte offset in the line.
        at: usize,
        /// Number of valid words.
        understood: usize,
    },
    /// The line is incomplete.
    Incomplete {
        /// Number of valid words.
        understood: usize,
    },
    /// A word abbreviates several keywords.
    Ambiguous {
        /// Number of valid words.
        understood: usize,
    },
}

impl ParseError {
    /// How much of the line is valid, to choose between the errors of a mode and of its parent.
    pub fn progress(&self) -> (usize, usize) {
        match self {
            Self::Invalid { at, understood } => (*understood, *at),
            Self::Ambiguous { understood } => (*understood, usize::MAX - 1),
            Self::Incomplete { understood } => (*understood, usize::MAX),
        }
    }
}

/// A set of nodes after some words.
#[derive(Clone)]
pub(super) struct Thread {
    pub next: Vec<NodeId>,
    bindings: Vec<Binding>,
}

impl<A: Copy> Tree<A> {
    /// Parses `words` of `line` (after `no` or `default`, if present).
    pub fn parse(&self, line: &str, words: &[Token<'_>], form: Form) -> Result<Match<A>, ParseError> {
        let (threads, _) = self.walk(line, words, form)?;
        for thread in &threads {
            for id in &thread.next {
                if let Item::End(command) = self.nodes[*id].item {
                    let args = Args { form, bindings: thread.bindings.clone() };
                    return Ok(Match { action: self.commands[command].action, args });
                }
            }
        }
        Err(ParseError::Incomplete { understood: words.len() })
    }

    pub(super) fn walk(
        &self,
        line: &str,
        words: &[Token<'_>],
        form: Form,
    ) -> Result<(Vec<Thread>, usize), ParseError> {
        let start = if form == Form::Plain { &self.plain } else { &self.negated };
        let mut threads = vec![Thread { next: start.clone(), bindings: Vec::new() }];
        let mut index = 0;
        while let Some(word) = words.get(index) {
            let (next, used) = self.step(line, words, index, &threads)?;
            threads = next;
            debug_assert!(!threads.is_empty(), "a step without threads is an error at {}", word.at);
            index += used;
        }
        Ok((threads, index))
    }

    /// Advances by one word or operand; also returns the number of words used.
    fn step(
        &self,
        line: &str,
        words: &[Token<'_>],
        index: usize,
        threads: &[Thread],
    ) -> Result<(Vec<Thread>, usize), ParseError> {
        let word = words[index];
        let keywords =
            self.keywords(threads, word.text, threads.iter().any(|t| self.takes_word(t, word.text)));
        if !keywords.is_empty() {
            let mut names: Vec<&str> = keywords.iter().map(|(_, name, _)| *name).collect();
            names.sort_unstable();
            names.dedup();
            if names.len() > 1 {
                return Err(ParseError::Ambiguous { understood: index });
            }
            let advance =
                |(thread, name, id): &(usize, &str, NodeId)| self.advance(&threads[*thread], *id, name, None);
            return Ok((keywords.iter().map(advance).collect(), 1));
        }
        let mut found = Vec::new();
        let mut used = 1;
        let mut good = 0;
        for thread in threads {
            for id in &thread.next {
                let Item::Operand(name, kind) = &self.nodes[*id].item else { continue };
                let (text, words_used) = operand_text(line, words, index, *kind);
                match kind.parse(&text) {
                    Ok(value) => {
                        found.push(self.advance(thread, *id, name, Some(value)));
                        used = words_used;
                    }
                    Err(at) => good = good.max(at),
                }
            }
        }
        if found.is_empty() {
            let offset = good.max(self.common_prefix(threads, word.text)).min(word.text.len());
            return Err(ParseError::Invalid { at: word.at + offset, understood: index });
        }
        Ok((found, used))
    }

    /// Matching keyword nodes: exact matches, otherwise abbreviations unless a free word is
    /// accepted here.
    fn keywords<'a>(
        &'a self,
        threads: &[Thread],
        text: &str,
        free_word: bool,
    ) -> Vec<(usize, &'a str, NodeId)> {
        let typed = &text.to_ascii_lowercase();
        let all = threads.iter().enumerate().flat_map(|(index, thread)| {
            thread.next.iter().filter_map(move |id| match &self.nodes[*id].item {
                Item::Keyword(name) => Some((index, name.as_str(), *id)),
                Item::Alias(name) if name == typed => Some((index, name.as_str(), *id)),
                _ => None,
            })
        });
        let prefixed: Vec<_> = all.filter(|(_, name, _)| name.starts_with(typed.as_str())).collect();
        let exact: Vec<_> = prefixed.iter().filter(|(_, name, _)| name == typed).copied().collect();
        match (exact.is_empty(), free_word) {
            (false, _) => exact,
            (true, true) => Vec::new(),
            (true, false) => prefixed,
        }
    }

    fn takes_word(&self, thread: &Thread, text: &str) -> bool {
        let word =
            |id: &NodeId| matches!(&self.nodes[*id].item, Item::Operand(_, Kind::Word) if !text.is_empty());
        thread.next.iter().any(word)
    }

    fn advance(&self, thread: &Thread, id: NodeId, name: &str, value: Option<Value>) -> Thread {
        let mut bindings = thread.bindings.clone();
        bindings.push(Binding { name: name.into(), value });
        Thread { next: self.nodes[id].next.clone(), bindings }
    }

    /// The longest prefix of `text`, in characters, that it shares with a keyword here.
    fn common_prefix(&self, threads: &[Thread], text: &str) -> usize {
        let typed = text.to_ascii_lowercase();
        let shared = |name: &str| name.bytes().zip(typed.bytes()).take_while(|(a, b)| a == b).count();
        let ids = threads.iter().flat_map(|thread| &thread.next);
        ids.filter_map(|id| match &self.nodes[*id].item {
            Item::Keyword(name) => Some(shared(name)),
            _ => None,
        })
        .max()
        .unwrap_or(0)
    }
}

/// The text of an operand: one word; the rest of the line; or, for an interface, type and number as
/// two words.
fn operand_text(line: &str, words: &[Token<'_>], index: usize, kind: Kind) -> (String, usize) {
    let word = words[index];
    match (kind, words.get(index + 1)) {
        (Kind::Line, _) => (line[word.at..].trim_end().into(), words.len() - index),
        (Kind::Interface, Some(next))
            if next.text.starts_with(|c: char| c.is_ascii_digit())
                && InterfaceName::ios_type(word.text).is_some() =>
        {
            (format!("{}{}", word.text, next.text), 2)
        }
        _ => (word.text.into(), 1),
    }
}
