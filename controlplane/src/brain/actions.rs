//! What the IKE endpoint reports, turned into events of sessions.

use std::net::SocketAddr;
use std::time::Duration;

use ike::{
    Action, ChildId, ChildTag, Command, ConnectionId, FailReason, IkeDownReason, IkeId, IkeInfo,
    InstallChild, RemoveReason,
};

use super::{Attempt, Brain, IkeSa, Output, PairFacts, PairRecord};
use crate::clock::{from_ike_time, ike_time};
use crate::compile::{Entry, EntryKey};
use crate::install::PairParameters;
use crate::liveness::{Liveness, Mode, Timing};
use crate::log::Message;
use crate::responder::policy;
use crate::session::Peer;

impl Brain {
    pub(super) fn handle_action(&mut self, now: Duration, action: Action) {
        match action {
            Action::InstallChild(child) => self.install_child(now, &child),
            Action::OutboundReady { child } => self.outbound_ready(now, child),
            Action::RemoveChild { ike, child, reason, .. } => self.remove_child(now, ike, child, reason),
            Action::ChildSoftLimit { child, .. } => self.soft_limit(now, child),
            Action::ChildFailed { ike, tag, rekeying, reason } => {
                self.child_failed(now, ike, tag, rekeying, reason);
            }
            Action::IkeUp(info) => self.ike_up(now, &info),
            Action::IkeRekeyed { old, new } => self.ike_rekeyed(old, &new),
            Action::IkeDown { ike, reason, .. } => self.ike_down(now, ike, reason),
            Action::InitiationFailed { ike, connection, reason, .. } => {
                self.initiation_failed(now, ike, connection, reason);
            }
            Action::PeerHeard { ike } => {
                if let Some(sa) = self.ike_sas.get_mut(&ike) {
                    sa.probing = false;
                }
                self.with_liveness(ike, |liveness| liveness.heard(now));
            }
            Action::PeerEndpointChanged { ike, local, remote, udp_encapsulation } => {
                self.peer_endpoint(now, ike, (local, remote), udp_encapsulation);
            }
            Action::Redirected { old, new, connection, remote } => {
                self.redirected(now, (old, new), connection, remote);
            }
            // Anybody can cause warnings: a refused initiation, a proof that is none.
            Action::Log(record) if record.level == ike::LogLevel::Warning && !self.warnings.pass(now) => {}
            Action::Log(record) => self.outputs.push_back(Output::IkeLog(record)),
        }
    }

    /// Notes an IKE SA that begins; detection starts when it is established.
    pub(super) fn remember_ike(&mut self, ike: IkeId, connection: ConnectionId, remote: SocketAddr) {
        if self.ike_sas.contains_key(&ike) {
            return;
        }
        let sa = IkeSa {
            connection,
            remote,
            identity: None,
            established: false,
            liveness: None,
            probing: false,
            declared_dead: false,
        };
        self.enter_ike(ike, sa);
    }

    fn ike_up(&mut self, now: Duration, info: &IkeInfo) {
        self.remember_ike(info.ike, info.connection, info.remote);
        let timing = self.timing(info.connection);
        if let Some(sa) = self.ike_sas.get_mut(&info.ike) {
            sa.established = true;
            sa.remote = info.remote;
            sa.identity = info.remote_identity.as_ref().map(ToString::to_string);
            sa.liveness = timing.map(|timing| Liveness::new(timing, now));
        }
        self.note_detection(info.ike);
        let peer = info.remote;
        let began = if info.initiator { "initiator" } else { "responder" };
        self.history.push(now, peer.ip().to_string(), format!("IKE SA up ({began})"));
        if self.configuration.ipsec.logging_ikev2 {
            self.say(Message::IkeSa { up: true, detail: format!("peer {peer}, {began}") });
        }
    }

    /// Detection timing of a connection, if a keepalive is configured.
    pub(super) fn timing(&self, connection: ConnectionId) -> Option<Timing> {
        let dpd = self.relations.get(&connection)?.ike.dpd?;
        let mode = match dpd.mode {
            config::model::DpdMode::Periodic => Mode::Periodic,
            config::model::DpdMode::OnDemand => Mode::OnDemand,
        };
        Some(Timing::keepalive(dpd.interval.into(), dpd.retry.into(), mode))
    }

