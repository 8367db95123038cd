//! Additional key exchanges (RFC 9370), by IKE_INTERMEDIATE (RFC 9242) and IKE_FOLLOWUP_KE.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ike::*;

use crate::network::*;
use crate::restart::{records, revive};

const SECOND: Duration = Duration::from_secs(1);

fn exchange(optional: bool) -> AdditionalExchange {
    AdditionalExchange { number: 1, groups: vec![Group::MlKem768], optional }
}

fn want(connection: &mut Connection, optional: bool) {
    for proposal in &mut connection.ike_proposals {
        proposal.additional = vec![exchange(optional)];
    }
}

/// Both ends require ML-KEM-768, and children have forward secrecy.
fn hybrid(seed: u64) -> Network {
    Network::with(seed, |_, config, connection| {
        config.fragment_size = None;
        hybrid_connection(connection);
    })
}

fn hybrid_connection(connection: &mut Connection) {
    want(connection, false);
    connection.children[0].proposals.iter_mut().for_each(|p| p.groups = vec![Group::Curve25519]);
}

fn methods(network: &Network, which: usize) -> Vec<Group> {
    let suite = network.gateways[which].up.values().next().unwrap().suite.unwrap();
    suite.additional.methods().collect()
}

/// ```text
/// a                                                  b
/// | -- IKE_SA_INIT SA(.. ADDKE1), KE, N(INTERMEDIATE_EXCHANGE_SUPPORTED) --> |
/// | <-- IKE_SA_INIT SA(.. ADDKE1), KE, N(INTERMEDIATE_EXCHANGE_SUPPORTED) -- |
/// | -- IKE_INTERMEDIATE SK{KE(ML-KEM key)} --------> |   under SK(0)
/// | <-------- IKE_INTERMEDIATE SK{KE(ciphertext)} -- |
/// | -- IKE_AUTH SK{.. AUTH over IntAuth ..} -------> |   under SK(1)
/// | <------- IKE_AUTH SK{.. AUTH over IntAuth ..} -- |
/// ```
#[test]
fn ml_kem_goes_between_ike_sa_init_and_ike_auth() {
    let mut network = hybrid(1);
    network.initiate(A);
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(
        network.diagram,
        [
            "a > b: IKE_SA_INIT request 0",
            "b > a: IKE_SA_INIT response 0",
            "a > b: IKE_INTERMEDIATE request 1",
            "b > a: IKE_INTERMEDIATE response 1",
            "a > b: IKE_AUTH request 2",
            "b > a: IKE_AUTH response 2",
        ]
    );
    assert_eq!([methods(&network, A), methods(&network, B)], [[Group::MlKem768], [Group::MlKem768]]);
}

#[test]
fn an_optional_exchange_is_left_out_with_a_peer_that_does_not_have_it() {
    for without in [A, B] {
        let mut network = Network::with(2, |own, _, connection| {
            if own != without {
                want(connection, true);
            }
        });
        network.up();
        assert!(methods(&network, A).is_empty());
    }
}

/// RFC 9370 §2.2.1
#[test]
fn a_needed_exchange_and_a_peer_that_does_not_have_it_make_nothing() {
    for without in [A, B] {
        let mut network = Network::with(3, |own, _, connection| {
            if own != without {
                want(connection, false);
            }
        });
        network.initiate(A);
        network.run_for(200 * SECOND);
        network.assert_empty();
        assert!(
            network.gateways[A].has_event("initiation failed NoProposal"),
            "{:?}",
            network.gateways[A].events
        );
    }
}

#[test]
fn ike_intermediate_comes_in_fragments() {
    let mut network = Network::with(4, |_, config, connection| {
        config.fragment_size = Some(576 - 28);
        want(connection, false);
    });
    network.initiate(A);
    network.run_for(SECOND);
    network.assert_converged();
    let count = |line: &str| network.diagram.iter().filter(|l| **l == line).count();
    assert_eq!(count("a > b: IKE_INTERMEDIATE request 1"), 3);
    assert_eq!(count("b > a: IKE_INTERMEDIATE response 1"), 3);
}

/// The answer to IKE_INTERMEDIATE is lost: b has its new keys already, and the retransmission is
/// protected by the old ones.
///
/// ```text
/// a                                        b
/// | -- IKE_INTERMEDIATE request 1 -------> |
/// | x------ IKE_INTERMEDIATE response 1 -- |
/// | -- IKE_INTERMEDIATE request 1 -------> |   the same bytes
/// | <------ IKE_INTERMEDIATE response 1 -- |   the same bytes
/// ```
#[test]
fn a_lost_answer_to_ike_intermediate_is_repeated() {
    for fragment_size in [None, Some(576)] {
        let mut network = Network::with(5, |_, config, connection| {
            config.fragment_size = fragment_size;
            want(connection, false);
        });
        let lost = Rc::new(RefCell::new(if fragment_size.is_some() { 3 } else { 1 }));
        network.filter = Some(Box::new(move |datagram: &Datagram| {
            let hit = datagram.exchange == "IKE_INTERMEDIATE" && datagram.response && *lost.borrow() > 0;
            *lost.borrow_mut() -= i32::from(hit);
            !hit
        }));
        network.initiate(A);
        network.run_for(5 * SECOND);
        network.assert_converged();
        assert!(network.gateways[B].endpoint.counters().replayed_requests > 0);
    }
}

