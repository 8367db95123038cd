//! The word type of all shared state, and read-only access to words.
//!
//! Protocol code is generic over [`Word`], so that the code that runs on the mapping is the code
//! that is model checked. There are no other shared types: bytes, addresses and records are packed
//! into words, each of which is copied once to a local before use.

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A shared 64-bit word.
pub(crate) trait Word {
    /// A load without ordering.
    fn load_relaxed(&self) -> u64;
    /// A store without ordering.
    fn store_relaxed(&self, value: u64);
    /// A release store.
    fn store_release(&self, value: u64);
    /// Exchange if the word still holds `current` (acquire and release); the word's content on
    /// failure.
    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64>;
    /// Exchange (acquire and release).
    fn swap(&self, value: u64) -> u64;
    /// Acquire fence.
    fn fence_acquire();
    /// Release fence.
    fn fence_release();
    /// Full fence.
    fn fence_full();

    /// An acquire load, as a relaxed load and a fence: on memory that this process may not write,
    /// only relaxed loads are defined.
    fn load_acquire(&self) -> u64 {
        let value = self.load_relaxed();
        Self::fence_acquire();
        value
    }
}

impl Word for AtomicU64 {
    fn load_relaxed(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn store_relaxed(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    fn store_release(&self, value: u64) {
        self.store(value, Ordering::Release);
    }

    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        AtomicU64::compare_exchange(self, current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    fn swap(&self, value: u64) -> u64 {
        AtomicU64::swap(self, value, Ordering::AcqRel)
    }

    fn fence_acquire() {
        fence(Ordering::Acquire);
    }

    fn fence_release() {
        fence(Ordering::Release);
    }

    fn fence_full() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
impl Word for loom::sync::atomic::AtomicU64 {
    fn load_relaxed(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn store_relaxed(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    fn store_release(&self, value: u64) {
        self.store(value, Ordering::Release);
    }

    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        loom::sync::atomic::AtomicU64::compare_exchange(
            self,
            current,
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        )
    }

    fn swap(&self, value: u64) -> u64 {
        loom::sync::atomic::AtomicU64::swap(self, value, Ordering::AcqRel)
    }

    fn fence_acquire() {
        loom::sync::atomic::fence(Ordering::Acquire);
    }

    fn fence_release() {
        loom::sync::atomic::fence(Ordering::Release);
    }

    fn fence_full() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Words that may only be read. A word out of bounds reads as 0, which means "none" everywhere in
/// the segments, so that no content of a segment can make a reader panic.
pub(crate) struct View<'a, W>(&'a [W]);

impl<W> Clone for View<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for View<'_, W> {}

impl<'a, W: Word> View<'a, W> {
    pub(crate) fn new(words: &'a [W]) -> Self {
        Self(words)
    }

    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// The words from `start` on, fewer than `count` at the end of the view.
    pub(crate) fn part(self, start: usize, count: usize) -> Self {
        let rest = self.0.get(start..).unwrap_or_default();
        Self(rest.get(..count).unwrap_or(rest))
    }

    pub(crate) fn relaxed(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, Word::load_relaxed)
    }

    pub(crate) fn acquire(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, Word::load_acquire)
    }

    /// Copies words out, each read once; words out of bounds become 0.
    pub(crate) fn copy_to(self, target: &mut [u64]) {
        for (index, word) in target.iter_mut().enumerate() {
            *word = self.relaxed(index);
        }
    }
}

/// Stores words without ordering; the caller publishes them afterwards with a release store.
pub(crate) fn store_all<W: Word>(words: &[W], values: &[u64]) {
    debug_assert!(values.len() <= words.len());
    for (word, value) in words.iter().zip(values) {
        word.store_relaxed(*value);
    }
}

/// Overwrites words with 0. Stores to shared memory are visible outside of the program, hence are
/// not elided.
pub(crate) fn erase<W: Word>(words: &[W]) {
    for word in words {
        word.store_relaxed(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_zero_outside_of_its_words() {
        let words = [AtomicU64::new(1), AtomicU64::new(2)];
        let view = View::new(&words);
        assert_eq!(
            (view.relaxed(1), view.acquire(2), view.part(1, 9).len(), view.part(7, 1).len()),
            (2, 0, 1, 0)
        );
        let mut copy = [9; 3];
        view.copy_to(&mut copy);
        assert_eq!(copy, [1, 2, 0]);
    }
}
