//! Filters in the packet path: two gateways in memory.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::PortId;
use crate::lab::{Gateway, INSIDE, OUTSIDE, Site, Tunnel, connect, frame, packet};
use sa_table::policy::{FilterBinding, FilterList, FilterRule, Filters, PortCondition};
use sa_table::record::PortRange;
use sa_table::{Direction, Event, FilterLog, FilterPoint};
use std::net::IpAddr;
use wire::{ethernet, icmpv4, ipv4, protocol};

const UNPROTECTED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

/// Denies UDP to port 5000, as built by [`packet`], and permits everything else.
fn no_5000() -> Vec<FilterRule> {
    let deny = FilterRule {
        permit: false,
        protocol: Some(protocol::UDP),
        destination_ports: PortCondition { range: PortRange::single(5000), inverted: false },
        log: Some(FilterLog::FlowAndPort),
        ..FilterRule::PERMIT_ANY
    };
    vec![deny, FilterRule { sequence: 20, ..FilterRule::PERMIT_ANY }]
}

fn only_esp() -> Vec<FilterRule> {
    vec![FilterRule { protocol: Some(protocol::ESP), ..FilterRule::PERMIT_ANY }]
}

fn no_esp() -> Vec<FilterRule> {
    let deny = FilterRule { permit: false, protocol: Some(protocol::ESP), ..FilterRule::PERMIT_ANY };
    vec![deny, FilterRule { sequence: 20, ..FilterRule::PERMIT_ANY }]
}

fn permit_any() -> Vec<FilterRule> {
    vec![FilterRule::PERMIT_ANY]
}

/// One list for one point and direction.
fn filters(point: FilterPoint, direction: Direction, rules: Vec<FilterRule>) -> Filters {
    Filters {
        lists: vec![FilterList { name: "120".into(), rules }],
        bindings: vec![FilterBinding { point, direction, list: 0 }],
    }
}

fn matches(gateway: &Gateway) -> Vec<(u32, u64)> {
    let policy = gateway.shared.policy.load();
    policy.filters().matches().map(|(_, line, count)| (line, count)).collect()
}

fn gateways() -> (Gateway, Gateway) {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let mut right = Gateway::new(Site::Right, 1, 64);
    connect(&mut left, &mut right, &Tunnel::default());
    (left, right)
}

fn to_peer() -> Vec<u8> {
    packet(Site::Left.host(5), Site::Right.host(6), 200)
}

/// Frames that leave by the other port when a packet arrives at `port`.
fn pass(gateway: &mut Gateway, port: PortId, packet: &[u8]) -> Vec<Vec<u8>> {
    let site = gateway.site;
    gateway.deliver(port, &frame(site, port, packet));
    gateway.sent(if port == INSIDE { OUTSIDE } else { INSIDE })
}

/// The ICMP error in the only frame that left by `port`: type, code, destination.
fn icmp_error(gateway: &mut Gateway, port: PortId) -> (u8, u8, IpAddr) {
    let sent = gateway.sent(port);
    assert_eq!(sent.len(), 1, "one ICMP error");
    let header = ipv4::Packet::new_checked(&sent[0][ethernet::HEADER_LEN..]).unwrap();
    let message = icmpv4::Packet::new_checked(header.payload()).unwrap();
    (message.kind(), message.code(), header.destination().into())
}

#[test]
fn a_clear_packet_is_asked_about_where_it_arrives() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let sent = packet(Site::Left.host(5), UNPROTECTED, 100);
    assert_eq!(pass(&mut left, INSIDE, &sent).len(), 1, "no filter");
    left.set_filters(&filters(FilterPoint::Port(INSIDE), Direction::Inbound, no_5000()));
    assert!(pass(&mut left, INSIDE, &sent).is_empty());
    assert_eq!(left.dropped(DropReason::AccessListIn), 1);
    assert_eq!(icmp_error(&mut left, INSIDE), (3, 13, Site::Left.host(5)), "administratively prohibited");
    assert_eq!(matches(&left), [(10, 1)]);
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Inbound, no_5000()));
    assert_eq!(pass(&mut left, INSIDE, &sent).len(), 1, "the filter of another port");
    assert!(left.close());
}

