//! A network of gateways under a virtual clock: real control planes, real IKE, real segments in
//! memory, a seeded link model and a data plane that moves packets without payload. A packet is
//! delivered only if the keys of both ends match.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::Configuration;
use config::command::{ClearCommand, Filter, ShowCommand};
use config::edit::Offline;
use config::model::InterfaceName;
use controlplane::checkpoint::Memory;
use controlplane::clock::Scale;
use controlplane::gateway::{Gateway as ControlPlane, Output};
use controlplane::plan::{Device, Devices};
use controlplane::routes::RouteChange;
use controlplane::tables::Tables;
use ike::{Endpoint, EndpointConfig, RandomSpis};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sa_table::{
    AcquireOutcome, Capacities, Checkpoint, Event, EventReceiver, EventSender, FiveTuple, InboundOwner,
    Locking, OutboundOwner, PolicyId, RuntimeWriter, Segments, SlotWord, TableReader, WorkerId,
};

/// Start time of the simulation; not zero, because a time stamp of zero means never.
const ORIGIN: Duration = Duration::from_secs(1000);
const WORKER: WorkerId = WorkerId(0);

struct Seeded(ChaCha20Rng);

impl ike::Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// A gateway: a control plane, and a data plane reduced to time stamps and counters.
pub struct Gateway {
    pub control: ControlPlane,
    pub log: Vec<(Duration, String)>,
    pub routes: BTreeSet<String>,
    address: IpAddr,
    configuration: Configuration,
    devices: Devices,
    segments: Segments,
    checkpoint: Checkpoint,
    reader: TableReader,
    runtime: RuntimeWriter,
    sender: EventSender,
    events: EventReceiver,
    outbound: BTreeMap<SlotWord, OutboundOwner>,
    inbound: BTreeMap<SlotWord, InboundOwner>,
    /// Packets held for an SA.
    held: u64,
    /// Received packets that matched an SA.
    pub received: u64,
    /// Disconnected from the network.
    pub cut: bool,
    seed: u64,
}

impl Gateway {
    fn new(seed: u64, address: &str, configuration: &str) -> Self {
        let capacities = Capacities {
            inbound_slots: 64,
            outbound_slots: 64,
            checkpoint_words: 8192,
            ..Capacities::small()
        };
        let segments = Segments::create(capacities, Locking::BestEffort).expect("segments");
        let configuration = parse(configuration);
        let name = InterfaceName::parse("GigabitEthernet0/1").expect("a name");
        let address: IpAddr = address.parse().expect("an address");
        let device = Device { ifindex: 3, mtu: 1500, addresses: vec![address], up: true };
        let (reader, runtime) =
            (segments.table_reader().expect("reader"), segments.runtime_writer().expect("runtime"));
        let gateway = Gateway {
            control: control_plane(&segments, seed, Memory::default()),
            checkpoint: segments.checkpoint().expect("checkpoint"),
            log: Vec::new(),
            routes: BTreeSet::new(),
            address,
            configuration,
            devices: Devices::from([(name, device)]),
            reader,
            runtime,
            sender: segments.event_sender(WORKER).expect("sender"),
            events: segments.event_receiver().expect("receiver"),
            segments,
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            held: 0,
            received: 0,
            cut: false,
            seed,
        };
        gateway.announce();
        gateway
    }

    fn announce(&self) {
        self.runtime.announce(WORKER, self.reader.generation());
        self.runtime.announce_policy(WORKER, self.reader.policy_version());
        // The request for an SA is withdrawn once there is one.
        if let Some(policy) =
            only_policy(&self.reader).filter(|policy| self.reader.policy_word(*policy).is_some())
        {
            self.runtime.clear_acquire(policy);
        }
    }

    /// Kills and restarts the control plane; the segments stay, and with them the checkpoint,
    /// unless `forgetful`.
    pub fn restart(&mut self, now: Duration, forgetful: bool) {
        self.seed += 1000;
        let memory = self.checkpoint.load().and_then(|(_, bytes)| Memory::decode(&bytes)).unwrap_or_default();
        self.control =
            control_plane(&self.segments, self.seed, if forgetful { Memory::default() } else { memory });
        self.routes.clear();
        self.control.configure(now, self.configuration.clone(), self.devices.clone());
    }

    /// Applies another configuration.
    pub fn configure(&mut self, now: Duration, text: &str) {
        self.configuration = parse(text);
        self.control.configure(now, self.configuration.clone(), self.devices.clone());
    }

