//! Ports and rules, and the numbers of policies.

use super::*;

fn rule(policy: PolicyId, network: &str) -> Rule {
    Rule {
        source: Prefix { address: ip("10.0.0.0"), length: 24 },
        destination: Prefix { address: ip(network), length: 24 },
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action: Action::Protect(policy),
    }
}

fn port() -> PortRecord {
    PortRecord {
        id: 1,
        ifindex: 7,
        device: "veth-out".into(),
        ios_name: "GigabitEthernet0/1".into(),
        mtu: 1500,
        has_crypto_map: true,
        crypto_addresses: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        rule_list: Some(0),
        ..PortRecord::default()
    }
}

#[test]
fn a_published_policy_is_read_whole() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    assert_eq!(reader.load_policy(), Ok(PolicySnapshot::default()));
    let policy = writer.allocate_policy().unwrap();
    let rules = vec![rule(policy, "10.1.0.0"), rule(policy, "10.2.0.0")];
    let version = writer.publish_policy(&[port()], &[&rules]).unwrap();
    assert_eq!(reader.policy_version(), version);
    let rule_lists = vec![RuleList { version, rules }];
    assert_eq!(
        reader.load_policy(),
        Ok(PolicySnapshot { version, ports: vec![port()], rule_lists, ..PolicySnapshot::default() })
    );
}

#[test]
fn a_refused_policy_leaves_the_previous_one_in_force() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    writer.publish_policy(&[port()], &[vec![]]).unwrap();
    let before = reader.load_policy().unwrap();
    let bad = vec![rule(PolicyId(999), "10.1.0.0")];
    assert!(matches!(writer.publish_policy(&[], &[bad]), Err(TableError::Policy(PolicyError::Rule { .. }))));
    let large = vec![rule(PolicyId(1), "10.1.0.0"); 1000];
    assert!(matches!(
        writer.publish_policy(&[], &[large]),
        Err(TableError::Policy(PolicyError::TooLarge { .. }))
    ));
    assert_eq!(reader.load_policy().unwrap(), before);
}

#[test]
fn a_policy_is_checked_like_it_is_published_without_a_change() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let policy = writer.allocate_policy().unwrap();
    let large = vec![rule(policy, "10.1.0.0"); 1000];
    let fits = vec![rule(policy, "10.1.0.0"); 10];
    let none = Filters::default();
    assert_eq!(writer.check_policy(&[port()], &[&fits], &none), Ok(()));
    assert_eq!(
        writer.check_policy(&[port()], &[&large], &none),
        writer.publish_policy(&[port()], &[&large]).map(drop)
    );
    let list = FilterList { name: "120".into(), rules: vec![FilterRule::PERMIT_ANY; 1000] };
    let filters = Filters { lists: vec![list], bindings: Vec::new() };
    assert_eq!(
        writer.check_policy(&[port()], &[&fits], &filters),
        writer.publish_filtered_policy(&[port()], &[&fits], &filters).map(drop)
    );
    assert!(writer.check_policy(&[port()], &[&fits], &filters).is_err(), "the lines have no room");
    assert_eq!(reader.load_policy(), Ok(PolicySnapshot::default()));
}

#[test]
fn an_arena_is_filled_again_only_when_nobody_reads_it() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let runtime = segments.runtime_writer().unwrap();
    let none: &[Vec<Rule>] = &[];
    writer.publish_policy(&[], none).unwrap();
    runtime.announce(WORKER, reader.generation());
    writer.publish_policy(&[], none).unwrap();
    assert_eq!(writer.publish_policy(&[], none), Err(TableError::ArenaBusy));
    runtime.announce(WORKER, reader.generation());
    assert_eq!(writer.publish_policy(&[], none), Ok(PolicyVersion(3)));
}

#[test]
fn a_policy_number_rests_until_every_worker_classifies_anew() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let runtime = segments.runtime_writer().unwrap();
    let none: &[Vec<Rule>] = &[];
    let policy = writer.allocate_policy().unwrap();
    runtime.announce_policy(WORKER, writer.publish_policy(&[], none).unwrap());
    let version = writer.publish_policy(&[], none).unwrap();
    assert_eq!(writer.policy_version_in_force(), PolicyVersion(1));
    let token = writer.retire_policy(policy).unwrap();
    assert_eq!(writer.collect(0).waiting, 1, "a sleeping worker still has its old classifier");
    assert_eq!(writer.adopt_policy(policy), Err(TableError::PolicyTaken(policy)));
    runtime.announce_policy(WORKER, reader.policy_version());
    assert_eq!(writer.policy_version_in_force(), version);
    assert_eq!(writer.collect(0).policies, 1);
    assert!(writer.is_collected(token));
    assert_eq!(writer.adopt_policy(policy), Ok(()));
}

#[test]
fn a_hundred_thousand_rules_are_published_and_read() {
    let demand = Demand {
        ports: 1,
        rule_lists: 1,
        rules: 100_000,
        policies: 100_000,
        tunnels: 10,
        ..Demand::default()
    };
    let capacities = Capacities::for_demand(&demand);
    let segments = Segments::create(capacities, Locking::BestEffort).unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let rules: Vec<Rule> = (0..100_000)
        .map(|n: u32| Rule { source_ports: PortRange::single(n as u16), ..rule(PolicyId(n), "10.1.0.0") })
        .collect();
    writer.publish_policy(&[port()], &[&rules]).unwrap();
    assert!(reader.load_policy().unwrap().rule_lists[0].rules == rules);
}

#[test]
fn policies_run_out_and_come_back() {
    let segments = Segments::in_memory().unwrap();
    let mut writer = segments.table_writer().unwrap();
    let policies: Vec<_> = (0..16).map(|_| writer.allocate_policy().unwrap()).collect();
    assert_eq!(writer.allocate_policy(), Err(TableError::NoFreePolicy(16)));
    writer.retire_policy(policies[9]).unwrap();
    assert_eq!(writer.free_policies(), 0, "retired is not free yet");
    assert_eq!(writer.collect(0).policies, 1, "there is no worker to wait for");
    assert_eq!(writer.free_policies(), 1);
    assert_eq!(writer.allocate_policy(), Ok(policies[9]));
}
