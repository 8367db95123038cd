//! Rules that are added and removed with SAs: entries of `crypto dynamic-map`, which only respond,
//! and host pairs (`level per-host`).

use config::model::{AclAction, CryptoMapEntry, Keying};
use ike::TrafficSelector;
use sa_table::{Action, Rule};

use protection::{BEHIND_ENTRY, close};

use super::{Entry, EntryKey, Plan, PolicyKey, PolicyNumbers, SetCompiler, Template};
use crate::plan::{self, Peer, TemplateKey, Temporary};

impl SetCompiler<'_> {
    /// Compiles a crypto map entry that refers to a dynamic map. Traffic that a template permits
    /// and no temporary entry carries is dropped. A template without an access list selects only
    /// what its peers have negotiated.
    pub(super) fn dynamic_entry(
        &self,
        seq: u16,
        dynamic: &str,
        plan: &mut Plan,
        numbers: &mut impl PolicyNumbers,
        rules: &mut Vec<Rule>,
    ) {
        let Some(templates) = self.configuration.dynamic_maps.get(dynamic) else { return };
        for (dynamic_seq, body) in &templates.entries {
            let start = rules.len();
            let key =
                EntryKey { interface: self.interface.clone(), map: self.map.to_owned(), seq: seq.into() };
            let as_entry =
                CryptoMapEntry { keying: Keying::Isakmp, template_profile: None, body: body.clone() };
            let template = TemplateKey {
                interface: self.interface.clone(),
                map: self.map.to_owned(),
                seq,
                dynamic: dynamic.to_owned(),
                dynamic_seq: *dynamic_seq,
            };
            match self.usable(&key, seq, &as_entry) {
                Ok(entry) => self.template(
                    &template,
                    entry,
                    body.match_address.is_some(),
                    plan,
                    numbers,
                    rules,
                    &as_entry,
                ),
                Err(note) => {
                    plan.notes.push(format!("{note} (dynamic map {dynamic} {dynamic_seq})"));
                    self.drop_all(body, rules);
                }
            }
            close(rules, start);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of the compiler, split off for its length")]
    fn template(
        &self,
        key: &TemplateKey,
        entry: Entry,
        has_list: bool,
        plan: &mut Plan,
        numbers: &mut impl PolicyNumbers,
        rules: &mut Vec<Rule>,
        as_entry: &CryptoMapEntry,
    ) {
        // Newest first: a peer that returns with another address must match its newest entry.
        let mut temporaries: Vec<&Temporary> =
            self.derived.temporaries.iter().rev().filter(|one| one.template == *key).collect();
        let mut permits = Vec::new();
        let mut place = |local: Vec<TrafficSelector>, remote: Vec<TrafficSelector>, rules: &mut Vec<Rule>| {
            temporaries.retain(|one| {
                let within = plan::is_within((&one.local, &one.remote), (&local, &remote));
                if within {
                    place_temporary(&entry, one, plan, numbers, rules);
                }
                !within
            });
            permits.push((local, remote));
        };
        if has_list {
            for (rule, shape) in self.shapes(&as_entry.body) {
                if rule.action == AclAction::Deny {
                    shape.push(Action::Jump(BEHIND_ENTRY), rules);
                    continue;
                }
                let (local, remote) = super::selectors(&shape);
                if !local.is_empty() && !remote.is_empty() {
                    place(local, remote, rules);
                }
                shape.push(Action::Drop, rules);
            }
        } else {
            let any = match entry.local {
                std::net::IpAddr::V4(_) => TrafficSelector::prefix(std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
                std::net::IpAddr::V6(_) => TrafficSelector::prefix(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            place(vec![any], vec![any], rules);
        }
        plan.templates.push(Template { key: key.clone(), entry, permits });
    }

    /// The rules of the host pairs within one permit; they precede the rule of the permit.
    pub(super) fn host_flows(
        &self,
        entry: &mut Entry,
        permit: (&[TrafficSelector], &[TrafficSelector]),
        plan: &mut Plan,
        numbers: &mut impl PolicyNumbers,
        rules: &mut Vec<Rule>,
    ) {
        for flow in self.derived.hosts.iter().filter(|flow| flow.entry == entry.key) {
            if !plan::is_within((&flow.local, &flow.remote), permit) {
                continue;
            }
            let key = PolicyKey {
                entry: entry.key.clone(),
                local: flow.local.clone(),
                remote: flow.remote.clone(),
            };
            let Some(id) = numbers.number(&key) else { continue };
            let Some(own) = plan::rules(&flow.local, &flow.remote, Action::Protect(id)) else { continue };
            if plan.policies.insert(id, key).is_none() {
                entry.policies.push(id);
                rules.extend(own);
            }
        }
    }
}

fn place_temporary(
    template: &Entry,
    one: &Temporary,
    plan: &mut Plan,
    numbers: &mut impl PolicyNumbers,
    rules: &mut Vec<Rule>,
) {
    let key = one.key();
    let policy = PolicyKey { entry: key.clone(), local: one.local.clone(), remote: one.remote.clone() };
    let Some(id) = numbers.number(&policy) else { return };
    let Some(own) = plan::rules(&one.local, &one.remote, Action::Protect(id)) else { return };
    rules.extend(own);
    plan.policies.insert(id, policy);
    let entry = Entry {
        key: key.clone(),
        peers: vec![Peer::Address(one.peer)],
        default_first: false,
        policies: vec![id],
        template: Some(one.template.clone()),
        ..template.clone()
    };
    plan.entries.insert(key, entry);
}
