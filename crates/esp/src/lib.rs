//! ESP (RFC 4303) as a pure function over bursts of packets.
//!
//! Purpose: [`seal()`] turns inner packets into ESP packets in place, outer IP (and UDP) header
//! included; [`open()`] turns ESP packets back into inner packets, replay check and commit
//! included. Both take *bursts*: slices of jobs, each of which borrows a frame and names its own
//! security association, so that a batch kernel sees many packets and many keys at once.
//!
//! Not in scope: I/O, allocation or locking on the packet path, clocks, the shared tables, the
//! choice of an SA. Selector checks are done by the caller.
//!
//! Caller: the data plane's workers. Ownership: the caller owns frames, SAs, the sequence counter
//! ([`SequenceSource`]) and the replay state ([`ReplayStore`]); this crate holds no state of its
//! own.
//!
//! Invariants:
//! - A nonce is salt ‖ 64-bit sequence number; the IV of AES-CBC is that number under a random key.
//!   A [`SequenceNumber`] can neither be copied nor reused: [`SealJob::new`] consumes it, and a
//!   [`SequenceRange`] yields each number once.
//! - A packet that fails authentication changes no replay state.
//! - A replay window is committed before the opened packet is reported.

#![forbid(unsafe_code)]

pub mod aead;
mod algorithm;
mod iv;
mod open;
mod outer;
mod pass;
mod replay;
mod sa;
mod seal;
mod sequence;
#[cfg(test)]
mod testing;
mod transport;

pub use aead::{AeadBackend, AeadKey, BackendError};
pub use algorithm::KeyError;
pub use ipsec_types::{DfPolicy, DscpPolicy, EcnPolicy, Encapsulation, EspAlgorithm, Hmac, Mode};
pub use open::{OpenError, OpenJob, Opened, open};
pub use outer::OuterParameters;
pub use replay::{
    LocalReplayStore, MAX_REPLAY_WORDS, ReplayError, ReplayStore, ReplayWindow, infer_extended_sequence,
};
pub use sa::{InboundParameters, InboundSa, OutboundParameters, OutboundSa, SaError};
pub use seal::{SealError, SealJob, Sealed, seal};
pub use sequence::{Exhausted, SequenceCounter, SequenceNumber, SequenceRange, SequenceSource};

/// Packets that are handed to the AEAD at once. Longer bursts are processed in pieces of this size.
pub const BURST: usize = 32;

/// Bytes in front of the inner packet that always suffice for [`seal()`]: IPv6, UDP, ESP header and
/// a 16-byte IV.
pub const MAX_HEADROOM: usize = 40 + 8 + 8 + 16;

/// Bytes behind the inner packet that always suffice for [`seal()`]: padding to 16 bytes, trailer
/// and a 32-byte ICV.
pub const MAX_TAILROOM: usize = 15 + 2 + 32;
