use super::*;
use crate::host::kernel::{KernelSnapshot, SnapshotBuilder};
use crate::policy::flow::{Ports, Protocol};
use sa_table::policy::{Action, PortRecord, Prefix, Rule};
use sa_table::record::PortRange;
use sa_table::{PolicyId, PolicyVersion};
use std::net::IpAddr;
use std::sync::Arc;

const INSIDE: PortId = 0;
const OUTSIDE: PortId = 1;
const POLICY: PolicyId = PolicyId(5);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix { address: ip(address), length: length.parse().unwrap() }
}

fn rule(source: &str, destination: &str) -> Rule {
    Rule {
        source: prefix(source),
        destination: prefix(destination),
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action: Action::Protect(POLICY),
    }
}

fn port(id: PortId, rule_list: Option<u32>) -> PortRecord {
    PortRecord {
        id,
        ifindex: 0,
        device: String::new(),
        ios_name: String::new(),
        mtu: 1500,
        has_crypto_map: id == OUTSIDE,
        crypto_addresses: Vec::new(),
        rule_list,
        ..PortRecord::default()
    }
}

fn kernel() -> KernelSnapshot {
    SnapshotBuilder::new()
        .address(INSIDE, ip("10.0.0.1"))
        .route(ip("10.0.0.0"), 24, 0, Route::OnLink { port: INSIDE })
        .route(ip("0.0.0.0"), 0, 0, Route::Via { port: OUTSIDE, next_hop: ip("192.0.2.1") })
        .route(ip("172.16.0.0"), 16, 0, Route::ToKernel)
        .route(ip("172.17.0.0"), 16, 0, Route::Unreachable)
        .build()
}

fn views() -> Views {
    let rules = vec![rule("10.0.0.0/24", "10.9.0.0/24")];
    let policy = Policy::compile(PolicyVersion(1), &[port(INSIDE, None), port(OUTSIDE, Some(0))], &[rules]);
    Views { kernel: Arc::new(kernel()), policy: Arc::new(policy) }
}

fn flow(source: &str, destination: &str) -> Flow {
    Flow {
        source: ip(source),
        destination: ip(destination),
        protocol: Protocol::Known(17),
        ports: Ports::Known { source: 1000, destination: 53 },
    }
}

fn decide(source: &str, destination: &str, origin: Origin) -> Decision {
    let views = views();
    let flow = flow(source, destination);
    let mut classifier = Classifier::new(64);
    let first = classifier.decide(&flow, origin, &views);
    assert_eq!(classifier.decide(&flow, origin, &views), first, "the cache agrees");
    assert_eq!(super::decide(&flow, origin, &views.kernel, &views.policy), first);
    first
}

#[test]
fn the_route_chooses_the_port_and_its_rules_choose_the_policy() {
    assert_eq!(decide("10.0.0.5", "10.9.0.5", Origin::Port(INSIDE)), Decision::Protect(POLICY));
    assert_eq!(
        decide("10.0.0.5", "8.8.8.8", Origin::Port(INSIDE)),
        Decision::Forward { port: OUTSIDE, next_hop: ip("192.0.2.1"), elsewhere: false }
    );
    assert_eq!(
        decide("10.9.0.5", "10.0.0.5", Origin::Tunnel(OUTSIDE)),
        Decision::Forward { port: INSIDE, next_hop: ip("10.0.0.5"), elsewhere: false }
    );
}

#[test]
fn a_clear_packet_on_a_protected_flow_is_dropped() {
    assert_eq!(
        decide("10.9.0.5", "10.0.0.5", Origin::Port(OUTSIDE)),
        Decision::Drop(DropReason::ClearOnProtected)
    );
    // No permit matches the same addresses at the inside port.
    assert_eq!(
        decide("10.9.0.5", "10.0.0.5", Origin::Port(INSIDE)),
        Decision::Forward { port: INSIDE, next_hop: ip("10.0.0.5"), elsewhere: false }
    );
}

#[test]
fn packets_for_the_host_are_punted_but_never_back() {
    assert_eq!(decide("10.9.0.5", "10.0.0.1", Origin::Tunnel(OUTSIDE)), Decision::Punt);
    assert_eq!(decide("10.9.0.5", "172.16.0.1", Origin::Tunnel(OUTSIDE)), Decision::Punt);
    let refused = Decision::Drop(DropReason::NotForwardable);
    assert_eq!(decide("10.0.0.1", "10.0.0.1", Origin::Punt), refused);
    assert_eq!(decide("10.0.0.1", "172.16.0.1", Origin::Punt), refused);
    assert_eq!(decide("10.0.0.1", "10.9.0.1", Origin::Punt), Decision::Protect(POLICY));
}

#[test]
fn what_must_not_be_forwarded_is_not() {
    let drop = |source, destination| decide(source, destination, Origin::Port(INSIDE));
    assert_eq!(drop("10.0.0.5", "224.0.0.5"), Decision::Drop(DropReason::NotForwardable));
    assert_eq!(drop("10.0.0.5", "255.255.255.255"), Decision::Drop(DropReason::NotForwardable));
    assert_eq!(drop("224.0.0.5", "10.9.0.5"), Decision::Drop(DropReason::BadSource));
    assert_eq!(drop("10.0.0.5", "172.17.0.1"), Decision::Drop(DropReason::Unreachable));
    assert_eq!(drop("2001:db8::1", "2001:db8::2"), Decision::Drop(DropReason::NoRoute));
}

#[test]
fn a_port_that_the_policy_does_not_know_passes_nothing() {
    let views = Views { policy: Arc::default(), ..views() };
    for origin in [Origin::Port(INSIDE), Origin::Punt, Origin::Tunnel(OUTSIDE)] {
        let decision = Classifier::new(1).decide(&flow("10.0.0.5", "8.8.8.8"), origin, &views);
        assert_eq!(decision, Decision::Drop(DropReason::NoPolicy));
    }
}

#[test]
fn an_error_that_quotes_a_decrypted_packet_leaves_protected_or_not_at_all() {
    let secret = Origin::Own { quotes_secret: true };
    assert_eq!(decide("10.0.0.1", "10.9.0.5", secret), Decision::Protect(POLICY));
    assert_eq!(decide("10.0.0.1", "8.8.8.8", secret), Decision::Drop(DropReason::IcmpWouldLeak));
    assert!(matches!(
        decide("10.0.0.1", "8.8.8.8", Origin::Own { quotes_secret: false }),
        Decision::Forward { port: OUTSIDE, .. }
    ));
}
