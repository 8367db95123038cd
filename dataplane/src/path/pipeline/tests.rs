use super::*;
use crate::lab::{self, Gateway, INSIDE, MTU, OUTSIDE, Site, Tunnel, connect, frame, packet, packet_with};
use sa_table::record::{DfPolicy, EspAlgorithm, Hmac, Lifetime};
use sa_table::{Direction, Event};
use std::net::IpAddr;
use wire::{ethernet, ipv4, protocol};

fn gateways(tunnel: &Tunnel) -> (Gateway, Gateway) {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let mut right = Gateway::new(Site::Right, 1, 64);
    connect(&mut left, &mut right, tunnel);
    (left, right)
}

/// The IP packet of a frame.
fn ip(frame: &[u8]) -> &[u8] {
    &frame[ethernet::HEADER_LEN..]
}

/// Delivers a packet at the left gateway and returns the frames that leave the right one, and those
/// between the gateways.
fn cross(left: &mut Gateway, right: &mut Gateway, packet: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    left.deliver(INSIDE, &frame(Site::Left, INSIDE, packet));
    let wire = left.sent(OUTSIDE);
    for frame in &wire {
        right.deliver(OUTSIDE, frame);
    }
    (wire, right.sent(INSIDE))
}

fn left_to_right(len: usize) -> Vec<u8> {
    packet(Site::Left.host(5), Site::Right.host(6), len)
}

fn assert_closed(gateways: impl IntoIterator<Item = Gateway>) {
    for gateway in gateways {
        assert!(gateway.close(), "a frame was lost");
    }
}

#[test]
fn a_packet_crosses_two_gateways_and_loses_two_hops() {
    let variants = [(true, false), (false, true)];
    for (algorithm, (esn, udp)) in
        EspAlgorithm::ALL.into_iter().flat_map(|of| variants.map(|with| (of, with)))
    {
        let (mut left, mut right) = gateways(&Tunnel { algorithm, esn, udp, ..Tunnel::default() });
        for len in [28, 64, 512, 1400] {
            let sent = left_to_right(len);
            let (wire, arrived) = cross(&mut left, &mut right, &sent);
            assert_eq!((wire.len(), arrived.len()), (1, 1));
            let outer = ipv4::Packet::new_checked(ip(&wire[0])).unwrap();
            assert_eq!(IpAddr::V4(outer.source()), Site::Left.outside());
            assert_eq!(IpAddr::V4(outer.destination()), Site::Right.outside());
            assert_eq!(outer.protocol(), if udp { protocol::UDP } else { protocol::ESP });
            assert!(outer.checksum_ok() && outer.dont_fragment());
            let inner = ipv4::Packet::new_checked(ip(&arrived[0])).unwrap();
            assert_eq!(inner.ttl(), 62);
            assert!(inner.checksum_ok());
            assert_eq!(inner.payload(), &sent[20..]);
        }
        assert_closed([left, right]);
    }
}

#[test]
fn ipv6_crosses_an_ipv4_tunnel() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    let sent = packet(Site::Left.host_v6(5), Site::Right.host_v6(6), 500);
    let (wire, arrived) = cross(&mut left, &mut right, &sent);
    assert_eq!(ip(&wire[0])[0] >> 4, 4);
    assert_eq!(ip(&arrived[0])[8..], sent[8..]);
    assert_eq!(ip(&arrived[0])[7], 62);
}

#[test]
fn statistics_say_what_was_carried_and_when() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    for _ in 0..10 {
        cross(&mut left, &mut right, &left_to_right(200));
    }
    let outbound = left.table.policy_word(left.policy).unwrap();
    let sent = left.runtime.outbound(outbound).unwrap();
    assert_eq!((sent.packets, sent.bytes, sent.last_sent_ms), (10, 2000, left.now_ms));
    let inbound = right.table.live_inbound().next().unwrap();
    let received = right.runtime.inbound(inbound).unwrap();
    assert_eq!((received.packets, received.bytes, received.last_heard_ms), (10, 2000, right.now_ms));
}

