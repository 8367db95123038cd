//! A gateway in memory: real segments, real workers, real rings, no kernel. For tests and
//! benchmarks (feature `lab`).
//!
//! ```text
//!   10.1.0.0/24 ── inside │ left │ outside ──── 192.0.2.0/24 ──── outside │ right │ inside ── 10.2.0.0/24
//! ```

#![allow(clippy::expect_used, reason = "a laboratory that cannot be built is a failed test")]

use crate::host::kernel::{KernelSnapshot, KernelView, PortId, PortLink, Route, SnapshotBuilder};
use crate::path::shared::Shared;
use crate::process::worker::{Worker, WorkerOptions, WorkerPort};
use af_xdp::memory::{self, MemoryKernel};
use af_xdp::{Backing, MIN_HEADROOM, Umem, UmemConfig};
use esp::AeadBackend;
use sa_table::policy::{Action, Filters, PortRecord, Prefix, Rule};
use sa_table::record::{
    AddressRange, DfPolicy, DscpPolicy, Encapsulation, EspAlgorithm, InboundSaRecord, KeyMaterial, Lifetime,
    Mode, OutboundSaRecord, PortRange, SelectorPair, Selectors, TrafficSelector,
};
use sa_table::{EventReceiver, PolicyId, RuntimeReader, Segments, SlotWord, TableWriter, WorkerId};
use std::net::IpAddr;
use std::sync::Arc;
use wire::{MacAddress, ethernet, ipv4, ipv6, protocol, udp};

/// The port toward the protected network.
pub const INSIDE: PortId = 0;
/// The port toward the peer, with the crypto map.
pub const OUTSIDE: PortId = 1;
/// MTU of both ports.
pub const MTU: u16 = 1500;

/// Which end of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// 10.1.0.0/24 and 2001:db8:1::/64 behind 192.0.2.1.
    Left,
    /// 10.2.0.0/24 and 2001:db8:2::/64 behind 192.0.2.2.
    Right,
}

impl Site {
    /// 1 or 2, used in all addresses of the site.
    fn digit(self) -> u8 {
        match self {
            Site::Left => 1,
            Site::Right => 2,
        }
    }

    /// The other end.
    pub fn peer(self) -> Site {
        match self {
            Site::Left => Site::Right,
            Site::Right => Site::Left,
        }
    }

    /// Address of the gateway on the wire.
    pub fn outside(self) -> IpAddr {
        IpAddr::from([192, 0, 2, self.digit()])
    }

    /// Host `number` of the protected network.
    pub fn host(self, number: u8) -> IpAddr {
        IpAddr::from([10, self.digit(), 0, number])
    }

    /// IPv6 host `number` of the protected network.
    pub fn host_v6(self, number: u8) -> IpAddr {
        let digit = u16::from(self.digit());
        IpAddr::from([0x2001, 0xdb8, digit, 0, 0, 0, 0, u16::from(number)])
    }

    /// The gateway's hardware address on a port.
    pub fn mac(self, port: PortId) -> [u8; 6] {
        [2, 0, 0, 0, self.digit(), port as u8]
    }

    fn networks(self) -> [(IpAddr, IpAddr, u8); 2] {
        let digit = u16::from(self.digit());
        [
            (self.host(0), self.host(255), 24),
            (
                IpAddr::from([0x2001, 0xdb8, digit, 0, 0, 0, 0, 0]),
                IpAddr::from([0x2001, 0xdb8, digit, 0, 0xffff, 0xffff, 0xffff, 0xffff]),
                64,
            ),
        ]
    }
}

/// Parameters of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    /// The cipher of both directions.
    pub algorithm: EspAlgorithm,
    /// Extended sequence numbers.
    pub esn: bool,
    /// ESP in UDP.
    pub udp: bool,
    /// Transport mode, between the gateways themselves.
    pub transport: bool,
    /// DF of outer headers.
    pub df: DfPolicy,
    /// Restricts the selectors to this protocol and destination port.
    pub service: Option<(u8, u16)>,
    /// Limits.
    pub lifetime: Lifetime,
}

