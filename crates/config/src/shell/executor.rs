//! What a CLI session needs from the owner of the running configuration.

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

/// The result of an exec command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the text may be empty.
    Done(String),
    /// The answer comes later through [`super::Shell::finish`]; until then the session takes no further request.
    Later,
}

/// What [`super::Shell::handle`] gives back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Send this.
    Now(Response),
    /// Send nothing yet: the executor answered [`Outcome::Later`].
    Later,
}

/// What other sessions began with when they entered configuration mode.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    /// Those that are still in configuration mode.
    pub open: Vec<Arc<Configuration>>,
    /// Those whose connection ended inside it; what they began with is reviewed by the next one that leaves.
    pub cut: Vec<Arc<Configuration>>,
}

/// The owner of the running configuration and of the state that shows print.
pub trait Executor {
    /// The running configuration.
    fn running(&self) -> &Configuration;

    /// Makes `candidate` the running configuration. `changes` is `diff(running, candidate)`, never empty. On an error
    /// nothing has changed. The text of `Ok` is printed to the user (may be empty, else ends in a line end).
    fn apply(&mut self, candidate: Configuration, changes: &[Change]) -> Result<String, CommandError>;

    /// Answers a show command in IOS text. Commands that the configuration alone answers do not come here.
    fn show(&mut self, command: &ShowCommand) -> Result<String, CommandError>;

    /// Answers `show … | json`. The default says that the command has no JSON form.
    fn show_json(&mut self, command: &ShowCommand) -> Result<serde_json::Value, CommandError> {
        let _ = command;
        Err(CommandError::Failed("This command has no JSON form; leave \"| json\" out".into()))
    }

    /// Executes an exec command.
    fn execute(&mut self, command: &ExecCommand) -> Result<Outcome, CommandError>;

    /// True when `host` resolves now (`set peer H` without `dynamic`), by `ip host` or otherwise; the owner notes the
    /// address. An owner that would have to wait answers false, throws the answer away, and hands the request in again
    /// when it knows.
    fn resolves(&mut self, host: &str) -> bool;

    /// Reads key and certificates and stores the private key (`crypto pki import`).
    fn import(&mut self, import: &Import) -> Result<Imported, ImportError> {
        let _ = import;
        Err(ImportError::Refused("%ERROR: private keys cannot be stored here".into()))
    }

    /// A session enters configuration mode; `before` is the running configuration. Until [`Executor::left`] what it
    /// protects stays protected, whatever is applied. The text is printed (may be empty, else ends in a line end).
    fn entered(&mut self, before: &Arc<Configuration>) -> String {
        let _ = before;
        String::new()
    }

    /// What sessions other than this one began with.
    fn baselines(&self) -> Baselines {
        Baselines::default()
    }

    /// The session leaves configuration mode in order, for `%SYS-5-CONFIG_I`. `lost`: what is not protected any more,
    /// for the log.
    fn left(&mut self, lost: &[String]) {
        let _ = lost;
    }

    /// The session ends without leaving configuration mode.
    fn abandoned(&mut self) {}
}
