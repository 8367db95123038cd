//! The graph that the commands of a mode are compiled to.

use super::glossary;
use super::kind::Kind;
use super::syntax::{self, Syntax};

/// A command: its syntax and its action.
#[derive(Clone, Copy, Debug)]
pub struct Command<A> {
    /// The syntax, in the notation of [`super`].
    pub syntax: &'static str,
    /// What it does.
    pub action: A,
}

/// The form of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The command itself.
    Plain,
    /// `no …`.
    No,
    /// `default …`.
    Default,
}

/// Index into [`Tree::nodes`].
pub(super) type NodeId = usize;

/// The content of a node.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Keyword(String),
    /// An alternative spelling: accepted in full only, not listed.
    Alias(String),
    Operand(String, Kind),
    /// The line may end here; the index of the command.
    End(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub item: Item,
    pub help: &'static str,
    pub next: Vec<NodeId>,
}

/// All commands of a mode.
#[derive(Debug)]
pub struct Tree<A: 'static> {
    pub(super) nodes: Vec<Node>,
    pub(super) plain: Vec<NodeId>,
    pub(super) negated: Vec<NodeId>,
    pub(super) commands: Vec<Command<A>>,
}

impl<A: Copy> Tree<A> {
    /// Compiles the commands. The error names the command with invalid syntax.
    pub fn new(groups: &[&'static [Command<A>]]) -> Result<Self, String> {
        let commands: Vec<Command<A>> = groups.iter().flat_map(|group| group.iter().copied()).collect();
        let mut tree = Self { nodes: Vec::new(), plain: Vec::new(), negated: Vec::new(), commands };
        for number in 0..tree.commands.len() {
            let text = tree.commands[number].syntax;
            let syntax = syntax::parse(text).map_err(|error| format!("command \"{text}\": {error}"))?;
            let end = tree.node(Item::End(number), "", Vec::new());
            let mut builder = Builder { nodes: &mut tree.nodes, end, relaxed: false };
            let first = builder.build(&syntax, vec![end]);
            tree.plain.extend(first);
            if text.contains('/') && has_mark(&syntax) {
                let mut builder = Builder { nodes: &mut tree.nodes, end, relaxed: true };
                let first = builder.build(&syntax, vec![end]);
                tree.negated.extend(first);
            }
        }
        Ok(tree)
    }

    fn node(&mut self, item: Item, help: &'static str, next: Vec<NodeId>) -> NodeId {
        self.nodes.push(Node { item, help, next });
        self.nodes.len() - 1
    }
}

fn has_mark(syntax: &Syntax) -> bool {
    match syntax {
        Syntax::Mark => true,
        Syntax::Sequence(items) => items.iter().any(has_mark),
        _ => false,
    }
}

/// Builds the graph from the end of a command to its start.
struct Builder<'a> {
    nodes: &'a mut Vec<Node>,
    end: NodeId,
    /// Set after the mark of a `no` form: the line may end anywhere.
    relaxed: bool,
}

impl Builder<'_> {
    /// Adds the nodes of `syntax`, followed by `next`; returns the first nodes.
    fn build(&mut self, syntax: &Syntax, next: Vec<NodeId>) -> Vec<NodeId> {
        match syntax {
            Syntax::Word(word, previous) => {
                if let Some(alias) = word.strip_prefix('=') {
                    return vec![self.add(Item::Alias(alias.into()), "", next)];
                }
                let help = glossary::keyword(previous, word);
                vec![self.add(Item::Keyword(word.clone()), help, next)]
            }
            Syntax::Operand(name, kind) => {
                vec![self.add(Item::Operand(name.clone(), *kind), glossary::operand(name), next)]
            }
            Syntax::Sequence(items) => {
                let mut next = next;
                for item in items.iter().rev() {
                    next = self.build(item, next);
                }
                next
            }
            Syntax::Choice(alternatives, optional) => {
                let mut first = Vec::new();
                for alternative in alternatives {
                    merge(&mut first, self.build(alternative, next.clone()));
                }
                if *optional {
                    merge(&mut first, next);
                }
                first
            }
            Syntax::Repeat(inner, times) => {
                let mut first = next.clone();
                for left in (0..*times).rev() {
                    first = self.build(inner, first);
                    if left > 0 {
                        merge(&mut first, next.clone());
                    }
                }
                first
            }
            Syntax::Mark => {
                let mut next = next;
                if self.relaxed {
                    merge(&mut next, vec![self.end]);
                    self.relaxed = false;
                }
                next
            }
        }
    }

    fn add(&mut self, item: Item, help: &'static str, mut next: Vec<NodeId>) -> NodeId {
        if self.relaxed {
            merge(&mut next, vec![self.end]);
        }
        self.nodes.push(Node { item, help, next });
        self.nodes.len() - 1
    }
}

fn merge(into: &mut Vec<NodeId>, more: Vec<NodeId>) {
    for id in more {
        if !into.contains(&id) {
            into.push(id);
        }
    }
}
