//! Establishing IKE SAs and children.

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

/// RFC 7296 §1.2, §2.14, §2.17
#[test]
fn two_round_trips_make_an_ike_sa_and_its_first_child() {
    let mut network = Network::pair(1);
    network.initiate(A);
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(
        network.diagram,
        [
            "a > b: IKE_SA_INIT request 0",
            "b > a: IKE_SA_INIT response 0",
            "a > b: IKE_AUTH request 1",
            "b > a: IKE_AUTH response 1",
        ]
    );
    let info = &network.gateways[B].up.values().next().unwrap();
    assert_eq!(info.remote_identity, Some(Identity::Address(socket(ADDRESSES[A]).ip())));
    assert!(!info.nat_local && !info.nat_remote);
    let child = network.gateways[A].children.values().next().unwrap();
    assert!(child.suite.esn && child.udp_encapsulation.is_none());
    assert_eq!(child.suite.encryption, Encryption::AesGcm256);
    assert_eq!(child.outbound.encryption_key.len(), 32);
    assert_eq!(child.outbound.salt.len(), 4);
}

/// RFC 7296 §3.4
#[test]
fn each_group_and_each_cipher_makes_a_tunnel() {
    let ciphers = [
        (Encryption::AesGcm128, None),
        (Encryption::AesGcm192, None),
        (Encryption::AesCbc128, Some(Integrity::HmacSha1_96)),
        (Encryption::AesCbc192, Some(Integrity::HmacSha384_192)),
        (Encryption::AesCbc256, Some(Integrity::HmacSha512_256)),
    ];
    for group in Group::ALL.into_iter().filter(|group| !group.is_kem()) {
        // All ciphers with one group, one cipher with all the others.
        let count = if group == Group::Ecp256 { ciphers.len() } else { 1 };
        for &(encryption, integrity) in &ciphers[..count] {
            let mut network = Network::with(2, |_, _, connection| {
                connection.ike_proposals = vec![IkeProposal {
                    encryption: vec![encryption],
                    integrity: integrity.into_iter().collect(),
                    prf: vec![Prf::HmacSha256],
                    groups: vec![group],
                    additional: vec![],
                }];
                connection.children[0].proposals = vec![EspProposal {
                    encryption: vec![encryption],
                    integrity: integrity.into_iter().collect(),
                    groups: vec![],
                    esn: vec![false],
                }];
            });
            network.up();
            let suite = network.gateways[A].up.values().next().unwrap().suite.unwrap();
            assert_eq!((suite.group, suite.encryption), (group, encryption));
        }
    }
}

/// RFC 7296 §1.2
#[test]
fn the_responder_takes_another_group_than_the_first_one_guessed() {
    let mut network = Network::with(3, |own, _, connection| {
        let groups = if own == A { vec![Group::Curve25519, Group::Ecp384] } else { vec![Group::Ecp384] };
        connection.ike_proposals.iter_mut().for_each(|proposal| proposal.groups = groups.clone());
    });
    network.initiate(A);
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(
        network.diagram[..4],
        [
            "a > b: IKE_SA_INIT request 0",
            "b > a: IKE_SA_INIT response 0", // INVALID_KE_PAYLOAD
            "a > b: IKE_SA_INIT request 0",
            "b > a: IKE_SA_INIT response 0",
        ]
    );
}

/// RFC 7296 §2.6
#[test]
fn under_load_the_initiator_must_return_a_cookie() {
    let mut network = Network::with(4, |_, config, _| config.cookie_threshold = Some(0));
    network.initiate(A);
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(network.diagram.iter().filter(|line| line.contains("IKE_SA_INIT")).count(), 4);
    assert_eq!(network.gateways[B].endpoint.counters().cookies_sent, 1);
}

#[test]
fn cookie_and_another_group_together_also_lead_to_an_ike_sa() {
    let mut network = Network::with(5, |own, config, connection| {
        config.cookie_threshold = Some(0);
        let groups = if own == A { vec![Group::Curve25519, Group::Ecp384] } else { vec![Group::Ecp384] };
        connection.ike_proposals.iter_mut().for_each(|proposal| proposal.groups = groups.clone());
    });
    network.initiate(A);
    network.run_for(SECOND);
    network.assert_converged();
}