#[test]
fn a_packet_without_sa_waits_is_asked_for_and_leaves_when_the_sa_comes() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let sent = left_to_right(100);
    for _ in 0..3 {
        left.deliver(INSIDE, &frame(Site::Left, INSIDE, &sent));
    }
    assert!(left.sent(OUTSIDE).is_empty());
    let acquires: Vec<_> = std::iter::from_fn(|| left.events.receive()).collect();
    assert!(
        matches!(acquires[..], [(_, Event::Acquire { policy, flow })]
            if policy == left.policy && flow.source == Site::Left.host(5) && flow.destination_port == 5000),
        "{acquires:?}"
    );
    assert!(left.runtime.acquire(left.policy).is_some(), "the request stands");
    left.install(&Tunnel::default(), 0x1000_0001, 0x2000_0001);
    left.run();
    assert_eq!(left.sent(OUTSIDE).len(), 3);
    assert!(left.runtime.acquire(left.policy).is_none(), "the request is withdrawn");
    assert_closed([left]);
}

#[test]
fn held_packets_are_bounded_and_do_not_wait_for_ever() {
    let mut left = Gateway::new(Site::Left, 1, 256);
    for number in 0..100u16 {
        let mut sent = left_to_right(100);
        sent[28..30].copy_from_slice(&number.to_be_bytes());
        left.deliver(INSIDE, &frame(Site::Left, INSIDE, &sent));
    }
    assert_eq!(left.dropped(DropReason::HoldOverflow), 36);
    left.now_ms += 10_000;
    left.run();
    assert_eq!(left.dropped(DropReason::HoldExpired), 64);
    left.install(&Tunnel::default(), 0x1000_0001, 0x2000_0001);
    left.run();
    assert!(left.sent(OUTSIDE).is_empty());
    assert_closed([left]);
}

#[test]
fn a_replayed_packet_is_refused_also_by_the_next_process() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    let (wire, arrived) = cross(&mut left, &mut right, &left_to_right(100));
    assert_eq!(arrived.len(), 1);
    right.deliver(OUTSIDE, &wire[0]);
    assert!(right.sent(INSIDE).is_empty());
    assert_eq!(right.dropped(DropReason::Replayed), 1);
    let inbound = right.table.live_inbound().next().unwrap();
    assert_eq!(right.runtime.inbound(inbound).unwrap().errors(sa_table::SaErrorKind::Replay), 1);
}

#[test]
fn a_damaged_packet_changes_nothing_but_a_counter() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    left.deliver(INSIDE, &frame(Site::Left, INSIDE, &left_to_right(100)));
    let wire = left.sent(OUTSIDE);
    for place in (34 + 4)..wire[0].len() {
        let mut damaged = wire[0].clone();
        damaged[place] ^= 1;
        right.deliver(OUTSIDE, &damaged);
        assert!(right.sent(INSIDE).is_empty(), "byte {place}");
    }
    let inbound = right.table.live_inbound().next().unwrap();
    let statistics = right.runtime.inbound(inbound).unwrap();
    assert_eq!((statistics.packets, statistics.last_heard_ms, statistics.replay_top), (0, 0, 0));
    right.deliver(OUTSIDE, &wire[0]);
    assert_eq!(right.sent(INSIDE).len(), 1, "the genuine packet still passes");
}

#[test]
fn an_unknown_spi_is_counted_and_reported_at_a_bounded_rate() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    left.deliver(INSIDE, &frame(Site::Left, INSIDE, &left_to_right(100)));
    let mut wire = left.sent(OUTSIDE).remove(0);
    wire[34..38].copy_from_slice(&0xdead_beefu32.to_be_bytes());
    for _ in 0..20 {
        right.deliver(OUTSIDE, &wire);
    }
    assert_eq!(right.dropped(DropReason::UnknownSpi), 20);
    let reports: Vec<_> = std::iter::from_fn(|| right.events.receive()).collect();
    assert!(matches!(reports[..], [(_, Event::UnknownSpi { spi: 0xdead_beef, .. })]), "{reports:?}");
    assert!(right.sent(OUTSIDE).is_empty(), "never a reply");
}

