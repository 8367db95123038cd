//! Flows that no line of the configuration names: what peers of dynamic maps brought, and pairs of hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use ike::InstallChild;
use sa_table::{Action, FiveTuple, PolicyId};

use super::Brain;
use super::configure::FIRST_TEMPLATE;
use crate::compile::{EntryKey, PolicyKey};
use crate::derived::{self, HostFlow, MAX_HOST_FLOWS, TemplateKey, Temporary};
use crate::log::Message;
use crate::responder::{TemplateFlow, policy};
use crate::session::Session;

impl Brain {
    /// The flow that a new child SA belongs to; none if it is to be deleted again.
    pub(super) fn place_child(&mut self, now: Duration, child: &InstallChild) -> Option<PolicyId> {
        if let Some(record) = child.replaces.and_then(|old| self.pairs.get(&old)) {
            return Some(record.policy).filter(|policy| self.plan.policies.contains_key(policy));
        }
        if child.tag.0 >= FIRST_TEMPLATE {
            return self.accept_unknown(now, child);
        }
        let policy = policy(child.tag)?;
        let permit = self.plan.policies.get(&policy)?;
        let ours = self.attempts.iter().any(|attempt| attempt.policy == policy && attempt.ike == child.ike);
        let whole = ike::is_subset(&permit.local, &child.local_selectors)
            && ike::is_subset(&permit.remote, &child.remote_selectors);
        let (local, remote) = (&child.local_selectors, &child.remote_selectors);
        // What cannot be written as rules goes with the permit; packets outside of it are dropped by its selectors.
        let writable = derived::rules(local, remote, Action::Drop).is_some();
        if ours || whole || !writable {
            return Some(policy);
        }
        // The peer asked for less than the permit: what is left of it still has no SA.
        self.host_policy(
            now,
            HostFlow { entry: permit.entry.clone(), local: local.clone(), remote: remote.clone() },
        )
    }

    /// A peer that a dynamic map admits has brought a child SA.
    fn accept_unknown(&mut self, now: Duration, child: &InstallChild) -> Option<PolicyId> {
        let number = child.tag.0 - FIRST_TEMPLATE;
        let flow: TemplateFlow = self.template_tags.iter().find(|(_, tag)| **tag == number)?.0.clone();
        let (local, remote) = (child.local_selectors.clone(), child.remote_selectors.clone());
        let known = self.derived.temporaries.iter().find(|one| {
            one.template == flow.template
                && one.peer == child.remote
                && (&one.local, &one.remote) == (&local, &remote)
        });
        let key = match known {
            Some(known) => known.key(),
            None => {
                let template = flow.template;
                let place = format!("crypto map {} {}", template.map, template.seq);
                let Some(seq) = self.derived.free_number() else {
                    self.refuse_unknown(now, place, child, "too many temporary entries");
                    return None;
                };
                let origin = format!("{} {}", template.dynamic, template.dynamic_seq);
                let one = Temporary { seq, template, peer: child.remote, local, remote };
                let key = one.key();
                self.derived.temporaries.push(one);
                if !self.recompile(now) || !self.plan.entries.contains_key(&key) {
                    self.derived.temporaries.pop();
                    self.recompile(now);
                    self.refuse_unknown(now, place, child, "the table has no room for its flow");
                    return None;
                }
                let peer = child.remote;
                self.history.push(
                    now,
                    key.to_string(),
                    format!("{peer} is accepted by dynamic map {origin}"),
                );
                key
            }
        };
        self.plan.entries.get(&key)?.policies.first().copied()
    }

    fn refuse_unknown(&mut self, now: Duration, place: String, child: &InstallChild, reason: &str) {
        if self.aborts.pass(now) {
            let (peer, reason) = (child.remote.to_string(), reason.to_owned());
            self.say(Message::NegotiationAborted { place, peer, reason });
        }
    }

    /// What a packet without SA asks for: the flow of its permit or, under `level per-host`, of its pair of hosts. None if
    /// nothing may be initiated.
    pub(super) fn asked_for(
        &mut self,
        now: Duration,
        policy: PolicyId,
        flow: &FiveTuple,
    ) -> Option<(PolicyId, EntryKey)> {
        let found = self.plan.policies.get(&policy)?.clone();
        let entry = self.plan.entries.get(&found.entry)?;
        if entry.template.is_some() {
            let has_sa = self.sessions.get(&found.entry).is_some_and(|s| s.outbound(policy).is_some());
            if !has_sa {
                self.table.drop_held(policy);
                return None;
            }
        }
        if !entry.per_host || self.is_derived(&found) {
            return Some((policy, found.entry));
        }
        // The permit itself never gets an SA; its request is answered by making the pair.
        self.table.drop_held(policy);
        let hosts = HostFlow::of(found.entry.clone(), flow, &found.local, &found.remote)?;
        Some((self.host_policy(now, hosts)?, found.entry))
    }

    fn is_derived(&self, key: &PolicyKey) -> bool {
        self.derived.hosts.iter().any(|flow| is_of(flow, key))
    }

