//! Compilation of small configurations, built as models.

use super::*;
use crate::plan::TemplateKey;
use config::model::{
    AccessList, AclAddress, EspCipher, IdleTimer, Interface, IsakmpKey, KeyAddress, Peer as ConfiguredPeer,
    PeerName, PortMatch, Prefix as ConfiguredPrefix, Secret, TransformSet,
};

/// Allocates IDs in the order of requests.
#[derive(Default)]
struct Numbers(Vec<PolicyKey>);

impl PolicyNumbers for Numbers {
    fn number(&mut self, key: &PolicyKey) -> Option<PolicyId> {
        let index = self.0.iter().position(|known| known == key).unwrap_or_else(|| {
            self.0.push(key.clone());
            self.0.len() - 1
        });
        Some(PolicyId(u32::try_from(index).unwrap()))
    }
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::parse(text).unwrap()
}

fn ace(action: AclAction, source: &str, destination: &str) -> AclRule {
    let wildcard = "0.0.0.255".parse().unwrap();
    AclRule {
        action,
        protocol: None,
        source: AclAddress::new(source.parse().unwrap(), wildcard),
        source_port: None,
        destination: AclAddress::new(destination.parse().unwrap(), wildcard),
        destination_port: None,
        icmp: None,
        options: config::model::AclOptions::default(),
    }
}

fn entry(acl: &str) -> CryptoMapEntry {
    CryptoMapEntry {
        keying: Keying::Isakmp,
        template_profile: None,
        body: EntryBody {
            peers: vec![
                ConfiguredPeer { name: PeerName::Address("10.1.1.1".parse().unwrap()), default: true },
                ConfiguredPeer { name: PeerName::Address("10.2.2.2".parse().unwrap()), default: false },
            ],
            match_address: Some(acl.into()),
            transform_sets: vec!["ts".into()],
            idle: Some(IdleTimer { seconds: 120, to_default: true }),
            ..EntryBody::default()
        },
    }
}

fn base() -> (Configuration, Devices) {
    let mut configuration = Configuration::default();
    let outside =
        Interface { device: Some("eth1".into()), crypto_map: Some("tohub".into()), ..Interface::default() };
    configuration.interfaces.insert(name("Gi0/1"), outside);
    configuration
        .interfaces
        .insert(name("Gi0/0"), Interface { device: Some("eth0".into()), ..Interface::default() });
    configuration.interfaces.insert(name("Loopback0"), Interface::default());
    configuration
        .transform_sets
        .insert("ts".into(), TransformSet { cipher: Some(EspCipher::Gcm(128)), ..TransformSet::default() });
    configuration.isakmp_keys.push(IsakmpKey {
        key: Secret::new("k"),
        peer: KeyAddress::Address(ConfiguredPrefix::v4([0, 0, 0, 0].into(), 0)),
        no_xauth: false,
    });
    let device = |ifindex, address: &str| Device {
        ifindex,
        mtu: 1500,
        addresses: vec![address.parse().unwrap()],
        up: true,
    };
    let devices = [(name("Gi0/0"), device(2, "192.168.1.1")), (name("Gi0/1"), device(3, "10.9.9.9"))].into();
    (configuration, devices)
}

fn list(configuration: &mut Configuration, acl: &str, rules: &[AclRule]) {
    let mut access_list = AccessList::default();
    for (rule, sequence) in rules.iter().zip(1u32..) {
        access_list.insert(sequence * 10, *rule);
    }
    configuration.access_lists.insert(acl.into(), access_list);
}

fn map(configuration: &mut Configuration, seq: u16, entry: CryptoMapEntry) {
    configuration.crypto_maps.entry("tohub".into()).or_default().entries.insert(seq, entry);
}

fn actions(plan: &Plan) -> Vec<Action> {
    plan.rules[0].iter().map(|rule| rule.action).collect()
}

#[test]
fn the_example_becomes_one_policy_and_two_ports() {
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    map(&mut configuration, 1, entry("101"));
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(plan.notes, Vec::<String>::new());
    assert_eq!(plan.ports.len(), 2, "the loopback is no port");
    assert_eq!(plan.ports[1].device, "eth1");
    assert_eq!(plan.ports[1].crypto_addresses, ["10.9.9.9".parse::<IpAddr>().unwrap()]);
    assert_eq!((plan.ports[0].rule_list, plan.ports[1].rule_list), (None, Some(0)));
    assert_eq!(actions(&plan), [Action::Protect(PolicyId(0))]);
    let entry = plan.entries.values().next().unwrap();
    assert!(entry.default_first);
    assert_eq!(entry.local, "10.9.9.9".parse::<IpAddr>().unwrap());
    assert_eq!(entry.idle, IdleRule::resolve(Some((120, true)), None));
}

