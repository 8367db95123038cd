//! Reports of the IKE endpoint about Child SAs: installed, rekeyed, removed.

use std::time::Duration;

use ike::{ChildId, ChildTag, Command, FailReason, IkeId, InstallChild, RemoveReason};

use super::Gateway;
use crate::clock::from_ike_time;
use crate::connections::policy;
use crate::plan::{Entry, EntryKey, Peer};
use crate::tables::PairParameters;
use crate::tunnels::{PairFacts, SaPair};

impl Gateway {
    pub(super) fn install_child(&mut self, now: Duration, child: &InstallChild) {
        let found = self.place_child(now, child).and_then(|policy| {
            let key = self.plan.policies.get(&policy)?.entry.clone();
            let entry = self.plan.entries.get(&key)?;
            let peer = self.peer_at(entry, child)?;
            Some((policy, key, peer, PairParameters::of(entry, policy)))
        });
        let Some((policy, key, peer, parameters)) = found else {
            // The entry was edited during the negotiation.
            self.order(now, Command::DeleteChild { child: child.child });
            return;
        };
        if let Err(error) = self.tables.install(child, &parameters, self.scale, now) {
            self.report.aborted(now, &key, &peer, &error.to_string());
            self.order(now, Command::DeleteChild { child: child.child });
            let waiting =
                self.tunnels.take_attempts(|attempt| attempt.entry == key && attempt.policy == policy);
            if !waiting.is_empty() {
                self.failed.push_back((key, peer));
            }
            return;
        }
        let routes = self.routes_up(&key, &child.remote_selectors, child.remote);
        let pair = SaPair::new(Some(child.ike), key.clone(), policy, facts(child), routes);
        self.tunnels.insert_pair(child.child, pair);
        self.checkpoint.mark();
        self.tunnels.take_attempts(|attempt| {
            attempt.policy == policy && attempt.entry == key && attempt.peer == peer
        });
        self.tunnels.heard(child.ike, now);
        let replaced = child.replaces.filter(|old| self.peers.pair(&key, *old).is_some());
        let (new, ready) = (child.child, child.outbound_ready);
        match replaced {
            Some(old) => {
                self.report.transition(now, &key, format!("SA pair with {peer} rekeyed"));
                self.tell(now, &key, |session, intents| {
                    session.child_rekeyed(now, old, new, ready, intents);
                });
            }
            None => self.tell(now, &key, |session, intents| {
                session.child_up(now, new, policy, &peer, intents);
            }),
        }
        self.replace_adopted(now, policy, child.remote);
    }

    /// The peer of the entry that a child SA belongs to. A name may meanwhile resolve to an address
    /// other than the one its IKE SA was set up with.
    fn peer_at(&self, entry: &Entry, child: &InstallChild) -> Option<Peer> {
        let v6 = child.remote.is_ipv6();
        let by_address =
            entry.peers.iter().find(|peer| self.names.address_of(peer, v6) == Some(child.remote));
        let before = || {
            let pair = self.peers.pair(&entry.key, child.replaces?)?;
            entry.peers.iter().find(|peer| **peer == pair.peer)
        };
        let over = || {
            let relation = self.connections.get(self.tunnels.ike(child.ike)?.connection())?;
            entry.peers.iter().find(|peer| **peer == relation.peer)
        };
        by_address.or_else(before).or_else(over).cloned()
    }

    pub(super) fn outbound_ready(&mut self, now: Duration, child: ChildId) {
        let Some(key) = self.tunnels.pair(child).map(|pair| pair.entry().clone()) else { return };
        self.tell(now, &key, |session, intents| session.outbound_ready(child, intents));
    }

    pub(super) fn child_removed(&mut self, now: Duration, child: ChildId, reason: RemoveReason) {
        if reason == RemoveReason::IkeDown {
            // The cursor depends on whether the peer is dead; the report about the IKE SA follows
            // and ends its pairs.
            return;
        }
        let drains = matches!(reason, RemoveReason::Replaced | RemoveReason::Redundant);
        if let Some(key) = self.forget_pair(now, child, drains) {
            if !drains {
                self.report.transition(now, &key, format!("SA pair removed ({reason:?})"));
            }
            self.tell(now, &key, |session, intents| session.child_gone(now, child, intents));
        }
    }

    /// Removes a pair and retires its slots; the caller notifies the session.
    pub(super) fn forget_pair(&mut self, now: Duration, child: ChildId, drains: bool) -> Option<EntryKey> {
        let pair = self.tunnels.remove_pair(child)?;
        self.release_pair(now, child, &pair, drains);
        Some(pair.entry().clone())
    }

    /// Retires the slots and removes the routes of a pair that has ended.
    pub(super) fn release_pair(&mut self, now: Duration, child: ChildId, pair: &SaPair, drains: bool) {
        self.checkpoint.mark();
        self.dynamic.mark();
        self.routes_down(pair.routes());
        self.tables.remove(child, drains, self.scale.stamp(now));
    }

    /// The pair's soft limit by time.
    pub(super) fn soft_limit(&mut self, now: Duration, child: ChildId) {
        let used = self.tables.activity(child).is_some_and(|activity| activity.packets() > 0);
        if self.tunnels.soft_limit(child, used) {
            self.order(now, Command::RekeyChild { child });
        }
    }

    pub(super) fn child_failed(
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
                // Not a refusal: the IKE SA or the child ended meanwhile, and that event is handled
                // separately.
                return;
            }
            let Some(key) = self.tunnels.pair(old).map(|pair| pair.entry().clone()) else { return };
            if let Some(peer) = self.peers.pair(&key, old).map(|pair| pair.peer.clone()) {
                self.report.aborted(now, &key, &peer, &format!("rekey refused, {reason}"));
                self.tell(now, &key, |session, _| session.rekey_refused(&peer));
            }
            return;
        }
        if reason == FailReason::Cancelled && self.ike_info(ike).is_none_or(|info| !info.established) {
            // It ended with its IKE SA, and that event is handled separately.
            return;
        }
        let failed = self.tunnels.take_attempts(|attempt| attempt.ike == ike && attempt.policy == policy);
        self.fail(now, failed, reason);
    }

    /// Deletes a pair: over IKE, which notifies the peer, or only locally when there is no IKE SA.
    pub(super) fn delete_child(&mut self, now: Duration, child: ChildId) {
        match self.tunnels.pair(child).map(SaPair::ike) {
            Some(None) => self.drop_adopted(now, child, false),
            Some(Some(_)) => self.order(now, Command::DeleteChild { child }),
            None => {}
        }
    }
}

fn facts(child: &InstallChild) -> PairFacts {
    PairFacts {
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
    }
}
