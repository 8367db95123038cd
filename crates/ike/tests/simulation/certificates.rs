//! Authentication by certificate, each case in both roles.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::provider::{DEFAULT, KeyKind};
use ike::*;

use crate::network::*;
use crate::pki::{self, Authority, Issued, Kind, NOW};

const SECOND: Duration = Duration::from_secs(1);

fn credential(issued: &Issued, authorities: &[Vec<u8>]) -> Arc<Credential> {
    let key = Secret::from(&issued.private_key[..]);
    Arc::new(Credential::new(&DEFAULT, &issued.certificate, authorities, &key).unwrap())
}

fn trust(authority: &Authority) -> Arc<TrustStore> {
    let authorities = std::slice::from_ref(&authority.der);
    Arc::new(TrustStore::new(&DEFAULT, authorities, &[], Revocation::Ignored).unwrap())
}

fn address_of(own: usize) -> IpAddr {
    socket(ADDRESSES[own]).ip()
}

/// A certificate for the address of a gateway.
fn issue(ca: &Authority, own: usize, kind: Kind) -> Issued {
    ca.issue(["a", "b"][own], kind, |params| {
        params.subject_alt_names = vec![pki::address(&address_of(own).to_string())];
    })
}

/// Both gateways with certificates of one CA for their addresses.
fn with_certificates(
    kinds: [Kind; 2],
    change: impl Fn(usize, &mut EndpointConfig, &mut Connection),
) -> Network {
    let ca = Authority::root("ca");
    let issued = [A, B].map(|own| issue(&ca, own, kinds[own]));
    let mut network = Network::with(1, |own, config, connection| {
        connection.authentication = Authentication::certificates(credential(&issued[own], &[]), trust(&ca));
        change(own, config, connection);
    });
    tell_time(&mut network);
    network
}

fn tell_time(network: &mut Network) {
    let now = network.now;
    for gateway in &mut network.gateways {
        gateway.endpoint.set_unix_time(now, Duration::from_secs(NOW));
    }
}

/// The attempt fails at both ends, and no state is left.
fn assert_refused(mut network: Network) {
    network.initiate(A);
    network.run_for(5 * SECOND);
    let failed = |network: &Network| {
        let events = &network.gateways[A].events;
        assert!(events.iter().any(|event| event.contains("AuthFailed")), "{events:?} {:?}", network.diagram);
    };
    failed(&network);
    network.run_for(60 * SECOND);
    network.assert_empty();
}

#[test]
fn each_kind_of_key_proves_either_end() {
    for (position, kind) in Kind::ALL.into_iter().enumerate() {
        let other = Kind::ALL[(position + 1) % Kind::ALL.len()];
        let mut network = with_certificates([kind, other], |_, _, _| {});
        network.up();
        network.assert_traffic_flows();
    }
}

#[test]
fn the_two_directions_may_differ() {
    // One end signs and demands the pre-shared key, the other the reverse.
    for signer in [A, B] {
        let ca = Authority::root("ca");
        let issued = issue(&ca, signer, Kind::P256);
        let key = Secret::from("a pre-shared key");
        let mut network = Network::with(2, |own, _, connection| {
            let certificates = Authentication::certificates(credential(&issued, &[]), trust(&ca));
            let psk = Authentication::psk(key.clone());
            connection.authentication = match own == signer {
                true => Authentication { local: certificates.local, remote: psk.remote },
                false => Authentication { local: psk.local, remote: certificates.remote },
            };
        });
        tell_time(&mut network);
        network.up();
    }
}

#[test]
fn a_method_that_is_not_configured_is_refused() {
    for signer in [A, B] {
        assert_refused(with_certificates([Kind::P256; 2], |own, _, connection| {
            if own == signer {
                connection.authentication.remote = Authentication::psk(Secret::from("key")).remote;
            }
        }));
    }
    // RSA where elliptic curves are wanted.
    for signer in [A, B] {
        assert_refused(with_certificates([Kind::Rsa; 2], |own, _, connection| {
            if let Some(policy) =
                connection.authentication.remote.certificates.as_mut().filter(|_| own == signer)
            {
                policy.rsa = false;
            }
        }));
    }
}

