//! Malformed traffic of an attacker: datagrams that resemble IKE, and frames with errors in every
//! header. The same bytes in every run, sent in bursts with pauses, so that the gateway and not the
//! wire is the bottleneck.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket as packet;
use socket2::{Domain, Protocol, Socket, Type};

const IPPROTO_RAW: i32 = 255;
const UDP: u8 = 17;
const ESP: u8 = 50;
const BURST: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Pseudo-random bytes (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[3]).collect()
    }
}

/// Sends `count` datagrams to UDP 500 and 4500, with the sources in turn.
pub fn flood_ike(target: Ipv4Addr, count: u32, sources: &[Ipv4Addr]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
    let mut noise = Noise(0x1234_5678_9abc_def1);
    for (number, source) in (0..count).zip(sources.iter().cycle()) {
        let port = if number % 2 == 0 { 500_u16 } else { 4500 };
        let mut payload = if port == 4500 && number % 4 == 1 { vec![0; 4] } else { Vec::new() };
        payload.extend(almost_ike(&mut noise));
        let datagram = ipv4(*source, target, UDP, &udp(port, &payload));
        socket.send_to(&datagram, &SocketAddr::from((target, 0)).into())?;
        pause(number);
    }
    Ok(())
}

/// Noise, a truncated header, or a header with one wrong field (RFC 7296 §3.1: SPIs, next payload,
/// version, exchange type, flags, message ID, length).
fn almost_ike(noise: &mut Noise) -> Vec<u8> {
    let exchange = [34_u8, 35, 36, 37, 43, 255][noise.below(6)];
    let next_payload = [0_u8, 33, 34, 40, 41, 46, 53, 255][noise.below(8)];
    let flags = [0x08_u8, 0x20, 0x28, 0xff][noise.below(4)];
    let body = noise.below(300);
    let mut message = noise.bytes(8);
    // The first message of an exchange has no responder SPI.
    message.extend(if exchange == 34 { vec![0; 8] } else { noise.bytes(8) });
    message.extend([next_payload, 0x20, exchange, flags]);
    message.extend(u32::try_from(noise.below(3)).unwrap_or(0).to_be_bytes());
    let length = u32::try_from(28 + body).unwrap_or(0);
    message.extend(length.to_be_bytes());
    message.extend(noise.bytes(body));
    match noise.below(8) {
        0 => return noise.bytes(body),
        1 => message.truncate(body % 28),
        2 => message[24..28].copy_from_slice(&u32::MAX.to_be_bytes()),
        3 => message[24..28].copy_from_slice(&(length + 1).to_be_bytes()),
        4 => message[24..28].copy_from_slice(&0_u32.to_be_bytes()),
        5 => message[17] = 0xf0,
        // A payload length beyond the end of the message.
        6 if body >= 4 => message[30..32].copy_from_slice(&[0xff, 0xff]),
        _ => {}
    }
    message
}

/// Sends `count` broken frames out of an interface.
pub fn flood_frames(interface: &str, mac: &str, target: Ipv4Addr, count: u32) -> io::Result<()> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let mac = crate::pcap::from_hex(mac).ok_or_else(|| invalid("not hexadecimal"))?;
    let address = nix::ifaddrs::getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address.as_ref().and_then(packet::SockaddrStorage::as_link_addr).copied())
        .ok_or_else(|| invalid("no such interface"))?;
    let socket = packet::socket(
        packet::AddressFamily::Packet,
        packet::SockType::Raw,
        packet::SockFlag::empty(),
        None,
    )?;
    packet::bind(socket.as_raw_fd(), &address)?;
    let mut noise = Noise(0x0fed_cba9_8765_4321);
    for number in 0..count {
        let mut frame = mac.clone();
        frame.extend([2, 0, 0, 0, 0, 9]);
        frame.extend(broken_packet(&mut noise, target));
        // The kernel refuses some malformed frames, e.g. too short ones.
        let _ = packet::send(socket.as_raw_fd(), &frame, packet::MsgFlags::empty());
        pause(number);
    }
    Ok(())
}

/// The frame from the Ethernet type on.
fn broken_packet(noise: &mut Noise, target: Ipv4Addr) -> Vec<u8> {
    let source = Ipv4Addr::new(10, 1, 1, 1);
    let tail = noise.below(60);
    let payload = noise.bytes(tail);
    let mut esp = ipv4(source, target, ESP, &noise.bytes(8 + tail));
    let typed = |ethernet_type: u16, packet: &[u8]| [&ethernet_type.to_be_bytes(), packet].concat();
    match noise.below(12) {
        // Unknown content, or nothing after the Ethernet header.
        0 => noise.bytes(2 + tail),
        1 => typed(0x0800, &payload[..tail.min(19)]),
        // Version, header length, total length, checksum.
        2 => with(&mut esp, 0, 0x05, |packet| typed(0x0800, packet)),
        3 => with(&mut esp, 0, 0x4f, |packet| typed(0x0800, &packet[..28.min(packet.len())])),
        4 => with(&mut esp, 2, 0xff, |packet| typed(0x0800, packet)),
        5 => with(&mut esp, 10, noise.bytes(1)[0], |packet| typed(0x0800, packet)),
        // ESP: unknown SPI, and truncated in the header.
        6 => typed(0x0800, &esp),
        7 => typed(0x0800, &ipv4(source, target, ESP, &payload[..tail.min(7)])),
        // 802.1Q: truncated, nested, and with noise inside.
        8 => typed(0x8100, &payload[..tail.min(3)]),
        9 => typed(0x8100, &[&[0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3], payload.as_slice()].concat()),
        // ARP with unknown hardware and protocol types, truncated anywhere.
        10 => typed(0x0806, &payload[..tail.min(28)]),
        // IPv6 with a wrong length and invalid extension headers.
        _ => typed(0x86dd, &[&[0x60, 0, 0, 0, 0xff, 0xff, 0, 64], payload.as_slice()].concat()),
    }
}

fn with(packet: &mut [u8], at: usize, value: u8, finish: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    packet[at] = value;
    finish(packet)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = [port.to_be_bytes(), port.to_be_bytes()].concat();
    datagram.extend(u16::try_from(8 + payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    // Zero: no checksum.
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// A whole packet with a right checksum.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn pause(number: u32) {
    if number % BURST == BURST - 1 {
        std::thread::sleep(PAUSE);
    }
}
