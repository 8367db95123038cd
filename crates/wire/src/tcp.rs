//! TCP (RFC 9293), the fields that a gateway uses: ports, flags, the maximum segment size option.

use crate::WireError;
use crate::bytes::{read_u16, read_u32, write_u16};
use crate::checksum;

/// Bytes of a header without options.
pub const MIN_HEADER_LEN: usize = 20;

const FLAG_SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// Checked view of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Packet<B> {
    buffer: B,
    header_len: usize,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks that the slice holds the header with its options.
    pub fn new_checked(buffer: B) -> Result<Self, WireError> {
        let bytes = buffer.as_ref();
        if bytes.len() < MIN_HEADER_LEN {
            return Err(WireError::Truncated);
        }
        let header_len = usize::from(bytes[12] >> 4) * 4;
        if header_len < MIN_HEADER_LEN {
            return Err(WireError::Malformed);
        }
        if bytes.len() < header_len {
            return Err(WireError::Truncated);
        }
        Ok(Self { buffer, header_len })
    }

    /// Source port.
    pub fn source_port(&self) -> u16 {
        read_u16(self.buffer.as_ref(), 0)
    }

    /// Destination port.
    pub fn destination_port(&self) -> u16 {
        read_u16(self.buffer.as_ref(), 2)
    }

    /// Sequence number.
    pub fn sequence(&self) -> u32 {
        read_u32(self.buffer.as_ref(), 4)
    }

    /// Flags, CWR to FIN.
    pub fn flags(&self) -> u8 {
        self.buffer.as_ref()[13]
    }

    /// Whether SYN is set: the only segments that carry a maximum segment size.
    pub fn is_syn(&self) -> bool {
        self.flags() & FLAG_SYN != 0
    }

    /// Bytes of header with options.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[self.header_len..]
    }

    /// The maximum segment size option (RFC 9293 §3.7.1).
    pub fn maximum_segment_size(&self) -> Option<u16> {
        self.maximum_segment_size_offset().map(|offset| read_u16(self.buffer.as_ref(), offset))
    }

    /// Offset of the option's value, verified to lie inside the header.
    fn maximum_segment_size_offset(&self) -> Option<usize> {
        let header = &self.buffer.as_ref()[..self.header_len];
        let mut at = MIN_HEADER_LEN;
        loop {
            match *header.get(at)? {
                OPTION_END => return None,
                OPTION_NOP => at += 1,
                kind => {
                    let len = usize::from(*header.get(at + 1)?);
                    if len < 2 || at + len > header.len() {
                        return None;
                    }
                    if kind == OPTION_MSS && len == 4 {
                        return Some(at + 2);
                    }
                    at += len;
                }
            }
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Packet<B> {
    /// Lowers the maximum segment size of a SYN to `limit` and adjusts the checksum. `true` when
    /// something changed. A segment without the option is left alone: it implies 536 bytes, which
    /// every tunnel carries.
    pub fn clamp_maximum_segment_size(&mut self, limit: u16) -> bool {
        if !self.is_syn() {
            return false;
        }
        let Some(offset) = self.maximum_segment_size_offset() else { return false };
        let bytes = self.buffer.as_mut();
        let old = read_u16(bytes, offset);
        if old <= limit {
            return false;
        }
        // The value may be at an odd offset; then it straddles two words of the sum, with its bytes
        // swapped.
        let (from, to) = if offset % 2 == 0 { (old, limit) } else { (old.swap_bytes(), limit.swap_bytes()) };
        let checksum = checksum::update(read_u16(bytes, 16), from, to);
        write_u16(bytes, offset, limit);
        write_u16(bytes, 16, checksum);
        true
    }
}

#[cfg(test)]
mod tests;