impl Default for Tunnel {
    fn default() -> Tunnel {
        Tunnel {
            algorithm: EspAlgorithm::AesGcm128,
            esn: true,
            udp: false,
            transport: false,
            df: DfPolicy::Copy,
            service: None,
            lifetime: Lifetime::default(),
        }
    }
}

/// The gateway of one site.
pub struct Gateway {
    /// The site.
    pub site: Site,
    /// The control plane's end of the SA table.
    pub table: TableWriter,
    /// The control plane's end of the runtime segment.
    pub runtime: RuntimeReader,
    /// The control plane's end of the event ring.
    pub events: EventReceiver,
    /// The state shared by the workers.
    pub shared: Arc<Shared>,
    /// The packet memory.
    pub umem: Umem,
    /// The workers.
    pub workers: Vec<Worker>,
    /// For each worker the devices behind its ports.
    pub wires: Vec<[MemoryKernel; 2]>,
    /// The policy of the only permit.
    pub policy: PolicyId,
    /// CLOCK_MONOTONIC of the lab, in milliseconds.
    pub now_ms: u64,
    segments: Segments,
}

impl Gateway {
    /// A gateway with `workers` workers, rings of `ring` entries, a policy that protects its
    /// network toward the peer's, and no SA.
    pub fn new(site: Site, workers: u16, ring: u32) -> Gateway {
        Gateway::with_rules(site, workers, ring, permits)
    }

    /// A gateway whose crypto map has the rules that `rules` makes for its policy.
    pub fn with_rules(
        site: Site,
        workers: u16,
        ring: u32,
        rules: fn(Site, PolicyId) -> Vec<Rule>,
    ) -> Gateway {
        let segments = Segments::in_memory().expect("segments");
        let mut table = segments.table_writer().expect("table");
        let policy = table.allocate_policy().expect("policy");
        table.publish_policy(&ports(site), &[rules(site, policy)]).expect("publication");
        let reader = segments.table_reader().expect("table");
        let writer = segments.runtime_writer().expect("runtime");
        let kernel = Arc::new(KernelView::new(kernel(site).build()));
        let shared =
            Shared::new(reader, writer, kernel, AeadBackend::preferred(), workers.into()).expect("eventfds");
        shared.refresh_policy().expect("policy");
        let frames = u32::from(workers) * ring * 8 + 512;
        let umem =
            Umem::new(UmemConfig { frames, headroom: MIN_HEADROOM, backing: Backing::Heap }).expect("UMEM");
        let mut gateway = Gateway {
            site,
            runtime: segments.runtime_reader().expect("runtime"),
            events: segments.event_receiver().expect("events"),
            table,
            shared: Arc::new(shared),
            umem,
            workers: Vec::new(),
            wires: Vec::new(),
            policy,
            now_ms: 1_000_000,
            segments,
        };
        for worker in 0..workers {
            gateway.add_worker(WorkerId(worker), ring);
        }
        gateway
    }

    fn add_worker(&mut self, worker: WorkerId, ring: u32) {
        let open = |port| memory::socket(&self.umem, "lab", port, ring).expect("socket");
        let (inside, inside_wire) = open(u32::from(INSIDE));
        let (outside, outside_wire) = open(u32::from(OUTSIDE));
        let ports =
            vec![WorkerPort { port: INSIDE, socket: inside }, WorkerPort { port: OUTSIDE, socket: outside }];
        let events = self.segments.event_sender(worker).expect("events");
        let options = WorkerOptions { pool_limit: ring as usize * 4, ..WorkerOptions::default() };
        self.workers.push(Worker::new(Arc::clone(&self.shared), worker, events, &self.umem, ports, &options));
        self.wires.push([inside_wire, outside_wire]);
    }

