//! Address prefixes and port ranges.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP prefix. [`Prefix::new`], [`Prefix::v4`] and [`Prefix::v6`] clear the host bits; where the
/// fields are filled directly, bits behind `length` are ignored by [`Prefix::contains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Network address.
    pub address: IpAddr,
    /// Leading bits that count, at most 32 for IPv4 and 128 for IPv6.
    pub length: u8,
}

impl Prefix {
    /// A prefix of either family; host bits are cleared, a length above that of the family counts
    /// as that of the family.
    pub fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address, length),
            IpAddr::V6(address) => Self::v6(address, length),
        }
    }

    /// An IPv4 prefix; host bits of `address` are cleared. `length` above 32 counts as 32.
    pub fn v4(address: Ipv4Addr, length: u8) -> Self {
        let length = length.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        Self { address: IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask)), length }
    }

    /// An IPv6 prefix; host bits of `address` are cleared. `length` above 128 counts as 128.
    pub fn v6(address: Ipv6Addr, length: u8) -> Self {
        let length = length.min(128);
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Self { address: IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask)), length }
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

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

    /// The dotted IPv4 mask of this length.
    pub fn mask(length: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0))
    }

    /// The length of a contiguous IPv4 mask, `None` for a mask with holes.
    pub fn mask_length(mask: Ipv4Addr) -> Option<u8> {
        let bits = u32::from(mask);
        let ones = bits.leading_ones();
        (bits.count_ones() == ones).then_some(ones as u8)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An inclusive range of ports, or of ICMP type and code where the protocol is ICMP (RFC 4301
/// §4.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// Lowest port, native byte order.
    pub first: u16,
    /// Highest port, native byte order.
    pub last: u16,
}

impl PortRange {
    /// Every port, also for protocols without ports.
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// Exactly one port.
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether `port` is inside.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Both ends in one word, `first` in the high half: the form of shared segments.
    pub const fn to_bits(self) -> u32 {
        (self.first as u32) << 16 | self.last as u32
    }

    /// The range of a word.
    pub const fn from_bits(bits: u32) -> Self {
        Self { first: (bits >> 16) as u16, last: bits as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_what_shares_its_leading_bits() {
        let contains = |address: &str, length: u8, other: &str| {
            Prefix::new(address.parse().unwrap(), length).contains(other.parse().unwrap())
        };
        assert!(contains("10.1.2.3", 8, "10.255.0.1") && !contains("10.1.2.3", 9, "10.255.0.1"));
        assert!(contains("0.0.0.0", 0, "203.0.113.1") && !contains("0.0.0.0", 0, "2001:db8::1"));
        assert!(
            contains("2001:db8::", 32, "2001:db8:ffff::1") && !contains("2001:db8::", 128, "2001:db8::1")
        );
        assert!(
            Prefix { address: "10.1.2.3".parse().unwrap(), length: 24 }
                .contains("10.1.2.77".parse().unwrap())
        );
    }

    #[test]
    fn host_bits_are_cleared_and_masks_have_no_holes() {
        assert_eq!(Prefix::new("192.0.2.77".parse().unwrap(), 24).to_string(), "192.0.2.0/24");
        assert_eq!(Prefix::new("2001:db8::1".parse().unwrap(), 200).length, 128);
        assert_eq!(Prefix::mask(20).to_string(), "255.255.240.0");
        assert_eq!(Prefix::mask_length(Ipv4Addr::new(255, 255, 240, 0)), Some(20));
        assert_eq!(Prefix::mask_length(Ipv4Addr::new(255, 0, 255, 0)), None);
    }
}