#[test]
fn a_clear_packet_on_a_protected_flow_is_dropped() {
    let (left, mut right) = gateways(&Tunnel::default());
    right.deliver(OUTSIDE, &frame(Site::Right, OUTSIDE, &left_to_right(100)));
    assert!(right.sent(INSIDE).is_empty());
    assert_eq!(right.dropped(DropReason::ClearOnProtected), 1);
    assert_closed([left, right]);
}

#[test]
fn an_authentic_packet_outside_the_selectors_is_dropped() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let mut right = Gateway::new(Site::Right, 1, 64);
    left.install(&Tunnel::default(), 0x1000_0001, 0x2000_0001);
    let narrow = Tunnel { service: Some((protocol::TCP, 80)), ..Tunnel::default() };
    right.install(&narrow, 0x2000_0001, 0x1000_0001);
    let (wire, arrived) = cross(&mut left, &mut right, &left_to_right(100));
    assert_eq!((wire.len(), arrived.len()), (1, 0));
    assert_eq!(right.dropped(DropReason::InboundSelector), 1);
    // In the other direction the selectors of the SA refuse the packet before encryption.
    right.deliver(INSIDE, &frame(Site::Right, INSIDE, &packet(Site::Right.host(6), Site::Left.host(5), 100)));
    assert!(right.sent(OUTSIDE).is_empty());
    assert_eq!(right.dropped(DropReason::OutboundSelector), 1);
}

#[test]
fn a_packet_too_big_for_the_tunnel_is_answered_with_the_mtu_that_fits() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    left.deliver(INSIDE, &frame(Site::Left, INSIDE, &left_to_right(1500)));
    assert!(left.sent(OUTSIDE).is_empty());
    let answers = left.sent(INSIDE);
    assert_eq!(answers.len(), 1);
    let answer = ipv4::Packet::new_checked(ip(&answers[0])).unwrap();
    assert_eq!(IpAddr::V4(answer.destination()), Site::Left.host(5));
    let mtu = wire::icmpv4::Packet::new_checked(answer.payload()).unwrap().next_hop_mtu().unwrap();
    let (wire, arrived) = cross(&mut left, &mut right, &left_to_right(mtu.into()));
    assert_eq!(arrived.len(), 1);
    assert!(wire[0].len() <= usize::from(MTU) + ethernet::HEADER_LEN);
    assert!(wire[0].len() > usize::from(MTU) + ethernet::HEADER_LEN - 4, "and not less than what fits");
}

#[test]
fn a_packet_that_may_be_fragmented_is_cut_before_it_is_sealed() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    let sent = packet_with(Site::Left.host(5), Site::Right.host(6), 1500, 64, false);
    let (wire, arrived) = cross(&mut left, &mut right, &sent);
    assert_eq!((wire.len(), arrived.len()), (2, 2));
    assert!(wire.iter().all(|frame| frame.len() <= usize::from(MTU) + ethernet::HEADER_LEN));
    let mut whole = Vec::new();
    for frame in &arrived {
        let piece = ipv4::Packet::new_checked(ip(frame)).unwrap();
        assert_eq!((usize::from(piece.fragment_offset()), piece.ttl()), (whole.len(), 62));
        whole.extend_from_slice(piece.payload());
    }
    assert_eq!(whole, &sent[20..]);
}

#[test]
fn with_df_cleared_the_outer_packet_is_fragmented_and_the_peer_puts_it_together() {
    let (mut left, mut right) = gateways(&Tunnel { df: DfPolicy::Clear, ..Tunnel::default() });
    let sent = left_to_right(1500);
    let (wire, arrived) = cross(&mut left, &mut right, &sent);
    assert_eq!((wire.len(), arrived.len()), (2, 1));
    assert_eq!(ipv4::Packet::new_checked(ip(&arrived[0])).unwrap().payload(), &sent[20..]);
    assert_closed([left, right]);
}

