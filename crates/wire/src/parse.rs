//! One parse of a frame: everything that classification needs, in one small [`FrameSummary`].
//!
//! The walk only reads through [`Load`], never indexes and loops a bounded number of times, so that the same code runs
//! in the data plane over a slice and in the XDP program over packet memory. Checksums are not verified here; see
//! [`crate::ipv4::Packet::checksum_ok`].

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::protocol;

#[cfg(test)]
mod tests;

/// IPv6 extension headers that are walked before a packet is refused. Real packets carry at most four.
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

/// Why a frame has no summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// The frame ends inside the Ethernet header or a VLAN tag.
    TruncatedLink,
    /// The frame ends inside the IP header or an extension header.
    TruncatedIp,
    /// The IP version nibble contradicts the ethertype, or is neither 4 nor 6.
    BadVersion,
    /// The IPv4 header length is below 20 bytes or beyond the total length.
    BadHeaderLength,
    /// The length in the IP header is more than the frame holds, or less than the headers need.
    BadTotalLength,
    /// More than [`MAX_EXTENSION_HEADERS`] extension headers, or a hop-by-hop header that is not the first.
    BadExtension,
    /// A fragment that ends beyond 65535 bytes, or an inner fragment whose length is not a multiple of 8.
    BadFragment,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TruncatedLink => "frame ends inside the Ethernet header",
            Self::TruncatedIp => "frame ends inside the IP header",
            Self::BadVersion => "IP version does not fit",
            Self::BadHeaderLength => "IPv4 header length is out of range",
            Self::BadTotalLength => "IP length does not fit the frame",
            Self::BadExtension => "IPv6 extension headers are out of order or too many",
            Self::BadFragment => "fragment offset and length are impossible",
        })
    }
}

impl core::error::Error for ParseError {}

/// The link layer of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSummary {
    /// Bytes of Ethernet header and tags: 14, 18 or 22. The network header starts here.
    pub len: u16,
    /// Ethertype behind the tags.
    pub ethertype: u16,
    /// VLAN identifier of the outer 802.1Q or 802.1ad tag.
    pub vlan: Option<u16>,
    /// VLAN identifier of the inner tag when there are two.
    pub inner_vlan: Option<u16>,
}

/// What the upper-layer header says that selectors look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upper {
    /// TCP, UDP, SCTP, DCCP or UDP-Lite.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Message type.
        kind: u8,
        /// Message code.
        code: u8,
    },
    /// ESP.
    Esp {
        /// Security parameters index.
        spi: u32,
    },
    /// Another protocol: no ports by nature.
    Other,
    /// A fragment that is not the first: the upper header is elsewhere. For IPv6 the protocol may itself be an extension
    /// header of the fragmentable part.
    LaterFragment,
    /// The packet ends before the fields of its protocol: a tiny first fragment (RFC 1858) or garbage. Must never match a
    /// selector that names ports.
    Truncated,
}

/// Fragmentation fields. For an unfragmented packet all are zero except possibly `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FragmentSummary {
    /// Identification: 16 bits for IPv4, 32 bits from the fragment header for IPv6.
    pub id: u32,
    /// Offset of this fragment's payload in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// The packet carries an IPv6 fragment header (also true for an atomic fragment, RFC 6946).
    pub has_header: bool,
}

impl FragmentSummary {
    /// Whether the packet is one of several fragments.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.more || self.offset != 0
    }

    /// Whether the packet is the first of several fragments.
    #[inline(always)]
    pub const fn is_first(&self) -> bool {
        self.more && self.offset == 0
    }

    /// Whether the packet is a fragment without the upper-layer header.
    #[inline(always)]
    pub const fn is_later(&self) -> bool {
        self.offset != 0
    }
}

/// An IP packet, offsets relative to the first byte of its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpSummary {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Length of the whole IP packet in bytes, headers included; never more than the frame holds. Link padding follows it.
    pub total_len: u32,
    /// Bytes of IP header with options or extension headers: the upper header starts here.
    pub header_len: u16,
    /// Upper protocol ([`crate::protocol`]); for IPv6 behind the extension headers.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// DSCP and ECN: the IPv4 TOS byte or the IPv6 traffic class.
    pub traffic_class: u8,
    /// IPv4 DF; always true for IPv6, which no router fragments.
    pub dont_fragment: bool,
    /// IPv4 options are present, or an IPv6 hop-by-hop header is.
    pub has_options: bool,
    /// Fragmentation fields.
    pub fragment: FragmentSummary,
    /// Ports, ICMP type or SPI.
    pub upper: Upper,
}

impl IpSummary {
    /// Differentiated services code point, 0..=63.
    #[inline(always)]
    pub const fn dscp(&self) -> u8 {
        self.traffic_class >> 2
    }

    /// ECN field, 0..=3 (RFC 3168).
    #[inline(always)]
    pub const fn ecn(&self) -> u8 {
        self.traffic_class & 3
    }

    /// Whether this is IPv4 (else IPv6).
    #[inline(always)]
    pub const fn is_ipv4(&self) -> bool {
        matches!(self.source, IpAddr::V4(_))
    }

    /// Bytes behind the IP headers.
    #[inline(always)]
    pub const fn payload_len(&self) -> usize {
        (self.total_len as usize).saturating_sub(self.header_len as usize)
    }

    /// Source and destination port, when the packet shows them.
    #[inline(always)]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self.upper {
            Upper::Ports { source, destination } => Some((source, destination)),
            _ => None,
        }
    }
}

/// A frame: its link layer and, when it is IPv4 or IPv6, its IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSummary {
    /// Ethernet header and tags.
    pub link: LinkSummary,
    /// `None` when the ethertype is neither IPv4 nor IPv6.
    pub ip: Option<IpSummary>,
}

impl FrameSummary {
    /// Offset of the network header in the frame.
    #[inline(always)]
    pub const fn l3_offset(&self) -> usize {
        self.link.len as usize
    }

    /// Offset of the upper-layer header in the frame; `None` when the frame is not IP.
    #[inline(always)]
    pub const fn l4_offset(&self) -> Option<usize> {
        match &self.ip {
            Some(ip) => Some(self.link.len as usize + ip.header_len as usize),
            None => None,
        }
    }

    /// Offset of the first byte behind the IP packet (link padding may follow); `None` when the frame is not IP.
    #[inline(always)]
    pub const fn l3_end(&self) -> Option<usize> {
        match &self.ip {
            Some(ip) => Some(self.link.len as usize + ip.total_len as usize),
            None => None,
        }
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

/// Parses the IP packet that starts at `offset`, whichever version it is. Used for decrypted packets and the punt port.
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

/// Parses the IPv6 packet that starts at `offset` and walks its extension headers (RFC 8200 §3, §4).
///
/// Jumbograms (RFC 2675) are refused: their payload length of zero contradicts the bytes that follow.
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

/// The reassembled packet must fit 65535 bytes (the "ping of death"), and only the last fragment may have an odd length.
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
