//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::bytes::{read_array, read_u16, write_u16};
use crate::{MacAddress, WireError};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const LEN: usize = 28;

const HARDWARE_ETHERNET: u16 = 1;
const PROTOCOL_IPV4: u16 = 0x0800;

/// Operation of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
}

/// An ARP packet, both view and builder: every field is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's MAC address.
    pub sender_hardware: MacAddress,
    /// Sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    pub sender_protocol: Ipv4Addr,
    /// Target's MAC address; meaningless in a request.
    pub target_hardware: MacAddress,
    /// Target's IPv4 address.
    pub target_protocol: Ipv4Addr,
}

impl Packet {
    /// Reads an ARP packet; other hardware or protocol types and other operations are
    /// [`WireError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let packet = bytes.get(..LEN).ok_or(WireError::Truncated)?;
        let is_ipv4_over_ethernet = read_u16(packet, 0) == HARDWARE_ETHERNET
            && read_u16(packet, 2) == PROTOCOL_IPV4
            && packet[4] == 6
            && packet[5] == 4;
        let operation = match read_u16(packet, 6) {
            1 if is_ipv4_over_ethernet => Operation::Request,
            2 if is_ipv4_over_ethernet => Operation::Reply,
            _ => return Err(WireError::Malformed),
        };
        Ok(Self {
            operation,
            sender_hardware: MacAddress(read_array(packet, 8)),
            sender_protocol: Ipv4Addr::from(read_array::<4>(packet, 14)),
            target_hardware: MacAddress(read_array(packet, 18)),
            target_protocol: Ipv4Addr::from(read_array::<4>(packet, 24)),
        })
    }

    /// Writes the packet to the front of `buffer` and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let packet = buffer.get_mut(..LEN).ok_or(WireError::NoRoom)?;
        write_u16(packet, 0, HARDWARE_ETHERNET);
        write_u16(packet, 2, PROTOCOL_IPV4);
        packet[4] = 6;
        packet[5] = 4;
        let operation = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        write_u16(packet, 6, operation);
        packet[8..14].copy_from_slice(&self.sender_hardware.0);
        packet[14..18].copy_from_slice(&self.sender_protocol.octets());
        packet[18..24].copy_from_slice(&self.target_hardware.0);
        packet[24..28].copy_from_slice(&self.target_protocol.octets());
        Ok(LEN)
    }

    /// The reply that the owner of the target address gives to this request.
    pub const fn reply(&self, hardware: MacAddress) -> Self {
        Self {
            operation: Operation::Reply,
            sender_hardware: hardware,
            sender_protocol: self.target_protocol,
            target_hardware: self.sender_hardware,
            target_protocol: self.sender_protocol,
        }
    }
}

#[cfg(test)]
mod tests;
