//! Reading capture files: the subset of the pcap format that is needed to read Ethernet frames.

use std::path::Path;

use crate::command::{LabError, Result};

/// One captured frame.
#[derive(Debug, Clone)]
pub struct Captured {
    /// Seconds since the epoch.
    pub time: f64,
    /// The Ethernet frame, cut at the capture's snapshot length.
    pub frame: Vec<u8>,
}

impl Captured {
    /// The IPv4 packet inside, without the Ethernet header.
    pub fn ipv4(&self) -> Option<&[u8]> {
        let packet = self.frame.get(14..)?;
        (self.frame.get(12..14)? == [0x08, 0x00] && packet.len() >= 20).then_some(packet)
    }

    /// IPv4 protocol number.
    pub fn protocol(&self) -> Option<u8> {
        self.ipv4().map(|packet| packet[9])
    }

    /// IPv4 source and destination.
    pub fn addresses(&self) -> Option<([u8; 4], [u8; 4])> {
        let packet = self.ipv4()?;
        Some((packet[12..16].try_into().ok()?, packet[16..20].try_into().ok()?))
    }
}

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const LINKTYPE_ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// Reads a whole file that tcpdump wrote on this machine. A record cut off at the end of the file
/// is ignored.
pub fn read(path: &Path) -> Result<Vec<Captured>> {
    let bytes = std::fs::read(path).map_err(LabError::io(format!("reading capture {}", path.display())))?;
    let word = |offset: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
    };
    if word(0) != Some(MAGIC_MICROSECONDS) || word(20) != Some(LINKTYPE_ETHERNET) {
        return Err(LabError::Unexpected(format!(
            "{} is no Ethernet capture of this machine",
            path.display()
        )));
    }
    let mut packets = Vec::new();
    let mut offset = FILE_HEADER;
    while let (Some(seconds), Some(micros), Some(length)) = (word(offset), word(offset + 4), word(offset + 8))
    {
        let start = offset + RECORD_HEADER;
        let Some(frame) = bytes.get(start..start + length as usize) else { break };
        packets.push(Captured { time: f64::from(seconds) + f64::from(micros) / 1e6, frame: frame.to_vec() });
        offset = start + length as usize;
    }
    Ok(packets)
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes; `None` if the text is something else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|start| u8::from_str_radix(&text[start..start + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back_and_refuses_other_text() {
        assert_eq!(from_hex(&to_hex(&[0, 1, 0xfe])), Some(vec![0, 1, 0xfe]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("zz"), None);
    }
}
