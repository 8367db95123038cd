//! Resolver answers and the check of their addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of addresses considered in one answer.
pub const MAX_ADDRESSES: usize = 16;

/// An answer of the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The addresses of both families, in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// How long they are valid.
    pub ttl: Duration,
}

/// Why there is no answer; the text is logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// `no ip domain lookup`.
    #[error("the name service is switched off; type \"ip domain lookup\", or \"ip host\" with its address")]
    Off,
    /// No server answered in time.
    #[error("the name service does not answer; check \"ip name-server\"")]
    Timeout,
    /// There is no such name, or it has no address.
    #[error("the name does not resolve")]
    NotFound,
    /// The query failed.
    #[error("the name does not resolve: {0}")]
    Service(String),
}

/// The accepted part of an answer: the first usable address of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    pub(super) v4: Option<IpAddr>,
    pub(super) v6: Option<IpAddr>,
    /// The rejected addresses with the reason, for the log.
    pub remarks: Vec<String>,
}

impl Usable {
    /// Checks an answer; `ours` are the addresses of this machine.
    pub fn of(addresses: &[IpAddr], ours: &BTreeSet<IpAddr>) -> Self {
        let mut usable = Usable::default();
        for address in addresses.iter().take(MAX_ADDRESSES) {
            if let Some(reason) = unusable(*address, ours) {
                usable.remarks.push(format!("{address} is not used: it is {reason}"));
                continue;
            }
            let slot = if address.is_ipv6() { &mut usable.v6 } else { &mut usable.v4 };
            slot.get_or_insert(*address);
        }
        if addresses.len() > MAX_ADDRESSES {
            let count = addresses.len();
            usable
                .remarks
                .push(format!("{count} addresses, of which the first {MAX_ADDRESSES} were looked at"));
        }
        usable
    }

    /// The address of one family.
    pub fn address(&self, v6: bool) -> Option<IpAddr> {
        if v6 { self.v6 } else { self.v4 }
    }

    /// Whether no address is usable.
    pub fn is_empty(&self) -> bool {
        self.v4.or(self.v6).is_none()
    }
}

/// Why the address cannot belong to a peer.
fn unusable(address: IpAddr, ours: &BTreeSet<IpAddr>) -> Option<&'static str> {
    let canonical = address.to_canonical();
    if ours.contains(&canonical) || ours.contains(&address) {
        return Some("our own address");
    }
    if address != canonical {
        return Some("an IPv4 address in IPv6 form");
    }
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("no address of a host"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ if address.is_unspecified() => Some("no address of a host"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn lies_are_told_apart_and_each_has_its_reason() {
        let ours = BTreeSet::from(["10.9.9.9".parse().unwrap(), "2001:db8::9".parse().unwrap()]);
        let lies = [
            ("0.0.0.0", "no address"),
            ("0.1.2.3", "no address"),
            ("::", "no address"),
            ("127.0.0.1", "loopback"),
            ("127.8.8.8", "loopback"),
            ("::1", "loopback"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("fe80::1", "link-local"),
            ("::ffff:10.1.1.1", "IPv4 address in IPv6"),
            ("10.9.9.9", "our own"),
            ("::ffff:10.9.9.9", "our own"),
            ("2001:db8::9", "our own"),
        ];
        for (lie, reason) in lies {
            let usable = Usable::of(&addresses(&[lie]), &ours);
            assert!(usable.is_empty(), "{lie}");
            assert!(usable.remarks[0].contains(reason), "{lie}: {:?}", usable.remarks);
        }
        let mixed = Usable::of(&addresses(&["127.0.0.1", "10.1.1.1", "10.2.2.2", "2001:db8::1"]), &ours);
        assert_eq!(mixed.address(false), Some("10.1.1.1".parse().unwrap()), "the first that can be used");
        assert_eq!(mixed.address(true), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_hundred_addresses_are_looked_at_within_a_bound() {
        let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([127, 0, 0, n])).collect();
        let usable = Usable::of(&many, &BTreeSet::new());
        assert!(usable.is_empty());
        assert_eq!(usable.remarks.len(), MAX_ADDRESSES + 1);
        assert!(usable.remarks.last().unwrap().contains("100 addresses"), "{:?}", usable.remarks.last());
    }
}
