//! The control plane's operations on the table segment.
//!
//! The order is always the same. Install: write the record in an unreferenced slot, then store the
//! word that refers to it. Remove: clear the word, raise the generation, wait until every worker
//! has announced it, then erase and reuse the slot.

use core::sync::atomic::AtomicU64;
use std::collections::VecDeque;

use super::slots::Slots;
use super::{TableError, policy_state};
use crate::MIN_SPI;
use crate::ids::{PolicyId, PolicyVersion, SlotWord};
use crate::layout::{Capacities, RuntimeLayout, SlotLine, TableControl, TableLayout};
use crate::mapping::{ReadOnlyMapping, WritableMapping};
use crate::policy::EncodedLists;
use crate::protocol::{grace, seqlock, spi_index};
use crate::record::codec::ENDPOINT_WORDS;
use crate::record::{InboundSaRecord, OutboundSaRecord, PeerEndpoint};
use crate::word::Word;

/// A removed object that waits for the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetireToken(u64);

/// Result of a call of [`TableWriter::collect`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Slots whose keys were erased and that are free again.
    pub slots: usize,
    /// Policies that are free again.
    pub policies: usize,
    /// Objects that still wait for a worker.
    pub waiting: usize,
    /// Waiting time of the oldest of those, in milliseconds since collect first saw it. Seconds
    /// mean that a worker hangs or that the data plane is dead.
    pub oldest_wait_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Inbound(SlotWord),
    Outbound(SlotWord),
    /// Free when every worker uses this version.
    Policy(PolicyId, PolicyVersion),
}

struct Retired {
    generation: u64,
    subject: Subject,
    first_seen_ms: Option<u64>,
}

/// The only writer of the table segment.
pub struct TableWriter {
    pub(super) table: WritableMapping,
    pub(super) runtime: ReadOnlyMapping,
    pub(super) layout: TableLayout,
    pub(super) runtime_layout: RuntimeLayout,
    pub(super) capacities: Capacities,
    incarnation: u64,
    inbound: Slots,
    outbound: Slots,
    retired: VecDeque<Retired>,
    /// Generation from which on no worker reads the idle arena.
    pub(super) idle_arena_since: u64,
    pub(super) encoded_lists: EncodedLists,
    /// Where the search for a free policy continues.
    pub(super) next_policy: u32,
    /// Whether any outbound slot was ever linked to another.
    has_chains: bool,
}

impl TableWriter {
    /// Takes over from a previous writer, if there was one. Slots that it had retired are retired
    /// again.
    pub(crate) fn new(table: WritableMapping, runtime: ReadOnlyMapping, capacities: Capacities) -> Self {
        let layout = TableLayout::new(&capacities);
        let words = table.words();
        let control = layout.control.all(words);
        let incarnation = control[TableControl::writer].load_acquire().wrapping_add(1);
        control[TableControl::writer].store_release(incarnation);
        let (inbound, retired_inbound) = Slots::attach(words, layout.inbound_lines, layout.inbound_records);
        let (outbound, retired_outbound) =
            Slots::attach(words, layout.outbound_lines, layout.outbound_records);
        let generation = grace::raise(&control[TableControl::generation]);
        let version = PolicyVersion(control[TableControl::arena].load_relaxed() >> 1);
        let policy_states = layout.policy_states.all(words).iter().zip(0..);
        let retired_policies = policy_states
            .filter(|(state, _)| state.load_relaxed() == policy_state::RETIRED)
            .map(|(_, policy)| Subject::Policy(PolicyId(policy), version));
        let retired = (retired_inbound.into_iter().map(Subject::Inbound))
            .chain(retired_outbound.into_iter().map(Subject::Outbound))
            .chain(retired_policies)
            .map(|subject| Retired { generation, subject, first_seen_ms: None })
            .collect();
        let mut lines = layout.outbound_lines.all(words).chunks_exact(SlotLine::WORDS);
        let has_chains = lines.any(|line| line[SlotLine::next].load_relaxed() != 0);
        Self {
            runtime,
            runtime_layout: RuntimeLayout::new(&capacities),
            incarnation,
            inbound,
            outbound,
            retired,
            idle_arena_since: generation,
            encoded_lists: Vec::new(),
            next_policy: 0,
            has_chains,
            capacities,
            layout,
            table,
        }
    }

    /// The capacities of the segments.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// Whether the mapping is locked in memory.
    pub fn is_locked(&self) -> bool {
        self.table.is_locked()
    }

    /// Whether no newer control plane attached. A stale one must stop at once.
    pub fn is_current(&self) -> bool {
        self.control()[TableControl::writer].load_acquire() == self.incarnation
    }

    /// Free slots, inbound and outbound.
    pub fn free_slots(&self) -> (usize, usize) {
        (self.inbound.free(), self.outbound.free())
    }

