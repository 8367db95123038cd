//! `tohub-guard --release`: removes the guard after a gateway was stopped.

use std::path::Path;

use config::control::SOCKET_NAME;
use program::{Failure, LOCK_NAME, lock};

/// Removes everything that the instance of `run_dir` leaves in the kernel, and its run directory if
/// it is empty afterwards. Rejected while a gateway runs.
pub(crate) fn release(run_dir: &Path, instance: Option<&str>) -> Result<(), Failure> {
    // Held until the end, so that no gateway starts meanwhile.
    let _lock = run_dir.exists().then(|| lock(run_dir)).transpose()?;
    let released = dataplane::process::release::release(run_dir, instance)
        .map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
    for file in [SOCKET_NAME, LOCK_NAME] {
        // A missing file is not an error.
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
