//! IPv6 (RFC 8200): fixed header view and builder, fragment header builder, hop limit decrement.
//! Extension headers are walked by [`crate::parse::ipv6_at`].

use core::net::Ipv6Addr;

use crate::WireError;
use crate::bytes::{read_array, read_u16, read_u32, write_u16, write_u32};
use crate::protocol;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// Smallest MTU that every link has (RFC 8200 §5).
pub const MIN_MTU: usize = 1280;

const PAYLOAD_LEN: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

/// Checked view of an IPv6 packet; the slice may be longer than the packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<B> {
    buffer: B,
    total_len: usize,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks version and payload length against the slice.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        let bytes = buffer.as_ref();
        if bytes.len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        if bytes[0] >> 4 != 6 {
            return Err(WireError::Malformed);
        }
        let total_len = HEADER_LEN + usize::from(read_u16(bytes, PAYLOAD_LEN));
        if bytes.len() < total_len {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer, total_len })
    }

    /// Bytes of the packet, fixed header included.
    pub fn total_len(&self) -> usize {
        self.total_len
    }

    /// Traffic class: DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        let bytes = self.buffer.as_ref();
        (bytes[0] << 4) | (bytes[1] >> 4)
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        read_u32(self.buffer.as_ref(), 0) & 0x000f_ffff
    }

    /// Next header: an extension header or the upper protocol.
    pub fn next_header(&self) -> u8 {
        self.buffer.as_ref()[NEXT_HEADER]
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.buffer.as_ref()[HOP_LIMIT]
    }

    /// Source address.
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(read_array::<16>(self.buffer.as_ref(), SOURCE))
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(read_array::<16>(self.buffer.as_ref(), DESTINATION))
    }

    /// What follows the fixed header, extension headers included.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..self.total_len]
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Packet<B> {
    /// Decrements the hop limit. `false`, and nothing changed, when the packet must not travel on
    /// (RFC 8200 §3): the caller answers with Time Exceeded.
    #[inline]
    pub fn decrement_hop_limit(&mut self) -> bool {
        let hop_limit = self.hop_limit();
        if hop_limit <= 1 {
            return false;
        }
        self.buffer.as_mut()[HOP_LIMIT] = hop_limit - 1;
        true
    }

    /// Sets the traffic class.
    #[inline]
    pub fn set_traffic_class(&mut self, traffic_class: u8) {
        let bytes = self.buffer.as_mut();
        bytes[0] = 0x60 | (traffic_class >> 4);
        bytes[1] = (traffic_class << 4) | (bytes[1] & 0x0f);
    }

    /// What follows the fixed header.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN..self.total_len]
    }
}

/// Builder of the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Next header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Bytes that follow the fixed header, at most 65535.
    pub payload_len: usize,
}

impl Header {
    /// A packet with hop limit 64.
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload_len: usize) -> Self {
        Self { traffic_class: 0, flow_label: 0, next_header, hop_limit: 64, source, destination, payload_len }
    }

    /// Reads a packet's fixed header.
    pub fn parse(packet: &[u8]) -> Result<Self, WireError> {
        let view = Packet::new_checked(packet)?;
        Ok(Self {
            traffic_class: view.traffic_class(),
            flow_label: view.flow_label(),
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            source: view.source(),
            destination: view.destination(),
            payload_len: view.total_len - HEADER_LEN,
        })
    }

    /// Writes the header to the front of `buffer` and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let payload_len = u16::try_from(self.payload_len).map_err(|_| WireError::OutOfRange)?;
        if self.flow_label > 0x000f_ffff {
            return Err(WireError::OutOfRange);
        }
        let header = buffer.get_mut(..HEADER_LEN).ok_or(WireError::NoRoom)?;
        write_u32(header, 0, 0x6000_0000 | u32::from(self.traffic_class) << 20 | self.flow_label);
        write_u16(header, PAYLOAD_LEN, payload_len);
        header[NEXT_HEADER] = self.next_header;
        header[HOP_LIMIT] = self.hop_limit;
        header[SOURCE..DESTINATION].copy_from_slice(&self.source.octets());
        header[DESTINATION..].copy_from_slice(&self.destination.octets());
        Ok(HEADER_LEN)
    }
}

/// Builder of a fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Next header of the fragmented packet.
    pub next_header: u8,
    /// Offset of this fragment in bytes, a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

impl FragmentHeader {
    /// The protocol number that announces this header.
    pub const PROTOCOL: u8 = protocol::FRAGMENT;

    /// Reads a fragment header; reserved bits are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let header = bytes.get(..FRAGMENT_HEADER_LEN).ok_or(WireError::Truncated)?;
        let offset_and_more = read_u16(header, 2);
        Ok(Self {
            next_header: header[0],
            offset: offset_and_more & 0xfff8,
            more: offset_and_more & 1 != 0,
            identification: read_u32(header, 4),
        })
    }

    /// Writes the header to the front of `buffer` and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        if !self.offset.is_multiple_of(8) {
            return Err(WireError::OutOfRange);
        }
        let header = buffer.get_mut(..FRAGMENT_HEADER_LEN).ok_or(WireError::NoRoom)?;
        header[0] = self.next_header;
        header[1] = 0;
        write_u16(header, 2, self.offset | u16::from(self.more));
        write_u32(header, 4, self.identification);
        Ok(FRAGMENT_HEADER_LEN)
    }
}

#[cfg(test)]
mod tests;
