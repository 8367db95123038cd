//! The run directory of a gateway and its lock.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Failure;

/// Default run directory.
pub const DEFAULT_RUN_DIR: &str = "/run/tohub";

/// Name of the lock in the run directory.
pub const LOCK_NAME: &str = "supervise.lock";

/// Creates the run directory (mode 0700) if it does not exist.
///
/// # Errors
/// It cannot be created.
pub fn make_run_dir(run_dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir);
    made.map_err(|error| Failure::system(&format!("making the run directory {}", run_dir.display()), &error))
}

/// Takes the lock of the gateway of `run_dir`, held as long as the file is open.
///
/// # Errors
/// Code 9 while another process holds it; otherwise the error of opening or locking.
pub fn lock(run_dir: &Path) -> Result<File, Failure> {
    let path = run_dir.join(LOCK_NAME);
    let open = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(|error| Failure::system(&format!("opening {}", path.display()), &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(Failure::new(
            Failure::RUNNING,
            format!(
                "a gateway is running in {}; stop it first, or choose another --run-dir",
                run_dir.display()
            ),
        )),
        Err(error) => Err(Failure::system(&format!("locking {}", path.display()), &error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("a/b");
        make_run_dir(&run_dir).unwrap();
        let first = lock(&run_dir).unwrap();
        assert_eq!(lock(&run_dir).unwrap_err().code, Failure::RUNNING);
        drop(first);
        lock(&run_dir).unwrap();
    }
}
