//! Both programs on real devices in network namespaces, without the process: which packets pass,
//! and what happens to pins.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use af_xdp::{Mode, PortQueue, SocketOptions, Umem, UmemConfig};
use aya::programs::links::{FdLink, PinnedLink};
use common::{Instance, Lab, Packet, bound, inside, is_root};
use dataplane::host::kernel::{Netlink, NetlinkError};
use dataplane::xdp::{self, AttachedMode, KernelPolicy, Programs, XdpError};

fn pins(instance: &Instance) -> PathBuf {
    PathBuf::from("/sys/fs/bpf/tohub").join(&instance.0)
}

fn ifindex(name: &str) -> u32 {
    Netlink::open().unwrap().device(name).unwrap().unwrap().ifindex
}

/// Loads, attaches to both ports and applies the lab's policy. Called inside the gateway's
/// namespace.
fn guard(lab: &Lab, instance: &Instance) -> Programs {
    let netlink = Netlink::open().unwrap();
    let mut programs = Programs::load(&instance.0).unwrap();
    let (mut ports, lists) = lab.policy();
    for port in &mut ports {
        port.ifindex = ifindex(&port.device);
    }
    let devices = netlink.devices().unwrap();
    let policy = KernelPolicy::compile(&ports, &lists, &devices, |port| Some(u32::from(port.id)));
    programs.prepare(&policy).unwrap();
    for port in &ports {
        programs.guard(port.ifindex, &port.device).unwrap();
        programs.steer(port.ifindex, &port.device, &netlink).unwrap();
    }
    programs.commit(&policy).unwrap();
    programs
}

fn counter(programs: &Programs, name: &str) -> u64 {
    programs.counters().unwrap().into_iter().find(|(one, _)| *one == name).unwrap().1
}

fn link_id(path: &std::path::Path) -> (u32, u32) {
    let link: FdLink = PinnedLink::from_pin(path).unwrap().into();
    let info = link.info().unwrap();
    (info.id(), info.program_id())
}

#[test]
fn clear_packets_for_a_protected_prefix_leave_neither_forwarded_nor_from_the_host() {
    if !is_root() {
        return;
    }
    let (lab, instance) = (Lab::new(), Instance::new());
    assert_eq!(lab.arriving(&lab.inside, 5), 5, "without programs the way is open");
    let programs = inside(&lab.gateway, || guard(&lab, &instance));
    assert_eq!(lab.arriving(&lab.inside, 10), 0, "forwarded");
    assert!(counter(&programs, "ingress-pass-no-socket") >= 10);
    assert_eq!(lab.arriving(&lab.gateway, 10), 0, "from the host");
    assert!(counter(&programs, "departure-drop-protected") >= 10);
    assert_eq!(
        lab.delivered(&lab.inside, "192.0.2.2:9999", 5),
        5,
        "what no permit matches is the kernel's business"
    );
    drop(programs);
    assert_eq!(lab.arriving(&lab.inside, 10), 0, "forwarded, nobody running");
    assert_eq!(lab.arriving(&lab.gateway, 10), 0, "from the host, nobody running");
    xdp::release(&instance.0).unwrap();
    // The driver leaves its XDP mode asynchronously.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lab.arriving(&lab.inside, 5), 5, "released");
}

#[test]
fn af_xdp_transmission_passes_the_guard_and_the_kernels_own_does_not() {
    if !is_root() {
        return;
    }
    let (lab, instance) = (Lab::new(), Instance::new());
    let arrived = |frame: Vec<u8>, by_af_xdp: bool| {
        let receiver = inside(&lab.outside, || bound("10.2.0.1:7777"));
        receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        inside(&lab.gateway, || if by_af_xdp { send_af_xdp(&frame) } else { send_by_the_kernel() });
        receiver.recv(&mut [0; 64]).is_ok()
    };
    let mut frame = Packet::udp("10.1.0.2", "10.2.0.1", (7777, 7777), b"in clear").frame();
    let outside_mac = mac(&lab.outside.ip(&["-br", "link", "show", "eth0"]).unwrap());
    frame[..6].copy_from_slice(&outside_mac);
    checksum(&mut frame);
    assert!(arrived(frame.clone(), false), "without guard the kernel's packet arrives");
    let programs = inside(&lab.gateway, || guard(&lab, &instance));
    assert!(!arrived(frame.clone(), false));
    assert_eq!(counter(&programs, "departure-drop-protected"), 1);
    assert!(arrived(frame, true));
    assert_eq!(counter(&programs, "departure-drop-protected"), 1, "the guard did not see it");
}

