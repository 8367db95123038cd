//! Who wants to be called when: so that one datagram does not cost a look at ten thousand sessions.
//!
//! Only what changes its mind is written here, by whoever changed it; what is due is found without asking the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ike::IkeId;

use super::Brain;
use crate::compile::EntryKey;
use crate::liveness::Liveness;

/// The deadlines of many of one kind.
#[derive(Debug)]
pub(super) struct Timers<K> {
    due: BTreeSet<(Duration, K)>,
    armed: BTreeMap<K, Duration>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { due: BTreeSet::new(), armed: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Timers<K> {
    /// `key` wants to be called at this time and at no other, or not at all.
    fn set(&mut self, key: K, at: Option<Duration>) {
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

    fn first(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those whose time has come, in the order of their names.
    fn overdue(&self, now: Duration) -> Vec<K> {
        let mut keys: Vec<K> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }
}

impl Brain {
    /// The earliest time at which a session or the detection of an IKE SA wants to be called.
    pub(super) fn alarm(&self) -> Option<Duration> {
        debug_assert_eq!(
            self.detection_timers.first(),
            self.ike_sas.values().filter_map(|sa| sa.liveness.as_ref()?.deadline()).min(),
            "a change of a detection was not noted"
        );
        debug_assert_eq!(
            self.session_timers.first(),
            self.sessions.values().filter_map(crate::session::Session::deadline).min(),
            "a change of a session was not noted"
        );
        self.detection_timers.first().into_iter().chain(self.session_timers.first()).min()
    }

    /// To be called after every change of a session, its end included.
    pub(super) fn note_session(&mut self, key: &EntryKey) {
        let at = self.sessions.get(key).and_then(crate::session::Session::deadline);
        match self.session_timers.armed.get_key_value(key).map(|(key, armed)| (key.clone(), *armed)) {
            Some((_, armed)) if at == Some(armed) => {}
            Some((key, _)) => self.session_timers.set(key, at),
            None if at.is_some() => self.session_timers.set(Arc::new(key.clone()), at),
            None => {}
        }
    }

    /// Sessions that have something to do.
    pub(super) fn sessions_due(&self, now: Duration) -> Vec<Arc<EntryKey>> {
        self.session_timers.overdue(now)
    }

    /// Changes the detection of an IKE SA, if it has any.
    pub(super) fn with_liveness<R>(
        &mut self,
        ike: IkeId,
        change: impl FnOnce(&mut Liveness) -> R,
    ) -> Option<R> {
        let liveness = self.ike_sas.get_mut(&ike)?.liveness.as_mut()?;
        let result = change(liveness);
        let at = liveness.deadline();
        self.detection_timers.set(ike, at);
        Some(result)
    }

    /// To be called when an IKE SA got a detection, lost it, or is gone.
    pub(super) fn note_detection(&mut self, ike: IkeId) {
        let at = self.ike_sas.get(&ike).and_then(|sa| sa.liveness.as_ref()?.deadline());
        self.detection_timers.set(ike, at);
    }

    /// IKE SAs whose detection has something to decide.
    pub(super) fn detections_due(&self, now: Duration) -> Vec<IkeId> {
        self.detection_timers.overdue(now)
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
