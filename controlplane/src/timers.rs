//! Deadlines of many objects of one kind, so that the next one is found in O(log n).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Sorted deadlines, updated with [`Timers::set`] by the code that changes them.
#[derive(Debug)]
pub struct Timers<K> {
    due: BTreeSet<(Duration, K)>,
    armed: BTreeMap<K, Duration>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { due: BTreeSet::new(), armed: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Timers<K> {
    /// Sets the deadline of `key`, or removes it.
    pub fn set(&mut self, key: K, at: Option<Duration>) {
        let before = match at {
            Some(at) => self.armed.insert(key.clone(), at),
            None => self.armed.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.due.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub fn first(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The keys whose deadline has passed, in key order.
    pub fn overdue(&self, now: Duration) -> Vec<K> {
        let mut keys: Vec<K> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// The stored key that equals `name`, and its deadline; `None` if it has none.
    pub fn armed<Q: Ord + ?Sized>(&self, name: &Q) -> Option<(&K, Duration)>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.armed.get_key_value(name).map(|(key, at)| (key, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_due_is_found_and_a_changed_mind_counts() {
        let mut timers = Timers::default();
        for (key, at) in [(1, 5), (2, 3), (3, 9), (4, 3)] {
            timers.set(key, Some(s(at)));
        }
        timers.set(1, Some(s(2)));
        timers.set(4, None);
        assert_eq!(timers.first(), Some(s(2)));
        assert_eq!(timers.overdue(s(3)), [1, 2]);
        [1, 2, 3, 7].into_iter().for_each(|key| timers.set(key, None));
        assert_eq!((timers.first(), timers.overdue(s(100))), (None, vec![]));
        assert!(timers.due.is_empty() && timers.armed.is_empty());
    }
}