fn send_by_the_kernel() {
    let socket = std::net::UdpSocket::bind("10.1.0.1:0").unwrap();
    socket.send_to(b"in clear", "10.2.0.1:7777").unwrap();
}

fn send_af_xdp(frame: &[u8]) {
    let umem = Umem::new(UmemConfig { frames: 4096, ..UmemConfig::default() }).unwrap();
    let options = SocketOptions { ring_size: 64, fill_size: 64, ..SocketOptions::default() };
    let queue = [PortQueue { interface: "out0".to_owned(), queue: 0 }];
    let mut opened = af_xdp::open(&umem, &queue, &options).unwrap();
    assert_eq!(opened.mode, Mode::Copy);
    let socket = opened.sockets.first_mut().unwrap();
    let mut pool = umem.pool(16, 64);
    let mut one = pool.take().unwrap();
    one.append(frame).unwrap();
    let mut frames = vec![one];
    assert_eq!(socket.send(&mut frames), 1);
    socket.flush();
    std::thread::sleep(Duration::from_millis(50));
}

fn mac(link: &str) -> [u8; 6] {
    let text = link.split_whitespace().nth(2).unwrap();
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    octets.try_into().unwrap()
}

/// IPv4 header checksum; UDP needs none.
fn checksum(frame: &mut [u8]) {
    let sum: u32 =
        frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

/// The pins of the programs, in the order of their names: arrival, departure, ingress.
fn pinned_programs(instance: &Instance) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(pins(instance)).unwrap();
    let mut programs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    programs.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("tohub_"));
    programs.sort();
    programs
}

#[test]
fn a_restart_updates_the_links_and_never_opens_the_way() {
    if !is_root() {
        return;
    }
    let (lab, instance) = (Lab::new(), Instance::new());
    let links = inside(&lab.gateway, || {
        let names = [("xdp", "in0"), ("xdp", "out0"), ("departure", "out0"), ("arrival", "in0")];
        names.map(|(kind, device)| pins(&instance).join(format!("{kind}-{}", ifindex(device))))
    });
    drop(inside(&lab.gateway, || guard(&lab, &instance)));
    let before = links.each_ref().map(|path| link_id(path));
    drop(inside(&lab.gateway, || guard(&lab, &instance)));
    assert_eq!(links.each_ref().map(|path| link_id(path)), before, "the pinned programs are taken over");
    // If the pin of a program is missing or is another object, the program is loaded again and the
    // links are updated.
    let programs = pinned_programs(&instance);
    assert_eq!(programs.len(), 3, "{programs:?}");
    std::fs::remove_file(&programs[0]).unwrap();
    std::fs::rename(&programs[1], &programs[0]).unwrap();
    std::fs::remove_file(&programs[2]).unwrap();
    let programs = inside(&lab.gateway, || guard(&lab, &instance));
    let after = links.each_ref().map(|path| link_id(path));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.0, after.0, "the link is the same");
        assert_ne!(before.1, after.1, "the program is a new one");
    }
    assert_eq!(lab.arriving(&lab.inside, 10), 0);
    let updated = inside(&lab.gateway, || {
        let mut programs = programs;
        let netlink = Netlink::open().unwrap();
        programs.guard(ifindex("out0"), "out0").unwrap();
        assert!(programs.is_guarded(ifindex("out0"), "out0"));
        programs.steer(ifindex("out0"), "out0", &netlink).unwrap()
    });
    assert!(updated.updated);
    assert_eq!(updated.mode, AttachedMode::Native);
}

