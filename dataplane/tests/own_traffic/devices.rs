//! Devices over a port, and devices without Ethernet header. Each has its own guard.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use af_xdp::device::open_tun;

use crate::common::{Packet, inside, is_root};
use crate::wire::{has_text, set_checksum};
use crate::{Host, arguments, dropped};

const SEND: &str = "udp to=10.2.0.1 from=10.1.0.1";

/// The route to the protected network leads by `device`, the only device with the guard.
fn is_guarded(host: &Host, device: &str) {
    let gateway = &host.lab.gateway;
    gateway.ip(&["route", "replace", "10.2.0.0/16", "via", "192.0.2.2", "dev", device]).unwrap();
    assert!(host.seen(&arguments(SEND)) > 0, "{device}: without guard it leaves");
    let programs = host.guard(&[device]);
    let before = dropped(&programs);
    assert_eq!(host.seen(&arguments(SEND)), 0, "{device}");
    assert!(dropped(&programs) > before, "{device}: the guard dropped it, not something else");
    assert!(host.seen(&arguments("udp to=192.0.2.2")) > 0, "{device}: no permit selects it");
}

#[test]
fn a_bridge_over_a_port_has_the_guard_of_its_own() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let gateway = &host.lab.gateway;
    gateway.ip(&["link", "add", "br0", "type", "bridge"]).unwrap();
    gateway.ip(&["address", "delete", "192.0.2.1/24", "dev", "out0"]).unwrap();
    gateway.ip(&["link", "set", "out0", "master", "br0"]).unwrap();
    gateway.address("br0", "192.0.2.1/24").unwrap();
    is_guarded(&host, "br0");
}

#[test]
fn what_a_bridge_forwards_passes_the_guard_of_its_port() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let gateway = &host.lab.gateway;
    gateway.ip(&["link", "add", "br0", "type", "bridge"]).unwrap();
    for port in ["in0", "out0"] {
        gateway.ip(&["address", "flush", "dev", port]).unwrap();
        gateway.ip(&["link", "set", port, "master", "br0"]).unwrap();
    }
    gateway.up("br0").unwrap();
    // The host inside reaches the one outside as a neighbour.
    let (inner, outer) = (&host.lab.inside, &host.lab.outside);
    inner.ip(&["route", "replace", "default", "dev", "eth0"]).unwrap();
    outer.ip(&["route", "replace", "10.1.0.0/16", "dev", "eth0"]).unwrap();
    assert_eq!(host.lab.arriving(inner, 3), 3, "without guard the bridge is open");
    let programs = host.guard(&["in0", "out0", "br0"]);
    assert_eq!(host.lab.arriving(inner, 3), 0);
    assert!(dropped(&programs) >= 3);
}

#[test]
fn a_macvlan_over_a_port_has_the_guard_of_its_own() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let gateway = &host.lab.gateway;
    gateway.ip(&["link", "add", "mv0", "link", "out0", "type", "macvlan", "mode", "bridge"]).unwrap();
    gateway.ip(&["address", "delete", "192.0.2.1/24", "dev", "out0"]).unwrap();
    gateway.address("mv0", "192.0.2.1/24").unwrap();
    is_guarded(&host, "mv0");
}

#[test]
fn a_vlan_device_over_a_port_has_the_guard_of_its_own() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let (gateway, outside) = (&host.lab.gateway, &host.lab.outside);
    let vlan = ["link", "add", "link", "out0", "name", "out0.5", "type", "vlan", "id", "5"];
    if let Err(error) = gateway.ip(&vlan) {
        println!("SKIP: a_vlan_device_over_a_port_has_the_guard_of_its_own: no VLAN devices here: {error}");
        return;
    }
    outside.ip(&["link", "add", "link", "eth0", "name", "eth0.5", "type", "vlan", "id", "5"]).unwrap();
    gateway.ip(&["address", "delete", "192.0.2.1/24", "dev", "out0"]).unwrap();
    outside.ip(&["address", "delete", "192.0.2.2/24", "dev", "eth0"]).unwrap();
    gateway.address("out0.5", "192.0.2.1/24").unwrap();
    outside.address("eth0.5", "192.0.2.2/24").unwrap();
    is_guarded(&host, "out0.5");
}

#[test]
fn a_device_without_ethernet_header_is_read_as_raw_ip_both_ways() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let gateway = &host.lab.gateway;
    let (tun, name) = inside(gateway, || open_tun("raw%d").unwrap());
    gateway.address(&name, "10.9.9.1/24").unwrap();
    gateway.ip(&["route", "replace", "10.2.0.0/16", "dev", &name]).unwrap();
    let socket = inside(gateway, || UdpSocket::bind("10.1.0.1:7777").unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // A packet with the first source address looks like an Ethernet frame of IPv4 to code that
    // expects an ethertype at octet 12.
    let sources = ["10.2.0.1", "8.0.0.1"];
    for source in sources {
        assert!(arrives(&tun, &socket, source), "{source}: without guard it is taken");
    }
    assert!(leaves(&tun, &socket, "10.2.0.1:9"), "without guard it leaves");
    let programs = host.guard(&[&name]);
    assert!(!leaves(&tun, &socket, "10.2.0.1:9"));
    assert!(dropped(&programs) > 0);
    assert!(leaves(&tun, &socket, "10.9.9.7:9"), "no permit selects it");
    assert!(!arrives(&tun, &socket, sources[0]), "its mirror is protected");
    assert!(arrives(&tun, &socket, sources[1]), "no permit selects it");
}

fn leaves(mut tun: &File, socket: &UdpSocket, to: &str) -> bool {
    socket.send_to(b"in clear", to).unwrap();
    let end = Instant::now() + Duration::from_millis(300);
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        match tun.read(&mut buffer) {
            Ok(length) if has_text(&buffer[..length]) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5))
            }
            Err(error) => panic!("{error}"),
        }
    }
    false
}

fn arrives(mut tun: &File, socket: &UdpSocket, source: &str) -> bool {
    let mut packet = Packet::udp(source, "10.1.0.1", (9, 7777), b"in clear").frame().split_off(14);
    set_checksum(&mut packet);
    tun.write_all(&packet).unwrap();
    let mut buffer = [0; 64];
    socket.recv(&mut buffer).is_ok()
}
