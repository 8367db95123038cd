//! The outer header of tunnel mode: a template per SA, completed per packet (RFC 4301 §5.1.2, RFC
//! 3948, RFC 6040).

use std::net::IpAddr;

use ipsec_types::{DfPolicy, DscpPolicy, EcnPolicy, Encapsulation};
use wire::{checksum, ipv4, ipv6, protocol, udp};

use crate::transport::Header;

#[cfg(test)]
mod tests;

/// Parameters of the outer header of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterParameters {
    /// Tunnel source.
    pub source: IpAddr,
    /// Tunnel destination, of the same version as the source.
    pub destination: IpAddr,
    /// None, or UDP.
    pub encapsulation: Encapsulation,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP policy.
    pub dscp: DscpPolicy,
    /// ECN policy.
    pub ecn: EcnPolicy,
    /// DF policy.
    pub df: DfPolicy,
}

impl OuterParameters {
    /// ESP directly in IP, TTL 64, everything else taken from the inner header.
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            destination,
            encapsulation: Encapsulation::default(),
            ttl: 64,
            dscp: DscpPolicy::default(),
            ecn: EcnPolicy::default(),
            df: DfPolicy::default(),
        }
    }
}

/// Fields of the inner header that the outer header is derived from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InnerFields {
    /// ESP next header: 4 or 41.
    pub next_header: u8,
    /// TOS byte or traffic class.
    pub traffic_class: u8,
    /// DF as [`DfPolicy::Copy`] sees it.
    pub dont_fragment: bool,
}

impl InnerFields {
    /// Reads an inner packet's header; `None` unless it starts with a complete IPv4 or IPv6 header.
    #[inline]
    pub(crate) fn read(inner: &[u8]) -> Option<Self> {
        match inner.first()? >> 4 {
            4 => {
                let header = inner.first_chunk::<{ ipv4::MIN_HEADER_LEN }>()?;
                Some(Self {
                    next_header: protocol::IPV4,
                    traffic_class: header[1],
                    dont_fragment: header[6] & 0x40 != 0,
                })
            }
            6 => {
                let header = inner.first_chunk::<{ ipv6::HEADER_LEN }>()?;
                Some(Self {
                    next_header: protocol::IPV6,
                    traffic_class: (header[0] << 4) | (header[1] >> 4),
                    dont_fragment: true,
                })
            }
            _ => None,
        }
    }
}

/// Longest outer header: IPv6 and UDP.
const MAX_LEN: usize = ipv6::HEADER_LEN + udp::HEADER_LEN;

/// The outer IP (and UDP) header with every field filled in that is the same for all packets.
#[derive(Clone, Debug)]
pub(crate) struct OuterTemplate {
    parameters: OuterParameters,
    bytes: [u8; MAX_LEN],
    ip_len: usize,
    len: usize,
    /// Sum over the constant words of the IPv4 header, or over the addresses of the IPv6 pseudo
    /// header.
    sum: checksum::Sum,
}

