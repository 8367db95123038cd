//! What the programs of tohub have in common: how they end, where they find each other, and the
//! lock of a run directory. Everything privileged may link this crate: it parses nothing and opens
//! no socket.
#![forbid(unsafe_code)]

mod failure;
mod find;
mod run_dir;

pub use failure::{Failure, conclude};
pub use find::{find, find_installed};
pub use run_dir::{DEFAULT_RUN_DIR, LOCK_NAME, lock, make_run_dir};
