//! The two kernel programs on crafted packets, run by the kernel itself (BPF_PROG_TEST_RUN) with the real maps. The test
//! device is the loopback device, ifindex 1.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use aya::programs::{TestRun, TestRunOptions};
use common::{ESP, ICMP, ICMPV6, Instance, Packet, TCP, UDP, is_root};
use dataplane::xdp::{KernelPolicy, Programs};
use sa_table::PolicyId;
use sa_table::policy::{Action, PortRecord, Prefix, Rule};
use sa_table::record::PortRange;

/// `XDP_DROP`: nobody has a socket here, so what goes to a worker ends as a drop; the counter tells which.
const DROP: u32 = 1;
const PASS: u32 = 2;
const TC_NEXT: u32 = u32::MAX;
const TC_SHOT: u32 = 2;

struct Bench {
    programs: Programs,
    _instance: Instance,
}

impl Bench {
    fn new(crypto_map: bool, rules: Vec<Rule>) -> Self {
        let instance = Instance::new();
        let mut programs = Programs::load(&instance.0).unwrap();
        let policy = policy(crypto_map, rules);
        programs.prepare(&policy).unwrap();
        programs.commit(&policy).unwrap();
        Self { programs, _instance: instance }
    }

    fn ingress(&mut self, frame: &[u8]) -> (u32, &'static str) {
        let before = self.programs.counters().unwrap();
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = self.programs.ingress_program().unwrap().test_run(options).unwrap();
        (result.return_value, self.counted(&before))
    }

    fn egress(&mut self, frame: &[u8]) -> (u32, &'static str) {
        let before = self.programs.counters().unwrap();
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = self.programs.egress_program().unwrap().test_run(options).unwrap();
        (result.return_value, self.counted(&before))
    }

