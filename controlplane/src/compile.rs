//! Compiles the configuration: ports and rules for the data plane, entries for the sessions and for
//! IKE.
//!
//! The functions are pure: device facts and policy IDs are arguments. One permit ACE becomes one
//! policy. The policy keeps its ID as long as interface, map, sequence number and selectors stay
//! the same, so that an edit elsewhere does not affect its SAs.
//!
//! Fail closed: traffic that an entry selects but cannot protect (unsupported parameters, no local
//! address, a dynamic template without a peer, an incomplete crypto map entry) is dropped, never
//! sent in clear.

mod dynamic;
mod filters;
mod retained;

use std::net::IpAddr;

use config::Configuration;
use config::effective_ike::{effective_ike, effective_ipsec, effective_manual};
use config::model::{AclAction, AclRule, CryptoMap, CryptoMapEntry, EntryBody, InterfaceName, Keying};
use protection::{BEHIND_ENTRY, Carrier, Shape, carriers, close, closed_rules, everywhere, unapplied};
use sa_table::{Action, MAX_CRYPTO_ADDRESSES, PolicyId, PortRecord, Prefix, Rule};

use crate::plan::{
    Derived, Device, Devices, Entry, EntryKey, IdleRule, ManualEntry, Peer, Plan, PolicyKey, Template,
};

pub use retained::retain;

/// Allocates policy IDs and remembers them by [`PolicyKey`].
pub trait PolicyNumbers {
    /// The ID of `key`, allocated if it has none yet; `None` if the table is full.
    fn number(&mut self, key: &PolicyKey) -> Option<PolicyId>;
}

/// Compiles the whole configuration.
pub fn compile(configuration: &Configuration, devices: &Devices, numbers: &mut impl PolicyNumbers) -> Plan {
    compile_with(configuration, devices, &Derived::default(), numbers)
}

/// Compiles the configuration together with the derived entries; those that the configuration no
/// longer covers are left out.
pub fn compile_with(
    configuration: &Configuration,
    devices: &Devices,
    derived: &Derived,
    numbers: &mut impl PolicyNumbers,
) -> Plan {
    let mut plan = Plan::default();
    let absent = Device::default();
    for carrier in carriers(configuration) {
        let (name, interface) = (carrier.name, carrier.interface);
        if carrier.device.is_none() {
            plan.notes.push(without_device(&carrier));
            if carrier.map.is_none() {
                continue;
            }
        }
        let device = devices.get(name).unwrap_or(&absent);
        let mut crypto_addresses = Vec::new();
        let rule_list = carrier.map.map(|(map, set)| {
            let rules = if carrier.device.is_some() && !interface.shutdown {
                crypto_addresses.clone_from(&device.addresses);
                crypto_addresses.extend(local_addresses(set, devices));
                crypto_addresses.dedup();
                crypto_addresses.truncate(MAX_CRYPTO_ADDRESSES);
                let compiler =
                    SetCompiler { configuration, devices, derived, device, interface: name, map, set };
                compiler.rules(&mut plan, numbers)
            } else {
                // No SA can be set up there, but the traffic that the map selects must still be
                // dropped.
                closed_rules(configuration, set)
            };
            plan.rules.push(rules);
            u32::try_from(plan.rules.len() - 1).unwrap_or(u32::MAX)
        });
        plan.ports.push(PortRecord {
            id: u16::try_from(plan.ports.len()).unwrap_or(u16::MAX),
            ifindex: device.ifindex,
            device: carrier.device.unwrap_or_default().to_owned(),
            ios_name: carrier.record_name(),
            mtu: interface.mtu.map_or(if device.mtu == 0 { 1500 } else { device.mtu }, u32::from),
            has_crypto_map: rule_list.is_some(),
            is_shut: interface.shutdown,
            fail_close: carrier.map.is_some_and(|(_, set)| set.fail_close),
            crypto_addresses,
            rule_list,
        });
    }
    for (map, set) in unapplied(configuration) {
        plan.rules.push(closed_rules(configuration, set));
        plan.ports.push(everywhere(map, plan.ports.len(), plan.rules.len() - 1));
    }
    filters::compile(configuration, &mut plan);
    plan
}

fn without_device(carrier: &Carrier<'_>) -> String {
    let closed = carrier.map.map_or(String::new(), |(map, _)| {
        format!(" what crypto map {map} protects is dropped on every device;")
    });
    format!(
        "interface {} has no device:{closed} type \"device NAME\" there, with one that \"ip link\" lists",
        carrier.name
    )
}

