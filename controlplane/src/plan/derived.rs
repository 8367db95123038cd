//! What is protected although no line of the configuration says it: flows of peers that a dynamic
//! map accepted, and pairs of hosts under `set security-association level per-host`.
//!
//! Both come and go with their SAs. They stand in front of the permit that they come from; where
//! the permit does not cover them any more, they are gone.

use std::net::IpAddr;

use config::model::InterfaceName;
use ike::TrafficSelector;
use sa_table::{Action, FiveTuple, PortRange, Rule};

use super::{EntryKey, PolicyKey};
use crate::routes::prefixes;

/// Temporary entries have numbers from here on; configured ones end below.
pub const FIRST_TEMPORARY: u32 = 65_536;

/// Temporary entries at a time.
pub const MAX_TEMPORARIES: usize = config::sizes::MAX_TEMPORARIES as usize;

/// Pairs of hosts of one entry at a time.
pub const MAX_HOST_FLOWS: usize = config::sizes::MAX_HOSTS_OF_ENTRY as usize;

/// Rules that one flow may need: a range of addresses is several prefixes.
const MAX_RULES: usize = 64;

/// An entry of a dynamic map, as one crypto map on one interface uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateKey {
    /// Where the crypto map is applied.
    pub interface: InterfaceName,
    /// The crypto map.
    pub map: String,
    /// Its entry that names the dynamic map.
    pub seq: u16,
    /// The dynamic map.
    pub dynamic: String,
    /// Its entry.
    pub dynamic_seq: u16,
}

/// What a peer of a template and we agreed to protect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// The number of the temporary entry.
    pub seq: u32,
    /// Where it comes from.
    pub template: TemplateKey,
    /// The peer.
    pub peer: IpAddr,
    /// Our side.
    pub local: Vec<TrafficSelector>,
    /// The peer's side.
    pub remote: Vec<TrafficSelector>,
}

impl Temporary {
    /// The name of its entry.
    pub fn key(&self) -> EntryKey {
        let TemplateKey { interface, map, .. } = &self.template;
        EntryKey { interface: interface.clone(), map: map.clone(), seq: self.seq }
    }
}

/// A pair of hosts of an entry with `level per-host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFlow {
    /// The entry.
    pub entry: EntryKey,
    /// Our host.
    pub local: Vec<TrafficSelector>,
    /// The other one.
    pub remote: Vec<TrafficSelector>,
}

impl HostFlow {
    /// The pair that a packet belongs to, within a permit; none if it does not match.
    pub fn of(
        entry: EntryKey,
        flow: &FiveTuple,
        local: &[TrafficSelector],
        remote: &[TrafficSelector],
    ) -> Option<Self> {
        let of_host = |address, permitted: &[TrafficSelector]| -> Vec<TrafficSelector> {
            let host = TrafficSelector::host(address);
            permitted.iter().filter_map(|selector| selector.intersection(&host)).collect()
        };
        let (local, remote) = (of_host(flow.source, local), of_host(flow.destination, remote));
        (!local.is_empty() && !remote.is_empty()).then_some(HostFlow { entry, local, remote })
    }

    /// What its policy stands for.
    pub fn policy_key(&self) -> PolicyKey {
        PolicyKey { entry: self.entry.clone(), local: self.local.clone(), remote: self.remote.clone() }
    }

    /// Whether this is its policy.
    pub fn is(&self, key: &PolicyKey) -> bool {
        self.entry == key.entry && self.local == key.local && self.remote == key.remote
    }
}

/// Everything of this kind, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    /// Temporary entries.
    pub temporaries: Vec<Temporary>,
    /// Pairs of hosts.
    pub hosts: Vec<HostFlow>,
}

/// Whether what was agreed lies within a permit.
pub fn is_within(
    agreed: (&[TrafficSelector], &[TrafficSelector]),
    permit: (&[TrafficSelector], &[TrafficSelector]),
) -> bool {
    ike::is_subset(agreed.0, permit.0) && ike::is_subset(agreed.1, permit.1)
}

/// The rules of agreed selectors; none if they cannot be written with a bounded number.
pub fn rules(local: &[TrafficSelector], remote: &[TrafficSelector], action: Action) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    for source in local {
        for destination in remote {
            let protocol = source.protocol.max(destination.protocol);
            if source.protocol != 0 && destination.protocol != 0 && source.protocol != destination.protocol {
                continue;
            }
            let ports = |one: &TrafficSelector| PortRange { first: one.start_port, last: one.end_port };
            for from in prefixes(source.start, source.end) {
                for to in prefixes(destination.start, destination.end) {
                    if rules.len() == MAX_RULES {
                        return None;
                    }
                    rules.push(Rule {
                        source: from,
                        destination: to,
                        protocol: (protocol != 0).then_some(protocol),
                        source_ports: ports(source),
                        destination_ports: ports(destination),
                        action,
                    });
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str, length: u8) -> TrafficSelector {
        TrafficSelector::prefix(text.parse().unwrap(), length)
    }

    #[test]
    fn a_packet_names_its_pair_of_hosts_within_the_permit() {
        let entry = EntryKey { interface: InterfaceName::parse("Gi0/1").unwrap(), map: "m".into(), seq: 1 };
        let flow = FiveTuple {
            source: "192.168.1.7".parse().unwrap(),
            destination: "192.168.2.9".parse().unwrap(),
            protocol: 17,
            source_port: 5,
            destination_port: 53,
        };
        let (local, remote) = ([net("192.168.1.0", 24)], [net("192.168.2.0", 24)]);
        let pair = HostFlow::of(entry.clone(), &flow, &local, &remote).unwrap();
        assert_eq!(pair.local, [net("192.168.1.7", 32)]);
        assert_eq!(pair.remote, [net("192.168.2.9", 32)]);
        assert!(is_within((&pair.local, &pair.remote), (&local, &remote)));
        assert_eq!(HostFlow::of(entry, &flow, &[net("10.0.0.0", 8)], &remote), None);
    }

    #[test]
    fn rules_of_an_odd_range_are_bounded() {
        let odd = TrafficSelector { start: "10.0.0.1".parse().unwrap(), ..net("10.0.0.0", 8) };
        let one = rules(&[odd], &[net("192.168.2.0", 24)], Action::Drop).unwrap();
        assert_eq!(one.len(), 24);
        assert!(rules(&[odd], &[odd], Action::Drop).is_none(), "24 times 24 rules are refused");
    }
}