#[test]
fn a_packet_on_its_last_hop_is_answered_through_the_tunnel_it_came_from() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    // The TTL suffices for the left gateway and expires at the right one.
    let (_, arrived) =
        cross(&mut left, &mut right, &packet_with(Site::Left.host(5), Site::Right.host(6), 100, 2, true));
    assert!(arrived.is_empty());
    assert_eq!(right.dropped(DropReason::TtlExpired), 1);
    let back = right.sent(OUTSIDE);
    assert_eq!(back.len(), 1);
    assert_eq!(ipv4::Packet::new_checked(ip(&back[0])).unwrap().protocol(), protocol::ESP);
    left.deliver(OUTSIDE, &back[0]);
    let told = left.sent(INSIDE);
    assert_eq!(ipv4::Packet::new_checked(ip(&told[0])).unwrap().payload()[0], wire::icmpv4::TIME_EXCEEDED);
}

#[test]
fn soft_and_hard_limits_are_kept_without_a_control_plane() {
    let lifetime = Lifetime { soft_packets: 3, hard_packets: 5, ..Lifetime::default() };
    let (mut left, _right) = gateways(&Tunnel { lifetime, ..Tunnel::default() });
    for _ in 0..8 {
        left.deliver(INSIDE, &frame(Site::Left, INSIDE, &left_to_right(100)));
    }
    assert_eq!(left.sent(OUTSIDE).len(), 5);
    assert_eq!(left.dropped(DropReason::LifetimeExceeded), 3);
    let events: Vec<_> = std::iter::from_fn(|| left.events.receive()).map(|(_, event)| event).collect();
    let slot = left.table.policy_word(left.policy).unwrap();
    let direction = Direction::Outbound;
    assert_eq!(events, [Event::SoftLimit { direction, slot }, Event::HardLimit { direction, slot }]);
}

#[test]
fn when_the_policy_word_is_cleared_packets_wait_again_and_the_retired_sa_is_forgotten() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    cross(&mut left, &mut right, &left_to_right(100));
    let old = left.table.set_policy_word(left.policy, None).unwrap().unwrap();
    let token = left.table.retire_outbound(old).unwrap();
    left.deliver(INSIDE, &frame(Site::Left, INSIDE, &left_to_right(100)));
    assert!(left.sent(OUTSIDE).is_empty(), "never in clear");
    left.run();
    left.table.collect(left.now_ms);
    assert!(left.table.is_collected(token), "the worker announced that it uses the SA no more");
    left.install(&Tunnel::default(), 0x1000_0002, 0x2000_0002);
    right.install(&Tunnel::default(), 0x2000_0002, 0x1000_0002);
    left.run();
    for frame in left.sent(OUTSIDE) {
        right.deliver(OUTSIDE, &frame);
    }
    assert_eq!(right.sent(INSIDE).len(), 1, "the held packet arrives over the new SA");
    assert_closed([left, right]);
}

#[test]
fn sequence_numbers_go_on_behind_the_reserve_when_a_worker_is_replaced() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    let (first, _) = cross(&mut left, &mut right, &left_to_right(100));
    let sequence = |frame: &[u8]| u64::from_be_bytes(frame[42..50].try_into().unwrap());
    assert_eq!(sequence(&first[0]), 1);
    left.workers[0].pipeline().shut_down();
    let (second, arrived) = cross(&mut left, &mut right, &left_to_right(100));
    assert!(sequence(&second[0]) > 1 << 16, "numbers that may have been used are skipped");
    assert_eq!(arrived.len(), 1);
}

