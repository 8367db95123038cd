//! The workers' read access: records are copied once and checked, without allocation on the packet
//! path.

use core::sync::atomic::AtomicU64;

use thiserror::Error;
use zeroize::Zeroizing;

use super::slot_state;
use crate::ids::{Generation, PolicyId, PolicyVersion, SlotWord};
use crate::layout::{ArenaHead, Capacities, Region, SaRecord, SlotLine, TableControl, TableLayout};
use crate::mapping::ReadOnlyMapping;
use crate::policy::{PolicyError, PolicySnapshot, decode_arena};
use crate::protocol::{seqlock, spi_index};
use crate::record::codec::RecordWords;
use crate::record::{InboundSaRecord, OutboundSaRecord, PeerEndpoint};
use crate::word::{View, Word};

/// Read access to the table segment. Clone it for each worker.
///
/// The caller announces (see [`RuntimeWriter::announce`](crate::RuntimeWriter::announce)) a
/// generation that it loaded before any look-up, and drops the results of its look-ups before it
/// announces the next.
#[derive(Clone)]
pub struct TableReader {
    mapping: ReadOnlyMapping,
    layout: TableLayout,
    capacities: Capacities,
}

/// Version of a peer endpoint; the default is older than any endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointVersion(u64);

/// Result of reading a peer endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointRead {
    /// The known version is the current one.
    Unchanged,
    /// A new endpoint with its version.
    New(PeerEndpoint, EndpointVersion),
    /// It is being changed: keep the old one and ask again with the next burst. Also for a slot
    /// that is not live.
    Busy,
}

/// The ports and rules could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyReadError {
    /// A newer version was published meanwhile: read again.
    #[error("policy version {0} was replaced while it was read; read again")]
    Replaced(PolicyVersion),
    /// The arena does not follow the layout.
    #[error("policy version {version}: {source}; keep the previous policy")]
    Invalid {
        /// The version that was read.
        version: PolicyVersion,
        /// The error.
        source: PolicyError,
    },
}

impl TableReader {
    pub(crate) fn new(mapping: ReadOnlyMapping, capacities: Capacities) -> Self {
        Self { mapping, layout: TableLayout::new(&capacities), capacities }
    }

    /// The capacities of the segments.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// Whether the mapping is locked in memory.
    pub fn is_locked(&self) -> bool {
        self.mapping.is_locked()
    }

    /// The current generation, to be announced after the last use of earlier look-ups.
    pub fn generation(&self) -> Generation {
        Generation(self.layout.control.view_all(self.words()).acquire(TableControl::generation))
    }

    /// How many changes of the kernel's routes and addresses the control plane has counted. The
    /// data plane reads the kernel's tables again when the number changes, and reports that by
    /// [`RuntimeWriter::set_kernel_changes`](crate::RuntimeWriter::set_kernel_changes).
    pub fn kernel_changes(&self) -> u64 {
        self.layout.control.view_all(self.words()).acquire(TableControl::kernel_changes)
    }

    /// The version of the published ports and rules.
    pub fn policy_version(&self) -> PolicyVersion {
        PolicyVersion(self.arena_word() >> 1)
    }

    /// The outbound SA of a policy; `None` while there is none: hold the packet and raise an
    /// acquire.
    pub fn policy_word(&self, policy: PolicyId) -> Option<SlotWord> {
        SlotWord::from_raw(self.layout.policy_words.view_all(self.words()).acquire(policy.0 as usize))
    }

    /// The inbound SA of an SPI, if exactly one local address uses it (the usual case); the first
    /// one found otherwise. Compare the local address of its record with the destination of the
    /// packet, and on a difference use [`TableReader::lookup_spi_all`].
    pub fn lookup_spi(&self, spi: u32) -> Option<SlotWord> {
        self.lookup_spi_all(spi).next()
    }

    /// The inbound SAs of an SPI, one per local address.
    pub fn lookup_spi_all(&self, spi: u32) -> impl Iterator<Item = SlotWord> {
        spi_index::lookup(self.layout.spi_index.view_all(self.words()), spi)
            .filter_map(|slot| self.live_word(&self.layout.inbound_lines, slot))
    }

    /// A copy of an outbound record, `None` if the slot is not live in this generation.
    pub fn outbound(&self, slot: SlotWord) -> Option<OutboundSaRecord> {
        let words = self.record(&self.layout.outbound_lines, &self.layout.outbound_records, slot)?;
        OutboundSaRecord::decode(&words)
    }

    /// A copy of an inbound record, `None` if the slot is not live in this generation.
    pub fn inbound(&self, slot: SlotWord) -> Option<InboundSaRecord> {
        let words = self.record(&self.layout.inbound_lines, &self.layout.inbound_records, slot)?;
        InboundSaRecord::decode(&words)
    }

    /// Whether a cached outbound SA may still be used.
    pub fn is_live_outbound(&self, slot: SlotWord) -> bool {
        self.live_word(&self.layout.outbound_lines, slot.slot()) == Some(slot)
    }

