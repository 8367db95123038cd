//! The slots of one direction, managed by their only writer.

use core::net::IpAddr;
use core::sync::atomic::AtomicU64;
use std::collections::{HashMap, VecDeque};

use super::slot_state;
use crate::address::pair_at;
use crate::ids::SlotWord;
use crate::layout::{Region, SaRecord, SlotLine};
use crate::protocol::seqlock;
use crate::record::codec::{ENDPOINT_WORDS, RecordWords, identity};
use crate::word::{View, Word, erase, store_all};

/// What makes an SA unique: SPI and the address it is sent to (RFC 4301 §4.1).
pub(super) type Key = (u32, IpAddr);

/// Slots of one direction: the free ones, and the SA of each used one.
pub(super) struct Slots {
    lines: Region,
    records: Region,
    /// Oldest first, so that a slot is reused as late as possible.
    free: VecDeque<u32>,
    by_key: HashMap<Key, SlotWord>,
}

impl Slots {
    /// Reads the state that a previous writer left. Returns the slots that it had retired but not
    /// erased.
    pub(super) fn attach(words: &[AtomicU64], lines: Region, records: Region) -> (Self, Vec<SlotWord>) {
        let mut slots = Self { lines, records, free: VecDeque::new(), by_key: HashMap::new() };
        let mut retired = Vec::new();
        for slot in 0..lines.items() as u32 {
            let state = slots.line(words, slot)[SlotLine::state].load_acquire();
            let word = SlotWord::new((state >> 32) as u32, slot);
            match (state & 0xffff_ffff, word) {
                (slot_state::LIVE, Some(word)) => {
                    slots.by_key.insert(slots.key(words, slot), word);
                    slots.mend_endpoint(words, slot);
                }
                (slot_state::RETIRED, Some(word)) => retired.push(word),
                (slot_state::FREE, _) => slots.free.push_back(slot),
                // The previous writer died while writing the record, which was never published.
                _ => slots.erase_slot(words, slot),
            }
        }
        (slots, retired)
    }

    pub(super) fn find(&self, key: &Key) -> Option<SlotWord> {
        self.by_key.get(key).copied()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = SlotWord> {
        self.by_key.values().copied()
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Writes a record into a free slot and makes the slot live. Nothing refers to it yet.
    pub(super) fn build(
        &mut self,
        words: &[AtomicU64],
        record: &RecordWords,
        endpoint: [u64; ENDPOINT_WORDS],
    ) -> Option<SlotWord> {
        let slot = self.free.pop_front()?;
        let line = self.line(words, slot);
        let generation = ((line[SlotLine::state].load_relaxed() >> 32) as u32).wrapping_add(1).max(1);
        let state = |state: u64| u64::from(generation) << 32 | state;
        line[SlotLine::state].store_relaxed(state(slot_state::BUILDING));
        AtomicU64::fence_release();
        store_all(self.record(words, slot), &record[..]);
        line[SlotLine::peer].store_relaxed(record[SaRecord::peer]);
        line[SlotLine::next].store_relaxed(0);
        seqlock::write(&line[SlotLine::endpoint_sequence], &line[SlotLine::endpoint..], &endpoint);
        line[SlotLine::state].store_release(state(slot_state::LIVE));
        let word = SlotWord::new(generation, slot)?;
        self.by_key.insert(self.key(words, slot), word);
        Some(word)
    }

    /// The mutable words of a live slot, `None` if the slot word is stale.
    pub(super) fn live_line<'a>(&self, words: &'a [AtomicU64], slot: SlotWord) -> Option<&'a [AtomicU64]> {
        let line = self.lines.item(words, slot.slot() as usize)?;
        let live = u64::from(slot.generation()) << 32 | slot_state::LIVE;
        (line[SlotLine::state].load_relaxed() == live).then_some(line)
    }

    /// A copy of a live record. Only for the writer: no other process changes records.
    pub(super) fn copy(&self, words: &[AtomicU64], slot: SlotWord) -> Option<RecordWords> {
        self.live_line(words, slot)?;
        let mut copy = RecordWords::new([0; SaRecord::WORDS]);
        for (to, from) in copy.iter_mut().zip(self.record(words, slot.slot())) {
            *to = from.load_relaxed();
        }
        Some(copy)
    }

    pub(super) fn spi(&self, words: &[AtomicU64], slot: SlotWord) -> u32 {
        self.key(words, slot.slot()).0
    }

    /// Marks a slot that nothing refers to any more. The record is kept for readers that found it
    /// before.
    pub(super) fn mark_retired(&mut self, words: &[AtomicU64], slot: SlotWord) {
        let key = self.key(words, slot.slot());
        if self.by_key.get(&key) == Some(&slot) {
            self.by_key.remove(&key);
        }
        let state = u64::from(slot.generation()) << 32 | slot_state::RETIRED;
        self.line(words, slot.slot())[SlotLine::state].store_release(state);
    }

    /// Erases the record, keys first, and frees the slot. Only after the grace period.
    pub(super) fn erase_slot(&mut self, words: &[AtomicU64], slot: u32) {
        let line = self.line(words, slot);
        let generation = line[SlotLine::state].load_relaxed() >> 32 << 32;
        erase(self.record(words, slot));
        // The sequence of the endpoint continues, so that a version never identifies two endpoints
        // of one slot.
        erase(&line[SlotLine::peer..SlotLine::endpoint_sequence]);
        erase(&line[SlotLine::endpoint..]);
        line[SlotLine::state].store_release(generation | slot_state::FREE);
        self.free.push_back(slot);
    }

    /// Resets the endpoint of a live slot whose writer died while changing it to the initial one of
    /// its record.
    fn mend_endpoint(&self, words: &[AtomicU64], slot: u32) {
        let line = self.line(words, slot);
        if line[SlotLine::endpoint_sequence].load_relaxed() & 1 == 1 {
            let mut record = RecordWords::new([0; SaRecord::WORDS]);
            View::new(self.record(words, slot)).copy_to(&mut record[..]);
            if let Some(record) = crate::record::OutboundSaRecord::decode(&record) {
                let endpoint = record.endpoint().encode();
                seqlock::write(&line[SlotLine::endpoint_sequence], &line[SlotLine::endpoint..], &endpoint);
            }
        }
    }

    fn key(&self, words: &[AtomicU64], slot: u32) -> Key {
        let record = self.record(words, slot);
        let mut head = [0; SaRecord::peer];
        View::new(record).copy_to(&mut head);
        identity(
            head[SaRecord::spi_policy],
            head[SaRecord::bits],
            pair_at(&head, SaRecord::local),
            pair_at(&head, SaRecord::remote),
        )
    }

    fn line<'a>(&self, words: &'a [AtomicU64], slot: u32) -> &'a [AtomicU64] {
        self.lines.item(words, slot as usize).unwrap_or_default()
    }

    fn record<'a>(&self, words: &'a [AtomicU64], slot: u32) -> &'a [AtomicU64] {
        self.records.item(words, slot as usize).unwrap_or_default()
    }
}