    /// `Current peer:` of the only entry.
    pub fn current_peer(&self, now: Duration) -> Option<String> {
        let view = self.control.peers_view(now);
        view.entries[0].peers.iter().find(|peer| peer.current).map(|peer| peer.name.clone())
    }

    /// The output of all show commands about sessions and SAs.
    pub fn show_everything(&self, now: Duration) -> String {
        let (detail, brief, filter) = (true, false, Filter::default());
        [
            ShowCommand::CryptoMap(filter.clone()),
            ShowCommand::CryptoSession { detail, brief, filter: filter.clone() },
            ShowCommand::CryptoIpsecSa { detail, filter: filter.clone() },
            ShowCommand::CryptoIpsecSaCount,
            ShowCommand::CryptoIsakmpSa { detail },
            ShowCommand::CryptoIkev2Sa { detail, filter },
            ShowCommand::TohubPeers,
        ]
        .iter()
        .map(|command| self.control.show(now, command).expect("a text"))
        .collect()
    }

    /// Number of SA pairs with a peer.
    pub fn pairs_with(&self, now: Duration, address: &str) -> u32 {
        let view = self.control.peers_view(now);
        view.entries[0].peers.iter().find(|peer| peer.name == address).map_or(0, |peer| peer.sas)
    }

    /// The time of the first log line after `since` that contains all words.
    pub fn said(&self, since: Duration, words: &[&str]) -> Option<Duration> {
        let found = self.log.iter().find(|(at, text)| *at >= since && words.iter().all(|w| text.contains(w)));
        found.map(|(at, _)| *at)
    }

    /// The number of log lines that contain all words.
    pub fn count(&self, words: &[&str]) -> usize {
        self.log.iter().filter(|(_, text)| words.iter().all(|word| text.contains(word))).count()
    }
}

fn control_plane(segments: &Segments, seed: u64, memory: Memory) -> ControlPlane {
    let random = Seeded(ChaCha20Rng::seed_from_u64(seed));
    let endpoint =
        Endpoint::new(EndpointConfig::default(), Box::new(random), Box::new(RandomSpis::default()));
    let table = segments.table_writer().expect("writer");
    let runtime = segments.runtime_reader().expect("runtime reader");
    ControlPlane::new(endpoint, Tables::new(table, runtime, &memory), Scale::default(), memory)
}

fn parse(text: &str) -> Configuration {
    match config::file::parse("test", text, &mut Offline) {
        Ok(loaded) => loaded.configuration,
        Err(error) => panic!("{error}"),
    }
}

enum Travelling {
    Ike { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Esp { to: IpAddr, spi: u32, keys: sa_table::KeyMaterial, echo: bool },
}

/// Properties of the network between the gateways.
#[derive(Clone, Copy)]
pub struct Wire {
    /// Packet loss in per mille.
    pub loss: u32,
    /// Duplicated packets in per mille.
    pub duplicate: u32,
    /// Minimum delay.
    pub delay: Duration,
    /// Maximum additional delay, which also reorders.
    pub jitter: Duration,
}

impl Default for Wire {
    fn default() -> Self {
        Wire { loss: 0, duplicate: 0, delay: Duration::from_millis(20), jitter: Duration::from_millis(5) }
    }
}

/// The gateways and the network between them.
pub struct Network {
    pub now: Duration,
    pub wire: Wire,
    pub gateways: Vec<Gateway>,
    /// Data packets sent through tunnels, and their replies.
    pub sent: u64,
    pub answered: u64,
    random: ChaCha20Rng,
    travelling: BinaryHeap<Reverse<(Duration, u64)>>,
    content: BTreeMap<u64, Travelling>,
    number: u64,
    steps: u64,
}

impl Network {
    /// Creates gateways from addresses and configuration texts.
    pub fn new(seed: u64, gateways: &[(&str, String)]) -> Self {
        let mut network = Network {
            now: ORIGIN,
            wire: Wire::default(),
            gateways: (1..)
                .zip(gateways)
                .map(|(n, (a, text))| Gateway::new(seed * 100 + n, a, text))
                .collect(),
            sent: 0,
            answered: 0,
            random: ChaCha20Rng::seed_from_u64(seed),
            travelling: BinaryHeap::new(),
            content: BTreeMap::new(),
            number: 0,
            steps: 0,
        };
        for index in 0..network.gateways.len() {
            let gateway = &mut network.gateways[index];
            gateway.control.configure(ORIGIN, gateway.configuration.clone(), gateway.devices.clone());
            network.drain(index);
        }
        network
    }

