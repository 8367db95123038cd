//! Ethernet II with up to two VLAN tags (IEEE 802.3, 802.1Q, 802.1ad).

use core::fmt;

use crate::WireError;
use crate::bytes::{read_array, read_u16, write_u16};

/// Bytes of an untagged header.
pub const HEADER_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// Bytes of the longest header that is understood: two tags.
pub const MAX_HEADER_LEN: usize = HEADER_LEN + 2 * TAG_LEN;
/// Offset of the first ethertype.
pub const ETHERTYPE_OFFSET: usize = 12;
/// VLAN identifier within a tag's control word.
pub const VLAN_ID_MASK: u16 = 0x0fff;

/// IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q customer tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// 802.1ad service tag.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// Whether an ethertype announces a VLAN tag.
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN)
}

/// A 48-bit MAC address.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set (multicast or broadcast).
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Checked view of a frame: the header, and the payload behind its tags.
#[derive(Clone, Copy, Debug)]
pub struct Frame<B> {
    buffer: B,
    header_len: usize,
}

impl<B: AsRef<[u8]>> Frame<B> {
    /// Checks that the frame holds its header and tags.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        let header_len =
            usize::from(crate::parse::link(buffer.as_ref()).map_err(|_| WireError::Truncated)?.len);
        if buffer.as_ref().len() < header_len {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer, header_len })
    }

    /// Destination MAC address.
    pub fn destination(&self) -> MacAddress {
        MacAddress(read_array(self.buffer.as_ref(), 0))
    }

    /// Source MAC address.
    pub fn source(&self) -> MacAddress {
        MacAddress(read_array(self.buffer.as_ref(), 6))
    }

    /// Ethertype behind the tags.
    pub fn ethertype(&self) -> u16 {
        read_u16(self.buffer.as_ref(), self.header_len - 2)
    }

    /// Bytes of header and tags.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What follows the header, link padding included.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[self.header_len..]
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Frame<B> {
    /// Sets the destination MAC address.
    pub fn set_destination(&mut self, address: MacAddress) {
        self.buffer.as_mut()[..6].copy_from_slice(&address.0);
    }

    /// Sets the source MAC address.
    pub fn set_source(&mut self, address: MacAddress) {
        self.buffer.as_mut()[6..12].copy_from_slice(&address.0);
    }

    /// What follows the header.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[self.header_len..]
    }
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`ETHERTYPE_VLAN`] or [`ETHERTYPE_SERVICE_VLAN`].
    pub ethertype: u16,
    /// Priority (3 bits), drop eligible indicator (1 bit), VLAN identifier (12 bits).
    pub control: u16,
}

impl Tag {
    /// An 802.1Q tag with priority 0.
    pub const fn vlan(id: u16) -> Self {
        Self { ethertype: ETHERTYPE_VLAN, control: id & VLAN_ID_MASK }
    }
}

/// Builder of a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination MAC address.
    pub destination: MacAddress,
    /// Source MAC address.
    pub source: MacAddress,
    /// Tags, outermost first; a second one only behind a first one.
    pub tags: [Option<Tag>; 2],
    /// Ethertype of the payload.
    pub ethertype: u16,
}

impl Header {
    /// Bytes that [`Header::emit`] writes.
    pub fn len(&self) -> usize {
        HEADER_LEN + TAG_LEN * self.tags.iter().flatten().count()
    }

    /// Never: a header has at least 14 bytes.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Reads the header of a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, WireError> {
        let view = Frame::new_checked(frame)?;
        let mut tags = [None; 2];
        for (index, tag) in tags.iter_mut().enumerate().take((view.header_len - HEADER_LEN) / TAG_LEN) {
            let at = ETHERTYPE_OFFSET + index * TAG_LEN;
            *tag = Some(Tag { ethertype: read_u16(frame, at), control: read_u16(frame, at + 2) });
        }
        Ok(Self { destination: view.destination(), source: view.source(), tags, ethertype: view.ethertype() })
    }

    /// Writes the header to the front of `buffer` and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let len = self.len();
        let header = buffer.get_mut(..len).ok_or(WireError::NoRoom)?;
        header[..6].copy_from_slice(&self.destination.0);
        header[6..12].copy_from_slice(&self.source.0);
        let mut at = ETHERTYPE_OFFSET;
        for tag in self.tags.iter().flatten() {
            write_u16(header, at, tag.ethertype);
            write_u16(header, at + 2, tag.control);
            at += TAG_LEN;
        }
        write_u16(header, at, self.ethertype);
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
