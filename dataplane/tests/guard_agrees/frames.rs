//! Frames at the boundaries of rule conditions, and frames that a decoder must reject.

use std::net::IpAddr;

use sa_table::policy::{Prefix, Rule};

use crate::lists::{OWN, PORTS, address_v4, address_v6};
use crate::random::Random;

/// Values of the frames of one scene: the boundaries of its rules.
pub struct Edges {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    ports: Vec<u16>,
    protocols: Vec<u8>,
    rules: Vec<Rule>,
    raw_ip: bool,
}

impl Edges {
    pub fn of(lists: &[Vec<Rule>], raw_ip: bool, random: &mut Random) -> Self {
        let rules: Vec<Rule> = lists.concat();
        let mut edges = Self {
            v4: (0..12).map(|_| address_v4(random)).collect(),
            v6: (0..12).map(|_| address_v6(random)).collect(),
            ports: PORTS.to_vec(),
            protocols: vec![1, 6, 17, 17, 50, 58, 58, 132, 47, 0, 43, 44, 59, 60],
            rules,
            raw_ip,
        };
        for rule in &edges.rules {
            for prefix in [rule.source, rule.destination] {
                let ends = around(prefix);
                if prefix.address.is_ipv4() { &mut edges.v4 } else { &mut edges.v6 }.extend(ends);
            }
            for range in [rule.source_ports, rule.destination_ports] {
                let (first, last) = (range.first, range.last);
                edges.ports.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)]);
            }
            edges.protocols.extend(rule.protocol);
        }
        edges
    }

    /// A frame, at least as long as a test run of the kernel requires.
    pub fn frame(&self, random: &mut Random) -> Vec<u8> {
        let (v4, packet) = self.packet(random);
        let mut frame = Vec::with_capacity(packet.len() + 64);
        if !self.raw_ip {
            link_header(random, v4, &mut frame);
        }
        let network = frame.len();
        frame.extend(packet);
        match random.below(10) {
            // Octets after the packet: link padding, or a length field that is too small.
            0 => frame.extend((0..random.between(1, 40)).map(|_| random.octet())),
            1 => frame.resize(frame.len().max(60), 0),
            // Truncated anywhere, mostly inside the headers.
            2 => {
                let longest = frame.len();
                let keep =
                    if random.one_in(3) { random.between(0, longest) } else { network + random.below(64) };
                frame.truncate(keep.min(longest));
            }
            _ => {}
        }
        if frame.len() < SHORTEST {
            frame.resize(SHORTEST, random.octet());
        }
        if is_refused(&frame) {
            match self.raw_ip {
                true => frame.resize(SHORTEST + 40, random.octet()),
                // The packet then begins after a VLAN tag.
                false => drop(frame.splice(12..12, [0x81, 0, 0, 5])),
            }
        }
        frame
    }

    fn packet(&self, random: &mut Random) -> (bool, Vec<u8>) {
        // Matches some rule, or arbitrary.
        let rule = (!self.rules.is_empty() && random.below(4) != 0).then(|| random.pick(&self.rules));
        let v4 = rule.map_or_else(|| random.one_in(2), |rule| rule.source.address.is_ipv4());
        let (mut source, mut destination) = match rule {
            Some(rule) => (inside(random, rule.source), inside(random, rule.destination)),
            None => (self.address(random, v4), self.address(random, v4)),
        };
        if random.one_in(4) {
            source = self.address(random, v4);
        }
        if random.one_in(4) {
            destination = self.address(random, v4);
        }
        let ipsec = random.one_in(12);
        if ipsec {
            destination = OWN[usize::from(!v4)].parse().unwrap();
        }
        if random.one_in(2) {
            (source, destination) = (destination, source);
        }
        let protocol = match rule.and_then(|rule| rule.protocol) {
            _ if ipsec => random.pick(&[50, 17, 17]),
            Some(protocol) if random.below(5) != 0 => protocol,
            _ => random.pick(&self.protocols),
        };
        let payload = match protocol {
            17 if ipsec || random.one_in(6) => nat_t(random),
            _ => self.payload(random, v4, protocol),
        };
        let packet = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ipv4(random, source.octets(), destination.octets(), protocol, &payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ipv6(random, source.octets(), destination.octets(), protocol, &payload)
            }
            _ => unreachable!("both addresses are of one version"),
        };
        (v4, packet)
    }

    fn address(&self, random: &mut Random, v4: bool) -> IpAddr {
        random.pick(if v4 { &self.v4 } else { &self.v6 })
    }

    fn payload(&self, random: &mut Random, v4: bool, protocol: u8) -> Vec<u8> {
        let mut payload = match protocol {
            1 | 58 => self.icmp(random, v4),
            _ => {
                let ports = [random.pick(&self.ports), random.pick(&self.ports)];
                let mut octets: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
                octets.extend((0..random.below(24)).map(|_| random.octet()));
                octets
            }
        };
        if random.one_in(10) {
            payload.truncate(random.below(9));
        }
        payload
    }

    /// Any type; those of errors and redirects quote a packet, whole or in part.
    fn icmp(&self, random: &mut Random, v4: bool) -> Vec<u8> {
        let kind = random.pick(if v4 { &V4_KINDS[..] } else { &V6_KINDS[..] });
        let mut message = vec![kind, random.pick(&[0, 0, 1, 4, 255]), 0, 0, 0, 0, 0, 0];
        if kind == 137 {
            for _ in 0..2 {
                let IpAddr::V6(address) = self.address(random, false) else {
                    unreachable!("an IPv6 address")
                };
                message.extend(address.octets());
            }
        }
        if random.below(3) != 0 {
            let (source, destination) = (self.address(random, v4), self.address(random, v4));
            let quoted = match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    ipv4(random, source.octets(), destination.octets(), 17, &[7; 24])
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    ipv6(random, source.octets(), destination.octets(), 17, &[7; 24])
                }
                _ => unreachable!("both addresses are of one version"),
            };
            let keep = if random.one_in(3) { random.below(quoted.len() + 1) } else { quoted.len() };
            message.extend(&quoted[..keep]);
        }
        message
    }
}

