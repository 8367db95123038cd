//! ICMPv6 (RFC 4443): message view and builder, and error messages built from the packet that
//! caused them. Neighbour discovery is in [`crate::ndp`].

use core::net::{IpAddr, Ipv6Addr};

use crate::checksum::{self, Sum};
use crate::{IpSummary, Upper, WireError, icmp, ipv6, protocol};

pub use crate::icmp::{HEADER_LEN, Header};

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Redirect (RFC 4861): no error may be sent about it either.
pub const REDIRECT: u8 = 137;

/// Codes of [`UNREACHABLE`].
pub mod unreachable {
    /// No route to the destination.
    pub const NO_ROUTE: u8 = 0;
    /// Forbidden by policy.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 1;
    /// The next hop does not answer.
    pub const ADDRESS: u8 = 3;
}

/// Marks a message as ICMPv6.
#[derive(Clone, Copy, Debug)]
pub enum V6 {}

/// Checked view of an ICMPv6 message.
pub type Packet<B> = icmp::Packet<B, V6>;

impl<B: AsRef<[u8]>> icmp::Packet<B, V6> {
    /// MTU of the next hop, of a Packet Too Big message.
    pub fn next_hop_mtu(&self) -> Option<u32> {
        (self.kind() == PACKET_TOO_BIG).then(|| self.rest_of_header())
    }

    /// Whether the checksum is right for these addresses.
    pub fn checksum_ok(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        let message = self.bytes();
        pseudo_header(source, destination, message.len()).bytes(message).checksum() == 0
    }
}

impl Header {
    /// Writes the header with its checksum in front of a payload of `payload_len` bytes that is
    /// already in the buffer, and returns the length of the message.
    pub fn emit_v6(
        &self,
        buffer: &mut [u8],
        payload_len: usize,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<usize, WireError> {
        self.emit(buffer, payload_len, pseudo_header(source, destination, HEADER_LEN + payload_len))
    }
}

/// The errors that a gateway reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// Too long for the way; the MTU that fits.
    PacketTooBig {
        /// MTU in bytes.
        mtu: u32,
    },
    /// Unreachable: a code of [`mod@unreachable`].
    Unreachable(u8),
    /// The hop limit ran out.
    TimeExceeded,
}

/// Whether an error may be sent about a packet (RFC 4443 §2.4 e): not about ICMPv6 errors and
/// redirects, nor to a source that is not a single host, nor about a multicast destination unless
/// the packet is too big. The caller limits the rate.
pub fn may_answer(offender: &IpSummary, error: Error) -> bool {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (offender.source, offender.destination) else {
        return false;
    };
    let is_host = !source.is_unspecified() && !source.is_multicast() && !source.is_loopback();
    let multicast_allowed = matches!(error, Error::PacketTooBig { .. });
    let is_icmp_error = match offender.upper {
        Upper::Icmp { kind, .. } => kind < 128 || kind == REDIRECT,
        Upper::Truncated => offender.protocol == protocol::ICMPV6,
        _ => false,
    };
    is_host
        && (multicast_allowed || !destination.is_multicast())
        && !offender.fragment.is_later()
        && !is_icmp_error
}

/// Writes a whole IPv6 packet that reports `error` about `offender` (its bytes from the IP header
/// on, possibly cut short) from `source` to the offender's source. Returns its length, at most
/// [`ipv6::MIN_MTU`]. Check [`may_answer`] first.
pub fn build_error(
    buffer: &mut [u8],
    source: Ipv6Addr,
    error: Error,
    offender: &[u8],
) -> Result<usize, WireError> {
    let offender_source: [u8; 16] =
        offender.get(8..24).and_then(|bytes| bytes.try_into().ok()).ok_or(WireError::Truncated)?;
    let destination = Ipv6Addr::from(offender_source);
    let quoted = &offender[..offender.len().min(ipv6::MIN_MTU - ipv6::HEADER_LEN - HEADER_LEN)];
    let (kind, code, rest_of_header) = match error {
        Error::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu),
        Error::Unreachable(code) => (UNREACHABLE, code, 0),
        Error::TimeExceeded => (TIME_EXCEEDED, 0, 0),
    };
    let header_len =
        ipv6::Header::new(source, destination, protocol::ICMPV6, HEADER_LEN + quoted.len()).emit(buffer)?;
    let message_len = Header { kind, code, rest_of_header }.emit_quoting(
        &mut buffer[header_len..],
        quoted,
        pseudo_header(source, destination, HEADER_LEN + quoted.len()),
    )?;
    Ok(header_len + message_len)
}

fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> Sum {
    checksum::pseudo_header_v6(source, destination, protocol::ICMPV6, len as u32)
}

#[cfg(test)]
mod tests;
