//! NATs in between, and ESP in UDP.

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn udp_encapsulation_can_be_had_without_a_nat() {
    let mut network = Network::with(20, |own, _, connection| connection.force_udp_encapsulation = own == A);
    network.up();
    let [a, b] = [A, B].map(|which| network.gateways[which].up.values().next().unwrap().clone());
    assert_eq!((a.local.port(), a.remote.port(), b.local.port()), (4500, 4500, 4500));
    assert!(a.nat_local && b.nat_remote && !b.nat_local);
    for gateway in &network.gateways {
        let child = gateway.children.values().next().unwrap();
        assert_eq!(child.udp_encapsulation, Some((4500, 4500)));
    }
}

/// RFC 7296 §2.23; RFC 3948 §2.2
#[test]
fn a_nat_moves_the_talk_to_port_4500_and_esp_into_udp() {
    let mut network = Network::pair(21);
    network.nat = Some(30_000);
    network.up();
    let [a, b] = [A, B].map(|which| network.gateways[which].up.values().next().unwrap().clone());
    assert!(a.nat_local && !a.nat_remote && b.nat_remote && !b.nat_local);
    assert_eq!((b.local.port(), b.remote.port()), (4500, 30_001));
    assert_eq!(network.gateways[A].children.values().next().unwrap().udp_encapsulation, Some((4500, 4500)));
    assert_eq!(network.gateways[B].children.values().next().unwrap().udp_encapsulation, Some((4500, 30_001)));
}

/// RFC 7296 §2.11, §2.23
#[test]
fn a_peer_behind_a_nat_is_followed_to_its_new_port_after_authentication_only() {
    let mut network = Network::pair(22);
    network.nat = Some(30_000);
    network.up();
    // The NAT has lost its mappings. Unauthenticated datagrams change nothing; only a's authentic
    // message does.
    network.inject(socket("192.0.2.1:40001"), socket("192.0.2.2:4500"), vec![0; 60]);
    network.run_for(SECOND / 10);
    assert!(network.gateways[B].events.is_empty());
    network.nat = Some(40_000);
    let ike = network.ike(A);
    network.command(A, Command::Liveness { ike, interval: SECOND, retries: 3 });
    network.run_for(SECOND);
    assert_eq!(network.gateways[B].events, ["endpoint 192.0.2.1:40001"]);
    // b's own requests reach a.
    let child = network.child(B);
    network.command(B, Command::RekeyChild { child });
    network.run_for(SECOND);
    network.assert_converged();
}

/// RFC 3948 §2.3, §4
#[test]
fn an_end_behind_a_nat_keeps_the_mapping_alive() {
    let mut network = Network::pair(23);
    network.nat = Some(30_000);
    network.up();
    let before = network.gateways[B].endpoint.counters().datagrams;
    network.run_for(61 * SECOND);
    assert_eq!(network.gateways[B].endpoint.counters().datagrams - before, 3, "one octet every 20 s");
    assert!(network.diagram.is_empty());
}
