use sa_table::PolicyId;
use sa_table::record::PortRange;

use super::*;

fn port(id: u16, rule_list: Option<u32>) -> PortRecord {
    PortRecord {
        id,
        ifindex: u32::from(id) + 10,
        device: format!("eth{id}"),
        has_crypto_map: rule_list.is_some(),
        crypto_addresses: vec!["192.0.2.1".parse().unwrap()],
        rule_list,
        ..PortRecord::default()
    }
}

fn absent(port: PortRecord) -> PortRecord {
    PortRecord { ifindex: 0, ..port }
}

fn prefix(text: &str, length: u8) -> Prefix {
    Prefix { address: text.parse::<IpAddr>().unwrap(), length }
}

fn rule(action: Action) -> Rule {
    Rule {
        source: prefix("10.1.0.0", 16),
        destination: prefix("10.2.0.0", 16),
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action,
    }
}

fn compile(ports: &[PortRecord], lists: &[Vec<Rule>]) -> KernelPolicy {
    KernelPolicy::compile(ports, lists, &[], |port| Some(u32::from(port.id)))
}

fn destinations(policy: &KernelPolicy) -> Vec<(IpAddr, u8)> {
    let is_destination = |class: &&PrefixClass| class.2 & CLASS_DESTINATION != 0;
    policy.classes.iter().filter(is_destination).map(|(address, length, _)| (*address, *length)).collect()
}

const PROTECT: Action = Action::Protect(PolicyId(0));

#[test]
fn ports_share_a_list_that_stands_once() {
    let lists = [vec![rule(Action::Jump(1)), rule(PROTECT)]];
    let policy = compile(&[port(0, None), port(1, Some(0)), port(2, Some(0))], &lists);
    assert_eq!(policy.rules.len(), 2);
    assert_eq!((policy.ports[&10].flags, policy.ports[&10].rule_count), (PORT_STEER, 0));
    assert_eq!(policy.ports[&11].rule_count, 2);
    assert_eq!((policy.ports[&11].xsk_first, policy.ports[&12].xsk_first), (MAX_QUEUES, 2 * MAX_QUEUES));
    assert_eq!(policy.ports[&11].rule_first, policy.ports[&12].rule_first);
}

#[test]
fn exempted_prefixes_are_not_protected_by_their_rule() {
    let policy = compile(&[port(1, Some(0))], &[vec![rule(Action::Jump(1))]]);
    assert_eq!(destinations(&policy), []);
    let policy = compile(&[port(1, Some(0))], &[vec![rule(Action::Drop)]]);
    assert_eq!(destinations(&policy), [("10.2.0.0".parse().unwrap(), 16)]);
}

#[test]
fn a_map_with_a_device_is_closed_there_and_on_unknown_devices_and_watched_on_other_interfaces() {
    let policy = compile(&[port(0, None), port(1, Some(0))], &[vec![rule(PROTECT)]]);
    let (inside, outside, other) = (policy.ports[&10], policy.ports[&11], policy.ports[&DEFAULT_PORT]);
    assert_eq!((inside.rule_count, outside.rule_count, other.rule_count), (0, 1, 1));
    assert_eq!((inside.watch_count, other.watch_count), (1, 0), "what leaves by the inside port is told");
}

#[test]
fn a_map_without_a_device_is_closed_on_every_device() {
    let lists = [vec![rule(PROTECT)], vec![rule(Action::Jump(1)), rule(Action::Drop)]];
    let policy = compile(&[port(0, None), port(1, Some(0)), absent(port(2, Some(1)))], &lists);
    assert_eq!(policy.ports[&DEFAULT_PORT].rule_count, 3);
    assert_eq!(policy.ports[&10].rule_count, 2, "also on a port without crypto map");
    assert_eq!(policy.ports[&11].rule_count, 3, "and behind the rules of another map");
    assert!(!policy.ports.contains_key(&12));
}

#[test]
fn fail_close_closes_a_map_on_every_interface_although_it_has_a_device() {
    let closed = PortRecord { fail_close: true, ..port(1, Some(0)) };
    let policy = compile(&[port(0, None), closed], &[vec![rule(PROTECT)]]);
    assert_eq!(policy.ports[&10].rule_count, 1);
}

#[test]
fn too_many_rules_make_a_port_coarse_and_keep_its_classes() {
    let long: Vec<Rule> = vec![rule(PROTECT); MAX_RULES_PER_PORT as usize + 1];
    let policy = KernelPolicy::compile(&[port(1, Some(0))], &[long], &[], |_| None);
    assert_eq!(policy.ports[&11].flags, PORT_CRYPTO_MAP | PORT_COARSE);
    assert!(!destinations(&policy).is_empty());
    assert_eq!(policy.ports[&11].xsk_count, 0);
    assert_eq!(policy.ports[&DEFAULT_PORT].flags, PORT_COARSE);
    assert_eq!(policy.notes().len(), 2);
}

#[test]
fn a_crypto_map_without_its_rules_protects_everything() {
    let policy = compile(&[port(1, Some(3))], &[]);
    assert_eq!(policy.ports[&11].flags, PORT_CRYPTO_MAP | PORT_COARSE | PORT_STEER);
    assert_eq!(destinations(&policy).len(), 2);
    let policy = compile(&[absent(port(1, Some(3)))], &[]);
    assert_eq!(policy.ports[&DEFAULT_PORT].flags, PORT_COARSE);
}

#[test]
fn a_device_without_link_header_has_an_entry_that_says_so() {
    let tunnel = Device { ifindex: 40, link_type: crate::host::kernel::LinkType::RawIp, ..Device::default() };
    let policy =
        KernelPolicy::compile(&[absent(port(1, Some(0)))], &[vec![rule(PROTECT)]], &[tunnel], |_| None);
    assert_eq!((policy.ports[&40].flags, policy.ports[&40].rule_count), (PORT_RAW_IP, 1));
}

#[test]
fn workers_get_what_filters_have_to_see() {
    let ports = [port(0, None), port(1, None), absent(port(2, None))];
    let flagged = |filtered: &[(u32, Direction)]| -> Vec<bool> {
        let policy = compile(&ports, &[]).with_filters(filtered, &ports);
        [DEFAULT_PORT, 10, 11].map(|entry| policy.ports[&entry].flags & PORT_FILTERED != 0).to_vec()
    };
    assert_eq!(flagged(&[]), [false; 3]);
    assert_eq!(flagged(&[(11, Direction::Inbound)]), [false, false, true]);
    assert_eq!(flagged(&[(11, Direction::Outbound)]), [false, true, true], "each packet may leave there");
    assert_eq!(flagged(&[(0, Direction::Inbound)]), [false; 3], "an interface without device");
}
