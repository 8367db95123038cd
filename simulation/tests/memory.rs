//! What ten thousand idle tunnels give back: slots of the shared table, keys, and the control plane's heap.

mod lab;

use std::fmt::Write as _;

use lab::{IKE, pass, setup};
use peak_alloc::PeakAlloc;
use sa_table::{Capacities, FiveTuple};
use simulation::crypto::CHEAP;
use simulation::network::{Network, Sabotage};
use simulation::random::Stream;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// An IKE SA carries at most 256 pairs.
const BRANCHES: usize = 40;
const PERMITS: usize = 250;
const TUNNELS: usize = BRANCHES * PERMITS;

fn entry(out: &mut String, seq: usize, peer: &str, permit: impl Fn(usize) -> (String, String)) {
    let _ = writeln!(
        out,
        "crypto map m {seq} ipsec-isakmp\n set peer {peer}\n set transform-set ts\n set security-association idle-time 60\n match address list{seq}"
    );
    let _ = writeln!(out, "ip access-list extended list{seq}");
    for number in 0..PERMITS {
        let (from, to) = permit(number);
        let _ = writeln!(out, " permit ip host {from} host {to}");
    }
}

fn branch_address(branch: usize) -> String {
    format!("10.9.9.{}", branch + 1)
}

fn hosts(branch: usize, number: usize) -> (String, String) {
    (format!("192.168.{branch}.{number}"), format!("172.16.{branch}.{number}"))
}

fn room(tunnels: usize) -> Capacities {
    let slots = u32::try_from(tunnels * 2).unwrap();
    Capacities {
        inbound_slots: slots,
        outbound_slots: slots,
        policies: slots,
        arena_words: slots * 16,
        workers: 1,
        replay_words: 16,
        ring_entries: 1024,
        checkpoint_words: slots * 128,
    }
}

#[test]
fn ten_thousand_idle_tunnels_give_everything_back() {
    let mut hub = String::from("hostname hub\n");
    let mut setups = Vec::new();
    for branch in 0..BRANCHES {
        entry(&mut hub, branch + 1, &branch_address(branch), |number| {
            let (ours, theirs) = hosts(branch, number);
            (theirs, ours)
        });
        let mut text = format!("hostname branch{branch}\n");
        entry(&mut text, 1, "10.1.1.1", |number| hosts(branch, number));
        setups.push(setup(&branch_address(branch), &(text + IKE), room(PERMITS)));
    }
    setups.insert(0, setup("10.1.1.1", &(hub + IKE), room(TUNNELS)));
    let mut network = Network::new(setups, &CHEAP, &Stream::new(1), Sabotage::None).unwrap();
    network.start();
    for branch in 0..BRANCHES {
        for number in 0..PERMITS {
            let (from, to) = hosts(branch, number);
            let tuple = FiveTuple {
                source: from.parse().unwrap(),
                destination: to.parse().unwrap(),
                protocol: 17,
                source_port: 1,
                destination_port: 2,
            };
            network.add_flow(branch + 1, tuple, false);
        }
    }
    // Warm: every table of the process has had its first growth.
    pass(&mut network, 1);
    let rest = (HEAP.current_usage(), network.gateways[0].brain.load());
    assert_eq!(rest.1.pairs, 0);

    for flow in 0..TUNNELS {
        network.set_interval(flow, 3_600_000);
        if flow % PERMITS == PERMITS - 1 {
            pass(&mut network, 1);
        }
    }
    pass(&mut network, 20);
    let busy = (HEAP.current_usage(), network.gateways[0].brain.load());
    assert_eq!((busy.1.pairs, busy.1.ike_sas), (TUNNELS, BRANCHES));
    assert_eq!(busy.1.table.free.0, rest.1.table.free.0 - TUNNELS);

    for flow in 0..TUNNELS {
        network.set_interval(flow, 0);
    }
    pass(&mut network, 120);
    let idle = (HEAP.current_usage(), network.gateways[0].brain.load());
    println!(
        "heap of {} gateways: {} bytes at rest, {} with {TUNNELS} tunnels, {} after they idled out",
        BRANCHES + 1,
        rest.0,
        busy.0,
        idle.0
    );
    assert_eq!((idle.1.pairs, idle.1.ike_sas, idle.1.attempts, idle.1.endpoint_waits), (0, 0, 0, false));
    assert_eq!(idle.1.table.free, rest.1.table.free, "every slot of the shared table is free again");
    let tunnels = busy.0 - rest.0;
    let left = idle.0.saturating_sub(rest.0);
    assert!(tunnels > TUNNELS * 500, "tunnels cost something: {tunnels}");
    assert!(left * 20 < tunnels, "{left} of {tunnels} bytes are still in use");
}
