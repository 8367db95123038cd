//! One parse of a frame: everything that classification needs, in one small [`FrameSummary`].
//!
//! The walk only reads through [`Load`], never indexes and loops a bounded number of times.
//! Checksums are not verified here; see [`crate::ipv4::Packet::checksum_ok`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::protocol;

mod summary;
#[cfg(test)]
mod tests;

pub use summary::{FragmentSummary, FrameSummary, IpSummary, LinkSummary, ParseError, Upper};

/// IPv6 extension headers that are walked before a packet is refused. Real packets carry at most
/// four.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Bounds-checked reads from packet memory.
pub trait Load {
    /// The `N` bytes at `offset`, `None` when they are not all inside the packet.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
    /// Bytes that the packet has in total.
    fn available(&self) -> usize;
}

impl Load for [u8] {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk::<N>().copied()
    }

    #[inline(always)]
    fn available(&self) -> usize {
        self.len()
    }
}

/// Parses an Ethernet frame.
#[inline(always)]
pub fn frame<L: Load + ?Sized>(frame: &L) -> Result<FrameSummary, ParseError> {
    let link = link(frame)?;
    let ip = match link.ethertype {
        ETHERTYPE_IPV4 => Some(ipv4_at(frame, link.len as usize)?),
        ETHERTYPE_IPV6 => Some(ipv6_at(frame, link.len as usize)?),
        _ => None,
    };
    Ok(FrameSummary { link, ip })
}

/// Parses the Ethernet header and up to two VLAN tags.
#[inline(always)]
pub fn link<L: Load + ?Sized>(frame: &L) -> Result<LinkSummary, ParseError> {
    let mut link =
        LinkSummary { len: ethernet::HEADER_LEN as u16, ethertype: 0, vlan: None, inner_vlan: None };
    link.ethertype = u16_at(frame, ethernet::ETHERTYPE_OFFSET).ok_or(ParseError::TruncatedLink)?;
    if ethernet::is_tag(link.ethertype) {
        let [control_high, control_low, type_high, type_low] =
            frame.load::<4>(ethernet::HEADER_LEN).ok_or(ParseError::TruncatedLink)?;
        link.vlan = Some(u16::from_be_bytes([control_high, control_low]) & ethernet::VLAN_ID_MASK);
        link.ethertype = u16::from_be_bytes([type_high, type_low]);
        link.len += ethernet::TAG_LEN as u16;
    }
    if link.vlan.is_some() && ethernet::is_tag(link.ethertype) {
        let [control_high, control_low, type_high, type_low] =
            frame.load::<4>(ethernet::HEADER_LEN + ethernet::TAG_LEN).ok_or(ParseError::TruncatedLink)?;
        link.inner_vlan = Some(u16::from_be_bytes([control_high, control_low]) & ethernet::VLAN_ID_MASK);
        link.ethertype = u16::from_be_bytes([type_high, type_low]);
        link.len += ethernet::TAG_LEN as u16;
    }
    Ok(link)
}

/// Parses the IP packet that starts at `offset`, whichever version it is. Used for decrypted
/// packets and the punt port.
#[inline(always)]
pub fn ip_at<L: Load + ?Sized>(packet: &L, offset: usize) -> Result<IpSummary, ParseError> {
    match packet.load::<1>(offset).ok_or(ParseError::TruncatedIp)?[0] >> 4 {
        4 => ipv4_at(packet, offset),
        6 => ipv6_at(packet, offset),
        _ => Err(ParseError::BadVersion),
    }
}

/// Parses the IPv4 packet that starts at `offset` (RFC 791 §3.1).
#[inline(always)]
pub fn ipv4_at<L: Load + ?Sized>(packet: &L, offset: usize) -> Result<IpSummary, ParseError> {
    let header: [u8; 20] = packet.load(offset).ok_or(ParseError::TruncatedIp)?;
    if header[0] >> 4 != 4 {
        return Err(ParseError::BadVersion);
    }
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < header.len() {
        return Err(ParseError::BadHeaderLength);
    }
    if total_len > packet.available().saturating_sub(offset) {
        return Err(ParseError::BadTotalLength);
    }
    if header_len > total_len {
        return Err(ParseError::BadHeaderLength);
    }
    let flags_and_offset = u16::from_be_bytes([header[6], header[7]]);
    let fragment = FragmentSummary {
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
        offset: (flags_and_offset & 0x1fff) << 3,
        more: flags_and_offset & 0x2000 != 0,
        has_header: false,
    };
    check_fragment(&fragment, header_len, total_len - header_len)?;
    let protocol = header[9];
    Ok(IpSummary {
        source: IpAddr::V4(Ipv4Addr::new(header[12], header[13], header[14], header[15])),
        destination: IpAddr::V4(Ipv4Addr::new(header[16], header[17], header[18], header[19])),
        total_len: total_len as u32,
        header_len: header_len as u16,
        protocol,
        ttl: header[8],
        traffic_class: header[1],
        dont_fragment: flags_and_offset & 0x4000 != 0,
        has_options: header_len > header.len(),
        upper: upper(packet, offset, header_len, total_len, protocol, &fragment),
        fragment,
    })
}

