//! The guard on crafted packets, run by the kernel itself (BPF_PROG_TEST_RUN) with the real maps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::bench::{Bench, Context, LOOPBACK, PROTECT, TC_NEXT, TC_SHOT, any_to_any, rule, site_to_site};
use common::{ESP, ICMP, ICMPV6, Packet, TCP, UDP, is_root};
use ebpf_abi::{DEFAULT_PORT, PORT_COARSE, PORT_RAW_IP, PortConfig};
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
    // From a link-local address, as RFC 4861 §8.1 requires, to the sender of the packet; the
    // destination follows the target.
    let redirect = |sender: &str, destination: &str| {
        let target = [&[137, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80][..], &[0; 14]].concat();
        let to = destination.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let hop_limit = 255;
        Packet { payload: [&target[..], &to].concat(), hop_limit, ..Packet::new("fe80::1", sender, ICMPV6) }
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
        ("IPv6 redirect of a sender", redirect("2001:db8:1::5", "2001:db8:2::6"), drop),
        ("IPv6 redirect about nobody's flow", redirect("2001:db8:1::5", "2001:db8:3::6"), pass),
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
fn a_frame_that_ends_inside_its_tag_is_dropped() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, site_to_site());
    let tagged = Packet { tags: vec![5, 6], ..Packet::new("10.1.0.5", "10.2.0.6", UDP) }.frame();
    for length in [14, 15, 17, 18, 21] {
        let malformed = (TC_SHOT, "departure-drop-malformed");
        assert_eq!(bench.departure(&tagged[..length]), malformed, "{length} octets");
        assert_eq!(bench.arrival(&tagged[..length]), (TC_SHOT, "arrival-drop-malformed"), "{length} octets");
    }
}

#[test]
fn an_exemption_in_doubt_closes_only_what_a_rule_behind_it_can_protect() {
    if !is_root() {
        return;
    }
    let web = Rule {
        protocol: Some(TCP),
        destination_ports: PortRange::single(443),
        ..rule("10.1.0.0/16", "10.2.0.0/15", Action::Jump(4))
    };
    let other = Rule { protocol: Some(UDP), ..rule("10.1.0.0/16", "10.3.0.0/16", PROTECT) };
    let rules = vec![
        web,
        rule("10.1.0.0/16", "10.2.0.0/16", PROTECT),
        rule("10.1.0.0/16", "10.3.9.0/24", Action::Jump(3)),
        rule("10.1.0.0/16", "10.3.9.0/24", PROTECT),
        rule("10.1.0.0/16", "10.3.8.0/24", Action::Jump(6)),
        rule("10.1.0.0/16", "10.3.8.0/24", PROTECT),
        other,
    ];
    let mut bench = Bench::new(true, rules);
    let fragment = |destination| Packet { fragment: (false, 5), ..Packet::new("10.1.0.5", destination, TCP) };
    assert_eq!(
        bench.departure(&fragment("10.2.0.6").frame()),
        DEPARTURE_DROP,
        "the deny skips its protection"
    );
    assert_eq!(bench.departure(&fragment("10.3.9.6").frame()), DEPARTURE_DROP, "skipped with its protection");
    assert_eq!(bench.departure(&fragment("10.3.8.6").frame()), DEPARTURE_PASS, "exempted behind the doubt");
    assert_eq!(bench.departure(&fragment("10.3.0.6").frame()), DEPARTURE_PASS, "nothing behind can match");
}