fn local_addresses(set: &CryptoMap, devices: &Devices) -> Vec<IpAddr> {
    let named = set.local_address.as_ref().and_then(|name| devices.get(name));
    named.map(|device| device.addresses.clone()).unwrap_or_default()
}

/// One crypto map set on one interface.
struct SetCompiler<'a> {
    configuration: &'a Configuration,
    devices: &'a Devices,
    derived: &'a Derived,
    device: &'a Device,
    interface: &'a InterfaceName,
    map: &'a str,
    set: &'a CryptoMap,
}

impl SetCompiler<'_> {
    fn rules(&self, plan: &mut Plan, numbers: &mut impl PolicyNumbers) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (seq, entry) in &self.set.entries {
            let start = rules.len();
            if !entry.is_complete() {
                self.incomplete_entry(*seq, entry, plan, &mut rules);
                close(&mut rules, start);
                continue;
            }
            match &entry.keying {
                Keying::Isakmp => self.static_entry(*seq, entry, plan, numbers, &mut rules),
                Keying::Manual => self.manual_entry(*seq, entry, plan, numbers, &mut rules),
                Keying::Dynamic { map, .. } => self.dynamic_entry(*seq, map, plan, numbers, &mut rules),
            }
            close(&mut rules, start);
        }
        rules
    }

    /// An entry without peer or transform set: the traffic that its access list permits is dropped.
    /// Without an access list it selects nothing.
    fn incomplete_entry(&self, seq: u16, entry: &CryptoMapEntry, plan: &mut Plan, rules: &mut Vec<Rule>) {
        let before = rules.len();
        self.drop_all(&entry.body, rules);
        if rules.len() > before {
            plan.notes.push(format!(
                "crypto map {} {seq} stays disabled until it has a peer and a transform set; what its access list permits is dropped",
                self.map
            ));
        }
    }

    fn static_entry(
        &self,
        seq: u16,
        entry: &CryptoMapEntry,
        plan: &mut Plan,
        numbers: &mut impl PolicyNumbers,
        rules: &mut Vec<Rule>,
    ) {
        let key = EntryKey { interface: self.interface.clone(), map: self.map.to_owned(), seq: seq.into() };
        let mut usable = match self.usable(&key, seq, entry) {
            Ok(usable) => usable,
            Err(note) => {
                plan.notes.push(note);
                self.drop_all(&entry.body, rules);
                return;
            }
        };
        for (rule, shape) in self.shapes(&entry.body) {
            if rule.action == AclAction::Deny {
                shape.push(Action::Jump(BEHIND_ENTRY), rules);
                continue;
            }
            let (local, remote) = selectors(&shape);
            if local.is_empty() || remote.is_empty() {
                continue;
            }
            self.host_flows(&mut usable, (&local, &remote), plan, numbers, rules);
            let policy_key = PolicyKey { entry: key.clone(), local, remote };
            match numbers.number(&policy_key) {
                Some(id) => {
                    shape.push(Action::Protect(id), rules);
                    if plan.policies.insert(id, policy_key).is_none() {
                        usable.policies.push(id);
                    }
                }
                None => {
                    plan.no_number(&key);
                    shape.push(Action::Drop, rules);
                }
            }
        }
        plan.entries.insert(key, usable);
    }

    /// A hand-keyed entry has one SA pair, which serves the first permit; traffic of further
    /// permits is dropped.
    fn manual_entry(
        &self,
        seq: u16,
        entry: &CryptoMapEntry,
        plan: &mut Plan,
        numbers: &mut impl PolicyNumbers,
        rules: &mut Vec<Rule>,
    ) {
        let key = EntryKey { interface: self.interface.clone(), map: self.map.to_owned(), seq: seq.into() };
        let usable = effective_manual(self.configuration, self.map, seq, entry)
            .map_err(|refusal| refusal.to_string())
            .and_then(|parameters| {
                let of_family = |address: &IpAddr| address.is_ipv6() == parameters.peer.is_ipv6();
                let local = self.candidates().into_iter().find(of_family);
                Ok((local.ok_or_else(|| self.no_address(&key))?, parameters))
            });
        let (local, parameters) = match usable {
            Ok(usable) => usable,
            Err(note) => {
                plan.notes.push(note);
                self.drop_all(&entry.body, rules);
                return;
            }
        };
        let mut policy = None;
        for (rule, shape) in self.shapes(&entry.body) {
            let (local, remote) = selectors(&shape);
            let is_permit = rule.action == AclAction::Permit;
            if !is_permit {
                shape.push(Action::Jump(BEHIND_ENTRY), rules);
            } else if policy.is_some() || local.is_empty() || remote.is_empty() {
                plan.notes.push(format!(
                    "{key}: hand keys serve the first permit only; give each further one an entry of its own"
                ));
                shape.push(Action::Drop, rules);
            } else {
                let permit = PolicyKey { entry: key.clone(), local, remote };
                match numbers.number(&permit) {
                    Some(id) => {
                        shape.push(Action::Protect(id), rules);
                        plan.policies.insert(id, permit);
                        policy = Some(id);
                    }
                    None => {
                        plan.no_number(&key);
                        shape.push(Action::Drop, rules);
                    }
                }
            }
        }
        if let Some(policy) = policy {
            let mtu = if self.device.mtu == 0 { 1500 } else { self.device.mtu };
            plan.manual.insert(key.clone(), ManualEntry { key, local, parameters, policy, mtu });
        }
    }

    /// The local addresses that SAs of this map can use.
    fn candidates(&self) -> Vec<IpAddr> {
        match &self.set.local_address {
            Some(_) => local_addresses(self.set, self.devices),
            None => self.device.addresses.clone(),
        }
    }

    fn no_address(&self, key: &EntryKey) -> String {
        format!("{key}: interface {} has no address for it; type \"ip address\" there", self.interface)
    }

    fn usable(&self, key: &EntryKey, seq: u16, entry: &CryptoMapEntry) -> Result<Entry, String> {
        let ike = effective_ike(self.configuration, &key.map, seq, entry).map_err(|e| e.to_string())?;
        let ipsec = effective_ipsec(self.configuration, &key.map, seq, entry).map_err(|e| e.to_string())?;
        let body = &entry.body;
        let peers: Vec<Peer> = body.peers.iter().map(|peer| Peer::of(&peer.name)).collect();
        let candidates = self.candidates();
        let fits = |address: &&IpAddr| match peers.first() {
            Some(Peer::Address(peer)) => address.is_ipv6() == peer.is_ipv6(),
            _ => address.is_ipv4(),
        };
        let by_name = peers.first().is_some_and(|peer| peer.host_name().is_some());
        let local = candidates
            .iter()
            .find(fits)
            // A peer given by name is resolved in the address family of the first local address.
            .or_else(|| candidates.first().filter(|_| by_name))
            .copied()
            .ok_or_else(|| self.no_address(key))?;
        if !ike.local_addresses.is_empty() && !ike.local_addresses.contains(&local) {
            let profile = ike.profile.as_deref().unwrap_or_default();
            return Err(format!(
                "{key}: ikev2 profile {profile} is not for local address {local}; type \"match address local {local}\" in it"
            ));
        }
        let idle = IdleRule::resolve(
            body.idle.map(|timer| (timer.seconds.into(), timer.to_default)),
            self.configuration.ipsec.idle_seconds.map(u64::from),
        );
        let interface = self.configuration.interfaces.get(self.interface);
        let device = interface.map_or(self.interface.as_str(), |i| i.device_name(self.interface)).to_owned();
        Ok(Entry {
            key: key.clone(),
            peers,
            default_first: body.default_peer().is_some(),
            idle,
            local,
            ike,
            ipsec,
            policies: Vec::new(),
            reverse_route: body.reverse_route.clone(),
            device,
            mtu: if self.device.mtu == 0 { 1500 } else { self.device.mtu },
            per_host: body.per_host,
            template: None,
        })
    }

    /// Drops everything that the access list permits.
    fn drop_all(&self, body: &EntryBody, rules: &mut Vec<Rule>) {
        for (rule, shape) in self.shapes(body) {
            let action = match rule.action {
                AclAction::Permit => Action::Drop,
                AclAction::Deny => Action::Jump(BEHIND_ENTRY),
            };
            shape.push(action, rules);
        }
    }

    fn shapes<'s>(&'s self, body: &'s EntryBody) -> impl Iterator<Item = (&'s AclRule, Shape)> {
        let list = body.match_address.as_ref().and_then(|name| self.configuration.access_lists.get(name));
        list.into_iter().flat_map(|list| list.rules()).filter_map(|(_, rule)| Some((rule, Shape::of(rule)?)))
    }
}

/// Both sides of a permit as IKE traffic selectors.
fn selectors(shape: &Shape) -> (Vec<ike::TrafficSelector>, Vec<ike::TrafficSelector>) {
    let side = |prefix: Prefix, ports: &[(u16, u16)]| {
        let all = ike::TrafficSelector::prefix(prefix.address, prefix.length)
            .with_protocol(shape.protocol.unwrap_or(0));
        ports.iter().map(|(first, last)| all.with_ports(*first, *last)).collect()
    };
    (side(shape.source, &shape.source_ports), side(shape.destination, &shape.destination_ports))
}

#[cfg(test)]
mod tests;
