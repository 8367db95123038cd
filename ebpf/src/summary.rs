//! One parse of a frame into what the decisions need, equal to the parse of the workers (`crates/wire`). Everything a
//! sender can vary is either read exactly or marked as unreadable; the decisions treat unreadable as "could be
//! protected". Nothing behind the end of the IP packet is read: link padding is no part of it.

use ebpf_abi::{NO, YES};

use crate::packet::Packet;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Parsed {
    Ip,
    /// ARP, LLDP, PPPoE…: nothing that a permit can match.
    NotIp,
    /// Says it is IP, but its addresses or its length cannot be read, or it is wrapped in more tags than are followed.
    Malformed,
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
    /// The upper-layer protocol; not meaningful when it is not known.
    pub protocol: u8,
    pub hop_limit: u8,
    pub part: Part,
    /// [`NO`] when the header chain does not lead to an upper-layer protocol, or contradicts itself. A mask like in
    /// [`ebpf_abi::GuardRule`], so that the comparison with rules needs no branch.
    pub protocol_known: u32,
    /// Network order; an IPv4 address is the first word.
    pub source: [u32; 4],
    pub destination: [u32; 4],
    /// [`NO`] when the protocol has ports and they are not in this packet.
    pub ports_known: u32,
    /// Source and destination port as selectors see them: ICMP has `type << 8 | code` in both, a protocol without ports
    /// zeros. No `Option`: its undefined half could not be passed between functions.
    pub source_port: u16,
    pub destination_port: u16,
    pub identification: u32,
    /// Where the upper layer begins.
    pub payload: usize,
    /// Where the IP packet ends.
    pub end: usize,
}

impl Summary {
    #[inline(always)]
    pub fn is_opaque(&self) -> bool {
        self.protocol_known == NO
    }

    #[inline(always)]
    pub fn shows_ports(&self) -> bool {
        self.ports_known != NO
    }

    #[inline(always)]
    fn icmp_type(&self) -> u16 {
        self.source_port >> 8
    }

    /// To be filled by [`parse`].
    pub const EMPTY: Self = Self {
        version: 0,
        protocol: 0,
        hop_limit: 0,
        part: Part::Whole,
        protocol_known: NO,
        source: [0; 4],
        destination: [0; 4],
        ports_known: NO,
        source_port: 0,
        destination_port: 0,
        identification: 0,
        payload: 0,
        end: 0,
    };
}

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
pub const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_DCCP: u8 = 33;
pub const PROTOCOL_ESP: u8 = 50;
const PROTOCOL_ICMPV6: u8 = 58;
const PROTOCOL_SCTP: u8 = 132;
const PROTOCOL_UDPLITE: u8 = 136;

/// RFC 8200 §4: the extension headers, and the one that splits. Like the workers, AH is taken for an upper-layer protocol.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

const ETHERNET_LENGTH: usize = 14;
const TAG_LENGTH: usize = 4;
const IPV4_LENGTH: usize = 20;
const IPV6_LENGTH: usize = 40;
/// A chain that is longer leaves the packet opaque.
const MAX_EXTENSIONS: usize = 8;
const MAX_IP_LENGTH: usize = 65_535;

/// Parses a frame that begins with an Ethernet header, or with the IP header (`raw_ip`). A function with a stack of its own,
/// whose branches do not multiply with those of the decision.
#[inline(never)]
pub fn parse<P: Packet>(packet: &P, raw_ip: bool, summary: &mut Summary) -> Parsed {
    let (version, network) = match locate(packet, raw_ip) {
        Located::Ip(version, network) => (version, network),
        Located::NotIp => return Parsed::NotIp,
        Located::Malformed => return Parsed::Malformed,
    };
    let parsed = match version {
        4 => parse_ipv4(packet, network, summary),
        6 => parse_ipv6(packet, network, summary),
        _ => None,
    };
    if parsed.is_some() { Parsed::Ip } else { Parsed::Malformed }
}

enum Located {
    NotIp,
    Malformed,
    /// Version by ethertype, or by the version field when there is no ethertype; offset of the IP header.
    Ip(u8, usize),
}

