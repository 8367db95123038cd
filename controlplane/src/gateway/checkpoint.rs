//! Writing the checkpoint, and restoring that of a previous control plane.

use std::time::Duration;

use ike::ChildId;
use sa_table::PolicyId;

use super::Gateway;
use crate::checkpoint::{Agreed, Memory, StoredEntry, StoredPair, StoredPolicy};
use crate::plan::EntryKey;
use crate::tunnels::{FIRST_ADOPTED, PairFacts, SaPair};

impl Gateway {
    /// The checkpoint to store, if anything changed since the last call. With many pairs it is
    /// written with a delay; if the control plane dies in between, the latest pairs are negotiated
    /// again.
    pub fn checkpoint(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.checkpoint.at().is_none_or(|at| at > now) {
            return None;
        }
        let items = self.tables.numbers().count() + self.tunnels.pair_count() + self.peers.len();
        self.checkpoint.written(now, items);
        let policies = self.tables.numbers().map(|(key, id)| StoredPolicy::of(key, id.0)).collect();
        let pairs = self.tunnels.pairs().filter_map(|(child, pair)| self.stored_pair(child, pair)).collect();
        let sessions = self.peers.sessions();
        let cursors = sessions.map(|(key, session)| (StoredEntry::of(key), session.selection().clone()));
        let cursors = cursors.collect();
        Some(Memory::new(policies, pairs, cursors).with_derived(self.dynamic.derived()).encode())
    }

    fn stored_pair(&self, child: ChildId, record: &SaPair) -> Option<StoredPair> {
        let session = self.peers.session(record.entry())?;
        let pair = self.peers.pair(record.entry(), child)?;
        let facts = record.facts();
        let agreed = Agreed {
            suite: facts.suite,
            local: facts.local_selectors.clone(),
            remote: facts.remote_selectors.clone(),
        };
        let slots = self.tables.slots(child)?;
        let mut stored = StoredPair::new(record.entry(), record.policy().0, pair.peer.clone(), slots);
        stored.carries = session.outbound(record.policy()) == Some(child);
        stored.spis = (facts.inbound_spi, facts.outbound_spi);
        stored.addresses = (facts.local, facts.remote);
        stored.udp = facts.udp;
        stored.transport = facts.mode == ike::Mode::Transport;
        stored.installed = pair.installed;
        stored.hard_limit = facts.hard_limit;
        Some(stored.with(&agreed))
    }

    /// Restores the previous control plane's state, as far as it matches the configuration. Called
    /// for the first configuration, when sessions and policies exist.
    pub(super) fn remember(&mut self, now: Duration, memory: Memory) {
        for (entry, selection) in memory.cursors {
            if let Some(key) = entry.key() {
                self.peers.resume(&key, selection);
            }
        }
        for (name, stored) in (FIRST_ADOPTED..).zip(&memory.pairs) {
            if let Some(key) = self.adopt(now, ChildId(name), stored) {
                let event = format!("goes on with the SA pair with {}", stored.peer);
                self.report.transition(now, &key, event);
            }
        }
        self.tables.retire_strangers();
        self.dynamic.mark();
        // Peers configured by name may have got back their previous address.
        self.refresh_connections(now);
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
        if !wanted || !self.tables.adopt(child, stored) {
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
        let routes = self.routes_up(&key, &facts.remote_selectors, facts.remote);
        self.tunnels.insert_pair(child, SaPair::new(None, key.clone(), policy, facts, routes));
        // Silence counts from now; the time of the last packet is in the table.
        self.peers.adopt(now, &key, child, policy, stored.peer.clone(), stored.carries);
        Some(key)
    }
}
