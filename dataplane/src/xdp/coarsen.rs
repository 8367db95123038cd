//! If a policy has more prefixes than the kernel's tries hold, neighbouring ones are joined into
//! shorter ones that cover them.
//!
//! Workers then get packets that no permit matches; workers and the guard's rules still decide
//! exactly. Addresses of ours are never joined: the guard lets IKE out from them, and from no
//! others.

use ebpf_abi::{CLASS_OWN, MAX_PREFIXES};

use super::classes::{Classes, PrefixClass, split};
use crate::policy::address_bits::AddressBits;

/// Prefixes of one version that a policy may have: old and new entries are present together during
/// a change, so each may use half.
pub(super) const LIMIT: usize = MAX_PREFIXES as usize / 2;

/// Classes by IP version, as many as the tries hold.
pub(super) fn fitting(prefixes: &[PrefixClass]) -> (Classes<u32>, Classes<u128>) {
    let (v4, v6) = split(prefixes.iter().copied());
    (coarsened(v4, LIMIT), coarsened(v6, LIMIT))
}

/// At most `limit` prefixes (and one more than there are addresses of ours, if that is more) that
/// give each address at least the classes that it has in `classes`. The smallest covering prefixes
/// are joined first.
fn coarsened<K: AddressBits>(classes: Classes<K>, limit: usize) -> Classes<K> {
    if classes.len() <= limit {
        return classes;
    }
    let (own, others): (Classes<K>, Classes<K>) =
        classes.into_iter().partition(|(_, bits)| bits & CLASS_OWN != 0);
    let room = limit.saturating_sub(own.len()).max(1);
    let mut prefixes: Vec<Entry<K>> =
        others.into_iter().map(|((first, length), bits)| Entry { first, length, bits }).collect();
    for length in (0..K::BITS).rev() {
        let Some(excess) = prefixes.len().checked_sub(room).filter(|excess| *excess > 0) else { break };
        prefixes = joined_at(&prefixes, length, excess);
    }
    let mut result: Classes<K> =
        prefixes.into_iter().map(|entry| ((entry.first, entry.length), entry.bits)).collect();
    for (key, bits) in own {
        *result.entry(key).or_default() |= bits;
    }
    result
}

#[derive(Clone, Copy)]
struct Entry<K> {
    first: K,
    length: u8,
    bits: u32,
}

/// Joins what lies in the same prefix of `length`, until there are `excess` entries fewer. Entries
/// are sorted by (first address, length), so those of one prefix are adjacent; shorter ones precede
/// it and are kept.
fn joined_at<K: AddressBits>(entries: &[Entry<K>], length: u8, excess: usize) -> Vec<Entry<K>> {
    let mut result = Vec::with_capacity(entries.len());
    let mut left = excess;
    let together = |a: &Entry<K>, b: &Entry<K>| {
        a.length >= length && b.length >= length && a.first.range(length) == b.first.range(length)
    };
    for group in entries.chunk_by(together) {
        if left == 0 || group.len() == 1 {
            result.extend_from_slice(group);
            continue;
        }
        left = left.saturating_sub(group.len() - 1);
        let bits = group.iter().fold(0, |bits, entry| bits | entry.bits);
        result.extend(group.first().map(|entry| Entry { first: entry.first.range(length).0, length, bits }));
    }
    result
}

#[cfg(test)]
mod tests {
    use ebpf_abi::{CLASS_DESTINATION, CLASS_SOURCE};
    use proptest::prelude::*;

    use super::*;

    /// All classes of an address.
    fn of<K: AddressBits>(classes: &Classes<K>, key: K) -> u32 {
        let around = |first: K, length| {
            let (low, high) = first.range(length);
            low <= key && key <= high
        };
        classes
            .iter()
            .filter(|((first, length), _)| around(*first, *length))
            .fold(0, |all, (_, bits)| all | bits)
    }

