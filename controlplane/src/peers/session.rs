//! The session of a crypto map entry on one interface: its flows, their SA pairs and peers.
//!
//! A session receives events (a packet without an SA, a child SA came up, a peer died, packets
//! passed) and returns [`Intent`]s that the gateway carries out. It holds the cursor
//! ([`Selection`]) and one idle timer per SA pair. It uses neither IKE messages nor the SA table.

mod few;
mod kinds;

use std::collections::BTreeSet;
use std::time::Duration;

use ike::ChildId;
use sa_table::PolicyId;

use crate::peers::idle::IdleTimer;
use crate::peers::select::{Next, Selection, Standing, Step};
use crate::plan::{IdleRule, Peer};

use few::Few;

pub use kinds::{Close, Intent, Pair, State};

/// The session of one entry on one interface.
#[derive(Clone, Debug)]
pub struct Session {
    selection: Selection<Peer>,
    rule: IdleRule,
    pairs: Few<ChildId, Pair>,
    outbound: Few<PolicyId, ChildId>,
    pending: BTreeSet<PolicyId>,
    attempting: Option<PolicyId>,
    retry_at: Option<Duration>,
    /// Peers that refused a rekey: the expiry of the last pair with such a peer counts as a failed
    /// initiation.
    rekey_refused: BTreeSet<Peer>,
}

impl Session {
    /// A session without SAs.
    pub fn new(peers: Vec<Peer>, default_first: bool, rule: IdleRule) -> Self {
        Session {
            selection: Selection::new(peers, default_first, rule),
            rule,
            pairs: Few::new(),
            outbound: Few::new(),
            pending: BTreeSet::new(),
            attempting: None,
            retry_at: None,
            rekey_refused: BTreeSet::new(),
        }
    }

    /// The cursor, for `show` and the checkpoint.
    pub fn selection(&self) -> &Selection<Peer> {
        &self.selection
    }

    /// Restores a cursor from a checkpoint, unless the peers have changed.
    pub fn resume(&mut self, selection: Selection<Peer>) {
        if selection.peers() == self.selection.peers() {
            self.selection = selection.resumed(self.rule);
        }
    }

