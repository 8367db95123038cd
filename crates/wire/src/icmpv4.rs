//! ICMP for IPv4 (RFC 792, RFC 1191): message view and builder, and error messages built from the
//! packet that caused them.

use core::net::{IpAddr, Ipv4Addr};

use crate::checksum::{self, Sum};
use crate::{IpSummary, Upper, WireError, icmp, ipv4, protocol};

pub use crate::icmp::{HEADER_LEN, Header};

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

/// Marks a message as ICMP for IPv4.
#[derive(Clone, Copy, Debug)]
pub enum V4 {}

/// Checked view of an ICMP message.
pub type Packet<B> = icmp::Packet<B, V4>;

impl<B: AsRef<[u8]>> icmp::Packet<B, V4> {
    /// MTU of the next hop, of a Fragmentation Needed message; 0 from a router older than RFC 1191.
    pub fn next_hop_mtu(&self) -> Option<u16> {
        // The upper half of the word is unused.
        (self.kind() == UNREACHABLE && self.code() == unreachable::FRAGMENTATION_NEEDED)
            .then(|| self.rest_of_header() as u16)
    }

    /// Whether the checksum is right.
    pub fn checksum_ok(&self) -> bool {
        checksum::internet(self.bytes()) == 0
    }
}

impl Header {
    /// Writes the header with its checksum in front of a payload of `payload_len` bytes that is
    /// already in the buffer, and returns the length of the message.
    pub fn emit_v4(&self, buffer: &mut [u8], payload_len: usize) -> Result<usize, WireError> {
        self.emit(buffer, payload_len, Sum::new())
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
    /// Unreachable for another reason: a code of [`mod@unreachable`].
    Unreachable(u8),
    /// The TTL ran out.
    TimeExceeded,
}

/// Whether an error may be sent about a packet (RFC 1812 §4.3.2.7): not about ICMP errors, later
/// fragments, or packets whose source or destination is not a single host. The caller also checks
/// that it did not arrive as a link broadcast, and limits the rate.
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

/// Writes a whole IPv4 packet that reports `error` about `offender` (its bytes from the IP header
/// on, possibly cut short) from `source` to the offender's source. Returns its length, at most
/// [`MAX_ERROR_LEN`]. Check [`may_answer`] first.
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
    let message_len =
        Header { kind, code, rest_of_header }.emit_quoting(&mut buffer[header_len..], quoted, Sum::new())?;
    Ok(header_len + message_len)
}

#[cfg(test)]
mod tests;
