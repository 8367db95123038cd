//! The test bench: endpoints, the network between them, and the state of their control planes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ike::*;

/// A seeded source of randomness (SplitMix64): the same run each time.
#[derive(Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let block = self.next().to_le_bytes();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// SPI source of the control plane, which checks for leaks.
#[derive(Clone, Default)]
pub struct WatchedSpis(pub Arc<Mutex<BTreeSet<u32>>>);

impl SpiSource for WatchedSpis {
    fn allocate(&mut self, random: &mut dyn Random) -> Option<u32> {
        let mut taken = self.0.lock().unwrap();
        loop {
            let mut bytes = [0; 4];
            random.fill(&mut bytes);
            let spi = u32::from_be_bytes(bytes);
            if spi >= 256 && taken.insert(spi) {
                return Some(spi);
            }
        }
    }

    fn claim(&mut self, spi: u32) {
        self.0.lock().unwrap().insert(spi);
    }

    fn release(&mut self, spi: u32) {
        assert!(self.0.lock().unwrap().remove(&spi), "SPI {spi:08x} was released twice");
    }
}

/// One gateway: its endpoint, and what was reported to its control plane.
pub struct Gateway {
    pub name: &'static str,
    pub address: SocketAddr,
    pub endpoint: Endpoint,
    pub spis: WatchedSpis,
    pub up: BTreeMap<IkeId, IkeInfo>,
    pub children: BTreeMap<ChildId, InstallChild>,
    /// All actions but logs, one line each.
    pub events: Vec<String>,
}

impl Gateway {
    fn note(&mut self, action: Action) {
        match action {
            Action::Log(_) | Action::PeerHeard { .. } => {}
            Action::InstallChild(child) => {
                self.events.push(format!("install {:?} for {:?}", child.child, child.replaces));
                assert!(self.up.contains_key(&child.ike), "a child of an IKE SA that is not up");
                assert!(self.children.insert(child.child, *child).is_none());
            }
            Action::OutboundReady { child } => {
                self.events.push(format!("ready {child:?}"));
                self.children.get_mut(&child).unwrap().outbound_ready = true;
            }
            Action::RemoveChild { child, reason, inbound_spi, .. } => {
                self.events.push(format!("remove {child:?} {reason:?}"));
                let removed = self.children.remove(&child).expect("removed a child that was not installed");
                assert_eq!(removed.inbound.spi, inbound_spi);
            }
            Action::IkeUp(info) => {
                self.events.push("up".into());
                assert!(self.up.insert(info.ike, *info).is_none());
            }
            Action::IkeRekeyed { old, new } => {
                self.events.push("rekeyed".into());
                assert!(self.up.remove(&old).is_some(), "rekeyed an IKE SA that was not up");
                for child in self.children.values_mut().filter(|child| child.ike == old) {
                    child.ike = new.ike;
                }
                assert!(self.up.insert(new.ike, *new).is_none());
            }
            Action::IkeDown { ike, reason, .. } => {
                self.events.push(format!("down {reason:?}"));
                assert!(self.up.remove(&ike).is_some(), "down without up");
                assert!(
                    self.children.values().all(|child| child.ike != ike),
                    "children of an IKE SA that is down"
                );
            }
            Action::InitiationFailed { reason, protected, .. } => {
                self.events.push(format!("initiation failed {reason:?} protected={protected}"));
            }
            Action::ChildFailed { reason, .. } => self.events.push(format!("child failed {reason:?}")),
            Action::ChildSoftLimit { child, .. } => self.events.push(format!("soft limit {child:?}")),
            Action::Redirected { remote, .. } => self.events.push(format!("redirected {remote}")),
            Action::PeerEndpointChanged { remote, .. } => self.events.push(format!("endpoint {remote}")),
        }
    }

    pub fn has_event(&self, prefix: &str) -> bool {
        self.events.iter().any(|event| event.starts_with(prefix))
    }

    /// The children whose outbound half may carry traffic.
    pub fn sending(&self) -> impl Iterator<Item = &InstallChild> {
        self.children.values().filter(|child| child.outbound_ready)
    }
}

/// Faults of the network.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss_percent: u64,
    pub duplicate_percent: u64,
    /// Each datagram takes 10 ms plus a random time up to this, which reorders them.
    pub jitter_ms: u64,
}

