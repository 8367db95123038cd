//! The shared-memory tables between the control plane and the data plane.
#![deny(unsafe_code)]

pub mod ids;
pub mod policy;
pub mod record;

pub use ids::{Generation, PolicyId, PolicyVersion, SlotWord, WorkerId};

/// The smallest inbound SPI: 0 is not an SPI and 1 to 255 are reserved (RFC 4303 section 2.1).
pub const MIN_SPI: u32 = 256;
