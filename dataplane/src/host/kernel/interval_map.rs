//! Longest-prefix match as a binary search: prefixes nest or are disjoint, so a table of them
//! flattens into disjoint intervals, each with the value of its longest prefix. Immutable, two flat
//! arrays, no pointer chasing.

use crate::policy::address_bits::AddressBits;

/// Address → value of the longest prefix that holds it.
#[derive(Debug)]
pub(super) struct IntervalMap<K, V> {
    /// First addresses of the intervals, ascending.
    starts: Vec<K>,
    /// The value from the start of the same index up to the next start.
    values: Vec<Option<V>>,
}

impl<K, V> Default for IntervalMap<K, V> {
    fn default() -> Self {
        Self { starts: Vec::new(), values: Vec::new() }
    }
}

impl<K: AddressBits, V: Copy + PartialEq> IntervalMap<K, V> {
    /// Flattens prefixes (address, length, value). Bits behind the length are ignored; of two equal
    /// prefixes the later one in the list wins.
    pub(super) fn from_prefixes(prefixes: impl IntoIterator<Item = (K, u8, V)>) -> Self {
        let mut ranges: Vec<_> = prefixes
            .into_iter()
            .map(|(address, length, value)| {
                let (first, last) = address.range(length);
                (first, last, length, value)
            })
            .collect();
        // Outer prefixes first: every range that is open when another begins encloses it.
        ranges.sort_by_key(|(first, _, length, _)| (*first, *length));
        let mut map = Self::default();
        let mut open: Vec<(K, V)> = Vec::new();
        for (first, last, _, value) in ranges {
            map.close(&mut open, Some(first));
            map.set(first, Some(value));
            open.push((last, value));
        }
        map.close(&mut open, None);
        map
    }

    /// The value of the longest prefix that holds `key`.
    #[inline]
    pub(super) fn lookup(&self, key: K) -> Option<&V> {
        let behind = self.starts.partition_point(|start| *start <= key);
        self.values.get(behind.checked_sub(1)?)?.as_ref()
    }

    /// Ends the open ranges that lie before `limit` (all of them without one): the enclosing ranges
    /// continue.
    fn close(&mut self, open: &mut Vec<(K, V)>, limit: Option<K>) {
        while let Some((last, _)) = open.pop_if(|(last, _)| limit.is_none_or(|limit| *last < limit)) {
            if let Some(next) = last.next() {
                let enclosing = open.last().map(|(_, value)| *value);
                self.set(next, enclosing);
            }
        }
    }

    fn set(&mut self, start: K, value: Option<V>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_map_holds_nothing() {
        assert_eq!(IntervalMap::<u32, u8>::default().lookup(7), None);
    }

    #[test]
    fn the_whole_space_and_its_last_address() {
        let map = IntervalMap::from_prefixes([(0_u32, 0, 'a'), (u32::MAX, 32, 'b')]);
        assert_eq!(map.lookup(0), Some(&'a'));
        assert_eq!(map.lookup(u32::MAX - 1), Some(&'a'));
        assert_eq!(map.lookup(u32::MAX), Some(&'b'));
    }

    #[test]
    fn ipv6_default_route() {
        let map = IntervalMap::from_prefixes([(0_u128, 0, 1), (1 << 127, 1, 2)]);
        assert_eq!(map.lookup(5), Some(&1));
        assert_eq!(map.lookup(u128::MAX), Some(&2));
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(
            prefixes in prop::collection::vec((any::<u32>(), 0_u8..=32, 0_u8..4), 0..40),
            keys in prop::collection::vec(any::<u32>(), 0..40),
        ) {
            let map = IntervalMap::from_prefixes(prefixes.clone());
            // Off-by-one errors show at prefix edges.
            let edges = prefixes.iter().flat_map(|(address, length, _)| {
                let (first, last) = address.range(*length);
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            for key in keys.iter().copied().chain(edges) {
                let expected = prefixes
                    .iter()
                    .filter(|(address, length, _)| {
                        let (first, last) = address.range(*length);
                        (first..=last).contains(&key)
                    })
                    .max_by_key(|(_, length, _)| *length)
                    .map(|(.., value)| value);
                prop_assert_eq!(map.lookup(key), expected);
            }
        }
    }
}