impl OuterTemplate {
    /// `None` when source and destination are of different versions.
    pub(crate) fn new(parameters: OuterParameters) -> Option<Self> {
        let (udp_len, ip_protocol) = match parameters.encapsulation {
            Encapsulation::None => (0, protocol::ESP),
            Encapsulation::Udp { .. } => (udp::HEADER_LEN, protocol::UDP),
        };
        let mut bytes = [0; MAX_LEN];
        let (ip_len, sum) = match (parameters.source, parameters.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                // All variable fields (TOS, length, identification, flags, checksum) are zero here.
                bytes[0] = 0x45;
                bytes[8] = parameters.ttl;
                bytes[9] = ip_protocol;
                bytes[12..16].copy_from_slice(&source.octets());
                bytes[16..20].copy_from_slice(&destination.octets());
                (ipv4::MIN_HEADER_LEN, checksum::Sum::new().bytes(&bytes[..ipv4::MIN_HEADER_LEN]))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes[0] = 0x60;
                bytes[6] = ip_protocol;
                bytes[7] = parameters.ttl;
                bytes[8..24].copy_from_slice(&source.octets());
                bytes[24..40].copy_from_slice(&destination.octets());
                (ipv6::HEADER_LEN, checksum::pseudo_header_v6(source, destination, protocol::UDP, 0))
            }
            _ => return None,
        };
        if let Encapsulation::Udp { local_port, remote_port } = parameters.encapsulation {
            bytes[ip_len..ip_len + 2].copy_from_slice(&local_port.to_be_bytes());
            bytes[ip_len + 2..ip_len + 4].copy_from_slice(&remote_port.to_be_bytes());
        }
        Some(Self { parameters, bytes, ip_len, len: ip_len + udp_len, sum })
    }

    pub(crate) const fn parameters(&self) -> &OuterParameters {
        &self.parameters
    }

    /// Bytes in front of the ESP header.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the IP header without options.
    pub(crate) const fn ip_len(&self) -> usize {
        self.ip_len
    }

    /// Bytes of UDP header.
    pub(crate) const fn udp_len(&self) -> usize {
        self.len - self.ip_len
    }

    /// Completes a packet in transport mode: its own IP header, which stands at the front, and the
    /// UDP header of this template behind it. `false` when the packet is too long.
    pub(crate) fn write_transport(&self, packet: &mut [u8], header: &Header) -> bool {
        if self.udp_len() == 0 {
            return header.rewrite(packet, protocol::ESP);
        }
        if !header.rewrite(packet, protocol::UDP) {
            return false;
        }
        let Some(udp) = packet.get_mut(header.len..).filter(|udp| udp.len() >= udp::HEADER_LEN) else {
            return false;
        };
        // The IP length field fits, so the shorter UDP length does too.
        let udp_len = udp.len() as u16;
        udp[..4].copy_from_slice(&self.bytes[self.ip_len..self.ip_len + 4]);
        udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
        udp[6..8].fill(0);
        true
    }

    /// Writes the header into `out` ([`Self::len`] bytes, ESP packet of `esp_len` bytes behind it).
    /// `false`, and nothing written, when a length field would overflow or `out` has another
    /// length.
    ///
    /// The IPv4 identification is the low half of the sequence number, which is as unique as RFC
    /// 6864 asks of packets that may be fragmented; 0 when DF is set.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8], inner: &InnerFields, esp_len: usize, sequence: u64) -> bool {
        let total_len = self.len + esp_len;
        let dscp = match self.parameters.dscp {
            DscpPolicy::Copy => inner.traffic_class & 0xfc,
            DscpPolicy::Fixed(dscp) => dscp << 2,
        };
        let ecn = match self.parameters.ecn {
            EcnPolicy::Copy => inner.traffic_class & 3,
            EcnPolicy::NotCapable => 0,
        };
        let traffic_class = dscp | ecn;
        let is_ipv4 = self.ip_len == ipv4::MIN_HEADER_LEN;
        let length_field = if is_ipv4 { total_len } else { total_len - self.ip_len };
        let (Ok(length_field), true) = (u16::try_from(length_field), out.len() == self.len) else {
            return false;
        };
        out.copy_from_slice(&self.bytes[..self.len]);
        if is_ipv4 {
            let dont_fragment = match self.parameters.df {
                DfPolicy::Copy => inner.dont_fragment,
                DfPolicy::Set => true,
                DfPolicy::Clear => false,
            };
            let (identification, flags) = if dont_fragment { (0, 0x4000) } else { (sequence as u16, 0) };
            let header_checksum = self
                .sum
                .word(u16::from(traffic_class))
                .word(length_field)
                .word(identification)
                .word(flags)
                .checksum();
            out[1] = traffic_class;
            out[2..4].copy_from_slice(&length_field.to_be_bytes());
            out[4..6].copy_from_slice(&identification.to_be_bytes());
            out[6..8].copy_from_slice(&flags.to_be_bytes());
            out[10..12].copy_from_slice(&header_checksum.to_be_bytes());
        } else {
            out[0] |= traffic_class >> 4;
            out[1] |= traffic_class << 4;
            out[4..6].copy_from_slice(&length_field.to_be_bytes());
        }
        if self.len != self.ip_len {
            // The IP length field fits, so the shorter UDP length does too.
            let udp_len = (total_len - self.ip_len) as u16;
            out[self.ip_len + 4..self.ip_len + 6].copy_from_slice(&udp_len.to_be_bytes());
        }
        true
    }

    /// Whether [`Self::write_udp_checksum`] has work to do: over IPv6 a UDP checksum is mandatory
    /// (RFC 8200 §8.1), over IPv4 it is sent as zero (RFC 3948 §2.1).
    #[inline]
    pub(crate) const fn needs_udp_checksum(&self) -> bool {
        self.len != self.ip_len && self.ip_len == ipv6::HEADER_LEN
    }

    /// Computes the UDP checksum of a finished outer packet.
    pub(crate) fn write_udp_checksum(&self, packet: &mut [u8]) {
        let Some(datagram) = packet.get_mut(self.ip_len..) else { return };
        let sum = self.sum.u32(datagram.len() as u32).bytes(datagram);
        if let Some(field) = datagram.get_mut(6..8) {
            field.copy_from_slice(&udp::nonzero_checksum(sum).to_be_bytes());
        }
    }
}