#[test]
fn a_list_too_long_to_walk_is_guarded_by_prefix() {
    if !is_root() {
        return;
    }
    let mut rules = vec![rule("10.1.0.0/16", "10.2.0.0/16", Action::Jump(9000)); 8500];
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

const DEPARTURE_DROP: (u32, &str) = (TC_SHOT, "departure-drop-protected");
const DEPARTURE_PASS: (u32, &str) = (TC_NEXT, "departure-pass");
const ARRIVAL_DROP: (u32, &str) = (TC_SHOT, "arrival-drop-protected");
const ARRIVAL_PASS: (u32, &str) = (TC_NEXT, "arrival-pass");

#[test]
fn what_should_arrive_sealed_does_not_arrive_in_clear() {
    if !is_root() {
        return;
    }
    let web = Rule {
        protocol: Some(TCP),
        destination_ports: PortRange::single(443),
        ..rule("10.1.0.0/16", "10.2.0.0/16", PROTECT)
    };
    let mut bench = Bench::new(true, vec![web, rule("2001:db8:1::/48", "2001:db8:2::/48", PROTECT)]);
    let (own, peer) = ("192.0.2.1", "198.51.100.7");
    let tcp =
        |ports: (u16, u16)| Packet { protocol: TCP, ..Packet::udp("10.2.0.6", "10.1.0.5", ports, &[0; 12]) };
    let esp = (TC_SHOT, "arrival-drop-esp");
    let ike = (TC_NEXT, "arrival-ike");
    let cases = [
        ("an answer from the protected port", tcp((443, 40000)), ARRIVAL_DROP),
        ("to the protected port: not the mirror", tcp((40000, 443)), ARRIVAL_PASS),
        ("a later fragment", Packet { fragment: (false, 5), ..tcp((1, 1)) }, ARRIVAL_DROP),
        ("as written: departure decides", Packet::new("10.1.0.5", "10.2.0.6", TCP), ARRIVAL_PASS),
        ("IPv6", Packet::new("2001:db8:2::6", "2001:db8:1::5", UDP), ARRIVAL_DROP),
        ("ESP that no worker took", Packet::new(peer, own, ESP), esp),
        ("ESP in UDP", Packet::udp(peer, own, (4500, 4500), &[0, 0, 1, 1, 0, 0, 0, 1]), esp),
        ("ESP to another address", Packet::new(peer, "192.0.2.9", ESP), ARRIVAL_PASS),
        ("IKE", Packet::udp(peer, own, (500, 500), &[1; 28]), ike),
        ("IKE on 4500", Packet::udp(peer, own, (4500, 4500), &[0; 32]), ike),
    ];
    for (what, packet, expected) in &cases {
        assert_eq!(bench.arrival(&packet.frame()), *expected, "{what}");
    }
    // Without rules nothing but ESP is dropped.
    bench.set_entry(LOOPBACK, |entry| *entry = PortConfig::default());
    assert_eq!(bench.arrival(&tcp((443, 40000)).frame()), ARRIVAL_PASS);
    assert_eq!(bench.arrival(&Packet::new(peer, own, ESP).frame()), esp);
    // For all ports, if the rules cannot be walked.
    bench.set_entry(LOOPBACK, |entry| entry.flags = PORT_COARSE);
    assert_eq!(bench.arrival(&tcp((1, 1)).frame()), ARRIVAL_DROP);
}

#[test]
fn entries_say_what_a_device_is_closed_by() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, site_to_site());
    let out = Packet::new("10.1.0.5", "10.2.0.6", ICMP).frame();
    let back = Packet::new("10.2.0.6", "10.1.0.5", ICMP).frame();
    let other = Packet::new("10.3.0.5", "10.2.0.6", ICMP).frame();
    let mut rules = PortConfig::default();
    bench.set_entry(LOOPBACK, |entry| rules = *entry);
    bench.remove_entry(LOOPBACK);
    assert_eq!(
        (bench.departure(&out), bench.arrival(&back)),
        (DEPARTURE_DROP, ARRIVAL_DROP),
        "no entry at all"
    );
    assert_eq!((bench.departure(&other), bench.arrival(&other)), (DEPARTURE_PASS, ARRIVAL_PASS));
    bench.set_entry(DEFAULT_PORT, |entry| *entry = PortConfig::default());
    assert_eq!(
        (bench.departure(&out), bench.arrival(&back)),
        (DEPARTURE_PASS, ARRIVAL_PASS),
        "open everywhere"
    );
    bench.set_entry(DEFAULT_PORT, |entry| {
        (entry.rule_first, entry.rule_count) = (rules.rule_first, rules.rule_count);
    });
    assert_eq!(
        (bench.departure(&out), bench.arrival(&back)),
        (DEPARTURE_DROP, ARRIVAL_DROP),
        "closed everywhere"
    );
    bench.set_entry(LOOPBACK, |entry| {
        (entry.watch_first, entry.watch_count) = (rules.rule_first, rules.rule_count);
    });
    let elsewhere = (TC_NEXT, "departure-elsewhere");
    assert_eq!((bench.departure(&out), bench.departure(&out)), (elsewhere, elsewhere), "watched");
    assert_eq!((bench.departure(&other), bench.departure(&back)), (DEPARTURE_PASS, DEPARTURE_PASS));
    let [(flow, 2)] = bench.elsewhere()[..] else { panic!("one flow, two packets: {:?}", bench.elsewhere()) };
    let octets = |text: &str| u32::from_ne_bytes(text.parse::<std::net::Ipv4Addr>().unwrap().octets());
    assert_eq!((flow.ifindex, flow.version, flow.protocol), (LOOPBACK, 4, u32::from(ICMP)));
    assert_eq!((flow.source[0], flow.destination[0]), (octets("10.1.0.5"), octets("10.2.0.6")));
}

