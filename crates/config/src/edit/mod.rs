//! Configuration lines: their notation, and what each does to the model.
//!
//! One file a mode. Every file has its commands as data ([`crate::tree`]) and, below, the functions
//! that they name. A function changes the candidate model or enters a mode, adds notices, or
//! refuses; it never looks at how a word was abbreviated.

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

/// Answers what the lines of a file ask.
pub trait Environment {
    /// True when the host name resolves now. Answer true when that cannot be known without waiting.
    fn resolves(&mut self, host: &str) -> bool;

    /// Reads key and certificates and stores the private key. The default has no place for it.
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

/// Takes every host name as one that resolves, and stores no key: for reading a file without asking
/// the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Environment for Offline {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// What a line has to know before it can be applied.
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
    /// What was imported.
    Imported(Result<Imported, ImportError>),
}

/// The rest of a command, for which it needs an answer. Until then it has changed nothing but its
/// mode, which it gets back.
pub(crate) type Rest = fn(&mut Editor<'_>, &crate::tree::Args, Answer) -> Result<(), EditError>;

/// What `crypto pki import` and `crypto pki authenticate` ask for.
#[derive(Clone, Debug)]
pub struct Import {
    /// The label under which the private key is stored.
    pub label: String,
    /// Where things are.
    pub source: ImportSource,
    /// Of an encrypted private key, or of the PKCS#12 file.
    pub password: Option<Secret>,
    /// The trustpoint has the certificate of its CA already.
    pub has_authorities: bool,
    /// CA certificates only; a private key or an own certificate is neither asked for nor taken.
    pub authorities_only: bool,
}

/// Where key and certificates are.
#[derive(Clone, Debug)]
pub enum ImportSource {
    /// PEM as it was pasted.
    Pasted(Secret),
    /// A file in PEM, or the name of which `.ca`, `.prv` and `.crt` files are made, as IOS does.
    Pem(String),
    /// A PKCS#12 file.
    Pkcs12(String),
}

/// What was read; the private key is stored.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Our certificate.
    pub certificate: Option<PkiCertificate>,
    /// Its key is on an elliptic curve.
    pub elliptic: bool,
    /// Certificates of CAs.
    pub authorities: Vec<PkiCertificate>,
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// So far everything is right, and this is missing.
    Incomplete(&'static str),
    /// Text to print, with its `%`.
    Refused(String),
}

/// The candidate that lines are applied to.
pub struct Editor<'a> {
    /// The candidate model.
    pub configuration: &'a mut Configuration,
    /// Current mode; a line may change it.
    pub mode: Mode,
    /// Informational texts of the lines so far.
    pub notices: Vec<String>,
    /// True while a file is read: references may point forward, and nobody reads first-creation
    /// notes.
    pub from_file: bool,
    /// What is known of the access list that is being written.
    pub known_rules: &'a mut KnownRules,
    /// What the line has to know first, and what it does then.
    question: Option<(Question, Rest)>,
}

impl<'a> Editor<'a> {
    /// An editor for lines that are typed in `mode`, or stand there in a file.
    pub(crate) fn new(
        configuration: &'a mut Configuration,
        mode: Mode,
        from_file: bool,
        known_rules: &'a mut KnownRules,
    ) -> Self {
        Self { configuration, mode, notices: Vec::new(), from_file, known_rules, question: None }
    }

    /// Puts the rest of the command off until the question is answered.
    fn ask(&mut self, question: Question, rest: Rest) {
        self.question = Some((question, rest));
    }

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
