//! Sizes of small configurations, read from text.

use super::*;
use crate::edit::Offline;
use crate::file;

fn load(text: &str) -> Configuration {
    file::parse("test", text, &mut Offline).unwrap_or_else(|error| panic!("{error}")).configuration
}

const BASE: &str = "crypto isakmp key k address 0.0.0.0 0.0.0.0
crypto ipsec transform-set ts esp-gcm
interface GigabitEthernet0/0
interface Loopback0
interface GigabitEthernet0/1
 crypto map m
";

fn map(entries: &str, lists: &str) -> Configuration {
    load(&format!("{BASE}{entries}{lists}"))
}

fn entry(seq: u32, peers: &[&str], list: &str) -> String {
    let peers: String = peers.iter().map(|peer| format!(" set peer {peer}\n")).collect();
    format!("crypto map m {seq} ipsec-isakmp\n{peers} set transform-set ts\n match address {list}\n")
}

#[test]
fn ports_permits_rules_and_tunnels_are_counted() {
    let configuration = map(
        &entry(1, &["10.1.1.1", "10.2.2.2"], "101"),
        "access-list 101 permit ip host 1.1.1.1 host 2.2.2.2
access-list 101 permit tcp host 1.1.1.1 neq 80 host 2.2.2.2 neq 90
access-list 101 deny udp host 1.1.1.1 host 2.2.2.2 neq 90
access-list 101 permit tcp host 1.1.1.1 lt 0 host 2.2.2.2
access-list 102 permit ip any any
",
    );
    let sizes = Sizes::of(&configuration);
    assert_eq!((sizes.interfaces, sizes.ports), (3, 2));
    assert_eq!((sizes.permits, sizes.tunnels, sizes.derived), (2, 4, 0));
    assert_eq!(sizes.rules(), 1 + 4 + 2);
    assert_eq!((sizes.lists[0].interface.as_str(), sizes.lists[0].map.as_str()), ("GigabitEthernet0/1", "m"));
}

#[test]
fn a_map_counts_on_each_interface_also_a_shut_one_and_an_incomplete_entry_needs_no_policy() {
    let lists = "access-list 101 permit ip host 1.1.1.1 host 2.2.2.2\n";
    let incomplete = "crypto map m 2 ipsec-isakmp\n match address 101\n";
    let second = "interface GigabitEthernet0/2\n crypto map m\n shutdown\n";
    let configuration = map(&format!("{}{incomplete}{second}", entry(1, &["10.1.1.1"], "101")), lists);
    let sizes = Sizes::of(&configuration);
    assert_eq!((sizes.interfaces, sizes.ports), (4, 2));
    assert_eq!((sizes.permits, sizes.tunnels, sizes.rules(), sizes.lists.len()), (2, 2, 4, 2));
}

#[test]
fn room_is_kept_for_what_comes_by_itself() {
    let lists = "access-list 101 permit ip any any\naccess-list 101 permit ip host 1.1.1.1 any\n";
    let dynamic = "crypto dynamic-map d 1\n set transform-set ts\n match address 101\n\
                   crypto map m 9 ipsec-isakmp dynamic d\n";
    let sizes = Sizes::of(&map(dynamic, lists));
    assert_eq!((sizes.permits, sizes.rules(), sizes.derived), (0, 2, MAX_TEMPORARIES));
    let hosts = entry(1, &["10.1.1.1"], "101") + " set security-association level per-host\n";
    let sizes = Sizes::of(&map(&hosts, lists));
    assert_eq!((sizes.permits, sizes.derived), (2, MAX_HOSTS_OF_ENTRY));
}

#[test]
fn more_interfaces_than_sockets_have_places_are_refused_with_the_number_that_fits() {
    let interfaces =
        |count: u64| -> String { (0..count).map(|n| format!("interface GigabitEthernet1/{n}\n")).collect() };
    let fits = interfaces(MAX_PORTS) + "interface GigabitEthernet2/0\n shutdown\ninterface Loopback1\n";
    assert!(file::parse("test", &fits, &mut Offline).is_ok());
    let refused = file::parse("test", &interfaces(MAX_PORTS + 1), &mut Offline).unwrap_err();
    assert!(refused.message.contains("65 interfaces carry packets, a gateway holds 64"), "{refused}");
}

#[test]
fn more_permits_or_rules_than_any_segments_hold_are_refused() {
    let list = |rules| ListSize { interface: InterfaceName::parse("Gi0/1").unwrap(), map: "m".into(), rules };
    let fits = Sizes { permits: MAX_PERMITS, lists: vec![list(MAX_RULES)], ..Sizes::default() };
    assert_eq!(fits.check(), Ok(()));
    let permits = Sizes { permits: MAX_PERMITS + 1, ..fits.clone() }.check().unwrap_err();
    assert!(permits.0.contains("1048577 permits"), "{}", permits.0);
    let rules = Sizes { lists: vec![list(MAX_RULES), list(1)], ..fits }.check().unwrap_err();
    assert!(rules.0.contains("8000001 rules"), "{}", rules.0);
}

#[test]
fn what_the_guard_cannot_compare_is_named_with_its_interface() {
    let lines = |count: u32| -> String {
        (0..count).map(|n| format!("access-list 101 permit tcp host 1.1.1.1 eq {n} host 2.2.2.2\n")).collect()
    };
    let most = u32::try_from(MAX_GUARD_RULES).unwrap();
    assert_eq!(notes(&map(&entry(1, &["10.1.1.1"], "101"), &lines(most))), Vec::<String>::new());
    let noted = notes(&map(&entry(1, &["10.1.1.1"], "101"), &lines(most + 1)));
    assert_eq!(noted.len(), 2, "{noted:?}");
    assert!(noted[0].contains("interface GigabitEthernet0/1 makes 8193 rules"), "{noted:?}");
    assert!(noted[1].contains("8193 rules, the kernel's guard has room for 8192"), "{noted:?}");
}

#[test]
fn prefixes_of_all_lists_in_use_are_counted_once() {
    let mut configuration = map(
        &entry(1, &["10.1.1.1"], "101"),
        "access-list 101 permit ip host 1.1.1.1 host 2.2.2.2
access-list 101 permit ip host 1.1.1.1 10.0.0.0 0.255.255.255
access-list 101 deny ip host 9.9.9.9 any
access-list 102 permit ip any any
",
    );
    assert_eq!(prefixes(&configuration), [(4, 3), (6, 0)]);
    configuration.interfaces.clear();
    assert_eq!(prefixes(&configuration), [(4, 0), (6, 0)]);
}
