//! The network between the two ends, a NAT, and the event loop in virtual milliseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};

use ike::{Command, IkeId, Transmit};

use super::gateway::Gateway;
use crate::random::Stream;

/// Start time of every history.
pub const ORIGIN: u64 = 100_000_000;

/// The end that requests the children.
pub const A: usize = 0;
/// The other end.
pub const B: usize = 1;

/// Faults that apply to each datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Loss in percent.
    pub loss: u64,
    /// Duplicates in percent.
    pub duplicates: u64,
    /// Maximum additional delay in milliseconds, on top of 10 ms; it reorders datagrams.
    pub jitter: u64,
    /// Datagrams from this end are lost.
    pub cut: [bool; 2],
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: u64,
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Two gateways and the network between them.
pub struct Network {
    /// Virtual milliseconds.
    pub now: u64,
    /// a and b.
    pub gateways: [Gateway; 2],
    /// The wire.
    pub faults: Faults,
    /// The NAT in front of a: its ports 500 and 4500 are translated to this port and the next.
    pub nat: Option<u16>,
    /// Recently sent datagrams, as material for forgeries.
    pub overheard: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// The timeline, if recorded.
    pub timeline: Option<Vec<String>>,
    /// Datagrams sent.
    pub sent: u64,
    draw: Stream,
    flying: BinaryHeap<Reverse<Flight>>,
    number: u64,
}

impl Network {
    /// Two gateways without an IKE SA.
    pub fn new(gateways: [Gateway; 2], nat: Option<u16>, draw: Stream, timeline: bool) -> Self {
        Network {
            now: ORIGIN,
            gateways,
            faults: Faults::default(),
            nat,
            overheard: Vec::new(),
            timeline: timeline.then(Vec::new),
            sent: 0,
            draw,
            flying: BinaryHeap::new(),
            number: 0,
        }
    }

    /// Adds a line to the timeline.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        let at = self.now - ORIGIN;
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!("{:>9}.{:03}  {}", at / 1000, at % 1000, text()));
        }
    }

    /// Issues a command to an endpoint; a rejected one panics.
    pub fn command(&mut self, which: usize, command: Command) -> Option<IkeId> {
        self.say(|| format!("{}: {command:?}", ["a", "b"][which]));
        let gateway = &mut self.gateways[which];
        let clock = gateway.clock(self.now);
        let result = gateway.endpoint.command(clock, command);
        self.drain(which);
        result.unwrap_or_else(|error| panic!("refused: {error}"))
    }

    /// Takes all output of an endpoint: first the records, then the datagrams.
    pub fn drain(&mut self, which: usize) {
        self.gateways[which].store_records();
        while let Some(action) = self.gateways[which].endpoint.poll_action() {
            if let Some(line) = self.gateways[which].note(action) {
                self.say(|| format!("{}: {line}", ["a", "b"][which]));
            }
        }
        while let Some(transmit) = self.gateways[which].endpoint.poll_transmit() {
            self.send(which, transmit);
        }
    }

    fn send(&mut self, which: usize, transmit: Transmit) {
        assert_eq!(transmit.from.ip(), self.gateways[which].address.ip(), "sent from a foreign address");
        self.sent += 1;
        let lost = self.faults.cut[which] || self.draw.percent(self.faults.loss);
        if self.timeline.is_some() {
            let (arrow, mark) = (["a > b", "b > a"][which], if lost { " (lost)" } else { "" });
            let line = format!("{arrow}: {}{mark}", describe(&transmit));
            self.say(|| line);
        }
        if lost {
            return;
        }
        let Transmit { mut from, to, bytes } = transmit;
        if let (A, Some(base)) = (which, self.nat) {
            from.set_port(base + u16::from(from.port() == 4500));
        }
        if self.overheard.len() == 8 {
            self.overheard.remove(0);
        }
        self.overheard.push((from, to, bytes.clone()));
        if self.draw.percent(self.faults.duplicates) {
            self.fly(from, to, bytes.clone());
        }
        self.fly(from, to, bytes);
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.number += 1;
        let at = self.now + 10 + self.draw.below(self.faults.jitter + 1);
        self.flying.push(Reverse(Flight { at, number: self.number, from, to, bytes }));
    }

    /// Delivers an injected datagram at once.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if let Some(which) = self.at(to.ip()) {
            self.deliver(which, from, to, bytes);
        }
    }

    fn at(&self, address: IpAddr) -> Option<usize> {
        self.gateways.iter().position(|gateway| gateway.address.ip() == address)
    }

    fn deliver(&mut self, which: usize, from: SocketAddr, mut to: SocketAddr, bytes: &[u8]) {
        if let (A, Some(base)) = (which, self.nat) {
            match to.port().checked_sub(base) {
                Some(offset @ 0..=1) => to.set_port([500, 4500][usize::from(offset)]),
                _ => return,
            }
        }
        let gateway = &mut self.gateways[which];
        let clock = gateway.clock(self.now);
        gateway.endpoint.handle_datagram(clock, from, to, bytes);
        self.drain(which);
    }

    /// Advances the time until `end`.
    pub fn run_until(&mut self, end: u64, mut check: impl FnMut(&Network)) {
        let mut steps = 0;
        while self.step(end) {
            check(self);
            steps += 1;
            assert!(steps < 200_000, "livelock");
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, end: u64) -> bool {
        let flight = self.flying.peek().map(|Reverse(flight)| flight.at);
        let timer = self.gateways.iter().filter_map(Gateway::due).min();
        let Some(at) = flight.into_iter().chain(timer).min().filter(|&at| at <= end) else { return false };
        self.now = self.now.max(at);
        while let Some(Reverse(flight)) = self.flying.peek().filter(|Reverse(flight)| flight.at <= self.now) {
            let which = self.at(flight.to.ip());
            let Some(Reverse(mut flight)) = self.flying.pop() else { break };
            let Some(which) = which else { continue };
            let stalled = self.gateways[which].stalled_until;
            if stalled > self.now {
                // The datagram is queued in the socket.
                flight.at = stalled;
                self.flying.push(Reverse(flight));
                continue;
            }
            self.deliver(which, flight.from, flight.to, &flight.bytes);
        }
        for which in [A, B] {
            if self.gateways[which].due().is_some_and(|due| due <= self.now) {
                let clock = self.gateways[which].clock(self.now);
                self.gateways[which].endpoint.handle_timeout(clock);
                let next = self.gateways[which].endpoint.poll_timeout();
                assert!(next.is_none_or(|at| at > clock), "a timer that stays due");
                self.drain(which);
            }
        }
        true
    }
}

fn describe(transmit: &Transmit) -> String {
    let marked = transmit.from.port() == 4500;
    let message = transmit.bytes.strip_prefix(&[0; 4]).filter(|_| marked).unwrap_or(&transmit.bytes);
    let Some(header) = message.first_chunk::<28>() else { return "keepalive".to_owned() };
    let exchange = match header[18] {
        34 => "IKE_SA_INIT",
        35 => "IKE_AUTH",
        36 => "CREATE_CHILD_SA",
        37 => "INFORMATIONAL",
        43 => "IKE_INTERMEDIATE",
        44 => "IKE_FOLLOWUP_KE",
        _ => "?",
    };
    let kind = if header[19] & 0x20 != 0 { "response" } else { "request" };
    let id = u32::from_be_bytes([header[20], header[21], header[22], header[23]]);
    let fragment = if header[16] == 53 { " fragment" } else { "" };
    format!("{exchange} {kind} {id}{fragment}")
}