/// The kernel refuses to run a program on less than an Ethernet header, and on less of an IP packet
/// than its header, if an Ethernet header without tags says that it is one. (On their way through a
/// device such frames do reach the programs.)
const SHORTEST: usize = 14;

fn is_refused(frame: &[u8]) -> bool {
    match frame[12..SHORTEST] {
        [0x08, 0x00] => frame.len() < SHORTEST + 20,
        [0x86, 0xdd] => frame.len() < SHORTEST + 40,
        _ => false,
    }
}

const V4_KINDS: [u8; 10] = [0, 3, 4, 5, 8, 11, 12, 13, 255, 3];
const V6_KINDS: [u8; 18] = [0, 1, 2, 3, 4, 5, 100, 128, 129, 130, 131, 133, 134, 135, 136, 137, 137, 143];

/// The first and last address of a prefix, and their neighbours.
fn around(prefix: Prefix) -> [IpAddr; 4] {
    match prefix.address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            let (first, last) = (address.to_bits() & !host, address.to_bits() | host);
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|bits| IpAddr::V4(bits.into()))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            let (first, last) = (address.to_bits() & !host, address.to_bits() | host);
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|bits| IpAddr::V6(bits.into()))
        }
    }
}

fn inside(random: &mut Random, prefix: Prefix) -> IpAddr {
    around(prefix)[random.below(2)]
}

fn link_header(random: &mut Random, v4: bool, frame: &mut Vec<u8>) {
    frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    let tags = random.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 2, 3]);
    for _ in 0..tags {
        let kind: u16 = random.pick(&[0x8100, 0x88a8]);
        frame.extend(kind.to_be_bytes());
        frame.extend(random.word().to_be_bytes());
    }
    let ethertype: u16 = match random.below(40) {
        0 => random.pick(&[0x0806, 0x88cc, 0x8863, 0x8864, 0x0100]),
        1 => random.pick(&[0x0800, 0x86dd]),
        _ if v4 => 0x0800,
        _ => 0x86dd,
    };
    frame.extend(ethertype.to_be_bytes());
}

