//! IPv4 (RFC 791): header view, header builder, TTL decrement.

use core::net::Ipv4Addr;

use crate::WireError;
use crate::bytes::{read_array, read_u16, write_u16};
use crate::checksum;

/// Bytes of a header without options.
pub const MIN_HEADER_LEN: usize = 20;
/// Bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 60;

const TOS: usize = 1;
const TOTAL_LEN: usize = 2;
const IDENTIFICATION: usize = 4;
const FLAGS: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Checked view of an IPv4 packet; the slice may be longer than the packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<B> {
    buffer: B,
    header_len: usize,
    total_len: usize,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks version, header length and total length against the slice. The header checksum is not
    /// verified.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        let bytes = buffer.as_ref();
        if bytes.len() < MIN_HEADER_LEN {
            return Err(WireError::Truncated);
        }
        let header_len = usize::from(bytes[0] & 0x0f) * 4;
        let total_len = usize::from(read_u16(bytes, TOTAL_LEN));
        if bytes[0] >> 4 != 4 || header_len < MIN_HEADER_LEN || total_len < header_len {
            return Err(WireError::Malformed);
        }
        if bytes.len() < total_len {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer, header_len, total_len })
    }

    /// Bytes of header with options.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of the packet, header included.
    pub fn total_len(&self) -> usize {
        self.total_len
    }

    /// Type of service: DSCP and ECN.
    pub fn tos(&self) -> u8 {
        self.buffer.as_ref()[TOS]
    }

    /// Identification.
    pub fn identification(&self) -> u16 {
        read_u16(self.buffer.as_ref(), IDENTIFICATION)
    }

    /// DF.
    pub fn dont_fragment(&self) -> bool {
        read_u16(self.buffer.as_ref(), FLAGS) & DONT_FRAGMENT != 0
    }

    /// MF.
    pub fn more_fragments(&self) -> bool {
        read_u16(self.buffer.as_ref(), FLAGS) & MORE_FRAGMENTS != 0
    }

    /// Offset of this fragment's payload in bytes.
    pub fn fragment_offset(&self) -> u16 {
        (read_u16(self.buffer.as_ref(), FLAGS) & OFFSET_MASK) << 3
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.buffer.as_ref()[TTL]
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> u8 {
        self.buffer.as_ref()[PROTOCOL]
    }

    /// Header checksum as in the packet.
    pub fn checksum(&self) -> u16 {
        read_u16(self.buffer.as_ref(), CHECKSUM)
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(read_array::<4>(self.buffer.as_ref(), SOURCE))
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(read_array::<4>(self.buffer.as_ref(), DESTINATION))
    }

    /// Options with their padding.
    pub fn options(&self) -> &[u8] {
        &self.buffer.as_ref()[MIN_HEADER_LEN..self.header_len]
    }

    /// The payload, cut at the total length.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[self.header_len..self.total_len]
    }

    /// Whether the header checksum is right. A router must drop the packet otherwise (RFC 1812
    /// §5.2.2).
    pub fn checksum_ok(&self) -> bool {
        checksum::internet(&self.buffer.as_ref()[..self.header_len]) == 0
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Packet<B> {
    /// Decrements the TTL and adjusts the checksum (RFC 1624). `false`, and nothing changed, when
    /// the packet must not travel on (RFC 1812 §5.3.1): the caller answers with Time Exceeded.
    #[inline]
    pub fn decrement_ttl(&mut self) -> bool {
        let ttl = self.ttl();
        if ttl <= 1 {
            return false;
        }
        self.update_byte_pair(TTL, (ttl - 1, self.protocol()));
        true
    }

    /// Sets the TOS byte and adjusts the checksum.
    #[inline]
    pub fn update_tos(&mut self, tos: u8) {
        let version_and_length = self.buffer.as_ref()[0];
        self.update_byte_pair(0, (version_and_length, tos));
    }

    /// The payload, cut at the total length.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[self.header_len..self.total_len]
    }

    /// Recomputes the header checksum.
    pub fn fill_checksum(&mut self) {
        let header = &mut self.buffer.as_mut()[..self.header_len];
        fill_checksum(header);
    }

    fn update_byte_pair(&mut self, offset: usize, (first, second): (u8, u8)) {
        let bytes = self.buffer.as_mut();
        let new = u16::from_be_bytes([first, second]);
        let checksum = checksum::update(read_u16(bytes, CHECKSUM), read_u16(bytes, offset), new);
        write_u16(bytes, offset, new);
        write_u16(bytes, CHECKSUM, checksum);
    }
}

/// Builder of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub identification: u16,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// Offset of this fragment's payload in bytes, a multiple of 8 below 65536.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Options, a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
    /// Bytes that follow the header.
    pub payload_len: usize,
}

impl<'a> Header<'a> {
    /// An unfragmented packet without options: DF set, TTL 64.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload_len: usize) -> Self {
        Self {
            tos: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            source,
            destination,
            options: &[],
            payload_len,
        }
    }

    /// Bytes that [`Header::emit`] writes.
    pub const fn header_len(&self) -> usize {
        MIN_HEADER_LEN + self.options.len()
    }

    /// Reads a packet's header. The reserved flag and the checksum are not represented.
    pub fn parse(packet: &'a [u8]) -> Result<Self, WireError> {
        let view = Packet::new_checked(packet)?;
        Ok(Self {
            tos: view.tos(),
            identification: view.identification(),
            dont_fragment: view.dont_fragment(),
            more_fragments: view.more_fragments(),
            fragment_offset: view.fragment_offset(),
            ttl: view.ttl(),
            protocol: view.protocol(),
            source: view.source(),
            destination: view.destination(),
            options: &packet[MIN_HEADER_LEN..view.header_len],
            payload_len: view.total_len - view.header_len,
        })
    }

    /// Writes the header with its checksum to the front of `buffer` and returns its length. The
    /// payload is not touched and need not be in the buffer yet.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let header_len = self.header_len();
        let options_fit = self.options.len().is_multiple_of(4) && header_len <= MAX_HEADER_LEN;
        let total_len = u16::try_from(header_len + self.payload_len).map_err(|_| WireError::OutOfRange)?;
        if !options_fit || !self.fragment_offset.is_multiple_of(8) {
            return Err(WireError::OutOfRange);
        }
        let header = buffer.get_mut(..header_len).ok_or(WireError::NoRoom)?;
        header[0] = 0x40 | (header_len / 4) as u8;
        header[TOS] = self.tos;
        write_u16(header, TOTAL_LEN, total_len);
        write_u16(header, IDENTIFICATION, self.identification);
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 }
            | if self.more_fragments { MORE_FRAGMENTS } else { 0 }
            | self.fragment_offset >> 3;
        write_u16(header, FLAGS, flags);
        header[TTL] = self.ttl;
        header[PROTOCOL] = self.protocol;
        header[SOURCE..DESTINATION].copy_from_slice(&self.source.octets());
        header[DESTINATION..MIN_HEADER_LEN].copy_from_slice(&self.destination.octets());
        header[MIN_HEADER_LEN..].copy_from_slice(self.options);
        fill_checksum(header);
        Ok(header_len)
    }
}

fn fill_checksum(header: &mut [u8]) {
    write_u16(header, CHECKSUM, 0);
    let checksum = checksum::internet(header);
    write_u16(header, CHECKSUM, checksum);
}

#[cfg(test)]
mod tests;
