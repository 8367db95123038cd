//! The operations of a slot's owner: sequence numbers, replay window, statistics.
//!
//! An owner is created by a claim, exists once per slot, and is used by one worker; so counters are
//! plain loads and stores. Dropping it releases the slot, and the next owner continues after the
//! reserved numbers.

use core::sync::atomic::AtomicU64;

use thiserror::Error;

use super::{Level, Levels, SaErrorKind};
use crate::ids::SlotWord;
use crate::layout::{InboundState, OutboundState, Region, RuntimeControl};
use crate::mapping::WritableMapping;
use crate::protocol::claim::{self, Claimant};
use crate::protocol::seqlock;
use crate::protocol::sequence::Reservation;
use crate::record::PeerEndpoint;
use crate::word::Word;

/// No sequence number is available; the packet must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// The SA is used up: rekey.
    #[error("the sequence numbers of the SA are used up")]
    Exhausted,
    /// A newer data plane attached to the runtime segment: this process must stop.
    #[error("another data plane attached to the runtime segment; this process must stop")]
    Superseded,
}

/// State of both directions.
struct Owned {
    mapping: WritableMapping,
    region: Region,
    control: Region,
    slot: SlotWord,
    claimant: Claimant,
}

impl Owned {
    fn words(&self) -> &[AtomicU64] {
        self.region.item(self.mapping.words(), self.slot.slot() as usize).unwrap_or_default()
    }

    fn is_current(&self) -> bool {
        self.control.all(self.mapping.words())[RuntimeControl::incarnation].load_acquire()
            == self.claimant.incarnation
    }

    fn add(&self, field: usize, n: u64) {
        let word = &self.words()[field];
        word.store_relaxed(word.load_relaxed().wrapping_add(n));
    }

    fn store_if_changed(&self, field: usize, value: u64) {
        let word = &self.words()[field];
        if word.load_relaxed() != value {
            word.store_release(value);
        }
    }

    fn raise(&self, field: usize, level: Level) -> bool {
        let word = &self.words()[field];
        let levels = word.load_relaxed();
        word.store_release(levels | level as u64);
        levels & level as u64 == 0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        claim::release(&self.words()[0], self.claimant);
    }
}

const _: () = assert!(OutboundState::claim == 0 && InboundState::claim == 0);

/// The owner of an outbound slot.
pub struct OutboundOwner {
    owned: Owned,
    reservation: Reservation,
}

impl OutboundOwner {
    pub(super) fn new(
        mapping: WritableMapping,
        region: Region,
        control: Region,
        slot: SlotWord,
        claimant: Claimant,
        esn: bool,
    ) -> Self {
        let owned = Owned { mapping, region, control, slot, claimant };
        let reservation = Reservation::resume(&owned.words()[OutboundState::reserved_until], esn);
        Self { owned, reservation }
    }

    /// The slot that is owned.
    pub fn slot(&self) -> SlotWord {
        self.owned.slot
    }

    /// The first of `count` consecutive sequence numbers, each of which is used only once in the
    /// life of the SA, also across restarts. Shared memory is written once per 2^16 numbers.
    ///
    /// # Errors
    /// Fewer than `count` numbers are left (see [`OutboundOwner::remaining`]), or this process is
    /// stale.
    pub fn take_sequence(&mut self, count: u32) -> Result<u64, SequenceError> {
        if self.reservation.needs_block(count) && !self.owned.is_current() {
            return Err(SequenceError::Superseded);
        }
        let words = self.owned.words();
        let reserved_until = &words[OutboundState::reserved_until];
        let first = self.reservation.take(reserved_until, count).map_err(|_| SequenceError::Exhausted)?;
        words[OutboundState::next_sequence].store_relaxed(self.reservation.next());
        Ok(first)
    }

    /// Number of sequence numbers left.
    pub fn remaining(&self) -> u64 {
        self.reservation.remaining()
    }

    /// Counts a group of encrypted packets; `bytes` as counted for the lifetime of the SA.
    pub fn add_sent(&self, packets: u64, bytes: u64) {
        self.owned.add(OutboundState::packets, packets);
        self.owned.add(OutboundState::bytes, bytes);
    }

    /// Packets and bytes sent so far, for the limits of the lifetime.
    pub fn sent(&self) -> (u64, u64) {
        let words = self.owned.words();
        (words[OutboundState::packets].load_relaxed(), words[OutboundState::bytes].load_relaxed())
    }

