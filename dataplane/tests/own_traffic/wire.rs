//! Captures what arrives at the far end.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use lab::namespace::Namespace;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::common::inside;

/// How long to capture after the packet was sent.
const LOOK: Duration = Duration::from_millis(300);
/// The text that `send.py` sends.
const TEXT: &[u8] = b"in clear";

/// `PACKET_OUTGOING`, include/uapi/linux/if_packet.h.
const OUTGOING: u8 = 4;

/// Number of frames with the text that arrived in a namespace while `send` ran and shortly after.
/// Answers that quote it count too.
pub fn seen(namespace: &Namespace, device: &str, send: impl FnOnce()) -> usize {
    assert!(namespace.ip(&["-br", "link", "show", device]).unwrap().contains("UP"), "{device} is up");
    let capture: OwnedFd = inside(namespace, || {
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap()
    });
    set_socket_timeout(&capture, Timeout::Recv, Some(Duration::from_millis(20))).unwrap();
    send();
    let end = Instant::now() + LOOK;
    let mut buffer = vec![0; 1 << 16];
    let mut count = 0;
    while Instant::now() < end {
        let Ok((length, from)) = recvfrom::<LinkAddr>(capture.as_raw_fd(), &mut buffer) else { continue };
        let came_in = from.is_some_and(|from| from.pkttype() != OUTGOING);
        count += usize::from(came_in && has_text(&buffer[..length]));
    }
    count
}

pub fn has_text(octets: &[u8]) -> bool {
    octets.windows(TEXT.len()).any(|window| window == TEXT)
}

pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub fn mac_of(namespace: &Namespace, device: &str) -> [u8; 6] {
    let link = namespace.ip(&["-br", "link", "show", device]).unwrap();
    let text = link.split_whitespace().nth(2).unwrap();
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    octets.try_into().unwrap()
}

/// Writes the checksum of an IPv4 header.
pub fn set_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!((folded + (folded >> 16)) as u16)).to_be_bytes());
}
