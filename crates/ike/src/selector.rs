//! Traffic selectors (RFC 7296 §2.9, §3.13) and their narrowing.

use std::fmt;
use std::net::IpAddr;

use crate::identity::prefix_contains;

/// A set of packets as seen from one end: protocol × address range × port range.
///
/// For ICMP and ICMPv6 the port fields hold type and code in one number, type in the high octet
/// (RFC 7296 §3.13.1). The pair start 65535, end 0 means OPAQUE: packets whose ports are not
/// visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// First port.
    pub start_port: u16,
    /// Last port, included.
    pub end_port: u16,
    /// First address.
    pub start: IpAddr,
    /// Last address, included, of the same family as `start`.
    pub end: IpAddr,
}

impl TrafficSelector {
    /// All protocols and ports of the addresses `address`/`length`. Host bits of `address` are
    /// ignored.
    pub fn prefix(address: IpAddr, length: u8) -> Self {
        let (start, end) = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32u32.saturating_sub(length.into())).unwrap_or(0);
                let network = u32::from(address) & mask;
                (IpAddr::V4(network.into()), IpAddr::V4((network | !mask).into()))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128u32.saturating_sub(length.into())).unwrap_or(0);
                let network = u128::from(address) & mask;
                (IpAddr::V6(network.into()), IpAddr::V6((network | !mask).into()))
            }
        };
        TrafficSelector { protocol: 0, start_port: 0, end_port: u16::MAX, start, end }
    }

    /// All protocols and ports of one address.
    pub fn host(address: IpAddr) -> Self {
        Self::prefix(address, 128)
    }

    /// The same addresses, only this protocol (0 is any).
    #[must_use]
    pub fn with_protocol(self, protocol: u8) -> Self {
        TrafficSelector { protocol, ..self }
    }

    /// The same addresses and protocol, only these ports.
    #[must_use]
    pub fn with_ports(self, start_port: u16, end_port: u16) -> Self {
        TrafficSelector { start_port, end_port, ..self }
    }

    /// The packets that both sets contain, or `None` if there are none.
    pub fn intersection(&self, other: &TrafficSelector) -> Option<TrafficSelector> {
        if self.start.is_ipv4() != other.start.is_ipv4() {
            return None;
        }
        let protocol = match (self.protocol, other.protocol) {
            (0, protocol) | (protocol, 0) => protocol,
            (a, b) if a == b => a,
            _ => return None,
        };
        let (start_port, end_port) = self.port_intersection(other)?;
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start <= end).then_some(TrafficSelector { protocol, start_port, end_port, start, end })
    }

    /// Does this set contain all of `other`?
    pub fn contains(&self, other: &TrafficSelector) -> bool {
        self.intersection(other).is_some_and(|common| common == *other)
    }

    /// Well formed: both addresses of one family and in order, ports in order or OPAQUE.
    pub fn is_valid(&self) -> bool {
        self.start.is_ipv4() == self.end.is_ipv4()
            && self.start <= self.end
            && (self.start_port <= self.end_port || self.is_opaque())
    }

    fn is_opaque(&self) -> bool {
        (self.start_port, self.end_port) == (u16::MAX, 0)
    }

    fn all_ports(&self) -> bool {
        (self.start_port, self.end_port) == (0, u16::MAX)
    }

    fn port_intersection(&self, other: &TrafficSelector) -> Option<(u16, u16)> {
        // OPAQUE is inside ANY (RFC 4301 §4.4.1.1) and otherwise equal only to itself.
        if self.is_opaque() || other.is_opaque() {
            let both = self.is_opaque() && other.is_opaque();
            return (both || self.all_ports() || other.all_ports()).then_some((u16::MAX, 0));
        }
        let start = self.start_port.max(other.start_port);
        let end = self.end_port.min(other.end_port);
        (start <= end).then_some((start, end))
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match prefix_length(self.start, self.end) {
            Some(length) => write!(f, "{}/{length}", self.start)?,
            None => write!(f, "{}-{}", self.start, self.end)?,
        }
        if self.protocol != 0 {
            write!(f, "[{}", self.protocol)?;
            match (self.start_port, self.end_port) {
                (0, u16::MAX) => {}
                (u16::MAX, 0) => f.write_str("/opaque")?,
                (start, end) if start == end => write!(f, "/{start}")?,
                (start, end) => write!(f, "/{start}-{end}")?,
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// All non-empty intersections of two lists, without those that another one contains.
///
/// This is how a responder narrows (RFC 7296 §2.9) and how an initiator checks that it was answered
/// with a subset.
pub fn narrow(proposed: &[TrafficSelector], allowed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut result: Vec<TrafficSelector> = Vec::new();
    for common in proposed.iter().flat_map(|p| allowed.iter().filter_map(|a| p.intersection(a))) {
        if result.iter().any(|known| known.contains(&common)) {
            continue;
        }
        result.retain(|known| !common.contains(known));
        result.push(common);
    }
    result
}

/// Is each selector of `inner` inside one selector of `outer`?
pub fn is_subset(inner: &[TrafficSelector], outer: &[TrafficSelector]) -> bool {
    inner.iter().all(|i| outer.iter().any(|o| o.contains(i)))
}

fn prefix_length(start: IpAddr, end: IpAddr) -> Option<u8> {
    let bits = if start.is_ipv4() { 32 } else { 128 };
    (0..=bits).find(|&length| {
        let range = TrafficSelector::prefix(start, length);
        prefix_contains(start, length, end) && (range.start, range.end) == (start, end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> TrafficSelector {
        let (address, length) = text.split_once('/').unwrap();
        TrafficSelector::prefix(address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn intersection_is_the_smaller_of_nested_prefixes() {
        assert_eq!(net("10.0.0.0/8").intersection(&net("10.1.0.0/16")), Some(net("10.1.0.0/16")));
        assert_eq!(net("10.0.0.0/8").intersection(&net("11.0.0.0/8")), None);
        assert_eq!(net("0.0.0.0/0").intersection(&net("::/0")), None);
    }

    /// RFC 4301 §4.4.1.1 and, for ICMP's type and code as ports, RFC 7296 §3.13.1
    #[test]
    fn protocols_and_ports_narrow_too() {
        let tcp = net("10.0.0.0/8").with_protocol(6);
        let web = tcp.with_ports(80, 443);
        assert_eq!(net("10.0.0.0/8").intersection(&web), Some(web));
        assert_eq!(tcp.with_protocol(17).intersection(&web), None);
        assert_eq!(tcp.with_ports(444, 500).intersection(&web), None);
        let opaque = tcp.with_ports(u16::MAX, 0);
        assert_eq!(tcp.intersection(&opaque), Some(opaque));
        assert_eq!(web.intersection(&opaque), None);
        let icmp = net("10.0.0.0/8").with_protocol(1);
        let unreachable = icmp.with_ports(0x0300, 0x03ff);
        let too_big = icmp.with_ports(0x0304, 0x0304);
        assert_eq!(unreachable.intersection(&too_big), Some(too_big));
    }

    #[test]
    fn narrowing_drops_what_another_range_contains() {
        let proposed = [net("10.1.1.1/32"), net("10.1.0.0/16"), net("192.0.2.0/24")];
        assert_eq!(narrow(&proposed, &[net("10.0.0.0/8")]), [net("10.1.0.0/16")]);
    }

    #[test]
    fn display_prefers_a_prefix() {
        assert_eq!(net("10.1.0.0/16").to_string(), "10.1.0.0/16");
        assert_eq!(net("10.1.0.0/16").with_protocol(6).with_ports(80, 80).to_string(), "10.1.0.0/16[6/80]");
        let range = TrafficSelector { end: "10.1.0.5".parse().unwrap(), ..net("10.1.0.0/16") };
        assert_eq!(range.to_string(), "10.1.0.0-10.1.0.5");
    }

    fn selector() -> impl Strategy<Value = TrafficSelector> {
        (0u8..3, any::<(u8, u8)>(), any::<(u16, u16)>()).prop_map(|(protocol, (a, b), (p, q))| {
            TrafficSelector {
                protocol,
                start_port: p.min(q),
                end_port: p.max(q),
                start: IpAddr::from([10, 0, 0, a.min(b)]),
                end: IpAddr::from([10, 0, 0, a.max(b)]),
            }
        })
    }

    proptest! {
        #[test]
        fn an_intersection_is_inside_both_and_commutes(a in selector(), b in selector()) {
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            if let Some(common) = a.intersection(&b) {
                prop_assert!(a.contains(&common) && b.contains(&common) && common.is_valid());
            }
        }

        #[test]
        fn narrowing_yields_a_subset_of_both_lists(
            a in proptest::collection::vec(selector(), 0..4), b in proptest::collection::vec(selector(), 0..4)
        ) {
            let narrowed = narrow(&a, &b);
            prop_assert!(is_subset(&narrowed, &a) && is_subset(&narrowed, &b));
        }
    }
}
