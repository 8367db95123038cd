//! Configuration modes: names, prompts, parents and command trees, and in which mode a line is
//! parsed.

use std::sync::LazyLock;

use super::{Action, Answer, ConfigCommand, EditError, Editor, Environment, Question, Rest};
use super::{
    access_list, crypto_global, crypto_map, global, ikev2, interface, isakmp, line, pki, transform_set,
};
use crate::model::{InterfaceName, Secret};
use crate::tree::{Args, Entry, Form, Match, ParseError, Token, Tree};

/// A configuration mode with the object that it edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Global configuration.
    Global,
    /// `interface X`.
    Interface(InterfaceName),
    /// `ip access-list extended X`.
    AccessList(String),
    /// `crypto map M S`.
    CryptoMap(String, u16),
    /// `crypto dynamic-map M S`.
    DynamicMap(String, u16),
    /// `crypto ipsec transform-set T`.
    TransformSet(String),
    /// `crypto isakmp policy P`.
    IsakmpPolicy(u16),
    /// `crypto ikev2 proposal N`.
    Ikev2Proposal(String),
    /// `crypto ikev2 policy N`.
    Ikev2Policy(String),
    /// `crypto ikev2 keyring N`.
    Ikev2Keyring(String),
    /// `peer P` of keyring N.
    Ikev2KeyringPeer(String, String),
    /// `crypto ikev2 profile N`.
    Ikev2Profile(String),
    /// `crypto pki trustpoint N`.
    Trustpoint(String),
    /// `crypto pki certificate chain N`.
    CertificateChain(String),
    /// Between `certificate` and `quit`.
    CertificateData {
        /// The trustpoint.
        trustpoint: String,
        /// `certificate ca`.
        authority: bool,
        /// Serial number as typed.
        serial: String,
        /// Hexadecimal digits so far.
        digits: String,
    },
    /// Between `crypto pki import … terminal` and `quit`.
    PkiPaste {
        /// The trustpoint.
        trustpoint: String,
        /// `crypto pki authenticate`.
        authorities_only: bool,
        /// Of the private key.
        password: Option<Secret>,
        /// What was pasted so far.
        text: Secret,
    },
    /// `line …`.
    Line(String),
}

impl Mode {
    /// The text in parentheses of the prompt.
    pub fn prompt(&self) -> &'static str {
        match self {
            Self::Global => "config",
            Self::Interface(_) => "config-if",
            Self::AccessList(_) => "config-ext-nacl",
            Self::CryptoMap(..) | Self::DynamicMap(..) => "config-crypto-map",
            Self::TransformSet(_) => "cfg-crypto-trans",
            Self::IsakmpPolicy(_) => "config-isakmp",
            Self::Ikev2Proposal(_) => "config-ikev2-proposal",
            Self::Ikev2Policy(_) => "config-ikev2-policy",
            Self::Ikev2Keyring(_) => "config-ikev2-keyring",
            Self::Ikev2KeyringPeer(..) => "config-ikev2-keyring-peer",
            Self::Ikev2Profile(_) => "config-ikev2-profile",
            Self::Trustpoint(_) => "ca-trustpoint",
            Self::CertificateChain(_) => "config-cert-chain",
            Self::CertificateData { .. } => "config-pubkey",
            Self::PkiPaste { .. } => PASTE_PROMPT,
            Self::Line(_) => "config-line",
        }
    }

    /// Whether the mode collects its lines, for a final line that evaluates them.
    pub(crate) fn collects(&self) -> bool {
        matches!(self, Self::CertificateData { .. } | Self::PkiPaste { .. })
    }

    /// The mode after `exit`; `None` in global configuration.
    pub fn parent(&self) -> Option<Mode> {
        match self {
            Self::Global => None,
            Self::Ikev2KeyringPeer(keyring, _) => Some(Self::Ikev2Keyring(keyring.clone())),
            Self::CertificateData { trustpoint, .. } => Some(Self::CertificateChain(trustpoint.clone())),
            _ => Some(Self::Global),
        }
    }
}

/// Prompt while private keys are pasted; clients must not store these lines in a history.
pub const PASTE_PROMPT: &str = "config-pki-paste";

const COMMON: &[ConfigCommand] = &[
    ConfigCommand { syntax: "exit", action: Action::Exit },
    ConfigCommand { syntax: "end", action: Action::End },
];