#[test]
fn a_certificate_of_another_ca_is_refused_by_either_side() {
    for refusing in [A, B] {
        let stranger = Authority::root("stranger");
        assert_refused(with_certificates([Kind::P256; 2], |own, _, connection| {
            if own == refusing {
                connection.authentication.remote.certificates.as_mut().unwrap().trust =
                    vec![trust(&stranger)];
            }
        }));
    }
}

#[test]
fn a_certificate_that_is_expired_or_revoked_is_refused_by_either_side() {
    for bad in [A, B] {
        let ca = Authority::root("ca");
        let crl = ca.crl(&[99], 2030);
        for expired in [true, false] {
            let issued = [A, B].map(|own| {
                ca.issue("gateway", Kind::P256, |params| {
                    params.subject_alt_names = vec![pki::address(&address_of(own).to_string())];
                    params.serial_number =
                        Some(if own == bad && !expired { 99 } else { 1 + own as u64 }.into());
                    if own == bad && expired {
                        params.not_after = rcgen::date_time_ymd(2026, 1, 1);
                    }
                })
            });
            let (authorities, crls) = (std::slice::from_ref(&ca.der), std::slice::from_ref(&crl));
            let checked =
                Arc::new(TrustStore::new(&DEFAULT, authorities, crls, Revocation::Required).unwrap());
            let mut network = Network::with(3, |own, _, connection| {
                connection.authentication =
                    Authentication::certificates(credential(&issued[own], &[]), checked.clone());
            });
            tell_time(&mut network);
            assert_refused(network);
        }
    }
}

/// RFC 4945 §3.1
#[test]
fn an_identity_that_the_certificate_does_not_name_is_refused_by_either_side() {
    for liar in [A, B] {
        let name = Identity::Fqdn("gw.example.com".into());
        assert_refused(with_certificates([Kind::P256; 2], |own, _, connection| {
            if own == liar {
                connection.local_identity = Some(name.clone());
            } else {
                connection.remote_identities = vec![IdentityMatch::Any];
            }
        }));
    }
}

#[test]
fn names_of_all_kinds_are_proved() {
    let ca = Authority::root("ca");
    let issued = ca.issue("gateway", Kind::P256, |params| {
        params.subject_alt_names = vec![pki::host("gw.example.com"), pki::mailbox("vpn@example.com")];
    });
    let subject = Certificate::from_der(&issued.certificate).unwrap().subject();
    let identities =
        [Identity::Fqdn("gw.example.com".into()), Identity::Email("vpn@example.com".into()), subject];
    for identity in identities {
        let mut network = Network::with(4, |_, _, connection| {
            connection.authentication = Authentication::certificates(credential(&issued, &[]), trust(&ca));
            connection.local_identity = Some(identity.clone());
            connection.remote_identities = vec![IdentityMatch::Exact(identity.clone())];
        });
        tell_time(&mut network);
        network.up();
        assert_eq!(network.gateways[B].up.values().next().unwrap().remote_identity, Some(identity));
    }
}

/// RFC 4945 §3.1
#[test]
fn without_a_configured_identity_the_subject_stands_in_for_an_address_that_is_not_in_the_certificate() {
    let ca = Authority::root("ca");
    let issued = ca.issue("gateway", Kind::P256, |_| {});
    let subject = Certificate::from_der(&issued.certificate).unwrap().subject();
    let mut network = Network::with(5, |_, _, connection| {
        connection.authentication = Authentication::certificates(credential(&issued, &[]), trust(&ca));
        connection.remote_identities = vec![IdentityMatch::Exact(subject.clone())];
    });
    tell_time(&mut network);
    network.up();
}

#[test]
fn without_the_time_no_certificate_is_accepted() {
    let ca = Authority::root("ca");
    let issued = [A, B].map(|own| issue(&ca, own, Kind::P256));
    assert_refused(Network::with(6, |own, _, connection| {
        connection.authentication = Authentication::certificates(credential(&issued[own], &[]), trust(&ca));
    }));
}

