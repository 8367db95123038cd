//! Counters by enum: drop reasons, events, and their sums over the workers.

pub mod counter;
pub mod drop_reason;
pub(crate) mod tally;