/// ```text
/// a                                                  b
/// | -- CREATE_CHILD_SA SA, Ni, KE, TS -------------> |
/// | <-- CREATE_CHILD_SA SA, Nr, KE, TS, N(link) ---- |   nothing is made yet
/// | -- IKE_FOLLOWUP_KE KE(ML-KEM key), N(link) ----> |
/// | <------------- IKE_FOLLOWUP_KE KE(ciphertext) -- |   both have the new SA
/// ```
#[test]
fn rekeyings_have_the_additional_exchange_too() {
    for side in [A, B] {
        let mut network = hybrid(6);
        network.up();
        let child = network.child(side);
        network.command(side, Command::RekeyChild { child });
        network.run_checked(SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        assert_ne!(network.child(side), child);
        let (from, to) = if side == A { ("a > b", "b > a") } else { ("b > a", "a > b") };
        let first = if side == A { 3 } else { 0 };
        let lines: Vec<String> = [("CREATE_CHILD_SA", first), ("IKE_FOLLOWUP_KE", first + 1)]
            .iter()
            .flat_map(|(name, id)| {
                [format!("{from}: {name} request {id}"), format!("{to}: {name} response {id}")]
            })
            .collect();
        assert_eq!(network.diagram[..4], lines);
        network.diagram.clear();
        let ike = network.ike(side);
        network.command(side, Command::RekeyIke { ike });
        network.run_checked(SECOND, Network::assert_traffic_flows);
        network.assert_converged();
        assert_ne!(network.ike(side), ike);
        assert!(network.diagram[2].contains("IKE_FOLLOWUP_KE request"), "{:#?}", network.diagram);
        assert_eq!(methods(&network, side), [Group::MlKem768]);
    }
}

/// Both ends rekey at once. Once an end knows all four nonces, the one with the lowest does not go
/// on to IKE_FOLLOWUP_KE (RFC 9370 §2.2.4).
#[test]
fn crossing_rekeyings_with_additional_exchanges_leave_one() {
    for seed in 0..30 {
        for kind in ["child", "ike"] {
            let mut network = hybrid(seed);
            network.up();
            network.faults.jitter_ms = 30;
            let orders = [A, B].map(|side| match kind {
                "child" => Command::RekeyChild { child: network.child(side) },
                _ => Command::RekeyIke { ike: network.ike(side) },
            });
            for (side, order) in [A, B].into_iter().zip(orders) {
                network.command(side, order);
                // Sometimes one of them begins while the other is already at its second exchange,
                // or done.
                network.run_for(Duration::from_millis(seed * 3));
            }
            network.run_checked(30 * SECOND, Network::assert_traffic_flows);
            network.run_for(200 * SECOND);
            network.assert_converged();
            assert!(network.gateways.iter().all(|gateway| gateway.endpoint.ike_sas().count() == 1));
        }
    }
}

#[test]
fn additional_exchanges_survive_loss_duplicates_and_reordering() {
    for seed in 0..20 {
        let mut network = hybrid(seed);
        network.faults = Faults { loss_percent: 20, duplicate_percent: 20, jitter_ms: 200 };
        network.initiate(A);
        network.run_for(100 * SECOND);
        if network.gateways[A].up.is_empty() {
            continue;
        }
        for side in [A, B, A, B] {
            if network.gateways[side].up.len() == 1 && network.gateways[side].children.len() == 1 {
                let child = network.child(side);
                network.command(side, Command::RekeyChild { child });
                let ike = network.ike(side);
                network.command(side, Command::RekeyIke { ike });
                network.run_for(100 * SECOND);
            }
        }
        network.faults = CLEAN;
        network.run_for(300 * SECOND);
        network.assert_converged();
    }
}

/// The responder's process ends between the two exchanges: its state is lost, and the initiator
/// begins again.
///
/// ```text
/// a                                       b
/// | -- CREATE_CHILD_SA ----------------> |
/// | <---------- CREATE_CHILD_SA, N(link) |
/// |                                      x   restart from the checkpoint
/// | -- IKE_FOLLOWUP_KE ----------------> |
/// | <-- IKE_FOLLOWUP_KE STATE_NOT_FOUND  |
/// | -- CREATE_CHILD_SA ----------------> |
/// ```
///
/// RFC 9370 §2.2.4
#[test]
fn a_forgotten_promise_is_answered_by_state_not_found_and_asked_for_anew() {
    for kind in ["child", "ike"] {
        let mut network = Network::with(7, |_, config, connection| {
            config.checkpoint = true;
            hybrid_connection(connection);
        });
        network.up();
        let order = match kind {
            "child" => Command::RekeyChild { child: network.child(A) },
            _ => Command::RekeyIke { ike: network.ike(A) },
        };
        network.filter = Some(Box::new(|datagram: &Datagram| datagram.exchange != "IKE_FOLLOWUP_KE"));
        network.command(A, order);
        network.run_for(SECOND / 10);
        let records = records(&mut network, B);
        assert_eq!(records.len(), 1);
        let mut connection = connection(B);
        hybrid_connection(&mut connection);
        revive(&mut network, B, connection, &records);
        network.filter = None;
        network.run_for(60 * SECOND);
        network.assert_converged();
        let repeated = network.diagram.iter().filter(|line| line.contains("CREATE_CHILD_SA request")).count();
        assert_eq!(repeated, 2, "{:#?}", network.diagram);
    }
}