#[inline(always)]
fn locate(packet: &impl Packet, raw_ip: bool) -> Located {
    if raw_ip {
        return locate_raw(packet);
    }
    let Some(mut ethertype) = load_u16(packet, 12) else {
        return if packet.kernel_says_ip() { Located::Malformed } else { Located::NotIp };
    };
    let mut network = ETHERNET_LENGTH;
    for _ in 0..2 {
        if is_tag(ethertype) {
            // A frame that ends inside its tag hides what it is.
            let Some(inner) = load_u16(packet, network + 2) else { return Located::Malformed };
            ethertype = inner;
            network += TAG_LENGTH;
        }
    }
    match ethertype {
        ETHERTYPE_IPV4 => Located::Ip(4, network),
        ETHERTYPE_IPV6 => Located::Ip(6, network),
        tag if is_tag(tag) => Located::Malformed,
        // A device without Ethernet header that has no entry of its own yet.
        _ if packet.kernel_says_ip() => locate_raw(packet),
        _ => Located::NotIp,
    }
}

#[inline(always)]
fn locate_raw(packet: &impl Packet) -> Located {
    match load_u16(packet, 0) {
        Some(start) => Located::Ip((start >> 12) as u8, 0),
        None => Located::Malformed,
    }
}

#[inline(always)]
pub fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ
}

#[inline(always)]
fn parse_ipv4(packet: &impl Packet, network: usize, summary: &mut Summary) -> Option<()> {
    let header = packet.load::<[u8; IPV4_LENGTH]>(network)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let available = packet.length().saturating_sub(network);
    let total = if total == 0 && packet.is_merged() { available } else { total };
    if header[0] >> 4 != 4 || length < IPV4_LENGTH || total < length || total > available {
        return None;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
    *summary = Summary {
        version: 4,
        protocol: header[9],
        hop_limit: header[8],
        part: part(more, offset),
        protocol_known: mask(!is_impossible(more, offset, length, total - length)),
        source: [word(&header, 12), 0, 0, 0],
        destination: [word(&header, 16), 0, 0, 0],
        ports_known: NO,
        source_port: 0,
        destination_port: 0,
        identification: u32::from(u16::from_be_bytes([header[4], header[5]])),
        payload: network + length,
        end: network + total,
    };
    read_ports(packet, summary);
    Some(())
}

#[inline(always)]
fn parse_ipv6(packet: &impl Packet, network: usize, summary: &mut Summary) -> Option<()> {
    let header = packet.load::<[u8; IPV6_LENGTH]>(network)?;
    let available = packet.length().saturating_sub(network);
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    // A jumbogram that is not the kernel's own (RFC 2675) ends behind its fixed header: opaque, or without ports.
    let total = if payload == 0 && packet.is_merged() { available } else { IPV6_LENGTH + payload };
    if header[0] >> 4 != 6 || total > available {
        return None;
    }
    *summary = Summary {
        version: 6,
        protocol: header[6],
        hop_limit: header[7],
        part: Part::Whole,
        protocol_known: NO,
        source: [word(&header, 8), word(&header, 12), word(&header, 16), word(&header, 20)],
        destination: [word(&header, 24), word(&header, 28), word(&header, 32), word(&header, 36)],
        ports_known: NO,
        source_port: 0,
        destination_port: 0,
        identification: 0,
        payload: network + IPV6_LENGTH,
        end: network + total,
    };
    summary.protocol_known = mask(follow_extensions(packet, summary, network));
    read_ports(packet, summary);
    Some(())
}

/// Walks the extension headers up to the upper layer (RFC 8200 §4.1). `false`: there is no way to it.
#[inline(always)]
fn follow_extensions(packet: &impl Packet, summary: &mut Summary, network: usize) -> bool {
    let mut fragmented = false;
    for index in 0..MAX_EXTENSIONS {
        if !is_extension(summary.protocol) {
            return true;
        }
        if summary.protocol == HOP_BY_HOP && index != 0 {
            return false;
        }
        if summary.payload + 8 > summary.end {
            return false;
        }
        let Some(header) = packet.load_rare::<[u8; 8]>(summary.payload) else { return false };
        let is_fragment = summary.protocol == FRAGMENT;
        summary.protocol = header[0];
        summary.payload += if is_fragment { 8 } else { (usize::from(header[1]) + 1) * 8 };
        if summary.payload > summary.end {
            return false;
        }
        if is_fragment {
            if fragmented {
                return false;
            }
            fragmented = true;
            let offset_and_more = u16::from_be_bytes([header[2], header[3]]);
            let (more, offset) = (offset_and_more & 1 != 0, offset_and_more >> 3);
            summary.part = part(more, offset);
            summary.identification = word(&header, 4);
            let (length, payload) = (summary.payload - network, summary.end - summary.payload);
            if is_impossible(more, offset, length, payload) {
                return false;
            }
            if summary.part == Part::Later {
                break;
            }
        }
    }
    !is_extension(summary.protocol)
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

#[inline(always)]
fn part(more: bool, offset: u16) -> Part {
    match (more, offset) {
        (false, 0) => Part::Whole,
        (true, 0) => Part::First,
        _ => Part::Later,
    }
}

/// A fragment that ends behind the largest packet, or an inner one whose length is no multiple of 8 (RFC 791 §3.2).
#[inline(always)]
fn is_impossible(more: bool, offset: u16, header: usize, payload: usize) -> bool {
    if !more && offset == 0 {
        return false;
    }
    header + usize::from(offset) * 8 + payload > MAX_IP_LENGTH || (more && (payload == 0 || payload % 8 != 0))
}

#[inline(always)]
fn read_ports(packet: &impl Packet, summary: &mut Summary) {
    if summary.part == Part::Later || summary.is_opaque() {
        return;
    }
    let is_icmp = matches!(summary.protocol, PROTOCOL_ICMP | PROTOCOL_ICMPV6);
    let has_ports = has_ports(summary.protocol);
    if is_icmp || has_ports || summary.protocol == PROTOCOL_ESP {
        let Some([a, b, c, d]) = load_within::<[u8; 4]>(packet, summary.payload, summary.end) else { return };
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if is_icmp {
            (summary.source_port, summary.destination_port) = (first, first);
        } else if has_ports {
            (summary.source_port, summary.destination_port) = (first, second);
        }
    }
    summary.ports_known = YES;
}

#[inline(always)]
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_DCCP | PROTOCOL_SCTP | PROTOCOL_UDPLITE)
}