    /// Whether a cached inbound SA may still be used.
    pub fn is_live_inbound(&self, slot: SlotWord) -> bool {
        self.live_word(&self.layout.inbound_lines, slot.slot()) == Some(slot)
    }

    /// The current outbound SA of an inbound one.
    pub fn inbound_peer(&self, slot: SlotWord) -> Option<SlotWord> {
        self.link(&self.layout.inbound_lines, slot, SlotLine::peer)
    }

    /// The current inbound SA of an outbound one.
    pub fn outbound_peer(&self, slot: SlotWord) -> Option<SlotWord> {
        self.link(&self.layout.outbound_lines, slot, SlotLine::peer)
    }

    /// The next outbound SA of the same policy (RFC 9611: an SA per worker), `None` at the end of
    /// the chain.
    pub fn next_outbound(&self, slot: SlotWord) -> Option<SlotWord> {
        self.link(&self.layout.outbound_lines, slot, SlotLine::next)
    }

    /// The current peer endpoint of an outbound SA, if its version is not `known`. Costs one load
    /// when nothing changed.
    pub fn peer_endpoint(&self, slot: SlotWord, known: EndpointVersion) -> EndpointRead {
        let Some(line) = self.line(&self.layout.outbound_lines, slot) else { return EndpointRead::Busy };
        let sequence = line.part(SlotLine::endpoint_sequence, 1);
        match seqlock::read(sequence, line.part(SlotLine::endpoint, 3), known.0) {
            seqlock::Read::Unchanged => EndpointRead::Unchanged,
            // The slot may have been reused while the words were read.
            seqlock::Read::New(..) if !self.is_live_outbound(slot) => EndpointRead::Busy,
            seqlock::Read::New(words, version) => {
                EndpointRead::New(PeerEndpoint::decode(words), EndpointVersion(version))
            }
            seqlock::Read::Busy => EndpointRead::Busy,
        }
    }

    /// Copies the published ports and rules. Allocates: call it off the packet path when
    /// [`TableReader::policy_version`] changed, and announce the version when every worker uses it.
    ///
    /// # Errors
    /// A newer policy was published meanwhile, or the arena is malformed.
    pub fn load_policy(&self) -> Result<PolicySnapshot, PolicyReadError> {
        let arena_word = self.arena_word();
        let version = PolicyVersion(arena_word >> 1);
        if version == PolicyVersion(0) {
            return Ok(PolicySnapshot::default());
        }
        let replaced = PolicyReadError::Replaced(version);
        let invalid = |source| PolicyReadError::Invalid { version, source };
        let arena = self
            .layout
            .arenas
            .view(self.words(), (arena_word & 1) as usize)
            .ok_or(invalid(PolicyError::Malformed("its place")))?;
        let length = usize::try_from(arena.relaxed(ArenaHead::length)).unwrap_or(usize::MAX).min(arena.len());
        let mut copy = vec![0; length];
        arena.copy_to(&mut copy);
        AtomicU64::fence_acquire();
        if self.arena_word() != arena_word {
            return Err(replaced);
        }
        if copy.get(ArenaHead::version) != Some(&version.0) {
            return Err(invalid(PolicyError::Malformed("its version")));
        }
        decode_arena(&copy, self.capacities.policies as usize).map_err(invalid)
    }

    fn words(&self) -> View<'_, AtomicU64> {
        self.mapping.view()
    }

    fn arena_word(&self) -> u64 {
        self.layout.control.view_all(self.words()).acquire(TableControl::arena)
    }

    fn live_word(&self, lines: &Region, slot: u32) -> Option<SlotWord> {
        let state = lines.view(self.words(), slot as usize)?.acquire(SlotLine::state);
        if state as u32 != slot_state::LIVE as u32 {
            return None;
        }
        SlotWord::new((state >> 32) as u32, slot)
    }

    fn line(&self, lines: &Region, slot: SlotWord) -> Option<View<'_, AtomicU64>> {
        let live = self.live_word(lines, slot.slot())? == slot;
        lines.view(self.words(), slot.slot() as usize).filter(|_| live)
    }

    fn link(&self, lines: &Region, slot: SlotWord, field: usize) -> Option<SlotWord> {
        SlotWord::from_raw(self.line(lines, slot)?.acquire(field))
    }

    /// The words of a live record. The slot is checked before and after the copy, so that the copy
    /// is consistent even if the caller did not announce.
    fn record(&self, lines: &Region, records: &Region, slot: SlotWord) -> Option<RecordWords> {
        let line = self.line(lines, slot)?;
        let mut words = Zeroizing::new([0; SaRecord::WORDS]);
        records.view(self.words(), slot.slot() as usize)?.copy_to(&mut words[..]);
        AtomicU64::fence_acquire();
        let state = line.relaxed(SlotLine::state);
        (state == u64::from(slot.generation()) << 32 | slot_state::LIVE).then_some(words)
    }
}
