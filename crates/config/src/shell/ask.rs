//! The requests of a CLI session to the owner of the running configuration, and their results.

use std::sync::Arc;

use crate::Configuration;
use crate::command::{ExecCommand, ShowCommand};
use crate::control::Response;
use crate::diff::Change;
use crate::edit::{Import, ImportError, Imported};

/// Why a valid command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Rejected by a rule. The text is printed as `%ERROR: text` unless it begins with `%`.
    #[error("{0}")]
    Refused(String),
    /// It was executed and failed. The text is printed as `% text` unless it begins with `%`.
    #[error("{0}")]
    Failed(String),
}

/// The output of a session after each input.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be sent in this order: one response for each request that is completed now.
    pub replies: Vec<Response>,
    /// To be carried out next; the session continues with the result. `None`: the session accepts
    /// the next request.
    pub ask: Option<Ask>,
}

/// A request of a session. Each is followed by exactly one [`Told`].
#[derive(Debug)]
pub enum Ask {
    /// Make this the running configuration: [`Told::Committed`].
    Commit(Commit),
    /// The session enters configuration mode. The traffic that this running configuration protects
    /// stays protected until [`Ask::Left`], regardless of commits: [`Told::Entered`].
    Entered(Arc<Configuration>),
    /// The session leaves configuration mode and needs the baselines of other sessions:
    /// [`Told::Baselines`].
    Baselines,
    /// The session has left configuration mode normally, for `%SYS-5-CONFIG_I`; with the traffic
    /// that is no longer protected, for the log: [`Told::Noted`].
    Left(Vec<String>),
    /// The session was terminated inside configuration mode and restarts: [`Told::Noted`].
    Abandoned,
    /// Whether this host name resolves now (`set peer H` without `dynamic`), by `ip host` or
    /// otherwise. The owner stores the address: [`Told::Resolved`].
    Resolve(String),
    /// Read key and certificates and store the private key (`crypto pki import`):
    /// [`Told::Imported`].
    Import(Import),
    /// Execute a show command with IOS text output: [`Told::Shown`]. Commands that only need the
    /// configuration are not passed on.
    Show(ShowCommand),
    /// Execute `show … | json`: [`Told::Json`].
    ShowJson(ShowCommand),
    /// Execute an exec command, which may take some time: [`Told::Executed`].
    Execute(ExecCommand),
}

/// A candidate with its changes.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The candidate configuration.
    pub configuration: Configuration,
    /// The differences from the running one; never empty.
    pub changes: Vec<Change>,
}

/// The result of an [`Ask`].
#[derive(Debug)]
pub enum Told {
    /// The candidate is running; on an error nothing has changed.
    Committed(Result<(), CommandError>),
    /// A note for the user: empty, or ending in a newline.
    Entered(String),
    /// The baselines of other sessions.
    Baselines(Baselines),
    /// Acknowledged.
    Noted,
    /// Whether the name resolves.
    Resolved(bool),
    /// The result of an import.
    Imported(Result<Imported, ImportError>),
    /// The output of a show command.
    Shown(Result<String, CommandError>),
    /// The JSON form of a show command.
    Json(Result<serde_json::Value, CommandError>),
    /// The output of an exec command; may be empty.
    Executed(Result<String, CommandError>),
}

impl Told {
    /// The result for a show command without a JSON form.
    pub fn no_json() -> Self {
        Self::Json(Err(CommandError::Failed("This command has no JSON form; leave \"| json\" out".into())))
    }
}

/// The configurations that were running when other sessions entered configuration mode.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    /// Of sessions still in configuration mode.
    pub open: Vec<Arc<Configuration>>,
    /// Of sessions that disconnected in configuration mode; they are reviewed when the next session
    /// leaves it.
    pub cut: Vec<Arc<Configuration>>,
}
