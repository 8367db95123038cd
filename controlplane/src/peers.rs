//! The sessions of all entries, with their peer cursors and idle timers, and which of them have a
//! timer due.

pub mod idle;
pub mod select;
pub mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ike::ChildId;
use sa_table::PolicyId;

use crate::plan::{Entry, EntryKey, Peer};
use crate::timers::Timers;
use select::Selection;
use session::{Intent, Pair, Session};

/// All sessions, see the module documentation.
#[derive(Debug, Default)]
pub struct Peers {
    sessions: BTreeMap<EntryKey, Session>,
    timers: Timers<Arc<EntryKey>>,
}

/// The result of an event for a session.
#[derive(Debug)]
pub struct Told<R> {
    /// The return value of the event's method.
    pub result: R,
    /// Peers whose last SA pair was removed.
    pub went: Vec<Peer>,
    /// Peers whose first SA pair came up.
    pub came: Vec<Peer>,
    /// The session's intents, in order.
    pub intents: Vec<Intent>,
}

impl Peers {
    /// Creates the sessions of new entries.
    pub fn add<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries {
            if !self.sessions.contains_key(&entry.key) {
                let session = Session::new(entry.peers.clone(), entry.default_first, entry.idle);
                self.sessions.insert(entry.key.clone(), session);
            }
        }
    }

    /// Removes the session of an entry, whose SAs are gone too.
    pub fn remove(&mut self, key: &EntryKey) {
        self.sessions.remove(key);
        self.set_timer(key);
    }

    /// Passes an event to a session; `None` if there is no such session.
    pub fn tell<R>(
        &mut self,
        key: &EntryKey,
        event: impl FnOnce(&mut Session, &mut Vec<Intent>) -> R,
    ) -> Option<Told<R>> {
        let session = self.sessions.get_mut(key)?;
        let before = live_peers(session);
        let mut intents = Vec::new();
        let result = event(session, &mut intents);
        let after = live_peers(session);
        self.set_timer(key);
        let (went, came) = (before.difference(&after), after.difference(&before));
        Some(Told { result, went: went.cloned().collect(), came: came.cloned().collect(), intents })
    }

    /// Restores a cursor from a checkpoint.
    pub fn resume(&mut self, key: &EntryKey, selection: Selection<Peer>) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.resume(selection);
            self.set_timer(key);
        }
    }

    /// Restores a pair from a checkpoint, without an event. Its silence counts from `now`.
    pub fn adopt(
        &mut self,
        now: Duration,
        key: &EntryKey,
        child: ChildId,
        policy: PolicyId,
        peer: Peer,
        carries: bool,
    ) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.adopt(child, policy, peer, now, carries);
            self.set_timer(key);
        }
    }

    /// The session of an entry.
    pub fn session(&self, key: &EntryKey) -> Option<&Session> {
        self.sessions.get(key)
    }

    /// All sessions with their entries.
    pub fn sessions(&self) -> impl Iterator<Item = (&EntryKey, &Session)> {
        self.sessions.iter()
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are no sessions.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A pair as its session sees it.
    pub fn pair(&self, key: &EntryKey, child: ChildId) -> Option<&Pair> {
        self.sessions.get(key)?.pairs().find(|(id, _)| *id == child).map(|(_, pair)| pair)
    }

    /// The earliest timer of any session.
    pub fn deadline(&self) -> Option<Duration> {
        debug_assert_eq!(
            self.timers.first(),
            self.sessions.values().filter_map(Session::deadline).min(),
            "a change of a session was not noted"
        );
        self.timers.first()
    }

    /// Sessions with a timer due.
    pub fn due(&self, now: Duration) -> Vec<Arc<EntryKey>> {
        self.timers.overdue(now)
    }

    /// Updates the timer of a session. To be called after every change of a session, including its
    /// removal.
    fn set_timer(&mut self, key: &EntryKey) {
        let at = self.sessions.get(key).and_then(Session::deadline);
        match self.timers.armed(key).map(|(key, armed)| (key.clone(), armed)) {
            Some((_, armed)) if at == Some(armed) => {}
            Some((key, _)) => self.timers.set(key, at),
            None if at.is_some() => self.timers.set(Arc::new(key.clone()), at),
            None => {}
        }
    }
}

fn live_peers(session: &Session) -> BTreeSet<Peer> {
    session.pairs().map(|(_, pair)| pair.peer.clone()).collect()
}
