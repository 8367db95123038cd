//! Configuration lines: their notation, and what each does to the model.
//!
//! One file a mode. Every file has its commands as data ([`crate::tree`]) and, below, the functions that they name. A
//! function changes the candidate model or enters a mode, adds notices, or refuses; it never looks at how a word was
//! abbreviated.

mod access_list;
mod crypto_global;
mod crypto_map;
mod global;
mod ikev2;
mod interface;
mod isakmp;
mod line;
mod mode;
mod transform_set;

#[cfg(test)]
pub(crate) use mode::all_trees;
pub use mode::{Mode, mode_help};
pub(crate) use mode::{Next, form_of, parse};

use crate::Configuration;

/// A refused line. The text is what is printed, with its `%`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditError(pub String);

impl EditError {
    /// A rule of ours: `%ERROR: text`.
    fn rule(text: impl std::fmt::Display) -> Self {
        Self(format!("%ERROR: {text}"))
    }
}

/// What a line may ask of the world while it is applied.
pub trait Environment {
    /// True when the host name resolves now. Answer true when that cannot be known without waiting.
    fn resolves(&mut self, host: &str) -> bool;
}

/// The candidate that lines are applied to.
pub struct Editor<'a> {
    /// The candidate model.
    pub configuration: &'a mut Configuration,
    /// Current mode; a line may change it.
    pub mode: Mode,
    /// Informational texts of the lines so far.
    pub notices: Vec<String>,
    /// True while a file is read: references may point forward, and nobody reads first-creation notes.
    pub from_file: bool,
    /// The world.
    pub environment: &'a mut dyn Environment,
}

impl Editor<'_> {
    fn notice(&mut self, text: impl Into<String>) {
        self.notices.push(text.into());
    }

    /// A notice that only somebody who types needs.
    fn interactive_notice(&mut self, text: impl Into<String>) {
        if !self.from_file {
            self.notices.push(text.into());
        }
    }
}

pub(crate) type Apply = fn(&mut Editor<'_>, &crate::tree::Args) -> Result<(), EditError>;

/// What a configuration command does.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Changes the model or the mode.
    Apply(Apply),
    /// A legal line without an effect here: kept as typed, its negation removes it.
    Keep(Keep),
    /// `exit`.
    Exit,
    /// `end`.
    End,
}

/// Where a kept line is stored.
pub(crate) type Keep = for<'c> fn(&'c mut Configuration, &Mode) -> Option<&'c mut Vec<String>>;

/// A command of a configuration mode.
pub(crate) type ConfigCommand = crate::tree::Command<Action>;

/// A command that changes the model.
const fn apply(syntax: &'static str, apply: Apply) -> ConfigCommand {
    ConfigCommand { syntax, action: Action::Apply(apply) }
}

/// A command that is only kept.
const fn keep(syntax: &'static str, keep: Keep) -> ConfigCommand {
    ConfigCommand { syntax, action: Action::Keep(keep) }
}
