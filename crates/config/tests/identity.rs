//! Parsing rendered output results in the same model, for random models.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use config::Configuration;
use config::edit::Environment;
use config::file;
use config::model::*;
use config::render::{Secrets, running_config};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

struct NoWorld;

impl Environment for NoWorld {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9_]{0,8}"
}

fn host_name() -> impl Strategy<Value = String> {
    "h[a-z0-9]{0,6}(\\.[a-z][a-z0-9]{0,4}){0,2}"
}

/// Keys that resemble type numbers or keywords, and any printable text.
fn key() -> impl Strategy<Value = Secret> {
    prop_oneof!["[!-~]{1,20}", Just("0".into()), Just("6".into()), Just("hex".into()), Just("local".into())]
        .prop_filter("a leading ! would be a comment only at the start of a line", |key| key != "******")
        .prop_map(Secret::new)
}

fn text() -> impl Strategy<Value = String> {
    "[a-z]([ a-zA-Z0-9|!?^]{0,20}[a-z])?"
}

fn address() -> impl Strategy<Value = IpAddr> {
    any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into())
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| Prefix::v4(Ipv4Addr::from(bits), length))
}

fn acl_address() -> impl Strategy<Value = AclAddress> {
    (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| {
        let mask = u32::from(Prefix::mask(length));
        AclAddress::new(Ipv4Addr::from(bits), Ipv4Addr::from(!mask))
    })
}

fn port() -> impl Strategy<Value = Option<PortMatch>> {
    option::of(prop_oneof![
        any::<u16>().prop_map(PortMatch::Equal),
        any::<u16>().prop_map(PortMatch::NotEqual),
        any::<u16>().prop_map(PortMatch::Greater),
        any::<u16>().prop_map(PortMatch::Less),
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortMatch::Range(a.min(b), a.max(b))),
    ])
}

fn rule() -> impl Strategy<Value = AclRule> {
    let icmp =
        option::of((any::<u8>(), option::of(any::<u8>())).prop_map(|(kind, code)| IcmpType { kind, code }));
    (
        any::<bool>(),
        option::of(any::<u8>()),
        acl_address(),
        port(),
        acl_address(),
        port(),
        icmp,
        (any::<bool>(), service()),
    )
        .prop_map(
            |(permit, protocol, source, source_port, destination, destination_port, icmp, (log, service))| {
                let has_ports = matches!(protocol, Some(6 | 17));
                AclRule {
                    action: if permit { AclAction::Permit } else { AclAction::Deny },
                    protocol,
                    source,
                    source_port: source_port.filter(|_| has_ports),
                    destination,
                    destination_port: destination_port.filter(|_| has_ports),
                    icmp: icmp.filter(|_| protocol == Some(1)),
                    options: AclOptions { log, service, ..AclOptions::default() },
                }
            },
        )
}

fn service() -> impl Strategy<Value = Option<ServiceMatch>> {
    option::of(prop_oneof![
        (0u8..64).prop_map(ServiceMatch::Dscp),
        (0u8..8).prop_map(ServiceMatch::Precedence)
    ])
}

fn access_groups() -> impl Strategy<Value = AccessGroups> {
    let list = || option::of(prop_oneof![(100u16..200).prop_map(|n| n.to_string()), name()]);
    (list(), list()).prop_map(|(inbound, outbound)| AccessGroups { inbound, outbound })
}

fn access_list() -> impl Strategy<Value = AccessList> {
    let line = prop_oneof![
        1 => text().prop_map(Err),
        4 => (1u32..50, rule()).prop_map(Ok),
    ];
    (vec(line, 1..8), any::<bool>()).prop_map(|(lines, plain)| {
        let mut list = AccessList::default();
        let mut sequence = 0;
        for line in lines {
            match line {
                Err(remark) => list.lines.push(AclLine::Remark(remark)),
                // A repeated line is a single rule; the model never has duplicates.
                Ok((_, rule)) if list.rules().any(|(_, have)| *have == rule) => {}
                Ok((step, rule)) => {
                    sequence += if plain { 10 } else { step };
                    list.lines.push(AclLine::Rule(sequence, rule));
                }
            }
        }
        list
    })
}