    /// The SA pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (ChildId, &Pair)> {
        self.pairs.iter().map(|(id, pair)| (*id, pair))
    }

    /// The pair that carries `policy`.
    pub fn outbound(&self, policy: PolicyId) -> Option<ChildId> {
        self.outbound.get(&policy).copied()
    }

    /// The idle rule in force.
    pub fn idle_rule(&self) -> IdleRule {
        self.rule
    }

    /// Flows that wait for an SA.
    pub fn pending(&self) -> impl Iterator<Item = PolicyId> + '_ {
        self.pending.iter().copied()
    }

    /// The state that `show` prints.
    pub fn state(&self) -> State {
        if self.selection.is_attempting() {
            State::Initiating
        } else if self.pairs.values().any(|pair| pair.standing == Standing::Active) {
            State::Up
        } else if self.selection.not_before().is_some() {
            State::Exhausted
        } else {
            State::Idle
        }
    }

    /// A packet of `policy` is held and no SA carries it.
    pub fn acquire(&mut self, now: Duration, policy: PolicyId, intents: &mut Vec<Intent>) {
        if let Some(pair) = self.outbound(policy) {
            // The policy word may have been cleared concurrently; publish it again (idempotent).
            intents.push(Intent::Outbound { policy, pair: Some(pair) });
            return;
        }
        self.pending.insert(policy);
        self.drive(now, intents);
    }

    /// The initiation to `peer` failed.
    pub fn initiation_failed(&mut self, now: Duration, peer: &Peer, intents: &mut Vec<Intent>) {
        let step = self.selection.failed(peer);
        if step.next == Next::Rest {
            return;
        }
        self.attempting = None;
        self.follow(now, step, intents);
    }

    /// A child SA pair for `policy` came up with `peer`, which is authenticated. The flow uses the
    /// newest pair.
    pub fn child_up(
        &mut self,
        now: Duration,
        id: ChildId,
        policy: PolicyId,
        peer: &Peer,
        intents: &mut Vec<Intent>,
    ) {
        let tried = self.attempting.take().and_then(|_| self.selection.current().cloned());
        let step = self.selection.established(peer);
        if let Some(tried) = tried.filter(|tried| tried != peer) {
            intents.push(Intent::Abandon { peer: tried });
        }
        self.pairs.insert(
            id,
            Pair {
                policy,
                peer: peer.clone(),
                standing: Standing::Active,
                installed: now,
                last_heard: None,
                idle: IdleTimer::started(now),
            },
        );
        self.rekey_refused.remove(peer);
        self.pending.remove(&policy);
        if self.pending.is_empty() {
            // Free the last node, which an emptied set may keep.
            self.pending = BTreeSet::new();
        }
        self.bind(policy, Some(id), intents);
        self.follow(now, step, intents);
        self.drive(now, intents);
    }

    /// `new` replaces `old` for the same flow and peer. The idle timer continues, since a rekey is
    /// not traffic. While `ready` is false the old pair carries the flow: the peer initiated the
    /// rekey and has not yet shown that it has installed the new pair.
    pub fn child_rekeyed(
        &mut self,
        now: Duration,
        old: ChildId,
        new: ChildId,
        ready: bool,
        intents: &mut Vec<Intent>,
    ) {
        let Some(before) = self.pairs.get_mut(&old) else {
            return;
        };
        let pair = Pair { installed: now, last_heard: None, standing: Standing::Active, ..before.clone() };
        before.standing = Standing::Draining;
        self.rekey_refused.remove(&pair.peer);
        self.pairs.insert(new, pair);
        if ready {
            self.outbound_ready(new, intents);
        }
    }

    /// The peer uses `new`: it takes over the flow from the pair that it replaces.
    pub fn outbound_ready(&mut self, new: ChildId, intents: &mut Vec<Intent>) {
        let Some(policy) = self.pairs.get(&new).map(|pair| pair.policy) else {
            return;
        };
        let carrier = self.outbound(policy).and_then(|carrier| self.pairs.get(&carrier));
        if carrier.is_none_or(|carrier| carrier.standing == Standing::Draining) {
            self.bind(policy, Some(new), intents);
        }
    }

    /// The peer refused a rekey: the old SA stays in use until its hard limit.
    pub fn rekey_refused(&mut self, peer: &Peer) {
        self.rekey_refused.insert(peer.clone());
    }

    /// A pair was removed: deleted by the peer, expired or drained. The cursor stays, the idle
    /// clock continues.
    pub fn child_gone(&mut self, now: Duration, id: ChildId, intents: &mut Vec<Intent>) {
        let Some(pair) = self.remove_pair(id, intents) else {
            return;
        };
        let last_with_peer = !self.has_sas(&pair.peer);
        if last_with_peer && self.rekey_refused.remove(&pair.peer) {
            let step = self.selection.expired_after_refused_rekey(&pair.peer);
            self.follow(now, step, intents);
        }
    }

    /// `peer` is dead: declared so by detection, or a request was not answered. Its pairs are gone;
    /// the caller erases them. Another listed peer with SAs takes over the flows.
    pub fn peer_dead(&mut self, now: Duration, peer: &Peer, intents: &mut Vec<Intent>) -> Vec<ChildId> {
        let gone: Vec<ChildId> =
            self.pairs.iter().filter(|(_, pair)| pair.peer == *peer).map(|(id, _)| *id).collect();
        for id in &gone {
            self.remove_pair(*id, intents);
        }
        self.rekey_refused.remove(peer);
        let survivor = self
            .pairs
            .values()
            .filter(|pair| pair.standing == Standing::Active && self.selection.peers().contains(&pair.peer))
            .max_by_key(|pair| pair.installed)
            .map(|pair| pair.peer.clone());
        if self.selection.current() == Some(peer) {
            self.attempting = None;
        }
        let step = self.selection.dead(peer, survivor.as_ref());
        self.follow(now, step, intents);
        self.drive(now, intents);
        gone
    }

    /// The data plane's time stamps for one pair: the last authenticated inbound and the last
    /// outbound packet.
    pub fn activity(
        &mut self,
        now: Duration,
        id: ChildId,
        last_heard: Option<Duration>,
        last_sent: Option<Duration>,
        intents: &mut Vec<Intent>,
    ) {
        let Some(pair) = self.pairs.get_mut(&id) else {
            return;
        };
        for at in [last_heard, last_sent].into_iter().flatten() {
            pair.idle.packet(at);
            self.selection.packet(at);
        }
        if last_heard <= pair.last_heard {
            return;
        }
        pair.last_heard = last_heard;
        let (policy, peer, standing) = (pair.policy, pair.peer.clone(), pair.standing);
        let Some(carrier) = self.outbound(policy).filter(|carrier| *carrier != id) else {
            return;
        };
        let Some(carrier) = self.pairs.get(&carrier) else {
            return;
        };
        if carrier.standing == Standing::Draining && standing == Standing::Active {
            self.outbound_ready(id, intents);
        } else if carrier.peer != peer && carrier.last_heard.max(Some(carrier.installed)) < last_heard {
            // The negotiation of the carrying pair counts as hearing its peer, too.
            let step = self.selection.heard(now, &peer, standing);
            if step.next == Next::Follow {
                self.bind(policy, Some(id), intents);
            }
            self.follow(now, step, intents);
        }
    }

    /// Handles the timers: idle pairs, and the pause after an exhausted pass.
    pub fn handle_timeout(&mut self, now: Duration, intents: &mut Vec<Intent>) {
        let idle: Vec<ChildId> = self
            .pairs
            .iter()
            .filter(|(_, pair)| pair.standing != Standing::Draining && pair.idle.expired(&self.rule, now))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            if let Some(pair) = self.remove_pair(id, intents) {
                intents.push(Intent::CloseChild { pair: id, why: Close::Idle });
                let last = self.selection.current() == Some(&pair.peer) && !self.has_sas(&pair.peer);
                let step = self.selection.idled(last);
                self.follow(now, step, intents);
            }
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.drive(now, intents);
        }
    }

    /// When [`Session::handle_timeout`] has to be called next.
    pub fn deadline(&self) -> Option<Duration> {
        let idle = self
            .pairs
            .values()
            .filter(|pair| pair.standing != Standing::Draining)
            .filter_map(|pair| pair.idle.deadline(&self.rule));
        idle.chain(self.retry_at).min()
    }

    /// The operator cleared some or all pairs; the caller has already removed them with
    /// [`Session::child_gone`].
    pub fn cleared(&mut self, now: Duration, intents: &mut Vec<Intent>) {
        self.abandon(intents);
        let step = self.selection.cleared(self.pairs.is_empty());
        self.follow(now, step, intents);
        self.drive(now, intents);
    }

    /// The map was applied again, or its interface came up again.
    pub fn reapplied(&mut self, now: Duration, intents: &mut Vec<Intent>) {
        if self.pairs.is_empty() {
            self.abandon(intents);
            let step = self.selection.reapplied();
            self.follow(now, step, intents);
            self.drive(now, intents);
        }
    }

    /// The entry was edited. Pairs with removed peers are closed, others stay.
    pub fn configure(
        &mut self,
        now: Duration,
        peers: Vec<Peer>,
        default_first: bool,
        rule: IdleRule,
        intents: &mut Vec<Intent>,
    ) {
        self.rule = rule;
        let tried = self.attempting.and_then(|_| self.selection.current().cloned());
        let with_sas: BTreeSet<Peer> = self.pairs.values().map(|pair| pair.peer.clone()).collect();
        let (step, removed) =
            self.selection.configure(peers, default_first, rule, |peer| with_sas.contains(peer));
        if let Some(peer) = tried.filter(|_| !self.selection.is_attempting()) {
            self.attempting = None;
            intents.push(Intent::Abandon { peer });
        }
        let orphans: Vec<ChildId> =
            self.pairs.iter().filter(|(_, pair)| removed.contains(&pair.peer)).map(|(id, _)| *id).collect();
        for id in orphans {
            self.remove_pair(id, intents);
            intents.push(Intent::CloseChild { pair: id, why: Close::Config });
        }
        self.follow(now, step, intents);
        self.drive(now, intents);
    }

    /// Removes flows that are no longer configured and returns their pairs for deletion.
    pub fn retain_policies(
        &mut self,
        keep: impl Fn(PolicyId) -> bool,
        intents: &mut Vec<Intent>,
    ) -> Vec<ChildId> {
        self.pending.retain(|policy| keep(*policy));
        let gone: Vec<ChildId> =
            self.pairs.iter().filter(|(_, pair)| !keep(pair.policy)).map(|(id, _)| *id).collect();
        for id in &gone {
            self.remove_pair(*id, intents);
        }
        gone
    }

    /// Adds a pair from a checkpoint, without an event or a cursor movement.
    pub fn adopt(&mut self, id: ChildId, policy: PolicyId, peer: Peer, installed: Duration, carries: bool) {
        if carries {
            self.outbound.insert(policy, id);
        }
        let pair = Pair {
            policy,
            peer,
            standing: Standing::Active,
            installed,
            last_heard: None,
            idle: IdleTimer::started(installed),
        };
        self.pairs.insert(id, pair);
    }

    fn drive(&mut self, now: Duration, intents: &mut Vec<Intent>) {
        let Some(policy) = self.pending.first().copied() else {
            return;
        };
        if self.attempting.is_none() {
            let step = self.selection.trigger(now);
            if let Next::Initiate(_) = step.next {
                self.attempting = Some(policy);
            }
            self.follow(now, step, intents);
        }
    }

    fn follow(&mut self, now: Duration, step: Step<Peer>, intents: &mut Vec<Intent>) {
        if let Some(change) = step.change {
            intents.push(Intent::Changed(change));
        }
        match step.next {
            Next::Initiate(peer) => {
                let Some(policy) = self.attempting.or(self.pending.first().copied()) else {
                    return;
                };
                self.attempting = Some(policy);
                intents.push(Intent::Initiate { peer, policy });
            }
            Next::Exhausted(_) | Next::NoPeer => {
                self.attempting = None;
                for policy in std::mem::take(&mut self.pending) {
                    intents.push(Intent::DropHeld { policy });
                }
            }
            Next::HoldUntil(at) => self.retry_at = Some(at.max(now)),
            Next::InProgress(_) | Next::Follow | Next::Rest => {}
        }
    }

    fn abandon(&mut self, intents: &mut Vec<Intent>) {
        if self.attempting.take().is_some()
            && let Some(peer) = self.selection.current().cloned()
        {
            intents.push(Intent::Abandon { peer });
        }
    }

    fn bind(&mut self, policy: PolicyId, pair: Option<ChildId>, intents: &mut Vec<Intent>) {
        match pair {
            Some(id) => self.outbound.insert(policy, id),
            None => drop(self.outbound.remove(&policy)),
        }
        intents.push(Intent::Outbound { policy, pair });
    }

    /// Removes a pair; its flow moves to the newest remaining pair, or is held.
    fn remove_pair(&mut self, id: ChildId, intents: &mut Vec<Intent>) -> Option<Pair> {
        let pair = self.pairs.remove(&id)?;
        if self.outbound(pair.policy) == Some(id) {
            let next = self
                .pairs
                .iter()
                .filter(|(_, other)| other.policy == pair.policy && other.standing == Standing::Active)
                .max_by_key(|(id, other)| (other.installed, **id))
                .map(|(id, _)| *id);
            self.bind(pair.policy, next, intents);
        }
        Some(pair)
    }

    fn has_sas(&self, peer: &Peer) -> bool {
        self.pairs.values().any(|pair| pair.peer == *peer && pair.standing != Standing::Draining)
    }
}

#[cfg(test)]
mod tests;
