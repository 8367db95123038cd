//! Property tests: the union of rule lists for random lists and flows, compared with a linear
//! evaluation.

use std::net::{IpAddr, Ipv4Addr};

use config::model::InterfaceName;
use proptest::collection::vec;
use proptest::prelude::*;
use sa_table::PolicyId;

use super::*;
use crate::plan::{EntryKey, PolicyKey};

/// A packet: source and destination host, protocol, destination port.
type Flow = (u8, u8, u8, u16);

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

/// A rule on a range of sixteen hosts; the number is the length of a jump.
fn rule() -> impl Strategy<Value = (Rule, usize)> {
    let prefix =
        || (0u8..16, 28u8..=32).prop_map(|(number, length)| Prefix { address: host(number), length });
    let ports = prop_oneof![3 => Just((0, u16::MAX)), 1 => Just((0, 1)), 1 => Just((2, 3))];
    let action = prop_oneof![
        4 => (0u32..6).prop_map(|id| Action::Protect(PolicyId(id))),
        1 => Just(Action::Drop),
        2 => Just(Action::Jump(0)),
    ];
    let protocol = proptest::option::of(prop_oneof![Just(6u8), Just(17)]);
    (prefix(), prefix(), protocol, ports, action, 1usize..4).prop_map(
        |(source, destination, protocol, (first, last), action, length)| {
            let all = PortRange { first: 0, last: u16::MAX };
            let destination_ports = PortRange { first, last };
            (Rule { source, destination, protocol, source_ports: all, destination_ports, action }, length)
        },
    )
}

fn placed(rules: Vec<(Rule, usize)>) -> Vec<Rule> {
    let end = rules.len();
    let place = |(at, (rule, length)): (usize, (Rule, usize))| match rule.action {
        Action::Jump(_) => Rule { action: Action::Jump((at + length).min(end) as u32), ..rule },
        _ => rule,
    };
    rules.into_iter().enumerate().map(place).collect()
}

fn list() -> impl Strategy<Value = Vec<Rule>> {
    vec(rule(), 0..8).prop_map(placed)
}

fn decide(rules: &[Rule], (from, to, protocol, port): Flow) -> Option<Action> {
    let mut at = 0;
    while let Some(rule) = rules.get(at) {
        at += 1;
        let matches = rule.source.contains(host(from))
            && rule.destination.contains(host(to))
            && rule.protocol.is_none_or(|own| own == protocol)
            && (rule.destination_ports.first..=rule.destination_ports.last).contains(&port);
        match rule.action {
            _ if !matches => {}
            Action::Jump(target) => {
                assert!(target as usize >= at, "a jump leads forward");
                at = target as usize;
            }
            decided => return Some(decided),
        }
    }
    None
}

fn flows() -> impl Iterator<Item = Flow> {
    let pairs = (0..16u8).flat_map(|from| (0..16u8).map(move |to| (from, to)));
    pairs.flat_map(|(from, to)| [(6, 0), (6, 2), (17, 9)].map(|(protocol, port)| (from, to, protocol, port)))
}

fn port(device: &str, rule_list: Option<u32>) -> PortRecord {
    PortRecord {
        id: 0,
        ifindex: 3,
        device: device.into(),
        ios_name: "GigabitEthernet0/1".into(),
        mtu: 1500,
        has_crypto_map: rule_list.is_some(),
        crypto_addresses: vec![host(1)],
        rule_list,
        ..PortRecord::default()
    }
}

