//! A map for very few entries. A session usually has one flow and one SA pair, and there may be ten
//! thousand sessions.
//!
//! A sorted vector without spare capacity. A `BTreeMap` allocates a node for eleven entries and
//! keeps it after the last one was removed.

/// A sorted vector of keys and values.
#[derive(Clone, Debug)]
pub(super) struct Few<K, V>(Vec<(K, V)>);

impl<K: Copy + Ord, V> Few<K, V> {
    pub(super) const fn new() -> Self {
        Few(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// Inserts an entry, or replaces the one with the same key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => {
                // Grow by one at a time while small, then by half of the length.
                let more = 1 + self.0.len() / 2;
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(more);
                }
                self.0.insert(at, (key, value));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        let (_, value) = self.0.remove(at);
        if self.0.len() <= self.0.capacity() / 2 {
            self.0.shrink_to_fit();
        }
        Some(value)
    }

    /// Iterates in key order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by_key(key, |(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map(operations in proptest::collection::vec((any::<bool>(), 0u8..12, any::<u16>()), 0..200)) {
            let (mut few, mut map) = (Few::new(), BTreeMap::new());
            for (add, key, value) in operations {
                if add {
                    few.insert(key, value);
                    map.insert(key, value);
                } else {
                    prop_assert_eq!(few.remove(&key), map.remove(&key));
                }
                prop_assert!(few.iter().eq(map.iter()) && few.values().eq(map.values()));
                prop_assert!((0..12).all(|key| few.get(&key) == map.get(&key)));
                prop_assert_eq!(few.is_empty(), map.is_empty());
                prop_assert!(!few.is_empty() || few.0.capacity() == 0, "nothing is kept for what has gone");
            }
        }
    }
}
