//! Offsets of all arrays in the segments, derived from the capacities alone.

mod capacities;
mod demand;
mod fields;

pub use capacities::{Capacities, CapacitiesTextError, CapacityError};
pub use demand::{Demand, Shortage};
pub(crate) use fields::{
    AcquireState, ArenaHead, BlobEntry, CheckpointHead, EventWords, EventsControl, FilterHeadWords,
    FilterWords, Header, InboundState, LAYOUT_HASH, OutboundState, PortWords, RingIndices, RuleWords,
    RuntimeControl, SaRecord, SelectorWords, SlotLine, TableControl, WorkerState,
};

use crate::word::{View, Word};

/// Entries of one bucket of the SPI index; the eighth word counts overflowed entries.
pub(crate) const BUCKET_WORDS: usize = 8;
/// Segments are whole pages.
const PAGE_WORDS: usize = 512;

/// An array in a segment: where it begins, the words of an item, the number of items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    offset: usize,
    item_words: usize,
    items: usize,
}

impl Region {
    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// The words of one item; `None` outside of the array.
    pub(crate) fn item<'a, W>(&self, words: &'a [W], index: usize) -> Option<&'a [W]> {
        if index >= self.items {
            return None;
        }
        let start = self.offset + index * self.item_words;
        words.get(start..start + self.item_words)
    }

    /// Like [`Region::item`] for words that may only be read.
    pub(crate) fn view<'a, W: Word>(&self, words: View<'a, W>, index: usize) -> Option<View<'a, W>> {
        (index < self.items).then(|| words.part(self.offset + index * self.item_words, self.item_words))
    }

    /// All words of the array.
    pub(crate) fn all<'a, W>(&self, words: &'a [W]) -> &'a [W] {
        words.get(self.offset..self.offset + self.items * self.item_words).unwrap_or_default()
    }

    /// Like [`Region::all`] for words that may only be read.
    pub(crate) fn view_all<'a, W: Word>(&self, words: View<'a, W>) -> View<'a, W> {
        words.part(self.offset, self.items * self.item_words)
    }
}

/// Places regions one after the other, each aligned to a cache line.
struct Cursor(usize);

impl Cursor {
    fn region(&mut self, item_words: usize, items: usize) -> Region {
        let region = Region { offset: self.0, item_words, items };
        self.0 += (item_words * items).next_multiple_of(8);
        region
    }

    fn segment_words(&self) -> usize {
        self.0.next_multiple_of(PAGE_WORDS)
    }
}

/// The table segment.
#[derive(Clone, Debug)]
pub(crate) struct TableLayout {
    pub(crate) control: Region,
    pub(crate) spi_index: Region,
    pub(crate) policy_words: Region,
    pub(crate) policy_states: Region,
    pub(crate) inbound_lines: Region,
    pub(crate) outbound_lines: Region,
    pub(crate) inbound_records: Region,
    pub(crate) outbound_records: Region,
    pub(crate) arenas: Region,
    pub(crate) words: usize,
}

impl TableLayout {
    pub(crate) fn new(capacities: &Capacities) -> Self {
        let inbound = capacities.inbound_slots as usize;
        let outbound = capacities.outbound_slots as usize;
        let policies = capacities.policies as usize;
        let mut cursor = Cursor(Header::WORDS);
        let control = cursor.region(TableControl::WORDS, 1);
        // On average at most two of the seven entries of a bucket are used.
        let spi_index = cursor.region(BUCKET_WORDS, inbound.div_ceil(2).next_power_of_two());
        let policy_words = cursor.region(1, policies);
        let policy_states = cursor.region(1, policies);
        let inbound_lines = cursor.region(SlotLine::WORDS, inbound);
        let outbound_lines = cursor.region(SlotLine::WORDS, outbound);
        let inbound_records = cursor.region(SaRecord::WORDS, inbound);
        let outbound_records = cursor.region(SaRecord::WORDS, outbound);
        let arenas = cursor.region((capacities.arena_words as usize).next_multiple_of(8), 2);
        Self {
            control,
            spi_index,
            policy_words,
            policy_states,
            inbound_lines,
            outbound_lines,
            inbound_records,
            outbound_records,
            arenas,
            words: cursor.segment_words(),
        }
    }
}

/// The runtime segment.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeLayout {
    pub(crate) control: Region,
    pub(crate) workers: Region,
    pub(crate) acquires: Region,
    pub(crate) inbound: Region,
    pub(crate) outbound: Region,
    pub(crate) replay: Region,
    pub(crate) words: usize,
}

impl RuntimeLayout {
    pub(crate) fn new(capacities: &Capacities) -> Self {
        let inbound_slots = capacities.inbound_slots as usize;
        let mut cursor = Cursor(Header::WORDS);
        let control = cursor.region(RuntimeControl::WORDS, 1);
        let workers = cursor.region(WorkerState::WORDS, capacities.workers as usize);
        let acquires = cursor.region(AcquireState::WORDS, capacities.policies as usize);
        let inbound = cursor.region(InboundState::WORDS, inbound_slots);
        let outbound = cursor.region(OutboundState::WORDS, capacities.outbound_slots as usize);
        let replay = cursor.region(capacities.replay_words as usize, inbound_slots);
        Self { control, workers, acquires, inbound, outbound, replay, words: cursor.segment_words() }
    }
}

/// The events segment.
#[derive(Clone, Debug)]
pub(crate) struct EventsLayout {
    pub(crate) control: Region,
    pub(crate) indices: Region,
    pub(crate) entries: Region,
    pub(crate) words: usize,
}

impl EventsLayout {
    pub(crate) fn new(capacities: &Capacities) -> Self {
        let workers = capacities.workers as usize;
        let mut cursor = Cursor(Header::WORDS);
        let control = cursor.region(EventsControl::WORDS, 1);
        let indices = cursor.region(RingIndices::WORDS, workers);
        let entries = cursor.region(EventWords::WORDS * capacities.ring_entries as usize, workers);
        Self { control, indices, entries, words: cursor.segment_words() }
    }
}

/// The checkpoint segment.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointLayout {
    pub(crate) heads: Region,
    pub(crate) buffers: Region,
    pub(crate) words: usize,
}

impl CheckpointLayout {
    pub(crate) fn new(capacities: &Capacities) -> Self {
        let mut cursor = Cursor(Header::WORDS);
        let heads = cursor.region(CheckpointHead::WORDS, 2);
        let buffers = cursor.region(capacities.checkpoint_words as usize, 2);
        Self { heads, buffers, words: cursor.segment_words() }
    }
}
