//! Compiles the protected traffic of a configuration into rules for the guard and the data plane.
//!
//! The functions are pure. The boot guard and the control plane both use them, so that the traffic
//! dropped before the gateway runs is the traffic that the gateway protects. The crate uses neither
//! devices nor SAs nor the kernel.
#![forbid(unsafe_code)]

mod carrier;
mod closed;
mod demand;
mod other_ways;
mod salvage;
mod shape;

pub use carrier::{Carrier, carriers};
pub use closed::{Closed, closed, closed_rules, everywhere, unapplied};
pub use demand::demand;
pub use other_ways::other_ways_out;
pub use salvage::salvage;
pub use shape::{BEHIND_ENTRY, Shape, close};