#[test]
fn what_is_for_this_host_is_asked_about_as_it_arrives() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let clear = packet(UNPROTECTED, Site::Left.outside(), 100);
    let mut ike = clear.clone();
    ike[22..24].copy_from_slice(&500u16.to_be_bytes());
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Inbound, Vec::new()));
    for sent in [&clear, &ike] {
        pass(&mut left, OUTSIDE, sent);
    }
    assert!(left.punted().is_empty());
    assert_eq!(left.dropped(DropReason::AccessListIn), 2);
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Inbound, no_5000()));
    for sent in [&clear, &ike] {
        pass(&mut left, OUTSIDE, sent);
    }
    assert_eq!(left.punted(), [ike], "the IKE daemon is a host's socket");
}

#[test]
fn esp_is_asked_about_on_the_wire_and_not_again_when_it_is_opened() {
    let (mut left, mut right) = gateways();
    right.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Inbound, only_esp()));
    let wire = pass(&mut left, INSIDE, &to_peer());
    right.deliver(OUTSIDE, &wire[0]);
    assert_eq!(right.sent(INSIDE).len(), 1, "the packet in it is no ESP, and passes");
    assert_eq!(matches(&right), [(10, 1)]);
    right.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Inbound, no_esp()));
    let wire = pass(&mut left, INSIDE, &to_peer());
    right.deliver(OUTSIDE, &wire[0]);
    assert!(right.sent(INSIDE).is_empty());
    assert_eq!(right.dropped(DropReason::AccessListIn), 1);
}

#[test]
fn a_decrypted_packet_is_asked_about_by_the_entry_and_answered_through_the_tunnel() {
    let (mut left, mut right) = gateways();
    let policy = right.policy;
    right.set_filters(&filters(FilterPoint::Policy(policy), Direction::Inbound, no_5000()));
    let wire = pass(&mut left, INSIDE, &to_peer());
    right.deliver(OUTSIDE, &wire[0]);
    assert!(right.sent(INSIDE).is_empty());
    assert_eq!(right.dropped(DropReason::CryptoAccessListIn), 1);
    let answer = right.sent(OUTSIDE);
    assert_eq!(answer.len(), 1);
    let outer = ipv4::Packet::new_checked(&answer[0][ethernet::HEADER_LEN..]).unwrap();
    assert_eq!(outer.protocol(), protocol::ESP, "the error quotes a secret");
    left.deliver(OUTSIDE, &answer[0]);
    assert_eq!(icmp_error(&mut left, INSIDE), (3, 13, Site::Left.host(5)));

    right.set_filters(&filters(FilterPoint::Policy(policy), Direction::Inbound, permit_any()));
    let wire = pass(&mut left, INSIDE, &to_peer());
    right.deliver(OUTSIDE, &wire[0]);
    assert_eq!(right.sent(INSIDE).len(), 1);
    assert_eq!(matches(&right), [(10, 1)]);
}

#[test]
fn a_packet_that_goes_into_a_tunnel_is_asked_about_by_the_entry_and_its_esp_by_the_port() {
    let (mut left, _right) = gateways();
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Outbound, only_esp()));
    assert_eq!(pass(&mut left, INSIDE, &to_peer()).len(), 1);
    assert!(pass(&mut left, INSIDE, &packet(Site::Left.host(5), UNPROTECTED, 100)).is_empty());
    assert_eq!(left.dropped(DropReason::AccessListOut), 1);
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Outbound, no_esp()));
    assert!(pass(&mut left, INSIDE, &to_peer()).is_empty());
    assert_eq!(left.dropped(DropReason::AccessListOut), 2);
    left.sent(INSIDE);
    let policy = left.policy;
    left.set_filters(&filters(FilterPoint::Policy(policy), Direction::Outbound, no_5000()));
    assert!(pass(&mut left, INSIDE, &to_peer()).is_empty());
    assert_eq!(left.dropped(DropReason::CryptoAccessListOut), 1);
    assert_eq!(icmp_error(&mut left, INSIDE), (3, 13, Site::Left.host(5)));
    assert_eq!(pass(&mut left, INSIDE, &packet(Site::Left.host(5), UNPROTECTED, 100)).len(), 1);
}