#[test]
fn packets_of_the_host_go_through_the_tunnel_and_packets_for_it_come_out() {
    let (mut left, mut right) = gateways(&Tunnel::default());
    let mut pool = left.umem.pool(1, 1);
    let mut frame = pool.take().unwrap();
    frame.append(&packet_with(Site::Left.host(1), Site::Right.host(1), 100, 64, true)).unwrap();
    left.shared.deliver_from_host(frame).unwrap();
    left.run();
    let wire = left.sent(OUTSIDE);
    assert_eq!(wire.len(), 1);
    right.deliver(OUTSIDE, &wire[0]);
    let punted = right.punted();
    assert_eq!(punted.len(), 1);
    assert_eq!(ipv4::Packet::new_checked(&punted[0]).unwrap().ttl(), 64, "neither gateway is a hop");
    drop(pool);
    assert_closed([left, right]);
}

/// One permit for the gateways themselves.
fn between(site: Site, policy: sa_table::PolicyId) -> Vec<sa_table::Rule> {
    let host = |address| sa_table::Prefix { address, length: 32 };
    let rule = lab::permits(site, policy).remove(0);
    vec![sa_table::Rule { source: host(site.outside()), destination: host(site.peer().outside()), ..rule }]
}

#[test]
fn in_transport_mode_packets_between_the_gateways_keep_their_header() {
    for (algorithm, udp) in [
        (EspAlgorithm::AesGcm256, false),
        (EspAlgorithm::AesCbc128(Hmac::Sha256_128), true),
        (EspAlgorithm::ChaCha20Poly1305, true),
        (EspAlgorithm::AesGmac128, false),
        (EspAlgorithm::Null(Hmac::Sha1_96), false),
    ] {
        let mut left = Gateway::with_rules(Site::Left, 1, 64, between);
        let mut right = Gateway::with_rules(Site::Right, 1, 64, between);
        connect(&mut left, &mut right, &Tunnel { algorithm, udp, transport: true, ..Tunnel::default() });
        let sent = packet_with(Site::Left.outside(), Site::Right.outside(), 300, 64, true);
        let mut pool = left.umem.pool(1, 1);
        let mut frame = pool.take().unwrap();
        frame.append(&sent).unwrap();
        left.shared.deliver_from_host(frame).unwrap();
        left.run();
        let wire = left.sent(OUTSIDE);
        assert_eq!(wire.len(), 1, "{algorithm:?}");
        let outer = ipv4::Packet::new_checked(ip(&wire[0])).unwrap();
        assert_eq!(outer.protocol(), if udp { protocol::UDP } else { protocol::ESP });
        assert_eq!(outer.identification(), 99, "the packet's own header");
        right.deliver(OUTSIDE, &wire[0]);
        assert_eq!(right.punted(), [sent], "{algorithm:?}");
        drop(pool);
        assert_closed([left, right]);
    }
}

#[test]
fn in_transport_mode_a_large_packet_is_cut_behind_esp() {
    let mut left = Gateway::with_rules(Site::Left, 1, 64, between);
    left.install(&Tunnel { transport: true, ..Tunnel::default() }, 0x1000_0001, 0x2000_0001);
    let mut pool = left.umem.pool(1, 1);
    let mut frame = pool.take().unwrap();
    frame.append(&packet_with(Site::Left.outside(), Site::Right.outside(), 1490, 64, false)).unwrap();
    left.shared.deliver_from_host(frame).unwrap();
    left.run();
    let wire = left.sent(OUTSIDE);
    let pieces: Vec<_> = wire.iter().map(|frame| ipv4::Packet::new_checked(ip(frame)).unwrap()).collect();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.protocol() == protocol::ESP));
    assert!(pieces[0].more_fragments() && pieces[1].fragment_offset() > 0);
    drop(pool);
    assert_closed([left]);
}

