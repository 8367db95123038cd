//! The host's own traffic, by every kind of socket and device, against the guard alone: no data
//! plane, no policy routing, no nftables. `docs/closed.md` lists the result for each kind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod devices;
mod wire;

use common::bench::{PROTECT, rule};
use common::{ICMP, Instance, Lab, Packet, inside, is_root};
use dataplane::host::kernel::Netlink;
use dataplane::xdp::{KernelPolicy, Programs};
use wire::{hex, mac_of};

/// A gateway whose outside device protects 10.1/16 and its own address toward 10.2/16 and toward
/// groups, and IPv6 alike.
struct Host {
    lab: Lab,
    instance: Instance,
}

impl Host {
    fn new() -> Self {
        let lab = Lab::new();
        let gateway = &lab.gateway;
        gateway.ip(&["address", "add", "2001:db8:1::1/64", "dev", "out0", "nodad"]).unwrap();
        gateway.ip(&["route", "add", "2001:db8:2::/64", "dev", "out0"]).unwrap();
        lab.outside.ip(&["address", "add", "2001:db8:2::5/64", "dev", "eth0", "nodad"]).unwrap();
        lab.outside.ip(&["route", "add", "2001:db8:1::/64", "dev", "eth0"]).unwrap();
        // Separate routes for marked packets and for multicast groups.
        gateway.ip(&["rule", "add", "fwmark", "1", "table", "100"]).unwrap();
        gateway.ip(&["route", "add", "default", "via", "192.0.2.2", "table", "100"]).unwrap();
        gateway.ip(&["route", "add", "239.0.0.0/8", "dev", "out0"]).unwrap();
        Self { lab, instance: Instance::new() }
    }

    /// Loads the guard and attaches it to these devices. The programs stay when they are dropped.
    fn guard(&self, devices: &[&str]) -> Programs {
        inside(&self.lab.gateway, || {
            let netlink = Netlink::open().unwrap();
            let ifindex = |name: &str| netlink.device(name).unwrap().map(|device| device.ifindex);
            let (mut ports, mut lists) = self.lab.policy();
            lists[0].push(rule("192.0.2.1/32", "239.0.0.0/8", PROTECT));
            lists[0].push(rule("2001:db8:1::/48", "2001:db8:2::/48", PROTECT));
            for port in &mut ports {
                port.ifindex = ifindex(&port.device).unwrap_or(0);
            }
            let mut programs = Programs::load(&self.instance.0).unwrap();
            let policy = KernelPolicy::compile(&ports, &lists, &netlink.devices().unwrap(), |_| None);
            programs.prepare(&policy).unwrap();
            for device in devices {
                programs.guard(ifindex(device).unwrap(), device).unwrap();
            }
            programs.commit(&policy).unwrap();
            programs
        })
    }

    /// Number of frames with the text of `send.py` that arrive at the far end when the gateway runs
    /// it with these arguments.
    fn seen(&self, arguments: &[String]) -> usize {
        wire::seen(&self.lab.outside, "eth0", || {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/own_traffic/send.py");
            let all: Vec<&str> = [script].into_iter().chain(arguments.iter().map(String::as_str)).collect();
            self.lab.gateway.run("python3", &all).unwrap();
        })
    }

    /// A frame to the far end's hardware address.
    fn frame(&self, packet: &Packet) -> Vec<u8> {
        let mut frame = packet.frame();
        frame[..6].copy_from_slice(&mac_of(&self.lab.outside, "eth0"));
        if packet.source.is_ipv4() && packet.tags.is_empty() {
            wire::set_checksum(&mut frame[14..]);
        }
        frame
    }
}

fn dropped(programs: &Programs) -> u64 {
    let counters = programs.counters().unwrap().into_iter();
    counters.filter(|(name, _)| name.starts_with("departure-drop")).map(|(_, count)| count).sum()
}

