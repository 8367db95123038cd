//! What ICMP and ICMPv6 share: the first eight bytes of a message.

use core::marker::PhantomData;

use crate::WireError;
use crate::bytes::{read_u32, write_u16, write_u32};
use crate::checksum::Sum;

/// Bytes of type, code, checksum and the word behind them.
pub const HEADER_LEN: usize = 8;

/// Checked view of a message of `Version` ([`crate::icmpv4::V4`] or [`crate::icmpv6::V6`]).
#[derive(Clone, Copy, Debug)]
pub struct Packet<B, Version> {
    buffer: B,
    version: PhantomData<Version>,
}

impl<B: AsRef<[u8]>, Version> Packet<B, Version> {
    /// Checks that the header is there. The checksum is not verified.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        if buffer.as_ref().len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer, version: PhantomData })
    }

    /// Message type.
    pub fn kind(&self) -> u8 {
        self.bytes()[0]
    }

    /// Message code.
    pub fn code(&self) -> u8 {
        self.bytes()[1]
    }

    /// The word behind the checksum; its meaning depends on the type.
    pub fn rest_of_header(&self) -> u32 {
        read_u32(self.bytes(), 4)
    }

    /// What follows the header; in an error message the packet that caused it, cut short.
    pub fn payload(&self) -> &[u8] {
        &self.bytes()[HEADER_LEN..]
    }

    /// The whole message.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

/// Builder of a message's header; `emit_v4` and `emit_v6` differ in what the checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
    /// The word behind the checksum.
    pub rest_of_header: u32,
}

impl Header {
    /// Reads a message's header.
    pub fn parse(message: &[u8]) -> Result<Self, WireError> {
        let view = Packet::<_, ()>::new_checked(message)?;
        Ok(Self { kind: view.kind(), code: view.code(), rest_of_header: view.rest_of_header() })
    }

    /// Writes the header with its checksum, `pseudo_header` included, in front of a payload that is
    /// already there.
    pub(crate) fn emit(
        &self,
        buffer: &mut [u8],
        payload_len: usize,
        pseudo_header: Sum,
    ) -> Result<usize, WireError> {
        let len = HEADER_LEN + payload_len;
        let message = buffer.get_mut(..len).ok_or(WireError::NoRoom)?;
        message[0] = self.kind;
        message[1] = self.code;
        write_u16(message, 2, 0);
        write_u32(message, 4, self.rest_of_header);
        let checksum = pseudo_header.bytes(message).checksum();
        write_u16(message, 2, checksum);
        Ok(len)
    }

    /// Writes a whole error message that quotes `quoted`.
    pub(crate) fn emit_quoting(
        &self,
        buffer: &mut [u8],
        quoted: &[u8],
        pseudo_header: Sum,
    ) -> Result<usize, WireError> {
        buffer
            .get_mut(HEADER_LEN..HEADER_LEN + quoted.len())
            .ok_or(WireError::NoRoom)?
            .copy_from_slice(quoted);
        self.emit(buffer, quoted.len(), pseudo_header)
    }
}
