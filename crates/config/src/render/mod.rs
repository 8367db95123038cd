//! The running configuration as IOS prints it: nested lines are indented by one blank, sections are
//! separated by `!`.
//!
//! Parsing the output results in the same model. Lines are printed in the form in which they are
//! usually entered, so that tools which compare an intended configuration with the running one find
//! no difference.

mod acl;
mod crypto_map;
mod ike;
mod interface;
mod pki;
mod system;

pub(crate) use acl::acl_rule;
pub(crate) use crypto_map::transform_words;
pub(crate) use ike::{encryption_word, hash_word, method};

use std::fmt::Write;

use crate::Configuration;
use crate::model::{HashedSecret, Secret};

/// Whether keys and passwords are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Printed in clear, only for the saved file with mode 0600.
    Shown,
    /// Replaced by [`MASK`].
    Hidden,
}

/// Replaces a hidden key. It is rejected as a key, so that pasting the output of
/// `show running-config` cannot set it.
pub const MASK: &str = "******";

/// The complete configuration, from the first line to `end`.
pub fn running_config(configuration: &Configuration, secrets: Secrets) -> String {
    let mut out = Writer { text: String::from("!\n"), secrets };
    system::head(&mut out, configuration);
    pki::trustpoints(&mut out, configuration);
    ike::isakmp(&mut out, configuration);
    ike::ikev2(&mut out, configuration);
    crypto_map::ipsec(&mut out, configuration);
    crypto_map::dynamic_maps(&mut out, configuration);
    crypto_map::crypto_maps(&mut out, configuration);
    interface::interfaces(&mut out, configuration);
    interface::routes(&mut out, configuration);
    acl::access_lists(&mut out, configuration);
    system::tail(&mut out, configuration);
    out.text + "end\n"
}

/// Collects lines.
pub(crate) struct Writer {
    text: String,
    secrets: Secrets,
}

impl Writer {
    fn line(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{line}");
    }

    fn lines<'a>(&mut self, indent: &str, lines: impl IntoIterator<Item = &'a String>) {
        for line in lines {
            self.line(format_args!("{indent}{line}"));
        }
    }

    fn optional<T: std::fmt::Display>(&mut self, prefix: &str, value: Option<T>) {
        if let Some(value) = value {
            self.line(format_args!("{prefix}{value}"));
        }
    }

    fn flag(&mut self, on: bool, line: &str) {
        if on {
            self.line(line);
        }
    }

    /// Ends a section with `!`, unless it is empty.
    fn section(&mut self) {
        if !self.text.ends_with("\n!\n") && self.text != "!\n" {
            self.text.push_str("!\n");
        }
    }

    /// A key as it is entered: with a `0` before one that would be parsed as a keyword.
    fn key(&self, secret: &Secret) -> String {
        let keyword = |word: &str| word.eq_ignore_ascii_case(secret.expose());
        match self.secrets {
            Secrets::Hidden => MASK.into(),
            Secrets::Shown if ["0", "6", "hex", "local", "remote"].iter().any(|word| keyword(word)) => {
                format!("0 {}", secret.expose())
            }
            Secrets::Shown => secret.expose().into(),
        }
    }

    fn hashed(&self, secret: &HashedSecret) -> String {
        match self.secrets {
            Secrets::Hidden => format!("{} {MASK}", secret.kind),
            Secrets::Shown => format!("{} {}", secret.kind, secret.text.expose()),
        }
    }
}
