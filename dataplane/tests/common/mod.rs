//! What the tests of this package share: root or skip, instances of their own, frames.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use dataplane::xdp;

/// Whether the test can run; prints why not.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root to load eBPF programs and make namespaces");
    }
    root
}

/// A name that no other test has, also in parallel runs.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An instance whose pins are removed when the test ends, however it ends.
pub struct Instance(pub String);

impl Instance {
    pub fn new() -> Self {
        Self(unique("test"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = xdp::release(&self.0);
    }
}

/// A frame under construction.
#[derive(Clone)]
pub struct Packet {
    pub tags: Vec<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub hop_limit: u8,
    /// More fragments follow, and the offset in units of 8 octets.
    pub fragment: (bool, u16),
    pub identification: u16,
    /// IPv4 options in octets, a multiple of 4.
    pub options: usize,
    /// IPv6 extension headers: (type, octets).
    pub extensions: Vec<(u8, usize)>,
    pub payload: Vec<u8>,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ESP: u8 = 50;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

impl Packet {
    pub fn new(source: &str, destination: &str, protocol: u8) -> Self {
        Self {
            tags: Vec::new(),
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            hop_limit: 64,
            fragment: (false, 0),
            identification: 1,
            options: 0,
            extensions: Vec::new(),
            payload: vec![0x5a; 64],
        }
    }

    pub fn udp(source: &str, destination: &str, ports: (u16, u16), data: &[u8]) -> Self {
        let mut payload = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        payload.extend(u16::try_from(data.len() + 8).unwrap().to_be_bytes());
        payload.extend([0, 0]);
        payload.extend(data);
        Self { payload, ..Self::new(source, destination, UDP) }
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (index, tag) in self.tags.iter().enumerate() {
            let kind: u16 = if index + 1 < self.tags.len() { 0x88a8 } else { 0x8100 };
            frame.extend(kind.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(&mut frame, source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(&mut frame, source, destination),
            _ => panic!("addresses of one version"),
        }
        frame
    }

    fn ipv4(&self, frame: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr) {
        frame.extend([8, 0]);
        let header = 20 + self.options;
        let fragment = u16::from(self.fragment.0) << 13 | self.fragment.1;
        frame.extend([0x40 | u8::try_from(header / 4).unwrap(), 0]);
        frame.extend(u16::try_from(header + self.payload.len()).unwrap().to_be_bytes());
        frame.extend(self.identification.to_be_bytes());
        frame.extend(fragment.to_be_bytes());
        frame.extend([self.hop_limit, self.protocol, 0, 0]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        frame.extend(vec![1; self.options]);
        frame.extend(&self.payload);
    }

    fn ipv6(&self, frame: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        let fragmented = self.fragment != (false, 0);
        let mut chain = self.extensions.clone();
        if fragmented {
            chain.push((44, 8));
        }
        let length: usize = chain.iter().map(|(_, octets)| octets).sum::<usize>() + self.payload.len();
        frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        frame.extend([chain.first().map_or(self.protocol, |(kind, _)| *kind), self.hop_limit]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        for (index, (kind, octets)) in chain.iter().enumerate() {
            let next = chain.get(index + 1).map_or(self.protocol, |(kind, _)| *kind);
            let mut header = vec![0; *octets];
            header[0] = next;
            if *kind == 44 {
                let word = self.fragment.1 << 3 | u16::from(self.fragment.0);
                header[2..4].copy_from_slice(&word.to_be_bytes());
                header[6..8].copy_from_slice(&self.identification.to_be_bytes());
            } else {
                header[1] = u8::try_from(octets / 8 - 1).unwrap();
            }
            frame.extend(header);
        }
        frame.extend(&self.payload);
    }
}