/// Parses the IPv6 packet that starts at `offset` and walks its extension headers (RFC 8200 §3,
/// §4).
///
/// Jumbograms (RFC 2675) are refused: their payload length of zero contradicts the bytes that
/// follow.
#[inline(always)]
pub fn ipv6_at<L: Load + ?Sized>(packet: &L, offset: usize) -> Result<IpSummary, ParseError> {
    let header: [u8; 40] = packet.load(offset).ok_or(ParseError::TruncatedIp)?;
    if header[0] >> 4 != 6 {
        return Err(ParseError::BadVersion);
    }
    let total_len = header.len() + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if total_len > packet.available().saturating_sub(offset) {
        return Err(ParseError::BadTotalLength);
    }
    let walk = walk_extensions(packet, offset, header[6], total_len)?;
    let mut source = [0; 16];
    source.copy_from_slice(&header[8..24]);
    let mut destination = [0; 16];
    destination.copy_from_slice(&header[24..40]);
    Ok(IpSummary {
        source: IpAddr::V6(Ipv6Addr::from(source)),
        destination: IpAddr::V6(Ipv6Addr::from(destination)),
        total_len: total_len as u32,
        header_len: walk.header_len as u16,
        protocol: walk.protocol,
        ttl: header[7],
        traffic_class: (header[0] << 4) | (header[1] >> 4),
        dont_fragment: true,
        has_options: walk.has_hop_by_hop,
        fragment: walk.fragment,
        upper: upper(packet, offset, walk.header_len, total_len, walk.protocol, &walk.fragment),
    })
}

struct ExtensionWalk {
    header_len: usize,
    protocol: u8,
    has_hop_by_hop: bool,
    fragment: FragmentSummary,
}

#[inline(always)]
fn walk_extensions<L: Load + ?Sized>(
    packet: &L,
    offset: usize,
    first: u8,
    total_len: usize,
) -> Result<ExtensionWalk, ParseError> {
    let mut walk = ExtensionWalk {
        header_len: 40,
        protocol: first,
        has_hop_by_hop: false,
        fragment: FragmentSummary::default(),
    };
    for index in 0..=MAX_EXTENSION_HEADERS {
        let is_fragment_header = walk.protocol == protocol::FRAGMENT;
        let is_hop_by_hop = walk.protocol == protocol::HOP_BY_HOP;
        let is_extension = is_fragment_header
            || is_hop_by_hop
            || walk.protocol == protocol::ROUTING
            || walk.protocol == protocol::DESTINATION_OPTIONS;
        if !is_extension {
            return Ok(walk);
        }
        if index == MAX_EXTENSION_HEADERS || (is_hop_by_hop && index != 0) {
            return Err(ParseError::BadExtension);
        }
        let extension: [u8; 8] = packet.load(offset + walk.header_len).ok_or(ParseError::TruncatedIp)?;
        let extension_len = if is_fragment_header { 8 } else { (usize::from(extension[1]) + 1) * 8 };
        walk.header_len += extension_len;
        if walk.header_len > total_len {
            return Err(ParseError::TruncatedIp);
        }
        walk.protocol = extension[0];
        walk.has_hop_by_hop |= is_hop_by_hop;
        if is_fragment_header {
            if walk.fragment.has_header {
                return Err(ParseError::BadExtension);
            }
            let offset_and_more = u16::from_be_bytes([extension[2], extension[3]]);
            walk.fragment = FragmentSummary {
                id: u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]),
                offset: offset_and_more & 0xfff8,
                more: offset_and_more & 1 != 0,
                has_header: true,
            };
            check_fragment(&walk.fragment, walk.header_len, total_len - walk.header_len)?;
            if walk.fragment.is_later() {
                return Ok(walk);
            }
        }
    }
    Err(ParseError::BadExtension)
}

/// The reassembled packet must fit 65535 bytes (the "ping of death"), and only the last fragment
/// may have an odd length.
#[inline(always)]
fn check_fragment(
    fragment: &FragmentSummary,
    header_len: usize,
    payload_len: usize,
) -> Result<(), ParseError> {
    if !fragment.is_fragment() {
        return Ok(());
    }
    let end = header_len + usize::from(fragment.offset) + payload_len;
    if end > usize::from(u16::MAX) || (fragment.more && (payload_len == 0 || !payload_len.is_multiple_of(8)))
    {
        return Err(ParseError::BadFragment);
    }
    Ok(())
}

#[inline(always)]
fn upper<L: Load + ?Sized>(
    packet: &L,
    offset: usize,
    header_len: usize,
    total_len: usize,
    number: u8,
    fragment: &FragmentSummary,
) -> Upper {
    if fragment.is_later() {
        return Upper::LaterFragment;
    }
    let is_icmp = number == protocol::ICMP || number == protocol::ICMPV6;
    let is_esp = number == protocol::ESP;
    if !(is_icmp || is_esp || protocol::has_ports(number)) {
        return Upper::Other;
    }
    if total_len - header_len < 4 {
        return Upper::Truncated;
    }
    let Some(word) = packet.load::<4>(offset + header_len) else { return Upper::Truncated };
    if is_icmp {
        Upper::Icmp { kind: word[0], code: word[1] }
    } else if is_esp {
        Upper::Esp { spi: u32::from_be_bytes(word) }
    } else {
        Upper::Ports {
            source: u16::from_be_bytes([word[0], word[1]]),
            destination: u16::from_be_bytes([word[2], word[3]]),
        }
    }
}

#[inline(always)]
fn u16_at<L: Load + ?Sized>(packet: &L, offset: usize) -> Option<u16> {
    packet.load::<2>(offset).map(u16::from_be_bytes)
}