type Trees = LazyLock<Tree<Action>>;

macro_rules! trees {
    ($($name:ident: $($commands:expr),+;)+) => {
        $(static $name: Trees = LazyLock::new(|| build(stringify!($name), &[COMMON, $($commands),+]));)+

        /// Every tree, for tests that check all commands.
        #[cfg(test)]
        pub(crate) fn all_trees() -> Vec<(&'static str, &'static Tree<Action>)> {
            vec![$((stringify!($name), &*$name)),+]
        }
    };
}

trees! {
    GLOBAL: global::COMMANDS, crypto_global::COMMANDS, isakmp::GLOBAL, ikev2::GLOBAL, pki::GLOBAL,
        access_list::GLOBAL;
    INTERFACE: interface::COMMANDS;
    ACCESS_LIST: access_list::COMMANDS;
    CRYPTO_MAP: crypto_map::COMMANDS, crypto_map::STATIC_ONLY;
    DYNAMIC_MAP: crypto_map::COMMANDS, crypto_map::DYNAMIC_ONLY;
    TRANSFORM_SET: transform_set::COMMANDS;
    ISAKMP_POLICY: isakmp::POLICY;
    IKEV2_PROPOSAL: ikev2::PROPOSAL;
    IKEV2_POLICY: ikev2::POLICY;
    IKEV2_KEYRING: ikev2::KEYRING;
    IKEV2_KEYRING_PEER: ikev2::KEYRING_PEER;
    IKEV2_PROFILE: ikev2::PROFILE;
    TRUSTPOINT: pki::TRUSTPOINT;
    CERTIFICATE_CHAIN: pki::CHAIN;
    CERTIFICATE_DATA: pki::CERTIFICATE_DATA;
    PKI_PASTE: pki::PASTE;
    LINE: line::COMMANDS;
}

/// Builds a tree. A syntax error in the command definitions panics, in the first test that uses the
/// mode.
#[allow(clippy::panic, reason = "a mistake in a constant table, found by the first test")]
fn build(name: &str, groups: &[&'static [ConfigCommand]]) -> Tree<Action> {
    match Tree::new(groups) {
        Ok(tree) => tree,
        Err(error) => panic!("command table {name}: {error}"),
    }
}

pub(crate) fn mode_tree(mode: &Mode) -> &'static Tree<Action> {
    match mode {
        Mode::Global => &GLOBAL,
        Mode::Interface(_) => &INTERFACE,
        Mode::AccessList(_) => &ACCESS_LIST,
        Mode::CryptoMap(..) => &CRYPTO_MAP,
        Mode::DynamicMap(..) => &DYNAMIC_MAP,
        Mode::TransformSet(_) => &TRANSFORM_SET,
        Mode::IsakmpPolicy(_) => &ISAKMP_POLICY,
        Mode::Ikev2Proposal(_) => &IKEV2_PROPOSAL,
        Mode::Ikev2Policy(_) => &IKEV2_POLICY,
        Mode::Ikev2Keyring(_) => &IKEV2_KEYRING,
        Mode::Ikev2KeyringPeer(..) => &IKEV2_KEYRING_PEER,
        Mode::Ikev2Profile(_) => &IKEV2_PROFILE,
        Mode::Trustpoint(_) => &TRUSTPOINT,
        Mode::CertificateChain(_) => &CERTIFICATE_CHAIN,
        Mode::CertificateData { .. } => &CERTIFICATE_DATA,
        Mode::PkiPaste { .. } => &PKI_PASTE,
        Mode::Line(_) => &LINE,
    }
}

/// A parsed configuration line and the mode that it belongs to.
pub(crate) struct Step {
    matched: Match<Action>,
    mode: Mode,
}

/// The session's state after a line.
pub(crate) enum Next {
    /// Continue in the editor's mode.
    Stay,
    /// `exit` from global configuration, or `end`.
    Leave,
    /// Not decided yet: [`Step::resume`] applies the line with the answer.
    Ask(Question, Rest),
}