pub const CLEAN: Faults = Faults { loss_percent: 0, duplicate_percent: 0, jitter_ms: 0 };

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Time,
    order: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A filter on the wire: false drops the datagram.
pub type Filter = Box<dyn FnMut(&Datagram) -> bool>;

/// A datagram as a filter sees it.
pub struct Datagram {
    pub from: SocketAddr,
    /// "IKE_SA_INIT" and so on.
    pub exchange: &'static str,
    pub response: bool,
}

/// Several gateways and the wire between them.
pub struct Network {
    pub now: Time,
    pub gateways: Vec<Gateway>,
    pub faults: Faults,
    pub partition: bool,
    /// A NAT in front of a that keeps its address: a's ports 500 and 4500 are seen as this one and
    /// the next.
    pub nat: Option<u16>,
    pub filter: Option<Filter>,
    /// "a > b: IKE_SA_INIT request 0", in the order of sending.
    pub diagram: Vec<String>,
    pub rng: Seeded,
    flying: BinaryHeap<Reverse<Flight>>,
    order: u64,
}

pub fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn net(text: &str) -> TrafficSelector {
    let (address, length) = text.split_once('/').unwrap();
    TrafficSelector::prefix(address.parse().unwrap(), length.parse().unwrap())
}

pub const A: usize = 0;
pub const B: usize = 1;
pub const ADDRESSES: [&str; 2] = ["192.0.2.1:500", "192.0.2.2:500"];
pub const TAG: ChildTag = ChildTag(7);

/// Connection of gateway `own` to the other one, with one child policy: 10.1/16 behind a, 10.2/16
/// behind b.
pub fn connection(own: usize) -> Connection {
    let [local, remote] = [ADDRESSES[own], ADDRESSES[1 - own]].map(|address| socket(address).ip());
    let mut connection = Connection::psk(ConnectionId(1), local, remote, Secret::from("a pre-shared key"));
    let nets = [net("10.1.0.0/16"), net("10.2.0.0/16")];
    connection.children = vec![ChildPolicy {
        tag: TAG,
        local_selectors: vec![nets[own]],
        remote_selectors: vec![nets[1 - own]],
        proposals: EspProposal::defaults(),
        mode: Mode::Tunnel,
        transport_required: false,
        lifetime: ChildLifetime::default(),
    }];
    connection
}

impl Network {
    /// Gateways a and b with their connections to each other.
    pub fn pair(seed: u64) -> Self {
        Self::with(seed, |_, _, _| {})
    }

    /// The same, after `change(gateway, configuration, connection)`.
    pub fn with(seed: u64, change: impl Fn(usize, &mut EndpointConfig, &mut Connection)) -> Self {
        let mut network = Network {
            now: Time::from_millis(1_000_000),
            gateways: vec![],
            faults: CLEAN,
            partition: false,
            nat: None,
            filter: None,
            diagram: vec![],
            rng: Seeded(seed),
            flying: BinaryHeap::new(),
            order: 0,
        };
        for own in [A, B] {
            let mut config = EndpointConfig::default();
            let mut connection = connection(own);
            change(own, &mut config, &mut connection);
            network.add(own, config, connection);
        }
        network
    }

    fn add(&mut self, own: usize, config: EndpointConfig, connection: Connection) {
        let gateway = self.gateway(own, config, connection);
        self.gateways.push(gateway);
    }

    fn gateway(&mut self, own: usize, config: EndpointConfig, connection: Connection) -> Gateway {
        let spis = WatchedSpis::default();
        let random = Box::new(Seeded(self.rng.next()));
        let mut endpoint = Endpoint::new(config, random, Box::new(spis.clone()));
        endpoint.set_connection(connection);
        Gateway {
            name: ["a", "b"][own],
            address: socket(ADDRESSES[own]),
            endpoint,
            spis,
            up: BTreeMap::new(),
            children: BTreeMap::new(),
            events: vec![],
        }
    }

    /// The gateway loses all state, as by a power failure.
    pub fn restart(&mut self, own: usize) {
        let fresh = self.gateway(own, EndpointConfig::default(), connection(own));
        self.gateways[own] = fresh;
    }

    pub fn command(&mut self, which: usize, command: Command) -> Option<IkeId> {
        let result = self.gateways[which].endpoint.command(self.now, command).unwrap();
        self.drain();
        result
    }