/// RFC 7296 §2.15
#[test]
fn a_wrong_key_fails_at_once_and_leaves_nothing() {
    let mut network = Network::with(6, |own, _, connection| {
        if own == A {
            connection.authentication = Authentication::psk(Secret::from("another key"));
        }
    });
    network.initiate(A);
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events, ["initiation failed AuthFailed protected=true"]);
    assert_eq!(network.gateways[B].events, Vec::<String>::new());
    assert_eq!(network.gateways[B].endpoint.counters().authentication_failed, 1);
    network.run_for(60 * SECOND);
    network.assert_empty();
}

/// RFC 7296 §2.21.2
#[test]
fn a_responder_that_cannot_prove_itself_is_told_so() {
    // b accepts a's key but authenticates with another one.
    let mut network = Network::with(7, |own, _, connection| {
        if own == B {
            let key = Secret::from("a pre-shared key");
            connection.authentication = Authentication::pre_shared(Secret::from("impostor"), key);
        }
    });
    network.initiate(A);
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events, ["initiation failed AuthFailed protected=true"]);
    assert_eq!(network.diagram[4], "a > b: INFORMATIONAL request 2"); // AUTHENTICATION_FAILED
    assert!(network.gateways[B].has_event("down Protocol"), "{:?}", network.gateways[B].events);
    network.run_for(60 * SECOND);
    network.assert_empty();
}

/// RFC 7296 §3.5
#[test]
fn an_unexpected_identity_is_refused_by_either_side() {
    for refusing in [A, B] {
        let mut network = Network::with(8, |own, _, connection| {
            if own == refusing {
                let wanted = Identity::Fqdn("somebody.else".into());
                connection.remote_identities = vec![IdentityMatch::Exact(wanted)];
            }
        });
        network.initiate(A);
        network.run_for(SECOND);
        let reason = if refusing == A { "WrongIdentity" } else { "AuthFailed" };
        assert_eq!(network.gateways[A].events, [format!("initiation failed {reason} protected=true")]);
        network.run_for(60 * SECOND);
        network.assert_empty();
    }
}

/// RFC 7296 §3.5
#[test]
fn identities_of_every_kind_are_exchanged() {
    let identities = [
        Identity::Fqdn("gw.example".into()),
        Identity::Email("gw@example".into()),
        Identity::KeyId(b"branch-7".to_vec()),
        Identity::Address("2001:db8::1".parse().unwrap()),
    ];
    for identity in identities {
        let mut network = Network::with(9, |own, _, connection| {
            connection.local_identity = Some(Identity::Fqdn(["a.example", "b.example"][own].into()));
            connection.remote_identities =
                vec![IdentityMatch::Exact(Identity::Fqdn(["b.example", "a.example"][own].into()))];
            if own == A {
                connection.local_identity = Some(identity.clone());
            } else {
                connection.remote_identities = vec![IdentityMatch::Exact(identity.clone())];
            }
        });
        network.up();
        let seen = network.gateways[B].up.values().next().unwrap().remote_identity.clone();
        assert_eq!(seen, Some(identity));
    }
}

/// RFC 7296 §2.21.1
#[test]
fn without_a_common_proposal_the_attempt_ends_after_the_grace_time() {
    let mut network = Network::with(10, |own, _, connection| {
        let encryption = if own == A { Encryption::AesGcm128 } else { Encryption::AesGcm256 };
        connection.ike_proposals.truncate(1);
        connection.ike_proposals[0].encryption = vec![encryption];
    });
    network.initiate(A);
    network.run_for(4 * SECOND);
    assert!(network.gateways[A].events.is_empty(), "anybody could have sent that error");
    network.run_for(2 * SECOND);
    assert_eq!(network.gateways[A].events, ["initiation failed NoProposal protected=false"]);
    network.assert_empty();
}

