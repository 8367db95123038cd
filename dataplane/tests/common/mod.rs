//! Shared by the tests of this package: root or skip, instances with unique names, frames.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod bench;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dataplane::xdp;
use lab::namespace::{Namespace, connect};
use rustix::thread::LinkNameSpaceType;
use sa_table::{Action, PolicyId, PortRange, PortRecord, Prefix, Rule};

/// Whether the test can run; if not, prints the reason in the line that the test runner counts.
pub fn is_root() -> bool {
    lab::namespace::available(std::thread::current().name().unwrap_or("kernel programs"))
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

/// Runs `body` on a thread of its own inside a network namespace.
pub fn inside<T: Send>(namespace: &Namespace, body: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(format!("/run/netns/{}", namespace.name())).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let network = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(file.as_fd(), network).unwrap();
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A gateway between a host inside (10.1.0.2) and a network outside (192.0.2.2, and 10.2.0.1 behind
/// it).
pub struct Lab {
    pub inside: Namespace,
    pub gateway: Namespace,
    pub outside: Namespace,
}

impl Lab {
    pub fn new() -> Self {
        let lab = Self {
            inside: Namespace::new("in").unwrap(),
            gateway: Namespace::new("gw").unwrap(),
            outside: Namespace::new("out").unwrap(),
        };
        connect(&lab.inside, "eth0", &lab.gateway, "in0").unwrap();
        connect(&lab.gateway, "out0", &lab.outside, "eth0").unwrap();
        lab.gateway.become_router().unwrap();
        lab.inside.address("eth0", "10.1.0.2/24").unwrap();
        lab.gateway.address("in0", "10.1.0.1/24").unwrap();
        lab.gateway.address("out0", "192.0.2.1/24").unwrap();
        lab.outside.address("eth0", "192.0.2.2/24").unwrap();
        lab.outside.address("lo", "10.2.0.1/32").unwrap();
        lab.inside.route("default", "10.1.0.1").unwrap();
        lab.gateway.route("10.2.0.0/16", "192.0.2.2").unwrap();
        lab.outside.route("10.1.0.0/16", "192.0.2.1").unwrap();
        lab
    }

    /// How many of `count` UDP packets from `sender` to 10.2.0.1 arrive outside.
    pub fn arriving(&self, sender: &Namespace, count: usize) -> usize {
        self.delivered(sender, "10.2.0.1:9999", count)
    }

    /// How many of `count` UDP packets from `sender` arrive at `destination` outside.
    pub fn delivered(&self, sender: &Namespace, destination: &str, count: usize) -> usize {
        let receiver = inside(&self.outside, || bound(destination));
        receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        inside(sender, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..count {
                // A refusal by the sender's own stack counts as not arriving.
                let _ = socket.send_to(b"in clear", destination);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let mut buffer = [0; 64];
        std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).take(count).count()
    }

    /// The gateway's policy: everything from 10.1/16 to 10.2/16 is protected on `out0`.
    pub fn policy(&self) -> (Vec<PortRecord>, Vec<Vec<Rule>>) {
        let port = |id: u16, device: &str, crypto_map: bool| PortRecord {
            id,
            ifindex: 0,
            device: device.to_owned(),
            ios_name: format!("GigabitEthernet0/{id}"),
            mtu: 1500,
            has_crypto_map: crypto_map,
            crypto_addresses: if crypto_map { vec!["192.0.2.1".parse().unwrap()] } else { Vec::new() },
            rule_list: crypto_map.then_some(0),
            ..PortRecord::default()
        };
        let prefix = |address: &str| Prefix { address: address.parse().unwrap(), length: 16 };
        let rule = |source: &str| Rule {
            source: if source.is_empty() {
                Prefix { address: "192.0.2.1".parse().unwrap(), length: 32 }
            } else {
                prefix(source)
            },
            destination: prefix("10.2.0.0"),
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action: Action::Protect(PolicyId(0)),
        };
        (vec![port(0, "in0", false), port(1, "out0", true)], vec![vec![rule("10.1.0.0"), rule("")]])
    }
}

/// A socket on this address. Retried, because a process that another test forks keeps a copy of a
/// closed socket until it executes its program.
pub fn bound(address: &str) -> UdpSocket {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            bound => return bound.unwrap(),
        }
    }
}

/// Waits until the condition holds, at most 20 seconds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