/// ESP, IKE and keepalives on port 4500, IKE on port 500.
fn nat_t(random: &mut Random) -> Vec<u8> {
    let port = |random: &mut Random| random.pick(&[500_u16, 4500, 4500, 40000]);
    let mut datagram = [port(random).to_be_bytes(), port(random).to_be_bytes()].concat();
    let content: Vec<u8> = match random.below(4) {
        0 => [&[0; 4][..], &[1; 28]].concat(),
        1 => [&[0, 0, 1, 1][..], &[0, 0, 0, 1], &[9; 24]].concat(),
        2 => vec![0xff],
        _ => (0..random.below(12)).map(|_| random.octet()).collect(),
    };
    let length = if random.one_in(6) { random.word() } else { content.len() as u16 + 8 };
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(content);
    datagram
}

/// More fragments follow, and the offset in units of eight octets.
fn fragment(random: &mut Random) -> (bool, u16) {
    match random.below(12) {
        0 => (true, 0),
        1 => (true, random.between(1, 3) as u16),
        2 => (false, random.between(1, 3) as u16),
        3 => (random.one_in(2), random.between(8100, 8191) as u16),
        _ => (false, 0),
    }
}

/// The length field of a header: correct or not.
fn said(random: &mut Random, right: usize, header: usize) -> u16 {
    let length = match random.below(14) {
        0 => right.saturating_sub(random.between(1, 40)),
        1 => right + random.between(1, 9),
        2 => header + random.between(0, 8),
        3 => random.pick(&[0, 1, header.saturating_sub(1), 65535]),
        _ => right,
    };
    length as u16
}

fn ipv4(random: &mut Random, source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let words = if random.one_in(4) { random.between(5, 15) } else { 5 };
    let version_and_length = match random.below(40) {
        0 => 0x40 | random.octet() & 15,
        1 => random.octet() & 0xf0 | words as u8,
        _ => 0x40 | words as u8,
    };
    let (more, offset) = fragment(random);
    let mut payload = payload.to_vec();
    if more && random.below(4) != 0 {
        payload.resize(payload.len().next_multiple_of(8).max(8), 7);
    }
    let header = words * 4;
    let mut packet = vec![version_and_length, 0];
    packet.extend(said(random, header + payload.len(), header).to_be_bytes());
    packet.extend((random.below(3) as u16).to_be_bytes());
    let flags = u16::from(more) << 13 | offset | if random.one_in(3) { 0x4000 } else { 0 };
    packet.extend(flags.to_be_bytes());
    packet.extend([random.pick(&[64, 1, 255]), protocol, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend((20..header).map(|_| random.pick(&[0, 1, 131, 7])));
    packet.extend(payload);
    packet
}

fn ipv6(
    random: &mut Random,
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut chain: Vec<u8> = Vec::new();
    if random.one_in(3) {
        let count = if random.one_in(6) { random.between(7, 10) } else { random.between(1, 3) };
        chain.extend((0..count).map(|_| random.pick(&[43, 44, 60, 60, 51])));
        if random.one_in(3) {
            chain[0] = 0;
        }
        if random.one_in(12) {
            chain.push(0);
        }
    }
    let mut headers = Vec::new();
    for (index, kind) in chain.iter().enumerate() {
        let next = chain.get(index + 1).copied().unwrap_or(protocol);
        let mut header = vec![0; if *kind == 44 { 8 } else { random.pick(&[8, 8, 16, 24]) }];
        header[0] = next;
        if *kind == 44 {
            let (more, offset) = fragment(random);
            header[2..4].copy_from_slice(&(offset << 3 | u16::from(more)).to_be_bytes());
            header[7] = random.pick(&[0, 1]);
        } else {
            header[1] = (header.len() / 8 - 1) as u8;
            if random.one_in(20) {
                header[1] = random.octet();
            }
        }
        headers.extend(header);
    }
    let mut payload = payload.to_vec();
    if chain.contains(&44) && random.below(3) != 0 {
        payload.resize(payload.len().next_multiple_of(8).max(8), 7);
    }
    let length = headers.len() + payload.len();
    let first = if random.one_in(40) { random.octet() } else { 0x60 };
    let mut packet = vec![first, 0, 0, 0];
    packet.extend(said(random, length, 0).to_be_bytes());
    packet.extend([chain.first().copied().unwrap_or(protocol), random.pick(&[64, 1, 255, 255])]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(headers);
    packet.extend(payload);
    packet
}