/// Neighbour discovery and its multicast listener reports. Hop limits say that neither was ever forwarded
/// (RFC 4861 §7.1: 255; RFC 3810 §5: 1).
#[inline(always)]
pub fn is_neighbour_discovery(summary: &Summary) -> bool {
    if summary.version != 6 || summary.protocol != PROTOCOL_ICMPV6 || summary.part != Part::Whole {
        return false;
    }
    // Not known when opaque or truncated.
    if !summary.shows_ports() {
        return false;
    }
    match summary.icmp_type() {
        133..=137 => summary.hop_limit == 255,
        130..=132 | 143 => summary.hop_limit == 1,
        _ => false,
    }
}

/// Source and destination of the packet that an ICMP error quotes behind its eight octets (RFC 792, RFC 4443 §3), or that an ICMPv6 redirect is
/// about. The quote is cut by nature; its length field is not believed.
#[inline(always)]
pub fn quoted_addresses(packet: &impl Packet, summary: &Summary) -> Option<([u32; 4], [u32; 4])> {
    if !summary.shows_ports() {
        return None;
    }
    let quoted = summary.payload + 8;
    match (summary.version, summary.protocol, summary.icmp_type()) {
        (4, PROTOCOL_ICMP, 3..=5 | 11 | 12) => {
            let header = load_within::<[u8; IPV4_LENGTH]>(packet, quoted, summary.end)?;
            Some(([word(&header, 12), 0, 0, 0], [word(&header, 16), 0, 0, 0]))
        }
        (6, PROTOCOL_ICMPV6, 1..=4) => {
            let header = load_within::<[u8; IPV6_LENGTH]>(packet, quoted, summary.end)?;
            Some((
                [word(&header, 8), word(&header, 12), word(&header, 16), word(&header, 20)],
                [word(&header, 24), word(&header, 28), word(&header, 32), word(&header, 36)],
            ))
        }
        // RFC 4861 §4.5: it tells the sender of a packet a better way to the address behind the target, and quotes the packet in an option.
        (6, PROTOCOL_ICMPV6, 137) => {
            let to = load_within::<[u8; 16]>(packet, summary.payload + 24, summary.end)?;
            Some((summary.destination, [word(&to, 0), word(&to, 4), word(&to, 8), word(&to, 12)]))
        }
        _ => None,
    }
}

#[inline(always)]
fn mask(condition: bool) -> u32 {
    if condition { YES } else { NO }
}

/// Reads inside the IP packet.
#[inline(always)]
pub fn load_within<T: Copy>(packet: &impl Packet, offset: usize, end: usize) -> Option<T> {
    if offset + size_of::<T>() > end {
        return None;
    }
    packet.load(offset)
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
