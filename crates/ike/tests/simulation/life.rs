//! Liveness and deletion.

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

/// RFC 7296 §1.4, §2.4
#[test]
fn a_live_peer_answers_the_probe() {
    let mut network = Network::pair(22);
    network.up();
    let ike = network.ike(A);
    network.command(A, Command::Liveness { ike, interval: 2 * SECOND, retries: 5 });
    network.run_for(60 * SECOND);
    network.assert_converged();
    assert_eq!(network.diagram, ["a > b: INFORMATIONAL request 2", "b > a: INFORMATIONAL response 2"]);
}

#[test]
fn a_dead_peer_is_found_after_interval_times_retries_plus_one() {
    let mut network = Network::pair(23);
    network.up();
    network.partition = true;
    let ike = network.ike(A);
    network.command(A, Command::Liveness { ike, interval: 2 * SECOND, retries: 5 });
    network.run_for(Duration::from_millis(11_900));
    assert!(network.gateways[A].events.is_empty());
    assert_eq!(network.diagram.len(), 6, "the probe and five identical copies");
    network.run_for(SECOND / 4);
    let events = &network.gateways[A].events;
    assert_eq!(events.last().unwrap(), "down PeerDead");
    assert!(events[0].starts_with("remove") && events[0].ends_with("IkeDown"));
    assert_eq!(network.gateways[A].endpoint.ike_sas().count(), 0);
}

#[test]
fn a_probe_during_an_exchange_uses_the_request_in_flight() {
    let mut network = Network::pair(24);
    network.up();
    network.partition = true;
    let (ike, child) = (network.ike(A), network.child(A));
    network.command(A, Command::RekeyChild { child });
    network.command(A, Command::Liveness { ike, interval: SECOND, retries: 2 });
    network.run_for(4 * SECOND);
    assert!(network.gateways[A].has_event("down PeerDead"), "{:?}", network.gateways[A].events);
    assert!(network.diagram.iter().all(|line| line.starts_with("a > b: CREATE_CHILD_SA request 2")));
}

#[test]
fn hearing_esp_from_the_peer_keeps_it_alive_during_a_probe() {
    let mut network = Network::pair(25);
    network.up();
    network.partition = true;
    let ike = network.ike(A);
    network.command(A, Command::Liveness { ike, interval: SECOND, retries: 2 });
    for _ in 0..10 {
        network.run_for(SECOND);
        network.command(A, Command::PeerAlive { ike });
    }
    assert!(network.gateways[A].events.is_empty());
    network.run_for(4 * SECOND);
    assert!(network.gateways[A].has_event("down PeerDead"));
}

/// RFC 7296 §1.4.1, §3.11
#[test]
fn deleting_a_child_closes_it_on_both_ends() {
    let mut network = Network::pair(26);
    network.up();
    let child = network.child(A);
    network.command(A, Command::DeleteChild { child });
    assert!(network.gateways[A].events[0].ends_with("Local"));
    network.run_for(SECOND);
    assert!(network.gateways[B].events[0].ends_with("DeletedByPeer"));
    assert!(network.gateways.iter().all(|gateway| gateway.up.len() == 1 && gateway.children.is_empty()));
    assert!(network.gateways.iter().all(|gateway| gateway.spis.0.lock().unwrap().is_empty()));
}

/// RFC 7296 §1.4.1
#[test]
fn deleting_the_ike_sa_closes_everything_on_both_ends() {
    let mut network = Network::pair(27);
    network.up();
    let ike = network.ike(B);
    network.command(B, Command::DeleteIke { ike, notify_peer: true });
    assert_eq!(network.gateways[B].events.last().unwrap(), "down Local");
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events.last().unwrap(), "down DeletedByPeer");
    assert_eq!(network.diagram, ["b > a: INFORMATIONAL request 0", "a > b: INFORMATIONAL response 0"]);
    network.assert_empty();
}

#[test]
fn a_lost_answer_to_a_delete_is_given_again() {
    let mut network = Network::pair(28);
    network.up();
    let mut lost = 0;
    network.filter = Some(Box::new(move |datagram| {
        lost += u32::from(datagram.response);
        !datagram.response || lost > 2
    }));
    let ike = network.ike(B);
    network.command(B, Command::DeleteIke { ike, notify_peer: true });
    network.run_for(10 * SECOND);
    assert_eq!(network.diagram.last().unwrap(), "a > b: INFORMATIONAL response 0");
    assert_eq!(network.gateways[A].events.iter().filter(|event| event.starts_with("down")).count(), 1);
    network.run_for(40 * SECOND);
    network.assert_empty();
}

/// RFC 7296 §2.1, §2.2
#[test]
fn lost_answers_are_repeated_without_doing_anything_twice() {
    let mut network = Network::pair(29);
    let mut seen = std::collections::BTreeMap::new();
    network.filter = Some(Box::new(move |datagram| {
        // The first two answers of each exchange are lost.
        let count: &mut u32 = seen.entry(datagram.exchange).or_default();
        *count += u32::from(datagram.response);
        !datagram.response || *count > 2
    }));
    network.initiate(A);
    network.run_for(30 * SECOND);
    network.assert_converged();
    assert_eq!(network.gateways[B].endpoint.counters().replayed_requests, 4);
}