    /// Few distinct leading bits, so that prefixes are neighbours or nested.
    fn prefixes() -> impl Strategy<Value = Vec<(u32, u8, u32)>> {
        let near = (0_u32..64, 0_u32..16).prop_map(|(high, low)| high << 26 | low);
        let own = (any::<u32>(), Just(32_u8), Just(CLASS_OWN));
        let one = prop_oneof![
            4 => (near, 0_u8..=32, 1_u32..4),
            2 => (any::<u32>(), 16_u8..=32, 1_u32..4),
            1 => own,
        ];
        prop::collection::vec(one, 1..60)
    }

    proptest! {
        #[test]
        fn every_address_keeps_its_classes_and_ours_are_no_more_than_before(
            prefixes in prefixes(),
            limit in 0_usize..50,
            others in prop::collection::vec(any::<u32>(), 20),
        ) {
            let list: Vec<PrefixClass> =
                prefixes.iter().map(|(a, l, c)| (std::net::IpAddr::V4((*a).into()), *l, *c)).collect();
            let before = split(list.iter().copied()).0;
            let after = coarsened(before.clone(), limit);
            let own = before.values().filter(|bits| **bits & CLASS_OWN != 0).count();
            prop_assert!(after.len() <= limit.max(own + 1), "{} of {}", after.len(), before.len());
            prop_assert!(before.len() > limit || after == before, "what fits is not changed");
            let ends = before.keys().flat_map(|(first, length)| {
                let (low, high) = first.range(*length);
                [low, high, low.wrapping_sub(1), high.wrapping_add(1)]
            });
            for key in ends.chain(others) {
                let (had, has) = (of(&before, key), of(&after, key));
                prop_assert_eq!(had & !has, 0, "{:#x} lost a class", key);
                prop_assert_eq!(had & CLASS_OWN, has & CLASS_OWN, "{:#x}", key);
            }
        }

        #[test]
        fn ipv6_prefixes_keep_their_classes(
            numbers in prop::collection::btree_set(0_u128..10_000, 40..80),
            limit in 1_usize..40,
        ) {
            let before: Classes<u128> =
                numbers.iter().map(|n| ((0x2001_0db8 << 96 | *n << 64, 64), CLASS_SOURCE)).collect();
            let after = coarsened(before.clone(), limit);
            prop_assert!(after.len() <= limit);
            prop_assert!(before.keys().all(|(first, _)| of(&after, *first) & CLASS_SOURCE != 0));
        }
    }

    #[test]
    fn the_nearest_neighbours_are_joined_first_and_no_more_than_needed() {
        let host = |n: u32| ((n, 32), CLASS_DESTINATION);
        let four: Classes<u32> =
            [host(0x0a00_0000), host(0x0a00_0001), host(0x1400_0000), host(0x1400_0100)].into();
        let three: Classes<u32> =
            [((0x0a00_0000, 31), CLASS_DESTINATION), host(0x1400_0000), host(0x1400_0100)].into();
        assert_eq!(coarsened(four.clone(), 3), three);
        let two: Classes<u32> =
            [((0x0a00_0000, 31), CLASS_DESTINATION), ((0x1400_0000, 23), CLASS_DESTINATION)].into();
        assert_eq!(coarsened(four, 2), two);
    }

    #[test]
    fn a_policy_beyond_the_tries_fits_after_all() {
        let host = |n: u32| (std::net::IpAddr::V4((0x0a00_0000 + 2 * n).into()), 32, CLASS_SOURCE);
        let many: Vec<PrefixClass> = (0..u32::try_from(LIMIT).unwrap() + 1000).map(host).collect();
        let (v4, v6) = fitting(&many);
        assert!(v4.len() <= LIMIT && v6.is_empty(), "{}", v4.len());
        assert!(many.iter().step_by(997).all(|(address, ..)| {
            let std::net::IpAddr::V4(address) = address else { return false };
            of(&v4, u32::from(*address)) == CLASS_SOURCE
        }));
    }
}