/// RFC 7296 §2.21.1
#[test]
fn a_forged_error_does_not_stop_an_initiation_that_succeeds() {
    let mut network = Network::pair(11);
    network.partition = true;
    network.initiate(A);
    let spi = network.gateways[A].endpoint.ike_sas().next().unwrap().local_spi;
    // NO_PROPOSAL_CHOSEN in clear, from b's address.
    let mut forged =
        [&spi.to_be_bytes()[..], &[0; 8], &[41, 0x20, 34, 0x20, 0, 0, 0, 0, 0, 0, 0, 36]].concat();
    forged.extend([0, 0, 0, 8, 0, 0, 0, 14]);
    network.inject(socket(ADDRESSES[B]), socket(ADDRESSES[A]), forged);
    network.run_for(SECOND / 2);
    network.partition = false;
    network.run_for(3 * SECOND);
    network.assert_converged();
}

/// RFC 7296 §2.1, §2.4
#[test]
fn a_silent_peer_is_given_up_after_the_configured_time() {
    let mut network = Network::with(12, |_, _, connection| connection.initiation.give_up = 20 * SECOND);
    network.partition = true;
    network.initiate(A);
    network.run_for(19 * SECOND);
    assert!(network.gateways[A].events.is_empty());
    network.run_for(2 * SECOND);
    assert_eq!(network.gateways[A].events, ["initiation failed Timeout protected=false"]);
    assert_eq!(network.diagram.len(), 5, "at 0, 1, 3, 7 and 15 s: {:?}", network.diagram);
    network.assert_empty();
}

/// RFC 7296 §2.9, §3.13
#[test]
fn selectors_are_narrowed_to_what_both_sides_allow() {
    let mut network = Network::with(13, |own, _, connection| {
        let child = &mut connection.children[0];
        if own == A {
            (child.local_selectors, child.remote_selectors) =
                (vec![net("10.0.0.0/8")], vec![net("0.0.0.0/0")]);
        }
    });
    network.up();
    let child = network.gateways[A].children.values().next().unwrap();
    assert_eq!(child.local_selectors, [net("10.1.0.0/16")]);
    assert_eq!(child.remote_selectors, [net("10.2.0.0/16")]);
}

/// RFC 7296 §2.9
#[test]
fn the_triggering_packet_picks_the_policy() {
    let second = ChildTag(8);
    let mut network = Network::with(14, |own, _, connection| {
        if own == B {
            let mut web = connection.children[0].clone();
            web.tag = second;
            web.local_selectors = vec![net("10.2.9.0/24")];
            connection.children[0].local_selectors = vec![net("10.2.8.0/24")];
            connection.children.push(web);
        }
    });
    let trigger =
        (net("10.1.0.1/32").with_protocol(6), net("10.2.9.1/32").with_protocol(6).with_ports(80, 80));
    network.command(
        A,
        Command::Initiate {
            connection: ConnectionId(1),
            child: Some(ChildRequest { tag: TAG, trigger: Some(trigger) }),
            local: socket(ADDRESSES[A]),
            remote: socket(ADDRESSES[B]),
        },
    );
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(network.gateways[B].children.values().next().unwrap().tag, second);
}

#[test]
fn disjoint_selectors_refuse_the_child_and_keep_the_ike_sa() {
    let mut network = Network::with(15, |own, _, connection| {
        if own == B {
            connection.children[0].local_selectors = vec![net("172.16.0.0/12")];
        }
    });
    network.initiate(A);
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events, ["up", "child failed TsUnacceptable"]);
    assert!(
        network
            .gateways
            .iter()
            .all(|gateway| gateway.up.len() == 1 && gateway.spis.0.lock().unwrap().is_empty())
    );
}

#[test]
fn a_child_without_common_algorithms_is_refused_and_keeps_the_ike_sa() {
    let mut network = Network::with(16, |own, _, connection| {
        if own == B {
            connection.children[0].proposals[0].encryption = vec![Encryption::ChaCha20Poly1305];
            connection.children[0].proposals.truncate(1);
        }
    });
    network.initiate(A);
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events, ["up", "child failed NoProposal"]);
}

