//! Peer selection of a crypto map entry: the preferred-peer rules.
//!
//! One [`Selection`] belongs to one crypto map entry on one interface. It is pure data: every event
//! is a method, the time is an argument, and the result consists of the cursor movement
//! ([`Change`]) and the caller's next action ([`Next`]). It opens no connections and runs no
//! timers.
//!
//! The rules follow the IOS feature "IPsec preferred peer". The default peer (the first of the
//! list) is tried after a connection was lost to dead peer detection, and after an idle timeout
//! when `idle-time N default` is configured. A peer that does not respond moves the cursor to the
//! next one, where it stays. A working backup peer is never left. `docs/preferred-peer.md` gives
//! the reason for each rule.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::IdleRule;

/// Minimum interval between exhausted passes through the peer list of an entry.
pub const CYCLE_INTERVAL: Duration = Duration::from_secs(10);

/// A flow with active SAs to two peers follows the last one heard, but moves at most once in this
/// interval.
pub const HEARD_INTERVAL: Duration = Duration::from_secs(1);

/// Why the cursor moved; the text is printed by `%CRYPTO-5-PEER_CHANGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Dead peer detection declared the current peer dead.
    Dpd,
    /// The initiation to the current peer failed.
    InitFail,
    /// The entry was idle and its idle timer has the `default` keyword.
    IdleDefault,
    /// Another peer of the list was heard last.
    PeerHeard,
    /// The entry was edited or the crypto map was applied again.
    Config,
    /// The operator cleared the session.
    Clear,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::Dpd => "dpd",
            Reason::InitFail => "init-fail",
            Reason::IdleDefault => "idle-default",
            Reason::PeerHeard => "peer-heard",
            Reason::Config => "config",
            Reason::Clear => "clear",
        })
    }
}

/// A movement of the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<P> {
    /// The previous peer.
    pub old: P,
    /// The current peer.
    pub new: P,
    /// The reason.
    pub reason: Reason,
}

/// The caller's next action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<P> {
    /// Start IKE with this peer now.
    Initiate(P),
    /// An initiation to this peer is in progress; wait for its result.
    InProgress(P),
    /// Every peer was tried once: drop held packets. A new pass may start at this time.
    Exhausted(Duration),
    /// The last pass failed too recently: keep holding packets and ask again at this time.
    HoldUntil(Duration),
    /// Send the flow to the peer whose packet was received.
    Follow,
    /// The entry has no peer.
    NoPeer,
    /// No action.
    Rest,
}

/// The result of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Step<P> {
    /// Set when the cursor moved to another peer.
    pub change: Option<Change<P>>,
    /// The next action.
    pub next: Next<P>,
}

/// The state of an SA pair when a packet arrives on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In service.
    Active,
    /// Replaced by a rekey; still receives packets in flight.
    Draining,
    /// Kept ready beside the active one.
    Standby,
}

/// One pass through the peer list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    started: Duration,
    tried: usize,
}

/// The cursor of one crypto-map entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection<P> {
    peers: Vec<P>,
    default_first: bool,
    idle: IdleRule,
    current: usize,
    /// False before the first use: `show` prints no current peer then.
    used: bool,
    attempt: Option<Attempt>,
    not_before: Option<Duration>,
    moved_by_hearing: Option<Duration>,
    /// The entry's idle clock: the last packet through any of its SAs, in either direction.
    last_packet: Option<Duration>,
}

impl<P: Clone + Eq> Selection<P> {
    /// A cursor on the first of `peers`; `default_first` is set if that peer has the `default`
    /// keyword.
    pub fn new(peers: Vec<P>, default_first: bool, idle: IdleRule) -> Self {
        Selection {
            peers,
            default_first,
            idle,
            current: 0,
            used: false,
            attempt: None,
            not_before: None,
            moved_by_hearing: None,
            last_packet: None,
        }
    }

    /// The cursor after a restart of the process: a pass that was in progress is discarded.
    #[must_use]
    pub fn resumed(self, idle: IdleRule) -> Self {
        Selection { attempt: None, idle, ..self }
    }

    /// The peers in configuration order.
    pub fn peers(&self) -> &[P] {
        &self.peers
    }

    /// The default peer, if the entry has one.
    pub fn default_peer(&self) -> Option<&P> {
        if self.default_first { self.peers.first() } else { None }
    }

