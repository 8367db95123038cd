use proptest::prelude::*;

use super::*;
use crate::edit::Environment;
use crate::file;

struct NoWorld;

impl Environment for NoWorld {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// A map with two entries, with these lines in their lists.
fn configuration(first: &[String], second: &[String]) -> Configuration {
    let mut text = String::from("interface Gi0/1\n device outside\n crypto map m\n");
    for (seq, lines) in [(1, first), (2, second)] {
        text += &format!("crypto map m {seq} ipsec-isakmp\n match address 10{seq}\n");
        for line in lines {
            text += &format!("access-list 10{seq} {line}\n");
        }
    }
    file::parse("t", &text, &mut NoWorld).unwrap().configuration
}

/// Lines on four networks of four hosts and two protocols, so that random lines often overlap.
fn line() -> impl Strategy<Value = String> {
    let side = prop_oneof![
        1 => Just("any".to_owned()),
        3 => (0u8..4).prop_map(|net| format!("10.0.0.{} 0.0.0.3", net * 4)),
        3 => (0u8..16).prop_map(|host| format!("host 10.0.0.{host}")),
    ];
    let ports = prop_oneof![3 => Just(""), 1 => Just(" neq 2"), 1 => Just(" gt 1")];
    let action = prop_oneof![3 => Just("permit"), 1 => Just("deny")];
    let protocol = prop_oneof![Just("ip"), Just("tcp")];
    (action, protocol, side.clone(), side, ports).prop_map(|(action, protocol, from, to, ports)| {
        let ports = if protocol == "tcp" { ports } else { "" };
        format!("{action} {protocol} {from} {to}{ports}")
    })
}

fn lists() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    (proptest::collection::vec(line(), 0..5), proptest::collection::vec(line(), 0..4))
}

/// Source and destination host, protocol, destination port.
type Flow = (u8, u8, u8, u16);

/// The line that decides about a flow, by linear evaluation.
fn decides(lines: &[Line<'_>], (from, to, protocol, port): Flow) -> Option<usize> {
    let has = |address: &crate::model::AclAddress, host: u8| {
        address.prefix().unwrap().contains(std::net::Ipv4Addr::new(10, 0, 0, host).into())
    };
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let rule = line.rule;
        let ports = rule.destination_port.map_or(vec![(0, u16::MAX)], |ports| ports.ranges());
        let matches = has(&rule.source, from)
            && has(&rule.destination, to)
            && rule.protocol.is_none_or(|own| own == protocol)
            && ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        match line.verdict {
            Verdict::Protected if matches => return Some(at),
            Verdict::GoOn(target) if matches => at = target,
            _ => at += 1,
        }
    }
    None
}

fn flows() -> impl Iterator<Item = Flow> {
    let hosts = (0..16).flat_map(|from| (0..16).map(move |to| (from, to)));
    hosts.flat_map(|(from, to)| {
        [6, 17].into_iter().flat_map(move |protocol| (0..4).map(move |port| (from, to, protocol, port)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_permit_is_lost_exactly_if_a_flow_of_it_is(old in lists(), new in lists(), other in lists()) {
        let [old, new, other] = [old, new, other].map(|(first, second)| configuration(&first, &second));
        let before = lines(&old, "outside");
        let after = [lines(&new, "outside"), lines(&other, "outside")];
        for after in [&after[..1], &after[..]] {
            let expected: BTreeSet<usize> = flows()
                .filter(|flow| after.iter().all(|lines| decides(lines, *flow).is_none()))
                .filter_map(|flow| decides(&before, flow))
                .collect();
            // Hosts and ports outside of the test ranges exist too; a line that loses only those is
            // also reported.
            let found = lost(&before, after, |_| true);
            prop_assert!(expected.is_subset(&found), "{expected:?} {found:?}");
            for index in found.difference(&expected) {
                let wide = before[*index].rule;
                let any = crate::model::AclAddress::Any;
                let open = wide.source == any || wide.destination == any || wide.protocol.is_none() || wide.destination_port.is_some();
                prop_assert!(open, "{} is not lost", before[*index].text());
            }
        }
    }
}

#[test]
fn a_map_on_an_interface_that_is_shut_down_still_counts_as_applied() {
    let mut configuration = configuration(&["permit ip any any".into()], &[]);
    configuration.interfaces.values_mut().for_each(|interface| interface.shutdown = true);
    assert_eq!(lines(&configuration, "outside").len(), 1);
    assert!(lines(&configuration, "GigabitEthernet0/1").is_empty(), "it is the device that counts");
}

#[test]
fn thousands_of_permits_are_compared_at_once() {
    let many: Vec<String> =
        (0..3000).map(|n| format!("permit ip 10.{}.{}.0 0.0.0.255 any", n / 250, n % 250)).collect();
    let (old, new) = (configuration(&many, &[]), configuration(&many[..2999], &[]));
    let before = lines(&old, "outside");
    assert_eq!(lost(&before, &[lines(&new, "outside")], |_| true), BTreeSet::from([2999]));
}
