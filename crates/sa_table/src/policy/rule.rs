//! A rule of a crypto-map set: what a packet is compared with, in order, first match decides.

use core::net::IpAddr;

use crate::ids::PolicyId;
use crate::record::PortRange;

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Network address; bits behind `length` are ignored.
    pub address: IpAddr,
    /// Leading bits that count, at most 32 for IPv4 and 128 for IPv6.
    pub length: u8,
}

impl Prefix {
    /// Whether `address` is of the same family and inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32u32.saturating_sub(u32::from(self.length));
                (u32::from(network) ^ u32::from(address)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128u32.saturating_sub(u32::from(self.length));
                (u128::from(network) ^ u128::from(address)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// What happens to a packet that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Protected by the SA that the policy word names; without SA it is held and asked for.
    Protect(PolicyId),
    /// Go on with the rule of this index of the same list, which is always a later one (an IOS deny: behind the entry).
    Jump(u32),
    /// Dropped: protected, but this side may not initiate.
    Drop,
}

/// One rule, written for the outbound direction; an inbound check exchanges source and destination.
/// Source and destination are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Source addresses.
    pub source: Prefix,
    /// Destination addresses.
    pub destination: Prefix,
    /// IP protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Source ports.
    pub source_ports: PortRange,
    /// Destination ports.
    pub destination_ports: PortRange,
    /// What happens on a match.
    pub action: Action,
}

/// One list that protects what any of `lists` protects: what ends or jumps behind one list goes on with the next one. The first
/// list that protects a packet decides how.
#[must_use]
pub fn union<'a>(lists: impl IntoIterator<Item = &'a [Rule]>) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for list in lists {
        let first = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.extend(list.iter().map(|rule| match rule.action {
            Action::Jump(target) => Rule { action: Action::Jump(target.saturating_add(first)), ..*rule },
            _ => *rule,
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deny_of_one_list_leads_on_to_the_next() {
        let any = Prefix { address: IpAddr::from([0, 0, 0, 0]), length: 0 };
        let rule = |action| Rule {
            source: any,
            destination: any,
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action,
        };
        let exempting = [rule(Action::Jump(2)), rule(Action::Drop)];
        let all = union([&exempting[..], &exempting[..]]);
        let actions: Vec<Action> = all.iter().map(|rule| rule.action).collect();
        assert_eq!(actions, [Action::Jump(2), Action::Drop, Action::Jump(4), Action::Drop]);
    }

    #[test]
    fn a_prefix_contains_its_network_only() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let prefix = Prefix { address: ip("10.1.2.0"), length: 23 };
        assert!(prefix.contains(ip("10.1.3.255")) && !prefix.contains(ip("10.1.4.0")));
        assert!(Prefix { address: ip("0.0.0.0"), length: 0 }.contains(ip("255.255.255.255")));
        assert!(!Prefix { address: ip("0.0.0.0"), length: 0 }.contains(ip("::")));
        assert!(Prefix { address: ip("::"), length: 0 }.contains(ip("ffff::1")));
        let host = Prefix { address: ip("2001:db8::1"), length: 128 };
        assert!(host.contains(ip("2001:db8::1")) && !host.contains(ip("2001:db8::")));
    }
}
