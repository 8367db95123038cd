//! Subcommands that are separate programs. They replace this process (execve), so that process ID,
//! standard streams and everything inherited from a service manager stay the same.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use program::{Failure, find_installed};

/// Options that the program of a subcommand reads.
#[derive(Debug, clap::Args)]
pub(crate) struct PassedOn {
    /// Options of the program; --help lists them.
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
}

/// Executes the program `name`. Returns only if that fails.
pub(crate) fn become_program(name: &str, arguments: &[OsString]) -> Failure {
    start(name, arguments, Stdio::inherit())
}

/// Executes the program `name` with standard output redirected to /dev/null.
pub(crate) fn become_silent(name: &str, arguments: &[OsString]) -> Failure {
    start(name, arguments, Stdio::null())
}

fn start(name: &str, arguments: &[OsString], output: Stdio) -> Failure {
    let program = match find_installed(name) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let error = Command::new(&program).args(arguments).stdout(output).exec();
    Failure::system(&format!("starting {}", program.display()), &error)
}
