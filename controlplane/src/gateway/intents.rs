//! Carries out the intents of sessions.

use std::net::SocketAddr;
use std::time::Duration;

use ike::{ChildRequest, Command, FailReason, IkeId};
use sa_table::PolicyId;

use super::Gateway;
use crate::clock::ike_time;
use crate::connections::tag;
use crate::names::Waiting;
use crate::peers::session::{Close, Intent, Session};
use crate::plan::{EntryKey, Peer};
use crate::report::Message;
use crate::settings::outgoing_limit;
use crate::tunnels::Attempt;

impl Gateway {
    /// Passes an event to a session and carries out the resulting intents. Reports peers whose
    /// first pair came up or whose last one went down.
    pub(super) fn tell<R: Default>(
        &mut self,
        now: Duration,
        key: &EntryKey,
        event: impl FnOnce(&mut Session, &mut Vec<Intent>) -> R,
    ) -> R {
        let Some(told) = self.peers.tell(key, event) else { return R::default() };
        for peer in told.went {
            self.session_status(now, key, &peer, false);
        }
        for peer in told.came {
            self.session_status(now, key, &peer, true);
        }
        for intent in told.intents {
            self.carry_out(now, key, intent);
        }
        told.result
    }

    fn carry_out(&mut self, now: Duration, key: &EntryKey, intent: Intent) {
        match intent {
            Intent::Initiate { peer, policy } => self.initiate(now, key, peer, policy),
            Intent::Abandon { peer } => self.abandon(now, key, &peer),
            Intent::CloseChild { pair, why } => {
                self.report.transition(now, key, format!("SA pair closed ({})", closing(why)));
                match self.tunnels.ike_of_last_pair(pair) {
                    // Delete the IKE SA too, which deletes its last child: otherwise the next
                    // connection would use this IKE SA instead of going to the peer under the
                    // cursor.
                    Some(ike) => self.order(now, Command::DeleteIke { ike, notify_peer: true }),
                    None => self.delete_child(now, pair),
                }
            }
            Intent::Outbound { policy, pair } => {
                self.checkpoint.mark();
                if let Err(error) = self.tables.bind(policy, pair) {
                    self.report.trouble(format!("{key}: {error}"));
                }
            }
            Intent::DropHeld { policy } => {
                self.tables.drop_held(policy);
                self.dynamic.mark();
                self.report.say(Message::Exhausted { entry: key.to_string() });
                self.report.transition(now, key, "every peer failed");
            }
            Intent::Changed(change) => {
                self.checkpoint.mark();
                self.report.peer_change(now, key, &change);
            }
        }
    }

    /// Sets up a child SA with `peer`: over an IKE SA that exists or is being negotiated, otherwise
    /// over a new one. A peer name without a current address is resolved first.
    pub(super) fn initiate(&mut self, now: Duration, key: &EntryKey, peer: Peer, policy: PolicyId) {
        if self.plan.entries.get(key).is_some_and(|entry| entry.template.is_some()) {
            // Dynamic-map entries only respond, they never initiate.
            return;
        }
        let v6 = self.plan.entries.get(key).is_some_and(|entry| entry.local.is_ipv6());
        match peer.host_name().filter(|_| self.names.address_now(&peer, v6, now).is_none()) {
            Some(name) => {
                self.ask_for(now, name);
                self.names.wait(Waiting { entry: key.clone(), peer, policy });
            }
            None => self.connect(now, key, peer, policy),
        }
    }

    pub(super) fn connect(&mut self, now: Duration, key: &EntryKey, peer: Peer, policy: PolicyId) {
        self.begin(now, key, peer, policy, false);
    }

    /// The IKE SA of an attempt was closed by a peer that is alive: simultaneous initiation, a
    /// restart, or the end of its lifetime. This is not a refusal, so the same peer is tried once
    /// more; the second time in a row counts as a failure.
    pub(super) fn connect_again(&mut self, now: Duration, attempt: Attempt) {
        if attempt.again {
            return self.fail(now, vec![attempt], FailReason::Cancelled);
        }
        self.begin(now, &attempt.entry, attempt.peer, attempt.policy, true);
    }

    fn begin(&mut self, now: Duration, key: &EntryKey, peer: Peer, policy: PolicyId, again: bool) {
        match self.try_connect(now, key, &peer, policy) {
            Ok(ike) => {
                self.tunnels.begin_attempt(Attempt { entry: key.clone(), peer, policy, ike, again });
            }
            Err(reason) => {
                self.report.aborted(now, key, &peer, &reason);
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
    ) -> Result<IkeId, String> {
        let entry = self.plan.entries.get(key).ok_or("the entry is gone")?;
        let v6 = entry.local.is_ipv6();
        let remote = self.names.address_of(peer, v6).ok_or("the peer's address is not known")?;
        let connection = self
            .connections
            .of_entry(entry, remote)
            .ok_or("there is no pre-shared key for it, or no usable proposal")?;
        let local = entry.local;
        let child = ChildRequest::new(tag(policy));
        if let Some(ike) = self.tunnels.usable_ike(connection) {
            self.report.transition(now, key, format!("asking {peer} for a child SA"));
            // On-demand detection probes only when there is traffic to send, and a CREATE_CHILD_SA
            // request counts as such. Otherwise a peer that has lost the IKE SA would only be
            // detected by the long request timeout of established IKE SAs.
            self.tunnels.sent(ike, now);
            return self
                .endpoint
                .command(ike_time(now), Command::CreateChild { ike, child })
                .map(|_| ike)
                .map_err(|error| error.to_string());
        }
        let initiating = self.tunnels.initiating();
        if let Some(limit) = outgoing_limit(&self.configuration).filter(|limit| initiating >= *limit) {
            return Err(format!(
                "{limit} IKE SAs are being initiated already (crypto ikev2 limit max-in-negotation-sa)"
            ));
        }
        self.report.transition(now, key, format!("initiating to {peer}"));
        let command = Command::Initiate {
            connection,
            child: Some(child),
            local: SocketAddr::new(local, 500),
            remote: SocketAddr::new(remote, 500),
        };
        match self.endpoint.command(ike_time(now), command) {
            Ok(Some(ike)) => {
                self.tunnels.begin_ike(ike, connection, SocketAddr::new(remote, 500));
                Ok(ike)
            }
            Ok(None) => Err("the initiation was not started".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Cancels the initiations with `peer` for this entry. A half-open IKE SA that no other
    /// initiation uses is dropped.
    fn abandon(&mut self, now: Duration, key: &EntryKey, peer: &Peer) {
        self.names.forget_waiting(|waiting| waiting.entry == *key && waiting.peer == *peer);
        for ike in self.tunnels.abandon(key, peer) {
            self.order(now, Command::DeleteIke { ike, notify_peer: true });
        }
    }

    fn session_status(&mut self, now: Duration, key: &EntryKey, peer: &Peer, up: bool) {
        let address = self.address_for(key, peer).filter(|_| self.report.says_sessions());
        let known = address.map(|address| {
            let (port, id) = match self.tunnels.identity_at(address) {
                Some((port, id)) => (port, id.to_owned()),
                None => (500, address.to_string()),
            };
            (SocketAddr::new(address, port), id)
        });
        self.report.session(now, key, peer, up, known);
    }
}

fn closing(why: Close) -> &'static str {
    match why {
        Close::Idle => "idle",
        Close::Config => "its peer was removed from the entry",
    }
}
