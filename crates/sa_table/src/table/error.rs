//! Errors of changes of the table.

use thiserror::Error;

use crate::ids::{PolicyId, SlotWord};
use crate::policy::PolicyError;
use crate::record::RecordError;

/// Why the table was not changed. Nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// A newer control plane attached; this one must stop.
    #[error("another control plane attached to the table segment; this process must stop")]
    Superseded,
    /// No free slot.
    #[error(
        "all {capacity} {direction} SA slots are taken; clear SAs that are not needed, or save the configuration and restart tohub, \
         which makes the slots anew for what it needs"
    )]
    Full {
        /// `inbound` or `outbound`.
        direction: &'static str,
        /// Slots in all.
        capacity: u32,
    },
    /// An inbound SPI below [`MIN_SPI`](crate::MIN_SPI).
    #[error("SPI {0:#x} is reserved; draw one of at least 256")]
    ReservedSpi(u32),
    /// Inbound: SPI and local address are taken, draw another SPI. Outbound: the SA is already
    /// installed, and installing its keys again would repeat nonces.
    #[error("the {direction} SA with SPI {spi:#010x} and this address is already installed in slot {slot}")]
    Duplicate {
        /// `inbound` or `outbound`.
        direction: &'static str,
        /// The SPI.
        spi: u32,
        /// The existing slot.
        slot: SlotWord,
    },
    /// The record is inconsistent.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// More than the runtime segment can hold.
    #[error(
        "a replay window of {given} packets is larger than {most}; configure a smaller one or raise the capacity replay_words"
    )]
    ReplayWindow {
        /// The size in the record.
        given: u32,
        /// The largest size.
        most: u32,
    },
    /// The slot was retired, and possibly reused since.
    #[error("slot {0} is not live")]
    NotLive(SlotWord),
    /// No such policy, or it is not allocated.
    #[error("policy {0} is not allocated")]
    UnknownPolicy(PolicyId),
    /// The policy is already allocated.
    #[error("policy {0} is already allocated")]
    PolicyTaken(PolicyId),
    /// All policies are taken.
    #[error(
        "all {0} policies are taken; save the configuration and restart tohub, which makes the segments anew for it"
    )]
    NoFreePolicy(u32),
    /// A worker may still read the arena that has to be filled: try again after the workers have
    /// announced a newer version.
    #[error("a worker still reads the older policy; publish again after collect has got further")]
    ArenaBusy,
    /// The ports or rules cannot be published.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}
