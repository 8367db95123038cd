//! Which peer, when: one session for each entry, the cursors and idle timers in them, and who of
//! them is due.

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

/// See the module's description.
#[derive(Debug, Default)]
pub struct Peers {
    sessions: BTreeMap<EntryKey, Session>,
    timers: Timers<Arc<EntryKey>>,
}

/// What a session made of an event.
#[derive(Debug)]
pub struct Told<R> {
    /// What the event's function gave.
    pub result: R,
    /// Peers whose last SA pair went.
    pub went: Vec<Peer>,
    /// Peers whose first SA pair came.
    pub came: Vec<Peer>,
    /// What the session wants, in this order.
    pub intents: Vec<Intent>,
}

impl Peers {
    /// Makes the sessions of new entries.
    pub fn add<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries {
            if !self.sessions.contains_key(&entry.key) {
                let session = Session::new(entry.peers.clone(), entry.default_first, entry.idle);
                self.sessions.insert(entry.key.clone(), session);
            }
        }
    }

    /// The entry is gone, and its SAs with it.
    pub fn remove(&mut self, key: &EntryKey) {
        self.sessions.remove(key);
        self.set_timer(key);
    }

    /// Hands an event to a session; none if there is no such session.
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

    /// Takes over a cursor from a checkpoint.
    pub fn resume(&mut self, key: &EntryKey, selection: Selection<Peer>) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.resume(selection);
            self.set_timer(key);
        }
    }

    /// Takes over a pair from a checkpoint, without an event. Its silence counts from `now` on.
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

    /// One session.
    pub fn session(&self, key: &EntryKey) -> Option<&Session> {
        self.sessions.get(key)
    }

    /// All sessions with their names.
    pub fn sessions(&self) -> impl Iterator<Item = (&EntryKey, &Session)> {
        self.sessions.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A pair as its session sees it.
    pub fn pair(&self, key: &EntryKey, child: ChildId) -> Option<&Pair> {
        self.sessions.get(key)?.pairs().find(|(id, _)| *id == child).map(|(_, pair)| pair)
    }

    /// The earliest time at which a session has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        debug_assert_eq!(
            self.timers.first(),
            self.sessions.values().filter_map(Session::deadline).min(),
            "a change of a session was not noted"
        );
        self.timers.first()
    }

    /// Sessions that have something to do.
    pub fn due(&self, now: Duration) -> Vec<Arc<EntryKey>> {
        self.timers.overdue(now)
    }

    /// To be called after every change of a session, its end included.
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