    fn ike_rekeyed(&mut self, old: IkeId, new: &IkeInfo) {
        if let Some(before) = self.strike_ike(old) {
            self.enter_ike(new.ike, IkeSa { remote: new.remote, established: true, ..before });
        }
        self.move_pairs(old, new.ike);
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.ike == old) {
            attempt.ike = new.ike;
        }
    }

    fn install_child(&mut self, now: Duration, child: &InstallChild) {
        let found = self.place_child(now, child).and_then(|policy| {
            let key = self.plan.policies.get(&policy)?.entry.clone();
            let entry = self.plan.entries.get(&key)?;
            let peer = self.peer_at(entry, child)?;
            Some((policy, key, peer, PairParameters::of(entry, policy)))
        });
        let Some((policy, key, peer, parameters)) = found else {
            // The entry was edited while IKE was under way.
            self.order(now, Command::DeleteChild { child: child.child });
            return;
        };
        if let Err(error) = self.table.install(child, &parameters, self.scale, now) {
            self.aborted(now, &key, &peer, &error.to_string());
            self.order(now, Command::DeleteChild { child: child.child });
            if !self.take_attempts(|attempt| attempt.entry == key && attempt.policy == policy).is_empty() {
                self.failed.push_back((key, peer));
            }
            return;
        }
        let facts = PairFacts {
            inbound_spi: child.inbound.spi,
            outbound_spi: child.outbound.spi,
            suite: child.suite,
            mode: child.mode,
            local_selectors: child.local_selectors.clone(),
            remote_selectors: child.remote_selectors.clone(),
            local: child.local,
            remote: child.remote,
            udp: child.udp_encapsulation,
            hard_limit: child.hard_limit.map(from_ike_time),
        };
        let record = PairRecord {
            ike: Some(child.ike),
            entry: key.clone(),
            policy,
            facts,
            routes: self.routes_up(&key, child),
            soft_passed: false,
            rekeying: false,
            told: (0, 0),
        };
        self.enter_pair(child.child, record);
        self.checkpoint_due = true;
        self.take_attempts(|attempt| {
            attempt.policy == policy && attempt.entry == key && attempt.peer == peer
        });
        self.with_liveness(child.ike, |liveness| liveness.heard(now));
        let replaced = child.replaces.filter(|old| {
            self.sessions.get(&key).is_some_and(|session| session.pairs().any(|(id, _)| id == *old))
        });
        let (new, ready) = (child.child, child.outbound_ready);
        match replaced {
            Some(old) => {
                self.history.push(now, key.to_string(), format!("SA pair with {peer} rekeyed"));
                self.with_session(now, &key, |session, intents| {
                    session.child_rekeyed(now, old, new, ready, intents);
                });
            }
            None => self.with_session(now, &key, |session, intents| {
                session.child_up(now, new, policy, &peer, intents);
            }),
        }
        self.replace_orphans(now, policy, child.remote);
    }

    /// Whom of the entry's peers a child is with. A name may have another address by now than the one its IKE SA was made
    /// with.
    fn peer_at(&self, entry: &Entry, child: &InstallChild) -> Option<Peer> {
        let v6 = child.remote.is_ipv6();
        let by_address = entry.peers.iter().find(|peer| self.address_of(peer, v6) == Some(child.remote));
        let before = || {
            let (_, pair) =
                self.sessions.get(&entry.key)?.pairs().find(|(id, _)| child.replaces == Some(*id))?;
            entry.peers.iter().find(|peer| **peer == pair.peer)
        };
        let over = || {
            let relation = self.relations.get(&self.ike_sas.get(&child.ike)?.connection)?;
            entry.peers.iter().find(|peer| **peer == relation.peer)
        };
        by_address.or_else(before).or_else(over).cloned()
    }

    fn outbound_ready(&mut self, now: Duration, child: ChildId) {
        let Some(key) = self.pairs.get(&child).map(|record| record.entry.clone()) else { return };
        self.with_session(now, &key, |session, intents| session.outbound_ready(child, intents));
    }

    fn remove_child(&mut self, now: Duration, ike: IkeId, child: ChildId, reason: RemoveReason) {
        if reason == RemoveReason::IkeDown {
            // Whether the peer is dead decides where the cursor goes; the report about the IKE SA follows.
            self.orphans.entry(ike).or_default().push(child);
            return;
        }
        let drains = matches!(reason, RemoveReason::Replaced | RemoveReason::Redundant);
        if let Some(key) = self.forget_pair(now, child, drains) {
            if !drains {
                self.history.push(now, key.to_string(), format!("SA pair removed ({reason:?})"));
            }
            self.with_session(now, &key, |session, intents| session.child_gone(now, child, intents));
        }
    }

    /// Takes a pair out of the books and its slots out of use; the session is told by the caller.
    pub(super) fn forget_pair(&mut self, now: Duration, child: ChildId, drains: bool) -> Option<EntryKey> {
        let record = self.strike_pair(child)?;
        self.checkpoint_due = true;
        self.derived_due = true;
        self.routes_down(&record);
        self.table.remove(child, drains, self.scale.stamp(now));
        Some(record.entry)
    }

    /// The peer's time-based soft limit: an SA that carried nothing is left to expire, any other is rekeyed.
    fn soft_limit(&mut self, now: Duration, child: ChildId) {
        let used = self.table.activity(child).is_some_and(|activity| activity.packets() > 0);
        let Some(record) = self.pairs.get_mut(&child) else { return };
        record.soft_passed = true;
        if used && !std::mem::replace(&mut record.rekeying, true) {
            self.order(now, Command::RekeyChild { child });
        }
    }

    fn child_failed(
        &mut self,
        now: Duration,
        ike: IkeId,
        tag: ChildTag,
        rekeying: Option<ChildId>,
        reason: FailReason,
    ) {
        let Some(policy) = policy(tag) else { return };
        if let Some(old) = rekeying {
            if reason == FailReason::Cancelled {
                // Nobody refused: the IKE SA, or the child itself, ended meanwhile, and how it ended says what follows.
                return;
            }
            let Some(record) = self.pairs.get(&old) else { return };
            let key = record.entry.clone();
            let peer = self.sessions.get(&key).and_then(|session| {
                session.pairs().find(|(id, _)| *id == old).map(|(_, pair)| pair.peer.clone())
            });
            if let Some(peer) = peer {
                self.aborted(now, &key, &peer, &format!("rekey refused, {reason}"));
                self.with_session(now, &key, |session, _| session.rekey_refused(&peer));
            }
            return;
        }
        if reason == FailReason::Cancelled && self.ike_info(ike).is_none_or(|info| !info.established) {
            // It ended with its IKE SA, and how that ended says what follows.
            return;
        }
        let failed = self.take_attempts(|attempt| attempt.ike == ike && attempt.policy == policy);
        self.fail(now, failed, reason);
    }

    fn initiation_failed(&mut self, now: Duration, ike: IkeId, connection: ConnectionId, reason: FailReason) {
        let remote = self.strike_ike(ike).map(|sa| sa.remote);
        let failed = self.take_attempts(|attempt| attempt.ike == ike);
        if failed.is_empty() && reason != FailReason::Cancelled {
            let peer = remote.or_else(|| {
                let relation = self.relations.get(&connection)?;
                Some(SocketAddr::new(relation.key.remote, 500))
            });
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
            self.history.push(now, peer, format!("IKE failed: {reason}"));
        }
        self.fail(now, failed, reason);
    }

    pub(super) fn fail(&mut self, now: Duration, attempts: Vec<Attempt>, reason: FailReason) {
        for attempt in attempts {
            self.aborted(now, &attempt.entry, &attempt.peer, &reason.to_string());
            self.failed.push_back((attempt.entry, attempt.peer));
        }
    }

    fn ike_down(&mut self, now: Duration, ike: IkeId, reason: IkeDownReason) {
        let Some(sa) = self.strike_ike(ike) else { return };
        let dead = sa.declared_dead || matches!(reason, IkeDownReason::PeerDead | IkeDownReason::Timeout);
        let remote = sa.remote;
        let why = if sa.declared_dead { "PeerDead".to_owned() } else { format!("{reason:?}") };
        self.history.push(now, remote.ip().to_string(), format!("IKE SA down ({why})"));
        if self.configuration.ipsec.logging_ikev2 {
            self.say(Message::IkeSa { up: false, detail: format!("peer {remote}, {why}") });
        }
        let orphans = self.orphans.remove(&ike).unwrap_or_default();
        let mut sessions: Vec<(EntryKey, Vec<ChildId>)> = Vec::new();
        for child in orphans {
            let Some(key) = self.forget_pair(now, child, false) else { continue };
            match sessions.iter_mut().find(|(other, _)| *other == key) {
                Some((_, children)) => children.push(child),
                None => sessions.push((key, vec![child])),
            }
        }
        // Children that were being made over it ended with it; a dead peer moves the cursor by itself.
        let failed = self.take_attempts(|attempt| attempt.ike == ike);
        if dead {
            for attempt in failed {
                if !sessions.iter().any(|(key, _)| *key == attempt.entry) {
                    self.failed.push_back((attempt.entry, attempt.peer));
                }
            }
        } else if is_no_refusal(reason) {
            for attempt in failed {
                self.connect_again(now, attempt);
            }
        } else {
            self.fail(now, failed, FailReason::Cancelled);
        }
        for (key, children) in sessions {
            self.lost(now, &key, &children, dead.then_some(remote));
        }
    }

    /// Children of a session went down with their IKE SA. If the peer died and has no other SA for the entry, it is
    /// dead for the entry; else only the pairs are gone.
    fn lost(&mut self, now: Duration, key: &EntryKey, children: &[ChildId], dead: Option<SocketAddr>) {
        let Some(session) = self.sessions.get(key) else { return };
        let peer: Option<Peer> = children
            .iter()
            .find_map(|child| session.pairs().find(|(id, _)| id == child).map(|(_, pair)| pair.peer.clone()));
        let elsewhere =
            |peer: &Peer| session.pairs().any(|(id, pair)| pair.peer == *peer && !children.contains(&id));
        match peer.filter(|peer| dead.is_some() && !elsewhere(peer)) {
            Some(peer) => {
                self.history.push(now, key.to_string(), format!("{peer} is dead"));
                self.with_session(now, key, |session, intents| {
                    session.peer_dead(now, &peer, intents);
                });
            }
            None => self.with_session(now, key, |session, intents| {
                for child in children {
                    session.child_gone(now, *child, intents);
                }
            }),
        }
    }

    /// The peer is somewhere else. ESP goes there at once; where our own address or the encapsulation is another one, too, the pairs are
    /// replaced, since their records cannot change that.
    fn peer_endpoint(
        &mut self,
        now: Duration,
        ike: IkeId,
        (local, remote): (SocketAddr, SocketAddr),
        udp: Option<(u16, u16)>,
    ) {
        if let Some(sa) = self.ike_sas.get_mut(&ike) {
            sa.remote = remote;
        }
        let mut outdated = Vec::new();
        for child in self.pairs_under(ike) {
            let Some(record) = self.pairs.get_mut(&child) else { continue };
            self.table.endpoint_changed(child, remote);
            let facts = &mut record.facts;
            facts.remote = remote.ip();
            if facts.local != local.ip() || facts.udp.is_some() != udp.is_some() {
                outdated.push(child);
            }
        }
        for child in outdated {
            if let Some(record) = self.pairs.get_mut(&child) {
                record.rekeying = true;
            }
            self.order(now, Command::RekeyChild { child });
        }
        self.checkpoint_due = true;
        self.history.push(now, remote.ip().to_string(), format!("peer endpoint is now {remote}"));
    }

    /// A gateway sent us to another one (RFC 5685), which stands in for the peer that the entry names: the cursor stays where it is.
    fn redirected(
        &mut self,
        now: Duration,
        (old, new): (IkeId, IkeId),
        connection: ConnectionId,
        remote: SocketAddr,
    ) {
        let before = self.ike_sas.get(&old).map(|sa| (sa.remote, sa.established));
        if old != new && before.is_some_and(|(_, established)| !established) {
            self.strike_ike(old);
        }
        self.remember_ike(new, connection, remote);
        if let Some(sa) = self.ike_sas.get_mut(&new) {
            sa.remote = remote;
        }
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.ike == old) {
            attempt.ike = new;
        }
        let from = before.map_or_else(|| "a gateway".to_owned(), |(remote, _)| remote.ip().to_string());
        self.history.push(now, from, format!("redirected to {}", remote.ip()));
    }

    /// Takes these attempts out of the books, oldest first.
    fn take_attempts(&mut self, which: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        self.attempts.extract_if(.., |attempt| which(attempt)).collect()
    }

    /// The endpoint's own view of an IKE SA.
    pub(super) fn ike_info(&self, ike: IkeId) -> Option<IkeInfo> {
        self.endpoint.ike_sa(ike)
    }

    /// Seconds until `at`, for `show`.
    pub(super) fn seconds_until(now: Duration, at: Option<ike::Time>) -> u64 {
        at.map_or(0, |at| at.since(ike_time(now)).as_secs())
    }
}

/// An IKE SA that ended so says nothing against the peer: that one is alive and did not refuse what was asked for over it.
fn is_no_refusal(reason: IkeDownReason) -> bool {
    matches!(
        reason,
        IkeDownReason::DeletedByPeer
            | IkeDownReason::InitialContact
            | IkeDownReason::Redundant
            | IkeDownReason::Expired
    )
}
