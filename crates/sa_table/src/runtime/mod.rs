//! The runtime segment: written by the data plane, read by the control plane.

mod owner;
mod reader;
mod writer;

pub use owner::{InboundOwner, OutboundOwner, ReplayWords, SequenceError};
pub use reader::{AcquireRequest, InboundStats, NewEndpoint, OutboundStats, RuntimeReader, WorkerStatus};
pub(crate) use writer::send_workers_off;
pub use writer::{AcquireOutcome, ClaimError, RuntimeWriter};

/// Number of drop counters of a worker; the data plane defines their meaning.
pub const DROP_COUNTERS: usize = 64;
/// Other counters of a worker.
pub const WORKER_COUNTERS: usize = 64;

const _: () = {
    use crate::layout::WorkerState;
    assert!(WorkerState::announced == 0);
    assert!(WorkerState::counters - WorkerState::drops == DROP_COUNTERS);
    assert!(WorkerState::WORDS - WorkerState::counters == WORKER_COUNTERS);
};

/// Why a packet of an SA was dropped: the index of its error counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaErrorKind {
    /// Inbound: left of the replay window or seen before.
    Replay = 0,
    /// Inbound: the integrity check value is wrong.
    Integrity = 1,
    /// Too short, wrong padding or trailer.
    Malformed = 2,
    /// Inbound: the inner packet does not match the selectors.
    Selectors = 3,
    /// Over a hard limit of the lifetime.
    Lifetime = 4,
    /// Outbound: no sequence number left.
    SequenceExhausted = 5,
    /// Outbound: larger than the path MTU.
    TooBig = 6,
    /// Anything else.
    Other = 7,
}

impl SaErrorKind {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Replay,
        Self::Integrity,
        Self::Malformed,
        Self::Selectors,
        Self::Lifetime,
        Self::SequenceExhausted,
        Self::TooBig,
        Self::Other,
    ];
}

/// A fact about an SA that remains set for the life of the SA: the level state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// A soft limit of the lifetime was reached: rekey.
    SoftLimit = 1,
    /// A hard limit was reached, the SA is not used any more.
    HardLimit = 2,
    /// Outbound: the sequence numbers are used up.
    SequenceExhausted = 4,
}

/// The levels that are set for an SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels(pub(crate) u64);

impl Levels {
    /// Whether a level is set.
    pub fn contains(self, level: Level) -> bool {
        self.0 & level as u64 != 0
    }
}
