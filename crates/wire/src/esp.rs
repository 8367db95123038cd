//! The ESP header (RFC 4303 §2): the clear part before the ciphertext.

use crate::WireError;
use crate::bytes::{read_u32, write_u32};

/// Bytes of SPI and sequence number.
pub const HEADER_LEN: usize = 8;

/// Checked view of an ESP packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<B> {
    buffer: B,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks that SPI and sequence number are there.
    #[inline]
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        if buffer.as_ref().len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer })
    }

    /// Security parameters index.
    #[inline]
    pub fn spi(&self) -> u32 {
        read_u32(self.buffer.as_ref(), 0)
    }

    /// The low 32 bits of the sequence number.
    #[inline]
    pub fn sequence(&self) -> u32 {
        read_u32(self.buffer.as_ref(), 4)
    }

    /// What follows the header: IV, ciphertext, ICV.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..]
    }
}

/// Builder of an ESP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Security parameters index.
    pub spi: u32,
    /// The low 32 bits of the sequence number.
    pub sequence: u32,
}

impl Header {
    /// Reads a packet's header.
    pub fn parse(packet: &[u8]) -> Result<Self, WireError> {
        let view = Packet::new_checked(packet)?;
        Ok(Self { spi: view.spi(), sequence: view.sequence() })
    }

    /// Writes the header to the front of `buffer` and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let header = buffer.get_mut(..HEADER_LEN).ok_or(WireError::NoRoom)?;
        write_u32(header, 0, self.spi);
        write_u32(header, 4, self.sequence);
        Ok(HEADER_LEN)
    }
}

/// What the payload of a UDP datagram on port 4500 is (RFC 3948 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpPayload {
    /// ESP, with the SPI in the first word.
    Esp,
    /// IKE behind the four zero bytes of the non-ESP marker.
    Ike,
    /// A NAT keepalive: one byte 0xff.
    Keepalive,
    /// None of these.
    Unknown,
}

impl UdpPayload {
    /// Classifies by the first bytes.
    #[inline]
    pub fn classify(payload: &[u8]) -> Self {
        match payload {
            [0xff] => Self::Keepalive,
            [0, 0, 0, 0, ..] => Self::Ike,
            [_, _, _, _, _, _, _, _, ..] => Self::Esp,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
