//! One parse of a frame into what the two decisions need. Everything a sender can vary is either read exactly or marked
//! as unreadable; the decisions treat unreadable as "could be protected".

use crate::packet::Packet;

pub enum Parsed {
    /// ARP, LLDP, PPPoE…: nothing that a permit can match.
    NotIp,
    /// Says it is IP, but its header cannot be read, or it is wrapped in more tags than are followed.
    Malformed,
    Ip(Summary),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    First,
    Later,
}

#[derive(Clone, Copy)]
pub struct Summary {
    /// 4 or 6.
    pub version: u8,
    /// The upper-layer protocol; not meaningful when `opaque`.
    pub protocol: u8,
    pub hop_limit: u8,
    pub part: Part,
    /// The header chain could not be followed to its end.
    pub opaque: bool,
    /// Network order; an IPv4 address is the first word.
    pub source: [u32; 4],
    pub destination: [u32; 4],
    /// Source and destination port, when the protocol has ports and they are in this part.
    pub ports: Option<(u16, u16)>,
    pub identification: u32,
    /// Where the upper layer begins.
    pub payload: usize,
}

const PROTOCOL_ICMP: u8 = 1;
pub const PROTOCOL_UDP: u8 = 17;
pub const PROTOCOL_ESP: u8 = 50;
const PROTOCOL_ICMPV6: u8 = 58;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_DCCP: u8 = 33;
const PROTOCOL_SCTP: u8 = 132;
const PROTOCOL_UDPLITE: u8 = 136;

/// RFC 8200 §4: the extension headers, and the one that splits.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

const ETHERNET_LENGTH: usize = 14;
const TAG_LENGTH: usize = 4;
const IPV6_LENGTH: usize = 40;
/// A chain that is longer leaves the packet opaque.
const MAX_EXTENSIONS: usize = 6;

#[inline(always)]
pub fn parse(packet: &impl Packet) -> Parsed {
    let Some(mut ethertype) = load_u16(packet, 12) else { return Parsed::NotIp };
    let mut network = ETHERNET_LENGTH;
    for _ in 0..2 {
        if is_tag(ethertype) {
            let Some(inner) = load_u16(packet, network + 2) else { return Parsed::NotIp };
            ethertype = inner;
            network += TAG_LENGTH;
        }
    }
    match ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(packet, network),
        ETHERTYPE_IPV6 => parse_ipv6(packet, network),
        tag if is_tag(tag) => Parsed::Malformed,
        _ => Parsed::NotIp,
    }
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ
}

#[inline(always)]
fn parse_ipv4(packet: &impl Packet, network: usize) -> Parsed {
    let Some(header) = packet.load::<[u8; 20]>(network) else { return Parsed::Malformed };
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = u16::from_be_bytes([header[2], header[3]]);
    if header[0] >> 4 != 4 || length < 20 || usize::from(total) < length {
        return Parsed::Malformed;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
    let mut summary = Summary {
        version: 4,
        protocol: header[9],
        hop_limit: header[8],
        part: part(more, offset),
        opaque: false,
        source: [word(&header, 12), 0, 0, 0],
        destination: [word(&header, 16), 0, 0, 0],
        ports: None,
        identification: u32::from(u16::from_be_bytes([header[4], header[5]])),
        payload: network + length,
    };
    summary.ports = ports(packet, &summary);
    Parsed::Ip(summary)
}

#[inline(always)]
fn parse_ipv6(packet: &impl Packet, network: usize) -> Parsed {
    let Some(header) = packet.load::<[u8; IPV6_LENGTH]>(network) else { return Parsed::Malformed };
    if header[0] >> 4 != 6 {
        return Parsed::Malformed;
    }
    let mut summary = Summary {
        version: 6,
        protocol: header[6],
        hop_limit: header[7],
        part: Part::Whole,
        opaque: false,
        source: [word(&header, 8), word(&header, 12), word(&header, 16), word(&header, 20)],
        destination: [word(&header, 24), word(&header, 28), word(&header, 32), word(&header, 36)],
        ports: None,
        identification: 0,
        payload: network + IPV6_LENGTH,
    };
    follow_extensions(packet, &mut summary);
    summary.ports = ports(packet, &summary);
    Parsed::Ip(summary)
}

/// Walks the extension headers up to the upper layer (RFC 8200 §4.1).
#[inline(always)]
fn follow_extensions(packet: &impl Packet, summary: &mut Summary) {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(summary.protocol) {
            return;
        }
        if summary.part == Part::Later {
            break;
        }
        let Some(header) = packet.load::<[u8; 8]>(summary.payload) else { break };
        let length = match summary.protocol {
            FRAGMENT => {
                let offset_and_more = u16::from_be_bytes([header[2], header[3]]);
                summary.part = part(offset_and_more & 1 != 0, offset_and_more >> 3);
                summary.identification = word(&header, 4);
                8
            }
            // RFC 4302 §2.2: the length counts 4-octet units, minus 2.
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        summary.protocol = header[0];
        summary.payload += length;
    }
    summary.opaque = is_extension(summary.protocol);
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY)
}

