//! What a CLI session asks of the owner of the running configuration, and what it is told.

use std::sync::Arc;

use crate::Configuration;
use crate::command::{ExecCommand, ShowCommand};
use crate::control::Response;
use crate::diff::Change;
use crate::edit::{Import, ImportError, Imported};

/// Why a command was understood and did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A rule forbids it. The text is printed as `%ERROR: text` unless it begins with `%`.
    #[error("{0}")]
    Refused(String),
    /// It was tried and failed. The text is printed as `% text` unless it begins with `%`.
    #[error("{0}")]
    Failed(String),
}

/// What a session gives back after each input.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be sent in this order: the responses of the requests that are answered now, one each.
    pub replies: Vec<Response>,
    /// To be done next; the session goes on when it is told the result. None: the session takes the
    /// next request.
    pub ask: Option<Ask>,
}

/// What is to be done for a session. Each is followed by exactly one [`Told`].
#[derive(Debug)]
pub enum Ask {
    /// Make this the running configuration: [`Told::Committed`].
    Commit(Commit),
    /// The session enters configuration mode; what this, the running configuration, protects stays
    /// protected until [`Ask::Left`], whatever is committed: [`Told::Entered`].
    Entered(Arc<Configuration>),
    /// The session leaves configuration mode: what did other sessions begin with?
    /// [`Told::Baselines`].
    Baselines,
    /// The session has left configuration mode in order, for `%SYS-5-CONFIG_I`; what is not
    /// protected any more, for the log: [`Told::Noted`].
    Left(Vec<String>),
    /// The session has ended without leaving configuration mode, and begins anew: [`Told::Noted`].
    Abandoned,
    /// Does this host name resolve now (`set peer H` without `dynamic`), by `ip host` or otherwise?
    /// The owner notes the address: [`Told::Resolved`].
    Resolve(String),
    /// Read key and certificates and store the private key (`crypto pki import`):
    /// [`Told::Imported`].
    Import(Import),
    /// Answer a show command in IOS text: [`Told::Shown`]. Commands that the configuration alone
    /// answers are not asked.
    Show(ShowCommand),
    /// Answer `show … | json`: [`Told::Json`].
    ShowJson(ShowCommand),
    /// Execute an exec command, which may take its time: [`Told::Executed`].
    Execute(ExecCommand),
}

/// A candidate and what it changes.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The configuration that is to run.
    pub configuration: Configuration,
    /// What differs from the running one; never empty.
    pub changes: Vec<Change>,
}

/// The result of an [`Ask`].
#[derive(Debug)]
pub enum Told {
    /// The candidate runs; or it does not, and nothing has changed.
    Committed(Result<(), CommandError>),
    /// A note for the user: empty, or ending in a line end.
    Entered(String),
    /// What other sessions began with.
    Baselines(Baselines),
    /// It is noted.
    Noted,
    /// Whether the name resolves.
    Resolved(bool),
    /// What was imported.
    Imported(Result<Imported, ImportError>),
    /// The output of a show command.
    Shown(Result<String, CommandError>),
    /// The JSON form of a show command.
    Json(Result<serde_json::Value, CommandError>),
    /// What an exec command prints; may be empty.
    Executed(Result<String, CommandError>),
}

impl Told {
    /// For a show command without a JSON form.
    pub fn no_json() -> Self {
        Self::Json(Err(CommandError::Failed("This command has no JSON form; leave \"| json\" out".into())))
    }
}

/// What other sessions began with when they entered configuration mode.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    /// Those that are still in configuration mode.
    pub open: Vec<Arc<Configuration>>,
    /// Those whose connection ended inside it; what they began with is reviewed by the next one
    /// that leaves.
    pub cut: Vec<Arc<Configuration>>,
}