fn access_lists() -> impl Strategy<Value = BTreeMap<String, AccessList>> {
    let number = prop_oneof![
        (100u16..200).prop_map(|n| n.to_string()),
        (2000u16..2700).prop_map(|n| n.to_string()),
        name()
    ];
    btree_map(number, access_list(), 0..4)
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let one = prop_oneof![
        address().prop_map(PeerName::Address),
        (host_name(), any::<bool>()).prop_map(|(name, dynamic)| PeerName::Host { name, dynamic }),
    ];
    (vec(one, 0..5), any::<bool>()).prop_map(|(names, default)| {
        let mut peers: Vec<Peer> = Vec::new();
        for name in names {
            if !peers.iter().any(|have| have.name.same_peer(&name)) {
                peers.push(Peer { name, default: default && peers.is_empty() });
            }
        }
        peers
    })
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let kilobytes =
        prop_oneof![Just(KilobyteLimit::Disabled), (2560u32..).prop_map(KilobyteLimit::Kilobytes)];
    (option::of(120u32..86_400), option::of(kilobytes))
        .prop_map(|(seconds, kilobytes)| Lifetime { seconds, kilobytes })
}

fn replay() -> impl Strategy<Value = Option<Replay>> {
    let sizes = prop_oneof![Just(64), Just(128), Just(256), Just(512), Just(1024)].prop_map(Replay::Window);
    option::of(prop_oneof![Just(Replay::Disabled), sizes])
}

fn group() -> impl Strategy<Value = DhGroup> {
    (0..DhGroup::KNOWN.len()).prop_map(|index| DhGroup(DhGroup::KNOWN[index]))
}

fn reverse_route() -> impl Strategy<Value = Option<ReverseRoute>> {
    let route =
        (any::<bool>(), option::of(address()), option::of(1u8..), option::of(1u32..), option::of(address()));
    option::of(route.prop_map(|(static_routes, remote_peer, distance, tag, gateway)| ReverseRoute {
        static_routes,
        remote_peer,
        distance,
        tag,
        gateway,
    }))
}

fn body() -> impl Strategy<Value = EntryBody> {
    let idle = option::of(
        (60u32..=86_400, any::<bool>()).prop_map(|(seconds, to_default)| IdleTimer { seconds, to_default }),
    );
    let df = option::of(prop_oneof![Just(DfBit::Clear), Just(DfBit::Set), Just(DfBit::Copy)]);
    let sets = btree_map(name(), Just(()), 0..4).prop_map(|map| map.into_keys().collect());
    // Names that no generated access list has: those lists may contain conditions that a crypto map
    // cannot use.
    let list = option::of(name().prop_map(|name| format!("m-{name}")));
    let first = (option::of(text()), peers(), list, sets, idle, lifetime());
    let second =
        (replay(), df, option::of(group()), option::of(name().prop_map(Profile::Ikev2)), reverse_route());
    (first, second, access_groups()).prop_map(|(first, second, access_groups)| {
        let (description, peers, match_address, transform_sets, idle, lifetime) = first;
        let (replay, df_bit, pfs, profile, reverse_route) = second;
        EntryBody {
            description,
            peers,
            match_address,
            transform_sets,
            idle,
            lifetime,
            replay,
            df_bit,
            pfs,
            profile,
            reverse_route,
            access_groups,
            ..EntryBody::default()
        }
    })
}

fn crypto_map() -> impl Strategy<Value = CryptoMap> {
    let keying = prop_oneof![
        4 => Just(Keying::Isakmp),
        1 => (name(), any::<bool>()).prop_map(|(map, discover)| Keying::Dynamic { map, discover }),
    ];
    let entry = (keying, option::of(name()), body(), any::<bool>()).prop_map(
        |(keying, template_profile, body, per_host)| CryptoMapEntry {
            keying,
            template_profile,
            body: EntryBody { per_host, ..body },
        },
    );
    let local = option::of((0u8..4).prop_map(|n| InterfaceName::parse(&format!("Gi0/{n}")).unwrap()));
    (local, any::<bool>(), btree_map(1u16.., entry, 1..4)).prop_map(|(local_address, fail_close, entries)| {
        CryptoMap { local_address, fail_close, entries: entries.into_iter().collect(), kept: Vec::new() }
    })
}

