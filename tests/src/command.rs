//! Running programs; errors contain the command and its output.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A failure of the laboratory itself (not of the product under test).
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program could not be started.
    #[error(
        "cannot start `{command}`: {source} (is it installed? scripts/setup.sh installs what the laboratory needs)"
    )]
    Start {
        /// The command line.
        command: String,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` failed ({status}): {output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Its output, both streams.
        output: String,
    },
    /// An event did not happen in time.
    #[error("gave up after {seconds} s waiting for {what}")]
    Timeout {
        /// The event.
        what: String,
        /// The timeout.
        seconds: u64,
    },
    /// A file or a pipe failed.
    #[error("{what}: {source}")]
    Io {
        /// The object and operation.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The output of a program could not be parsed.
    #[error("{0}")]
    Unexpected(String),
    /// Interrupted by the user.
    #[error("interrupted")]
    Interrupted,
}

/// Result of a laboratory operation.
pub type Result<T> = std::result::Result<T, LabError>;

impl LabError {
    /// An I/O error with the object it happened on.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs a program to its end and returns what it wrote to standard output; anything but exit status
/// 0 is an error.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    checked(&mut command)
}

/// The same for a prepared [`Command`].
pub fn checked(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Failed {
        command: describe(command),
        status: output.status,
        output: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    })
}

/// Runs a prepared command to its end, for any exit status.
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LabError::Start { command: describe(command), source })
}

/// Set once by a signal handler: every wait of the laboratory then ends with
/// [`LabError::Interrupted`].
pub fn interrupt_flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// Sleeps, unless interrupted.
pub fn sleep_ms(milliseconds: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < end {
        if interrupt_flag().load(Ordering::Relaxed) {
            return Err(LabError::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

thread_local! {
    static GAVE_UP: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the test on this thread is failing: it panics, or a wait timed out. Objects that are
/// dropped then print their log.
pub fn goes_wrong() -> bool {
    std::thread::panicking() || GAVE_UP.get()
}

/// Polls `condition` every 50 ms until it returns a value, for at most `seconds`.
pub fn wait_for<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            GAVE_UP.set(true);
            return Err(LabError::Timeout { what: what.to_owned(), seconds });
        }
        sleep_ms(50)?;
    }
}

/// The same as [`output`] for cleaning up: in a separate process group, so that a second Ctrl-C at
/// the terminal does not end it.
pub fn clean_up(command: &mut Command) -> Result<Output> {
    output(command.process_group(0))
}

/// The same as [`wait_for`] for cleaning up: not cut short by an interrupt, and false when the time
/// is over.
pub fn settle(seconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The command line as text.
pub fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
