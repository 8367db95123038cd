//! What one parse yields.

use core::fmt;
use core::net::IpAddr;

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
    /// More than [`MAX_EXTENSION_HEADERS`](super::MAX_EXTENSION_HEADERS) extension headers, or a
    /// hop-by-hop header that is not the first.
    BadExtension,
    /// A fragment that ends beyond 65535 bytes, or an inner fragment whose length is not a multiple
    /// of 8.
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

/// Fields of the upper-layer header that selectors use.
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
    /// A fragment that is not the first: the upper header is elsewhere. For IPv6 the protocol may
    /// itself be an extension header of the fragmentable part.
    LaterFragment,
    /// The packet ends before the fields of its protocol: a tiny first fragment (RFC 1858) or
    /// garbage. Must never match a selector that names ports.
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
    /// Length of the whole IP packet in bytes, headers included; never more than the frame holds.
    /// Link padding follows it.
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

    /// Offset of the first byte behind the IP packet (link padding may follow); `None` when the
    /// frame is not IP.
    #[inline(always)]
    pub const fn l3_end(&self) -> Option<usize> {
        match &self.ip {
            Some(ip) => Some(self.link.len as usize + ip.total_len as usize),
            None => None,
        }
    }
}