    /// Installs an inbound SA; from now on packets with its SPI are accepted.
    ///
    /// # Errors
    /// See [`TableError`]; nothing was installed.
    pub fn install_inbound(&mut self, record: &InboundSaRecord) -> Result<SlotWord, TableError> {
        self.check_current()?;
        if record.spi < MIN_SPI {
            return Err(TableError::ReservedSpi(record.spi));
        }
        let most = self.capacities.replay_words * 64;
        if record.replay_window > most {
            return Err(TableError::ReplayWindow { given: record.replay_window, most });
        }
        if let Some(slot) = self.inbound.find(&(record.spi, record.local)) {
            return Err(TableError::Duplicate { direction: "inbound", spi: record.spi, slot });
        }
        let encoded = record.encode()?;
        let words = self.table.words();
        let full = TableError::Full { direction: "inbound", capacity: self.capacities.inbound_slots };
        let slot = self.inbound.build(words, &encoded, [0; ENDPOINT_WORDS]).ok_or(full.clone())?;
        if !spi_index::insert(self.layout.spi_index.all(words), record.spi, slot.slot()) {
            self.retire_inbound(slot)?;
            return Err(full);
        }
        Ok(slot)
    }

    /// Installs an outbound SA. It is used as soon as a policy word or a chain refers to it.
    ///
    /// The keys must never have been installed before: a new slot begins at sequence number 1. An
    /// SA that outlived a control plane is still here, see [`TableWriter::live_outbound`].
    ///
    /// # Errors
    /// See [`TableError`]; nothing was installed.
    pub fn install_outbound(&mut self, record: &OutboundSaRecord) -> Result<SlotWord, TableError> {
        self.check_current()?;
        if let Some(slot) = self.outbound.find(&(record.spi, record.destination)) {
            return Err(TableError::Duplicate { direction: "outbound", spi: record.spi, slot });
        }
        let encoded = record.encode()?;
        let full = TableError::Full { direction: "outbound", capacity: self.capacities.outbound_slots };
        self.outbound.build(self.table.words(), &encoded, record.endpoint().encode()).ok_or(full)
    }

    /// Sets the outbound SA of a policy, or none (packets are then held). Returns the previous one.
    ///
    /// # Errors
    /// The policy is not allocated, or the slot is not live.
    pub fn set_policy_word(
        &mut self,
        policy: PolicyId,
        slot: Option<SlotWord>,
    ) -> Result<Option<SlotWord>, TableError> {
        self.check_current()?;
        let words = self.table.words();
        if self.policy_state(policy) != Some(policy_state::USED) {
            return Err(TableError::UnknownPolicy(policy));
        }
        if let Some(slot) = slot {
            self.outbound.live_line(words, slot).ok_or(TableError::NotLive(slot))?;
        }
        let word = &self.layout.policy_words.all(words)[policy.0 as usize];
        let previous = SlotWord::from_raw(word.load_relaxed());
        word.store_release(slot.map_or(0, SlotWord::raw));
        Ok(previous)
    }

    /// The outbound SA of a policy.
    pub fn policy_word(&self, policy: PolicyId) -> Option<SlotWord> {
        let word = self.layout.policy_words.all(self.table.words()).get(policy.0 as usize)?;
        SlotWord::from_raw(word.load_relaxed())
    }

    /// Sets the outbound SA of an inbound one.
    ///
    /// # Errors
    /// The inbound slot is not live.
    pub fn set_inbound_peer(&mut self, slot: SlotWord, peer: Option<SlotWord>) -> Result<(), TableError> {
        self.check_current()?;
        let line = self.inbound.live_line(self.table.words(), slot).ok_or(TableError::NotLive(slot))?;
        line[SlotLine::peer].store_release(peer.map_or(0, SlotWord::raw));
        Ok(())
    }

    /// Sets the inbound SA of an outbound one.
    ///
    /// # Errors
    /// The outbound slot is not live.
    pub fn set_outbound_peer(&mut self, slot: SlotWord, peer: Option<SlotWord>) -> Result<(), TableError> {
        self.check_current()?;
        self.outbound_line(slot)?[SlotLine::peer].store_release(peer.map_or(0, SlotWord::raw));
        Ok(())
    }

    /// Links an outbound SA to the next one of the same policy (RFC 9611).
    ///
    /// # Errors
    /// One of the slots is not live.
    pub fn set_next_outbound(&mut self, slot: SlotWord, next: Option<SlotWord>) -> Result<(), TableError> {
        self.check_current()?;
        if let Some(next) = next {
            self.outbound_line(next)?;
            self.has_chains = true;
        }
        self.outbound_line(slot)?[SlotLine::next].store_release(next.map_or(0, SlotWord::raw));
        Ok(())
    }

    /// Changes the peer endpoint of an outbound SA (a NAT changed its mapping, or MOBIKE): packets
    /// go there from the next burst on.
    ///
    /// # Errors
    /// The slot is not live.
    pub fn set_peer_endpoint(&mut self, slot: SlotWord, endpoint: PeerEndpoint) -> Result<(), TableError> {
        self.check_current()?;
        let line = self.outbound_line(slot)?;
        seqlock::write(&line[SlotLine::endpoint_sequence], &line[SlotLine::endpoint..], &endpoint.encode());
        Ok(())
    }