    /// The peer that `show` prints as current; `None` before the first use.
    pub fn displayed(&self) -> Option<&P> {
        if self.used { self.peers.get(self.current) } else { None }
    }

    /// The peer under the cursor, used or not.
    pub fn current(&self) -> Option<&P> {
        self.peers.get(self.current)
    }

    /// Whether a pass through the list is in progress.
    pub fn is_attempting(&self) -> bool {
        self.attempt.is_some()
    }

    /// When the next pass may start, if the last one was exhausted recently.
    pub fn not_before(&self) -> Option<Duration> {
        self.not_before
    }

    /// The last packet through the entry, as reported by [`Selection::packet`].
    pub fn last_packet(&self) -> Option<Duration> {
        self.last_packet
    }

    /// A packet passed through one of the entry's SAs at `at`, in either direction.
    pub fn packet(&mut self, at: Duration) {
        self.last_packet = self.last_packet.max(Some(at));
    }

    /// A packet matches a permit of the entry and no SA carries it.
    ///
    /// The idle clock is evaluated here too: a Delete of the peer, or the expiry of an unused SA,
    /// does not move the cursor, but if there was no packet for the time of `idle-time N default`
    /// before this one, the default peer is used.
    pub fn trigger(&mut self, now: Duration) -> Step<P> {
        if self.peers.is_empty() {
            return Step { change: None, next: Next::NoPeer };
        }
        if self.attempt.is_some() {
            return Step { change: None, next: Next::InProgress(self.peers[self.current].clone()) };
        }
        if let Some(not_before) = self.not_before
            && now < not_before
        {
            return Step { change: None, next: Next::HoldUntil(not_before) };
        }
        let change = if self.default_first && self.idle.silence_leads_to_default(self.last_packet, now) {
            self.move_to(0, Reason::IdleDefault)
        } else {
            None
        };
        self.used = true;
        self.not_before = None;
        self.attempt = Some(Attempt { started: now, tried: 0 });
        Step { change, next: Next::Initiate(self.peers[self.current].clone()) }
    }

    /// The initiation to `peer` failed: retransmissions exhausted, refused, authentication failed,
    /// unacceptable selectors, or its name did not resolve. Ignored for a peer that is not being
    /// tried.
    pub fn failed(&mut self, peer: &P) -> Step<P> {
        let on_cursor = self.peers.get(self.current) == Some(peer);
        let Some(attempt) = self.attempt.as_mut().filter(|_| on_cursor) else {
            return self.rest();
        };
        attempt.tried += 1;
        let exhausted = attempt.tried >= self.peers.len();
        let started = attempt.started;
        let next = self.after_current();
        if !exhausted {
            let change = self.move_to(next, Reason::InitFail);
            return Step { change, next: Next::Initiate(self.peers[self.current].clone()) };
        }
        self.attempt = None;
        let not_before = started + CYCLE_INTERVAL;
        self.not_before = Some(not_before);
        let change = self.move_to(if self.default_first { 0 } else { next }, Reason::InitFail);
        Step { change, next: Next::Exhausted(not_before) }
    }

    /// IKE and IPsec came up with `peer`, initiated by either end: the cursor moves there and the
    /// pass ends. The peer must be authenticated; a peer that is not in the list changes nothing.
    pub fn established(&mut self, peer: &P) -> Step<P> {
        let Some(index) = self.index_of(peer) else {
            return self.rest();
        };
        self.attempt = None;
        self.not_before = None;
        let change = self.move_to(index, Reason::PeerHeard);
        self.used = true;
        Step { change, next: Next::Rest }
    }

    /// An authenticated packet of a flow that has SAs with several peers arrived from `peer`, while
    /// the flow is sent to another one. With [`Next::Follow`] the flow uses the outbound SA of
    /// `peer`.
    pub fn heard(&mut self, now: Duration, peer: &P, standing: Standing) -> Step<P> {
        let too_soon = self.moved_by_hearing.is_some_and(|moved| now < moved + HEARD_INTERVAL);
        let Some(index) = self.index_of(peer) else {
            return self.rest();
        };
        if standing != Standing::Active || too_soon {
            return self.rest();
        }
        self.moved_by_hearing = Some(now);
        // During a pass through the list only the pass moves the cursor; the flow may still follow.
        let change = if self.attempt.is_some() { None } else { self.move_to(index, Reason::PeerHeard) };
        Step { change, next: Next::Follow }
    }

