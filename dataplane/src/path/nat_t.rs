//! Recognises IPsec packets to one of our crypto addresses: ESP, plain or in UDP (RFC 3948).

use crate::path::packet::Packet;
use std::ops::Range;
use wire::esp::UdpPayload;
use wire::{Upper, protocol, udp};

/// The port of IKE and ESP behind a NAT (RFC 3948 §2).
pub const NAT_T_PORT: u16 = 4500;

/// Content of a packet to a crypto address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// ESP, from SPI to ICV.
    Esp {
        /// Its position in the packet.
        range: Range<usize>,
        /// The peer's UDP port, 0 without UDP.
        peer_port: u16,
        /// The SPI.
        spi: u32,
    },
    /// A fragment of ESP.
    EspFragment,
    /// ESP that is too short to have a header, or UDP with an inconsistent length.
    Malformed,
    /// A NAT keepalive.
    Keepalive,
    /// IKE, which is delivered by the kernel.
    Ike,
    /// Not IPsec.
    Other,
}

/// Classifies a packet whose destination is a crypto address. Both encapsulations are accepted at
/// any time, regardless of what was negotiated (RFC 7296 §2.23).
#[inline]
pub fn carried(packet: &Packet) -> Carried {
    let ip = &packet.ip;
    let start = usize::from(ip.header_len);
    match ip.upper {
        _ if ip.protocol == protocol::ESP && ip.fragment.is_fragment() => Carried::EspFragment,
        Upper::Esp { spi } => Carried::Esp { range: start..packet.frame.len(), peer_port: 0, spi },
        Upper::Truncated if ip.protocol == protocol::ESP => Carried::Malformed,
        Upper::Ports { destination: NAT_T_PORT, source }
            if ip.protocol == protocol::UDP && !ip.fragment.is_fragment() =>
        {
            in_udp(packet.frame.bytes(), start, source)
        }
        _ => Carried::Other,
    }
}

fn in_udp(packet: &[u8], start: usize, peer_port: u16) -> Carried {
    let Some(datagram) = packet.get(start..) else { return Carried::Malformed };
    let Ok(view) = udp::Packet::new_checked(datagram) else { return Carried::Malformed };
    let payload = view.payload();
    match UdpPayload::classify(payload) {
        UdpPayload::Keepalive => Carried::Keepalive,
        UdpPayload::Ike => Carried::Ike,
        UdpPayload::Unknown => Carried::Malformed,
        UdpPayload::Esp => {
            let Some(spi) = payload.first_chunk::<4>() else { return Carried::Malformed };
            let begin = start + udp::HEADER_LEN;
            Carried::Esp { range: begin..begin + payload.len(), peer_port, spi: u32::from_be_bytes(*spi) }
        }
    }
}
