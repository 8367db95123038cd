//! Simultaneous exchanges of both ends (RFC 7296 §2.8.1, §2.8.2, §2.25).

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

/// a and b rekey the child at the same moment; the requests cross on the wire.
///
/// ```text
/// a                                   b
/// | -- CREATE_CHILD_SA request ----\ /|
/// | /-- CREATE_CHILD_SA request --- X |
/// | X-- CREATE_CHILD_SA response --/ \|   each makes the other's child
/// |/ \- CREATE_CHILD_SA response ---- |   the lowest nonce decides
/// | -- INFORMATIONAL D(old) --------- |   by the winner
/// | -- INFORMATIONAL D(surplus) ----- |   by the loser
/// ```
#[test]
fn crossing_child_rekeyings_leave_the_child_without_the_lowest_nonce() {
    for seed in 0..30 {
        let mut network = Network::pair(seed);
        network.up();
        for side in [A, B] {
            let child = network.child(side);
            network.command(side, Command::RekeyChild { child });
        }
        network.run_checked(5 * SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        let deletes = network.diagram.iter().filter(|line| line.contains("INFORMATIONAL request")).count();
        assert_eq!(deletes, 2, "one for the old, one for the surplus: {:#?}", network.diagram);
    }
}

#[test]
fn crossing_ike_rekeyings_leave_one_ike_sa_with_the_children() {
    for seed in 0..30 {
        let mut network = Network::pair(seed);
        network.up();
        for side in [A, B] {
            let ike = network.ike(side);
            network.command(side, Command::RekeyIke { ike });
        }
        network.run_checked(5 * SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        network.run_for(100 * SECOND);
        network.assert_converged();
        assert!(network.gateways.iter().all(|gateway| gateway.endpoint.ike_sas().count() == 1));
    }
}

/// b's request is on its way while a's rekeying is already complete: the refusal informs b.
#[test]
fn a_rekeying_that_arrives_after_the_other_one_is_done_is_refused_and_forgotten() {
    for kind in ["child", "ike"] {
        for seed in 0..10 {
            let mut network = Network::pair(seed);
            network.up();
            // The first requests of b are dropped, its answers are not.
            network.filter = Some(Box::new(|datagram| {
                datagram.from.ip() != socket(ADDRESSES[B]).ip() || datagram.response
            }));
            for side in [B, A] {
                let command = match kind {
                    "child" => Command::RekeyChild { child: network.child(side) },
                    _ => Command::RekeyIke { ike: network.ike(side) },
                };
                network.command(side, command);
            }
            network.run_for(SECOND / 2);
            network.filter = None;
            network.run_for(20 * SECOND);
            network.assert_converged();
        }
    }
}

/// RFC 7296 §2.25.1
#[test]
fn both_ends_delete_the_child_at_once() {
    let mut network = Network::pair(1);
    network.up();
    for side in [A, B] {
        let child = network.child(side);
        network.command(side, Command::DeleteChild { child });
    }
    network.run_for(5 * SECOND);
    for gateway in &network.gateways {
        assert!(gateway.children.is_empty() && gateway.up.len() == 1, "{:?}", gateway.events);
        assert!(gateway.spis.0.lock().unwrap().is_empty());
        assert_eq!(gateway.events.len(), 1, "removed once: {:?}", gateway.events);
    }
}

/// RFC 7296 §2.25.2
#[test]
fn both_ends_delete_the_ike_sa_at_once() {
    let mut network = Network::pair(2);
    network.up();
    for side in [A, B] {
        let ike = network.ike(side);
        network.command(side, Command::DeleteIke { ike, notify_peer: true });
    }
    network.run_for(60 * SECOND);
    network.assert_empty();
}

/// RFC 7296 §2.25.1
#[test]
fn one_end_rekeys_the_child_that_the_other_deletes() {
    for seed in 0..10 {
        let mut network = Network::pair(seed);
        network.up();
        let (rekeyed, deleted) = (network.child(A), network.child(B));
        network.command(A, Command::RekeyChild { child: rekeyed });
        network.command(B, Command::DeleteChild { child: deleted });
        network.run_for(20 * SECOND);
        // The delete is answered as usual and the rekeying is refused: the child is gone on both
        // ends.
        for gateway in &network.gateways {
            assert!(gateway.children.is_empty(), "{} {:?}", gateway.name, gateway.events);
            assert!(gateway.spis.0.lock().unwrap().is_empty());
            assert_eq!(gateway.up.len(), 1);
        }
    }
}

/// RFC 7296 §2.25.2
#[test]
fn one_end_rekeys_the_ike_sa_that_the_other_deletes() {
    let mut network = Network::pair(3);
    network.up();
    let (rekeyed, deleted) = (network.ike(A), network.ike(B));
    network.command(A, Command::RekeyIke { ike: rekeyed });
    network.command(B, Command::DeleteIke { ike: deleted, notify_peer: true });
    network.run_for(100 * SECOND);
    network.assert_empty();
}

/// RFC 7296 §2.25.2
#[test]
fn a_child_rekeying_waits_while_the_other_end_rekeys_the_ike_sa() {
    for seed in 0..10 {
        let mut network = Network::pair(seed);
        network.up();
        let (ike, child) = (network.ike(A), network.child(B));
        network.command(A, Command::RekeyIke { ike });
        network.command(B, Command::RekeyChild { child });
        network.run_checked(60 * SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        assert!(network.gateways[A].events.contains(&"rekeyed".to_owned()));
        assert_ne!(network.child(B), child, "the child was rekeyed after the pause");
    }
}

#[test]
fn a_new_child_waits_while_the_other_end_rekeys_the_ike_sa() {
    let mut network = Network::pair(4);
    network.up();
    let (ike_a, ike_b) = (network.ike(A), network.ike(B));
    network.command(A, Command::RekeyIke { ike: ike_a });
    network.command(B, Command::CreateChild { ike: ike_b, child: ChildRequest::new(TAG) });
    network.run_for(60 * SECOND);
    for gateway in &network.gateways {
        assert_eq!((gateway.up.len(), gateway.children.len()), (1, 2), "{:?}", gateway.events);
    }
}

#[test]
fn the_ike_sa_goes_down_during_a_rekeying_without_leaving_anything() {
    for command in ["child", "ike"] {
        let mut network = Network::pair(5);
        network.up();
        let (ike, child) = (network.ike(A), network.child(A));
        match command {
            "child" => network.command(A, Command::RekeyChild { child }),
            _ => network.command(A, Command::RekeyIke { ike }),
        };
        network.command(A, Command::DeleteIke { ike, notify_peer: true });
        network.run_for(100 * SECOND);
        for gateway in &network.gateways {
            assert!(
                gateway.up.is_empty() && gateway.children.is_empty(),
                "{command} {} {:?}",
                gateway.name,
                gateway.events
            );
        }
        network.assert_empty();
    }
}

#[test]
fn a_new_child_that_is_deleted_before_the_old_one_is_not_announced_any_more() {
    let mut network = Network::pair(61);
    network.up();
    let child = network.child(B);
    // b rekeys, and its Delete of the old child is late.
    network.filter = Some(Box::new(|datagram| datagram.exchange != "INFORMATIONAL" || datagram.response));
    network.command(B, Command::RekeyChild { child });
    network.run_for(SECOND / 2);
    let newest = *network.gateways[A].children.keys().last().unwrap();
    network.command(A, Command::DeleteChild { child: newest });
    network.filter = None;
    network.run_for(10 * SECOND);
    assert!(!network.gateways[A].has_event("ready"), "{:?}", network.gateways[A].events);
    assert!(network.gateways.iter().all(|gateway| gateway.children.is_empty() && gateway.up.len() == 1));
}

#[test]
fn of_crossing_initiations_one_is_surplus_even_if_the_other_was_rekeyed_meanwhile() {
    for seed in 200..220 {
        let mut network = Network::pair(seed);
        // a's IKE_AUTH is late, so that b's IKE SA is there first, and rekeyed, when a's comes.
        network.filter = Some(Box::new(|datagram| {
            datagram.exchange != "IKE_AUTH" || datagram.from.ip() != a() || datagram.response
        }));
        network.initiate(A);
        network.initiate(B);
        network.run_for(SECOND / 2);
        let ike = network.ike(B);
        network.command(B, Command::RekeyIke { ike });
        network.run_for(SECOND / 2);
        network.filter = None;
        network.run_for(30 * SECOND);
        network.assert_converged();
    }
}

fn a() -> std::net::IpAddr {
    socket(ADDRESSES[A]).ip()
}
