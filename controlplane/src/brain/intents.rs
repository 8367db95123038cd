//! Carrying out what sessions want.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ike::{ChildRequest, Command, FailReason, IkeId};
use sa_table::PolicyId;

use super::{Attempt, Brain};
use crate::clock::ike_time;
use crate::compile::EntryKey;
use crate::log::Message;
use crate::responder::{connection_key, tag};
use crate::session::{Close, Intent, Peer, Session};
use crate::settings::outgoing_limit;

impl Brain {
    /// Hands an event to a session and carries out what it answers. Peers with which the first pair came or the last
    /// one went are reported.
    pub(super) fn with_session<R: Default>(
        &mut self,
        now: Duration,
        key: &EntryKey,
        event: impl FnOnce(&mut Session, &mut Vec<Intent>) -> R,
    ) -> R {
        let Some(session) = self.sessions.get_mut(key) else {
            return R::default();
        };
        let before = live_peers(session);
        let mut intents = Vec::new();
        let result = event(session, &mut intents);
        let after = live_peers(session);
        self.note_session(key);
        for peer in before.difference(&after) {
            self.session_status(now, key, peer, false);
        }
        for peer in after.difference(&before) {
            self.session_status(now, key, peer, true);
        }
        for intent in intents {
            self.carry_out(now, key, intent);
        }
        result
    }

    fn carry_out(&mut self, now: Duration, key: &EntryKey, intent: Intent) {
        match intent {
            Intent::Initiate { peer, policy } => self.initiate(now, key, peer, policy),
            Intent::Abandon { peer } => self.abandon(now, key, &peer),
            Intent::CloseChild { pair, why } => {
                self.history.push(now, key.to_string(), format!("SA pair closed ({})", closing(why)));
                let ike = self.pairs.get(&pair).and_then(|record| record.ike);
                let alone = ike.filter(|ike| self.pairs_under(*ike).iter().all(|other| *other == pair));
                match alone {
                    // Closing the IKE SA closes its last child too: without it, the next connection would be made over
                    // the old IKE SA instead of going to the peer under the cursor.
                    Some(ike) => self.order(now, Command::DeleteIke { ike, notify_peer: true }),
                    None => self.delete_child(now, pair),
                }
            }
            Intent::Outbound { policy, pair } => {
                self.checkpoint_due = true;
                if let Err(error) = self.table.bind(policy, pair) {
                    self.say(Message::Trouble(format!("{key}: {error}")));
                }
            }
            Intent::DropHeld { policy } => {
                self.table.drop_held(policy);
                self.derived_due = true;
                self.say(Message::Exhausted { entry: key.to_string() });
                self.history.push(now, key.to_string(), "every peer failed");
            }
            Intent::Changed(change) => {
                self.checkpoint_due = true;
                let count = self.changes.get(key).map_or(0, |(count, _)| *count);
                self.changes.insert(key.clone(), (count + 1, change.reason));
                self.history.push(
                    now,
                    key.to_string(),
                    format!("current peer {} -> {} ({})", change.old, change.new, change.reason),
                );
                self.say(Message::PeerChange {
                    entry: key.to_string(),
                    old: change.old.to_string(),
                    new: change.new.to_string(),
                    reason: change.reason,
                });
            }
        }
    }

    /// Brings up a child with `peer`: over an IKE SA that is there or on its way, else over a new one. A peer known by
    /// name whose address is not known, or not any more, is resolved first.
    pub(super) fn initiate(&mut self, now: Duration, key: &EntryKey, peer: Peer, policy: PolicyId) {
        if self.plan.entries.get(key).is_some_and(|entry| entry.template.is_some()) {
            // A dynamic map answers; it never asks.
            return;
        }
        let v6 = self.plan.entries.get(key).is_some_and(|entry| entry.local.is_ipv6());
        match peer.host_name().filter(|_| self.address_now(&peer, v6, now).is_none()) {
            Some(name) => {
                self.ask_for(now, name);
                self.resolving.push((key.clone(), peer, policy));
            }
            None => self.connect(now, key, peer, policy),
        }
    }

    pub(super) fn connect(&mut self, now: Duration, key: &EntryKey, peer: Peer, policy: PolicyId) {
        self.begin(now, key, peer, policy, false);
    }

    /// The IKE SA that an attempt went over was closed by an end that is alive: two initiations crossed, it restarted, or the lifetime was
    /// over. That is no refusal, so the same peer is asked once more; twice in a row is one.
    pub(super) fn connect_again(&mut self, now: Duration, attempt: Attempt) {
        if attempt.again {
            return self.fail(now, vec![attempt], FailReason::Cancelled);
        }
        self.begin(now, &attempt.entry, attempt.peer, attempt.policy, true);
    }

    fn begin(&mut self, now: Duration, key: &EntryKey, peer: Peer, policy: PolicyId, again: bool) {
        match self.try_connect(now, key, &peer, policy) {
            Ok(ike) => self.attempts.push(Attempt { entry: key.clone(), peer, policy, ike, again }),
            Err(reason) => {
                self.aborted(now, key, &peer, &reason);
                self.failed.push_back((key.clone(), peer));
            }
        }
    }

