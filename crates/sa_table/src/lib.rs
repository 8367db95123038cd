//! The shared-memory tables between the control plane and the data plane.
//!
//! Four memfd segments carry all communication of the two processes: *table* (SAs, keys and policy,
//! written by the control plane), *runtime* (sequence numbers, replay windows and counters, written
//! by the data plane), *events* (hints from workers) and *checkpoint* (the state from which a
//! restarted control plane continues). This crate defines their layout, creates and checks them,
//! and gives each process only the operations of its role. It parses no packets, has no IKE code,
//! starts no thread and reads no clock: times are arguments.
//!
//! The supervisor owns the segments ([`Segments`]); the control plane has the [`TableWriter`],
//! [`RuntimeReader`], [`EventReceiver`] and [`Checkpoint`]; the data plane has the [`TableReader`]
//! and [`RuntimeWriter`], a clone per worker, and an [`EventSender`] per worker.
//!
//! Invariants:
//! - Shared memory is accessed as a slice of atomic words only. A word is copied once, and the copy
//!   is checked and used. No content of a segment makes a reader panic or leave its bounds.
//! - A record is written only while no word refers to it; it is published by one release store of
//!   such a word. A removed record is erased after every worker has announced a later generation,
//!   not before.
//! - A sequence number is used only if it is below a bound stored in shared memory before.
//! - The packet path takes no lock, allocates nothing and never retries.
#![deny(unsafe_code)]

mod address;
mod checkpoint;
mod descriptors;
mod events;
mod flow;
pub mod guard;
mod header;
pub mod ids;
mod layout;
#[allow(unsafe_code, reason = "maps segments and hands descriptors to children")]
mod mapping;
pub mod policy;
mod protocol;
mod pulse;
pub mod record;
pub mod routes;
mod runtime;
mod segments;
mod table;
mod word;

pub use checkpoint::{Checkpoint, CheckpointTooLarge};
pub use descriptors::{Descriptors, ListenFdsError, take_listen_fds};
pub use events::{Direction, Event, EventReceiver, EventSender, SendOutcome};
pub use flow::FiveTuple;
pub use header::{ABI, AttachError, SegmentKind};
pub use ids::{Generation, PolicyId, PolicyVersion, SlotWord, WorkerId};
pub use layout::{Capacities, CapacitiesTextError, CapacityError, Demand, Shortage};
pub use mapping::{Locking, MapError};
pub use policy::{
    Action, EntryError, FilterBinding, FilterList, FilterLog, FilterPoint, FilterRule, Filters,
    IcmpCondition, MAX_CRYPTO_ADDRESSES, MAX_DEVICE_NAME, MAX_FILTER_NAME, MAX_IOS_NAME, Masked, PolicyError,
    PolicySnapshot, PortCondition, PortRecord, Prefix, Rule, RuleList, union,
};
pub use pulse::{PULSE_NAME, PULSE_PERIOD, Pulse, PulseMonitor};
pub use record::{
    AddressRange, DfPolicy, DscpPolicy, Encapsulation, EspAlgorithm, Hmac, InboundSaRecord, KeyLengthError,
    KeyMaterial, Lifetime, MAX_KEY_OCTETS, MAX_SELECTOR_PAIRS, Mode, OutboundSaRecord, PeerEndpoint,
    PortRange, RecordError, SelectorPair, Selectors, TrafficSelector,
};
pub use runtime::{
    AcquireOutcome, AcquireRequest, ClaimError, DROP_COUNTERS, InboundOwner, InboundStats, Level, Levels,
    NewEndpoint, OutboundOwner, OutboundStats, ReplayWords, RuntimeReader, RuntimeWriter, SaErrorKind,
    SequenceError, WORKER_COUNTERS, WorkerStatus,
};
pub use segments::{CreateError, Role, Segments};
pub use table::{
    Collected, EndpointRead, EndpointVersion, PolicyReadError, RetireToken, TableError, TableReader,
    TableWriter,
};

/// The smallest inbound SPI: 0 is not an SPI and 1 to 255 are reserved (RFC 4303 §2.1).
pub const MIN_SPI: u32 = 256;

#[cfg(test)]
mod tests;
