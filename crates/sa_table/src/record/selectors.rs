//! Traffic selectors of an SA as negotiated (RFC 7296 §2.9, RFC 4301 §4.4.1).

use core::net::IpAddr;

use ipsec_types::PortRange;

/// Largest number of selector pairs of one SA.
pub const MAX_SELECTOR_PAIRS: usize = 8;

/// An inclusive range of addresses of one family. The ends are of one family in every valid range;
/// a range of two families contains nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// Lowest address.
    pub first: IpAddr,
    /// Highest address.
    pub last: IpAddr,
}

impl AddressRange {
    /// Whether `address` is inside and of the same family.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, self.last, address) {
            (IpAddr::V4(first), IpAddr::V4(last), IpAddr::V4(address)) => first <= address && address <= last,
            (IpAddr::V6(first), IpAddr::V6(last), IpAddr::V6(address)) => first <= address && address <= last,
            _ => false,
        }
    }
}

/// One end of a selector pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    /// Addresses of this end.
    pub addresses: AddressRange,
    /// Ports of this end.
    pub ports: PortRange,
}

/// The packets that one selector pair matches, seen from this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectorPair {
    /// IP protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Our side: source of outbound, destination of inbound packets.
    pub local: TrafficSelector,
    /// The peer's side: destination of outbound, source of inbound packets.
    pub remote: TrafficSelector,
}

/// Up to [`MAX_SELECTOR_PAIRS`] selector pairs, without allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Selectors {
    pairs: [Option<SelectorPair>; MAX_SELECTOR_PAIRS],
}

impl Selectors {
    /// The pairs in the order given; `None` when there are none or more than
    /// [`MAX_SELECTOR_PAIRS`].
    pub fn new(pairs: &[SelectorPair]) -> Option<Self> {
        if pairs.is_empty() || pairs.len() > MAX_SELECTOR_PAIRS {
            return None;
        }
        let mut selectors = Self { pairs: [None; MAX_SELECTOR_PAIRS] };
        for (entry, pair) in selectors.pairs.iter_mut().zip(pairs) {
            *entry = Some(*pair);
        }
        Some(selectors)
    }

    /// One pair.
    pub fn single(pair: SelectorPair) -> Self {
        let mut pairs = [None; MAX_SELECTOR_PAIRS];
        pairs[0] = Some(pair);
        Self { pairs }
    }

    /// The pairs in their negotiated order, at least one.
    pub fn iter(&self) -> impl Iterator<Item = &SelectorPair> {
        self.pairs.iter().flatten()
    }

    /// Whether a packet matches any pair; ports are 0 for protocols without ports.
    pub fn contains(&self, local: (IpAddr, u16), remote: (IpAddr, u16), protocol: u8) -> bool {
        self.iter().any(|pair| {
            pair.protocol.is_none_or(|wanted| wanted == protocol)
                && pair.local.addresses.contains(local.0)
                && pair.local.ports.contains(local.1)
                && pair.remote.addresses.contains(remote.0)
                && pair.remote.ports.contains(remote.1)
        })
    }
}

impl core::fmt::Debug for Selectors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(first: &str, last: &str) -> TrafficSelector {
        TrafficSelector {
            addresses: AddressRange { first: first.parse().unwrap(), last: last.parse().unwrap() },
            ports: PortRange::ANY,
        }
    }

    #[test]
    fn a_packet_needs_both_ends_and_the_protocol_of_one_pair() {
        let tcp = SelectorPair {
            protocol: Some(6),
            local: ends("10.0.0.0", "10.0.0.255"),
            remote: TrafficSelector { ports: PortRange::single(443), ..ends("192.0.2.1", "192.0.2.1") },
        };
        let six = SelectorPair {
            protocol: None,
            local: ends("2001:db8::", "2001:db8::ff"),
            remote: ends("::", "::"),
        };
        let selectors = Selectors::new(&[tcp, six]).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(selectors.contains((ip("10.0.0.7"), 5000), (ip("192.0.2.1"), 443), 6));
        assert!(!selectors.contains((ip("10.0.0.7"), 5000), (ip("192.0.2.1"), 444), 6));
        assert!(!selectors.contains((ip("10.0.0.7"), 5000), (ip("192.0.2.1"), 443), 17));
        assert!(!selectors.contains((ip("10.0.1.7"), 5000), (ip("192.0.2.1"), 443), 6));
        assert!(selectors.contains((ip("2001:db8::1"), 0), (ip("::"), 0), 58));
        assert!(!selectors.contains((ip("2001:db8::1"), 0), (ip("192.0.2.1"), 0), 58), "families do not mix");
    }

    #[test]
    fn no_pairs_or_too_many_are_refused() {
        let pair = SelectorPair { protocol: None, local: ends("::", "::"), remote: ends("::", "::") };
        assert_eq!(Selectors::new(&[]), None);
        assert_eq!(Selectors::new(&[pair; MAX_SELECTOR_PAIRS + 1]), None);
        assert_eq!(Selectors::new(&[pair; MAX_SELECTOR_PAIRS]).unwrap().iter().count(), MAX_SELECTOR_PAIRS);
    }
}
