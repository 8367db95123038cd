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
mod known_rules;
mod line;
mod mode;
mod pki;
mod transform_set;

pub use known_rules::KnownRules;
#[cfg(test)]
pub(crate) use mode::all_trees;
pub use mode::{Mode, PASTE_PROMPT, mode_help};
pub(crate) use mode::{Next, form_of, parse};

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

/// What a line may ask of the world while it is applied.
pub trait Environment {
    /// True when the host name resolves now. Answer true when that cannot be known without waiting.
    fn resolves(&mut self, host: &str) -> bool;

    /// Reads key and certificates and stores the private key. The default has no place for it.
    fn import(&mut self, import: &Import) -> Result<Imported, ImportError> {
        let _ = import;
        Err(ImportError::Refused("%ERROR: private keys can be stored by the running gateway only".into()))
    }
}

/// Takes every host name as one that resolves, and stores no key: for reading a file without asking the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Environment for Offline {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

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
    /// True while a file is read: references may point forward, and nobody reads first-creation notes.
    pub from_file: bool,
    /// What is known of the access list that is being written.
    pub known_rules: &'a mut KnownRules,
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