#[test]
fn an_edit_of_a_list_acts_on_the_next_packet_of_a_running_flow() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let sent = packet(Site::Left.host(5), UNPROTECTED, 100);
    // A list that is long enough for verdicts to be cached.
    let other = |port| FilterRule {
        protocol: Some(protocol::UDP),
        destination_ports: PortCondition { range: PortRange::single(port), inverted: false },
        ..FilterRule::PERMIT_ANY
    };
    let mut rules: Vec<FilterRule> = (4980..5001).map(other).collect();
    left.set_filters(&filters(FilterPoint::Port(INSIDE), Direction::Inbound, rules.clone()));
    for _ in 0..3 {
        assert_eq!(pass(&mut left, INSIDE, &sent).len(), 1);
    }
    rules[20].permit = false;
    left.set_filters(&filters(FilterPoint::Port(INSIDE), Direction::Inbound, rules));
    assert!(pass(&mut left, INSIDE, &sent).is_empty());
    assert_eq!(left.dropped(DropReason::AccessListIn), 1);
}

#[test]
fn a_denied_packet_asks_for_no_sa_and_a_held_one_is_counted_once() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    let policy = left.policy;
    left.set_filters(&filters(FilterPoint::Policy(policy), Direction::Outbound, no_5000()));
    pass(&mut left, INSIDE, &to_peer());
    assert!(left.runtime.acquire(policy).is_none());
    left.set_filters(&filters(FilterPoint::Policy(policy), Direction::Outbound, permit_any()));
    pass(&mut left, INSIDE, &to_peer());
    assert!(left.runtime.acquire(policy).is_some());
    assert_eq!(matches(&left), []);
    left.install(&Tunnel::default(), 0x1000_0001, 0x2000_0001);
    left.run();
    assert_eq!(left.sent(OUTSIDE).len(), 1);
    assert_eq!(matches(&left), [(10, 1)]);
}

#[test]
fn a_filter_that_comes_while_a_packet_waits_for_its_sa_stops_it() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    pass(&mut left, INSIDE, &to_peer());
    let policy = left.policy;
    left.set_filters(&filters(FilterPoint::Policy(policy), Direction::Outbound, no_5000()));
    left.install(&Tunnel::default(), 0x1000_0001, 0x2000_0001);
    left.run();
    assert!(left.sent(OUTSIDE).is_empty());
    assert_eq!(left.dropped(DropReason::CryptoAccessListOut), 1);
}

#[test]
fn what_this_host_sends_is_asked_about_only_when_it_is_sealed() {
    let (mut left, _right) = gateways();
    let to_both = |left: &mut Gateway| {
        for destination in [UNPROTECTED, Site::Right.host(6)] {
            left.from_host(&packet(Site::Left.host(1), destination, 100));
        }
        left.sent(OUTSIDE).len()
    };
    let policy = left.policy;
    left.set_filters(&filters(FilterPoint::Policy(policy), Direction::Outbound, Vec::new()));
    assert_eq!(to_both(&mut left), 2);
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Outbound, only_esp()));
    assert_eq!(to_both(&mut left), 2);
    left.set_filters(&filters(FilterPoint::Port(OUTSIDE), Direction::Outbound, no_esp()));
    assert_eq!(to_both(&mut left), 1, "ESP is what the data plane sends, whatever is in it");
}

#[test]
fn a_match_with_log_is_reported_with_its_flow_and_port() {
    let mut left = Gateway::new(Site::Left, 1, 64);
    left.set_filters(&filters(FilterPoint::Port(INSIDE), Direction::Inbound, no_5000()));
    let mut reports = Vec::new();
    for _ in 0..30 {
        pass(&mut left, INSIDE, &packet(Site::Left.host(5), UNPROTECTED, 100));
        // Drain after each packet: the ring holds fewer reports than may be sent in a second.
        reports.extend(std::iter::from_fn(|| left.events.receive()).map(|(_, event)| event));
    }
    assert_eq!(reports.len(), 10, "limited");
    let Event::FilterMatch { version, list, permit, flow, port, withheld } = reports[0] else {
        panic!("{reports:?}")
    };
    assert_eq!(version, left.shared.policy.load().version());
    assert_eq!((list, permit, port, withheld), (0, false, Some(INSIDE), 0));
    assert_eq!((flow.source, flow.destination), (Site::Left.host(5), UNPROTECTED));
    assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (17, 4000, 5000));
    left.now_ms += 1000;
    pass(&mut left, INSIDE, &packet(Site::Left.host(5), UNPROTECTED, 100));
    assert!(matches!(left.events.receive(), Some((_, Event::FilterMatch { withheld: 20, .. }))));
}
