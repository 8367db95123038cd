//! `tohub guard`: closes this machine for what a saved configuration protects. The work is done by `tohub-guard`, which needs nothing
//! else of the gateway.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::supervise::find;

/// Runs `tohub-guard` to its end.
///
/// # Errors
/// It cannot be started, or it ended with the exit code of the failure after it said why.
pub(crate) fn run(run_dir: &Path, config: &Path) -> Result<(), Failure> {
    let program = find("tohub-guard")?;
    let ended = Command::new(&program)
        .arg("--config")
        .arg(config)
        .arg("--run-dir")
        .arg(run_dir)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::system(&format!("starting {}", program.display()), &error))?;
    match ended.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::silent(u8::try_from(code).unwrap_or(Failure::FAILED))),
        None => Err(Failure::new(Failure::FAILED, format!("{} was killed; start again", program.display()))),
    }
}
