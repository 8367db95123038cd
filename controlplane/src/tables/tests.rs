//! The order of table writes, on real segments in memory.

use config::model::InterfaceName;
use ike::{ChildHalf, ConnectionId, EspSuite, IkeId, Secret};
use sa_table::{FiveTuple, RuntimeWriter, Segments, TableReader, WorkerId};

use super::*;
use crate::checkpoint::{Memory, StoredPair};
use crate::plan::EntryKey;

struct Setup {
    segments: Segments,
    reader: TableReader,
    workers: RuntimeWriter,
    tables: Tables,
}

fn setup() -> Setup {
    let segments = Segments::in_memory().unwrap();
    let tables =
        Tables::new(segments.table_writer().unwrap(), segments.runtime_reader().unwrap(), &Memory::default());
    Setup {
        reader: segments.table_reader().unwrap(),
        workers: segments.runtime_writer().unwrap(),
        tables,
        segments,
    }
}

fn key(seq: u16) -> PolicyKey {
    let interface = InterfaceName::parse("Gi0/1").unwrap();
    let selector = |text: &str| vec![ike::TrafficSelector::prefix(text.parse().unwrap(), 24)];
    PolicyKey {
        entry: EntryKey { interface, map: "tohub".into(), seq: seq.into() },
        local: selector("192.168.1.0"),
        remote: selector("192.168.2.0"),
    }
}

fn child(number: u64, encryption: ike::Encryption) -> InstallChild {
    let half = |spi| ChildHalf {
        spi,
        encryption_key: Secret::new(vec![spi as u8; encryption.key_len()]),
        salt: Secret::new(vec![1; encryption.salt_len()]),
        integrity_key: Secret::default(),
    };
    InstallChild {
        ike: IkeId(1),
        child: ChildId(number),
        connection: ConnectionId(1),
        tag: ike::ChildTag(0),
        initiator: true,
        replaces: None,
        inbound: half(0x1000 + number as u32),
        outbound: half(0x2000 + number as u32),
        outbound_ready: true,
        suite: EspSuite { encryption, integrity: None, esn: true, group: None },
        mode: ike::Mode::Tunnel,
        local_selectors: key(1).local,
        remote_selectors: key(1).remote,
        local: "10.9.9.9".parse().unwrap(),
        remote: "10.1.1.1".parse().unwrap(),
        udp_encapsulation: None,
        tfc_padding_refused: false,
        soft_limit: None,
        hard_limit: Some(ike::Time::from_millis(3_600_000)),
    }
}

fn parameters(policy: PolicyId) -> PairParameters {
    PairParameters { policy, replay_window: 64, df: DfPolicy::Copy, bytes: 1 << 30, path_mtu: 1500 }
}

fn install(setup: &mut Setup, number: u64, policy: PolicyId) {
    let child = child(number, ike::Encryption::AesGcm128);
    setup.tables.install(&child, &parameters(policy), Scale::default(), Duration::from_secs(1)).unwrap();
}

#[test]
fn a_pair_receives_before_it_sends() {
    let mut setup = setup();
    let policy = setup.tables.number(&key(1)).unwrap();
    install(&mut setup, 1, policy);
    let inbound = setup.reader.lookup_spi(0x1001).unwrap();
    assert_eq!(setup.reader.policy_word(policy), None, "nothing is sent yet");
    setup.tables.bind(policy, Some(ChildId(1))).unwrap();
    let outbound = setup.reader.policy_word(policy).unwrap();
    assert_eq!(setup.reader.inbound_peer(inbound), Some(outbound));
    let record = setup.reader.outbound(outbound).unwrap();
    assert_eq!((record.spi, record.lifetime.hard_deadline_ms), (0x2001, 3_600_000));
    assert_eq!(setup.tables.pair_of(outbound, false), Some(ChildId(1)));
}

#[test]
fn a_replaced_pair_drains_inbound_and_its_keys_go() {
    let mut setup = setup();
    let policy = setup.tables.number(&key(1)).unwrap();
    install(&mut setup, 1, policy);
    install(&mut setup, 2, policy);
    setup.tables.bind(policy, Some(ChildId(2))).unwrap();
    let old = setup.reader.lookup_spi(0x1001).unwrap();
    setup.tables.remove(ChildId(1), true, 10_000);
    setup.tables.tick(10_000 + DRAIN - 1);
    assert!(setup.reader.is_live_inbound(old), "packets may still be under way");
    setup.tables.tick(10_000 + DRAIN);
    assert!(!setup.reader.is_live_inbound(old));
    assert_eq!(setup.reader.lookup_spi(0x1001), None);
    assert!(setup.reader.policy_word(policy).is_some(), "the flow is not interrupted");
}

#[test]
fn what_the_data_plane_cannot_do_is_refused_whole() {
    let mut setup = setup();
    let policy = setup.tables.number(&key(1)).unwrap();
    let mut odd = child(1, ike::Encryption::AesCbc128);
    odd.suite.integrity = None;
    let result = setup.tables.install(&odd, &parameters(policy), Scale::default(), Duration::ZERO);
    assert!(matches!(result, Err(InstallError::Algorithm)));
    assert_eq!(setup.reader.lookup_spi(0x1001), None);
}

