use core::net::IpAddr;

use proptest::prelude::*;

use super::*;

pub(crate) const POLICIES: usize = 16;

fn prefix(is_v6: bool) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0..=if is_v6 { 128u8 } else { 32 }).prop_map(move |(bits, length)| Prefix {
        address: if is_v6 { IpAddr::V6(bits.into()) } else { IpAddr::V4((bits as u32).into()) },
        length,
    })
}

fn ports() -> impl Strategy<Value = PortRange> {
    any::<(u16, u16)>().prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) })
}

/// A rule for any position in a list but the last.
pub(crate) fn arbitrary_rule(jump: u32) -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        (0..POLICIES as u32).prop_map(|policy| Action::Protect(PolicyId(policy))),
        Just(Action::Jump(jump)),
        Just(Action::Drop),
    ];
    (
        any::<bool>().prop_flat_map(|is_v6| (prefix(is_v6), prefix(is_v6))),
        any::<Option<u8>>(),
        ports(),
        ports(),
        action,
    )
        .prop_map(|((source, destination), protocol, source_ports, destination_ports, action)| Rule {
            source,
            destination,
            protocol,
            source_ports,
            destination_ports,
            action,
        })
}

pub(crate) fn arbitrary_port(lists: u32) -> impl Strategy<Value = PortRecord> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ];
    (
        any::<(u16, u32, u32, bool, bool, bool)>(),
        "[a-z0-9.-]{0,15}",
        "[A-Za-zäö0-9/]{0,31}",
        proptest::collection::vec(address, 0..=MAX_CRYPTO_ADDRESSES),
        proptest::option::of(0..lists),
    )
        .prop_map(
            |(
                (id, ifindex, mtu, has_crypto_map, is_shut, fail_close),
                device,
                ios_name,
                crypto_addresses,
                rule_list,
            )| {
                PortRecord {
                    id,
                    ifindex,
                    device,
                    ios_name,
                    mtu,
                    has_crypto_map,
                    is_shut,
                    fail_close,
                    crypto_addresses,
                    rule_list,
                }
            },
        )
}

proptest! {
    #[test]
    fn rules_survive_as_words(rule in arbitrary_rule(5)) {
        let mut words = [0; RuleWords::WORDS];
        encode_rule(&mut words, &rule, 2, 5, POLICIES).unwrap();
        prop_assert_eq!(decode_rule(&words, 2, 5, POLICIES), Ok(rule));
    }

    #[test]
    fn ports_survive_as_words(port in arbitrary_port(3)) {
        let mut words = [0; PortWords::WORDS];
        encode_port(&mut words, &port, 3).unwrap();
        prop_assert_eq!(decode_port(&words, 3), Ok(port));
    }

    #[test]
    fn arbitrary_words_never_panic(words in proptest::collection::vec(any::<u64>(), 0..PortWords::WORDS + 2), narrow: bool) {
        if let Ok(rule) = decode_rule(&words, 2, 5, POLICIES) {
            prop_assert!(check_rule(&rule, 2, 5, POLICIES).is_ok());
        }
        let mut words = words;
        if narrow && words.len() > PortWords::bits {
            words[PortWords::bits] &= 0x1f0f_0f07;
            words[PortWords::mtu_rules] &= !0xffff_fffc;
        }
        let _ = decode_port(&words, 3);
    }
}

fn rule(action: Action) -> Rule {
    let any = Prefix { address: IpAddr::V4(0.into()), length: 0 };
    Rule {
        source: any,
        destination: any,
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action,
    }
}

#[test]
fn jumps_lead_forward_and_end_behind_the_last_rule() {
    let encode = |target| encode_rule(&mut [0; 6], &rule(Action::Jump(target)), 2, 5, POLICIES);
    assert_eq!(encode(2), Err(EntryError::Jump(2)));
    assert_eq!((encode(3), encode(5)), (Ok(()), Ok(())));
    assert_eq!(encode(6), Err(EntryError::Jump(6)));
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    let encode = |rule: &Rule| encode_rule(&mut [0; 6], rule, 0, 1, POLICIES).unwrap_err();
    let good = rule(Action::Drop);
    let six = Prefix { address: IpAddr::V6(0.into()), length: 0 };
    assert_eq!(encode(&Rule { source: six, ..good }), EntryError::MixedFamilies);
    let long = Prefix { length: 33, ..good.source };
    assert_eq!(encode(&Rule { destination: long, ..good }), EntryError::PrefixLength(33));
    assert_eq!(
        encode(&Rule { source_ports: PortRange { first: 2, last: 1 }, ..good }),
        EntryError::PortRange
    );
    assert_eq!(encode(&rule(Action::Protect(PolicyId(16)))), EntryError::Policy(PolicyId(16)));
}

#[test]
fn ports_that_do_not_fit_are_refused() {
    let good = PortRecord {
        id: 1,
        ifindex: 2,
        device: "eth0".into(),
        ios_name: "GigabitEthernet0/0".into(),
        mtu: 1500,
        has_crypto_map: true,
        crypto_addresses: vec![],
        rule_list: Some(0),
        ..PortRecord::default()
    };
    let encode = |port: &PortRecord| encode_port(&mut [0; PortWords::WORDS], port, 1);
    assert_eq!(encode(&good), Ok(()));
    let long = PortRecord { device: "x".repeat(16), ..good.clone() };
    assert!(matches!(
        encode(&long),
        Err(EntryError::NameTooLong { what: "device name", given: 16, most: 15 })
    ));
    let many = PortRecord { crypto_addresses: vec![IpAddr::V4(0.into()); 17], ..good.clone() };
    assert_eq!(encode(&many), Err(EntryError::TooManyAddresses { given: 17, most: 16 }));
    let dangling = PortRecord { rule_list: Some(1), ..good };
    assert_eq!(encode(&dangling), Err(EntryError::RuleList { list: 1, lists: 1 }));
}
