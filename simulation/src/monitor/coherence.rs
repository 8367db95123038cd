//! Checks that session, table and data plane agree, and that no state accumulates.

use std::collections::BTreeMap;
use std::time::Duration;

use controlplane::peers::select::Standing;
use controlplane::peers::session::Session;
use sa_table::PolicyId;

use super::{Invariant, Monitor};
use crate::network::{Network, Sabotage};
use crate::plane::HOLD_LIMIT;

/// Maximum number of SA pairs in service for one flow with one peer: the one that carries it, and
/// leftovers of simultaneous negotiations.
const MOST_PAIRS: u32 = 4;

/// Maximum number of SA pairs and of IKE SAs of one gateway, far above several for each peer.
const MOST: usize = 16;

/// Maximum time from the end of an idle timer to the removal of its SA.
const IDLE_SLACK: Duration = Duration::from_secs(3);

impl Monitor {
    pub(super) fn check_words(&mut self, network: &Network, gateway: usize) {
        let subject = &network.gateways[gateway];
        let mut wrong = None;
        let known = std::mem::take(&mut self.words[gateway]);
        let mut words = Vec::with_capacity(known.len());
        for (policy, key) in subject.control.policies() {
            let Some((_, session)) = subject.control.sessions().find(|(entry, _)| **entry == key.entry)
            else {
                continue;
            };
            let mut word = subject.plane.policy_word(policy);
            if self.sabotage == Sabotage::WrongWord && network.now.is_multiple_of(1000) {
                word = None;
            }
            let carrier = session.outbound(policy);
            let meant = carrier.and_then(|pair| subject.control.slots(pair)).map(|(_, outbound)| outbound);
            if word != meant {
                wrong = Some(format!(
                    "policy {policy:?} leads to {word:?}, the session says {carrier:?} in {meant:?}"
                ));
            }
            let idle_pair = || {
                session.pairs().find(|(_, pair)| pair.policy == policy && pair.standing == Standing::Active)
            };
            if word.is_none()
                && let Some((pair, _)) = idle_pair()
            {
                wrong = Some(format!("policy {policy:?} has no SA although pair {pair:?} is in service"));
            }
            if let Some(slot) = word
                && words.iter().any(|(_, other)| *other == word)
            {
                wrong = Some(format!("two policies lead to {slot:?}"));
            }
            if word.is_some() && !known.contains(&(policy, word)) {
                wrong = wrong.or(self.wrong_record(network, gateway, policy));
                let fresh = session
                    .pairs()
                    .any(|(id, pair)| Some(id) == carrier && pair.installed == subject.clock(network.now));
                if let Some(record) = subject.plane.outbound_record(policy).filter(|_| fresh) {
                    self.health.negotiated(gateway, record.destination);
                }
            }
            words.push((policy, word));
        }
        self.words[gateway] = words;
        if let Some(text) = wrong {
            self.violated(network, gateway, Invariant::OneOutbound, text);
        }
        self.check_surplus(network, gateway);
    }

    /// The SA that a policy word was just set to must belong to the policy, with a peer of the
    /// entry.
    fn wrong_record(&self, network: &Network, gateway: usize, policy: PolicyId) -> Option<String> {
        let Some(record) = network.gateways[gateway].plane.outbound_record(policy) else {
            return Some(format!("policy {policy:?} leads to an SA that is not in service"));
        };
        let listed = self.sites()[gateway].entries.iter().flat_map(|entry| &entry.peers);
        let addresses: Vec<_> = listed.map(|peer| self.sites()[*peer].ip()).collect();
        if record.policy != policy || !addresses.contains(&record.destination) {
            let (owner, to) = (record.policy, record.destination);
            return Some(format!("policy {policy:?} leads to an SA of policy {owner:?} with {to}"));
        }
        None
    }

    /// Simultaneous initiations may leave a second pair that carries no traffic until it idles out;
    /// there must not be more.
    fn check_surplus(&mut self, network: &Network, gateway: usize) {
        let mut counts = BTreeMap::new();
        for (_, session) in network.gateways[gateway].control.sessions() {
            for (_, pair) in session.pairs().filter(|(_, pair)| pair.standing == Standing::Active) {
                *counts.entry((pair.policy, &pair.peer)).or_insert(0u32) += 1;
            }
        }
        if let Some(((_, peer), count)) = counts.into_iter().find(|(_, count)| *count > MOST_PAIRS) {
            let text = format!("{count} pairs in service for one flow with {peer}");
            self.violated(network, gateway, Invariant::OneOutbound, text);
        }
    }

    pub(super) fn check_amounts(&mut self, network: &Network, gateway: usize) {
        let subject = &network.gateways[gateway];
        let load = subject.control.load();
        let policies = load.table.policies.max(1);
        let too_much = load.pairs > MOST
            || load.ike_sas > MOST
            || load.attempts > MOST
            || load.unsettled > 0
            || load.pairs != load.table.pairs
            || subject.plane.waiting() > policies * HOLD_LIMIT;
        if too_much {
            let waiting = subject.plane.waiting();
            self.violated(network, gateway, Invariant::NoLeak, format!("{load:?}, {waiting} packets wait"));
        }
    }

    /// After everything was closed and enough time has passed, no state may be left.
    pub fn check_nothing_left(&mut self, network: &Network) {
        for gateway in 0..network.gateways.len() {
            let subject = &network.gateways[gateway];
            let (load, capacities) = (subject.control.load(), subject.capacities());
            let free = (capacities.inbound_slots as usize, capacities.outbound_slots as usize);
            let busy = load.ike_sas + load.pairs + load.attempts + load.resolving + load.unsettled;
            let clean = busy == 0
                && !load.endpoint_waits
                && load.table.free == free
                && load.table.draining == 0
                && load.table.surplus == 0
                && subject.plane.owned() == 0
                && subject.routes == 0;
            if !clean {
                let (owned, routes) = (subject.plane.owned(), subject.routes);
                let text = format!("left over at the end: {load:?}, {owned} owned slots, {routes} routes");
                self.violated(network, gateway, Invariant::NoLeak, text);
            }
        }
    }

    /// Without traffic, no SA pair outlives its idle timer by more than a few seconds.
    pub fn check_idled_out(&mut self, network: &Network) {
        for gateway in 0..network.gateways.len() {
            let subject = &network.gateways[gateway];
            let clock = subject.clock(network.now);
            let overdue = |session: &Session| {
                let after = session.idle_rule().after?;
                let late =
                    session.pairs().find(|(_, pair)| clock > pair.last_activity() + after + IDLE_SLACK);
                late.map(|(id, _)| id)
            };
            let found = subject.control.sessions().find_map(|(_, session)| overdue(session));
            if let Some(id) = found {
                self.violated(
                    network,
                    gateway,
                    Invariant::NoLeak,
                    format!("the idle timer of {id:?} ran out long ago"),
                );
            }
        }
    }
}
