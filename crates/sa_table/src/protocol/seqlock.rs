//! A sequence lock over a few words, for the peer endpoint only. One writer; a reader tries once
//! and, during a write, keeps the value that it already has.

use crate::word::{View, Word, store_all};

/// Result of one attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read<const N: usize> {
    /// The version that the reader already knows.
    Unchanged,
    /// A complete value and its version.
    New([u64; N], u64),
    /// A write is in progress: keep the old value, ask again later.
    Busy,
}

/// Replaces the value. Also repairs a lock whose writer died between its two steps.
pub(crate) fn write<W: Word>(sequence: &W, words: &[W], values: &[u64]) {
    let odd = sequence.load_relaxed() | 1;
    sequence.store_relaxed(odd);
    W::fence_release();
    store_all(words, values);
    sequence.store_release(odd.wrapping_add(1));
}

/// Reads the value if its version is not `known`.
pub(crate) fn read<W: Word, const N: usize>(
    sequence: View<'_, W>,
    words: View<'_, W>,
    known: u64,
) -> Read<N> {
    let before = sequence.acquire(0);
    if before == known {
        return Read::Unchanged;
    }
    if before & 1 == 1 {
        return Read::Busy;
    }
    let mut values = [0; N];
    words.copy_to(&mut values);
    W::fence_acquire();
    if sequence.relaxed(0) != before {
        return Read::Busy;
    }
    Read::New(values, before)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    fn get(lock: &[AtomicU64; 4], known: u64) -> Read<3> {
        read(View::new(&lock[..1]), View::new(&lock[1..]), known)
    }

    #[test]
    fn a_value_is_read_once_per_version() {
        let lock: [AtomicU64; 4] = Default::default();
        write(&lock[0], &lock[1..], &[1, 2, 3]);
        assert_eq!(get(&lock, 0), Read::New([1, 2, 3], 2));
        assert_eq!(get(&lock, 2), Read::Unchanged);
        write(&lock[0], &lock[1..], &[4, 5, 6]);
        assert_eq!(get(&lock, 2), Read::New([4, 5, 6], 4));
    }

    #[test]
    fn a_lock_left_by_a_dead_writer_is_busy_until_written_again() {
        let lock: [AtomicU64; 4] = Default::default();
        lock[0].store_relaxed(7);
        assert_eq!(get(&lock, 6), Read::Busy);
        write(&lock[0], &lock[1..], &[1, 2, 3]);
        assert_eq!(get(&lock, 6), Read::New([1, 2, 3], 8));
    }
}
