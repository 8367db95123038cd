use super::*;
use crate::policy::flow::{Ports, Protocol};
use proptest::prelude::*;

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
}

fn rule(source: &str, destination: &str, action: Action) -> Rule {
    Rule {
        source: prefix(source),
        destination: prefix(destination),
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action,
    }
}

fn protect(policy: u32) -> Action {
    Action::Protect(PolicyId(policy))
}

fn flow(source: &str, destination: &str, protocol: u8, ports: Ports) -> Flow {
    Flow {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::Known(protocol),
        ports,
    }
}

const WEB: Ports = Ports::Known { source: 4000, destination: 80 };

#[test]
fn the_first_match_decides_and_no_match_is_clear() {
    let list = RuleList::compile(&[
        rule("10.0.0.0/24", "10.9.1.0/24", protect(1)),
        rule("10.0.0.0/16", "10.9.0.0/16", protect(2)),
        rule("10.0.0.0/8", "10.0.0.0/8", Action::Drop),
    ]);
    assert_eq!(list.outbound(&flow("10.0.0.5", "10.9.1.5", 6, WEB)), Verdict::Protect(PolicyId(1)));
    assert_eq!(list.outbound(&flow("10.0.0.5", "10.9.2.5", 6, WEB)), Verdict::Protect(PolicyId(2)));
    assert_eq!(list.outbound(&flow("10.1.0.5", "10.9.2.5", 6, WEB)), Verdict::Drop);
    assert_eq!(list.outbound(&flow("11.1.0.5", "10.9.2.5", 6, WEB)), Verdict::Clear);
}

#[test]
fn a_deny_jumps_behind_its_entry() {
    let list = RuleList::compile(&[
        rule("10.0.0.1/32", "0.0.0.0/0", Action::Jump(2)),
        rule("10.0.0.0/24", "0.0.0.0/0", protect(1)),
        rule("10.0.0.0/16", "10.9.0.0/16", protect(2)),
    ]);
    assert_eq!(list.outbound(&flow("10.0.0.2", "8.8.8.8", 6, WEB)), Verdict::Protect(PolicyId(1)));
    assert_eq!(list.outbound(&flow("10.0.0.1", "8.8.8.8", 6, WEB)), Verdict::Clear);
    assert_eq!(list.outbound(&flow("10.0.0.1", "10.9.0.8", 6, WEB)), Verdict::Protect(PolicyId(2)));
}

#[test]
fn the_inbound_check_reads_the_list_mirrored() {
    let mut web = rule("10.0.0.0/24", "10.9.0.0/24", protect(1));
    web.protocol = Some(6);
    web.destination_ports = PortRange::single(80);
    let list = RuleList::compile(&[web]);
    let answer = flow("10.9.0.1", "10.0.0.1", 6, Ports::Known { source: 80, destination: 4000 });
    assert_eq!(list.inbound(&answer), Verdict::Protect(PolicyId(1)));
    assert_eq!(list.outbound(&answer), Verdict::Clear);
}

#[test]
fn a_fragment_that_hides_ports_is_clear_only_if_no_rule_can_match() {
    let mut web = rule("10.0.0.0/24", "10.9.0.0/24", protect(1));
    web.protocol = Some(6);
    web.destination_ports = PortRange::single(80);
    let list = RuleList::compile(&[web]);
    assert_eq!(list.outbound(&flow("10.0.0.1", "10.9.0.1", 6, Ports::Hidden)), Verdict::Undecided);
    assert_eq!(list.outbound(&flow("10.0.0.1", "10.9.0.1", 17, Ports::Hidden)), Verdict::Clear);
    assert_eq!(list.outbound(&flow("10.0.1.1", "10.9.0.1", 6, Ports::Hidden)), Verdict::Clear);
    // A rule without ports decides for fragments too.
    let list = RuleList::compile(&[rule("10.0.0.0/24", "10.9.0.0/24", protect(1))]);
    assert_eq!(list.outbound(&flow("10.0.0.1", "10.9.0.1", 6, Ports::Hidden)), Verdict::Protect(PolicyId(1)));
}

#[test]
fn a_fragment_that_hides_whether_a_deny_is_meant_is_clear_where_nothing_behind_it_can_match() {
    let web = Rule {
        protocol: Some(6),
        destination_ports: PortRange::single(80),
        ..rule("10.0.0.0/24", "10.9.0.0/16", Action::Jump(4))
    };
    let list = RuleList::compile(&[
        web,
        rule("10.0.0.0/24", "10.9.1.0/24", protect(1)),
        rule("10.0.0.0/24", "10.9.2.0/24", Action::Jump(3)),
        rule("10.0.0.0/24", "10.9.2.0/24", Action::Drop),
        rule("10.0.0.0/24", "10.9.4.0/24", Action::Jump(6)),
        rule("10.0.0.0/24", "10.9.4.0/23", protect(2)),
    ]);
    let fragment = |destination| list.outbound(&flow("10.0.0.1", destination, 6, Ports::Hidden));
    assert_eq!(fragment("10.9.1.1"), Verdict::Undecided, "exempted, or protected by what the deny skips");
    assert_eq!(fragment("10.9.2.1"), Verdict::Undecided, "exempted, or dropped");
    assert_eq!(fragment("10.9.3.1"), Verdict::Clear, "exempted or not, nothing protects it");
    assert_eq!(fragment("10.9.4.1"), Verdict::Clear, "exempted either way behind the doubt");
    assert_eq!(fragment("10.9.5.1"), Verdict::Protect(PolicyId(2)), "protected either way");
}