fn transform_set() -> impl Strategy<Value = TransformSet> {
    let bits = || prop_oneof![Just(128u16), Just(192), Just(256)];
    let mac = || {
        prop_oneof![
            Just(EspMac::Md5),
            Just(EspMac::Sha1),
            Just(EspMac::Sha256),
            Just(EspMac::Sha384),
            Just(EspMac::Sha512)
        ]
    };
    let cipher = prop_oneof![
        Just(EspCipher::Des),
        Just(EspCipher::TripleDes),
        Just(EspCipher::Null),
        bits().prop_map(EspCipher::Aes),
        bits().prop_map(EspCipher::Gcm),
        bits().prop_map(EspCipher::Gmac),
        Just(EspCipher::ChaCha20Poly1305),
    ];
    let mode = prop_oneof![Just(Mode::Tunnel), Just(Mode::Transport), Just(Mode::TransportRequire)];
    (option::of(mac()), cipher, option::of(mac()), any::<bool>(), mode, any::<bool>()).prop_map(
        |(ah, cipher, mac, compression, mode, esn)| TransformSet {
            ah,
            cipher: Some(cipher),
            mac: mac.filter(|_| !cipher.is_combined()),
            compression,
            mode,
            esn,
        },
    )
}

fn mode() -> impl Strategy<Value = DpdMode> {
    prop_oneof![Just(DpdMode::OnDemand), Just(DpdMode::Periodic)]
}

fn isakmp_policy() -> impl Strategy<Value = IsakmpPolicy> {
    let encryption = prop_oneof![
        Just(IsakmpEncryption::Des),
        Just(IsakmpEncryption::TripleDes),
        prop_oneof![Just(128u16), Just(192), Just(256)].prop_map(IsakmpEncryption::Aes)
    ];
    let hash = prop_oneof![
        Just(IsakmpHash::Md5),
        Just(IsakmpHash::Sha1),
        Just(IsakmpHash::Sha256),
        Just(IsakmpHash::Sha512)
    ];
    let method = prop_oneof![Just(AuthenticationMethod::PreShare), Just(AuthenticationMethod::RsaSig)];
    (encryption, hash, method, group(), 60u32..=86_400).prop_map(
        |(encryption, hash, authentication, group, lifetime)| IsakmpPolicy {
            encryption,
            hash,
            authentication,
            group,
            lifetime,
        },
    )
}

fn isakmp(c: &mut Configuration, keepalive: Option<(u16, u16, DpdMode)>, keys: Vec<(Secret, Prefix, bool)>) {
    c.isakmp.keepalive = keepalive.map(|(interval, retry, mode)| Keepalive { interval, retry, mode });
    for (key, prefix, no_xauth) in keys {
        let peer = KeyAddress::Address(prefix);
        if !c.isakmp_keys.iter().any(|have| have.peer == peer) {
            c.isakmp_keys.push(IsakmpKey { key, peer, no_xauth });
        }
    }
}

fn interface() -> impl Strategy<Value = Interface> {
    let host = (1u8..=223, any::<u8>(), any::<u8>(), 1u8..=254)
        .prop_filter("loopback addresses are refused", |(a, ..)| *a != 127)
        .prop_map(|(a, b, c, d)| InterfaceAddress {
            address: Ipv4Addr::new(a, b, c, d).into(),
            length: 24,
            secondary: false,
        });
    let settings =
        (option::of(text()), option::of(host), any::<bool>(), option::of(68u16..=9216), option::of(name()));
    (settings, access_groups()).prop_map(
        |((description, address, shutdown, mtu, crypto_map), access_groups)| Interface {
            description,
            addresses: address.into_iter().collect(),
            shutdown,
            mtu,
            crypto_map,
            access_groups,
            ..Interface::default()
        },
    )
}

fn interfaces() -> impl Strategy<Value = BTreeMap<InterfaceName, Interface>> {
    let names = prop_oneof![
        (0u8..40).prop_map(|n| format!("GigabitEthernet0/{n}")),
        (0u8..9).prop_map(|n| format!("eth{n}")),
        Just("veth-branch".into())
    ];
    btree_map(names.prop_map(|n| InterfaceName::parse(&n).unwrap()), interface(), 0..4).prop_map(|mut map| {
        for (number, interface) in map.values_mut().enumerate() {
            interface.device = (number % 2 == 0).then(|| format!("dev{number}"));
        }
        map
    })
}