    fn try_connect(
        &mut self,
        now: Duration,
        key: &EntryKey,
        peer: &Peer,
        policy: PolicyId,
    ) -> Result<ike::IkeId, String> {
        let entry = self.plan.entries.get(key).ok_or("the entry is gone")?;
        let remote = self.address_of(peer, entry.local.is_ipv6()).ok_or("the peer's address is not known")?;
        let connection_key = connection_key(entry, remote);
        let connection = self
            .connection_ids
            .get(&connection_key)
            .copied()
            .filter(|id| self.relations.get(id).is_some_and(|relation| !relation.stale))
            .ok_or("there is no pre-shared key for it, or no usable proposal")?;
        let local = entry.local;
        let child = ChildRequest::new(tag(policy));
        let existing = self
            .ikes_of(connection)
            .filter(|(_, sa)| sa.established && !sa.declared_dead)
            .map(|(ike, _)| ike)
            .next_back()
            .or_else(|| {
                let on_its_way = |ike: &IkeId| self.attempts.iter().any(|attempt| attempt.ike == *ike);
                self.ikes_of(connection).map(|(ike, _)| ike).find(on_its_way)
            });
        if let Some(ike) = existing {
            self.history.push(now, key.to_string(), format!("asking {peer} for a child SA"));
            // On-demand detection probes when there is something to send; a request for a child is that, too. Without it a
            // peer that has forgotten the IKE SA would cost the long patience of established IKE SAs.
            self.with_liveness(ike, |liveness| liveness.sent(now));
            return self
                .endpoint
                .command(ike_time(now), Command::CreateChild { ike, child })
                .map(|_| ike)
                .map_err(|error| error.to_string());
        }
        let initiating = self.ike_sas.values().filter(|sa| !sa.established).count();
        if let Some(limit) = outgoing_limit(&self.configuration).filter(|limit| initiating >= *limit) {
            return Err(format!(
                "{limit} IKE SAs are being initiated already (crypto ikev2 limit max-in-negotation-sa)"
            ));
        }
        self.history.push(now, key.to_string(), format!("initiating to {peer}"));
        let command = Command::Initiate {
            connection,
            child: Some(child),
            local: SocketAddr::new(local, 500),
            remote: SocketAddr::new(remote, 500),
        };
        match self.endpoint.command(ike_time(now), command) {
            Ok(Some(ike)) => {
                self.remember_ike(ike, connection, SocketAddr::new(remote, 500));
                Ok(ike)
            }
            Ok(None) => Err("the initiation was not started".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Gives up what was begun with `peer` for this entry. An IKE SA on its way that nobody else waits for is dropped.
    fn abandon(&mut self, now: Duration, key: &EntryKey, peer: &Peer) {
        self.resolving.retain(|(entry, other, _)| entry != key || other != peer);
        let given_up: Vec<Attempt> = self
            .attempts
            .iter()
            .filter(|attempt| attempt.entry == *key && attempt.peer == *peer)
            .cloned()
            .collect();
        self.attempts.retain(|attempt| !given_up.contains(attempt));
        for attempt in given_up {
            let shared = self.attempts.iter().any(|other| other.ike == attempt.ike);
            let established = self.ike_sas.get(&attempt.ike).is_some_and(|sa| sa.established);
            if !shared && !established {
                self.order(now, Command::DeleteIke { ike: attempt.ike, notify_peer: true });
            }
        }
    }

    /// Reports a failed initiation, within a limit.
    pub(super) fn aborted(&mut self, now: Duration, key: &EntryKey, peer: &Peer, reason: &str) {
        self.history.push(now, key.to_string(), format!("{peer} failed: {reason}"));
        if self.aborts.pass(now) {
            self.say(Message::NegotiationAborted {
                place: key.to_string(),
                peer: peer.to_string(),
                reason: reason.to_owned(),
            });
        }
    }

    fn session_status(&mut self, now: Duration, key: &EntryKey, peer: &Peer, up: bool) {
        self.history.push(
            now,
            key.to_string(),
            format!("tunnel to {peer} {}", if up { "up" } else { "down" }),
        );
        if !self.configuration.ipsec.logging_session {
            return;
        }
        let Some(address) = self.address_for(key, peer) else { return };
        let known = self.ike_sas.values().find(|sa| sa.remote.ip() == address && sa.identity.is_some());
        let port = known.map_or(500, |sa| sa.remote.port());
        let id = known.and_then(|sa| sa.identity.clone()).unwrap_or_else(|| address.to_string());
        self.say(Message::SessionStatus { up, peer: SocketAddr::new(address, port), id });
    }
}

fn live_peers(session: &Session) -> BTreeSet<Peer> {
    session.pairs().map(|(_, pair)| pair.peer.clone()).collect()
}

fn closing(why: Close) -> &'static str {
    match why {
        Close::Idle => "idle",
        Close::Config => "its peer was removed from the entry",
    }
}