#[test]
fn nothing_behind_the_end_of_the_ip_packet_is_read() {
    if !is_root() {
        return;
    }
    let web = Rule {
        protocol: Some(TCP),
        destination_ports: PortRange::single(443),
        ..rule("10.1.0.0/16", "10.2.0.0/16", Action::Jump(2))
    };
    let mut bench = Bench::new(true, vec![web, rule("10.1.0.0/16", "10.2.0.0/16", PROTECT)]);
    let https =
        Packet { protocol: TCP, ..Packet::udp("10.1.0.5", "10.2.0.6", (40000, 443), &[0; 12]) }.frame();
    let with_length = |length: u16| {
        let mut frame = https.clone();
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame
    };
    let malformed = (TC_SHOT, "departure-drop-malformed");
    assert_eq!(bench.departure(&https), DEPARTURE_PASS);
    assert_eq!(bench.departure(&with_length(24)), DEPARTURE_PASS, "the ports are the last octets");
    assert_eq!(bench.departure(&with_length(23)), DEPARTURE_DROP, "the ports stand behind the packet");
    assert_eq!(bench.departure(&with_length(41)), malformed, "more than the frame holds");
    assert_eq!(bench.departure(&with_length(0)), malformed, "no length");
    let merged = Context::merged();
    assert_eq!(bench.departure_with(&with_length(0), &merged), DEPARTURE_PASS, "no length above 64 KiB");
    let mut protected = with_length(0);
    protected[37] = 80;
    assert_eq!(bench.departure_with(&protected, &merged), DEPARTURE_DROP, "no length above 64 KiB");
}

#[test]
fn frames_without_ethernet_header_are_read_from_their_first_octet() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, site_to_site());
    bench.set_entry(LOOPBACK, |entry| entry.flags |= PORT_RAW_IP);
    let raw = |source: &str, destination: &str| Packet::new(source, destination, UDP).frame().split_off(14);
    assert_eq!(bench.departure(&raw("10.1.0.5", "10.2.0.6")), DEPARTURE_DROP);
    assert_eq!(bench.departure(&raw("10.3.0.5", "10.2.0.6")), DEPARTURE_PASS);
    assert_eq!(bench.departure(&raw("2001:db8:1::5", "2001:db8:2::6")), DEPARTURE_DROP);
    assert_eq!(bench.arrival(&raw("10.2.0.6", "10.1.0.5")), ARRIVAL_DROP);
    assert_eq!(bench.departure(&[0x55; 40]), (TC_SHOT, "departure-drop-malformed"));
    let own_esp = Packet::new("198.51.100.7", "192.0.2.1", ESP).frame().split_off(14);
    assert_eq!(bench.ingress(&own_esp), (common::bench::DROP, "ingress-drop-no-socket"));
}
