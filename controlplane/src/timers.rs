//! The deadlines of many of one kind: what is due is found without asking the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// See the module's description. Whoever changes a deadline says so with [`Timers::set`].
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
    /// `key` is due at this time and at no other, or not at all.
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

    /// Those whose time has come, in the order of their names.
    pub fn overdue(&self, now: Duration) -> Vec<K> {
        let mut keys: Vec<K> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// The key that was set for this name, and its deadline; none if it is not due at all.
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
