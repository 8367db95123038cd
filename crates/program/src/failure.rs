//! Exit codes and error messages of the programs (exit codes: ARCHITECTURE.md).

use std::process::ExitCode;

/// The exit code and the message on standard error.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// Printed on standard error; empty if everything was printed already.
    pub text: String,
}

impl Failure {
    /// Executed and failed.
    pub const FAILED: u8 = 1;
    /// Usage error.
    pub const USAGE: u8 = 2;
    /// Configuration refused.
    pub const REFUSED: u8 = 3;
    /// Needs root.
    pub const PERMISSION: u8 = 4;
    /// No memory.
    pub const MEMORY: u8 = 7;
    /// Another copy is running.
    pub const RUNNING: u8 = 9;
    /// Shared segments do not match.
    pub const SEGMENTS: u8 = 10;
    /// Nothing listens on the control socket.
    pub const NOT_LISTENING: u8 = 11;

    /// A failure with its message.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A failure whose message was printed already.
    pub fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// A failed system call: code 4 for a missing permission, otherwise 1.
    pub fn system(what: &str, error: &std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let (code, remedy) = if denied { (Self::PERMISSION, "; run it as root") } else { (Self::FAILED, "") };
        Self::new(code, format!("{what}: {error}{remedy}"))
    }
}

/// Prints the message of a failure after the name of the program; returns the exit code of `done`.
pub fn conclude(program: &str, done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                eprintln!("{program}: {}", failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_has_its_own_code_and_remedy() {
        let denied = Failure::system("opening x", &std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.code, Failure::PERMISSION);
        assert!(denied.text.starts_with("opening x: ") && denied.text.ends_with("run it as root"));
        assert_eq!(Failure::system("opening x", &std::io::ErrorKind::NotFound.into()).code, Failure::FAILED);
    }
}
