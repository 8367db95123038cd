//! `tohub guard`: closes this machine for what a saved configuration protects. The work is done by `tohub-guard`, which needs nothing
//! else of the gateway.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sa_table::Capacities;

use crate::failure::Failure;
use crate::supervise::find;

/// Runs `tohub-guard` to its end. Gives the sizes of the shared segments that the configuration needs.
///
/// # Errors
/// It cannot be started, or it ended with the exit code of the failure after it said why.
pub(crate) fn run(run_dir: &Path, config: &Path) -> Result<Capacities, Failure> {
    let program = find("tohub-guard")?;
    let ended = Command::new(&program)
        .arg("--config")
        .arg(config)
        .arg("--run-dir")
        .arg(run_dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::system(&format!("starting {}", program.display()), &error))?;
    match ended.status.code() {
        Some(0) => {
            let printed = String::from_utf8_lossy(&ended.stdout);
            Capacities::from_json(printed.trim()).map_err(|error| {
                let text = format!("{}: {error}; install all programs of one release", program.display());
                Failure::new(Failure::FAILED, text)
            })
        }
        Some(code) => Err(Failure::silent(u8::try_from(code).unwrap_or(Failure::FAILED))),
        None => Err(Failure::new(Failure::FAILED, format!("{} was killed; start again", program.display()))),
    }
}

/// Becomes `tohub-guard --watch`, which stays. Returns when that cannot be started.
pub(crate) fn watch(run_dir: &Path, config: Option<&Path>) -> Failure {
    let program = match find("tohub-guard") {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let mut command = Command::new(&program);
    command.arg("--watch").arg("--run-dir").arg(run_dir);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    Failure::system(&format!("starting {}", program.display()), &command.exec())
}
