//! The life of the process: start, closing, engine and workers, housekeeping, status, release.

pub mod closing;
pub mod engine;
pub(crate) mod guarded;
pub mod hygiene;
pub mod instance;
pub mod release;
pub mod run;
pub mod settings;
pub mod status;
pub mod watch;
pub mod worker;
