//! The closed state of a configuration: the permits of all crypto maps as drop rules, in force
//! while no SA can be used.

use config::Configuration;
use config::model::{AccessList, AclAction, CryptoMap, EntryBody, Keying};
use sa_table::{Action, Direction, MAX_CRYPTO_ADDRESSES, MAX_IOS_NAME, PortRecord, Rule};

use crate::carrier::{Carrier, carriers};
use crate::shape::{BEHIND_ENTRY, Shape, close};

/// Port records and rule lists in the form that the guard loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The interfaces; one with a crypto map refers to its list.
    pub ports: Vec<PortRecord>,
    /// One list for each interface with a crypto map.
    pub lists: Vec<Vec<Rule>>,
    /// Access groups of interfaces: port number and direction. Everything in that direction is
    /// dropped until a worker can evaluate the list.
    pub filtered: Vec<(u16, Direction)>,
}

/// The closed state, in force while no control plane and data plane run.
#[must_use]
pub fn closed(configuration: &Configuration) -> Closed {
    let mut closed = Closed::default();
    let concerned = |carrier: &Carrier<'_>| carrier.device.is_some() || carrier.map.is_some();
    for carrier in carriers(configuration).filter(concerned) {
        let rule_list = carrier.map.map(|(_, set)| {
            closed.lists.push(closed_rules(configuration, set));
            u32::try_from(closed.lists.len() - 1).unwrap_or(u32::MAX)
        });
        let id = u16::try_from(closed.ports.len()).unwrap_or(u16::MAX);
        let groups = &carrier.interface.access_groups;
        let directions = [(&groups.inbound, Direction::Inbound), (&groups.outbound, Direction::Outbound)];
        let applied = directions.into_iter().filter(|(list, _)| list.is_some());
        closed.filtered.extend(applied.map(|(_, direction)| (id, direction)));
        closed.ports.push(PortRecord {
            id,
            device: carrier.device.unwrap_or_default().to_owned(),
            ios_name: carrier.record_name(),
            has_crypto_map: carrier.map.is_some(),
            is_shut: carrier.interface.shutdown,
            fail_close: carrier.map.is_some_and(|(_, set)| set.fail_close),
            crypto_addresses: own_addresses(configuration, &carrier),
            rule_list,
            ..PortRecord::default()
        });
    }
    for (map, set) in unapplied(configuration) {
        closed.lists.push(closed_rules(configuration, set));
        closed.ports.push(everywhere(map, closed.ports.len(), closed.lists.len() - 1));
    }
    closed
}

/// Crypto maps without an interface whose traffic is dropped on every device nevertheless:
/// `fail-close`.
pub fn unapplied(configuration: &Configuration) -> impl Iterator<Item = (&str, &CryptoMap)> {
    let is_applied = |map: &str| {
        configuration.interfaces.values().any(|interface| interface.crypto_map.as_deref() == Some(map))
    };
    let closed = configuration.crypto_maps.iter().filter(|(_, set)| set.fail_close);
    closed.map(|(map, set)| (map.as_str(), set)).filter(move |(map, _)| !is_applied(map))
}

/// The port record of a crypto map without an interface: its list applies to every device.
#[must_use]
pub fn everywhere(map: &str, id: usize, list: usize) -> PortRecord {
    PortRecord {
        id: u16::try_from(id).unwrap_or(u16::MAX),
        ios_name: format!("crypto map {map}").chars().take(MAX_IOS_NAME).collect(),
        has_crypto_map: true,
        is_shut: true,
        fail_close: true,
        rule_list: u32::try_from(list).ok(),
        ..PortRecord::default()
    }
}

/// The rules of a crypto map with each permit as a drop. A deny continues after its entry, as while
/// the gateway runs.
#[must_use]
pub fn closed_rules(configuration: &Configuration, set: &CryptoMap) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in set.entries.values() {
        match &entry.keying {
            Keying::Isakmp | Keying::Manual => drop_all(configuration, &entry.body, &mut rules),
            Keying::Dynamic { map, .. } => {
                for body in
                    configuration.dynamic_maps.get(map).into_iter().flat_map(|map| map.entries.values())
                {
                    drop_all(configuration, body, &mut rules);
                }
            }
        }
    }
    rules
}

fn drop_all(configuration: &Configuration, body: &EntryBody, rules: &mut Vec<Rule>) {
    let start = rules.len();
    let list = body.match_address.as_ref().and_then(|name| configuration.access_lists.get(name));
    for (_, rule) in list.into_iter().flat_map(AccessList::rules) {
        match rule.action {
            AclAction::Permit => Shape::covering(rule).push(Action::Drop, rules),
            // An exemption must be exact: an entry that cannot be expressed exactly stays dropped.
            AclAction::Deny => {
                if let Some(shape) = Shape::of(rule) {
                    shape.push(Action::Jump(BEHIND_ENTRY), rules);
                }
            }
        }
    }
    close(rules, start);
}

/// Local addresses to which peers of the interface's crypto map send, as far as configured.
fn own_addresses(configuration: &Configuration, carrier: &Carrier<'_>) -> Vec<std::net::IpAddr> {
    let Some((_, set)) = carrier.map else { return Vec::new() };
    let named = set.local_address.as_ref().and_then(|name| configuration.interfaces.get(name));
    let mut addresses: Vec<_> = named
        .into_iter()
        .chain([carrier.interface])
        .flat_map(|interface| interface.addresses.iter().map(|address| address.address))
        .collect();
    addresses.truncate(MAX_CRYPTO_ADDRESSES);
    addresses
}