    /// Publishes the permits again with filters, and lets the workers apply them.
    pub fn set_filters(&mut self, filters: &Filters) {
        self.run();
        let rules = permits(self.site, self.policy);
        self.table.publish_filtered_policy(&ports(self.site), &[rules], filters).expect("publication");
        self.shared.refresh_policy().expect("policy");
        self.run();
    }

    /// Publishes another kernel snapshot.
    pub fn set_kernel(&self, snapshot: KernelSnapshot) {
        self.shared.kernel.publish(snapshot);
    }

    /// Installs the SAs of a tunnel, inbound first, and switches the policy to them. `spi` is the
    /// inbound SPI.
    pub fn install(&mut self, tunnel: &Tunnel, spi: u32, peer_spi: u32) -> (SlotWord, SlotWord) {
        let inbound = self.install_inbound(tunnel, spi);
        let outbound =
            self.table.install_outbound(&self.outbound_record(tunnel, peer_spi)).expect("outbound slot");
        self.table.set_policy_word(self.policy, Some(outbound)).expect("policy word");
        (inbound, outbound)
    }

    /// Installs only the inbound SA.
    pub fn install_inbound(&mut self, tunnel: &Tunnel, spi: u32) -> SlotWord {
        let record = InboundSaRecord {
            spi,
            local: self.site.outside(),
            peer_address: self.site.peer().outside(),
            mode: if tunnel.transport { Mode::Transport } else { Mode::Tunnel },
            encapsulation: encapsulation(tunnel),
            keys: keys(tunnel, spi),
            esn: tunnel.esn,
            replay_window: 64,
            selectors: selectors(self.site, tunnel),
            policy: self.policy,
            peer: None,
            lifetime: tunnel.lifetime,
        };
        self.table.install_inbound(&record).expect("inbound slot")
    }

    fn outbound_record(&self, tunnel: &Tunnel, spi: u32) -> OutboundSaRecord {
        OutboundSaRecord {
            spi,
            source: self.site.outside(),
            destination: self.site.peer().outside(),
            mode: if tunnel.transport { Mode::Transport } else { Mode::Tunnel },
            encapsulation: encapsulation(tunnel),
            keys: keys(tunnel, spi),
            esn: tunnel.esn,
            selectors: selectors(self.site, tunnel),
            path_mtu: 0,
            df: tunnel.df,
            dscp: DscpPolicy::Copy,
            policy: self.policy,
            peer: None,
            lifetime: tunnel.lifetime,
        }
    }

    /// Runs rounds of every worker until none has work left.
    pub fn run(&mut self) {
        for _ in 0..64 {
            let worked: usize = self.workers.iter_mut().map(|worker| worker.poll_once(self.now_ms)).sum();
            if worked == 0 {
                return;
            }
        }
    }

    /// A frame arrives at the first worker's queue of a port.
    pub fn deliver(&mut self, port: PortId, frame: &[u8]) {
        self.deliver_to(0, port, frame);
    }

    /// A frame arrives at a worker's queue of a port.
    pub fn deliver_to(&mut self, worker: usize, port: PortId, frame: &[u8]) {
        // A round refills the fill rings.
        self.run();
        assert!(self.wires[worker][usize::from(port)].deliver(frame), "no frame for a packet");
        self.run();
    }

    /// A packet of this host's own stack.
    pub fn from_host(&mut self, packet: &[u8]) {
        let mut frame = self.umem.pool(1, 1).take().expect("a frame");
        frame.append(packet).expect("room");
        assert!(self.shared.deliver_from_host(frame).is_ok(), "room in the queue");
        self.run();
    }

