//! Two veth ends in a network namespace of the test's own, driven through real AF_XDP sockets.
//! Needs root; without it each test prints that and passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bpf;

use af_xdp::{
    Backing, CopyReason, Error, Frame, FramePool, Mode, ModePreference, PortQueue, Socket, SocketOptions,
    Umem, UmemConfig, open,
};
use bpf::{AttachMode, Redirect};
use std::process::Command;
use std::time::{Duration, Instant};

/// "Local experimental" ethertype, so that the kernel's own packets on the link are not mistaken
/// for ours.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const PACKETS: u32 = 500;

/// Runs `test` in a fresh network namespace with a veth pair `left` and `right` of `queues` queues
/// each. The namespace disappears with the thread.
fn in_namespace(queues: u32, test: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    std::thread::spawn(move || {
        // SAFETY: only this thread moves to a new network namespace; file descriptors stay shared.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        let n = queues.to_string();
        ip(&format!(
            "link add left numrxqueues {n} numtxqueues {n} type veth peer name right numrxqueues {n} numtxqueues {n}"
        ));
        ip("link set left up");
        ip("link set right up");
        test();
    })
    .join()
    .unwrap();
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn umem() -> Umem {
    Umem::new(UmemConfig { frames: 4096, backing: Backing::Memfd, ..UmemConfig::default() }).unwrap()
}

fn options() -> SocketOptions {
    SocketOptions { ring_size: 512, fill_size: 512, ..SocketOptions::default() }
}

fn port(interface: &str, queue: u32) -> PortQueue {
    PortQueue { interface: interface.into(), queue }
}

/// Opens one socket for each port and lets the interfaces' programs send packets to them.
fn connect(umem: &Umem, ports: &[PortQueue], mode: AttachMode) -> (Vec<Socket>, Vec<Redirect>) {
    let programs = vec![Redirect::attach("left", mode), Redirect::attach("right", mode)];
    let opened = open(umem, ports, &options()).unwrap();
    assert_eq!(opened.mode, Mode::Copy);
    assert!(matches!(opened.copy_reason, Some(CopyReason::Port(ref port, _)) if port.interface == "left"));
    for (socket, port) in opened.sockets.iter().zip(ports) {
        let program = &programs[usize::from(port.interface == "right")];
        program.direct(port.queue, socket.fd().unwrap());
    }
    (opened.sockets, programs)
}

fn packet(pool: &mut FramePool, number: u32) -> Frame {
    let mut frame = pool.take().unwrap();
    frame.append(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]).unwrap();
    frame.append(&ETHERTYPE).unwrap();
    frame.append(&number.to_be_bytes()).unwrap();
    frame.append(&vec![0xa5; (number as usize * 7) % 1400 + 50]).unwrap();
    frame
}

/// Sends [`PACKETS`] packets in bursts and returns the numbers that arrived, in order.
fn exchange(from: &mut Socket, to: &mut Socket, pool: &mut FramePool) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut waiting: Vec<Frame> = Vec::new();
    let mut burst = Vec::new();
    let (mut made, mut arrived) = (0, Vec::new());
    while arrived.len() < PACKETS as usize && Instant::now() < deadline {
        to.refill(pool);
        while waiting.len() < 100 && made < PACKETS {
            waiting.push(packet(pool, made));
            made += 1;
        }
        from.send(&mut waiting);
        from.flush();
        from.complete(pool);
        to.receive(&mut burst, 64);
        for frame in burst.drain(..) {
            if frame.bytes().get(12..14) == Some(&ETHERTYPE) {
                let number = u32::from_be_bytes(frame.bytes()[14..18].try_into().unwrap());
                assert_eq!(frame.len(), 18 + (number as usize * 7) % 1400 + 50);
                assert!(frame.bytes()[18..].iter().all(|byte| *byte == 0xa5));
                assert!(frame.headroom() >= 256);
                arrived.push(number);
            }
            pool.put(frame);
        }
    }
    assert!(waiting.is_empty());
    arrived
}

fn both_ways(mode: AttachMode) {
    let umem = umem();
    let mut pool = umem.pool(64, 4096);
    let (mut sockets, programs) = connect(&umem, &[port("left", 0), port("right", 0)], mode);
    let [left, right] = sockets.as_mut_slice() else { panic!() };
    let expected: Vec<u32> = (0..PACKETS).collect();
    assert_eq!(exchange(left, right, &mut pool), expected);
    assert_eq!(exchange(right, left, &mut pool), expected);
    for socket in [&*left, &*right] {
        assert_eq!(socket.counters().refused_descriptors, 0);
        let statistics = socket.statistics().unwrap();
        assert_eq!((statistics.rx_invalid_descriptors, statistics.tx_invalid_descriptors), (0, 0));
    }
    drop((sockets, programs, pool));
    assert_eq!(umem.frames_home() + umem.frames_lost(), 4096);
    assert_eq!(umem.frames_lost(), 0, "everything was completed before the sockets were closed");
}

#[test]
fn packets_cross_between_two_ports_of_one_umem_in_native_mode() {
    in_namespace(1, || both_ways(AttachMode::Native));
}

#[test]
fn packets_cross_between_two_ports_of_one_umem_in_generic_mode() {
    in_namespace(1, || both_ways(AttachMode::Generic));
}

#[test]
fn two_queues_of_two_devices_share_one_umem() {
    in_namespace(2, || {
        let umem = umem();
        let mut pool = umem.pool(64, 4096);
        let ports = [port("left", 0), port("left", 1), port("right", 0), port("right", 1)];
        let (mut sockets, _programs) = connect(&umem, &ports, AttachMode::Native);
        let [_, left1, _, right1] = sockets.as_mut_slice() else { panic!() };
        // A veth delivers on the queue that the packet was sent from.
        assert_eq!(exchange(left1, right1, &mut pool).len(), PACKETS as usize);
    });
}

#[test]
fn a_queue_can_be_bound_again_right_after_close_and_a_taken_one_is_named() {
    in_namespace(1, || {
        for _ in 0..5 {
            let umem = umem();
            drop(connect(&umem, &[port("left", 0), port("right", 0)], AttachMode::Native));
        }
        let (first, second) = (umem(), umem());
        let _held = connect(&first, &[port("left", 0)], AttachMode::Native);
        let patience = Duration::from_millis(100);
        let options = SocketOptions { busy_patience: patience, mode: ModePreference::Copy, ..options() };
        let error = open(&second, &[port("right", 0), port("left", 0)], &options).unwrap_err();
        assert!(
            matches!(&error, Error::QueueBusy { interface, queue: 0, waited_ms: 100.. } if interface == "left"),
            "{error}"
        );
    });
}

#[test]
fn refusals_name_the_interface_and_what_to_do() {
    in_namespace(1, || {
        let umem = umem();
        let no_queue = open(&umem, &[port("left", 9)], &options()).unwrap_err();
        assert!(no_queue.to_string().contains("interface left queue 9"), "{no_queue}");
        let zero_copy = SocketOptions { mode: ModePreference::ZeroCopy, ..options() };
        let refused = open(&umem, &[port("left", 0)], &zero_copy).unwrap_err();
        assert!(matches!(refused, Error::NoZeroCopy { .. }), "{refused}");
        assert!(refused.to_string().contains("allow copy mode"), "{refused}");
    });
}