/// Separates a leading `no` or `default`.
pub(crate) fn form_of<'t, 'l>(words: &'t [Token<'l>]) -> (Form, &'t [Token<'l>]) {
    let is_default = |word: &str| word.len() >= 3 && "default".starts_with(&word.to_ascii_lowercase());
    match words.split_first() {
        Some((first, rest)) if first.text.eq_ignore_ascii_case("no") => (Form::No, rest),
        Some((first, rest)) if is_default(first.text) => (Form::Default, rest),
        _ => (Form::Plain, words),
    }
}

/// Parses a line in `mode`, then in its parent modes. If all fail, the error that occurs latest in
/// the line is returned.
pub(crate) fn parse(mode: &Mode, line: &str, words: &[Token<'_>]) -> Result<Step, ParseError> {
    let (form, rest) = form_of(words);
    let mut current = mode.clone();
    let mut worst: Option<ParseError> = None;
    loop {
        match mode_tree(&current).parse(line, rest, form) {
            Ok(matched) => return Ok(Step { matched, mode: current }),
            Err(error) => {
                if worst.as_ref().is_none_or(|best| error.progress() > best.progress()) {
                    worst = Some(error);
                }
            }
        }
        match current.parent() {
            Some(parent) => current = parent,
            None => return Err(worst.unwrap_or(ParseError::Incomplete { understood: 0 })),
        }
    }
}

impl Step {
    /// Applies the line. On an error the caller discards the candidate.
    pub(crate) fn apply(&self, editor: &mut Editor<'_>) -> Result<Next, EditError> {
        let args = &self.matched.args;
        match self.matched.action {
            Action::Apply(apply) => {
                editor.mode = self.mode.clone();
                apply(editor, args)?;
            }
            Action::Keep(store) => {
                editor.mode = self.mode.clone();
                keep(editor, store, args);
            }
            Action::Exit => match self.mode.parent() {
                Some(parent) => editor.mode = parent,
                None => return Ok(Next::Leave),
            },
            Action::End => return Ok(Next::Leave),
        }
        Ok(match editor.question.take() {
            Some((question, rest)) => Next::Ask(question, rest),
            None => Next::Stay,
        })
    }

    /// Applies a line after its question was answered.
    pub(crate) fn resume(
        &self,
        editor: &mut Editor<'_>,
        rest: Rest,
        answer: Answer,
    ) -> Result<(), EditError> {
        editor.mode = self.mode.clone();
        rest(editor, &self.matched.args, answer)
    }

    /// Applies a line of a file, with the answers of `environment`.
    pub(crate) fn apply_with(
        &self,
        editor: &mut Editor<'_>,
        environment: &mut dyn Environment,
    ) -> Result<(), EditError> {
        match self.apply(editor)? {
            Next::Ask(question, rest) => self.resume(editor, rest, environment.answer(&question)),
            Next::Stay | Next::Leave => Ok(()),
        }
    }
}

/// Stores a line without an effect, once; its negation removes it and all lines that start with it.
fn keep(editor: &mut Editor<'_>, store: super::Keep, args: &Args) {
    let text = args.canonical();
    let Some(lines) = store(editor.configuration, &editor.mode) else { return };
    if args.negated() {
        lines.retain(|line| *line != text && !line.starts_with(&format!("{text} ")));
    } else if !lines.contains(&text) {
        lines.push(text);
    }
}

/// The words that `?` lists in a configuration mode: the mode's own commands and, at the start of a
/// line, `no`, `default` and `do`.
pub fn mode_help(
    mode: &Mode,
    line: &str,
    words: &[Token<'_>],
    partial: &str,
) -> Result<Vec<Entry>, ParseError> {
    let (form, rest) = form_of(words);
    let own = mode_tree(mode).expected(line, rest, partial, form);
    let mut entries = match (own, mode.parent()) {
        (Ok(entries), _) if !entries.is_empty() => entries,
        (Ok(_), Some(parent)) => return mode_help(&parent, line, words, partial),
        (Err(error), Some(parent)) => return mode_help(&parent, line, words, partial).map_err(|_| error),
        (other, None) => other?,
    };
    if words.is_empty() {
        for (text, help) in [
            ("default", "Set a command to its defaults"),
            ("do", "To run exec commands in config mode"),
            ("no", "Negate a command or set its defaults"),
        ] {
            if text.starts_with(&partial.to_ascii_lowercase()) {
                entries.push(Entry { text: text.into(), help: help.into() });
            }
        }
        entries.sort();
    }
    Ok(entries)
}
