//! The programs in the kernel: loading, attaching, pinning, and the maps that steer them.
//!
//! Everything is pinned under `/sys/fs/bpf/tohub/<instance>/`, so it outlives the process: a dead
//! data plane leaves programs that drop what would have been protected. A restart takes the pinned
//! maps over and replaces the programs by link update; nothing is ever detached on the way.
//! [`release`] is the one thing that takes the programs away.

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
