//! Crypto-map rules in the form that the guard walks.

use std::net::IpAddr;

use ebpf_abi::{GuardRule, MAX_RULES_PER_PORT, NO, YES};
use sa_table::policy::{Action, Prefix, Rule};
use sa_table::record::PortRange;

/// Translates one rule list for the table position `first`; `None` if it is too long for the guard,
/// which then uses address classes alone for the ports of the list.
pub(super) fn translate(rules: &[Rule], first: u32) -> Option<Vec<GuardRule>> {
    let count = u32::try_from(rules.len()).ok().filter(|count| *count <= MAX_RULES_PER_PORT)?;
    Some(rules.iter().zip(first..).map(|(rule, at)| guard_rule(rule, at, first, first + count)).collect())
}

fn guard_rule(rule: &Rule, at: u32, first: u32, end: u32) -> GuardRule {
    let (source, source_mask) = network(rule.source);
    let (destination, destination_mask) = network(rule.destination);
    let (exempts, jump) = match rule.action {
        // A backward jump is never published; if it were, the walk would still end after the list.
        Action::Jump(target) => (YES, first.saturating_add(target).clamp(at + 1, end.max(at + 1))),
        // Packets for which only the peer may initiate must not leave in clear either.
        Action::Protect(_) | Action::Drop => (NO, 0),
    };
    GuardRule {
        source,
        source_mask,
        destination,
        destination_mask,
        source_ports: [rule.source_ports.first, rule.source_ports.last],
        destination_ports: [rule.destination_ports.first, rule.destination_ports.last],
        protocol: rule.protocol.map_or(0, u32::from),
        protocol_counts: mask(rule.protocol.is_some()),
        ports_count: mask((rule.source_ports, rule.destination_ports) != (PortRange::ANY, PortRange::ANY)),
        version: if rule.source.address.is_ipv4() { 4 } else { 6 },
        exempts,
        jump,
    }
}

fn mask(condition: bool) -> u32 {
    if condition { YES } else { NO }
}

/// Network and mask in network order; bits behind the length are cleared.
fn network(prefix: Prefix) -> ([u32; 4], [u32; 4]) {
    let (address, mask) = match prefix.address {
        IpAddr::V4(address) => {
            let mask = !u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            ([address.to_bits().to_be(), 0, 0, 0], [mask.to_be(), 0, 0, 0])
        }
        IpAddr::V6(address) => {
            let mask = !u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            (words(address.to_bits()), words(mask))
        }
    };
    let mut network = address;
    network.iter_mut().zip(mask).for_each(|(word, mask)| *word &= mask);
    (network, mask)
}

/// An IPv6 address as the four words of the packet.
pub(super) fn words(address: u128) -> [u32; 4] {
    let octets = address.to_be_bytes();
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(octets.chunks_exact(4)) {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(chunk);
        *word = u32::from_ne_bytes(bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use sa_table::PolicyId;

    use super::*;

    fn rule(source: &str, length: u8, action: Action) -> Rule {
        let address: IpAddr = source.parse().unwrap();
        Rule {
            source: Prefix { address, length },
            destination: Prefix { address, length: 0 },
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::single(443),
            action,
        }
    }

    #[test]
    fn a_jump_becomes_an_index_of_the_whole_table() {
        let list = [rule("10.0.0.0", 8, Action::Jump(2)), rule("10.0.0.0", 8, Action::Protect(PolicyId(1)))];
        let guard = translate(&list, 100).unwrap();
        assert_eq!((guard[0].exempts, guard[0].jump), (YES, 102));
        assert_eq!((guard[1].exempts, guard[1].destination_ports), (NO, [443, 443]));
    }

    #[test]
    fn a_jump_beyond_the_list_ends_it() {
        let guard = translate(&[rule("10.0.0.0", 8, Action::Jump(900))], 7).unwrap();
        assert_eq!(guard[0].jump, 8);
    }

    #[test]
    fn networks_stand_in_packet_order_without_host_bits() {
        let guard = translate(&[rule("10.1.2.3", 16, Action::Drop)], 0).unwrap();
        assert_eq!(guard[0].source, [u32::from_ne_bytes([10, 1, 0, 0]), 0, 0, 0]);
        assert_eq!(guard[0].source_mask, [u32::from_ne_bytes([255, 255, 0, 0]), 0, 0, 0]);
        assert_eq!(guard[0].destination_mask, [0; 4]);
        let v6 = translate(&[rule("2001:db8:1:2:3::", 36, Action::Drop)], 0).unwrap();
        assert_eq!(v6[0].source[0], u32::from_ne_bytes([0x20, 1, 0x0d, 0xb8]));
        assert_eq!(v6[0].source_mask[1], u32::from_ne_bytes([0xf0, 0, 0, 0]));
        assert_eq!(v6[0].version, 6);
    }

    #[test]
    fn a_list_that_cannot_be_walked_is_refused() {
        let list = vec![rule("10.0.0.0", 8, Action::Drop); MAX_RULES_PER_PORT as usize + 1];
        assert!(translate(&list, 0).is_none());
    }
}
