//! The command tree: every command is one line of data, from which everything else is derived.
//!
//! A command is written in the notation of command references:
//!
//! | notation | meaning |
//! |---|---|
//! | `peer` | keyword; any unique prefix is accepted |
//! | `<seconds:60-86400>` | operand with its kind: a range, `WORD`, `LINE`, `HOST`, `IP`, `A.B.C.D`, `INTERFACE` … ([`Kind`]) |
//! | `[a \| b]`, `{a \| b}` | optional, required choice |
//! | `{…}*3`, `[…]*3` | up to three times |
//! | `/` | a `no` form exists, and from here on its operands may be left out |
//! | `$ACE` | a named part ([`fragments`]) |
//!
//! [`Tree::new`] compiles a mode's commands into a graph. Parsing walks it with a set of nodes, so
//! that common prefixes of commands need no factoring. Abbreviation, the caret, `?` and TAB use the
//! same set of nodes.

mod glossary;
mod graph;
mod help;
mod kind;
mod names;
mod syntax;
mod walk;

pub use graph::{Command, Form, Tree};
pub use help::Entry;
pub use kind::{Kind, Value};
pub use names::{DSCPS, ICMP_TYPES, PRECEDENCES, PROTOCOLS, TCP_PORTS, UDP_PORTS};
pub use walk::{Args, Match, ParseError, Token, tokens};
