//! The Internet checksum: full (RFC 1071), incremental (RFC 1624) and over pseudo headers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A running one's complement sum. Byte order independent as RFC 1071 §2 (B) describes; words are
/// taken big-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `bytes`. An odd length is padded with a zero byte, so only the last piece may have one.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        // 32-bit words into a 64-bit sum: no carry is lost before 2^32 words, far beyond any
        // packet.
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        sum += match *rest {
            [a] => u64::from(a) << 8,
            [a, b] => u64::from(u16::from_be_bytes([a, b])),
            [a, b, c] => u64::from(u16::from_be_bytes([a, b])) + (u64::from(c) << 8),
            _ => 0,
        };
        // Folded once so that any number of pieces can be added.
        Self((sum & 0xffff_ffff) + (sum >> 32))
    }

    /// Adds one 16-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds a 32-bit value, two words.
    #[inline(always)]
    #[must_use]
    pub const fn u32(self, value: u32) -> Self {
        Self(self.0 + value as u64)
    }

    /// The folded sum, not complemented.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        let mut sum = self.0;
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// The checksum: complement of the folded sum.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The Internet checksum of `bytes`. Over a header whose checksum field is filled in it is 0 when
/// the header is intact.
#[inline]
pub fn internet(bytes: &[u8]) -> u16 {
    Sum::new().bytes(bytes).checksum()
}

/// The checksum after one 16-bit word of the covered data changed from `old` to `new` (RFC 1624 §3,
/// equation 3).
#[inline(always)]
#[must_use]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::new().word(!checksum).word(!old).word(new).checksum()
}

/// The checksum after a 32-bit value at an even offset changed.
#[inline(always)]
#[must_use]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    Sum::new().word(!checksum).u32(!old).u32(new).checksum()
}

/// Sum over the IPv4 pseudo header (RFC 768, RFC 9293 §3.1). `length` is that of the upper-layer
/// packet in bytes.
#[inline]
pub fn pseudo_header_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    Sum::new().u32(u32::from(source)).u32(u32::from(destination)).word(u16::from(protocol)).word(length)
}

/// Sum over the IPv6 pseudo header (RFC 8200 §8.1). `length` is that of the upper-layer packet in
/// bytes.
#[inline]
pub fn pseudo_header_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> Sum {
    Sum::new().bytes(&source.octets()).bytes(&destination.octets()).u32(length).word(u16::from(protocol))
}

/// Sum over the pseudo header of either version; `None` when the addresses are of different
/// versions or an IPv4 length exceeds 65535.
#[inline]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u32) -> Option<Sum> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(pseudo_header_v4(source, destination, protocol, u16::try_from(length).ok()?))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(pseudo_header_v6(source, destination, protocol, length))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