    /// Gateway `own` initiates with its child.
    pub fn initiate(&mut self, own: usize) -> IkeId {
        let child = Some(ChildRequest::new(TAG));
        let (local, remote) = (socket(ADDRESSES[own]), socket(ADDRESSES[1 - own]));
        self.command(own, Command::Initiate { connection: ConnectionId(1), child, local, remote }).unwrap()
    }

    /// Initiates from a and runs until all is done.
    pub fn up(&mut self) {
        self.initiate(A);
        self.run_for(Duration::from_secs(2));
        self.assert_converged();
        self.diagram.clear();
        self.gateways.iter_mut().for_each(|gateway| gateway.events.clear());
    }

    /// The only IKE SA and the only child of a gateway.
    pub fn ike(&self, which: usize) -> IkeId {
        let up = &self.gateways[which].up;
        assert_eq!(up.len(), 1, "gateway {which}");
        *up.keys().next().unwrap()
    }

    pub fn child(&self, which: usize) -> ChildId {
        let children = &self.gateways[which].children;
        assert_eq!(children.len(), 1, "gateway {which}: {:?}", self.gateways[which].events);
        *children.keys().next().unwrap()
    }

    /// Takes all datagrams and actions from the endpoints; datagrams go on the wire.
    pub fn drain(&mut self) {
        for which in 0..self.gateways.len() {
            while let Some(transmit) = self.gateways[which].endpoint.poll_transmit() {
                self.send(which, transmit);
            }
            while let Some(action) = self.gateways[which].endpoint.poll_action() {
                self.gateways[which].note(action);
            }
        }
    }

