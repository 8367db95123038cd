//! SA pairs that outlived their control plane.
//!
//! A new control plane goes on with the pairs that it finds: packets flow, cursors stand where they stood, and nothing is
//! renegotiated without a reason. It has not the keys of their IKE SAs, so it can neither rekey them nor probe their peer;
//! silence, or the approach of their end, is the reason to make a new IKE SA, which takes the flow over.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ike::{ChildId, Command};
use sa_table::PolicyId;

use super::{Brain, PairFacts, PairRecord};
use crate::compile::EntryKey;
use crate::install::Activity;
use crate::memory::{Agreed, Memory, StoredEntry, StoredPair, StoredPolicy};

/// Names of orphans begin here, out of the way of the endpoint's own names.
const FIRST_NAME: u64 = 1 << 63;

/// Without detection configured: silence after which an orphan is not relied upon any more.
const SILENCE: Duration = Duration::from_secs(10);

/// So long before its end an orphan is replaced.
const MARGIN: Duration = Duration::from_secs(60);

/// A checkpoint holds everything: writing it at each of many changes would take longer than the changes. So long for each policy, pair and
/// session it waits after the one before; a gateway with less than a hundred tunnels does not wait at all.
const PAUSE_PER_ITEM: Duration = Duration::from_micros(33);
const NO_PAUSE_UP_TO: Duration = Duration::from_millis(10);

/// What is known of a peer of orphans.
#[derive(Clone, Copy)]
struct Sign {
    /// Its silence is borne for so long.
    patience: Duration,
    /// When any of its orphans heard it last.
    heard: Option<Duration>,
}

impl Brain {
    /// What to store in the checkpoint, if anything changed since the last call. With many pairs it comes a moment late, and a control
    /// plane that dies in this moment negotiates its last pairs again.
    pub fn checkpoint(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.checkpoint_at().is_none_or(|at| at > now) {
            return None;
        }
        self.checkpoint_due = false;
        let items = self.table.numbers().count() + self.pairs.len() + self.sessions.len();
        let pause = PAUSE_PER_ITEM.saturating_mul(u32::try_from(items).unwrap_or(u32::MAX));
        self.next_checkpoint = if pause > NO_PAUSE_UP_TO { now + pause } else { Duration::ZERO };
        let policies = self.table.numbers().map(|(key, id)| StoredPolicy::of(key, id.0)).collect();
        let pairs =
            self.pairs.iter().filter_map(|(child, record)| self.stored_pair(*child, record)).collect();
        let cursors =
            self.sessions.iter().map(|(key, session)| (StoredEntry::of(key), session.selection().clone()));
        let cursors = cursors.collect();
        Some(Memory::new(policies, pairs, cursors).with_derived(&self.derived).encode())
    }

    /// When the next checkpoint may be written, if one is wanted.
    pub(super) fn checkpoint_at(&self) -> Option<Duration> {
        (self.memory.is_none() && self.checkpoint_due).then_some(self.next_checkpoint)
    }

    fn stored_pair(&self, child: ChildId, record: &PairRecord) -> Option<StoredPair> {
        let session = self.sessions.get(&record.entry)?;
        let (_, pair) = session.pairs().find(|(id, _)| *id == child)?;
        let facts = &record.facts;
        let agreed = Agreed {
            suite: facts.suite,
            local: facts.local_selectors.clone(),
            remote: facts.remote_selectors.clone(),
        };
        let slots = self.table.slots(child)?;
        let mut stored = StoredPair::new(&record.entry, record.policy.0, pair.peer.clone(), slots);
        stored.carries = session.outbound(record.policy) == Some(child);
        stored.spis = (facts.inbound_spi, facts.outbound_spi);
        stored.addresses = (facts.local, facts.remote);
        stored.udp = facts.udp;
        stored.transport = facts.mode == ike::Mode::Transport;
        stored.installed = pair.installed;
        stored.hard_limit = facts.hard_limit;
        Some(stored.with(&agreed))
    }

    /// Takes over what a previous control plane left, as far as the configuration still wants it. Called by the first
    /// configuration, when sessions and policies are there.
    pub(super) fn remember(&mut self, now: Duration, memory: Memory) {
        for (entry, selection) in memory.cursors {
            let Some(key) = entry.key() else { continue };
            if let Some(session) = self.sessions.get_mut(&key) {
                session.resume(selection);
                self.note_session(&key);
            }
        }
        for (name, stored) in (FIRST_NAME..).zip(&memory.pairs) {
            if let Some(key) = self.adopt(now, ChildId(name), stored) {
                self.history.push(
                    now,
                    key.to_string(),
                    format!("goes on with the SA pair with {}", stored.peer),
                );
            }
        }
        self.table.retire_strangers();
        self.derived_due = true;
        // Peers by name may have got the address that they had before.
        self.refresh_relations(now);
    }

