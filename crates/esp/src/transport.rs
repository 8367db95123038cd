//! Transport mode (RFC 4303 §3.1.1): the packet keeps its IP header, ESP is inserted between it and
//! its payload.

use wire::{checksum, ipv4, ipv6, parse, protocol, udp};

/// Where the IP header of a packet ends, and what follows it. IPv6 extension headers count as
/// header: ESP follows them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Bytes of the IP header, options and extension headers included.
    pub len: usize,
    /// The protocol behind the header.
    pub protocol: u8,
    /// Total length of the packet by its own field.
    pub total_len: usize,
    is_fragment: bool,
    is_ipv4: bool,
}

impl Header {
    /// `None` unless a complete IPv4 or IPv6 packet starts here.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let ip = parse::ip_at(packet, 0).ok()?;
        Some(Self {
            len: ip.header_len.into(),
            protocol: ip.protocol,
            total_len: ip.total_len as usize,
            is_fragment: ip.fragment.is_fragment(),
            is_ipv4: ip.is_ipv4(),
        })
    }

    /// RFC 4303 §3.3.4: "transport mode ESP is applied only to whole IP datagrams (not to IP
    /// fragments)".
    pub(crate) const fn is_fragment(&self) -> bool {
        self.is_fragment
    }

    /// Rewrites the header at the start of `packet` for payload protocol `protocol` and the length
    /// of `packet`. `false` when the length field would overflow, or the header is not what
    /// [`Self::read`] saw.
    pub(crate) fn rewrite(&self, packet: &mut [u8], protocol: u8) -> bool {
        let total_len = packet.len();
        if self.is_ipv4 {
            let (Ok(total_len), Some(header)) = (u16::try_from(total_len), packet.get_mut(..self.len)) else {
                return false;
            };
            if header.len() < ipv4::MIN_HEADER_LEN {
                return false;
            }
            header[2..4].copy_from_slice(&total_len.to_be_bytes());
            header[9] = protocol;
            header[10..12].fill(0);
            let sum = checksum::internet(header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            return true;
        }
        let Some(payload_len) =
            total_len.checked_sub(ipv6::HEADER_LEN).and_then(|len| u16::try_from(len).ok())
        else {
            return false;
        };
        let Some(field) = last_next_header(packet, self.len) else { return false };
        packet[4..6].copy_from_slice(&payload_len.to_be_bytes());
        packet[field] = protocol;
        true
    }
}

/// Where the last next-header field of an IPv6 header chain of `header_len` bytes lies.
fn last_next_header(packet: &[u8], header_len: usize) -> Option<usize> {
    const NEXT_HEADER: usize = 6;
    let (mut field, mut end) = (NEXT_HEADER, ipv6::HEADER_LEN);
    while end < header_len {
        let is_fragment = *packet.get(field)? == protocol::FRAGMENT;
        field = end;
        let len = if is_fragment { 8 } else { (usize::from(*packet.get(end + 1)?) + 1) * 8 };
        end += len;
    }
    (end == header_len && packet.len() >= header_len).then_some(field)
}

/// Recomputes the TCP or UDP checksum of an opened packet (RFC 3948 §3.1.2): a NAT on the way has
/// changed addresses that it covers. The text was authenticated, so the old checksum need not be
/// verified.
pub(crate) fn fix_checksum(packet: &mut [u8]) {
    let Ok(ip) = parse::ip_at(&*packet, 0) else { return };
    let Some(payload) = packet.get_mut(usize::from(ip.header_len)..ip.total_len as usize) else { return };
    let field = match ip.protocol {
        protocol::TCP => 16..18,
        protocol::UDP => 6..8,
        _ => return,
    };
    let Some(old) = payload.get_mut(field.clone()) else { return };
    // A sender that computed none over IPv4 (RFC 768) needs none now.
    if ip.protocol == protocol::UDP && ip.is_ipv4() && *old == [0, 0] {
        return;
    }
    old.fill(0);
    let Some(sum) = checksum::pseudo_header(ip.source, ip.destination, ip.protocol, payload.len() as u32)
    else {
        return;
    };
    let sum = sum.bytes(payload);
    let value = if ip.protocol == protocol::UDP { udp::nonzero_checksum(sum) } else { sum.checksum() };
    if let Some(new) = payload.get_mut(field) {
        new.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