/// RFC 6023 §3; RFC 7296 §1.3.1
#[test]
fn an_ike_sa_without_a_child_gets_one_later() {
    let mut network = Network::pair(17);
    let (local, remote) = (socket(ADDRESSES[A]), socket(ADDRESSES[B]));
    network.command(A, Command::Initiate { connection: ConnectionId(1), child: None, local, remote });
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].events, ["up"]);
    let ike = network.ike(A);
    network.command(A, Command::CreateChild { ike, child: ChildRequest::new(TAG) });
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(
        network.diagram[4..],
        ["a > b: CREATE_CHILD_SA request 2", "b > a: CREATE_CHILD_SA response 2"]
    );
}

/// RFC 7296 §1.3.1, §2.17
#[test]
fn a_second_child_with_forward_secrecy_comes_from_the_responder_of_the_ike_sa() {
    let mut network = Network::with(18, |_, _, connection| {
        connection.children[0].proposals[0].groups = vec![Group::Curve25519];
        connection.children[0].proposals.truncate(1);
    });
    network.up();
    let ike = network.ike(B);
    network.command(B, Command::CreateChild { ike, child: ChildRequest::new(TAG) });
    network.run_for(SECOND);
    assert_eq!(network.gateways[A].children.len(), 2);
    let newest = network.gateways[A].children.values().last().unwrap();
    assert_eq!((newest.suite.group, newest.initiator), (Some(Group::Curve25519), false));
    let peer = network.gateways[B].children.values().last().unwrap();
    assert_eq!(newest.outbound.encryption_key, peer.inbound.encryption_key);
}

/// RFC 7296 §1.3.1; RFC 4301 §3.2
#[test]
fn transport_mode_needs_both_sides() {
    for (modes, expected) in [
        ([Mode::Transport, Mode::Transport], Mode::Transport),
        ([Mode::Transport, Mode::Tunnel], Mode::Tunnel),
        ([Mode::Tunnel, Mode::Transport], Mode::Tunnel),
    ] {
        let mut network = Network::with(19, |own, _, connection| connection.children[0].mode = modes[own]);
        network.up();
        assert!(network.gateways.iter().all(|gateway| gateway.children.values().all(|c| c.mode == expected)));
    }
}

/// RFC 7296 §1.3
#[test]
fn required_transport_mode_is_that_or_no_child() {
    // Whichever end requires it: as initiator it deletes the child that the peer created, as
    // responder it creates none.
    for demanding in [A, B] {
        let mut network = Network::with(23, |own, _, connection| {
            let policy = &mut connection.children[0];
            if own == demanding {
                (policy.mode, policy.transport_required) = (Mode::Transport, true);
            }
        });
        network.initiate(A);
        network.run_for(10 * SECOND);
        assert!(network.gateways.iter().all(|gateway| gateway.children.is_empty()), "{demanding}");
    }
}

#[test]
fn a_peer_that_insists_on_forward_secrecy_gets_it() {
    let mut network = Network::pair(24);
    network.up();
    let mut strict = connection(B);
    // Not the group of the IKE SA: INVALID_KE_PAYLOAD selects it.
    strict.children[0].proposals.iter_mut().for_each(|proposal| proposal.groups = vec![Group::Curve25519]);
    network.gateways[B].endpoint.set_connection(strict);
    let child = network.child(A);
    network.command(A, Command::RekeyChild { child });
    network.run_for(SECOND);
    network.assert_converged();
    assert_eq!(network.gateways[A].children.values().next().unwrap().suite.group, Some(Group::Curve25519));
}

/// RFC 7296 §2.4
#[test]
fn a_restarted_peer_says_initial_contact_and_replaces_the_old_ike_sa() {
    let mut network = Network::pair(30);
    network.up();
    network.restart(A);
    network.run_for(SECOND);
    network.initiate(A);
    network.run_for(SECOND);
    let events = &network.gateways[B].events;
    assert!(events.contains(&"down InitialContact".to_owned()), "{events:?}");
    network.assert_converged();
}

#[test]
fn crossing_initiations_leave_one_ike_sa() {
    for seed in 100..120 {
        let mut network = Network::pair(seed);
        network.initiate(A);
        network.initiate(B);
        network.run_for(5 * SECOND);
        network.assert_converged();
    }
}