#[test]
fn families_do_not_mix() {
    let list = RuleList::compile(&[
        rule("0.0.0.0/0", "0.0.0.0/0", protect(4)),
        rule("::/0", "2001:db8::/32", protect(6)),
    ]);
    assert_eq!(list.outbound(&flow("10.0.0.1", "10.9.0.1", 6, WEB)), Verdict::Protect(PolicyId(4)));
    assert_eq!(list.outbound(&flow("::1", "2001:db8::1", 6, WEB)), Verdict::Protect(PolicyId(6)));
    assert_eq!(list.outbound(&flow("::1", "2001:db9::1", 6, WEB)), Verdict::Clear);
}

/// A literal implementation of the documentation of [`Rule`].
fn literal(rules: &[Rule], flow: &Flow) -> Verdict {
    let (mut at, mut doubtful_until) = (0, 0);
    while let Some(rule) = rules.get(at) {
        at += 1;
        if !(rule.source.contains(flow.source) && rule.destination.contains(flow.destination)) {
            continue;
        }
        let fit = flow.fits(rule.protocol, rule.source_ports, rule.destination_ports);
        match fit {
            Fit::No => {}
            Fit::Unknown | Fit::Yes if fit == Fit::Unknown || at <= doubtful_until => {
                let Action::Jump(target) = rule.action else { return Verdict::Undecided };
                doubtful_until = doubtful_until.max(target as usize);
            }
            _ => match rule.action {
                Action::Protect(policy) => return Verdict::Protect(policy),
                Action::Drop => return Verdict::Drop,
                Action::Jump(target) => at = at.max(target as usize),
            },
        }
    }
    Verdict::Clear
}

/// Addresses close together, so that prefixes nest, touch and overlap.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        4 => (0u32..64).prop_map(|low| IpAddr::from((0x0a00_0000 | low << 2).to_be_bytes())),
        1 => prop_oneof![Just(u32::MAX), Just(0u32)].prop_map(|all| IpAddr::from(all.to_be_bytes())),
        2 => (0u128..64).prop_map(|low| IpAddr::from((0x2001_0db8 << 96 | low << 3).to_be_bytes())),
    ]
}

fn any_prefix(v4: bool) -> impl Strategy<Value = Prefix> {
    let address = address().prop_filter("family", move |address| address.is_ipv4() == v4);
    let length = if v4 { prop_oneof![Just(0u8), 22..=32u8] } else { prop_oneof![Just(0u8), 118..=128u8] };
    (address, length).prop_map(|(address, length)| Prefix { address, length })
}

fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![3 => Just(PortRange::ANY), 1 => Just(PortRange { first: 10, last: 20 })]
}

fn any_rule(position: usize, count: usize) -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        3 => (0u32..1000).prop_map(protect),
        1 => Just(Action::Drop),
        2 => (position as u32 + 1..=count as u32 + 1).prop_map(Action::Jump),
    ];
    any::<bool>().prop_flat_map(move |v4| {
        (
            any_prefix(v4),
            any_prefix(v4),
            proptest::option::of(prop_oneof![Just(6u8), Just(17)]),
            ports(),
            ports(),
            action.clone(),
        )
            .prop_map(|(source, destination, protocol, source_ports, destination_ports, action)| {
                Rule { source, destination, protocol, source_ports, destination_ports, action }
            })
    })
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    (0usize..60)
        .prop_flat_map(|count| (0..count).map(|position| any_rule(position, count)).collect::<Vec<_>>())
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let ports = prop_oneof![
        3 => (5u16..25, 5u16..25).prop_map(|(source, destination)| Ports::Known { source, destination }),
        1 => Just(Ports::Hidden),
    ];
    let protocol = prop_oneof![5 => prop_oneof![Just(6u8), Just(17), Just(1)].prop_map(Protocol::Known), 1 => Just(Protocol::Hidden)];
    (address(), address(), protocol, ports)
        .prop_filter("one family", |(source, destination, ..)| source.is_ipv4() == destination.is_ipv4())
        .prop_map(|(source, destination, protocol, ports)| Flow { source, destination, protocol, ports })
}

proptest! {
    #[test]
    fn the_index_changes_no_verdict(rules in any_rules(), flows in prop::collection::vec(any_flow(), 1..60)) {
        let list = RuleList::compile(&rules);
        for flow in flows {
            prop_assert_eq!(list.outbound(&flow), literal(&rules, &flow));
            prop_assert_eq!(list.inbound(&flow), literal(&rules, &flow.mirrored()));
        }
    }
}

#[test]
fn thousands_of_rules_are_indexed_and_agree_with_the_literal_reading() {
    let rules: Vec<Rule> = (0..4000u32)
        .map(|number| {
            let destination = format!("10.{}.{}.0/24", number >> 8 & 0xff, number & 0xff);
            rule("192.168.0.0/16", &destination, protect(number))
        })
        .collect();
    let list = RuleList::compile(&rules);
    assert!(matches!(list.v4.index, Index::Destination(_)));
    for number in (0..4000u32).step_by(37) {
        let destination = format!("10.{}.{}.9", number >> 8 & 0xff, number & 0xff);
        let flow = flow("192.168.3.4", &destination, 6, WEB);
        assert_eq!(list.outbound(&flow), Verdict::Protect(PolicyId(number)));
        assert_eq!(list.outbound(&flow), literal(&rules, &flow));
    }
}
