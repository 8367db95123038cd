//! ICMP for IPv4 (RFC 792, RFC 1191): message view and builder, and error messages built from the packet that caused them.

use core::net::{IpAddr, Ipv4Addr};

use crate::bytes::{read_u16, read_u32, write_u16, write_u32};
use crate::{IpSummary, Upper, WireError, checksum, ipv4, protocol};

/// Bytes of type, code, checksum and the word behind them.
pub const HEADER_LEN: usize = 8;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;

/// Codes of [`UNREACHABLE`].
pub mod unreachable {
    /// No route to the network.
    pub const NETWORK: u8 = 0;
    /// The next hop does not answer.
    pub const HOST: u8 = 1;
    /// The packet is too long and DF is set (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Forbidden by policy (RFC 1812 §5.2.7.1).
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
}

/// Longest error message, IP header included (RFC 1812 §4.3.2.3).
pub const MAX_ERROR_LEN: usize = 576;

/// Checked view of an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Packet<B> {
    buffer: B,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks that the header is there. The checksum is not verified.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        if buffer.as_ref().len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer })
    }

    /// Message type.
    pub fn kind(&self) -> u8 {
        self.buffer.as_ref()[0]
    }

    /// Message code.
    pub fn code(&self) -> u8 {
        self.buffer.as_ref()[1]
    }

    /// The word behind the checksum; its meaning depends on the type.
    pub fn rest_of_header(&self) -> u32 {
        read_u32(self.buffer.as_ref(), 4)
    }

    /// MTU of the next hop, of a Fragmentation Needed message; 0 from a router older than RFC 1191.
    pub fn next_hop_mtu(&self) -> Option<u16> {
        (self.kind() == UNREACHABLE && self.code() == unreachable::FRAGMENTATION_NEEDED)
            .then(|| read_u16(self.buffer.as_ref(), 6))
    }

    /// What follows the header; in an error message the packet that caused it, cut short.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..]
    }

    /// Whether the checksum is right.
    pub fn checksum_ok(&self) -> bool {
        checksum::internet(self.buffer.as_ref()) == 0
    }
}

/// Builder of an ICMP message.
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
        let view = Packet::new_checked(message)?;
        Ok(Self { kind: view.kind(), code: view.code(), rest_of_header: view.rest_of_header() })
    }

    /// Writes the header with its checksum in front of a payload of `payload_len` bytes that is already in the buffer, and
    /// returns the length of the message.
    pub fn emit(&self, buffer: &mut [u8], payload_len: usize) -> Result<usize, WireError> {
        let len = HEADER_LEN + payload_len;
        let message = buffer.get_mut(..len).ok_or(WireError::NoRoom)?;
        message[0] = self.kind;
        message[1] = self.code;
        write_u16(message, 2, 0);
        write_u32(message, 4, self.rest_of_header);
        let checksum = checksum::internet(message);
        write_u16(message, 2, checksum);
        Ok(len)
    }
}

/// The errors that a gateway reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// Too long for the way and DF is set; the MTU that fits.
    FragmentationNeeded {
        /// MTU in bytes.
        mtu: u16,
    },
    /// Unreachable for another reason: a code of [`unreachable`].
    Unreachable(u8),
    /// The TTL ran out.
    TimeExceeded,
}

/// Whether an error may be sent about a packet (RFC 1812 §4.3.2.7): not about ICMP errors, later fragments, or packets whose source or
/// destination is no single host. The caller also checks that it did not arrive as a link broadcast, and limits the rate.
pub fn may_answer(offender: &IpSummary) -> bool {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (offender.source, offender.destination) else {
        return false;
    };
    let is_host = !source.is_unspecified()
        && !source.is_multicast()
        && !source.is_broadcast()
        && !source.is_loopback()
        && source.octets()[0] < 240
        && !destination.is_multicast()
        && !destination.is_broadcast();
    let is_icmp_error = match offender.upper {
        Upper::Icmp { kind, .. } => !matches!(kind, ECHO_REPLY | ECHO_REQUEST | 9 | 10 | 13..=18),
        Upper::Truncated => offender.protocol == protocol::ICMP,
        _ => false,
    };
    is_host && !offender.fragment.is_later() && !is_icmp_error
}

/// Writes a whole IPv4 packet that reports `error` about `offender` (its bytes from the IP header on, possibly cut short) from `source` to the
/// offender's source. Returns its length, at most [`MAX_ERROR_LEN`]. Ask [`may_answer`] first.
pub fn build_error(
    buffer: &mut [u8],
    source: Ipv4Addr,
    error: Error,
    offender: &[u8],
) -> Result<usize, WireError> {
    let offender_header = offender.get(..ipv4::MIN_HEADER_LEN).ok_or(WireError::Truncated)?;
    let destination =
        Ipv4Addr::from([offender_header[12], offender_header[13], offender_header[14], offender_header[15]]);
    let quoted = &offender[..offender.len().min(MAX_ERROR_LEN - ipv4::MIN_HEADER_LEN - HEADER_LEN)];
    let (kind, code, rest_of_header) = match error {
        Error::FragmentationNeeded { mtu } => {
            (UNREACHABLE, unreachable::FRAGMENTATION_NEEDED, u32::from(mtu))
        }
        Error::Unreachable(code) => (UNREACHABLE, code, 0),
        Error::TimeExceeded => (TIME_EXCEEDED, 0, 0),
    };
    let header = ipv4::Header {
        // Precedence "internetwork control" (RFC 1812 §4.3.2.5).
        tos: 0xc0,
        dont_fragment: false,
        ..ipv4::Header::new(source, destination, protocol::ICMP, HEADER_LEN + quoted.len())
    };
    let header_len = header.emit(buffer)?;
    let message = &mut buffer[header_len..];
    message.get_mut(HEADER_LEN..HEADER_LEN + quoted.len()).ok_or(WireError::NoRoom)?.copy_from_slice(quoted);
    let message_len = Header { kind, code, rest_of_header }.emit(message, quoted.len())?;
    Ok(header_len + message_len)
}

#[cfg(test)]
mod tests;
