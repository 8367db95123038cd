//! The two kernel programs on crafted packets, run by the kernel itself (BPF_PROG_TEST_RUN) with
//! the real maps. The test device is the loopback device, ifindex 1.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::bench::{
    Bench, DROP, PASS, PROTECT, TC_NEXT, TC_SHOT, any_to_any, filtered, policy, rule, site_to_site,
};
use common::{ESP, ICMPV6, Instance, Packet, TCP, UDP, is_root};
use dataplane::xdp::Programs;

/// ESP for a worker, and no socket to take it.
const NO_SOCKET: (u32, &str) = (DROP, "ingress-drop-no-socket");
/// Clear traffic for a worker, and no socket to take it: the kernel and its guard decide.
const UNSTEERED: (u32, &str) = (PASS, "ingress-pass-no-socket");
const IKE: (u32, &str) = (PASS, "ingress-ike");
const KERNEL: (u32, &str) = (PASS, "ingress-pass");

fn check_ingress(bench: &mut Bench, cases: &[(&str, Packet, (u32, &'static str))]) {
    for (what, packet, expected) in cases {
        assert_eq!(bench.ingress(&packet.frame()), *expected, "{what}");
    }
}

#[test]
fn what_peers_send_is_told_apart() {
    if !is_root() {
        return;
    }
    let own = "192.0.2.1";
    let peer = "198.51.100.7";
    let (own6, peer6) = ("2001:db8:ffff::1", "2001:db8:eeee::7");
    let later = Packet { fragment: (false, 100), ..Packet::new(peer, own, ESP) };
    let first_nat_t =
        Packet { fragment: (true, 0), ..Packet::udp(peer, own, (4500, 4500), &[0, 0, 1, 1, 9, 9, 9, 9]) };
    let cases = [
        ("ESP", Packet::new(peer, own, ESP), NO_SOCKET),
        ("ESP with IP options", Packet { options: 40, ..Packet::new(peer, own, ESP) }, NO_SOCKET),
        ("first fragment of ESP", Packet { fragment: (true, 0), ..later.clone() }, NO_SOCKET),
        ("later fragment of ESP", later, NO_SOCKET),
        ("tagged ESP", Packet { tags: vec![7], ..Packet::new(peer, own, ESP) }, NO_SOCKET),
        ("ESP under two tags", Packet { tags: vec![7, 8], ..Packet::new(peer, own, ESP) }, NO_SOCKET),
        ("ESP to somebody else", Packet::new(peer, "192.0.2.9", ESP), KERNEL),
        ("ESP in UDP", Packet::udp(peer, own, (4500, 4500), &[0, 0, 1, 1, 0, 0, 0, 1]), NO_SOCKET),
        ("IKE on 500", Packet::udp(peer, own, (500, 500), &[1; 28]), IKE),
        ("IKE on 4500", Packet::udp(peer, own, (61000, 4500), &[0; 32]), IKE),
        ("NAT keepalive", Packet::udp(peer, own, (4500, 4500), &[0xff]), IKE),
        ("fragmented UDP 4500", first_nat_t, IKE),
        ("later fragment of UDP", Packet { fragment: (false, 9), ..Packet::new(peer, own, UDP) }, IKE),
        ("other UDP", Packet::udp(peer, own, (53, 53), &[1; 28]), KERNEL),
        (
            "UDP that ends before its ports",
            Packet { payload: vec![1], ..Packet::new(peer, own, UDP) },
            KERNEL,
        ),
        ("IPv6 ESP", Packet::new(peer6, own6, ESP), NO_SOCKET),
        (
            "IPv6 ESP behind extension headers",
            Packet { extensions: vec![(0, 8), (60, 24), (43, 16)], ..Packet::new(peer6, own6, ESP) },
            NO_SOCKET,
        ),
        (
            "IPv6 ESP, first fragment",
            Packet { fragment: (true, 0), ..Packet::new(peer6, own6, ESP) },
            NO_SOCKET,
        ),
        (
            "IPv6 ESP, later fragment",
            Packet { fragment: (false, 5), ..Packet::new(peer6, own6, ESP) },
            NO_SOCKET,
        ),
        ("IPv6 IKE", Packet::udp(peer6, own6, (500, 500), &[1; 28]), IKE),
    ];
    let mut keepalive = Packet::udp(peer, own, (4500, 4500), &[0xff]).frame();
    // Link padding is no part of the datagram.
    keepalive.resize(60, 0xee);
    for crypto_map in [true, false] {
        let mut bench = Bench::new(crypto_map, site_to_site());
        check_ingress(&mut bench, &cases);
        assert_eq!(bench.ingress(&keepalive), IKE, "padded keepalive");
    }
}

#[test]
fn clear_traffic_that_a_permit_matches_is_for_a_worker() {
    if !is_root() {
        return;
    }
    let outbound = Packet::new("10.1.0.5", "10.2.0.6", TCP);
    let mirrored = Packet::new("10.2.0.6", "10.1.0.5", TCP);
    let v6 = Packet::new("2001:db8:1::5", "2001:db8:2::6", UDP);
    let both_ways = [
        ("outbound", outbound.clone(), UNSTEERED),
        ("outbound, tagged", Packet { tags: vec![1, 2], ..outbound.clone() }, UNSTEERED),
        ("outbound, first fragment", Packet { fragment: (true, 0), ..outbound.clone() }, UNSTEERED),
        ("outbound, later fragment", Packet { fragment: (true, 7), ..outbound.clone() }, UNSTEERED),
        ("outbound, options", Packet { options: 4, ..outbound.clone() }, UNSTEERED),
        ("outbound, no payload", Packet { payload: Vec::new(), ..outbound.clone() }, UNSTEERED),
        ("outbound, IPv6", v6.clone(), UNSTEERED),
        (
            "outbound, IPv6, a chain that is not followed to its end",
            Packet { extensions: vec![(60, 8); 9], ..v6.clone() },
            UNSTEERED,
        ),
        ("another source", Packet::new("10.3.0.5", "10.2.0.6", TCP), KERNEL),
        ("another destination", Packet::new("10.1.0.5", "10.3.0.6", TCP), KERNEL),
    ];
    let mut inside = Bench::new(false, site_to_site());
    check_ingress(&mut inside, &both_ways);
    check_ingress(&mut inside, &[("mirrored, from inside", mirrored.clone(), KERNEL)]);
    let mut outside = Bench::new(true, site_to_site());
    check_ingress(&mut outside, &both_ways);
    check_ingress(
        &mut outside,
        &[
            ("mirrored", mirrored.clone(), UNSTEERED),
            ("mirrored, later fragment", Packet { fragment: (false, 7), ..mirrored.clone() }, UNSTEERED),
        ],
    );
}

#[test]
fn a_filtered_port_gives_all_its_ipv4_to_workers_or_to_nobody() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(false, Vec::new());
    let clear = Packet::new("10.1.0.5", "10.3.0.6", TCP);
    assert_eq!(bench.ingress(&clear.frame()), KERNEL);
    let policy = filtered();
    bench.programs.prepare(&policy).unwrap();
    bench.programs.commit(&policy).unwrap();
    let ike = Packet::udp("198.51.100.7", "192.0.2.1", (500, 500), &[1; 28]);
    check_ingress(
        &mut bench,
        &[
            ("clear", clear.clone(), NO_SOCKET),
            ("later fragment", Packet { fragment: (false, 7), ..clear.clone() }, NO_SOCKET),
            ("IKE", ike.clone(), NO_SOCKET),
            ("ESP", Packet::new("198.51.100.7", "192.0.2.1", ESP), NO_SOCKET),
            (
                "routing protocol in a frame to this station",
                Packet::new("10.1.0.1", "224.0.0.5", 89),
                NO_SOCKET,
            ),
            ("priority tag", Packet { tags: vec![0], ..clear.clone() }, NO_SOCKET),
            ("two priority tags", Packet { tags: vec![0, 0], ..clear.clone() }, NO_SOCKET),
            ("VLAN", Packet { tags: vec![1], ..clear.clone() }, KERNEL),
            ("VLAN under a priority tag", Packet { tags: vec![0, 1], ..clear.clone() }, KERNEL),
            ("IPv6", Packet::new("2001:db8:1::5", "2001:db8:3::6", TCP), KERNEL),
        ],
    );
    for (what, frame, expected) in [("clear", clear.frame(), KERNEL), ("IKE", ike.frame(), IKE)] {
        let mut broadcast = frame;
        broadcast[..6].fill(0xff);
        assert_eq!(
            bench.ingress(&broadcast),
            expected,
            "{what}: the kernel does not forward what was broadcast"
        );
    }
    bench.set_entry(common::bench::LOOPBACK, |port| port.flags |= ebpf_abi::PORT_RAW_IP);
    let raw = &clear.frame()[14..];
    assert_eq!(bench.ingress(raw), NO_SOCKET, "a frame without Ethernet header has no group bit");
}

#[test]
fn permit_any_any_leaves_the_link_alive() {
    if !is_root() {
        return;
    }
    let solicitation = Packet {
        hop_limit: 255,
        payload: [&[135, 0][..], &[0; 22]].concat(),
        ..Packet::new("fe80::1", "ff02::1:ff00:1", ICMPV6)
    };
    let forwarded = Packet { hop_limit: 254, ..solicitation.clone() };
    let ospf = Packet::new("10.1.0.1", "224.0.0.5", 89);
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6]);
    arp.extend([0; 28]);
    for crypto_map in [true, false] {
        let mut bench = Bench::new(crypto_map, any_to_any());
        assert_eq!(bench.ingress(&arp), KERNEL);
        assert_eq!(bench.departure(&arp), (TC_NEXT, "departure-pass"));
        check_ingress(
            &mut bench,
            &[
                ("neighbour solicitation", solicitation.clone(), KERNEL),
                ("IKE", Packet::udp("198.51.100.7", "192.0.2.1", (500, 500), &[1; 28]), IKE),
                ("routing protocol", ospf.clone(), if crypto_map { UNSTEERED } else { KERNEL }),
            ],
        );
        assert_eq!(bench.departure(&solicitation.frame()), (TC_NEXT, "departure-pass"));
        if crypto_map {
            assert_eq!(bench.ingress(&forwarded.frame()), UNSTEERED);
            assert_eq!(bench.departure(&forwarded.frame()), (TC_SHOT, "departure-drop-protected"));
        }
    }
}

