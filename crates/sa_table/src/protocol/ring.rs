//! A ring of fixed-size entries from one producer to one consumer in another process. A full ring
//! rejects entries and never blocks: entries are hints, and their facts are also stored as level
//! state.

use crate::layout::EventWords;
use crate::word::{View, Word, store_all};

/// Words of one entry.
pub(crate) const ENTRY_WORDS: usize = EventWords::WORDS;

/// Both ends of a ring; each process uses only the methods of its end.
pub(crate) struct Ring<'a, W> {
    /// Count of entries pushed. Written by the producer.
    pub(crate) head: &'a W,
    /// Count of entries popped. Written by the consumer.
    pub(crate) tail: &'a W,
    /// The entries; their number is a power of two.
    pub(crate) entries: &'a [W],
}

impl<W: Word> Ring<'_, W> {
    fn capacity(&self) -> u64 {
        (self.entries.len() / ENTRY_WORDS) as u64
    }

    fn entry(&self, index: u64) -> &[W] {
        let start = (index & (self.capacity() - 1)) as usize * ENTRY_WORDS;
        &self.entries[start..start + ENTRY_WORDS]
    }

    /// Producer: appends an entry; `false` when the ring is full.
    pub(crate) fn push(&self, entry: &[u64; ENTRY_WORDS]) -> bool {
        let head = self.head.load_relaxed();
        // An impossible distance (a faulty consumer) counts as full and is harmless.
        if head.wrapping_sub(self.tail.load_acquire()) >= self.capacity() {
            return false;
        }
        store_all(self.entry(head), entry);
        self.head.store_release(head.wrapping_add(1));
        true
    }

    /// Consumer: takes the oldest entry.
    pub(crate) fn pop(&self) -> Option<[u64; ENTRY_WORDS]> {
        let tail = self.tail.load_relaxed();
        let head = self.head.load_acquire();
        let waiting = head.wrapping_sub(tail);
        if waiting == 0 {
            return None;
        }
        if waiting > self.capacity() {
            // Indices that no producer can have written: continue at its head. Only hints are lost.
            self.tail.store_release(head);
            return None;
        }
        let mut entry = [0; ENTRY_WORDS];
        View::new(self.entry(tail)).copy_to(&mut entry);
        self.tail.store_release(tail.wrapping_add(1));
        Some(entry)
    }
}

/// Consumer, before it sleeps: asks to be woken. It must check every ring once more before
/// sleeping.
pub(crate) fn arm<W: Word>(armed: &W) {
    armed.store_relaxed(1);
    W::fence_full();
}

/// Producer, after a push: whether it has to wake the consumer. `true` goes to one producer per
/// arming.
pub(crate) fn must_wake<W: Word>(armed: &W) -> bool {
    W::fence_full();
    armed.load_relaxed() == 1 && armed.swap(0) == 1
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    struct Memory {
        indices: [AtomicU64; 2],
        entries: Vec<AtomicU64>,
    }

    impl Memory {
        fn new(start: u64) -> Self {
            Self {
                indices: [AtomicU64::new(start), AtomicU64::new(start)],
                entries: (0..4 * ENTRY_WORDS).map(|_| AtomicU64::new(0)).collect(),
            }
        }

        fn ring(&self) -> Ring<'_, AtomicU64> {
            Ring { head: &self.indices[0], tail: &self.indices[1], entries: &self.entries }
        }
    }

    #[test]
    fn entries_leave_in_order_and_a_full_ring_refuses() {
        // Wraps around the end of the index range.
        let memory = Memory::new(u64::MAX - 1);
        let ring = memory.ring();
        assert_eq!(ring.pop(), None);
        for round in 0..3 {
            for n in 0..4 {
                assert!(ring.push(&[round * 10 + n; ENTRY_WORDS]));
            }
            assert!(!ring.push(&[99; ENTRY_WORDS]));
            for n in 0..4 {
                assert_eq!(ring.pop(), Some([round * 10 + n; ENTRY_WORDS]));
            }
            assert_eq!(ring.pop(), None);
        }
    }

    #[test]
    fn impossible_indices_lose_hints_and_nothing_else() {
        let memory = Memory::new(0);
        let ring = memory.ring();
        memory.indices[0].store_relaxed(1 << 60);
        assert_eq!(ring.pop(), None);
        assert!(ring.push(&[1; ENTRY_WORDS]));
        assert_eq!(ring.pop(), Some([1; ENTRY_WORDS]));
        memory.indices[1].store_relaxed(5);
        assert!(!ring.push(&[2; ENTRY_WORDS]));
    }

    #[test]
    fn one_producer_wakes_per_arming() {
        let armed = AtomicU64::new(0);
        assert!(!must_wake(&armed));
        arm(&armed);
        assert!(must_wake(&armed));
        assert!(!must_wake(&armed));
    }
}