    /// Advances the time without traffic.
    pub fn silence(&mut self, seconds: u64) {
        self.run_until(self.now + Duration::from_secs(seconds));
    }

    /// The first gateway sends ten packets a second for this time; the other end replies to each.
    pub fn traffic(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.send(0, true);
            self.run_until(self.now + Duration::from_millis(100));
        }
    }

    /// Sends traffic until the condition holds, at most for this time; returns the elapsed time.
    pub fn traffic_until(&mut self, seconds: u64, condition: impl Fn(&Network) -> bool) -> Duration {
        let begin = self.now;
        for _ in 0..seconds * 10 {
            if condition(self) {
                return self.now - begin;
            }
            self.send(0, true);
            self.run_until(self.now + Duration::from_millis(100));
        }
        panic!("not within {seconds} s; the log of the first gateway:\n{}", self.log_text(0));
    }

    /// The log of a gateway.
    pub fn log_text(&self, index: usize) -> String {
        let lines = self.gateways[index].log.iter();
        lines.map(|(at, text)| format!("{:9.3} {text}\n", (*at - ORIGIN).as_secs_f64())).collect()
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            let deadline = (0..self.gateways.len())
                .min_by_key(|index| self.gateways[*index].control.deadline())
                .map(|index| (self.gateways[index].control.deadline(), index));
            let arrival = self.travelling.peek().map(|Reverse((at, number))| (*at, *number));
            let timer_first = match (deadline, arrival) {
                (Some((timer, _)), Some((arrival, _))) => timer <= arrival,
                (timer, _) => timer.is_some(),
            };
            let next = if timer_first { deadline.map(|(at, _)| at) } else { arrival.map(|(at, _)| at) };
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            assert!(next >= self.now || timer_first, "the wire does not go back in time");
            // Detects a deadline that stays in the past, which would loop forever.
            self.steps = if next > self.now { 0 } else { self.steps + 1 };
            assert!(self.steps < 10_000, "no progress at {:?}:\n{}", self.now - ORIGIN, self.log_text(0));
            self.now = self.now.max(next);
            if timer_first {
                let index = deadline.map_or(0, |(_, index)| index);
                self.gateways[index].announce();
                self.gateways[index].control.handle_timeout(self.now);
                self.drain(index);
            } else {
                self.travelling.pop();
                if let Some(packet) = arrival.and_then(|(_, number)| self.content.remove(&number)) {
                    self.arrive(packet);
                }
            }
        }
    }

    fn arrive(&mut self, packet: Travelling) {
        match packet {
            Travelling::Ike { from, to, bytes } => {
                let Some(index) = self.at(to.ip()).filter(|index| !self.gateways[*index].cut) else { return };
                self.gateways[index].control.handle_datagram(self.now, from, to, &bytes);
                self.drain(index);
            }
            Travelling::Esp { to, spi, keys, echo } => {
                let Some(index) = self.at(to).filter(|index| !self.gateways[*index].cut) else { return };
                let stamp = stamp(self.now);
                let gateway = &mut self.gateways[index];
                let Some(slot) = gateway.reader.lookup_spi(spi) else { return };
                let Some(record) = gateway.reader.inbound(slot) else { return };
                assert!(record.keys == keys, "both ends of an SA have the same keys");
                let owner = gateway
                    .inbound
                    .entry(slot)
                    .or_insert_with(|| gateway.runtime.claim_inbound(WORKER, slot).expect("a claim"));
                owner.add_received(1, 100);
                owner.set_last_heard(stamp);
                gateway.received += 1;
                if echo {
                    self.send(index, false);
                } else {
                    self.answered += 1;
                }
            }
        }
    }

    /// A packet of a gateway's only policy: encrypted, or held with a request for an SA.
    fn send(&mut self, index: usize, echo: bool) {
        if echo {
            self.sent += 1;
        }
        let stamp = stamp(self.now);
        let gateway = &mut self.gateways[index];
        gateway.announce();
        let Some(policy) = only_policy(&gateway.reader) else { return };
        let Some(slot) = gateway.reader.policy_word(policy) else {
            gateway.held += 1;
            let flow = FiveTuple {
                source: "192.168.1.10".parse().expect("an address"),
                destination: "192.168.2.10".parse().expect("an address"),
                protocol: 17,
                source_port: 1,
                destination_port: 2,
            };
            if gateway.runtime.raise_acquire(policy, &flow, stamp) == AcquireOutcome::Raised {
                gateway.sender.send(&Event::Acquire { policy, flow });
            }
            self.drain(index);
            return;
        };
        let Some(record) = gateway.reader.outbound(slot) else { panic!("the word leads to no SA") };
        let owner = gateway
            .outbound
            .entry(slot)
            .or_insert_with(|| gateway.runtime.claim_outbound(WORKER, slot, record.esn).expect("a claim"));
        owner.take_sequence(1).expect("a sequence number");
        owner.add_sent(1, 100);
        owner.set_last_sent(stamp);
        let (cut, to) = (gateway.cut, record.destination);
        if !cut {
            self.post(Travelling::Esp { to, spi: record.spi, keys: record.keys.clone(), echo });
        }
    }

    /// Processes the output of a control plane and its events, until there is neither.
    fn drain(&mut self, index: usize) {
        let now = self.now;
        loop {
            let gateway = &mut self.gateways[index];
            if let Some(memory) = gateway.control.checkpoint(now) {
                gateway.checkpoint.store(&memory).expect("room in the checkpoint");
            }
            if let Some(output) = gateway.control.poll_output() {
                match output {
                    Output::Transmit(transmit) if !gateway.cut => {
                        assert_eq!(transmit.from.ip(), gateway.address);
                        let ike::Transmit { from, to, bytes } = transmit;
                        self.post(Travelling::Ike { from, to, bytes });
                    }
                    Output::Log(message) => gateway.log.push((now, message.to_string())),
                    Output::Route(RouteChange::Add(route)) => {
                        assert!(gateway.routes.insert(route.prefix.to_string()), "a route is added once");
                    }
                    Output::Route(RouteChange::Remove(route)) => {
                        assert!(gateway.routes.remove(&route.prefix.to_string()), "a route is removed once");
                    }
                    Output::Transmit(_) | Output::IkeLog(_) | Output::Resolve(_) => {}
                }
            } else if let Some((_, event)) = gateway.events.receive() {
                gateway.control.handle_event(now, &event);
            } else {
                return;
            }
        }
    }

    fn post(&mut self, packet: Travelling) {
        if self.chance(self.wire.loss) {
            return;
        }
        if self.chance(self.wire.duplicate)
            && let Travelling::Ike { from, to, bytes } = &packet
        {
            let copy = Travelling::Ike { from: *from, to: *to, bytes: bytes.clone() };
            self.enqueue(copy);
        }
        self.enqueue(packet);
    }

    fn enqueue(&mut self, packet: Travelling) {
        let jitter = u64::from(self.random.next_u32()) % (self.wire.jitter.as_micros() as u64 + 1);
        let at = self.now + self.wire.delay + Duration::from_micros(jitter);
        self.number += 1;
        self.travelling.push(Reverse((at, self.number)));
        self.content.insert(self.number, packet);
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.next_u32() % 1000 < per_mille
    }

    fn at(&self, address: IpAddr) -> Option<usize> {
        self.gateways.iter().position(|gateway| gateway.address == address)
    }
}

fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).expect("a time")
}

fn only_policy(reader: &TableReader) -> Option<PolicyId> {
    let snapshot = reader.load_policy().ok()?;
    snapshot.rule_lists.iter().flat_map(|list| list.rules.iter()).find_map(|rule| match rule.action {
        sa_table::Action::Protect(policy) => Some(policy),
        _ => None,
    })
}

impl Network {
    /// Requests a gateway's tunnel, as a packet does, which is then lost.
    pub fn originate(&mut self, index: usize) {
        self.send(index, false);
    }
}

impl Network {
    /// `clear crypto session`.
    pub fn clear_sessions(&mut self, index: usize) {
        let now = self.now;
        self.gateways[index].control.clear(now, &ClearCommand::Sessions(Filter::default()));
        self.drain(index);
    }

    /// Kills and restarts a control plane.
    pub fn restart(&mut self, index: usize, forgetful: bool) {
        let now = self.now;
        self.gateways[index].restart(now, forgetful);
        self.drain(index);
    }
}
