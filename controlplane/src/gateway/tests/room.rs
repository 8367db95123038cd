//! Configurations and tunnels that exceed the shared segments.

use config::model::{AccessList, AclAction, AclAddress, AclLine, AclOptions, AclRule};
use config::sizes::Sizes;
use ike::{ChildHalf, ChildId, ConnectionId, EspSuite, IkeId, InstallChild, Secret};
use sa_table::{Action, Capacities, Locking, TableReader, WorkerId};

use super::*;
use crate::room::{NoRoom, demand};

/// One entry with these access-list lines.
fn with_lines(lines: &str) -> Configuration {
    let text = text(" set peer 10.1.1.1\n")
        .replace("access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255\n", lines);
    config::file::parse("test", &text, &mut Offline).unwrap().configuration
}

/// One line for each host number.
fn lines(hosts: std::ops::Range<u32>) -> String {
    hosts.map(|n| format!("access-list 101 permit ip host 10.20.0.{n} host 10.30.0.{n}\n")).collect()
}

fn actions(reader: &TableReader) -> Vec<Action> {
    let lists = reader.load_policy().unwrap().rule_lists;
    lists.iter().flat_map(|list| list.rules.iter().map(|rule| rule.action)).collect()
}

#[test]
fn an_edit_with_more_permits_than_policies_is_refused_before_anything_changes() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let reader = segments.table_reader().unwrap();
    let (before, running, occupancy) =
        (reader.load_policy().unwrap(), gateway.configuration().clone(), gateway.tables.occupancy());
    let refusal = gateway.admit(with_lines(&lines(1..18))).unwrap_err();
    assert!(
        matches!(refusal, NoRoom::Segments(shortage) if shortage.needed == 17 && shortage.capacity == 16)
    );
    let told = refusal.to_string();
    assert!(told.contains("made for 16 policies, 17 are needed") && told.contains("restart"), "{told}");
    assert_eq!(reader.load_policy().unwrap(), before);
    assert_eq!((gateway.configuration(), gateway.tables.occupancy()), (&running, occupancy));
    let fits = gateway.admit(with_lines(&lines(1..17))).unwrap();
    gateway.configure_admitted(NOW, fits);
}

#[test]
fn an_edit_with_more_rules_than_the_arena_holds_is_refused_before_anything_changes() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let reader = segments.table_reader().unwrap();
    let before = reader.load_policy().unwrap();
    let denies: String = (0..400).map(|n| format!("access-list 101 deny udp any any eq {n}\n")).collect();
    let refusal = gateway.admit(with_lines(&(denies + &lines(1..2)))).unwrap_err();
    assert!(refusal.to_string().contains("words of ports, rules and filters"), "{refusal}");
    assert_eq!(reader.load_policy().unwrap(), before);
}

#[test]
fn what_a_dynamic_map_brought_counts() {
    let configuration = with_lines(&lines(1..3));
    let selector = |text: &str| vec![ike::TrafficSelector::host(text.parse().unwrap())];
    let key = crate::plan::EntryKey {
        interface: InterfaceName::parse("Gi0/1").unwrap(),
        map: "tohub".into(),
        seq: 1,
    };
    let flow =
        crate::plan::HostFlow { entry: key, local: selector("10.0.0.1"), remote: selector("10.0.0.2") };
    let derived = crate::plan::Derived { hosts: vec![flow], ..crate::plan::Derived::default() };
    let needed = demand(&configuration, &derived);
    assert_eq!((needed.policies, needed.rules, needed.ports, needed.rule_lists), (3, 3, 1, 1));
}

#[test]
fn permits_without_a_policy_are_dropped_until_the_former_ones_are_free() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let (reader, workers) = (segments.table_reader().unwrap(), segments.runtime_writer().unwrap());
    let adopt = |reader: &TableReader| {
        workers.announce(WorkerId(0), reader.generation());
        workers.announce_policy(WorkerId(0), reader.policy_version());
    };
    let first = gateway.admit(with_lines(&lines(1..11))).unwrap();
    gateway.configure_admitted(NOW, first);
    adopt(&reader);
    gateway.handle_timeout(NOW);
    let second = gateway.admit(with_lines(&lines(101..111))).unwrap();
    gateway.configure_admitted(NOW, second);
    let dropped = |actions: &[Action]| actions.iter().filter(|action| **action == Action::Drop).count();
    assert_eq!((actions(&reader).len(), dropped(&actions(&reader))), (10, 4));
    assert!(outputs(&mut gateway).2.iter().any(|text| text.contains("finds no free policy")));
    gateway.handle_timeout(NOW);
    assert_eq!(dropped(&actions(&reader)), 4, "the worker still classifies by the former rules");
    // Each round frees and reuses the slots that the worker has left.
    for _ in 0..4 {
        adopt(&reader);
        gateway.handle_timeout(NOW);
    }
    assert_eq!((actions(&reader).len(), dropped(&actions(&reader))), (10, 0));
}