    /// Frames that left by a port since the last call, from all workers.
    pub fn sent(&mut self, port: PortId) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for wires in &mut self.wires {
            frames.extend(wires[usize::from(port)].transmitted());
        }
        self.run();
        frames
    }

    /// Packets for this host's own stack.
    pub fn punted(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.shared.punt.pop()).map(|frame| frame.bytes().to_vec()).collect()
    }

    /// A drop counter over all workers, including counts not published yet.
    pub fn dropped(&mut self, reason: crate::count::drop_reason::DropReason) -> u64 {
        let pending: u64 = self.workers.iter_mut().map(|worker| worker.pipeline().drops().of(reason)).sum();
        let published = (0..self.workers.len())
            .map(|worker| self.runtime.drops(WorkerId(worker as u16)))
            .filter_map(|drops| drops.get(reason as usize).copied());
        pending + published.sum::<u64>()
    }

    /// Ends the workers; returns whether every frame was returned to its pool.
    pub fn close(mut self) -> bool {
        self.workers.iter_mut().for_each(Worker::shut_down);
        self.workers.clear();
        self.wires.clear();
        while self.shared.punt.pop().is_some() {}
        self.umem.frames_home() == self.umem.frames() as usize
    }
}

/// Installs the two SA pairs of a tunnel between two gateways.
pub fn connect(left: &mut Gateway, right: &mut Gateway, tunnel: &Tunnel) {
    let (left_spi, right_spi) = (0x1000_0001, 0x2000_0001);
    left.install(tunnel, left_spi, right_spi);
    right.install(tunnel, right_spi, left_spi);
}

/// The crypto map's permits: our networks toward the peer's.
pub fn permits(site: Site, policy: PolicyId) -> Vec<Rule> {
    let pairs = site.networks().into_iter().zip(site.peer().networks());
    let rule =
        |((source, _, length), (destination, ..)): ((IpAddr, IpAddr, u8), (IpAddr, IpAddr, u8))| Rule {
            source: Prefix { address: source, length },
            destination: Prefix { address: destination, length },
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action: Action::Protect(policy),
        };
    pairs.map(rule).collect()
}

/// The kernel snapshot at a site: both ports up, neighbours known, the peer's network behind the
/// peer.
pub fn kernel(site: Site) -> SnapshotBuilder {
    let link = |port: PortId| PortLink {
        ifindex: u32::from(port) + 1,
        name: format!("lab{port}"),
        mac: site.mac(port),
        mtu: MTU,
        vlan: None,
        up: true,
    };
    let peer = site.peer();
    let mut builder = SnapshotBuilder::new()
        .port(INSIDE, link(INSIDE))
        .port(OUTSIDE, link(OUTSIDE))
        .address(INSIDE, site.host(1))
        .address(INSIDE, site.host_v6(1))
        .address(OUTSIDE, site.outside())
        .route(IpAddr::from([192, 0, 2, 0]), 24, 0, Route::OnLink { port: OUTSIDE })
        .route(IpAddr::from([0, 0, 0, 0]), 0, 0, Route::Via { port: OUTSIDE, next_hop: peer.outside() })
        .route(IpAddr::from([0u16; 8]), 0, 0, Route::Via { port: OUTSIDE, next_hop: peer.outside() })
        .neighbour(OUTSIDE, peer.outside(), peer.mac(OUTSIDE));
    for (network, _, length) in site.networks() {
        builder = builder.route(network, length, 0, Route::OnLink { port: INSIDE });
    }
    for host in 2..10 {
        let mac = [2, 0, 0, 1, site.digit(), host];
        builder = builder.neighbour(INSIDE, site.host(host), mac).neighbour(INSIDE, site.host_v6(host), mac);
    }
    builder
}

fn ports(site: Site) -> [PortRecord; 2] {
    let port = |id: PortId| PortRecord {
        id,
        ifindex: u32::from(id) + 1,
        device: format!("lab{id}"),
        ios_name: format!("GigabitEthernet0/{id}"),
        mtu: MTU.into(),
        has_crypto_map: id == OUTSIDE,
        crypto_addresses: if id == OUTSIDE { vec![site.outside()] } else { Vec::new() },
        rule_list: (id == OUTSIDE).then_some(0),
        ..PortRecord::default()
    };
    [port(INSIDE), port(OUTSIDE)]
}