    /// Dead peer detection declared `peer` dead, or a rekey with it was not answered (equivalent by
    /// RFC 7296 §2.1). `survivor` is the peer that still has SAs for the entry, the newest first.
    ///
    /// Without a survivor the default peer is next, even if it is the one that just died.
    pub fn dead(&mut self, peer: &P, survivor: Option<&P>) -> Step<P> {
        if self.peers.get(self.current) != Some(peer) {
            return self.rest();
        }
        self.attempt = None;
        let target = match survivor.and_then(|survivor| self.index_of(survivor)) {
            Some(index) => index,
            None if self.default_first => 0,
            None => self.after_current(),
        };
        let change = self.move_to(target, Reason::Dpd);
        Step { change, next: Next::Rest }
    }

    /// An SA pair of the entry idled out. `last`: the entry has no other SA pair.
    pub fn idled(&mut self, last: bool) -> Step<P> {
        let to_default = last && self.default_first && self.idle.to_default && self.attempt.is_none();
        let change = if to_default { self.move_to(0, Reason::IdleDefault) } else { None };
        Step { change, next: Next::Rest }
    }

    /// The peer refused a rekey and the last SA with it expired: this counts as a failed
    /// initiation.
    pub fn expired_after_refused_rekey(&mut self, peer: &P) -> Step<P> {
        if self.peers.get(self.current) != Some(peer) || self.attempt.is_some() {
            return self.rest();
        }
        let change = self.move_to(self.after_current(), Reason::InitFail);
        Step { change, next: Next::Rest }
    }

    /// The operator cleared sessions or SAs. `none_left`: the entry has no SA any more.
    pub fn cleared(&mut self, none_left: bool) -> Step<P> {
        self.attempt = None;
        self.not_before = None;
        let change = if none_left && self.default_first { self.move_to(0, Reason::Clear) } else { None };
        Step { change, next: Next::Rest }
    }

    /// The crypto map was applied again or its interface went down and up, and the entry has no SA.
    pub fn reapplied(&mut self) -> Step<P> {
        self.attempt = None;
        self.not_before = None;
        let change = self.move_to(0, Reason::Config);
        Step { change, next: Next::Rest }
    }

    /// The entry was edited. The cursor stays on a peer that is still configured and has SAs,
    /// otherwise it moves to the first one. Returns the removed peers, whose SAs have to be
    /// deleted.
    pub fn configure(
        &mut self,
        peers: Vec<P>,
        default_first: bool,
        idle: IdleRule,
        has_sas: impl Fn(&P) -> bool,
    ) -> (Step<P>, Vec<P>) {
        self.idle = idle;
        if self.peers == peers && self.default_first == default_first {
            return (self.rest(), Vec::new());
        }
        self.attempt = None;
        self.not_before = None;
        let removed: Vec<P> = self.peers.iter().filter(|peer| !peers.contains(peer)).cloned().collect();
        let old = self.displayed().cloned();
        let kept = self
            .current()
            .filter(|peer| has_sas(peer))
            .and_then(|peer| peers.iter().position(|candidate| candidate == peer));
        self.peers = peers;
        self.default_first = default_first;
        self.current = kept.unwrap_or(0);
        let change = match (old, self.current()) {
            (Some(old), Some(new)) if old != *new => {
                Some(Change { old, new: new.clone(), reason: Reason::Config })
            }
            _ => None,
        };
        (Step { change, next: Next::Rest }, removed)
    }

    fn index_of(&self, peer: &P) -> Option<usize> {
        self.peers.iter().position(|candidate| candidate == peer)
    }

    fn after_current(&self) -> usize {
        if self.peers.is_empty() { 0 } else { (self.current + 1) % self.peers.len() }
    }

    fn rest(&self) -> Step<P> {
        Step { change: None, next: Next::Rest }
    }

    fn move_to(&mut self, index: usize, reason: Reason) -> Option<Change<P>> {
        let old = self.current;
        self.current = index;
        if old == index {
            return None;
        }
        Some(Change { old: self.peers.get(old)?.clone(), new: self.peers.get(index)?.clone(), reason })
    }
}

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
