use proptest::prelude::*;

use super::*;
use ipsec_types::EspAlgorithm;

fn arbitrary_keys() -> impl Strategy<Value = KeyMaterial> {
    (proptest::sample::select(&EspAlgorithm::ALL), any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 4]>())
        .prop_map(|(algorithm, encryption, integrity, salt)| {
            let integrity = [integrity, encryption].concat();
            KeyMaterial::new(
                algorithm,
                &encryption[..algorithm.cipher_key_len()],
                &integrity[..algorithm.integrity_key_len()],
                &salt[..algorithm.salt_len()],
            )
            .unwrap()
        })
}

fn same_family() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| (IpAddr::V4(a.into()), IpAddr::V4(b.into()))),
        any::<(u128, u128)>().prop_map(|(a, b)| (IpAddr::V6(a.into()), IpAddr::V6(b.into()))),
    ]
}

fn end() -> impl Strategy<Value = TrafficSelector> {
    (same_family(), any::<u32>()).prop_map(|((first, last), ports)| TrafficSelector {
        addresses: AddressRange { first, last },
        ports: PortRange::from_bits(ports),
    })
}

fn selectors() -> impl Strategy<Value = Selectors> {
    let pair = (any::<Option<u8>>(), end(), end()).prop_map(|(protocol, local, remote)| SelectorPair {
        protocol,
        local,
        remote,
    });
    proptest::collection::vec(pair, 1..=MAX_SELECTOR_PAIRS).prop_map(|pairs| Selectors::new(&pairs).unwrap())
}

fn encapsulation() -> impl Strategy<Value = Encapsulation> {
    any::<Option<(u16, u16)>>().prop_map(|ports| {
        ports.map_or(Encapsulation::None, |(local_port, remote_port)| Encapsulation::Udp {
            local_port,
            remote_port,
        })
    })
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    any::<[u64; 6]>().prop_map(|v| Lifetime {
        soft_packets: v[0],
        hard_packets: v[1],
        soft_bytes: v[2],
        hard_bytes: v[3],
        soft_deadline_ms: v[4],
        hard_deadline_ms: v[5],
    })
}

prop_compose! {
    fn arbitrary_outbound()(
        (source, destination) in same_family(),
        (spi, policy, esn, transport, path_mtu, peer) in any::<(u32, u32, bool, bool, u32, u64)>(),
        encapsulation in encapsulation(),
        keys in arbitrary_keys(),
        selectors in selectors(),
        lifetime in lifetime(),
        df in proptest::sample::select(vec![DfPolicy::Copy, DfPolicy::Set, DfPolicy::Clear]),
        dscp in proptest::option::of(0u8..64),
    ) -> OutboundSaRecord {
        OutboundSaRecord {
            spi, source, destination, encapsulation, keys, esn, selectors, path_mtu, df, lifetime,
            mode: if transport { Mode::Transport } else { Mode::Tunnel },
            dscp: dscp.map_or(DscpPolicy::Copy, DscpPolicy::Fixed),
            policy: PolicyId(policy),
            peer: SlotWord::from_raw(peer),
        }
    }
}

prop_compose! {
    fn arbitrary_inbound()(
        (local, peer_address) in same_family(),
        (spi, policy, esn, transport, replay_window, peer) in any::<(u32, u32, bool, bool, u32, u64)>(),
        encapsulation in encapsulation(),
        keys in arbitrary_keys(),
        selectors in selectors(),
        lifetime in lifetime(),
    ) -> InboundSaRecord {
        InboundSaRecord {
            spi, local, peer_address, encapsulation, keys, esn, selectors, replay_window, lifetime,
            mode: if transport { Mode::Transport } else { Mode::Tunnel },
            policy: PolicyId(policy),
            peer: SlotWord::from_raw(peer),
        }
    }
}

proptest! {
    #[test]
    fn outbound_records_survive_as_words(record in arbitrary_outbound()) {
        prop_assert_eq!(OutboundSaRecord::decode(&record.encode().unwrap()), Some(record.clone()));
        prop_assert_eq!(PeerEndpoint::decode(record.endpoint().encode()), record.endpoint());
    }

    #[test]
    fn inbound_records_survive_as_words(record in arbitrary_inbound()) {
        let words = record.encode().unwrap();
        prop_assert_eq!(InboundSaRecord::decode(&words), Some(record));
        prop_assert_eq!(OutboundSaRecord::decode(&words), None, "the directions are not mixed up");
    }

    #[test]
    fn arbitrary_words_never_panic(
        words in proptest::collection::vec(any::<u64>(), SaRecord::WORDS),
        algorithm in proptest::sample::select(&EspAlgorithm::ALL),
        flags: u32,
        count in 0u64..10,
    ) {
        let mut record = RecordWords::new([0; SaRecord::WORDS]);
        record.copy_from_slice(&words);
        let _ = (OutboundSaRecord::decode(&record), InboundSaRecord::decode(&record));
        record[SaRecord::bits] = u64::from(number(algorithm)) | u64::from(flags) << 16;
        record[SaRecord::selector_count] = count;
        let _ = (OutboundSaRecord::decode(&record), InboundSaRecord::decode(&record));
    }
}

#[test]
fn contradictions_are_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let record = proptest::strategy::ValueTree::current(&arbitrary_outbound().new_tree(&mut runner).unwrap());
    let four: IpAddr = "192.0.2.1".parse().unwrap();
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let mixed = OutboundSaRecord { source: four, destination: six, ..record.clone() };
    assert_eq!(mixed.encode().err(), Some(RecordError::MixedFamilies("the outer header")));
    let dscp = OutboundSaRecord { dscp: DscpPolicy::Fixed(64), ..record.clone() };
    assert_eq!(dscp.encode().err(), Some(RecordError::Dscp(64)));
    let mut pair = *record.selectors.iter().next().unwrap();
    pair.local.addresses = AddressRange { first: four, last: six };
    let range = OutboundSaRecord { selectors: Selectors::single(pair), ..record };
    assert_eq!(range.encode().err(), Some(RecordError::MixedFamilies("the address range of a selector")));
}
