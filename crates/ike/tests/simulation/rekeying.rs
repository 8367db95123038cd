//! Rekeying by one side, by command and by time, with traffic that must flow at every moment.

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

/// RFC 7296 §1.3.3, §2.8
#[test]
fn a_child_is_rekeyed_and_the_old_one_deleted_by_the_initiator() {
    for side in [A, B] {
        let mut network = Network::pair(1);
        network.up();
        let old = network.child(side);
        network.command(side, Command::RekeyChild { child: old });
        network.run_checked(SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        assert_ne!(network.child(side), old);
        let names = ["a > b", "b > a"];
        let (own, other) = (names[side], names[1 - side]);
        let first = if side == A { 2 } else { 0 };
        let second = first + 1;
        assert_eq!(
            network.diagram,
            [
                format!("{own}: CREATE_CHILD_SA request {first}"), // N(REKEY_SA), SA, Ni, TSi, TSr
                format!("{other}: CREATE_CHILD_SA response {first}"),
                format!("{own}: INFORMATIONAL request {second}"), // D(old)
                format!("{other}: INFORMATIONAL response {second}"),
            ]
        );
        let events = &network.gateways[1 - side].events;
        assert!(
            events[0].starts_with("install")
                && events[1].starts_with("ready")
                && events[2].ends_with("Replaced")
        );
    }
}

/// RFC 7296 §1.3.2, §2.18
#[test]
fn an_ike_sa_is_rekeyed_and_its_children_move() {
    for side in [A, B] {
        let mut network = Network::pair(2);
        network.up();
        let (ike, child) = (network.ike(side), network.child(side));
        network.command(side, Command::RekeyIke { ike });
        network.run_checked(SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        assert_eq!(network.child(side), child, "children keep their names");
        assert_ne!(network.ike(side), ike);
        assert!(network.gateways.iter().all(|gateway| gateway.events == ["rekeyed"]));
        // The new IKE SA works in both directions, from message ID 0 on.
        for which in [A, B] {
            network.diagram.clear();
            let ike = network.ike(which);
            network.command(which, Command::Liveness { ike, interval: SECOND, retries: 1 });
            network.run_for(SECOND / 2);
            assert!(network.diagram[0].ends_with("INFORMATIONAL request 0"), "{:?}", network.diagram);
            assert_eq!(network.diagram.len(), 2);
        }
        // And so do its children.
        let child = network.child(B);
        network.command(B, Command::RekeyChild { child });
        network.run_checked(SECOND, Network::assert_traffic_flows);
        network.assert_converged();
    }
}

#[test]
fn twenty_rekeyings_of_both_kinds_in_a_row_lose_nothing() {
    let mut network = Network::pair(3);
    network.up();
    for round in 0..20 {
        let side = round % 2;
        let command = match round % 3 {
            0 => Command::RekeyIke { ike: network.ike(side) },
            _ => Command::RekeyChild { child: network.child(side) },
        };
        network.command(side, command);
        network.run_checked(2 * SECOND, Network::assert_traffic_flows);
        network.assert_converged();
    }
}

#[test]
fn lifetimes_rekey_by_themselves() {
    let mut network = Network::with(4, |own, _, connection| {
        if own == A {
            connection.lifetime =
                IkeLifetime { rekey: Some(100 * SECOND), jitter: 10 * SECOND, hard: Some(120 * SECOND) };
            connection.children[0].lifetime = ChildLifetime {
                soft: Some(30 * SECOND),
                jitter: 5 * SECOND,
                hard: Some(40 * SECOND),
                rekey_on_soft: true,
            };
        }
    });
    network.up();
    network.run_checked(1000 * SECOND, Network::assert_traffic_flows);
    network.assert_converged();
    let installs = network.gateways[A].events.iter().filter(|event| event.starts_with("install")).count();
    let rekeyed = network.gateways[A].events.iter().filter(|event| *event == "rekeyed").count();
    assert!((33..=42).contains(&installs), "{installs} children in 1000 s of 25 to 30 s");
    assert!((9..=12).contains(&rekeyed), "{rekeyed} IKE SAs in 1000 s of 90 to 100 s");
}

#[test]
fn the_caller_may_decide_at_the_soft_limit_and_the_hard_limit_ends_the_child() {
    let mut network = Network::with(5, |own, _, connection| {
        if own == A {
            connection.children[0].lifetime = ChildLifetime {
                soft: Some(30 * SECOND),
                jitter: Duration::ZERO,
                hard: Some(40 * SECOND),
                rekey_on_soft: false,
            };
        }
    });
    network.up();
    network.run_for(35 * SECOND);
    assert!(network.gateways[A].events[0].starts_with("soft limit"));
    network.run_for(10 * SECOND);
    assert!(network.gateways[A].events[1].ends_with("Expired"));
    assert!(network.gateways[B].events[0].ends_with("DeletedByPeer"));
}

#[test]
fn an_ike_sa_that_cannot_be_rekeyed_ends_at_its_hard_limit() {
    let mut network = Network::with(6, |own, _, connection| {
        if own == A {
            connection.lifetime =
                IkeLifetime { rekey: None, jitter: Duration::ZERO, hard: Some(60 * SECOND) };
        }
    });
    network.up();
    network.run_for(61 * SECOND);
    assert_eq!(network.gateways[A].events.last().unwrap(), "down Expired");
    network.assert_empty();
}

/// RFC 7296 §2.4
#[test]
fn an_unanswered_rekeying_ends_the_ike_sa() {
    let mut network = Network::with(7, |_, _, connection| connection.established.give_up = 10 * SECOND);
    network.up();
    network.partition = true;
    let child = network.child(A);
    network.command(A, Command::RekeyChild { child });
    network.run_for(11 * SECOND);
    assert_eq!(network.gateways[A].events.last().unwrap(), "down Timeout");
}

#[test]
fn a_refused_rekeying_keeps_the_old_child() {
    let mut network = Network::pair(8);
    network.up();
    // b's configuration changes so that it no longer takes the child's algorithms.
    let mut changed = connection(B);
    changed.children[0].proposals.truncate(1);
    changed.children[0].proposals[0].encryption = vec![Encryption::ChaCha20Poly1305];
    network.gateways[B].endpoint.set_connection(changed);
    let child = network.child(A);
    network.command(A, Command::RekeyChild { child });
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events, ["child failed NoProposal"]);
    network.assert_converged();
    assert_eq!(network.child(A), child);
}
