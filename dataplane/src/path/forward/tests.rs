use super::*;
use crate::count::counter::Counts;
use crate::count::drop_reason::Drops;
use crate::host::kernel::SnapshotBuilder;
use crate::path::icmp::IcmpErrors;
use crate::path::packet::Origin;
use crate::policy::Policy;
use af_xdp::{Backing, MIN_HEADROOM, Umem, UmemConfig};
use sa_table::PolicyVersion;
use sa_table::policy::PortRecord;
use wire::ipv4;

const PORT: PortId = 2;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

struct Bench {
    umem: Umem,
    view: Arc<KernelView>,
    views: Views,
    forwarder: Forwarder,
    context: Context,
}

fn next_hop() -> IpAddr {
    "10.0.0.9".parse().unwrap()
}

fn link(vlan: Option<u16>, up: bool) -> PortLink {
    PortLink { ifindex: 3, name: "eth2".into(), mac: [2, 0, 0, 0, 0, 1], mtu: 1000, vlan, up }
}

fn kernel(link: PortLink, resolved: bool) -> SnapshotBuilder {
    let builder = SnapshotBuilder::new().port(PORT, link).address(PORT, "10.0.0.1".parse().unwrap());
    if resolved { builder.neighbour(PORT, next_hop(), MAC) } else { builder }
}

impl Bench {
    fn new(link: PortLink, resolved: bool) -> Bench {
        let umem =
            Umem::new(UmemConfig { frames: 64, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        let view = Arc::new(KernelView::default());
        let record = PortRecord {
            id: PORT,
            ifindex: 3,
            device: "eth2".into(),
            ios_name: String::new(),
            mtu: 900,
            has_crypto_map: false,
            crypto_addresses: Vec::new(),
            rule_list: None,
            ..PortRecord::default()
        };
        let policy = Policy::compile::<Vec<_>>(PolicyVersion(1), &[record], &[]);
        let views = Views { kernel: Arc::new(kernel(link, resolved).build()), policy: Arc::new(policy) };
        let segments = sa_table::Segments::in_memory().unwrap();
        let events = segments.event_sender(sa_table::WorkerId(0)).unwrap();
        let context = Context {
            pool: umem.pool(16, 64),
            drops: Drops::default(),
            counts: Counts::default(),
            events,
            matches: crate::policy::filter::MatchLog::default(),
            verdicts: crate::policy::filter::Verdicts::new(1),
            icmp: IcmpErrors::default(),
            now_ms: 1000,
        };
        Bench { forwarder: Forwarder::new(view.clone(), &[PORT]), umem, view, views, context }
    }

    fn packet(&mut self, ttl: u8, payload: usize, dont_fragment: bool) -> Packet {
        let header = ipv4::Header {
            ttl,
            dont_fragment,
            ..ipv4::Header::new([10, 9, 0, 1].into(), [10, 0, 0, 9].into(), 17, payload)
        };
        let mut bytes = vec![0; 20 + payload];
        header.emit(&mut bytes).unwrap();
        let mut frame = self.context.pool.take().unwrap();
        frame.append(&bytes).unwrap();
        Packet::from_ip(frame, Origin::Port(0)).unwrap()
    }

    fn forward(&mut self, packet: Packet) {
        self.forwarder.forward(packet, PORT, next_hop(), &self.views, &mut self.context);
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        let Bench { forwarder, context, .. } = self;
        let frames = forwarder.outputs()[0].frames.drain(..);
        frames
            .map(|frame| {
                let bytes = frame.bytes().to_vec();
                context.pool.put(frame);
                bytes
            })
            .collect()
    }
}

#[test]
fn a_forwarded_packet_gets_the_neighbours_address_and_one_hop_less() {
    let mut bench = Bench::new(link(None, true), true);
    let packet = bench.packet(64, 100, true);
    bench.forward(packet);
    let sent = bench.sent();
    let header = ethernet::Header::parse(&sent[0]).unwrap();
    assert_eq!((header.destination.0, header.source.0), (MAC, [2, 0, 0, 0, 0, 1]));
    assert_eq!(header.ethertype, ethernet::ETHERTYPE_IPV4);
    let ip = ipv4::Packet::new_checked(&sent[0][14..]).unwrap();
    assert_eq!(ip.ttl(), 63);
    assert!(ip.checksum_ok());
}

#[test]
fn a_vlan_port_tags_its_frames() {
    let mut bench = Bench::new(link(Some(42), true), true);
    let packet = bench.packet(64, 100, true);
    bench.forward(packet);
    let sent = bench.sent();
    let header = ethernet::Header::parse(&sent[0]).unwrap();
    assert_eq!(header.tags, [Some(ethernet::Tag::vlan(42)), None]);
    assert_eq!(sent[0].len(), 18 + 120);
}

#[test]
fn a_packet_waits_for_its_neighbour_and_leaves_when_it_is_known() {
    let mut bench = Bench::new(link(None, true), false);
    for _ in 0..3 {
        let packet = bench.packet(64, 100, true);
        bench.forward(packet);
    }
    assert!(bench.sent().is_empty());
    assert_eq!(bench.view.next_request().unwrap().address, next_hop());
    bench.forwarder.retry_unresolved(&bench.views, &mut bench.context);
    assert_eq!(bench.forwarder.waiting(), 3);
    bench.views.kernel = Arc::new(kernel(link(None, true), true).build());
    bench.forwarder.retry_unresolved(&bench.views, &mut bench.context);
    assert_eq!(bench.sent().len(), 3);
}

#[test]
fn a_neighbour_that_never_answers_costs_a_bounded_number_of_frames_for_a_bounded_time() {
    let mut bench = Bench::new(link(None, true), false);
    for _ in 0..50 {
        let packet = bench.packet(64, 100, true);
        bench.forward(packet);
    }
    assert_eq!(bench.forwarder.waiting(), UNRESOLVED_PER_NEIGHBOUR as usize);
    assert_eq!(bench.context.drops.of(DropReason::NeighbourOverflow), 18);
    bench.context.now_ms += UNRESOLVED_MS;
    bench.forwarder.retry_unresolved(&bench.views, &mut bench.context);
    assert_eq!(bench.context.drops.of(DropReason::NeighbourExpired), 32);
    assert_eq!(bench.umem.frames_home() + bench.context.pool.len(), 64);
}

#[test]
fn a_packet_on_its_last_hop_is_answered() {
    let mut bench = Bench::new(link(None, true), true);
    let packet = bench.packet(1, 100, true);
    bench.forward(packet);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.context.drops.of(DropReason::TtlExpired), 1);
    let error = bench.context.icmp.pop().unwrap();
    assert_eq!(error.frame.bytes()[20], wire::icmpv4::TIME_EXCEEDED);
}

#[test]
fn a_long_packet_is_fragmented_or_its_sender_told() {
    let mut bench = Bench::new(link(None, true), true);
    let packet = bench.packet(64, 1400, false);
    bench.forward(packet);
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|frame| frame.len() <= 914), "the configured MTU of 900 is below the device's");
    let packet = bench.packet(64, 1400, true);
    bench.forward(packet);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.context.drops.of(DropReason::TooBig), 1);
    let error = bench.context.icmp.pop().unwrap();
    assert_eq!(
        wire::icmpv4::Packet::new_checked(&error.frame.bytes()[20..]).unwrap().next_hop_mtu(),
        Some(900)
    );
}

#[test]
fn nothing_leaves_by_a_port_that_is_down() {
    let mut bench = Bench::new(link(None, false), true);
    let packet = bench.packet(64, 100, true);
    bench.forward(packet);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.context.drops.of(DropReason::EgressDown), 1);
}