fn keyring() -> impl Strategy<Value = Ikev2Keyring> {
    let keys = (option::of(key()), option::of(key())).prop_map(|(local, remote)| Ikev2Key {
        local,
        remote,
        hex: false,
    });
    let ppk = option::of((name(), key(), any::<bool>()).prop_map(|(id, key, required)| KeyringPpk {
        id,
        key,
        hex: false,
        required,
    }));
    let peer = (option::of(text()), option::of(prefix()), option::of(host_name()), keys, ppk).prop_map(
        |(description, address, hostname, key, ppk)| KeyringPeer {
            description,
            address,
            hostname,
            identity: None,
            key,
            ppk,
        },
    );
    btree_map(name(), peer, 0..3).prop_map(|peers| Ikev2Keyring { peers })
}

fn ikev2_profile() -> impl Strategy<Value = Ikev2Profile> {
    let identity = prop_oneof![
        Just(RemoteIdentity::Any),
        prefix().prop_map(RemoteIdentity::Address),
        host_name().prop_map(RemoteIdentity::Fqdn),
        host_name().prop_map(RemoteIdentity::FqdnDomain),
        host_name().prop_map(RemoteIdentity::KeyId),
        host_name().prop_map(|name| RemoteIdentity::Dn(format!("CN={name},O=An Example"))),
    ];
    let own = option::of(prop_oneof![
        address().prop_map(|a| Identity::Address(Some(a))),
        host_name().prop_map(Identity::Fqdn),
        Just(Identity::Dn)
    ]);
    let dpd = option::of((10u16..=3600, 2u16..=60, mode()).prop_map(|(interval, retry, mode)| Ikev2Dpd {
        interval,
        retry,
        mode,
    }));
    (vec(identity, 0..3), own, option::of(name()), option::of(120u32..=86_400), dpd, any::<bool>()).prop_map(
        |(identities, local_identity, keyring, lifetime, dpd, initial_contact_force)| {
            let mut remote_identities = Vec::new();
            for identity in identities {
                if !remote_identities.contains(&identity) {
                    remote_identities.push(identity);
                }
            }
            Ikev2Profile {
                remote_identities,
                local_identity,
                local_authentication: Some(AuthenticationMethod::PreShare),
                remote_authentication: vec![AuthenticationMethod::PreShare, AuthenticationMethod::EcdsaSig],
                keyring,
                lifetime,
                dpd,
                initial_contact_force,
                trustpoints: vec![ProfileTrustpoint {
                    name: "TP".into(),
                    sign: initial_contact_force,
                    verify: true,
                }],
                ..Ikev2Profile::default()
            }
        },
    )
}

fn certificate() -> impl Strategy<Value = PkiCertificate> {
    (vec(any::<u8>(), 0..700), any::<u32>()).prop_map(|(body, serial)| {
        let length = (body.len() as u16).to_be_bytes();
        PkiCertificate {
            serial: format!("{serial:08X}"),
            der: [&[0x30, 0x82, length[0], length[1]][..], &body].concat(),
        }
    })
}