fn arguments(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn no_socket_of_this_host_sends_a_protected_packet_in_clear() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let udp = Packet::udp("10.1.0.1", "10.2.0.1", (7, 9999), b"in clear");
    let (frame, packet) = (host.frame(&udp), host.frame(&udp).split_off(14));
    let quoting = Packet {
        payload: [
            &[3, 1, 0, 0, 0, 0, 0, 0][..],
            &Packet::udp("10.2.0.1", "10.1.0.2", (7, 7), b"in clear").frame()[14..],
        ]
        .concat(),
        ..Packet::new("192.0.2.1", "192.0.2.2", ICMP)
    };
    let quoting = host.frame(&quoting).split_off(14);
    let tagged = host.frame(&Packet { tags: vec![5], ..udp });
    let mac = hex(&mac_of(&host.lab.outside, "eth0"));
    let cases = [
        ("an ordinary socket", arguments("udp to=10.2.0.1")),
        ("a socket bound to a device", arguments("udp to=10.2.0.1 device=out0")),
        ("a mark that another table routes", arguments("udp to=10.2.0.1 mark=1 from=10.1.0.1")),
        ("fragments, the later ones without ports", arguments("udp to=10.2.0.1 size=4000")),
        ("a group", arguments("udp to=239.1.1.1 from=192.0.2.1 device=out0")),
        ("a source route whose next hop is protected", arguments("udp to=198.51.100.9 via=10.2.0.1")),
        ("a neighbour by IPv6", arguments("udp to=2001:db8:2::5")),
        ("a raw socket", arguments(&format!("raw to=10.2.0.1 data={}", hex(&packet)))),
        ("a raw socket, routed elsewhere", arguments(&format!("raw to=192.0.2.2 data={}", hex(&packet)))),
        ("an ICMP error that quotes", arguments(&format!("raw to=192.0.2.2 data={}", hex(&quoting)))),
        ("a packet socket", arguments(&format!("packet device=out0 data={}", hex(&frame)))),
        ("a packet socket, tagged", arguments(&format!("packet device=out0 data={}", hex(&tagged)))),
        (
            "a packet socket without Ethernet header",
            arguments(&format!("cooked device=out0 mac={mac} data={}", hex(&packet))),
        ),
    ];
    for (what, arguments) in &cases {
        assert!(host.seen(arguments) > 0, "{what}: without guard it leaves");
    }
    host.lab.gateway.ip(&["-6", "neigh", "flush", "dev", "out0"]).unwrap();
    let programs = host.guard(&["in0", "out0"]);
    for (what, arguments) in &cases {
        let before = dropped(&programs);
        assert_eq!(host.seen(arguments), 0, "{what}");
        assert!(dropped(&programs) > before, "{what}: the guard dropped it, not something else");
    }
    let neighbours = host.lab.gateway.ip(&["-6", "neigh", "show", "2001:db8:2::5"]).unwrap();
    assert!(neighbours.contains("lladdr"), "neighbour discovery of the same flow works: {neighbours:?}");
    for clear in ["udp to=192.0.2.2", "udp to=239.1.1.1 from=10.3.0.1 device=out0"] {
        if clear.contains("10.3.0.1") {
            host.lab.gateway.ip(&["address", "add", "10.3.0.1/32", "dev", "lo"]).unwrap();
        }
        assert_eq!(host.seen(&arguments(clear)), 1, "{clear}: no permit selects it");
    }
}

/// The known limits: packets that the guard does not stop. If one of these fails, the limit no
/// longer exists, and `docs/closed.md` has to be updated.
#[test]
fn what_the_guard_cannot_see_is_known() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let _programs = host.guard(&["in0", "out0"]);
    let frame = hex(&host.frame(&Packet::udp("10.1.0.1", "10.2.0.1", (7, 9999), b"in clear")));
    let plain = arguments(&format!("packet device=out0 data={frame}"));
    assert_eq!(host.seen(&plain), 0);
    let bypass = arguments(&format!("packet device=out0 bypass=1 data={frame}"));
    assert_eq!(host.seen(&bypass), 1, "PACKET_QDISC_BYPASS goes to the driver, past tcx");
    let source_route = arguments("udp to=10.2.0.1 via=192.0.2.2");
    assert_eq!(host.seen(&source_route), 1, "the header names the next hop, which no permit selects");
}