fn encapsulation(tunnel: &Tunnel) -> Encapsulation {
    if tunnel.udp { Encapsulation::Udp { local_port: 4500, remote_port: 4500 } } else { Encapsulation::None }
}

/// Keys that both ends derive from the SPI of the direction.
fn keys(tunnel: &Tunnel, spi: u32) -> KeyMaterial {
    let algorithm = tunnel.algorithm;
    let key = |len: usize| -> Vec<u8> { (0..len).map(|index| (spi >> 28) as u8 ^ index as u8).collect() };
    let (encryption, integrity) = (key(algorithm.cipher_key_len()), key(algorithm.integrity_key_len()));
    KeyMaterial::new(tunnel.algorithm, &encryption, &integrity, &[7; 4][..algorithm.salt_len()])
        .expect("keys of the right length")
}

fn selectors(site: Site, tunnel: &Tunnel) -> Selectors {
    let ends = |(first, last, _): (IpAddr, IpAddr, u8), ports| TrafficSelector {
        addresses: AddressRange { first, last },
        ports,
    };
    let ports = tunnel.service.map_or(PortRange::ANY, |(_, port)| PortRange::single(port));
    if tunnel.transport {
        let end = |address| ends((address, address, 32), ports);
        let pair =
            SelectorPair { protocol: None, local: end(site.outside()), remote: end(site.peer().outside()) };
        return Selectors::new(&[pair]).expect("one pair");
    }
    let pairs: Vec<SelectorPair> = site
        .networks()
        .into_iter()
        .zip(site.peer().networks())
        .map(|(local, remote)| SelectorPair {
            protocol: tunnel.service.map(|(protocol, _)| protocol),
            local: ends(local, ports),
            remote: ends(remote, ports),
        })
        .collect();
    Selectors::new(&pairs).expect("two pairs")
}

/// An Ethernet frame for the gateway of `site` on `port` with this IP packet in it.
pub fn frame(site: Site, port: PortId, packet: &[u8]) -> Vec<u8> {
    let v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    let header = ethernet::Header {
        destination: MacAddress(site.mac(port)),
        source: MacAddress([2, 0, 0, 9, 9, 9]),
        tags: [None; 2],
        ethertype: if v4 { ethernet::ETHERTYPE_IPV4 } else { ethernet::ETHERTYPE_IPV6 },
    };
    let mut bytes = vec![0; header.len()];
    header.emit(&mut bytes).expect("room");
    bytes.extend_from_slice(packet);
    bytes
}

/// A UDP packet, DF set, TTL 64, ports 4000 to 5000, with a payload that makes it `len` octets
/// long.
pub fn packet(source: IpAddr, destination: IpAddr, len: usize) -> Vec<u8> {
    packet_with(source, destination, len, 64, true)
}

/// A UDP packet with this TTL and DF.
pub fn packet_with(source: IpAddr, destination: IpAddr, len: usize, ttl: u8, dont_fragment: bool) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let header_len = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Header {
                ttl,
                dont_fragment,
                identification: 99,
                ..ipv4::Header::new(source, destination, protocol::UDP, len - ipv4::MIN_HEADER_LEN)
            };
            header.emit(&mut bytes).expect("room")
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header {
                hop_limit: ttl,
                ..ipv6::Header::new(source, destination, protocol::UDP, len - ipv6::HEADER_LEN)
            };
            header.emit(&mut bytes).expect("room")
        }
        _ => panic!("addresses of two families"),
    };
    let datagram = &mut bytes[header_len..];
    for (index, byte) in datagram[udp::HEADER_LEN..].iter_mut().enumerate() {
        *byte = index as u8;
    }
    let payload_len = datagram.len() - udp::HEADER_LEN;
    let header = udp::Header { source_port: 4000, destination_port: 5000, payload_len };
    header.emit_with_checksum(datagram, source, destination).expect("room");
    bytes
}