#[test]
fn a_packet_that_reaches_another_worker_is_handed_to_the_owner_of_its_sa() {
    let mut left = Gateway::new(Site::Left, 2, 64);
    let mut right = Gateway::new(Site::Right, 2, 64);
    connect(&mut left, &mut right, &Tunnel::default());
    let sent = left_to_right(100);
    for number in 0..10 {
        left.deliver_to(number % 2, INSIDE, &frame(Site::Left, INSIDE, &sent));
    }
    let wire = left.sent(OUTSIDE);
    assert_eq!(wire.len(), 10);
    for (number, frame) in wire.iter().enumerate() {
        right.deliver_to(number % 2, OUTSIDE, frame);
    }
    assert_eq!(right.sent(INSIDE).len(), 10, "no sequence number was used twice, no replay window split");
    let handed = |gateway: &mut Gateway| -> u64 {
        gateway.workers.iter_mut().map(|worker| worker.pipeline().counts().of(Counter::HandedOver)).sum()
    };
    assert_eq!((handed(&mut left), handed(&mut right)), (5, 5));
    assert_closed([left, right]);
}

#[test]
fn a_peer_behind_a_nat_is_followed_when_it_moves() {
    let (mut left, mut right) = gateways(&Tunnel { udp: true, ..Tunnel::default() });
    left.deliver(INSIDE, &frame(Site::Left, INSIDE, &left_to_right(100)));
    let mut wire = left.sent(OUTSIDE).remove(0);
    // The NAT gives it another source address and port.
    wire[26..30].copy_from_slice(&[192, 0, 2, 77]);
    wire[34..36].copy_from_slice(&40_000u16.to_be_bytes());
    ipv4::Packet::new_checked(&mut wire[14..]).unwrap().fill_checksum();
    right.deliver(OUTSIDE, &wire);
    assert_eq!(right.sent(INSIDE).len(), 1);
    let slot = right.table.live_inbound().next().unwrap();
    let events: Vec<_> = std::iter::from_fn(|| right.events.receive()).map(|(_, event)| event).collect();
    assert_eq!(events, [Event::PeerEndpoint { slot }]);
    let reported = right.runtime.inbound(slot).unwrap().new_endpoint.unwrap().endpoint;
    assert_eq!((reported.address, reported.port), (IpAddr::from([192, 0, 2, 77]), 40_000));
    // The control plane agrees, and what we send follows.
    let outbound = right.table.policy_word(right.policy).unwrap();
    right.table.set_peer_endpoint(outbound, reported).unwrap();
    right.set_kernel(
        lab::kernel(Site::Right).neighbour(OUTSIDE, reported.address, [2, 0, 0, 7, 7, 7]).build(),
    );
    right.deliver(INSIDE, &frame(Site::Right, INSIDE, &packet(Site::Right.host(6), Site::Left.host(5), 100)));
    let back = right.sent(OUTSIDE);
    assert_eq!(IpAddr::V4(ipv4::Packet::new_checked(ip(&back[0])).unwrap().destination()), reported.address);
    assert_eq!(back[0][36..38], 40_000u16.to_be_bytes());
}

#[test]
fn keepalives_and_foreign_frames_end_here() {
    let (mut left, _right) = gateways(&Tunnel { udp: true, ..Tunnel::default() });
    let mut keepalive = packet(Site::Right.outside(), Site::Left.outside(), 29);
    keepalive[20..24].copy_from_slice(&[0x11, 0x94, 0x11, 0x94]);
    keepalive[28] = 0xff;
    left.deliver(OUTSIDE, &frame(Site::Left, OUTSIDE, &keepalive));
    assert_eq!(left.dropped(DropReason::NatKeepalive), 1);
    let mut broadcast = frame(Site::Left, INSIDE, &left_to_right(100));
    broadcast[..6].fill(0xff);
    left.deliver(INSIDE, &broadcast);
    assert_eq!(left.dropped(DropReason::NotForUs), 1);
    let mut tagged = frame(Site::Left, INSIDE, &left_to_right(100));
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    left.deliver(INSIDE, &tagged);
    assert_eq!(left.dropped(DropReason::BadLink), 1);
    let mut bad_checksum = frame(Site::Left, INSIDE, &left_to_right(100));
    bad_checksum[24] ^= 1;
    left.deliver(INSIDE, &bad_checksum);
    assert_eq!(left.dropped(DropReason::BadChecksum), 1);
    assert!(left.sent(OUTSIDE).is_empty());
    assert_closed([left]);
}

mod properties;