    /// The one counter that moved.
    fn counted(&self, before: &[(&'static str, u64)]) -> &'static str {
        let after = self.programs.counters().unwrap();
        let moved: Vec<_> = before
            .iter()
            .zip(after)
            .filter(|((_, old), (_, new))| new - old == 1)
            .map(|((name, _), _)| *name)
            .collect();
        assert_eq!(moved.len(), 1, "each packet is counted once: {moved:?}");
        moved[0]
    }
}

fn policy(crypto_map: bool, rules: Vec<Rule>) -> KernelPolicy {
    let address = |text: &str| text.parse().unwrap();
    let port = |id: u16, ifindex: u32, has_crypto_map: bool| PortRecord {
        id,
        ifindex,
        device: "lo".to_owned(),
        ios_name: "GigabitEthernet0/0".to_owned(),
        mtu: 1500,
        has_crypto_map,
        crypto_addresses: vec![address("192.0.2.1"), address("2001:db8:ffff::1")],
        rule_list: has_crypto_map.then_some(0),
    };
    // The rules are those of another port when the device under test is an inside port.
    let ports = [port(0, 1, crypto_map), port(1, 4_000_000, true)];
    KernelPolicy::compile(&ports, &[rules], |port| Some(u32::from(port.id)))
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
}

fn rule(source: &str, destination: &str, action: Action) -> Rule {
    Rule {
        source: prefix(source),
        destination: prefix(destination),
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action,
    }
}

const PROTECT: Action = Action::Protect(PolicyId(0));

fn site_to_site() -> Vec<Rule> {
    vec![rule("10.1.0.0/16", "10.2.0.0/16", PROTECT), rule("2001:db8:1::/48", "2001:db8:2::/48", PROTECT)]
}

fn any_to_any() -> Vec<Rule> {
    vec![rule("0.0.0.0/0", "0.0.0.0/0", PROTECT), rule("::/0", "::/0", PROTECT)]
}

const NO_SOCKET: (u32, &str) = (DROP, "ingress-drop-no-socket");
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
    for crypto_map in [true, false] {
        check_ingress(&mut Bench::new(crypto_map, site_to_site()), &cases);
    }
}

#[test]
fn clear_traffic_that_a_permit_matches_never_reaches_the_kernel() {
    if !is_root() {
        return;
    }
    let outbound = Packet::new("10.1.0.5", "10.2.0.6", TCP);
    let mirrored = Packet::new("10.2.0.6", "10.1.0.5", TCP);
    let v6 = Packet::new("2001:db8:1::5", "2001:db8:2::6", UDP);
    let both_ways = [
        ("outbound", outbound.clone(), NO_SOCKET),
        ("outbound, tagged", Packet { tags: vec![1, 2], ..outbound.clone() }, NO_SOCKET),
        ("outbound, first fragment", Packet { fragment: (true, 0), ..outbound.clone() }, NO_SOCKET),
        ("outbound, later fragment", Packet { fragment: (true, 7), ..outbound.clone() }, NO_SOCKET),
        ("outbound, options", Packet { options: 4, ..outbound.clone() }, NO_SOCKET),
        ("outbound, no payload", Packet { payload: Vec::new(), ..outbound.clone() }, NO_SOCKET),
        ("outbound, IPv6", v6.clone(), NO_SOCKET),
        (
            "outbound, IPv6, a chain that is not followed to its end",
            Packet { extensions: vec![(60, 8); 9], ..v6.clone() },
            NO_SOCKET,
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
            ("mirrored", mirrored.clone(), NO_SOCKET),
            ("mirrored, later fragment", Packet { fragment: (false, 7), ..mirrored.clone() }, NO_SOCKET),
        ],
    );
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
        assert_eq!(bench.egress(&arp), (TC_NEXT, "egress-pass"));
        check_ingress(
            &mut bench,
            &[
                ("neighbour solicitation", solicitation.clone(), KERNEL),
                ("IKE", Packet::udp("198.51.100.7", "192.0.2.1", (500, 500), &[1; 28]), IKE),
                ("routing protocol", ospf.clone(), if crypto_map { NO_SOCKET } else { KERNEL }),
            ],
        );
        assert_eq!(bench.egress(&solicitation.frame()), (TC_NEXT, "egress-pass"));
        if crypto_map {
            assert_eq!(bench.ingress(&forwarded.frame()), NO_SOCKET);
            assert_eq!(bench.egress(&forwarded.frame()), (TC_SHOT, "egress-drop-protected"));
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
    for length in [14, 20, 33] {
        assert_eq!(bench.ingress(&whole[..length]), malformed, "{length} octets");
    }
    let mut version = whole.clone();
    version[14] = 0x65;
    assert_eq!(bench.ingress(&version), malformed, "IPv4 by ethertype, version 6");
    let mut header_length = whole.clone();
    header_length[14] = 0x44;
    assert_eq!(bench.ingress(&header_length), malformed, "header length of 16");
    assert_eq!(bench.egress(&header_length), (TC_SHOT, "egress-drop-malformed"));
    let tags = Packet { tags: vec![1, 2, 3], ..Packet::new("10.1.0.5", "10.2.0.6", TCP) };
    assert_eq!(bench.ingress(&tags.frame()), malformed, "three tags");
    let mut other = whole;
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(bench.ingress(&other), KERNEL, "LLDP");
}

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
    let drop = (TC_SHOT, "egress-drop-protected");
    let pass = (TC_NEXT, "egress-pass");
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
        assert_eq!(bench.egress(&packet.frame()), expected, "{what}");
    }
}

#[test]
fn the_guard_lets_ike_of_this_host_go_and_nothing_that_looks_like_it() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(true, any_to_any());
    let (own, peer) = ("192.0.2.1", "198.51.100.7");
    let ike = (TC_NEXT, "egress-ike");
    let drop = (TC_SHOT, "egress-drop-protected");
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
        assert_eq!(bench.egress(&packet.frame()), expected, "{what}");
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
    assert_eq!(bench.egress(&Packet::new("10.1.0.5", "10.2.3.6", TCP).frame()).0, TC_SHOT);
    assert_eq!(bench.egress(&Packet::new("10.1.0.5", "10.2.4.6", TCP).frame()).0, TC_NEXT);
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
    assert_eq!(bench.egress(&Packet::new("10.1.0.5", "10.2.3.6", TCP).frame()).0, TC_SHOT);
    assert_eq!(bench.egress(&Packet::new("10.1.0.5", "10.2.3.6", ICMP).frame()).0, TC_NEXT);
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
    assert_eq!((bench.ingress(&old), bench.ingress(&new)), (NO_SOCKET, KERNEL));
    bench.programs.prepare(&next).unwrap();
    assert_eq!((bench.ingress(&old), bench.ingress(&new)), (NO_SOCKET, NO_SOCKET));
    bench.programs.commit(&next).unwrap();
    assert_eq!((bench.ingress(&old), bench.ingress(&new)), (KERNEL, NO_SOCKET));
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
    let mut bench = Bench { programs: Programs::load(&instance.0).unwrap(), _instance: instance };
    assert_eq!(bench.ingress(&Packet::new("10.1.0.5", "10.2.0.6", TCP).frame()), NO_SOCKET);
    assert_eq!(bench.egress(&Packet::new("10.1.0.5", "10.2.0.6", TCP).frame()).0, TC_SHOT);
    // An unchanged policy may be applied again over what is there.
    bench.programs.prepare(&policy).unwrap();
    bench.programs.commit(&policy).unwrap();
    assert_eq!(bench.egress(&Packet::new("10.1.0.5", "10.2.0.6", TCP).frame()).0, TC_SHOT);
}
