//! An access-list entry as prefixes and ranges.

use config::model::{AclAddress, AclRule};
use sa_table::{Action, PortRange, Prefix, Rule};

/// Jump target of a deny until the end of its entry is known; see [`close`].
pub const BEHIND_ENTRY: u32 = u32::MAX;

/// What an access-list entry matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Source addresses.
    pub source: Prefix,
    /// Destination addresses.
    pub destination: Prefix,
    /// IP protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Source ports, each range inclusive. ICMP type and code are stored here (RFC 4301 §4.4.1.1),
    /// the type in the high octet.
    pub source_ports: Vec<(u16, u16)>,
    /// Destination ports, each range inclusive.
    pub destination_ports: Vec<(u16, u16)>,
}

const ANY_PORT: (u16, u16) = (0, u16::MAX);

impl Shape {
    /// The exact shape; `None` for a wildcard mask that is not a prefix.
    #[must_use]
    pub fn of(rule: &AclRule) -> Option<Self> {
        Some(Self::new(rule, exact(rule.source)?, exact(rule.destination)?))
    }

    /// The exact shape, or prefixes that contain wildcard masks which are not prefixes: it matches
    /// at least what `rule` matches.
    #[must_use]
    pub fn covering(rule: &AclRule) -> Self {
        Self::new(rule, covering(rule.source), covering(rule.destination))
    }

    fn new(rule: &AclRule, source: Prefix, destination: Prefix) -> Self {
        let icmp = rule.icmp.map(|icmp| {
            let kind = u16::from(icmp.kind) << 8;
            icmp.code.map_or((kind, kind | 0xff), |code| (kind | u16::from(code), kind | u16::from(code)))
        });
        Self {
            source,
            destination,
            protocol: rule.protocol,
            source_ports: match icmp {
                Some(range) => vec![range],
                None => rule.source_port.map_or(vec![ANY_PORT], |ports| ports.ranges()),
            },
            destination_ports: rule.destination_port.map_or(vec![ANY_PORT], |ports| ports.ranges()),
        }
    }

    /// Appends one rule for each pair of port ranges.
    pub fn push(&self, action: Action, rules: &mut Vec<Rule>) {
        for source in &self.source_ports {
            for destination in &self.destination_ports {
                rules.push(Rule {
                    source: self.source,
                    destination: self.destination,
                    protocol: self.protocol,
                    source_ports: PortRange { first: source.0, last: source.1 },
                    destination_ports: PortRange { first: destination.0, last: destination.1 },
                    action,
                });
            }
        }
    }
}

/// Sets the jump targets of an entry's denies, from index `start` on, to the end of the entry.
pub fn close(rules: &mut [Rule], start: usize) {
    let end = u32::try_from(rules.len()).unwrap_or(BEHIND_ENTRY);
    for rule in rules.iter_mut().skip(start) {
        if rule.action == Action::Jump(BEHIND_ENTRY) {
            rule.action = Action::Jump(end);
        }
    }
}

fn exact(address: AclAddress) -> Option<Prefix> {
    address.prefix().map(|prefix| Prefix { address: prefix.address, length: prefix.length })
}

/// The longest prefix that contains all addresses of a wildcard mask.
fn covering(address: AclAddress) -> Prefix {
    exact(address).unwrap_or_else(|| {
        let AclAddress::Wildcard(address, wildcard) = address else {
            return Prefix { address: std::net::Ipv4Addr::UNSPECIFIED.into(), length: 0 };
        };
        let length = u32::from(wildcard).leading_zeros();
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        let network = std::net::Ipv4Addr::from(u32::from(address) & mask);
        Prefix { address: network.into(), length: u8::try_from(length).unwrap_or(0) }
    })
}

#[cfg(test)]
mod tests {
    use config::model::{AclAction, AclOptions, PortMatch};

    use super::*;

    fn rule(source: AclAddress) -> AclRule {
        AclRule {
            action: AclAction::Permit,
            protocol: Some(6),
            source,
            source_port: None,
            destination: AclAddress::Any,
            destination_port: Some(PortMatch::NotEqual(22)),
            icmp: None,
            options: AclOptions::default(),
        }
    }

    #[test]
    fn a_port_condition_of_two_ranges_is_two_rules() {
        let mut rules = Vec::new();
        Shape::of(&rule(AclAddress::Any)).unwrap().push(Action::Drop, &mut rules);
        let ports: Vec<_> = rules.iter().map(|rule| rule.destination_ports).collect();
        assert_eq!(ports, [PortRange { first: 0, last: 21 }, PortRange { first: 23, last: u16::MAX }]);
    }

    #[test]
    fn a_wildcard_that_is_no_prefix_is_covered_by_one() {
        let odd = rule(AclAddress::Wildcard("10.1.0.5".parse().unwrap(), "0.0.255.0".parse().unwrap()));
        assert_eq!(Shape::of(&odd), None);
        let around = Shape::covering(&odd).source;
        assert_eq!((around.address, around.length), ("10.1.0.0".parse().unwrap(), 16));
    }

    #[test]
    fn a_deny_leads_behind_its_own_entry() {
        let mut rules = Vec::new();
        let shape = Shape::of(&rule(AclAddress::Any)).unwrap();
        shape.push(Action::Jump(BEHIND_ENTRY), &mut rules);
        close(&mut rules, 0);
        assert!(rules.iter().all(|rule| rule.action == Action::Jump(2)));
    }
}