    /// Counts packets that could not be sent.
    pub fn add_errors(&self, kind: SaErrorKind, n: u64) {
        self.owned.add(OutboundState::errors + kind as usize, n);
    }

    /// Records the time of the last sent packet.
    pub fn set_last_sent(&self, now_ms: u64) {
        self.owned.store_if_changed(OutboundState::last_sent_ms, now_ms);
    }

    /// Sets a level; `true` if it was not set yet, in which case the event is due.
    pub fn raise(&self, level: Level) -> bool {
        self.owned.raise(OutboundState::levels, level)
    }

    /// The levels that are set.
    pub fn levels(&self) -> Levels {
        Levels(self.owned.words()[OutboundState::levels].load_relaxed())
    }

    /// The path MTU in octets learned from ICMP; `None` if none was learned.
    pub fn learned_path_mtu(&self) -> Option<u32> {
        u32::try_from(self.owned.words()[OutboundState::path_mtu].load_relaxed()).ok().filter(|mtu| *mtu != 0)
    }

    /// Stores a learned path MTU, `None` to clear it; it survives a restart.
    pub fn set_learned_path_mtu(&self, mtu: Option<u32>) {
        self.owned.store_if_changed(OutboundState::path_mtu, mtu.map_or(0, u64::from));
    }
}

/// The owner of an inbound slot.
pub struct InboundOwner {
    owned: Owned,
    replay: Region,
}

/// The replay window in shared memory: highest authenticated sequence number and a bitmap whose bit
/// order the user defines. Zeros for a new SA. There is one user; for visibility after a restart
/// program order is enough.
#[derive(Clone, Copy)]
pub struct ReplayWords<'a> {
    /// Highest authenticated sequence number.
    pub top: &'a AtomicU64,
    /// A power of two of words, [`Capacities::replay_words`](crate::Capacities::replay_words).
    pub bitmap: &'a [AtomicU64],
}

impl InboundOwner {
    pub(super) fn new(
        mapping: WritableMapping,
        region: Region,
        replay: Region,
        control: Region,
        slot: SlotWord,
        claimant: Claimant,
    ) -> Self {
        Self { owned: Owned { mapping, region, control, slot, claimant }, replay }
    }

    /// The slot that is owned.
    pub fn slot(&self) -> SlotWord {
        self.owned.slot
    }

    /// The replay window, to be updated before the inner packet is passed on.
    pub fn replay(&self) -> ReplayWords<'_> {
        let words = self.owned.mapping.words();
        let bitmap = self.replay.item(words, self.owned.slot.slot() as usize).unwrap_or_default();
        ReplayWords { top: &self.owned.words()[InboundState::replay_top], bitmap }
    }

    /// Counts a group of authenticated packets; `bytes` as counted for the lifetime of the SA.
    pub fn add_received(&self, packets: u64, bytes: u64) {
        self.owned.add(InboundState::packets, packets);
        self.owned.add(InboundState::bytes, bytes);
    }

    /// Packets and bytes received so far, for the limits of the lifetime.
    pub fn received(&self) -> (u64, u64) {
        let words = self.owned.words();
        (words[InboundState::packets].load_relaxed(), words[InboundState::bytes].load_relaxed())
    }

    /// Counts packets that were dropped.
    pub fn add_errors(&self, kind: SaErrorKind, n: u64) {
        self.owned.add(InboundState::errors + kind as usize, n);
    }

    /// Records the time of the last authenticated packet of the peer.
    pub fn set_last_heard(&self, now_ms: u64) {
        self.owned.store_if_changed(InboundState::last_heard_ms, now_ms);
    }

    /// Sets a level; `true` if it was not set yet, in which case the event is due.
    pub fn raise(&self, level: Level) -> bool {
        self.owned.raise(InboundState::levels, level)
    }

    /// The levels that are set.
    pub fn levels(&self) -> Levels {
        Levels(self.owned.words()[InboundState::levels].load_relaxed())
    }

    /// Reports the source of an authenticated packet if it is not the expected peer endpoint.
    pub fn report_endpoint(&self, endpoint: PeerEndpoint) {
        let words = self.owned.words();
        seqlock::write(
            &words[InboundState::endpoint_sequence],
            &words[InboundState::endpoint..],
            &endpoint.encode(),
        );
    }
}
