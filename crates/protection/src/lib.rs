//! What a configuration protects, as rules for the guard and for the packet path.
//!
//! Pure: configuration in, records and rules out. The boot guard and the control plane both compile
//! with it, so that what is closed before the gateway runs is what the gateway protects. It knows
//! no device, no SA and no kernel.
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
