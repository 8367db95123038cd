//! Several lines of `ip` in one process, to minimise the time between them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use lab::Result;
use lab::command::{LabError, describe};
use lab::namespace::Namespace;

/// Runs lines of `ip` in a namespace, in one process; the first that fails is the error.
pub fn batch(namespace: &Namespace, lines: &[String]) -> Result<()> {
    run_batch(namespace, lines, &["-batch", "-"])
}

/// The same, continuing after lines that fail.
pub fn forced_batch(namespace: &Namespace, lines: &[String]) -> Result<()> {
    match run_batch(namespace, lines, &["-force", "-batch", "-"]) {
        Ok(()) | Err(LabError::Failed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn run_batch(namespace: &Namespace, lines: &[String], options: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-n", namespace.name()]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|source| LabError::Start { command: describe(&command), source })?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.join("\n").as_bytes()).map_err(LabError::io("writing to ip -batch"))?;
    }
    let output = child.wait_with_output().map_err(LabError::io("waiting for ip -batch"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Failed {
        command: format!("{} <<< {:?}", describe(&command), lines),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
