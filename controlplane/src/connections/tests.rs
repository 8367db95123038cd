//! Connections of small configurations, without a gateway.

use std::collections::BTreeMap;

use config::edit::Offline;
use config::model::InterfaceName;

use super::*;
use crate::compile::{PolicyNumbers, compile};
use crate::plan::{Device, Devices, PolicyKey};

/// Allocates IDs in the order of requests.
#[derive(Default)]
struct Numbers(BTreeMap<PolicyKey, PolicyId>);

impl PolicyNumbers for Numbers {
    fn number(&mut self, key: &PolicyKey) -> Option<PolicyId> {
        let next = PolicyId(u32::try_from(self.0.len()).unwrap());
        Some(*self.0.entry(key.clone()).or_insert(next))
    }
}

fn plan(lines: &str) -> Plan {
    let text = format!(
        "crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts esp-gcm
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
access-list 102 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255
{lines}interface GigabitEthernet0/1
 device outside
 crypto map m
"
    );
    let configuration = config::file::parse("test", &text, &mut Offline).unwrap().configuration;
    let device = Device { ifindex: 3, mtu: 1500, addresses: vec![[10, 9, 9, 9].into()], up: true };
    let devices = Devices::from([(InterfaceName::parse("Gi0/1").unwrap(), device)]);
    compile(&configuration, &devices, &mut Numbers::default())
}

const KEY: &str = "crypto isakmp key k address 10.1.1.1\n";

fn map(seq: u16, peer: &str, list: u16) -> String {
    format!(
        "crypto map m {seq} ipsec-isakmp\n set peer {peer}\n set transform-set ts\n match address {list}\n"
    )
}

fn rebuild(connections: &mut Connections, plan: &Plan) -> (Vec<Connection>, Vec<NoConnection>) {
    connections.rebuild(plan, "gateway", &Pki::default(), |_, peer| match peer {
        Peer::Address(address) => Some(*address),
        _ => None,
    })
}

fn peer() -> IpAddr {
    [10, 1, 1, 1].into()
}

#[test]
fn entries_that_share_a_peer_share_its_connection_in_their_order() {
    let plan = plan(&(KEY.to_owned() + &map(1, "10.1.1.1", 101) + &map(2, "10.1.1.1", 102)));
    let mut connections = Connections::default();
    let (built, refused) = rebuild(&mut connections, &plan);
    assert_eq!((built.len(), refused.len()), (1, 0));
    let meanings: Vec<_> = built[0].children.iter().map(|child| connections.meaning(child.tag)).collect();
    let policies: Vec<_> = plan.entries.values().flat_map(|entry| &entry.policies).collect();
    assert_eq!(policies.len(), 2);
    assert!(
        meanings.iter().zip(policies).all(|(meaning, policy)| *meaning == Some(Meaning::Policy(*policy)))
    );
    let ids: Vec<_> = plan.entries.values().map(|entry| connections.of_entry(entry, peer())).collect();
    assert_eq!(ids, [Some(built[0].id); 2]);
    let timing = connections.timing(built[0].id).unwrap();
    assert_eq!(timing.detection().as_secs(), 22);
}

#[test]
fn a_peer_without_a_key_has_no_connection_and_the_remedy_is_named() {
    let plan = plan(&map(1, "10.1.1.1", 101));
    let mut connections = Connections::default();
    let (built, refused) = rebuild(&mut connections, &plan);
    assert!(built.is_empty() && connections.is_empty());
    assert_eq!(refused, [NoConnection::NoKey(peer())]);
    assert!(refused[0].to_string().contains("crypto isakmp key K address 10.1.1.1"));
    let entry = plan.entries.values().next().unwrap();
    assert_eq!(connections.of_entry(entry, peer()), None);
}

#[test]
fn a_connection_keeps_its_number_and_stays_for_its_deletes_when_it_goes() {
    let whole = plan(&(KEY.to_owned() + &map(1, "10.1.1.1", 101)));
    let mut connections = Connections::default();
    let id = rebuild(&mut connections, &whole).0[0].id;
    let entry = whole.entries.values().next().unwrap();

    rebuild(&mut connections, &Plan::default());
    assert!(connections.get(id).is_some_and(|relation| relation.stale));
    assert_eq!(connections.of_entry(entry, peer()), None, "nothing new is begun over it");
    connections.keep_used(&BTreeSet::from([id]));
    assert!(connections.drop_stale().is_empty(), "it has an IKE SA");
    rebuild(&mut connections, &Plan::default());
    assert_eq!(connections.drop_stale(), [id]);
    assert_eq!(connections.len(), 0);

    assert_eq!(rebuild(&mut connections, &whole).0[0].id, id, "the number comes back with the entry");
}

#[test]
fn peers_that_nobody_named_come_behind_all_others() {
    let dynamic = "crypto isakmp key j address 0.0.0.0 0.0.0.0
crypto dynamic-map d 1
 set transform-set ts
 match address 102
crypto map m 2 ipsec-isakmp dynamic d
";
    let plan = plan(&(KEY.to_owned() + &map(1, "10.1.1.1", 101) + dynamic));
    let mut connections = Connections::default();
    rebuild(&mut connections, &plan);
    let (named, unknown): (Vec<_>, Vec<_>) =
        connections.iter().partition(|relation| relation.key.unknown.is_none());
    assert_eq!(named.len(), 1);
    assert!(!unknown.is_empty() && unknown.iter().all(|one| one.connection.id > named[0].connection.id));
    let tags = unknown.iter().flat_map(|one| &one.connection.children).map(|child| child.tag);
    for tag in tags {
        assert!(matches!(connections.meaning(tag), Some(Meaning::Template(_))));
        assert_eq!(policy(tag), None, "no policy has that number");
    }
    assert_eq!(connections.meaning(ChildTag(u64::MAX)), None);
}