fn child(number: u32) -> InstallChild {
    let half = |spi: u32| ChildHalf {
        spi,
        encryption_key: Secret::new(spi.to_be_bytes().repeat(4)),
        salt: Secret::new(vec![1; 4]),
        integrity_key: Secret::default(),
    };
    let net = |text: &str| vec![ike::TrafficSelector::prefix(text.parse().unwrap(), 24)];
    InstallChild {
        ike: IkeId(1),
        child: ChildId(number.into()),
        connection: ConnectionId(1),
        tag: ike::ChildTag(0),
        initiator: true,
        replaces: None,
        inbound: half(0x1000 + number),
        outbound: half(0x2000 + number),
        outbound_ready: true,
        suite: EspSuite { encryption: ike::Encryption::AesGcm128, integrity: None, esn: true, group: None },
        mode: ike::Mode::Tunnel,
        local_selectors: net("192.168.1.0"),
        remote_selectors: net("192.168.2.0"),
        local: "10.9.9.9".parse().unwrap(),
        remote: "10.1.1.1".parse().unwrap(),
        udp_encapsulation: None,
        tfc_padding_refused: false,
        soft_limit: None,
        hard_limit: None,
    }
}

#[test]
fn a_tunnel_without_a_free_slot_leaves_its_flow_held_and_says_what_to_do() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let reader = segments.table_reader().unwrap();
    let policy = *gateway.plan.policies.keys().next().unwrap();
    let entry = gateway.plan.entries.values().next().unwrap();
    let parameters = crate::tables::PairParameters::of(entry, policy);
    for number in 0..16 {
        gateway.tables.install(&child(number), &parameters, Scale::default(), NOW).unwrap();
    }
    outputs(&mut gateway);
    let late = InstallChild { tag: crate::connections::tag(policy), ..child(16) };
    gateway.handle_action(NOW, ike::Action::InstallChild(Box::new(late)));
    let said = outputs(&mut gateway).2;
    let remedy =
        |text: &String| text.contains("all 16 inbound SA slots are taken") && text.contains("restart tohub");
    assert!(said.iter().any(remedy), "{said:?}");
    assert_eq!(reader.policy_word(policy), None, "the flow is held, not sent");
    assert!(actions(&reader).contains(&Action::Protect(policy)), "and still selected");
    assert!(gateway.tunnels.pair(ChildId(16)).is_none());
    assert_eq!(reader.lookup_spi(0x1010), None);
}

#[test]
fn a_hundred_thousand_permits_are_one_commit() {
    let mut configuration = with_lines(&lines(1..2));
    let host = |n: u32| AclAddress::Host(std::net::Ipv4Addr::from(n));
    let rule = |n: u32| AclRule {
        action: AclAction::Permit,
        protocol: None,
        source: host(0x0a00_0000 + n),
        source_port: None,
        destination: host(0x1400_0000 + n),
        destination_port: None,
        icmp: None,
        options: AclOptions::default(),
    };
    let lines = (0..100_000).map(|n| AclLine::Rule(10 * (n + 1), rule(n))).collect();
    configuration.access_lists.insert("101".into(), AccessList { lines });
    let needed = demand(&configuration, &crate::plan::Derived::default());
    assert_eq!((needed.policies, needed.tunnels), (100_000, 100_000));
    // Sized as by the supervisor, except for the slots: no tunnel is set up here.
    let capacities = Capacities { inbound_slots: 16, outbound_slots: 16, ..Capacities::for_demand(&needed) };
    let segments = Segments::create(capacities, Locking::BestEffort).unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let reader = segments.table_reader().unwrap();
    let begin = std::time::Instant::now();
    let admitted = gateway.admit(configuration.clone()).unwrap();
    let compiled = begin.elapsed();
    gateway.configure_admitted(NOW, admitted);
    println!("100 000 permits: {compiled:?} to compile and check, {:?} in all", begin.elapsed());
    let protected = actions(&reader).iter().filter(|action| matches!(action, Action::Protect(_))).count();
    assert_eq!(protected, 100_000);
    assert_eq!(Sizes::of(&configuration).check(), Ok(()));
}