fn trustpoint() -> impl Strategy<Value = Trustpoint> {
    let revocation =
        prop_oneof![Just(RevocationCheck::Crl), Just(RevocationCheck::CrlNone), Just(RevocationCheck::None)];
    let pair = option::of((any::<bool>(), name(), option::of(360u16..=4096)));
    let certificates = (option::of(certificate()), vec(certificate(), 0..2));
    (revocation, pair, certificates, any::<bool>()).prop_map(|(revocation, pair, certificates, crl)| {
        Trustpoint {
            revocation,
            crl_files: if crl { vec!["/etc/ca.crl".into()] } else { vec![] },
            key_pair: pair.map(|(elliptic, label, bits)| KeyPair {
                elliptic,
                label,
                bits: bits.filter(|_| !elliptic),
            }),
            certificate: certificates.0,
            authorities: certificates.1,
            kept: vec!["enrollment terminal pem".into(), "subject-name CN=gw,O=Example".into()],
        }
    })
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let maps =
        (btree_map(name(), crypto_map(), 0..3), btree_map(name(), btree_map(1u16.., body(), 1..3), 0..2));
    let ike = (
        btree_map(1u16..=10_000, isakmp_policy(), 0..3),
        option::of((10u16..=3600, 2u16..=60, mode())),
        vec((key(), prefix(), any::<bool>()), 0..4),
        5u16..=600,
    );
    let ikev2 = (
        btree_map(name(), keyring(), 0..2),
        btree_map(name(), ikev2_profile(), 0..2),
        btree_map(name(), trustpoint(), 0..2),
    );
    let rest = (
        access_lists(),
        interfaces(),
        btree_map(name(), transform_set(), 0..3),
        lifetime(),
        option::of(60u32..=86_400),
        replay(),
    );
    let routes = vec((prefix(), address(), 1u8..), 0..4);
    (maps, ike, ikev2, rest, routes).prop_map(|(maps, ike, ikev2, rest, routes)| {
        let mut c = Configuration { crypto_maps: maps.0.into(), ..Configuration::default() };
        c.dynamic_maps = maps.1.into_iter().map(|(name, entries)| (name, DynamicMap { entries })).collect();
        c.isakmp_policies = ike.0.into();
        isakmp(&mut c, ike.1, ike.2);
        c.isakmp.give_up = ike.3;
        (c.ikev2_keyrings, c.ikev2_profiles, c.trustpoints) =
            (ikev2.0.into(), ikev2.1.into(), ikev2.2.into());
        (c.access_lists, c.interfaces, c.transform_sets) =
            (rest.0.into_iter().collect(), rest.1.into(), rest.2.into());
        (c.ipsec.lifetime, c.ipsec.idle_seconds, c.ipsec.replay) = (rest.3, rest.4, rest.5);
        for (prefix, gateway, distance) in routes {
            let next_hop = NextHop::Address(gateway);
            if !c.routes.iter().any(|have| have.prefix == prefix && have.next_hop == next_hop) {
                c.routes.push(Route { prefix, next_hop, distance });
            }
        }
        c
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_what_is_rendered_gives_the_model_back(mut model in configuration()) {
        // A running configuration is always settled.
        prop_assume!(config::commit::settle(&mut model).is_ok());
        let text = running_config(&model, Secrets::Shown);
        let loaded = file::parse("generated", &text, &mut NoWorld);
        let loaded = loaded.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&loaded.configuration, &model, "{}", text);
        prop_assert_eq!(running_config(&loaded.configuration, Secrets::Shown), text);
    }

    #[test]
    fn hidden_secrets_do_not_appear(model in configuration()) {
        let text = running_config(&model, Secrets::Hidden);
        for key in &model.isakmp_keys {
            let line = format!(" key {} ", key.key.expose());
            prop_assert!(!text.contains(&line), "{}", text);
        }
    }

    #[test]
    fn no_line_of_any_bytes_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = file::parse("noise", &text, &mut NoWorld);
        let _ = file::parse("noise", &format!("crypto map m 1 ipsec-isakmp\n{text}"), &mut NoWorld);
    }

    #[test]
    fn no_shuffled_keywords_make_the_parser_panic(words in vec(prop::sample::select(WORDS.to_vec()), 0..12)) {
        let line = words.join(" ");
        let _ = file::parse("noise", &line, &mut NoWorld);
        let _ = file::parse("noise", &format!("crypto map m 1 ipsec-isakmp\nno {line}\n{line}"), &mut NoWorld);
    }
}

const WORDS: &[&str] = &[
    "crypto",
    "map",
    "set",
    "peer",
    "10.1.1.1",
    "default",
    "dynamic",
    "no",
    "access-list",
    "101",
    "permit",
    "ip",
    "any",
    "host",
    "eq",
    "www",
    "range",
    "security-association",
    "idle-time",
    "120",
    "isakmp",
    "key",
    "0",
    "6",
    "address",
    "match",
    "ikev2",
    "profile",
    "interface",
    "gi",
    "0/1",
    "transform-set",
    "esp-gcm",
    "256",
    "lifetime",
    "seconds",
    "|",
    "!",
    "255.255.0.0",
];