#[test]
fn a_pin_of_a_device_that_is_gone_is_replaced() {
    if !is_root() {
        return;
    }
    let (lab, instance) = (Lab::new(), Instance::new());
    let index = inside(&lab.gateway, || {
        drop(guard(&lab, &instance));
        ifindex("in0")
    });
    lab.gateway.ip(&["link", "delete", "in0"]).unwrap();
    let index_text = index.to_string();
    lab.gateway
        .ip(&["link", "add", "in0", "index", &index_text, "type", "veth", "peer", "name", "in1"])
        .unwrap();
    let attached = inside(&lab.gateway, || {
        let mut programs = Programs::load(&instance.0).unwrap();
        programs.steer(index, "in0", &Netlink::open().unwrap()).unwrap()
    });
    assert!(!attached.updated, "the old link was of the old device");
}

#[test]
fn foreign_and_corrupt_pins_are_refused_with_the_remedy_and_removed_by_release() {
    if !is_root() {
        return;
    }
    let (lab, instance) = (Lab::new(), Instance::new());
    let folder = pins(&instance);
    let index = inside(&lab.gateway, || {
        drop(Programs::load(&instance.0).unwrap());
        ifindex("in0")
    });
    // A map where a link should be.
    let link = folder.join(format!("xdp-{index}"));
    aya::maps::MapData::from_pin(folder.join("META")).unwrap().pin(&link).unwrap();
    let refused = inside(&lab.gateway, || {
        let mut programs = Programs::load(&instance.0).unwrap();
        programs.steer(index, "in0", &Netlink::open().unwrap()).unwrap_err()
    });
    assert_stale(&refused, "xdp-");
    fs::remove_file(&link).unwrap();
    // A map of another shape.
    fs::remove_file(folder.join("PORTS")).unwrap();
    aya::maps::MapData::from_pin(folder.join("META")).unwrap().pin(folder.join("PORTS")).unwrap();
    let refused = Programs::load(&instance.0).err().unwrap();
    assert_stale(&refused, "PORTS");
    assert!(xdp::release(&instance.0).unwrap().maps > 0);
    assert!(!folder.exists());
    drop(Programs::load(&instance.0).unwrap());
}

#[test]
fn a_pin_of_another_namespaces_device_stays_and_both_devices_are_guarded() {
    if !is_root() {
        return;
    }
    let (here, there, instance) = (Lab::new(), Lab::new(), Instance::new());
    let index = inside(&here.gateway, || {
        drop(guard(&here, &instance));
        ifindex("out0")
    });
    inside(&there.gateway, || {
        assert_eq!(ifindex("out0"), index, "both gateways number their devices alike");
        drop(guard(&there, &instance));
    });
    assert_eq!(here.arriving(&here.inside, 10), 0);
    assert_eq!(there.arriving(&there.inside, 10), 0);
}

fn assert_stale(error: &XdpError, what: &str) {
    assert!(matches!(error, XdpError::StalePin { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(what) && text.contains("tohub release"), "{text}");
}

#[test]
fn somebody_elses_program_on_a_device_is_named() {
    if !is_root() {
        return;
    }
    let (lab, other, instance) = (Lab::new(), Instance::new(), Instance::new());
    let refused = inside(&lab.gateway, || {
        drop(guard(&lab, &other));
        let mut programs = Programs::load(&instance.0).unwrap();
        programs.steer(ifindex("in0"), "in0", &Netlink::open().unwrap()).unwrap_err()
    });
    assert!(matches!(refused, XdpError::DeviceTaken { .. }), "{refused:?}");
}

#[test]
fn a_device_that_does_not_exist_is_named() -> Result<(), NetlinkError> {
    if !is_root() {
        return Ok(());
    }
    let instance = Instance::new();
    let mut programs = Programs::load(&instance.0).unwrap();
    let refused = programs.steer(4_000_000, "tohub-none", &Netlink::open()?).unwrap_err();
    assert!(matches!(refused, XdpError::Device { .. }), "{refused:?}");
    let refused = programs.guard(4_000_000, "tohub-none").unwrap_err();
    assert!(matches!(refused, XdpError::Device { .. }), "{refused:?}");
    Ok(())
}
