//! Two buffers for one value that must survive the death of its writer at any store: the older one
//! is overwritten, the newer one is kept until the other is complete.

use zeroize::Zeroizing;

use crate::layout::CheckpointHead;
use crate::word::{View, Word, erase};

/// One buffer: head and content.
pub(crate) struct Buffer<'a, W> {
    pub(crate) head: &'a [W],
    pub(crate) content: &'a [W],
}

impl<W> Buffer<'_, W> {
    /// Capacity in octets.
    pub(crate) fn capacity(&self) -> usize {
        self.content.len() * 8
    }
}

/// The only writer of two buffers. It caches what it wrote, so that it need not read and check the
/// buffers again.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Number and buffer of the newest value, once this writer has stored one.
    newest: Option<(u64, usize)>,
    /// The number of leading words after which each buffer holds only zeros; unknown if a
    /// predecessor may have died while writing.
    used: [Option<usize>; 2],
}

impl Writer {
    /// Stores `bytes` as the newest value and returns its number. The caller must have checked the
    /// length against the capacity.
    pub(crate) fn store<W: Word>(&mut self, buffers: [&Buffer<'_, W>; 2], bytes: &[u8]) -> u64 {
        let (last, place) = self.newest.unwrap_or_else(|| newest(buffers));
        let (number, place) = (last + 1, 1 - place);
        let target = buffers[place];
        let before = self.used[place].take().unwrap_or(target.content.len());
        write(target, number, bytes, before);
        self.used[place] = Some(bytes.len().div_ceil(8));
        self.newest = Some((number, place));
        number
    }
}

/// Number and buffer of the newest complete value; the number is 0 if there is none.
fn newest<W: Word>(buffers: [&Buffer<'_, W>; 2]) -> (u64, usize) {
    let [first, second] = buffers.map(|buffer| valid_number(buffer).unwrap_or(0));
    if first > second { (first, 0) } else { (second, 1) }
}

/// Overwrites a buffer that holds only zeros after its first `before` words.
fn write<W: Word>(target: &Buffer<'_, W>, number: u64, bytes: &[u8], before: usize) {
    target.head[CheckpointHead::sequence].store_relaxed(0);
    W::fence_release();
    let used = bytes.len().div_ceil(8);
    for (word, value) in target.content.iter().zip(words_of(bytes)) {
        word.store_relaxed(value);
    }
    // Erase the rest of an older, longer value, which held keys.
    let before = before.min(target.content.len());
    erase(&target.content[used.min(before)..before]);
    target.head[CheckpointHead::length].store_relaxed(bytes.len() as u64);
    target.head[CheckpointHead::checksum].store_relaxed(checksum(number, bytes));
    target.head[CheckpointHead::sequence].store_release(number);
}

/// The newest complete value and its number.
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

/// FNV-1a over number, length and content in words; each step is invertible, so a change of one
/// word is always detected. It detects torn writes; it is no protection against forgery.
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

    /// Stores by a writer without cached state.
    fn store<W: Word>(buffers: [&Buffer<'_, W>; 2], bytes: &[u8]) -> u64 {
        Writer::default().store(buffers, bytes)
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

    /// The next writer finds the state left by the crash and stores again.
    #[test]
    fn a_writer_that_knows_its_buffers_may_die_at_any_store_too() {
        for stores in 0..40 {
            let memory = words(CrashWord::default, 24);
            with_buffers(&memory, |buffers| {
                let mut writer = Writer::default();
                for value in [&b"the oldest and longest value"[..], b"older value", b"old value"] {
                    writer.store(buffers, value);
                }
                CrashWord::die_after(stores, || writer.store(buffers, b"new value"));
                let (number, bytes) = load(buffers).unwrap();
                let value = if number == 4 { &b"new value"[..] } else { b"old value" };
                assert_eq!(&bytes[..], value, "death after {stores} stores");
                store(buffers, b"next");
                store(buffers, b"last");
                assert_eq!(&load(buffers).unwrap().1[..], b"last");
            });
            let longest = words_of(b"oldest and longest").next().unwrap();
            assert!(memory.iter().all(|word| word.load_relaxed() != longest));
        }
    }

    proptest! {
        #[test]
        fn what_a_writer_remembers_makes_no_difference(lengths in proptest::collection::vec(0usize..=32, 1..12)) {
            let [remembers, forgets] = [(); 2].map(|()| words(|| AtomicU64::new(0), 24));
            let mut writer = Writer::default();
            for (round, length) in (1u8..).zip(lengths) {
                let bytes = vec![round; length];
                let numbers = (
                    with_buffers(&remembers, |buffers| writer.store(buffers, &bytes)),
                    with_buffers(&forgets, |buffers| store(buffers, &bytes)),
                );
                prop_assert_eq!(numbers.0, numbers.1);
                let content = |memory: &[AtomicU64]| memory.iter().map(Word::load_relaxed).collect::<Vec<_>>();
                prop_assert_eq!(content(&remembers), content(&forgets));
            }
        }

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