#[test]
fn validity_follows_the_clock() {
    let mut network = with_certificates([Kind::P256; 2], |_, _, _| {});
    // The end of the year 4096, when the certificates end, in 2 s.
    let now = network.now;
    let end = rcgen::date_time_ymd(4096, 1, 1).unix_timestamp() as u64;
    for gateway in &mut network.gateways {
        gateway.endpoint.set_unix_time(now, Duration::from_secs(end - 2));
    }
    network.up();
    let ike = network.ike(A);
    network.command(A, Command::DeleteIke { ike, notify_peer: true });
    network.run_for(60 * SECOND);
    assert_refused(network);
}

/// RFC 7296 §3.6: the first certificate is the one whose key signed, the others lead to the root.
#[test]
fn chains_travel_in_fragments_or_in_one_piece() {
    let root = Authority::root("root");
    let first = root.intermediate("first", |_| {});
    let second = first.intermediate("second", |_| {});
    let issued = [A, B].map(|own| issue(&second, own, Kind::Rsa));
    let authorities = [root.der.clone(), first.der.clone(), second.der.clone()];
    for fragmentation in [true, false] {
        let mut network = Network::with(7, |own, config, connection| {
            config.fragment_size = config.fragment_size.filter(|_| fragmentation);
            let credential = credential(&issued[own], &authorities);
            connection.authentication = Authentication::certificates(credential, trust(&root));
        });
        tell_time(&mut network);
        network.initiate(A);
        network.run_for(SECOND);
        network.assert_converged();
        let count = |what: &str| network.diagram.iter().filter(|line| line.contains(what)).count();
        for message in ["IKE_AUTH request", "IKE_AUTH response"] {
            assert_eq!(count(message) > 1, fragmentation, "{:#?}", network.diagram);
        }
    }
}

#[test]
fn chains_arrive_over_a_bad_network() {
    let mut network = with_certificates([Kind::Rsa; 2], |_, config, _| config.fragment_size = Some(400));
    network.faults = Faults { loss_percent: 20, duplicate_percent: 20, jitter_ms: 50 };
    network.initiate(A);
    network.run_for(110 * SECOND);
    network.faults = CLEAN;
    network.run_for(60 * SECOND);
    network.assert_converged();
}

/// RFC 7296 §3.7
#[test]
fn the_certificate_whose_ca_the_peer_asks_for_is_sent() {
    let (ours, theirs) = (Authority::root("ours"), Authority::root("theirs"));
    for own in [A, B] {
        let two = [issue(&ours, own, Kind::Ed25519), issue(&theirs, own, Kind::P384)];
        let peer = issue(&theirs, 1 - own, Kind::P256);
        let mut network = Network::with(8, |which, _, connection| {
            connection.authentication = if which == own {
                let credentials = vec![
                    credential(&two[0], std::slice::from_ref(&ours.der)),
                    credential(&two[1], std::slice::from_ref(&theirs.der)),
                ];
                assert_eq!(credentials[0].kind(), KeyKind::Ed25519);
                let mut authentication = Authentication::certificates(credentials[0].clone(), trust(&theirs));
                authentication.local = Proof::Certificate(credentials);
                authentication
            } else {
                Authentication::certificates(credential(&peer, &[]), trust(&theirs))
            };
        });
        tell_time(&mut network);
        network.up();
    }
}

#[test]
fn a_changed_certificate_is_used_from_the_next_ike_sa_on() {
    let ca = Authority::root("ca");
    let mut network = with_certificates([Kind::P256; 2], |_, _, _| {});
    network.up();
    for own in [A, B] {
        let mut changed = connection(own);
        let issued = issue(&ca, own, Kind::Ed25519);
        changed.authentication = Authentication::certificates(credential(&issued, &[]), trust(&ca));
        network.gateways[own].endpoint.set_connection(changed);
    }
    network.run_for(SECOND);
    network.assert_converged();
    let ike = network.ike(A);
    network.command(A, Command::DeleteIke { ike, notify_peer: true });
    network.run_for(60 * SECOND);
    network.up();
}