    /// Takes an inbound SA out of use. Its keys are erased by a later [`TableWriter::collect`].
    ///
    /// # Errors
    /// The slot is not live.
    pub fn retire_inbound(&mut self, slot: SlotWord) -> Result<RetireToken, TableError> {
        self.check_current()?;
        let words = self.table.words();
        self.inbound.live_line(words, slot).ok_or(TableError::NotLive(slot))?;
        spi_index::remove(self.layout.spi_index.all(words), self.inbound.spi(words, slot), slot.slot());
        self.inbound.mark_retired(words, slot);
        Ok(self.retire(Subject::Inbound(slot)))
    }

    /// Takes an outbound SA out of use: clears every policy word that refers to it and unlinks it
    /// from its chain. Set the policy's successor SA first, otherwise packets are held. Keys are
    /// erased by a later [`TableWriter::collect`].
    ///
    /// # Errors
    /// The slot is not live.
    pub fn retire_outbound(&mut self, slot: SlotWord) -> Result<RetireToken, TableError> {
        self.check_current()?;
        let words = self.table.words();
        let next = self.outbound_line(slot)?[SlotLine::next].load_relaxed();
        for word in self.layout.policy_words.all(words) {
            if word.load_relaxed() == slot.raw() {
                word.store_release(next);
            }
        }
        if self.has_chains {
            for line in self.layout.outbound_lines.all(words).chunks_exact(SlotLine::WORDS) {
                if line[SlotLine::next].load_relaxed() == slot.raw() {
                    line[SlotLine::next].store_release(next);
                }
            }
        }
        self.outbound.mark_retired(words, slot);
        Ok(self.retire(Subject::Outbound(slot)))
    }

    /// Erases and frees what no worker uses any more. Never blocks; call it periodically, and after
    /// announcements.
    pub fn collect(&mut self, now_ms: u64) -> Collected {
        let mut collected = Collected::default();
        if !self.is_current() {
            return collected;
        }
        let passed = self.oldest_announcement();
        let in_force = self.policy_version_in_force();
        let words = self.table.words();
        let mut waiting = VecDeque::new();
        for mut retired in core::mem::take(&mut self.retired) {
            let version_passed = match retired.subject {
                Subject::Policy(_, version) => in_force >= version,
                _ => true,
            };
            if passed < retired.generation || !version_passed {
                let first_seen = *retired.first_seen_ms.get_or_insert(now_ms);
                collected.oldest_wait_ms = collected.oldest_wait_ms.max(now_ms.saturating_sub(first_seen));
                waiting.push_back(retired);
                continue;
            }
            match retired.subject {
                Subject::Inbound(slot) => self.inbound.erase_slot(words, slot.slot()),
                Subject::Outbound(slot) => self.outbound.erase_slot(words, slot.slot()),
                Subject::Policy(policy, _) => {
                    self.layout.policy_states.all(words)[policy.0 as usize].store_release(policy_state::FREE);
                }
            }
            match retired.subject {
                Subject::Policy(..) => collected.policies += 1,
                _ => collected.slots += 1,
            }
        }
        collected.waiting = waiting.len();
        self.retired = waiting;
        collected
    }

    /// Whether the object of the token was erased.
    pub fn is_collected(&self, token: RetireToken) -> bool {
        self.retired.iter().all(|retired| retired.generation != token.0)
    }

    /// The live inbound SAs; after a restart those of the previous control plane. Retire those that
    /// are not in the checkpoint.
    pub fn live_inbound(&self) -> impl Iterator<Item = SlotWord> {
        self.inbound.live()
    }

    /// The live outbound SAs, like [`TableWriter::live_inbound`].
    pub fn live_outbound(&self) -> impl Iterator<Item = SlotWord> {
        self.outbound.live()
    }

    /// The record of a live inbound SA, for a control plane that takes over from a predecessor.
    pub fn inbound_record(&self, slot: SlotWord) -> Option<InboundSaRecord> {
        InboundSaRecord::decode(&self.inbound.copy(self.table.words(), slot)?)
    }

    /// The record of a live outbound SA, like [`TableWriter::inbound_record`].
    pub fn outbound_record(&self, slot: SlotWord) -> Option<OutboundSaRecord> {
        OutboundSaRecord::decode(&self.outbound.copy(self.table.words(), slot)?)
    }

    pub(super) fn retire(&mut self, subject: Subject) -> RetireToken {
        let generation = grace::raise(&self.control()[TableControl::generation]);
        self.retired.push_back(Retired { generation, subject, first_seen_ms: None });
        RetireToken(generation)
    }

    pub(super) fn control(&self) -> &[AtomicU64] {
        self.layout.control.all(self.table.words())
    }

    pub(super) fn check_current(&self) -> Result<(), TableError> {
        if self.is_current() { Ok(()) } else { Err(TableError::Superseded) }
    }

    fn outbound_line(&self, slot: SlotWord) -> Result<&[AtomicU64], TableError> {
        self.outbound.live_line(self.table.words(), slot).ok_or(TableError::NotLive(slot))
    }

    pub(super) fn oldest_announcement(&self) -> u64 {
        let workers = self.runtime_layout.workers;
        let words = self.runtime.view();
        grace::oldest((0..workers.items()).filter_map(|worker| workers.view(words, worker)))
    }
}
