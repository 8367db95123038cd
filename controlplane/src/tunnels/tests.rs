//! Tests of IKE SAs and pairs without a gateway: what ends together, also with a dead peer.

use std::time::Duration;

use config::model::InterfaceName;
use ike::{IkeInfo, Time};
use sa_table::PolicyId;

use super::*;
use crate::plan::{EntryKey, Peer};

const PEER: &str = "10.1.1.1:500";

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn entry(seq: u32) -> EntryKey {
    EntryKey { interface: InterfaceName::parse("Gi0/1").unwrap(), map: "m".into(), seq }
}

fn info(ike: u64, connection: u64) -> IkeInfo {
    IkeInfo {
        ike: IkeId(ike),
        connection: ConnectionId(connection),
        initiator: true,
        local_spi: ike,
        remote_spi: ike,
        local: "10.9.9.9:500".parse().unwrap(),
        remote: PEER.parse().unwrap(),
        local_identity: None,
        remote_identity: Some(ike::Identity::Fqdn("hub.example".into())),
        local_method: None,
        remote_method: None,
        suite: None,
        nat_local: false,
        nat_remote: false,
        fragmentation: true,
        established: true,
        since: Time::ZERO,
        rekey_at: None,
        hard_limit: None,
        children: Vec::new(),
    }
}

fn pair(ike: Option<u64>, seq: u32) -> SaPair {
    let facts = PairFacts {
        inbound_spi: 1,
        outbound_spi: 2,
        suite: ike::EspSuite {
            encryption: ike::Encryption::AesGcm128,
            integrity: None,
            esn: true,
            group: None,
        },
        mode: ike::Mode::Tunnel,
        local_selectors: Vec::new(),
        remote_selectors: Vec::new(),
        local: [10, 9, 9, 9].into(),
        remote: [10, 1, 1, 1].into(),
        udp: None,
        hard_limit: None,
    };
    SaPair::new(ike.map(IkeId), entry(seq), PolicyId(seq), facts, Vec::new())
}

fn attempt(ike: u64, seq: u32) -> Attempt {
    let peer = Peer::Address([10, 1, 1, 1].into());
    Attempt { entry: entry(seq), peer, policy: PolicyId(seq), ike: IkeId(ike), again: false }
}

fn keepalive() -> Option<Timing> {
    Some(Timing::keepalive(10, 2, Mode::Periodic))
}

/// An IKE SA with two pairs, and one that is still being negotiated.
fn tunnels() -> Tunnels {
    let mut tunnels = Tunnels::default();
    tunnels.ike_up(s(0), &info(1, 7), keepalive());
    tunnels.insert_pair(ChildId(1), pair(Some(1), 1));
    tunnels.insert_pair(ChildId(2), pair(Some(1), 2));
    tunnels.insert_pair(ChildId(FIRST_ADOPTED), pair(None, 3));
    tunnels.begin_ike(IkeId(2), ConnectionId(8), "10.2.2.2:500".parse().unwrap());
    tunnels
}

fn seen(stamps: (u64, u64), heard: Option<Duration>, packets: u64) -> Seen {
    Seen { stamps, heard, sent: None, packets }
}

