//! Neighbour discovery (RFC 4861): solicitations and advertisements.

use core::net::Ipv6Addr;

use crate::bytes::read_array;
use crate::{MacAddress, WireError, icmpv6, ipv6, protocol};

/// ICMPv6 type of a neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Hop limit that proves a message came from the link itself (RFC 4861 §7.1).
pub const HOP_LIMIT: u8 = 255;

const TARGET_LEN: usize = 16;
const OPTION_LEN: usize = 8;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;

const FLAG_ROUTER: u32 = 0x8000_0000;
const FLAG_SOLICITED: u32 = 0x4000_0000;
const FLAG_OVERRIDE: u32 = 0x2000_0000;

/// A neighbour discovery message, both view and builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has the target address?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// Sender's MAC address; absent from duplicate address detection.
        source_link_layer: Option<MacAddress>,
    },
    /// The target address is here.
    Advertisement {
        /// The address answered for.
        target: Ipv6Addr,
        /// The sender is a router.
        router: bool,
        /// Answer to a solicitation.
        solicited: bool,
        /// Replaces an existing neighbour entry.
        override_entry: bool,
        /// The target's MAC address.
        target_link_layer: Option<MacAddress>,
    },
}

impl Message {
    /// Reads an ICMPv6 message. The caller has checked hop limit 255 and the checksum. Everything
    /// else that RFC 4861 §7.1 asks for and that the message shows is checked here; unknown options
    /// are skipped.
    pub fn parse(message: &[u8]) -> Result<Self, WireError> {
        let view = icmpv6::Packet::new_checked(message)?;
        let body = view.payload();
        if body.len() < TARGET_LEN {
            return Err(WireError::Truncated);
        }
        let target = Ipv6Addr::from(read_array::<TARGET_LEN>(body, 0));
        if view.code() != 0 || target.is_multicast() {
            return Err(WireError::Malformed);
        }
        let options = &body[TARGET_LEN..];
        match view.kind() {
            NEIGHBOUR_SOLICITATION => Ok(Self::Solicitation {
                target,
                source_link_layer: link_layer_option(options, OPTION_SOURCE_LINK_LAYER)?,
            }),
            NEIGHBOUR_ADVERTISEMENT => {
                let flags = view.rest_of_header();
                Ok(Self::Advertisement {
                    target,
                    router: flags & FLAG_ROUTER != 0,
                    solicited: flags & FLAG_SOLICITED != 0,
                    override_entry: flags & FLAG_OVERRIDE != 0,
                    target_link_layer: link_layer_option(options, OPTION_TARGET_LINK_LAYER)?,
                })
            }
            _ => Err(WireError::Malformed),
        }
    }

    /// Writes a whole IPv6 packet with this message and returns its length.
    pub fn emit(
        &self,
        buffer: &mut [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<usize, WireError> {
        let (kind, flags, target, option_kind, link_layer) = match *self {
            Self::Solicitation { target, source_link_layer } => {
                (NEIGHBOUR_SOLICITATION, 0, target, OPTION_SOURCE_LINK_LAYER, source_link_layer)
            }
            Self::Advertisement { target, router, solicited, override_entry, target_link_layer } => {
                let flags = if router { FLAG_ROUTER } else { 0 }
                    | if solicited { FLAG_SOLICITED } else { 0 }
                    | if override_entry { FLAG_OVERRIDE } else { 0 };
                (NEIGHBOUR_ADVERTISEMENT, flags, target, OPTION_TARGET_LINK_LAYER, target_link_layer)
            }
        };
        let body_len = TARGET_LEN + if link_layer.is_some() { OPTION_LEN } else { 0 };
        let message_len = icmpv6::HEADER_LEN + body_len;
        let header = ipv6::Header {
            hop_limit: HOP_LIMIT,
            ..ipv6::Header::new(source, destination, protocol::ICMPV6, message_len)
        };
        let header_len = header.emit(buffer)?;
        let message = buffer.get_mut(header_len..header_len + message_len).ok_or(WireError::NoRoom)?;
        let body = &mut message[icmpv6::HEADER_LEN..];
        body[..TARGET_LEN].copy_from_slice(&target.octets());
        if let Some(address) = link_layer {
            body[TARGET_LEN] = option_kind;
            body[TARGET_LEN + 1] = 1;
            body[TARGET_LEN + 2..].copy_from_slice(&address.0);
        }
        icmpv6::Header { kind, code: 0, rest_of_header: flags }.emit_v6(
            message,
            body_len,
            source,
            destination,
        )?;
        Ok(header_len + message_len)
    }
}

/// The solicited-node multicast address of a target (RFC 4291 §2.7.1).
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, u16::from_be_bytes([b, c]))
}

/// The Ethernet address of an IPv6 multicast group (RFC 2464 §7).
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

/// Finds an Ethernet link-layer address among options. An option of length 0 makes the message
/// invalid (RFC 4861 §4.6).
fn link_layer_option(mut options: &[u8], kind: u8) -> Result<Option<MacAddress>, WireError> {
    let mut found = None;
    while let [option_kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        let option = options.get(..len).ok_or(WireError::Truncated)?;
        if len == 0 {
            return Err(WireError::Malformed);
        }
        if option_kind == kind && len == OPTION_LEN {
            found = Some(MacAddress(read_array(option, 2)));
        }
        options = &options[len..];
    }
    if options.is_empty() { Ok(found) } else { Err(WireError::Truncated) }
}

#[cfg(test)]
mod tests;