#[test]
fn a_deny_jumps_behind_its_entry() {
    let (mut configuration, devices) = base();
    let deny = ace(AclAction::Deny, "192.168.1.0", "192.168.9.0");
    list(&mut configuration, "101", &[deny, ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    list(&mut configuration, "102", &[ace(AclAction::Permit, "192.168.1.0", "192.168.9.0")]);
    map(&mut configuration, 1, entry("101"));
    map(&mut configuration, 2, entry("102"));
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(actions(&plan), [Action::Jump(2), Action::Protect(PolicyId(0)), Action::Protect(PolicyId(1))]);
}

#[test]
fn incomplete_and_unusable_entries_drop_what_they_select() {
    let (mut configuration, devices) = base();
    let permit = ace(AclAction::Permit, "192.168.1.0", "192.168.2.0");
    list(&mut configuration, "101", &[permit]);
    let incomplete: [fn(&mut EntryBody); 2] = [|body| body.peers.clear(), |body| body.transform_sets.clear()];
    for change in incomplete {
        let mut incomplete = entry("101");
        change(&mut incomplete.body);
        map(&mut configuration, 1, incomplete);
        let plan = compile(&configuration, &devices, &mut Numbers::default());
        assert_eq!(actions(&plan), [Action::Drop]);
        assert!(plan.notes[0].contains("stays disabled until"), "{:?}", plan.notes);
    }
    let selects_nothing: [fn(&mut EntryBody); 2] =
        [|body| body.match_address = None, |body| body.match_address = Some("absent".into())];
    for change in selects_nothing {
        let mut incomplete = entry("101");
        incomplete.body.peers.clear();
        change(&mut incomplete.body);
        map(&mut configuration, 1, incomplete);
        let plan = compile(&configuration, &devices, &mut Numbers::default());
        assert!(actions(&plan).is_empty() && plan.notes.is_empty(), "{:?}", plan.notes);
    }
    let mut unusable = entry("101");
    unusable.body.transform_sets = vec!["absent".into()];
    map(&mut configuration, 1, unusable);
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(actions(&plan), [Action::Drop]);
    assert!(plan.notes[0].contains("absent"), "{:?}", plan.notes);
}

#[test]
fn an_entry_that_asks_for_ah_drops_and_names_the_remedy() {
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    map(&mut configuration, 1, entry("101"));
    configuration.transform_sets.get_mut("ts").unwrap().ah = Some(config::model::EspMac::Sha256);
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(actions(&plan), [Action::Drop]);
    assert!(plan.notes[0].contains("AH") && plan.notes[0].contains("esp-null"), "{:?}", plan.notes);
}

#[test]
fn without_a_local_address_nothing_leaves_in_clear() {
    let (mut configuration, mut devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    map(&mut configuration, 1, entry("101"));
    devices.remove(&name("Gi0/1"));
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(actions(&plan), [Action::Drop]);
    assert_eq!(plan.ports[1].ifindex, 0);
}

#[test]
fn a_dynamic_map_cannot_initiate() {
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    let template = EntryBody { match_address: Some("101".into()), ..EntryBody::default() };
    configuration.dynamic_maps.entry("dyn".into()).or_default().entries.insert(10, template);
    let keying = Keying::Dynamic { map: "dyn".into(), discover: false };
    map(
        &mut configuration,
        65535,
        CryptoMapEntry { keying, template_profile: None, body: EntryBody::default() },
    );
    assert_eq!(actions(&compile(&configuration, &devices, &mut Numbers::default())), [Action::Drop]);
}

#[test]
fn port_conditions_become_ranges_of_one_policy() {
    let (mut configuration, devices) = base();
    let mut web = ace(AclAction::Permit, "192.168.1.0", "192.168.2.0");
    (web.protocol, web.destination_port) = (Some(6), Some(PortMatch::NotEqual(80)));
    list(&mut configuration, "101", &[web]);
    map(&mut configuration, 1, entry("101"));
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    let ports: Vec<(u16, u16)> = plan.rules[0]
        .iter()
        .map(|rule| (rule.destination_ports.first, rule.destination_ports.last))
        .collect();
    assert_eq!(ports, [(0, 79), (81, 65535)]);
    assert_eq!(plan.policies.len(), 1);
    assert_eq!(plan.policies[&PolicyId(0)].remote.len(), 2);
}

#[test]
fn policies_keep_their_number_when_something_else_is_edited() {
    let (mut configuration, devices) = base();
    let kept = ace(AclAction::Permit, "192.168.1.0", "192.168.2.0");
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.5.0"), kept]);
    map(&mut configuration, 1, entry("101"));
    let mut numbers = Numbers::default();
    let before = compile(&configuration, &devices, &mut numbers);
    list(&mut configuration, "101", &[kept]);
    map(&mut configuration, 2, entry("101"));
    let after = compile(&configuration, &devices, &mut numbers);
    assert_eq!(before.rules[0][1].action, after.rules[0][0].action);
    assert_ne!(after.rules[0][0].action, after.rules[0][1].action, "the second entry has its own");
}

fn dynamic(configuration: &mut Configuration, match_address: Option<&str>) {
    let template = EntryBody {
        match_address: match_address.map(str::to_owned),
        transform_sets: vec!["ts".into()],
        ..EntryBody::default()
    };
    configuration.dynamic_maps.entry("dyn".into()).or_default().entries.insert(10, template);
    let keying = Keying::Dynamic { map: "dyn".into(), discover: false };
    let body = EntryBody::default();
    map(configuration, 65535, CryptoMapEntry { keying, template_profile: None, body });
}

fn temporary(seq: u32, remote: &str) -> Derived {
    let template = TemplateKey {
        interface: name("Gi0/1"),
        map: "tohub".into(),
        seq: 65535,
        dynamic: "dyn".into(),
        dynamic_seq: 10,
    };
    let net = |text: &str| vec![ike::TrafficSelector::prefix(text.parse().unwrap(), 28)];
    let (local, remote) = (net("192.168.1.0"), net(remote));
    let one = crate::plan::Temporary { seq, template, peer: "203.0.113.7".parse().unwrap(), local, remote };
    Derived { temporaries: vec![one], ..Derived::default() }
}

#[test]
fn a_temporary_entry_stands_before_what_its_template_drops() {
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    dynamic(&mut configuration, Some("101"));
    let mut numbers = Numbers::default();
    let plan = compile_with(&configuration, &devices, &temporary(65_536, "192.168.2.16"), &mut numbers);
    assert_eq!(plan.notes, Vec::<String>::new());
    assert_eq!(actions(&plan), [Action::Protect(PolicyId(0)), Action::Drop]);
    assert_eq!(plan.templates.len(), 1);
    let entry = plan.entries.values().next().unwrap();
    assert_eq!((entry.key.seq, entry.key.configured()), (65_536, None));
    assert!(entry.template.is_some());
    // A temporary entry that the access list no longer covers is removed.
    let plan = compile_with(&configuration, &devices, &temporary(65_536, "192.168.3.16"), &mut numbers);
    assert_eq!(actions(&plan), [Action::Drop]);
    assert!(plan.entries.is_empty());
}

#[test]
fn a_template_without_access_list_drops_nothing_and_permits_everything_that_is_asked_for() {
    let (mut configuration, devices) = base();
    dynamic(&mut configuration, None);
    let mut numbers = Numbers::default();
    assert!(compile(&configuration, &devices, &mut numbers).rules[0].is_empty());
    let plan = compile_with(&configuration, &devices, &temporary(65_536, "192.168.3.16"), &mut numbers);
    assert_eq!(actions(&plan), [Action::Protect(PolicyId(0))]);
}

#[test]
fn pairs_of_hosts_stand_before_their_permit() {
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    let mut one = entry("101");
    one.body.per_host = true;
    map(&mut configuration, 1, one);
    let host = |text: &str| vec![ike::TrafficSelector::host(text.parse().unwrap())];
    let key = EntryKey { interface: name("Gi0/1"), map: "tohub".into(), seq: 1 };
    let pair = |ours: &str, theirs: &str| crate::plan::HostFlow {
        entry: key.clone(),
        local: host(ours),
        remote: host(theirs),
    };
    let derived = Derived {
        hosts: vec![pair("192.168.1.7", "192.168.2.9"), pair("10.0.0.1", "192.168.2.9")],
        ..Derived::default()
    };
    let plan = compile_with(&configuration, &devices, &derived, &mut Numbers::default());
    assert_eq!(
        actions(&plan),
        [Action::Protect(PolicyId(0)), Action::Protect(PolicyId(1))],
        "a pair outside of the permit is none"
    );
    assert_eq!(plan.entries[&key].policies, [PolicyId(0), PolicyId(1)]);
}

#[test]
fn one_set_on_two_interfaces_is_two_entries_with_sas_of_their_own() {
    let (mut configuration, mut devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    map(&mut configuration, 1, entry("101"));
    let second =
        Interface { device: Some("eth2".into()), crypto_map: Some("tohub".into()), ..Interface::default() };
    configuration.interfaces.insert(name("Gi0/2"), second);
    let device = Device { ifindex: 4, mtu: 1500, addresses: vec!["10.8.8.8".parse().unwrap()], up: true };
    devices.insert(name("Gi0/2"), device);
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(plan.entries.len(), 2);
    let locals: Vec<String> = plan.entries.values().map(|entry| entry.local.to_string()).collect();
    assert_eq!(locals, ["10.9.9.9", "10.8.8.8"], "each speaks from its own interface");
    assert_eq!(plan.policies.len(), 2);
    let lists: Vec<_> = plan.ports.iter().filter_map(|port| port.rule_list).collect();
    assert_eq!(lists, [0, 1]);
}

#[test]
fn local_address_names_the_interface_whose_address_is_used() {
    let (mut configuration, mut devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    map(&mut configuration, 1, entry("101"));
    configuration.crypto_maps.get_mut("tohub").unwrap().local_address = Some(name("Loopback0"));
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert!(plan.entries.is_empty(), "without an address there is no tunnel");
    assert_eq!(actions(&plan), [Action::Drop], "and nothing in clear");
    let device = Device { ifindex: 9, mtu: 65535, addresses: vec!["10.0.0.9".parse().unwrap()], up: true };
    devices.insert(name("Loopback0"), device);
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(plan.entries.values().next().unwrap().local.to_string(), "10.0.0.9");
    let port = plan.ports.iter().find(|port| port.has_crypto_map).unwrap();
    assert!(port.crypto_addresses.contains(&"10.0.0.9".parse().unwrap()), "ESP to it is ours");
}

fn filter(list: &str, direction: &str) -> config::model::AccessGroups {
    let name = |wanted| (direction == wanted).then(|| list.to_owned());
    config::model::AccessGroups { inbound: name("in"), outbound: name("out") }
}

#[test]
fn access_groups_become_filters_of_ports_and_policies() {
    use sa_table::{Direction, FilterBinding, FilterPoint};
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    list(&mut configuration, "120", &[ace(AclAction::Deny, "192.168.1.0", "192.168.2.0")]);
    let mut filtered = entry("101");
    filtered.body.access_groups = filter("121", "out");
    map(&mut configuration, 1, filtered);
    configuration.interfaces.get_mut(&name("Gi0/1")).unwrap().access_groups = filter("120", "in");
    let plan = compile(&configuration, &devices, &mut Numbers::default());
    assert_eq!(
        plan.filters.bindings,
        [
            FilterBinding { point: FilterPoint::Port(1), direction: Direction::Inbound, list: 0 },
            FilterBinding {
                point: FilterPoint::Policy(PolicyId(0)),
                direction: Direction::Outbound,
                list: 1
            },
        ]
    );
    let lists: Vec<_> =
        plan.filters.lists.iter().map(|list| (list.name.as_str(), list.rules.len())).collect();
    assert_eq!(lists, [("120", 1), ("121", 0)], "a list that is not configured has no line, so it denies");
    assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
    assert!(
        plan.notes[0]
            .starts_with("crypto map tohub 1 filters out by access list 121, which is not configured")
    );
    assert!(plan.notes[1].contains("access list 120, no line of which permits IKE"));
}

#[test]
fn a_temporary_entry_is_filtered_like_its_template() {
    use sa_table::{Direction, FilterBinding, FilterPoint};
    let (mut configuration, devices) = base();
    list(&mut configuration, "101", &[ace(AclAction::Permit, "192.168.1.0", "192.168.2.0")]);
    dynamic(&mut configuration, Some("101"));
    let template = configuration.dynamic_maps.get_mut("dyn").unwrap().entries.get_mut(&10).unwrap();
    template.access_groups = filter("120", "in");
    let entries = &mut configuration.crypto_maps.get_mut("tohub").unwrap().entries;
    let first = *entries.keys().next().unwrap();
    let outer = entries.get_mut(&first).unwrap();
    outer.body.access_groups = filter("121", "out");
    let derived = temporary(65_536, "192.168.2.16");
    let plan = compile_with(&configuration, &devices, &derived, &mut Numbers::default());
    let point = FilterPoint::Policy(PolicyId(0));
    assert_eq!(
        plan.filters.bindings,
        [
            FilterBinding { point, direction: Direction::Inbound, list: 0 },
            FilterBinding { point, direction: Direction::Outbound, list: 1 },
        ]
    );
}
