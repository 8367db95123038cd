//! UDP (RFC 768).

use core::net::IpAddr;

use crate::WireError;
use crate::bytes::{read_u16, write_u16};
use crate::checksum::{self, Sum};
use crate::protocol;

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// Checked view of a UDP datagram; the slice may be longer than the datagram.
#[derive(Clone, Copy, Debug)]
pub struct Packet<B> {
    buffer: B,
    len: usize,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks that the slice holds what the length field states.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        let bytes = buffer.as_ref();
        if bytes.len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        let len = usize::from(read_u16(bytes, 4));
        if len < HEADER_LEN {
            return Err(WireError::Malformed);
        }
        if bytes.len() < len {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer, len })
    }

    /// Source port.
    pub fn source_port(&self) -> u16 {
        read_u16(self.buffer.as_ref(), 0)
    }

    /// Destination port.
    pub fn destination_port(&self) -> u16 {
        read_u16(self.buffer.as_ref(), 2)
    }

    /// Bytes of header and payload. Never below [`HEADER_LEN`], therefore there is no `is_empty`.
    #[allow(clippy::len_without_is_empty, reason = "a datagram has at least its header")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Checksum as in the datagram; 0 means none (IPv4 only).
    pub fn checksum(&self) -> u16 {
        read_u16(self.buffer.as_ref(), 6)
    }

    /// The payload, cut at the length field.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..self.len]
    }

    /// Whether the checksum is right for these addresses. An absent one passes over IPv4 only (RFC
    /// 8200 §8.1).
    pub fn checksum_ok(&self, source: IpAddr, destination: IpAddr) -> bool {
        if self.checksum() == 0 {
            return source.is_ipv4() && destination.is_ipv4();
        }
        checksum::pseudo_header(source, destination, protocol::UDP, self.len as u32)
            .is_some_and(|sum| sum.bytes(&self.buffer.as_ref()[..self.len]).checksum() == 0)
    }
}

/// Builder of a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Bytes that follow the header.
    pub payload_len: usize,
}

impl Header {
    /// Reads a datagram's header. The checksum is not represented.
    pub fn parse(datagram: &[u8]) -> Result<Self, WireError> {
        let view = Packet::new_checked(datagram)?;
        Ok(Self {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            payload_len: view.len - HEADER_LEN,
        })
    }

    /// Writes the header, without a checksum, to the front of `buffer` and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let len = u16::try_from(HEADER_LEN + self.payload_len).map_err(|_| WireError::OutOfRange)?;
        let header = buffer.get_mut(..HEADER_LEN).ok_or(WireError::NoRoom)?;
        write_u16(header, 0, self.source_port);
        write_u16(header, 2, self.destination_port);
        write_u16(header, 4, len);
        write_u16(header, 6, 0);
        Ok(HEADER_LEN)
    }

    /// Writes the header with its checksum in front of a payload that is already in the buffer, and
    /// returns the length of the datagram.
    pub fn emit_with_checksum(
        &self,
        buffer: &mut [u8],
        source: IpAddr,
        destination: IpAddr,
    ) -> Result<usize, WireError> {
        let len = HEADER_LEN + self.payload_len;
        let datagram = buffer.get_mut(..len).ok_or(WireError::NoRoom)?;
        self.emit(datagram)?;
        let sum = checksum::pseudo_header(source, destination, protocol::UDP, len as u32)
            .ok_or(WireError::OutOfRange)?;
        let checksum = nonzero_checksum(sum.bytes(datagram));
        write_u16(datagram, 6, checksum);
        Ok(len)
    }
}

/// The checksum as UDP sends it: a computed 0 becomes 0xffff, because 0 means "none" (RFC 768).
#[inline]
pub const fn nonzero_checksum(sum: Sum) -> u16 {
    match sum.checksum() {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests;