#[test]
fn what_cannot_be_read_is_dropped_if_it_claims_to_be_ip() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, site_to_site());
    let whole = Packet::new("10.1.0.5", "10.2.0.6", TCP).frame();
    let malformed = (DROP, "ingress-drop-malformed");
    // Shorter than an Ethernet header: the kernel does not run a program on it.
    for length in [14, 20, 33, 60] {
        assert_eq!(bench.ingress(&whole[..length]), malformed, "{length} octets");
    }
    let mut version = whole.clone();
    version[14] = 0x65;
    assert_eq!(bench.ingress(&version), malformed, "IPv4 by ethertype, version 6");
    let mut header_length = whole.clone();
    header_length[14] = 0x44;
    assert_eq!(bench.ingress(&header_length), malformed, "header length of 16");
    assert_eq!(bench.departure(&header_length), (TC_SHOT, "departure-drop-malformed"));
    let tags = Packet { tags: vec![1, 2, 3], ..Packet::new("10.1.0.5", "10.2.0.6", TCP) };
    assert_eq!(bench.ingress(&tags.frame()), malformed, "three tags");
    let mut other = whole;
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(bench.ingress(&other), KERNEL, "LLDP");
}

#[test]
fn a_change_of_policy_protects_the_old_and_the_new_until_it_is_committed() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(false, vec![rule("10.1.0.0/16", "10.2.0.0/16", PROTECT)]);
    let old = Packet::new("10.1.0.5", "10.2.0.6", TCP).frame();
    let new = Packet::new("10.1.4.5", "10.3.0.6", TCP).frame();
    let next = policy(false, vec![rule("10.1.4.0/24", "10.3.0.0/16", PROTECT)]);
    assert_eq!((bench.ingress(&old), bench.ingress(&new)), (UNSTEERED, KERNEL));
    bench.programs.prepare(&next).unwrap();
    assert_eq!((bench.ingress(&old), bench.ingress(&new)), (UNSTEERED, UNSTEERED));
    bench.programs.commit(&next).unwrap();
    assert_eq!((bench.ingress(&old), bench.ingress(&new)), (KERNEL, UNSTEERED));
}

#[test]
fn maps_survive_the_process_and_keep_protecting() {
    if !is_root() {
        return;
    }
    let instance = Instance::new();
    let policy = policy(true, site_to_site());
    let mut first = Programs::load(&instance.0).unwrap();
    first.prepare(&policy).unwrap();
    first.commit(&policy).unwrap();
    drop(first);
    let mut bench = Bench { programs: Programs::load(&instance.0).unwrap(), instance };
    assert_eq!(bench.ingress(&Packet::new("10.1.0.5", "10.2.0.6", TCP).frame()), UNSTEERED);
    assert_eq!(bench.departure(&Packet::new("10.1.0.5", "10.2.0.6", TCP).frame()).0, TC_SHOT);
    // An unchanged policy may be applied again over the existing entries.
    bench.programs.prepare(&policy).unwrap();
    bench.programs.commit(&policy).unwrap();
    assert_eq!(bench.departure(&Packet::new("10.1.0.5", "10.2.0.6", TCP).frame()).0, TC_SHOT);
}
