//! The test packets. Each carries a mark in its payload, so that a packet seen in clear (whole, in
//! a fragment or quoted by an ICMP error) identifies the run and flow that sent it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The UDP port of the gateway host.
pub const GATEWAY_PORT: u16 = 7700;

const MAGIC: [u8; 8] = *b"tohubclr";
const MARK_LENGTH: usize = MAGIC.len() + 12;
/// Length of the payload, which has the mark twice: before and after the point where a fragment
/// begins.
const PAYLOAD_LENGTH: usize = 64;

/// The flow of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    /// From the host behind the gateway to the protected network.
    Forwarded,
    /// From the gateway host itself, with its inside address as source, to the protected network.
    Own,
    /// From the outside wire, with a source in the protected network, to the host behind the
    /// gateway.
    Inward,
    /// The same to the gateway's inside address.
    InwardOwn,
    /// From the host behind the gateway to an address that no permit selects.
    Unprotected,
    /// The same in IPv6, which no crypto access list can select.
    Unprotected6,
    /// From the host behind the peer through its tunnel, answered by the host behind the gateway.
    Answered,
}

impl Flow {
    /// All of them, indexed by their number in the mark.
    pub const ALL: [Self; 7] = [
        Self::Forwarded,
        Self::Own,
        Self::Inward,
        Self::InwardOwn,
        Self::Unprotected,
        Self::Unprotected6,
        Self::Answered,
    ];

    /// Whether a permit selects it, outbound or mirrored.
    pub fn is_protected(self) -> bool {
        !matches!(self, Self::Unprotected | Self::Unprotected6)
    }

    /// Name for output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Own => "own",
            Self::Inward => "inward",
            Self::InwardOwn => "inward to the gateway",
            Self::Unprotected => "unprotected",
            Self::Unprotected6 => "unprotected IPv6",
            Self::Answered => "answer",
        }
    }
}

/// How packets sent now are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Between plays, or before the guard was first attached.
    Uncounted,
    /// None may be seen in clear.
    Strict,
    /// Clear packets are counted separately: the documented second until a removed guard is
    /// attached again.
    Grace,
    /// Before the gateway is started: checks that the laboratory detects leaks.
    Control,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Uncounted, Self::Strict, Self::Grace, Self::Control];

    /// The phase with this number.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Uncounted)
    }
}

/// The mark of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Number of the run in which it was sent.
    pub play: u32,
    /// The flow.
    pub flow: Flow,
    /// The phase.
    pub phase: Phase,
    /// Consecutive number within the flow.
    pub sequence: u32,
}

impl Mark {
    fn bytes(self) -> [u8; MARK_LENGTH] {
        let mut bytes = [0; MARK_LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.play.to_be_bytes());
        bytes[12] = self.flow as u8;
        bytes[13] = self.phase as u8;
        bytes[16..20].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// The first mark anywhere in a frame.
    pub fn find(frame: &[u8]) -> Option<Self> {
        let at = frame.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let mark = frame.get(at..at + MARK_LENGTH)?;
        let word = |from: usize| Some(u32::from_be_bytes(mark.get(from..from + 4)?.try_into().ok()?));
        Some(Self {
            play: word(8)?,
            flow: *Flow::ALL.get(usize::from(mark[12]))?,
            phase: Phase::from_number(mark[13]),
            sequence: word(16)?,
        })
    }

    /// The payload with this mark.
    pub fn payload(self) -> [u8; PAYLOAD_LENGTH] {
        let mut payload = [0; PAYLOAD_LENGTH];
        payload[..MARK_LENGTH].copy_from_slice(&self.bytes());
        payload[32..32 + MARK_LENGTH].copy_from_slice(&self.bytes());
        payload
    }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ESP: u8 = 50;

/// A whole IPv4 packet with the mark. Its form rotates with the sequence number, so that a flow
/// contains all forms that a gateway might treat differently. The kernel fills in the checksum and
/// the length of a raw header that it sends.
pub fn ipv4(mark: Mark, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let payload = mark.payload();
    let addresses = (source, destination);
    match mark.sequence % 8 {
        // Every second packet is a whole datagram, which a socket can receive.
        0 | 2 | 4 | 6 => header(addresses, UDP, 0, &[], &udp(7777, GATEWAY_PORT, &payload)),
        1 => header(addresses, TCP, 0, &[], &tcp(&payload)),
        3 => header(addresses, ICMP, 0, &[], &echo_request(&payload)),
        // From an IKE port, with an IP option.
        5 => header(addresses, UDP, 0, &[1, 1, 1, 0], &udp(500, 500, &payload)),
        _ => match mark.sequence / 8 % 3 {
            // A first fragment, a later one, and a packet that looks like ESP.
            0 => header(addresses, UDP, MORE_FRAGMENTS, &[], &udp(7777, GATEWAY_PORT, &payload)),
            1 => header(addresses, UDP, 8, &[], &payload),
            _ => header(addresses, ESP, 0, &[], &payload),
        },
    }
}

const MORE_FRAGMENTS: u16 = 0x2000;

fn header(
    (source, destination): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    fragment: u16,
    options: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let words = 5 + u8::try_from(options.len() / 4).unwrap_or(0);
    let length = u16::try_from(usize::from(words) * 4 + body.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x40 | words, 0];
    packet.extend(length.to_be_bytes());
    // A constant identification: the fragments are never reassembled.
    packet.extend([0x17, 0x17]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(options);
    packet.extend(body);
    packet
}

/// UDP without a checksum.
fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    datagram.extend(u16::try_from(8 + payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut segment = [7777_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

fn echo_request(payload: &[u8]) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0, 0x17, 0x17, 0, 1];
    message.extend(payload);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A UDP datagram in IPv6 with the mark.
pub fn ipv6(mark: Mark, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut datagram = udp(7777, GATEWAY_PORT, &mark.payload());
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX).to_be_bytes();
    let pseudo_header = [0, 0, length[0], length[1], 0, 0, 0, UDP];
    let sum = checksum(&[&source.octets(), &destination.octets(), &pseudo_header, &datagram]);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], UDP, 64];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(datagram);
    packet
}

/// RFC 1071, of parts of an even number of octets each.
fn checksum(parts: &[&[u8]]) -> u16 {
    let sum: u32 = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
    const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);

    #[test]
    fn every_form_of_every_flow_names_its_play() {
        for flow in Flow::ALL {
            for sequence in 0..24 {
                let mark = Mark { play: 0x0102_0304, flow, phase: Phase::Strict, sequence };
                let packet = ipv4(mark, SOURCE, DESTINATION);
                let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                assert_eq!(length, packet.len());
                assert_eq!(Mark::find(&packet), Some(mark));
                let mut frame = vec![0; 14];
                frame.extend(ipv6(mark, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST));
                assert_eq!(Mark::find(&frame), Some(mark));
            }
        }
    }

    #[test]
    fn what_is_not_ours_or_is_cut_off_has_no_mark() {
        let mark = Mark { play: 1, flow: Flow::Own, phase: Phase::Grace, sequence: 9 };
        let whole = mark.bytes();
        assert_eq!(Mark::find(&whole[..MARK_LENGTH - 1]), None);
        assert_eq!(Mark::find(b"some other packet of the machine"), None);
        let mut unknown_flow = whole;
        unknown_flow[12] = 99;
        assert_eq!(Mark::find(&unknown_flow), None);
    }

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        let message =
            echo_request(&Mark { play: 7, flow: Flow::Own, phase: Phase::Strict, sequence: 3 }.payload());
        assert_eq!(checksum(&[&message]), 0);
    }
}