    fn send(&mut self, which: usize, transmit: Transmit) {
        assert_eq!(transmit.from.ip(), self.gateways[which].address.ip());
        let message = transmit.bytes.strip_prefix(&[0; 4]).filter(|_| transmit.from.port() == 4500);
        let message = message.unwrap_or(&transmit.bytes).to_vec();
        let mut dropped = self.partition;
        if message.len() >= 28 {
            let exchange = match message[18] {
                34 => "IKE_SA_INIT",
                35 => "IKE_AUTH",
                36 => "CREATE_CHILD_SA",
                37 => "INFORMATIONAL",
                43 => "IKE_INTERMEDIATE",
                44 => "IKE_FOLLOWUP_KE",
                other => panic!("exchange {other}"),
            };
            let response = message[19] & 0x20 != 0;
            let id = u32::from_be_bytes(message[20..24].try_into().unwrap());
            let names = if which == A { "a > b" } else { "b > a" };
            let kind = if response { "response" } else { "request" };
            let datagram = Datagram { from: transmit.from, exchange, response };
            dropped |= self.filter.as_mut().is_some_and(|filter| !filter(&datagram));
            let mark = if dropped { " (lost)" } else { "" };
            self.diagram.push(format!("{names}: {exchange} {kind} {id}{mark}"));
        }
        if dropped || self.rng.chance(self.faults.loss_percent) {
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.faults.duplicate_percent));
        let mut from = transmit.from;
        if let (A, Some(base)) = (which, self.nat) {
            from.set_port(base + u16::from(from.port() == 4500));
        }
        for _ in 0..copies {
            let delay = 10 + self.rng.below(self.faults.jitter_ms + 1);
            self.order += 1;
            self.flying.push(Reverse(Flight {
                at: self.now + Duration::from_millis(delay),
                order: self.order,
                from,
                to: transmit.to,
                bytes: transmit.bytes.clone(),
            }));
        }
    }

    /// Puts a datagram on the wire with a chosen source address.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.order += 1;
        self.flying.push(Reverse(Flight { at: self.now, order: self.order, from, to, bytes }));
    }

    fn next_event(&self) -> Option<Time> {
        let flight = self.flying.peek().map(|Reverse(flight)| flight.at);
        let timers = self.gateways.iter().filter_map(|gateway| gateway.endpoint.poll_timeout());
        timers.chain(flight).min()
    }

    /// Advances to the next event; false if there is none before `end`.
    pub fn step(&mut self, end: Time) -> bool {
        self.drain();
        let Some(at) = self.next_event().filter(|&at| at <= end) else { return false };
        self.now = self.now.max(at);
        while let Some(Reverse(flight)) = self.flying.peek().filter(|Reverse(flight)| flight.at <= self.now) {
            let ip: IpAddr = flight.to.ip();
            let Some(Reverse(mut flight)) = self.flying.pop() else { break };
            if let Some(base) = self.nat.filter(|_| ip == socket(ADDRESSES[A]).ip()) {
                match flight.to.port().checked_sub(base) {
                    Some(offset @ 0..=1) => flight.to.set_port([500, 4500][usize::from(offset)]),
                    _ => continue,
                }
            }
            if let Some(gateway) = self.gateways.iter_mut().find(|gateway| gateway.address.ip() == ip) {
                gateway.endpoint.handle_datagram(self.now, flight.from, flight.to, &flight.bytes);
            }
            self.drain();
        }
        for gateway in &mut self.gateways {
            gateway.endpoint.handle_timeout(self.now);
            assert!(gateway.endpoint.poll_timeout().is_none_or(|at| at > self.now), "a timer that stays due");
        }
        self.drain();
        true
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run_checked(duration, |_| {});
    }

    /// Runs with a check after each step.
    pub fn run_checked(&mut self, duration: Duration, mut check: impl FnMut(&Network)) {
        let end = self.now + duration;
        let mut steps = 0;
        while self.step(end) {
            check(self);
            steps += 1;
            assert!(
                steps < 200_000,
                "livelock: {:?}",
                &self.diagram[self.diagram.len().saturating_sub(20)..]
            );
        }
        self.now = end;
    }

    /// Exactly one IKE SA and one child on each side, which match each other, and no other state.
    pub fn assert_converged(&self) {
        let [a, b] = [&self.gateways[A], &self.gateways[B]];
        let context = || format!("\na: {:?}\nb: {:?}\n{:#?}", a.events, b.events, self.diagram);
        assert_eq!((a.up.len(), b.up.len()), (1, 1), "IKE SAs{}", context());
        let (ike_a, ike_b) = (a.up.values().next().unwrap(), b.up.values().next().unwrap());
        assert_eq!((ike_a.local_spi, ike_a.remote_spi), (ike_b.remote_spi, ike_b.local_spi), "{}", context());
        assert_eq!((a.children.len(), b.children.len()), (1, 1), "children{}", context());
        let (child_a, child_b) = (a.children.values().next().unwrap(), b.children.values().next().unwrap());
        assert_halves_match(&child_a.outbound, &child_b.inbound);
        assert_halves_match(&child_b.outbound, &child_a.inbound);
        assert_eq!(child_a.suite, child_b.suite);
        assert_eq!(child_a.local_selectors, child_b.remote_selectors);
        assert_eq!(child_a.remote_selectors, child_b.local_selectors);
        assert!(child_a.outbound_ready && child_b.outbound_ready, "outbound not ready{}", context());
        for gateway in [a, b] {
            assert_eq!(
                gateway.spis.0.lock().unwrap().len(),
                1,
                "leaked SPIs at {}{}",
                gateway.name,
                context()
            );
        }
    }

    /// No state is left at either end.
    pub fn assert_empty(&self) {
        for gateway in &self.gateways {
            assert!(
                gateway.up.is_empty() && gateway.children.is_empty(),
                "{}: {:?}",
                gateway.name,
                gateway.events
            );
            assert!(gateway.spis.0.lock().unwrap().is_empty(), "leaked SPIs at {}", gateway.name);
            assert_eq!(gateway.endpoint.ike_sas().count(), 0, "{}", gateway.name);
        }
    }

    /// Whatever either side may send on right now, the other can decrypt.
    pub fn assert_traffic_flows(&self) {
        for (from, to) in [(A, B), (B, A)] {
            let receives =
                |spi: u32| self.gateways[to].children.values().any(|child| child.inbound.spi == spi);
            let newest = self.gateways[from].sending().last();
            let newest =
                newest.unwrap_or_else(|| panic!("nothing to send on: {:?}", self.gateways[from].events));
            assert!(
                receives(newest.outbound.spi),
                "black hole from {}: {:?} {:?}",
                self.gateways[from].name,
                self.gateways[A].events,
                self.gateways[B].events
            );
        }
    }
}

fn assert_halves_match(outbound: &ChildHalf, inbound: &ChildHalf) {
    assert_eq!(outbound.spi, inbound.spi);
    assert_eq!(outbound.encryption_key, inbound.encryption_key);
    assert_eq!(outbound.salt, inbound.salt);
    assert_eq!(outbound.integrity_key, inbound.integrity_key);
}
