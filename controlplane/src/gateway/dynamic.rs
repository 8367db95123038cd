//! Flows of derived entries: those of dynamic-map peers, and host pairs. The module `dynamic` holds
//! the entries; here they become policies.

use std::time::Duration;

use ike::InstallChild;
use sa_table::{Action, FiveTuple, PolicyId};

use super::Gateway;
use crate::connections::{Meaning, TemplateFlow};
use crate::plan::{self, EntryKey, HostFlow, MAX_HOST_FLOWS, PolicyKey, TemplateKey};

impl Gateway {
    /// The policy for a new child SA; `None` if the child SA is to be deleted again.
    pub(super) fn place_child(&mut self, now: Duration, child: &InstallChild) -> Option<PolicyId> {
        if let Some(pair) = child.replaces.and_then(|old| self.tunnels.pair(old)) {
            return Some(pair.policy()).filter(|policy| self.plan.policies.contains_key(policy));
        }
        let policy = match self.connections.meaning(child.tag)? {
            Meaning::Policy(policy) => policy,
            Meaning::Template(flow) => {
                let flow = flow.clone();
                return self.accept_unknown(now, flow, child);
            }
        };
        let permit = self.plan.policies.get(&policy)?;
        let is_it = |attempt: &crate::tunnels::Attempt| (attempt.policy, attempt.ike) == (policy, child.ike);
        let ours = self.tunnels.attempts().iter().any(is_it);
        let whole = ike::is_subset(&permit.local, &child.local_selectors)
            && ike::is_subset(&permit.remote, &child.remote_selectors);
        let (local, remote) = (&child.local_selectors, &child.remote_selectors);
        // Selectors that cannot be expressed as rules use the permit's policy; packets outside them
        // are dropped by the selector check.
        let writable = plan::rules(local, remote, Action::Drop).is_some();
        if ours || whole || !writable {
            return Some(policy);
        }
        // The peer narrowed the permit: the rest of it still has no SA.
        let flow = HostFlow { entry: permit.entry.clone(), local: local.clone(), remote: remote.clone() };
        self.host_policy(now, flow)
    }

    /// A peer accepted by a dynamic map has set up a child SA.
    fn accept_unknown(
        &mut self,
        now: Duration,
        flow: TemplateFlow,
        child: &InstallChild,
    ) -> Option<PolicyId> {
        let (template, peer) = (flow.template, child.remote);
        let place = format!("crypto map {} {}", template.map, template.seq);
        let accepted = self.dynamic.accept(&template, peer, &child.local_selectors, &child.remote_selectors);
        let Some((key, is_new)) = accepted else {
            self.report.refused(now, place, peer, "too many temporary entries");
            return None;
        };
        if is_new {
            if !self.recompile(now) || !self.plan.entries.contains_key(&key) {
                self.dynamic.withdraw_newest_entry();
                self.recompile(now);
                self.report.refused(now, place, peer, "the table has no room for its flow");
                return None;
            }
            let origin = format!("{} {}", template.dynamic, template.dynamic_seq);
            self.report.transition(now, &key, format!("{peer} is accepted by dynamic map {origin}"));
        }
        self.plan.entries.get(&key)?.policies.first().copied()
    }

    /// The flow of a packet without an SA: that of its permit or, under `level per-host`, of its
    /// host pair. `None` if nothing may be initiated.
    pub(super) fn asked_for(
        &mut self,
        now: Duration,
        policy: PolicyId,
        flow: &FiveTuple,
    ) -> Option<(PolicyId, EntryKey)> {
        let found = self.plan.policies.get(&policy)?.clone();
        let entry = self.plan.entries.get(&found.entry)?;
        if entry.template.is_some() {
            let has_sa = self.peers.session(&found.entry).is_some_and(|s| s.outbound(policy).is_some());
            if !has_sa {
                self.tables.drop_held(policy);
                return None;
            }
        }
        if !entry.per_host || self.dynamic.is_of_hosts(&found) {
            return Some((policy, found.entry));
        }
        // The permit itself never gets an SA; its acquire request is answered by creating the host
        // pair.
        self.tables.drop_held(policy);
        let hosts = HostFlow::of(found.entry.clone(), flow, &found.local, &found.remote)?;
        Some((self.host_policy(now, hosts)?, found.entry))
    }

    /// The policy of a host pair, allocated if it has none.
    fn host_policy(&mut self, now: Duration, flow: HostFlow) -> Option<PolicyId> {
        let (wanted, place) = (flow.policy_key(), flow.entry.to_string());
        if let Some(known) = self.policy_of(&wanted) {
            return Some(known);
        }
        if self.dynamic.add_hosts(flow) {
            let fits = self.recompile(now);
            if let Some(policy) = self.policy_of(&wanted).filter(|_| fits) {
                self.refresh_connections(now);
                return Some(policy);
            }
            self.dynamic.withdraw_newest_hosts();
            self.recompile(now);
        }
        self.report.caused_trouble(
            now,
            format!(
                "{place}: no room for another pair of hosts (at most {MAX_HOST_FLOWS}); leave \"level per-host\" out"
            ),
        );
        None
    }

    fn policy_of(&self, wanted: &PolicyKey) -> Option<PolicyId> {
        self.plan.policies.iter().find(|(_, known)| *known == wanted).map(|(policy, _)| *policy)
    }

    /// Recompiles the running configuration with the current derived entries. False if the table
    /// rejected the rules.
    fn recompile(&mut self, now: Duration) -> bool {
        self.checkpoint.mark();
        let (configuration, devices) =
            (std::mem::take(&mut self.configuration), std::mem::take(&mut self.devices));
        self.plan = self.compile(&configuration, &devices);
        (self.configuration, self.devices) = (configuration, devices);
        self.peers.add(self.plan.entries.values());
        let published = self.publish();
        let sessions = self.peers.sessions().map(|(key, _)| key);
        let gone: Vec<EntryKey> =
            sessions.filter(|key| !self.plan.entries.contains_key(*key)).cloned().collect();
        for key in gone {
            self.close_session(now, &key);
        }
        self.tables.forget_policies(|id| self.plan.policies.contains_key(&id));
        published
    }

    /// Removes derived entries that have no SA and for which no flow is waiting.
    pub(super) fn sweep(&mut self, now: Duration) {
        let (plan, peers, tunnels, names) = (&self.plan, &self.peers, &self.tunnels, &self.names);
        let maps = &self.configuration.dynamic_maps;
        let entry_lives =
            |key: &EntryKey| peers.session(key).is_some_and(|session| session.pairs().next().is_some());
        let hosts_live = |flow: &HostFlow| {
            let policy = plan.policies.iter().find(|(_, key)| flow.is(key)).map(|(policy, _)| *policy);
            policy.is_some_and(|policy| {
                peers.session(&flow.entry).is_some_and(|session| {
                    session.pairs().any(|(_, pair)| pair.policy == policy)
                        || session.pending().any(|pending| pending == policy)
                }) || tunnels.attempts().iter().any(|attempt| attempt.policy == policy)
                    || names.waiting().iter().any(|waiting| waiting.policy == policy)
            })
        };
        let has_list = |template: &TemplateKey| {
            let entries = maps.get(&template.dynamic).map(|map| &map.entries);
            let body = entries.and_then(|entries| entries.get(&template.dynamic_seq));
            body.is_some_and(|body| body.match_address.is_some())
        };
        let Some(swept) = self.dynamic.sweep(now, entry_lives, hosts_live, has_list) else { return };
        self.recompile(now);
        if swept.hosts {
            self.refresh_connections(now);
        }
    }
}
