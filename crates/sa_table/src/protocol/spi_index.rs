//! Maps an SPI to inbound slots: a hash table of cache lines with one writer and any number of
//! readers.
//!
//! An entry is `SPI << 32 | slot`, one release store. A bucket is a cache line of seven entries and
//! a count of the entries that belong to it but overflowed to later buckets. Entries are never
//! moved and there are no tombstones: a search continues while that count is not 0. One SPI may
//! occur several times, for different local addresses.

use crate::layout::BUCKET_WORDS;
use crate::word::{View, Word};

const ENTRIES: usize = BUCKET_WORDS - 1;
const OVERFLOW: usize = BUCKET_WORDS - 1;

fn entry(spi: u32, slot: u32) -> u64 {
    u64::from(spi) << 32 | u64::from(slot)
}

/// SPIs are random, but a configuration may assign consecutive ones; multiplication spreads both.
fn home(spi: u32, buckets: usize) -> usize {
    let hash = u64::from(spi).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    hash as usize & (buckets - 1)
}

/// The slots of an SPI. `index` is a power of two of buckets.
pub(crate) fn lookup<'a, W: Word>(index: View<'a, W>, spi: u32) -> impl Iterator<Item = u32> + use<'a, W> {
    let buckets = index.len() / BUCKET_WORDS;
    let mut bucket = if buckets == 0 { 0 } else { home(spi, buckets) };
    // 0 is the word of an empty entry and would be equal to SPI 0 with slot 0.
    let mut left = if spi == 0 { 0 } else { buckets };
    let mut place = 0;
    core::iter::from_fn(move || {
        while left > 0 {
            let start = bucket * BUCKET_WORDS;
            while place < ENTRIES {
                let word = index.acquire(start + place);
                place += 1;
                if (word >> 32) as u32 == spi {
                    return Some(word as u32);
                }
            }
            left = if index.relaxed(start + OVERFLOW) == 0 { 0 } else { left - 1 };
            bucket = (bucket + 1) & (buckets - 1);
            place = 0;
        }
        None
    })
}

/// Inserts a slot under an SPI other than 0; `false` if every bucket is full.
pub(crate) fn insert<W: Word>(index: &[W], spi: u32, slot: u32) -> bool {
    let buckets = index.len() / BUCKET_WORDS;
    let Some((distance, place)) = probe(index, spi).find_map(|(distance, bucket)| {
        bucket[..ENTRIES].iter().position(|word| word.load_relaxed() == 0).map(|place| (distance, place))
    }) else {
        return false;
    };
    // The overflow counts come first, then the entry; the release store of the entry publishes
    // both.
    for (_, bucket) in probe(index, spi).take(distance) {
        bucket[OVERFLOW].store_relaxed(bucket[OVERFLOW].load_relaxed().saturating_add(1));
    }
    let start = ((home(spi, buckets) + distance) & (buckets - 1)) * BUCKET_WORDS;
    index[start + place].store_release(entry(spi, slot));
    true
}

/// Removes a slot from under an SPI; `false` if it was not found.
pub(crate) fn remove<W: Word>(index: &[W], spi: u32, slot: u32) -> bool {
    let wanted = entry(spi, slot);
    for (distance, bucket) in probe(index, spi) {
        if let Some(word) = bucket[..ENTRIES].iter().find(|word| word.load_relaxed() == wanted) {
            word.store_release(0);
            for (_, passed) in probe(index, spi).take(distance) {
                passed[OVERFLOW].store_relaxed(passed[OVERFLOW].load_relaxed().saturating_sub(1));
            }
            return true;
        }
    }
    false
}

/// The buckets starting at the home of an SPI, each once, with their distance from home.
fn probe<W>(index: &[W], spi: u32) -> impl Iterator<Item = (usize, &[W])> {
    let buckets = index.len() / BUCKET_WORDS;
    (0..buckets).map(move |distance| {
        let start = ((home(spi, buckets) + distance) & (buckets - 1)) * BUCKET_WORDS;
        (distance, &index[start..start + BUCKET_WORDS])
    })
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn index(buckets: usize) -> Vec<AtomicU64> {
        (0..buckets * BUCKET_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn found(index: &[AtomicU64], spi: u32) -> BTreeSet<u32> {
        lookup(View::new(index), spi).collect()
    }

    #[test]
    fn every_place_can_be_taken_and_found() {
        let index = index(4);
        for slot in 0..28 {
            assert!(insert(&index, 1000 + slot, slot));
        }
        assert!(!insert(&index, 5000, 28), "the table is full");
        for slot in 0..28 {
            assert_eq!(found(&index, 1000 + slot), BTreeSet::from([slot]));
        }
        for slot in 0..28 {
            assert!(remove(&index, 1000 + slot, slot));
        }
        assert!(index.iter().all(|word| word.load_relaxed() == 0), "no signpost is left behind");
    }

    #[test]
    fn one_spi_may_lead_to_several_slots() {
        let index = index(2);
        assert!(insert(&index, 256, 1) && insert(&index, 256, 2));
        assert_eq!(found(&index, 256), BTreeSet::from([1, 2]));
        assert!(remove(&index, 256, 1) && !remove(&index, 256, 1));
        assert_eq!(found(&index, 256), BTreeSet::from([2]));
    }

    #[test]
    fn spi_zero_is_never_found() {
        assert!(found(&index(2), 0).is_empty());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(operations in proptest::collection::vec((any::<bool>(), 256u32..290, 0u32..3), 0..300)) {
            let index = index(8);
            let mut model = BTreeSet::new();
            for (add, spi, slot) in operations {
                if add && !model.contains(&(spi, slot)) {
                    prop_assert_eq!(insert(&index, spi, slot), model.len() < 56);
                    if model.len() < 56 {
                        model.insert((spi, slot));
                    }
                } else if !add {
                    prop_assert_eq!(remove(&index, spi, slot), model.remove(&(spi, slot)));
                }
            }
            for spi in 256..290 {
                let expected: BTreeSet<u32> = model.range((spi, 0)..(spi + 1, 0)).map(|(_, slot)| *slot).collect();
                prop_assert_eq!(found(&index, spi), expected);
            }
            for (spi, slot) in model {
                prop_assert!(remove(&index, spi, slot));
            }
            prop_assert!(index.iter().all(|word| word.load_relaxed() == 0));
        }

        #[test]
        fn arbitrary_content_ends_every_search(words in proptest::collection::vec(any::<u64>(), 32), spi: u32) {
            let index: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
            prop_assert!(lookup(View::new(&index), spi).count() <= 28);
            remove(&index, spi, 1);
            insert(&index, spi, 1);
        }
    }
}