#[test]
fn a_dead_peer_is_reported_once_with_everything_that_ended_with_it() {
    let mut tunnels = tunnels();
    tunnels.begin_attempt(attempt(1, 4));
    assert_eq!(tunnels.detection_deadline(), Some(s(10)));
    let mut probes = 0;
    let dead = loop {
        let now = tunnels.detection_deadline().unwrap();
        match tunnels.detect(now).pop() {
            Some(Detected::Probe { ike, interval, .. }) => {
                assert_eq!((ike, interval, now), (IkeId(1), s(2), s(10)));
                probes += 1;
            }
            Some(Detected::PeerDead(ended)) => break (now, ended),
            None => {}
        }
    };
    let (now, ended) = dead;
    assert_eq!((now, probes), (s(22), 1), "the endpoint repeats the one probe that it is asked for");
    assert_eq!((ended.ike, ended.remote.to_string().as_str()), (IkeId(1), PEER));
    assert_eq!(ended.pairs.iter().map(|(child, _)| child.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(ended.attempts, [attempt(1, 4)]);
    assert!(tunnels.end_ike(IkeId(1)).is_none(), "the endpoint's report of its end finds nothing");
    assert_eq!((tunnels.ike_count(), tunnels.pair_count()), (1, 1));
    assert_eq!(tunnels.detection_deadline(), None);
    assert!(tunnels.usable_ike(ConnectionId(7)).is_none());
}

#[test]
fn esp_that_is_heard_answers_a_probe() {
    let mut tunnels = tunnels();
    assert!(matches!(tunnels.detect(s(10))[..], [Detected::Probe { .. }]));
    assert!(tunnels.is_probing(IkeId(1)));
    let observed = tunnels.observe(ChildId(1), &seen((11_000, 0), Some(s(11)), 1)).unwrap();
    assert_eq!((observed.alive, observed.news), (Some(IkeId(1)), Some(entry(1))));
    assert_eq!(tunnels.detection_deadline(), Some(s(21)));
    let again = tunnels.observe(ChildId(1), &seen((11_000, 0), Some(s(11)), 1)).unwrap();
    assert_eq!(again.news, None, "the session knows it");
    tunnels.peer_heard(IkeId(1), s(12));
    assert!(!tunnels.is_probing(IkeId(1)));
}

#[test]
fn a_pair_is_rekeyed_once_and_only_if_it_is_used() {
    let mut tunnels = tunnels();
    assert!(!tunnels.soft_limit(ChildId(1), false), "an unused pair is left to expire");
    assert!(!tunnels.observe(ChildId(1), &seen((0, 0), None, 0)).unwrap().rekey);
    assert!(tunnels.observe(ChildId(1), &seen((5, 5), None, 3)).unwrap().rekey, "there is traffic again");
    assert!(!tunnels.observe(ChildId(1), &seen((6, 6), None, 4)).unwrap().rekey);
    assert!(!tunnels.begin_rekey(ChildId(1)), "under way");
    assert!(tunnels.begin_rekey(ChildId(2)) && !tunnels.soft_limit(ChildId(2), true));
    let adopted = ChildId(FIRST_ADOPTED);
    assert!(!tunnels.begin_rekey(adopted), "the keys of its IKE SA are not known here");
    assert!(tunnels.begin_replacement(adopted) && !tunnels.begin_replacement(adopted));
}

#[test]
fn what_belongs_to_an_ike_sa_follows_its_successor() {
    let mut tunnels = tunnels();
    tunnels.begin_attempt(attempt(1, 4));
    tunnels.ike_rekeyed(IkeId(1), &info(5, 7));
    assert_eq!(tunnels.pairs_under(IkeId(5)), [ChildId(1), ChildId(2)]);
    assert!(tunnels.pairs_under(IkeId(1)).is_empty() && tunnels.ike(IkeId(1)).is_none());
    assert_eq!(tunnels.attempts(), [attempt(5, 4)]);
    assert_eq!(tunnels.usable_ike(ConnectionId(7)), Some(IkeId(5)));
    assert_eq!(tunnels.detection_deadline(), Some(s(10)), "detection goes on");
    tunnels.remove_pair(ChildId(1));
    assert_eq!(tunnels.ike_of_last_pair(ChildId(2)), Some(IkeId(5)));
}

#[test]
fn an_initiation_that_nobody_wants_any_more_leaves_no_ike_sa_behind() {
    let mut tunnels = tunnels();
    let peer = Peer::Address([10, 1, 1, 1].into());
    for attempt in [attempt(2, 1), attempt(2, 2), attempt(1, 3)] {
        tunnels.begin_attempt(attempt);
    }
    assert!(tunnels.abandon(&entry(1), &peer).is_empty(), "the other entry waits for it");
    assert_eq!(tunnels.abandon(&entry(2), &peer), [IkeId(2)]);
    assert!(tunnels.abandon(&entry(3), &peer).is_empty(), "it is established");
    assert!(tunnels.attempts().is_empty());
}

#[test]
fn pairs_follow_a_peer_that_moved_and_those_that_cannot_are_replaced() {
    let mut tunnels = tunnels();
    let (local, remote) = ("10.9.9.9:4500".parse().unwrap(), "10.4.4.4:4500".parse().unwrap());
    let (moved, outdated) = tunnels.peer_moved(IkeId(1), (local, remote), false);
    assert_eq!((moved.len(), outdated.len()), (2, 0));
    assert_eq!(tunnels.pair(ChildId(1)).unwrap().facts().remote, remote.ip());
    assert_eq!(tunnels.ike(IkeId(1)).unwrap().remote(), remote);
    let (_, outdated) = tunnels.peer_moved(IkeId(1), (local, remote), true);
    assert_eq!(outdated, [ChildId(1), ChildId(2)]);
    assert!(!tunnels.begin_rekey(ChildId(1)));
}

#[test]
fn a_keepalive_line_that_goes_ends_detection() {
    let mut tunnels = tunnels();
    tunnels.set_timing(IkeId(1), None);
    assert_eq!(tunnels.detection_deadline(), None);
    tunnels.set_timing(IkeId(2), keepalive());
    assert_eq!(tunnels.detection_deadline(), None, "it is not established");
}
