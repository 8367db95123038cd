//! Code that all programs of tohub share: exit codes, locating other programs, and the lock of a
//! run directory. The crate parses no input and opens no socket, so that privileged programs can
//! link it.
#![forbid(unsafe_code)]

mod failure;
mod find;
mod run_dir;

pub use failure::{Failure, conclude};
pub use find::{find, find_installed};
pub use run_dir::{DEFAULT_RUN_DIR, LOCK_NAME, lock, make_run_dir};
