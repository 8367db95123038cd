//! `tohub release`.

use std::path::Path;

use config::control::SOCKET_NAME;

use crate::failure::Failure;
use crate::supervise::LOCK_NAME;

/// Removes everything that the instance of `run_dir` leaves in the kernel, and its run directory when that is empty then.
pub(crate) fn release(run_dir: &Path) -> Result<(), Failure> {
    if run_dir.exists() {
        // Held until the end: nobody starts meanwhile.
        let _lock = crate::supervise::lock(run_dir)?;
    }
    let released = dataplane::process::release::release(run_dir, None)
        .map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
    for file in [SOCKET_NAME, LOCK_NAME] {
        // What is not there needs no removal.
        let _ = std::fs::remove_file(run_dir.join(file));
    }
    let removed = std::fs::remove_dir(run_dir).is_ok();
    let rest = if removed { "" } else { "; the run directory keeps files that are not tohub's" };
    println!(
        "{}: {} programs detached, {} maps removed{rest}",
        released.instance, released.links, released.maps
    );
    Ok(())
}
