//! How the program ends when it does not succeed (the table of exit codes in ARCHITECTURE.md).

/// The exit code and the last words.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub code: u8,
    /// Printed on standard error; empty when everything was said.
    pub text: String,
}

impl Failure {
    /// Executed and failed.
    pub const FAILED: u8 = 1;
    /// Operands that make no sense.
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
    /// Nobody listens on the control socket.
    pub const NOBODY: u8 = 11;

    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Everything was printed already.
    pub fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// A failed system call: code 4 when permission was missing, else 1.
    pub fn system(what: &str, error: &std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let (code, remedy) = if denied { (Self::PERMISSION, "; run it as root") } else { (Self::FAILED, "") };
        Self::new(code, format!("{what}: {error}{remedy}"))
    }
}
