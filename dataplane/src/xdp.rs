//! The kernel programs: loading, attaching, pinning, and the maps that configure them.
//!
//! Everything is pinned under `/sys/fs/bpf/tohub/<instance>/`, so it outlives the process: after
//! the data plane has ended, the programs drop packets that would have been protected. A restart
//! takes over the pinned maps and replaces the programs by link update; nothing is detached
//! meanwhile. Only [`release`] removes the programs.

mod attach;
mod bpffs;
mod classes;
mod coarsen;
mod error;
mod limits;
mod loaded;
mod pins;
mod policy;
mod programs;
mod rules;
mod standing;

pub use attach::{Attached, AttachedMode, DeviceQuery, DeviceState};
pub use classes::{PrefixClass, inherit};
pub use error::XdpError;
pub use limits::limits;
pub use pins::{Released, release};
pub use policy::{KernelPolicy, everywhere};
pub use programs::{Programs, addresses};
pub use standing::StandingRules;
