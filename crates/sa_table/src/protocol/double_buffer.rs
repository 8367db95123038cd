//! Two buffers for one value that must survive the death of its writer at any store: the older one is
//! overwritten, the newer one stays until the other is whole.

use zeroize::Zeroizing;

use crate::layout::CheckpointHead;
use crate::word::{View, Word, erase};

/// One buffer: head and content.
pub(crate) struct Buffer<'a, W> {
    pub(crate) head: &'a [W],
    pub(crate) content: &'a [W],
}

impl<W> Buffer<'_, W> {
    /// Octets that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.content.len() * 8
    }
}

/// Stores `bytes` as the newest value and gives its number. The caller checked the length against the capacity.
pub(crate) fn store<W: Word>(buffers: [&Buffer<'_, W>; 2], bytes: &[u8]) -> u64 {
    let numbers = buffers.map(|buffer| valid_number(buffer).unwrap_or(0));
    let [first, second] = buffers;
    let target = if numbers[0] <= numbers[1] { first } else { second };
    let number = numbers[0].max(numbers[1]) + 1;
    target.head[CheckpointHead::sequence].store_relaxed(0);
    W::fence_release();
    let used = bytes.len().div_ceil(8);
    for (word, value) in target.content.iter().zip(words_of(bytes)) {
        word.store_relaxed(value);
    }
    // The rest of an older, longer value held keys.
    erase(&target.content[used.min(target.content.len())..]);
    target.head[CheckpointHead::length].store_relaxed(bytes.len() as u64);
    target.head[CheckpointHead::checksum].store_relaxed(checksum(number, bytes));
    target.head[CheckpointHead::sequence].store_release(number);
    number
}

/// The newest whole value and its number.
pub(crate) fn load<W: Word>(buffers: [&Buffer<'_, W>; 2]) -> Option<(u64, Zeroizing<Vec<u8>>)> {
    buffers.into_iter().filter_map(|buffer| read(buffer)).max_by_key(|(number, _)| *number)
}

/// Erases both buffers.
pub(crate) fn clear<W: Word>(buffers: [&Buffer<'_, W>; 2]) {
    for buffer in buffers {
        erase(buffer.head);
        W::fence_release();
        erase(buffer.content);
    }
}

fn valid_number<W: Word>(buffer: &Buffer<'_, W>) -> Option<u64> {
    read(buffer).map(|(number, _)| number)
}

fn read<W: Word>(buffer: &Buffer<'_, W>) -> Option<(u64, Zeroizing<Vec<u8>>)> {
    let head = View::new(buffer.head);
    let number = head.acquire(CheckpointHead::sequence);
    let length = usize::try_from(head.relaxed(CheckpointHead::length)).ok()?;
    if number == 0 || length > buffer.capacity() {
        return None;
    }
    let mut bytes = Zeroizing::new(vec![0u8; length]);
    for (chunk, word) in bytes.chunks_mut(8).zip(buffer.content) {
        chunk.copy_from_slice(&word.load_relaxed().to_le_bytes()[..chunk.len()]);
    }
    (head.relaxed(CheckpointHead::checksum) == checksum(number, &bytes)).then_some((number, bytes))
}

/// FNV-1a over number, length and content in words; each step is reversible, so one changed word always shows. It finds
/// torn writes; a forger could write the checksum as well.
fn checksum(number: u64, bytes: &[u8]) -> u64 {
    [number, bytes.len() as u64]
        .into_iter()
        .chain(words_of(bytes))
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

/// Octets as little-endian words, the last one filled up with zeros.
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|chunk| {
        let mut octets = [0; 8];
        octets[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(octets)
    })
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::crash::CrashWord;

    fn words<W>(make: impl Fn() -> W, count: usize) -> Vec<W> {
        (0..count).map(|_| make()).collect()
    }

    fn with_buffers<W: Word, R>(words: &[W], act: impl FnOnce([&Buffer<'_, W>; 2]) -> R) -> R {
        let (first, second) = words.split_at(words.len() / 2);
        let buffer = |words| -> Buffer<'_, W> {
            let words: &[W] = words;
            Buffer { head: &words[..8], content: &words[8..] }
        };
        act([&buffer(first), &buffer(second)])
    }

    #[test]
    fn the_newest_value_is_read_back() {
        let memory = words(|| AtomicU64::new(0), 24);
        with_buffers(&memory, |buffers| {
            assert!(load(buffers).is_none());
            for (number, bytes) in [(1, &b"abcdefghijk"[..]), (2, b""), (3, b"xyz")] {
                assert_eq!(store(buffers, bytes), number);
                let (read_number, read_bytes) = load(buffers).unwrap();
                assert_eq!((read_number, &read_bytes[..]), (number, bytes));
            }
            clear(buffers);
            assert!(load(buffers).is_none());
        });
        assert!(memory.iter().all(|word| word.load_relaxed() == 0));
    }

    #[test]
    fn a_shorter_value_leaves_nothing_of_the_longer_one() {
        let memory = words(|| AtomicU64::new(0), 24);
        with_buffers(&memory, |buffers| {
            for value in [&[0xaa; 32][..], &[0xaa; 32], &[1], &[2]] {
                store(buffers, value);
            }
        });
        assert!(
            memory.iter().all(|word| word.load_relaxed() & 0xaa00 != 0xaa00
                || word.load_relaxed() >> 16 != 0xaaaa_aaaa_aaaa)
        );
    }

    #[test]
    fn a_writer_that_dies_at_any_store_leaves_a_whole_value() {
        for stores in 0..40 {
            let memory = words(CrashWord::default, 24);
            with_buffers(&memory, |buffers| {
                store(buffers, b"older value");
                store(buffers, b"old value");
                CrashWord::die_after(stores, || store(buffers, b"new value"));
                let (number, bytes) = load(buffers).unwrap();
                let value = if number == 3 { &b"new value"[..] } else { b"old value" };
                assert_eq!(&bytes[..], value, "death after {stores} stores");
                store(buffers, b"next value");
                assert_eq!(&load(buffers).unwrap().1[..], b"next value", "death after {stores} stores");
            });
        }
    }

    proptest! {
        #[test]
        fn arbitrary_content_is_refused(contents in proptest::collection::vec(any::<u64>(), 24)) {
            let memory: Vec<AtomicU64> = contents.into_iter().map(AtomicU64::new).collect();
            with_buffers(&memory, |buffers| {
                prop_assert!(load(buffers).is_none());
                Ok(())
            })?;
        }

        #[test]
        fn one_changed_word_is_noticed(place in 0usize..24, change in 1u64.., length in 8usize..32) {
            let memory = words(|| AtomicU64::new(0), 24);
            let bytes = vec![7; length];
            with_buffers(&memory, |buffers| store(buffers, &bytes));
            let word = &memory[place];
            word.store_relaxed(word.load_relaxed() ^ change);
            with_buffers(&memory, |buffers| {
                if let Some((_, read)) = load(buffers) {
                    prop_assert_eq!(&read[..], &bytes[..]);
                }
                Ok(())
            })?;
        }
    }
}
