//! The egress guard on crafted packets, run by the kernel itself (BPF_PROG_TEST_RUN) with the real maps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::bench::{Bench, PROTECT, TC_NEXT, TC_SHOT, any_to_any, rule, site_to_site};
use common::{ICMP, ICMPV6, Packet, TCP, UDP, is_root};
use sa_table::policy::{Action, Rule};
use sa_table::record::PortRange;

#[test]
fn the_guard_walks_the_rules_in_order() {
    if !is_root() {
        return;
    }
    let web = Rule {
        protocol: Some(TCP),
        destination_ports: PortRange::single(443),
        ..rule("10.1.0.0/16", "10.2.0.0/16", Action::Jump(2))
    };
    let rules = vec![
        web,
        rule("10.1.0.0/16", "10.2.0.0/16", PROTECT),
        rule("10.1.9.0/24", "10.2.0.0/16", Action::Drop),
    ];
    let mut bench = Bench::new(true, rules);
    let drop = (TC_SHOT, "departure-drop-protected");
    let pass = (TC_NEXT, "departure-pass");
    let https = |source: &str| Packet {
        payload: [&40000_u16.to_be_bytes()[..], &443_u16.to_be_bytes(), &[0; 16]].concat(),
        ..Packet::new(source, "10.2.0.6", TCP)
    };
    let cases = [
        ("protected", Packet::new("10.1.0.5", "10.2.0.6", ICMP), drop),
        ("exempted by the first rule", https("10.1.0.5"), pass),
        ("exempted there, protected behind the jump", https("10.1.9.5"), drop),
        ("another source", Packet::new("10.3.0.5", "10.2.0.6", ICMP), pass),
        ("another destination", Packet::new("10.1.0.5", "10.4.0.6", ICMP), pass),
        ("the mirror", Packet::new("10.2.0.6", "10.1.0.5", ICMP), pass),
        (
            "a later fragment cannot prove its exemption",
            Packet { fragment: (true, 5), ..https("10.1.0.5") },
            drop,
        ),
        ("TCP without ports cannot either", Packet { payload: vec![1], ..https("10.1.0.5") }, drop),
        ("tagged", Packet { tags: vec![5], ..Packet::new("10.1.0.5", "10.2.0.6", ICMP) }, drop),
    ];
    for (what, packet, expected) in cases {
        assert_eq!(bench.departure(&packet.frame()), expected, "{what}");
    }
}

#[test]
fn the_guard_lets_ike_of_this_host_go_and_nothing_that_looks_like_it() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, any_to_any());
    let (own, peer) = ("192.0.2.1", "198.51.100.7");
    let ike = (TC_NEXT, "departure-ike");
    let drop = (TC_SHOT, "departure-drop-protected");
    let first =
        Packet { fragment: (true, 0), identification: 77, ..Packet::udp(own, peer, (500, 500), &[1; 64]) };
    let later =
        |identification| Packet { fragment: (false, 9), identification, ..Packet::new(own, peer, UDP) };
    let cases = [
        ("IKE", Packet::udp(own, peer, (500, 500), &[1; 28]), ike),
        ("IKE or ESP in UDP on 4500", Packet::udp(own, peer, (4500, 61000), &[1; 28]), ike),
        ("IPv6 IKE", Packet::udp("2001:db8:ffff::1", "2001:db8:eeee::7", (500, 500), &[1; 28]), ike),
        ("IKE of somebody behind us", Packet::udp("10.1.0.5", peer, (500, 500), &[1; 28]), drop),
        ("a query to port 500", Packet::udp(own, peer, (40000, 500), &[1; 28]), drop),
        ("TCP from 500", Packet { protocol: TCP, ..Packet::udp(own, peer, (500, 500), &[1; 28]) }, drop),
        ("later fragment without a first one", later(77), drop),
        ("first fragment of IKE", first, ike),
        ("later fragment of IKE", later(77), ike),
        ("later fragment of another datagram", later(78), drop),
    ];
    for (what, packet, expected) in cases {
        assert_eq!(bench.departure(&packet.frame()), expected, "{what}");
    }
}

#[test]
fn an_icmp_error_that_quotes_a_protected_packet_does_not_leave() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, site_to_site());
    let error = |kind: u8, quoted: &Packet| Packet {
        payload: [&[kind, 1, 0, 0, 0, 0, 0, 0][..], &quoted.frame()[14..]].concat(),
        ..Packet::new("192.0.2.1", "198.51.100.7", ICMP)
    };
    let error6 = |kind: u8, quoted: &Packet| Packet {
        protocol: ICMPV6,
        ..Packet {
            payload: error(kind, quoted).payload,
            ..Packet::new("2001:db8:ffff::1", "2001:db8:eeee::7", ICMPV6)
        }
    };
    let decrypted = Packet::new("10.2.0.6", "10.1.0.5", UDP);
    let decrypted6 = Packet::new("2001:db8:2::6", "2001:db8:1::5", UDP);
    let drop = (TC_SHOT, "departure-drop-quoted");
    let pass = (TC_NEXT, "departure-pass");
    let cases = [
        ("unreachable", error(3, &decrypted), drop),
        ("time exceeded", error(11, &decrypted), drop),
        ("unreachable, tagged", Packet { tags: vec![5], ..error(3, &decrypted) }, drop),
        ("about the other direction", error(3, &Packet::new("10.1.0.5", "10.2.0.6", UDP)), drop),
        ("about a packet of nobody's flow", error(3, &Packet::new("10.3.0.5", "10.1.0.5", UDP)), pass),
        ("an echo reply whose data look alike", error(0, &decrypted), pass),
        ("IPv6 unreachable", error6(1, &decrypted6), drop),
        ("IPv6 packet too big", error6(2, &decrypted6), drop),
        ("IPv6 about nobody's flow", error6(1, &Packet::new("2001:db8:3::6", "2001:db8:1::5", UDP)), pass),
        (
            "an error that quotes nothing",
            Packet { payload: vec![3, 1, 0, 0, 0, 0, 0, 0], ..error(3, &decrypted) },
            pass,
        ),
    ];
    for (what, packet, expected) in cases {
        assert_eq!(bench.departure(&packet.frame()), expected, "{what}");
    }
}

#[test]
fn a_list_too_long_to_walk_is_guarded_by_prefix() {
    if !is_root() {
        return;
    }
    let mut rules = vec![rule("10.1.0.0/16", "10.2.0.0/16", Action::Jump(1200)); 1100];
    rules.push(rule("10.1.0.0/16", "10.2.3.0/24", PROTECT));
    let mut bench = Bench::new(true, rules);
    assert_eq!(bench.departure(&Packet::new("10.1.0.5", "10.2.3.6", TCP).frame()).0, TC_SHOT);
    assert_eq!(bench.departure(&Packet::new("10.1.0.5", "10.2.4.6", TCP).frame()).0, TC_NEXT);
}

#[test]
fn the_longest_list_that_is_walked_is_walked_to_its_end() {
    if !is_root() {
        return;
    }
    let other = Rule { protocol: Some(89), ..rule("10.1.0.0/16", "10.2.0.0/16", PROTECT) };
    let mut rules = vec![other; 1023];
    rules.push(Rule { protocol: Some(TCP), ..other });
    let mut bench = Bench::new(true, rules);
    assert_eq!(bench.departure(&Packet::new("10.1.0.5", "10.2.3.6", TCP).frame()).0, TC_SHOT);
    assert_eq!(bench.departure(&Packet::new("10.1.0.5", "10.2.3.6", ICMP).frame()).0, TC_NEXT);
}
