//! The table segment: the control plane's writer and the workers' reader.

mod error;
mod policies;
mod reader;
mod slots;
mod writer;

pub use error::TableError;
pub use reader::{EndpointRead, EndpointVersion, PolicyReadError, TableReader};
pub use writer::{Collected, RetireToken, TableWriter};

/// State of a slot, low half of its state word; the high half is the generation.
pub(crate) mod slot_state {
    pub(crate) const FREE: u64 = 0;
    /// The record is being written; nothing refers to the slot.
    pub(crate) const BUILDING: u64 = 1;
    pub(crate) const LIVE: u64 = 2;
    /// Nothing refers to the slot any more; the record is kept until the grace period is over.
    pub(crate) const RETIRED: u64 = 3;
}

/// State of a policy.
pub(crate) mod policy_state {
    pub(crate) const FREE: u64 = 0;
    pub(crate) const USED: u64 = 1;
    pub(crate) const RETIRED: u64 = 2;
}