    fn adopt(&mut self, now: Duration, child: ChildId, stored: &StoredPair) -> Option<EntryKey> {
        let key = stored.entry.key()?;
        let policy = PolicyId(stored.policy);
        let agreed = stored.agreed()?;
        let entry = self.plan.entries.get(&key)?;
        let wanted = entry.policies.contains(&policy)
            && entry.peers.contains(&stored.peer)
            && entry.local == stored.addresses.0
            && stored.hard_limit.is_none_or(|limit| limit > now);
        if !wanted || !self.table.adopt(child, stored) {
            return None;
        }
        let facts = PairFacts {
            inbound_spi: stored.spis.0,
            outbound_spi: stored.spis.1,
            suite: agreed.suite,
            mode: if stored.transport { ike::Mode::Transport } else { ike::Mode::Tunnel },
            local_selectors: agreed.local,
            remote_selectors: agreed.remote,
            local: stored.addresses.0,
            remote: stored.addresses.1,
            udp: stored.udp,
            hard_limit: stored.hard_limit,
        };
        self.names.resume(&stored.peer, facts.remote);
        let routes = self.make_routes(&key, &facts.remote_selectors, facts.remote);
        let record = PairRecord {
            ike: None,
            entry: key.clone(),
            policy,
            facts,
            routes,
            soft_passed: false,
            rekeying: false,
            told: (0, 0),
        };
        self.enter_pair(child, record);
        let session = self.sessions.get_mut(&key)?;
        // Silence counts from now: what was heard before is in the table.
        session.adopt(child, policy, stored.peer.clone(), now, stored.carries);
        self.note_session(&key);
        Some(key)
    }

    /// Deletes a pair: by IKE, which tells the peer, or here alone when there is no IKE SA.
    pub(super) fn delete_child(&mut self, now: Duration, child: ChildId) {
        match self.pairs.get(&child).map(|record| record.ike) {
            Some(None) => self.drop_orphan(now, child, false),
            Some(Some(_)) => self.order(now, Command::DeleteChild { child }),
            None => {}
        }
    }

    /// The pairs without an IKE SA.
    fn orphan_pairs(&self) -> impl Iterator<Item = (ChildId, &PairRecord)> {
        self.pairs.range(ChildId(FIRST_NAME)..).map(|(child, record)| (*child, record))
    }

    pub(super) fn scan_orphans(&mut self, now: Duration) {
        let orphans: Vec<(ChildId, IpAddr)> =
            self.orphan_pairs().map(|(child, record)| (child, record.facts.remote)).collect();
        if orphans.is_empty() {
            return;
        }
        let mut signs: BTreeMap<IpAddr, Sign> = BTreeMap::new();
        for relation in self.relations.values() {
            let patience = relation.ike.dpd.map_or(SILENCE, |dpd| Duration::from_secs(dpd.interval.into()));
            signs.entry(relation.key.remote).or_insert(Sign { patience, heard: None });
        }
        for (child, remote) in &orphans {
            let heard =
                self.table.activity(*child).and_then(|seen| self.scale.from_stamp(seen.last_heard_ms));
            let sign = signs.entry(*remote).or_insert(Sign { patience: SILENCE, heard: None });
            sign.heard = sign.heard.max(heard.map(|at: Duration| at.min(now)));
        }
        for (child, remote) in orphans {
            if let (Some(activity), Some(sign)) = (self.table.activity(child), signs.get(&remote)) {
                self.scan_orphan(now, child, &activity, *sign);
            }
        }
    }

    /// An orphan ends when its peer is silent for as long as detection would wait before its first probe, since the other
    /// side may have given us up; a little before its hard limit a successor is made. Silence is that of all orphans with
    /// the peer: it is not told when one ends, and as long as it hears the others it would go on sending into the void.
    fn scan_orphan(&mut self, now: Duration, child: ChildId, activity: &Activity, sign: Sign) {
        let Some(record) = self.pairs.get(&child) else { return };
        let (key, policy) = (record.entry.clone(), record.policy);
        let stamp = |ms| self.scale.from_stamp(ms).map(|at: Duration| at.min(now));
        let (heard, sent) = (stamp(activity.last_heard_ms), stamp(activity.last_sent_ms));
        let hard_limit = record.facts.hard_limit;
        let Some((peer, installed)) = self.sessions.get(&key).and_then(|session| {
            session.pairs().find(|(id, _)| *id == child).map(|(_, pair)| (pair.peer.clone(), pair.installed))
        }) else {
            return self.drop_orphan(now, child, false);
        };
        let last_heard = sign.heard.map_or(installed, |heard| heard.max(installed));
        let silent = now >= last_heard + sign.patience;
        if silent || activity.hard_limit || hard_limit.is_some_and(|limit| now >= limit) {
            self.history.push(
                now,
                key.to_string(),
                format!("the SA pair with {peer} is given up after the restart"),
            );
            return self.drop_orphan(now, child, false);
        }
        let near_end = hard_limit.is_some_and(|limit| now + MARGIN >= limit) || activity.soft_limit;
        if near_end
            && let Some(record) = self.pairs.get_mut(&child)
            && !std::mem::replace(&mut record.rekeying, true)
        {
            self.initiate(now, &key, peer, policy);
        }
        // Nor does it idle out while a sibling lives: the peer would not be told.
        let sent = sent.max(sign.heard);
        self.with_session(now, &key, |session, intents| session.activity(now, child, heard, sent, intents));
    }

    /// A pair of our own carries the flow now.
    pub(super) fn replace_orphans(&mut self, now: Duration, policy: PolicyId, remote: IpAddr) {
        let replaced: Vec<ChildId> = self
            .orphan_pairs()
            .filter(|(_, record)| record.policy == policy && record.facts.remote == remote)
            .map(|(child, _)| child)
            .collect();
        for child in replaced {
            self.drop_orphan(now, child, true);
        }
    }

    fn drop_orphan(&mut self, now: Duration, child: ChildId, drains: bool) {
        if let Some(key) = self.forget_pair(now, child, drains) {
            self.with_session(now, &key, |session, intents| session.child_gone(now, child, intents));
        }
    }
}