#[inline(always)]
fn part(more: bool, offset: u16) -> Part {
    match (more, offset) {
        (false, 0) => Part::Whole,
        (true, 0) => Part::First,
        _ => Part::Later,
    }
}

#[inline(always)]
fn ports(packet: &impl Packet, summary: &Summary) -> Option<(u16, u16)> {
    if summary.part == Part::Later || summary.opaque || !has_ports(summary.protocol) {
        return None;
    }
    let [a, b, c, d] = packet.load::<[u8; 4]>(summary.payload)?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[inline(always)]
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_DCCP | PROTOCOL_SCTP | PROTOCOL_UDPLITE)
}

/// Neighbour discovery and its multicast listener reports. Hop limits say that neither was ever forwarded
/// (RFC 4861 §7.1: 255; RFC 3810 §5: 1).
#[inline(always)]
pub fn is_neighbour_discovery(packet: &impl Packet, summary: &Summary) -> bool {
    if summary.version != 6
        || summary.opaque
        || summary.protocol != PROTOCOL_ICMPV6
        || summary.part != Part::Whole
    {
        return false;
    }
    // Type and code together: the verifier cannot prove a load of a single octet at a variable offset.
    match packet.load::<[u8; 2]>(summary.payload) {
        Some([133..=137, _]) => summary.hop_limit == 255,
        Some([130..=132 | 143, _]) => summary.hop_limit == 1,
        _ => false,
    }
}

/// Source and destination of the packet that an ICMP error quotes behind its eight octets (RFC 792, RFC 4443 §3).
#[inline(always)]
pub fn quoted_addresses(packet: &impl Packet, summary: &Summary) -> Option<([u32; 4], [u32; 4])> {
    if summary.opaque || summary.part == Part::Later {
        return None;
    }
    let quoted = summary.payload + 8;
    match (summary.version, summary.protocol, packet.load::<[u8; 2]>(summary.payload)?) {
        (4, PROTOCOL_ICMP, [3..=5 | 11 | 12, _]) => {
            let header = packet.load::<[u8; 20]>(quoted)?;
            Some(([word(&header, 12), 0, 0, 0], [word(&header, 16), 0, 0, 0]))
        }
        (6, PROTOCOL_ICMPV6, [1..=4, _]) => {
            let header = packet.load::<[u8; IPV6_LENGTH]>(quoted)?;
            Some((
                [word(&header, 8), word(&header, 12), word(&header, 16), word(&header, 20)],
                [word(&header, 24), word(&header, 28), word(&header, 32), word(&header, 36)],
            ))
        }
        _ => None,
    }
}

#[inline(always)]
fn load_u16(packet: &impl Packet, offset: usize) -> Option<u16> {
    packet.load::<[u8; 2]>(offset).map(u16::from_be_bytes)
}

/// Four octets as they stand in memory: addresses stay in network order.
#[inline(always)]
fn word<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