#[test]
fn a_refused_outbound_half_leaves_no_inbound_half() {
    let mut setup = setup();
    let policy = setup.tables.number(&key(1)).unwrap();
    install(&mut setup, 1, policy);
    // The same outbound keys under another inbound SPI: a key must not be used twice.
    let mut twice = child(1, ike::Encryption::AesGcm128);
    (twice.child, twice.inbound.spi) = (ChildId(7), 0x1007);
    let result = setup.tables.install(&twice, &parameters(policy), Scale::default(), Duration::from_secs(1));
    assert!(matches!(result, Err(InstallError::Table(_))));
    assert_eq!(setup.reader.lookup_spi(0x1007), None);
}

#[test]
fn an_answered_request_counts_again_when_traffic_renews_it() {
    let mut setup = setup();
    let policy = setup.tables.number(&key(1)).unwrap();
    let flow = FiveTuple {
        source: "192.168.1.1".parse().unwrap(),
        destination: "192.168.2.1".parse().unwrap(),
        protocol: 1,
        source_port: 0,
        destination_port: 0,
    };
    assert!(setup.tables.acquires().is_empty());
    setup.workers.raise_acquire(policy, &flow, 1_000);
    assert_eq!(asking(&mut setup.tables), [policy]);
    setup.tables.drop_held(policy);
    assert!(setup.tables.acquires().is_empty());
    setup.workers.raise_acquire(policy, &flow, 2_500);
    assert_eq!(asking(&mut setup.tables), [policy]);
}

#[test]
fn policies_keep_their_number_until_rules_without_them_are_in_force() {
    let mut setup = setup();
    let (first, second) = (setup.tables.number(&key(1)).unwrap(), setup.tables.number(&key(2)).unwrap());
    assert_ne!(first, second);
    assert_eq!(setup.tables.number(&key(1)), Some(first));
    setup.tables.publish(&[], &[], &Filters::default()).unwrap();
    setup.tables.forget_policies(|policy| policy == first);
    setup.workers.announce_policy(WorkerId(0), setup.reader.policy_version());
    setup.tables.tick(1);
    assert_eq!(setup.tables.numbers().map(|(_, id)| id).collect::<Vec<_>>(), [first]);
    assert!(setup.tables.bind(second, None).is_err(), "it was given back");
}

#[test]
fn a_new_control_plane_keeps_what_it_remembers_and_retires_the_rest() {
    let mut old = setup();
    let policy = old.tables.number(&key(1)).unwrap();
    install(&mut old, 1, policy);
    install(&mut old, 2, policy);
    old.tables.bind(policy, Some(ChildId(1))).unwrap();
    let slots = old.tables.slots(ChildId(1)).unwrap();
    let peer = crate::plan::Peer::Address("10.1.1.1".parse().unwrap());
    let stored = StoredPair::new(&key(1).entry, policy.0, peer, slots);
    let memory = Memory::new(
        vec![crate::checkpoint::StoredPolicy::of(&key(1), policy.0)],
        vec![stored.clone()],
        Vec::new(),
    );
    let mut new =
        Tables::new(old.segments.table_writer().unwrap(), old.segments.runtime_reader().unwrap(), &memory);
    assert_eq!(old.reader.policy_word(policy), Some(slots.1), "the flow goes on meanwhile");
    assert_eq!(new.number(&key(1)), Some(policy));
    assert!(new.adopt(ChildId(9), &stored));
    new.retire_strangers();
    assert!(old.reader.lookup_spi(0x1001).is_some());
    assert_eq!(old.reader.lookup_spi(0x1002), None, "the second pair was retired");

    let forgetful = Tables::new(
        old.segments.table_writer().unwrap(),
        old.segments.runtime_reader().unwrap(),
        &Memory::default(),
    );
    assert_eq!(old.reader.policy_word(policy), None, "held, not sent in clear");
    assert_eq!(old.reader.lookup_spi(0x1001), None);
    drop(forgetful);
}

#[test]
fn no_configuration_lets_aes_encrypt_more_than_its_blocks_allow() {
    let mut setup = setup();
    let policy = setup.tables.number(&key(1)).unwrap();
    let mut limits = |number, encryption, bytes| {
        let parameters = PairParameters { bytes, ..parameters(policy) };
        let child = child(number, encryption);
        setup.tables.install(&child, &parameters, Scale::default(), Duration::ZERO).unwrap();
        let slot = setup.reader.lookup_spi(child.inbound.spi).unwrap();
        setup.reader.inbound(slot).unwrap().lifetime
    };
    let tebibyte = 1 << 40;
    let unlimited = limits(1, ike::Encryption::AesGcm256, 0);
    assert_eq!(unlimited.hard_bytes, tebibyte);
    assert!(unlimited.soft_bytes > tebibyte / 2 && unlimited.soft_bytes < tebibyte);
    assert_eq!(limits(2, ike::Encryption::AesGcm128, 4 * tebibyte).hard_bytes, tebibyte);
    assert_eq!(limits(3, ike::Encryption::AesGcm128, 1 << 32).hard_bytes, 1 << 32);
    let chacha = limits(4, ike::Encryption::ChaCha20Poly1305, 0);
    assert_eq!((chacha.soft_bytes, chacha.hard_bytes), (0, 0));
    let gmac = limits(5, ike::Encryption::AesGmac128, 0);
    assert_eq!((gmac.hard_bytes, gmac.hard_packets), (0, 1 << 36));
    assert!(gmac.soft_packets > 0 && gmac.soft_packets < 1 << 36);
}

fn asking(tables: &mut Tables) -> Vec<PolicyId> {
    tables.acquires().into_iter().map(|(policy, _)| policy).collect()
}