    /// The policy of a pair of hosts, a new one if it has none.
    fn host_policy(&mut self, now: Duration, flow: HostFlow) -> Option<PolicyId> {
        let key = |flow: &HostFlow| PolicyKey {
            entry: flow.entry.clone(),
            local: flow.local.clone(),
            remote: flow.remote.clone(),
        };
        let wanted = key(&flow);
        let find = |brain: &Self| {
            brain.plan.policies.iter().find(|(_, known)| **known == wanted).map(|(policy, _)| *policy)
        };
        if let Some(known) = find(self) {
            return Some(known);
        }
        let count = self.derived.hosts.iter().filter(|other| other.entry == flow.entry).count();
        let place = flow.entry.to_string();
        self.derived.hosts.push(flow);
        let fits = count < MAX_HOST_FLOWS && self.recompile(now);
        match find(self).filter(|_| fits) {
            Some(policy) => {
                self.refresh_relations(now);
                Some(policy)
            }
            None => {
                self.derived.hosts.pop();
                self.recompile(now);
                if self.aborts.pass(now) {
                    self.say(Message::Trouble(format!(
                        "{place}: no room for another pair of hosts (at most {MAX_HOST_FLOWS}); leave \"level per-host\" out"
                    )));
                }
                None
            }
        }
    }

    /// The running configuration with what is derived from it now. False if the table did not take the rules.
    fn recompile(&mut self, now: Duration) -> bool {
        self.checkpoint_due = true;
        let (configuration, devices) =
            (std::mem::take(&mut self.configuration), std::mem::take(&mut self.devices));
        self.plan = self.compile(&configuration, &devices);
        (self.configuration, self.devices) = (configuration, devices);
        for (key, entry) in &self.plan.entries {
            self.sessions
                .entry(key.clone())
                .or_insert_with(|| Session::new(entry.peers.clone(), entry.default_first, entry.idle));
        }
        let published = self.publish();
        self.settle_policies(now);
        published
    }

    fn settle_policies(&mut self, now: Duration) {
        let gone: Vec<EntryKey> =
            self.sessions.keys().filter(|key| !self.plan.entries.contains_key(*key)).cloned().collect();
        for key in gone {
            self.close_session(now, &key);
        }
        self.table.forget_policies(|id| self.plan.policies.contains_key(&id));
    }

    /// Takes out what has no SA any more and nobody waits for.
    pub(super) fn sweep_derived(&mut self, now: Duration) {
        if self.derived.temporaries.is_empty() && self.derived.hosts.is_empty() {
            return;
        }
        let waited_for = |policy: PolicyId| {
            self.attempts.iter().any(|attempt| attempt.policy == policy)
                || self.resolving.iter().any(|(_, _, other)| *other == policy)
        };
        let live = |key: &EntryKey, policy: Option<PolicyId>| {
            self.sessions.get(key).is_some_and(|session| {
                session.pairs().any(|(_, pair)| policy.is_none_or(|policy| pair.policy == policy))
                    || session.pending().any(|pending| Some(pending) == policy)
            }) || policy.is_some_and(waited_for)
        };
        let mut temporaries: Vec<bool> =
            self.derived.temporaries.iter().map(|one| live(&one.key(), None)).collect();
        let policy_of = |flow: &HostFlow| {
            self.plan.policies.iter().find(|(_, key)| is_of(flow, key)).map(|(policy, _)| *policy)
        };
        let hosts: Vec<bool> = self
            .derived
            .hosts
            .iter()
            .map(|flow| policy_of(flow).is_some_and(|policy| live(&flow.entry, Some(policy))))
            .collect();
        for (at, keep) in temporaries.iter_mut().enumerate() {
            let one = &self.derived.temporaries[at];
            let (seq, has_list) = (one.seq, self.has_list(&one.template));
            if *keep {
                self.derived.without_sa.remove(&seq);
            } else if !has_list {
                *keep = self.derived.lingers(seq, now);
            }
        }
        if temporaries.iter().chain(&hosts).all(|keep| *keep) {
            return;
        }
        let mut keep = temporaries.into_iter();
        self.derived.temporaries.retain(|_| keep.next().unwrap_or(true));
        let known: BTreeSet<u32> = self.derived.temporaries.iter().map(|one| one.seq).collect();
        self.derived.without_sa.retain(|seq, _| known.contains(seq));
        let mut keep = hosts.into_iter();
        let before = self.derived.hosts.len();
        self.derived.hosts.retain(|_| keep.next().unwrap_or(true));
        self.recompile(now);
        if self.derived.hosts.len() != before {
            self.refresh_relations(now);
        }
    }

    /// Whether the flows of a template are permitted by an access list, which drops them when no peer carries them.
    fn has_list(&self, template: &TemplateKey) -> bool {
        let entries = self.configuration.dynamic_maps.get(&template.dynamic).map(|map| &map.entries);
        let body = entries.and_then(|entries| entries.get(&template.dynamic_seq));
        body.is_some_and(|body| body.match_address.is_some())
    }

    /// After an edit: what the configuration does not cover any more is forgotten; its sessions end with their entries.
    pub(super) fn forget_uncovered(&mut self) {
        let plan = &self.plan;
        self.derived.temporaries.retain(|one| plan.entries.contains_key(&one.key()));
        self.derived.hosts.retain(|flow| plan.policies.values().any(|key| is_of(flow, key)));
    }
}

fn is_of(flow: &HostFlow, key: &PolicyKey) -> bool {
    flow.entry == key.entry && flow.local == key.local && flow.remote == key.remote
}
