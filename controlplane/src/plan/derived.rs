//! Derived entries, protected without a configuration line of their own: temporary entries for
//! peers that a dynamic map accepted, and host pairs of `set security-association level per-host`.
//!
//! They are created and removed with their SAs. Their rules precede the permit that they derive
//! from; they are removed when the permit no longer covers them.

use std::net::IpAddr;

use config::model::InterfaceName;
use ike::TrafficSelector;
use sa_table::{Action, FiveTuple, PortRange, Rule};

use super::{EntryKey, PolicyKey};
use crate::routes::prefixes;

/// First sequence number of temporary entries; configured ones are below.
pub const FIRST_TEMPORARY: u32 = 65_536;

/// Maximum number of temporary entries.
pub const MAX_TEMPORARIES: usize = config::sizes::MAX_TEMPORARIES as usize;

/// Maximum number of host pairs of one entry.
pub const MAX_HOST_FLOWS: usize = config::sizes::MAX_HOSTS_OF_ENTRY as usize;

/// Maximum number of rules of one flow: an address range can need several prefixes.
const MAX_RULES: usize = 64;

/// An entry of a dynamic map, as used by one crypto map on one interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateKey {
    /// Where the crypto map is applied.
    pub interface: InterfaceName,
    /// The crypto map.
    pub map: String,
    /// The crypto map entry that refers to the dynamic map.
    pub seq: u16,
    /// The dynamic map.
    pub dynamic: String,
    /// Its entry.
    pub dynamic_seq: u16,
}

/// A temporary entry: the selectors negotiated with a peer of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// Its sequence number.
    pub seq: u32,
    /// Its template.
    pub template: TemplateKey,
    /// The peer.
    pub peer: IpAddr,
    /// Local traffic selectors.
    pub local: Vec<TrafficSelector>,
    /// Remote traffic selectors.
    pub remote: Vec<TrafficSelector>,
}

impl Temporary {
    /// The key of its entry.
    pub fn key(&self) -> EntryKey {
        let TemplateKey { interface, map, .. } = &self.template;
        EntryKey { interface: interface.clone(), map: map.clone(), seq: self.seq }
    }
}

/// A host pair of an entry with `level per-host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFlow {
    /// The entry.
    pub entry: EntryKey,
    /// Local host.
    pub local: Vec<TrafficSelector>,
    /// Remote host.
    pub remote: Vec<TrafficSelector>,
}

impl HostFlow {
    /// The host pair of a packet within a permit; `None` if the packet does not match it.
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

    /// The key of its policy.
    pub fn policy_key(&self) -> PolicyKey {
        PolicyKey { entry: self.entry.clone(), local: self.local.clone(), remote: self.remote.clone() }
    }

    /// Whether `key` is its policy.
    pub fn is(&self, key: &PolicyKey) -> bool {
        self.entry == key.entry && self.local == key.local && self.remote == key.remote
    }
}

/// All derived entries, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    /// Temporary entries.
    pub temporaries: Vec<Temporary>,
    /// Pairs of hosts.
    pub hosts: Vec<HostFlow>,
}

/// Whether negotiated selectors are within a permit.
pub fn is_within(
    agreed: (&[TrafficSelector], &[TrafficSelector]),
    permit: (&[TrafficSelector], &[TrafficSelector]),
) -> bool {
    ike::is_subset(agreed.0, permit.0) && ike::is_subset(agreed.1, permit.1)
}

/// The rules of negotiated selectors; `None` if they need more than `MAX_RULES`.
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