/// A plan with one rule list. Only policies selected by `keeps` have an entry.
fn plan(device: &str, rules: Vec<Rule>, keeps: impl Fn(u32) -> bool) -> Plan {
    let entry = EntryKey { interface: InterfaceName::parse("Gi0/1").unwrap(), map: "m".into(), seq: 1 };
    let named = rules.iter().filter_map(|rule| match rule.action {
        Action::Protect(id) if keeps(id.0) => Some(id),
        _ => None,
    });
    let key = |_| PolicyKey { entry: entry.clone(), local: Vec::new(), remote: Vec::new() };
    let policies = named.map(|id| (id, key(id))).collect();
    Plan { ports: vec![port(device, Some(0))], rules: vec![rules], policies, ..Plan::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_union_protects_what_either_list_does_and_nothing_else(old in list(), new in list(), again in list()) {
        let mut now = plan("outside", new.clone(), |_| true);
        for older in [&old, &again] {
            retain(&mut now, &plan("outside", older.clone(), |_| true));
        }
        for flow in flows() {
            let expected = [&old, &new, &again].iter().any(|rules| decide(rules, flow).is_some());
            prop_assert_eq!(decide(&now.rules[0], flow).is_some(), expected, "{:?}", flow);
        }
        for rule in &now.rules[0] {
            if let Action::Protect(id) = rule.action {
                prop_assert!(now.policies.contains_key(&id), "a rule refers to an unknown policy");
            }
        }
    }

    #[test]
    fn a_list_that_covers_the_old_one_is_published_alone(old in list(), added in list(), places in vec(0usize..9, 8)) {
        // The old list with additional rules inserted.
        let mut rules: Vec<(Rule, Option<usize>)> =
            old.iter().enumerate().map(|(at, rule)| (*rule, Some(at))).collect();
        for (rule, place) in added.iter().zip(&places).filter(|(rule, _)| !matches!(rule.action, Action::Jump(_))) {
            rules.insert((*place).min(rules.len()), (*rule, None));
        }
        let new: Vec<Rule> = rules.iter().map(|(rule, of)| match (rule.action, of) {
            (Action::Jump(target), Some(_)) => {
                let lands = rules.iter().position(|(_, of)| of.is_some_and(|at| at >= target as usize));
                Rule { action: Action::Jump(lands.unwrap_or(rules.len()) as u32), ..*rule }
            }
            _ => *rule,
        }).collect();
        if covers(&new, &old) {
            for flow in flows() {
                match decide(&old, flow) {
                    Some(Action::Drop) => prop_assert!(decide(&new, flow).is_some()),
                    Some(protected) => prop_assert_eq!(decide(&new, flow), Some(protected)),
                    None => {}
                }
            }
        }
        prop_assert!(covers(&old, &old), "equal lists");
        let behind: Vec<Rule> = union([&old[..], &added]);
        prop_assert!(covers(&behind, &old), "additions behind the end");
    }
}

#[test]
fn a_new_rule_in_front_of_an_old_one_waits_until_it_shadows_nothing() {
    let rule = |source: u8, action| Rule {
        source: Prefix { address: host(source), length: 32 },
        destination: Prefix { address: host(0), length: 0 },
        protocol: None,
        source_ports: PortRange { first: 0, last: u16::MAX },
        destination_ports: PortRange { first: 0, last: u16::MAX },
        action,
    };
    let old = vec![rule(1, Action::Protect(PolicyId(0)))];
    let apart = vec![rule(2, Action::Drop), old[0]];
    let shadowing = vec![rule(1, Action::Drop), old[0]];
    assert!(covers(&apart, &old) && !covers(&shadowing, &old));
    let becomes_usable = vec![rule(1, Action::Protect(PolicyId(7)))];
    assert!(covers(&becomes_usable, &[rule(1, Action::Drop)]), "what was dropped is protected");
    assert!(!covers(&[rule(1, Action::Drop)], &old), "its SA would go");
}

#[test]
fn a_policy_without_an_entry_is_dropped_and_not_let_through() {
    let all = Prefix { address: host(0), length: 0 };
    let ports = PortRange { first: 0, last: u16::MAX };
    let action = Action::Protect(PolicyId(0));
    let rule = Rule {
        source: all,
        destination: all,
        protocol: None,
        source_ports: ports,
        destination_ports: ports,
        action,
    };
    let mut now = plan("outside", Vec::new(), |_| true);
    assert!(retain(&mut now, &plan("outside", vec![rule], |_| true)));
    assert_eq!(
        now.rules[0],
        [Rule { action: Action::Drop, ..rule }],
        "the old plan has a policy and no entry"
    );
    assert!(now.policies.is_empty());
}

#[test]
fn a_device_that_the_configuration_names_no_longer_keeps_its_list() {
    let all = Prefix { address: host(0), length: 0 };
    let ports = PortRange { first: 0, last: u16::MAX };
    let rule = Rule {
        source: all,
        destination: all,
        protocol: None,
        source_ports: ports,
        destination_ports: ports,
        action: Action::Drop,
    };
    let old = plan("outside", vec![rule], |_| true);
    let mut moved = plan("elsewhere", Vec::new(), |_| true);
    assert!(retain(&mut moved, &old));
    assert_eq!((moved.ports.len(), moved.ports[1].id, moved.ports[1].device.as_str()), (2, 1, "outside"));
    assert_eq!(moved.rules[moved.ports[1].rule_list.unwrap() as usize], [rule]);
    // The device now belongs to another interface, which has no crypto map.
    let mut bare = Plan {
        ports: vec![PortRecord { crypto_addresses: vec![], ..port("outside", None) }],
        ..Plan::default()
    };
    assert!(retain(&mut bare, &old));
    assert_eq!((bare.ports.len(), bare.ports[0].rule_list, bare.ports[0].has_crypto_map), (1, Some(0), true));
    assert_eq!(bare.ports[0].crypto_addresses, [host(1)]);
}

#[test]
fn a_map_that_was_closed_on_every_device_stays_so() {
    let all = Prefix { address: host(0), length: 0 };
    let action = Action::Protect(PolicyId(0));
    let rule = Rule {
        source: all,
        destination: all,
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action,
    };
    let mut old = plan("outside", vec![rule], |_| true);
    old.ports[0].fail_close = true;
    let mut same = old.clone();
    assert!(!retain(&mut same, &old));
    let mut opened = plan("outside", vec![rule], |_| true);
    assert!(retain(&mut opened, &old));
    let everywhere = &opened.ports[1];
    assert_eq!((everywhere.device.as_str(), everywhere.ifindex), ("", 0));
    assert_eq!(opened.rules[everywhere.rule_list.unwrap() as usize], [Rule { action: Action::Drop, ..rule }]);
    assert_eq!(opened.rules[0], [rule], "on its own device it is sealed as before");
}

#[test]
fn a_retained_policy_keeps_the_filters_of_its_entry() {
    use sa_table::{Direction, FilterBinding, FilterList, FilterPoint, Filters};
    let filter = |policy, list| FilterBinding {
        point: FilterPoint::Policy(PolicyId(policy)),
        direction: Direction::Inbound,
        list,
    };
    let list = |name: &str| FilterList { name: name.into(), rules: Vec::new() };
    let old = Filters {
        lists: vec![list("A"), list("B"), list("C")],
        bindings: vec![filter(1, 1), filter(1, 2), filter(2, 0)],
    };
    let mut now = Filters { lists: vec![list("C")], bindings: vec![filter(0, 0)] };
    carry_over(&mut now, &old, PolicyId(1));
    assert_eq!(now.lists, [list("C"), list("B")], "a list that is there already is not there twice");
    assert_eq!(now.bindings, [filter(0, 0), filter(1, 1), filter(1, 0)]);
}
