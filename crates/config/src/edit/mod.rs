//! Configuration commands: their syntax, and their effect on the model.
//!
//! There is one file for each mode. It contains the mode's commands as data ([`crate::tree`]) and
//! the functions that they refer to. A function changes the candidate, enters a mode, adds notices
//! or returns an error; it does not depend on abbreviations in the input.

mod access_list;
mod crypto_global;
mod crypto_map;
mod global;
mod ikev2;
mod interface;
mod isakmp;
mod known_rules;
mod line;
mod mode;
mod pki;
mod transform_set;

pub use known_rules::KnownRules;
#[cfg(test)]
pub(crate) use mode::all_trees;
pub use mode::{Mode, PASTE_PROMPT, mode_help};
pub(crate) use mode::{Next, Step, form_of, parse};

use crate::Configuration;
use crate::model::{PkiCertificate, Secret};

/// A rejected line, with the text to print including its `%`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditError(pub String);

impl EditError {
    /// An error of tohub's own rules: `%ERROR: text`.
    fn rule(text: impl std::fmt::Display) -> Self {
        Self(format!("%ERROR: {text}"))
    }
}

/// External operations that lines of a file need.
pub trait Environment {
    /// Whether the host name resolves now. Return true if this cannot be determined without
    /// blocking.
    fn resolves(&mut self, host: &str) -> bool;

    /// Reads key and certificates and stores the private key. The default implementation rejects
    /// it.
    fn import(&mut self, import: &Import) -> Result<Imported, ImportError> {
        let _ = import;
        Err(ImportError::Refused("%ERROR: private keys can be stored by the running gateway only".into()))
    }
}

impl dyn Environment + '_ {
    fn answer(&mut self, question: &Question) -> Answer {
        match question {
            Question::Resolves(host) => Answer::Resolves(self.resolves(host)),
            Question::Import(import) => Answer::Imported(self.import(import)),
        }
    }
}

/// Accepts every host name and stores no keys: for reading a file without network access.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Environment for Offline {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// Information that a line needs before it can be applied.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// Whether this host name resolves now.
    Resolves(String),
    /// The key and certificates of this import.
    Import(Import),
}

/// The answer to a [`Question`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// Whether the name resolves.
    Resolves(bool),
    /// The result of the import.
    Imported(Result<Imported, ImportError>),
}

/// The continuation of a command that waits for an answer. Until then the command has changed only
/// its mode, which is restored.
pub(crate) type Rest = fn(&mut Editor<'_>, &crate::tree::Args, Answer) -> Result<(), EditError>;

/// A request of `crypto pki import` and `crypto pki authenticate`.
#[derive(Clone, Debug)]
pub struct Import {
    /// The label under which the private key is stored.
    pub label: String,
    /// Source of the data.
    pub source: ImportSource,
    /// Password of an encrypted private key, or of the PKCS#12 file.
    pub password: Option<Secret>,
    /// The trustpoint already has the certificate of its CA.
    pub has_authorities: bool,
    /// CA certificates only; private keys and own certificates are neither required nor accepted.
    pub authorities_only: bool,
}

/// Source of key and certificates.
#[derive(Clone, Debug)]
pub enum ImportSource {
    /// Pasted PEM.
    Pasted(Secret),
    /// A PEM file, or the base name of `.ca`, `.prv` and `.crt` files, as in IOS.
    Pem(String),
    /// A PKCS#12 file.
    Pkcs12(String),
}

/// The imported data; the private key has been stored.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The certificate of this gateway.
    pub certificate: Option<PkiCertificate>,
    /// Whether its key is an elliptic-curve key.
    pub elliptic: bool,
    /// Certificates of CAs.
    pub authorities: Vec<PkiCertificate>,
}

/// Why the import failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// The data is valid so far, but this part is missing.
    Incomplete(&'static str),
    /// Text to print, with its `%`.
    Refused(String),
}

/// The candidate configuration that lines are applied to.
pub struct Editor<'a> {
    /// The candidate model.
    pub configuration: &'a mut Configuration,
    /// Current mode; a line may change it.
    pub mode: Mode,
    /// Informational texts of the lines so far.
    pub notices: Vec<String>,
    /// True while a file is read: forward references are allowed, and notices about newly created
    /// objects are suppressed.
    pub from_file: bool,
    /// The rules of the access list being edited.
    pub known_rules: &'a mut KnownRules,
    /// A pending question, with the continuation.
    question: Option<(Question, Rest)>,
}

impl<'a> Editor<'a> {
    /// An editor for lines that are entered in `mode`, interactively or from a file.
    pub(crate) fn new(
        configuration: &'a mut Configuration,
        mode: Mode,
        from_file: bool,
        known_rules: &'a mut KnownRules,
    ) -> Self {
        Self { configuration, mode, notices: Vec::new(), from_file, known_rules, question: None }
    }

    /// Defers the rest of the command until the question is answered.
    fn ask(&mut self, question: Question, rest: Rest) {
        self.question = Some((question, rest));
    }

    fn notice(&mut self, text: impl Into<String>) {
        self.notices.push(text.into());
    }

    /// Adds a notice that is only useful in interactive sessions.
    fn interactive_notice(&mut self, text: impl Into<String>) {
        if !self.from_file {
            self.notices.push(text.into());
        }
    }
}

pub(crate) type Apply = fn(&mut Editor<'_>, &crate::tree::Args) -> Result<(), EditError>;

/// The effect of a configuration command.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Changes the model or the mode.
    Apply(Apply),
    /// A valid line without an effect in tohub: stored as entered, removed by its negation.
    Keep(Keep),
    /// `exit`.
    Exit,
    /// `end`.
    End,
}

/// Location where a line without an effect is stored.
pub(crate) type Keep = for<'c> fn(&'c mut Configuration, &Mode) -> Option<&'c mut Vec<String>>;

/// A command of a configuration mode.
pub(crate) type ConfigCommand = crate::tree::Command<Action>;

/// A command that changes the model.
const fn apply(syntax: &'static str, apply: Apply) -> ConfigCommand {
    ConfigCommand { syntax, action: Action::Apply(apply) }
}

/// A command without an effect, which is only stored.
const fn keep(syntax: &'static str, keep: Keep) -> ConfigCommand {
    ConfigCommand { syntax, action: Action::Keep(keep) }
}
