//! Address classes: prefixes that are a source or a destination of a permit, or an address of ours.
//!
//! The kernel's trie answers with the longest prefix alone, so each entry includes the classes of
//! all enclosing prefixes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::policy::address_bits::AddressBits;

/// A prefix and its `CLASS_…` bits.
pub type PrefixClass = (IpAddr, u8, u32);

/// A prefix as an unsigned key; the two IP versions are kept apart by the caller.
pub(super) type Classes<K> = BTreeMap<(K, u8), u32>;

/// Adds to each prefix the classes of its enclosing prefixes.
#[must_use]
pub(super) fn inherited<K: AddressBits>(own: &Classes<K>) -> Classes<K> {
    let mut result = Classes::new();
    // Ordered by (first address, length), an enclosing prefix comes before what it encloses.
    let mut around: Vec<(K, u32)> = Vec::new();
    for (&(address, length), &bits) in own {
        let (first, last) = address.range(length);
        while around.pop_if(|(end, _)| *end < first).is_some() {}
        let bits = bits | around.last().map_or(0, |(_, bits)| *bits);
        around.push((last, bits));
        result.insert((first, length), bits);
    }
    result
}

/// Splits classes by IP version, with network addresses normalised and equal prefixes merged.
pub(super) fn split(prefixes: impl IntoIterator<Item = PrefixClass>) -> (Classes<u32>, Classes<u128>) {
    let (mut v4, mut v6) = (Classes::new(), Classes::new());
    for (address, length, bits) in prefixes {
        match address {
            IpAddr::V4(address) => add(&mut v4, u32::from(address), length, bits),
            IpAddr::V6(address) => add(&mut v6, u128::from(address), length, bits),
        }
    }
    (v4, v6)
}

fn add<K: AddressBits>(classes: &mut Classes<K>, address: K, length: u8, bits: u32) {
    let length = length.min(K::BITS);
    *classes.entry((address.range(length).0, length)).or_default() |= bits;
}

/// The classes of an address as the kernel's trie would answer: for tests of policies without a
/// kernel.
#[must_use]
pub fn inherit(prefixes: &[PrefixClass], address: IpAddr) -> u32 {
    fn longest<K: AddressBits>(classes: &Classes<K>, key: K) -> u32 {
        inherited(classes)
            .iter()
            .filter(|((first, length), _)| {
                let (low, high) = first.range(*length);
                low <= key && key <= high
            })
            .max_by_key(|((_, length), _)| *length)
            .map_or(0, |(_, bits)| *bits)
    }
    let (v4, v6) = split(prefixes.iter().copied());
    match address {
        IpAddr::V4(address) => longest(&v4, u32::from(address)),
        IpAddr::V6(address) => longest(&v6, u128::from(address)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_prefix_knows_the_classes_of_all_prefixes_around_it(
            prefixes in prop::collection::vec((any::<u32>(), 0_u8..=32, 1_u32..8), 1..30),
            pick in any::<prop::sample::Index>(),
        ) {
            // Keys near the prefixes, so that many are covered.
            let (near, length, _) = *pick.get(&prefixes);
            let key = near ^ (1 << (31 - u32::from(length).min(31)));
            let list: Vec<_> =
                prefixes.iter().map(|(a, l, c)| (IpAddr::V4((*a).into()), *l, *c)).collect();
            for key in [near, key] {
                let all = prefixes
                    .iter()
                    .filter(|(a, l, _)| { let (low, high) = a.range(*l); low <= key && key <= high })
                    .fold(0, |bits, (.., class)| bits | class);
                prop_assert_eq!(inherit(&list, IpAddr::V4(key.into())), all);
            }
        }
    }

    #[test]
    fn versions_are_apart() {
        let everything = [("0.0.0.0".parse().unwrap(), 0, 1)];
        assert_eq!(inherit(&everything, "10.0.0.1".parse().unwrap()), 1);
        assert_eq!(inherit(&everything, "::1".parse().unwrap()), 0);
    }
}