#[test]
fn garbage_changes_nothing() {
    let mut network = Network::pair(31);
    network.up();
    let (from, to) = (socket(ADDRESSES[A]), socket(ADDRESSES[B]));
    let info = network.gateways[B].up.values().next().unwrap().clone();
    let mut rng = Seeded(5);
    for length in 0..400 {
        let mut bytes = vec![0; length];
        rng.fill(&mut bytes);
        if length >= 28 && length % 2 == 0 {
            // Plausible headers of the real IKE SA.
            bytes[..8].copy_from_slice(&info.remote_spi.to_be_bytes());
            bytes[8..16].copy_from_slice(&info.local_spi.to_be_bytes());
            bytes[16..20].copy_from_slice(&[46, 0x20, 36, 0x08]);
            bytes[20..24].copy_from_slice(&2u32.to_be_bytes());
            bytes[24..28].copy_from_slice(&(length as u32).to_be_bytes());
        }
        network.inject(from, to, bytes);
    }
    network.run_for(SECOND);
    assert!(network.gateways[B].events.is_empty());
    assert!(network.diagram.is_empty(), "garbage is not answered: {:?}", network.diagram);
    network.assert_converged();
}

#[test]
fn a_flood_of_initiations_is_bounded_and_forgotten() {
    let mut network = Network::with(32, |own, config, connection| {
        if own == B {
            (config.half_open_limit, config.half_open_per_source, config.cookie_threshold) = (50, 20, None);
            connection.remote_addresses = vec![AddressMatch::Any];
        }
    });
    // One request of a real initiator, under many SPIs and from many addresses.
    let mut template = Vec::new();
    let mut one = Endpoint::new(EndpointConfig::default(), Box::new(Seeded(1)), Box::<RandomSpis>::default());
    one.set_connection(connection(A));
    let (local, remote) = (socket(ADDRESSES[A]), socket(ADDRESSES[B]));
    one.command(network.now, Command::Initiate { connection: ConnectionId(1), child: None, local, remote })
        .unwrap();
    template.extend(one.poll_transmit().unwrap().bytes);
    for host in 1..=10u8 {
        for spi in 1..=100u64 {
            template[..8].copy_from_slice(&spi.to_be_bytes());
            let from = std::net::SocketAddr::from(([198, 51, 100, host], 500));
            network.gateways[B].endpoint.handle_datagram(network.now, from, remote, &template);
            while network.gateways[B].endpoint.poll_transmit().is_some() {}
        }
    }
    assert_eq!(network.gateways[B].endpoint.ike_sas().count(), 50);
    assert_eq!(network.gateways[B].endpoint.counters().half_open_refused, 950);
    network.run_for(40 * SECOND);
    assert_eq!(network.gateways[B].endpoint.ike_sas().count(), 0);
    assert_eq!(network.gateways[B].endpoint.counters().half_open_expired, 50);
    network.up();
}

#[test]
fn removing_a_connection_takes_its_ike_sas_along() {
    let mut network = Network::pair(34);
    network.up();
    network.gateways[A].endpoint.remove_connection(network.now, ConnectionId(1));
    network.run_for(SECOND);
    assert!(network.gateways[A].has_event("down ConnectionRemoved"));
    assert!(network.gateways[B].has_event("down DeletedByPeer"));
    network.assert_empty();
    let gone = network.gateways[A].endpoint.command(
        network.now,
        Command::Initiate {
            connection: ConnectionId(1),
            child: None,
            local: socket(ADDRESSES[A]),
            remote: socket(ADDRESSES[B]),
        },
    );
    assert_eq!(gone, Err(CommandError::UnknownConnection(ConnectionId(1))));
}

#[test]
fn an_initiation_can_be_given_up() {
    let mut network = Network::pair(35);
    network.partition = true;
    let ike = network.initiate(A);
    network.command(A, Command::DeleteIke { ike, notify_peer: true });
    assert_eq!(network.gateways[A].events, ["initiation failed Cancelled protected=true"]);
    network.assert_empty();
}
