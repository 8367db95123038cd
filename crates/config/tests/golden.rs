//! The show output compared with layouts that unmodified third-party parsers of device output
//! accept. The files in `golden/` are byte-exact, including trailing blanks.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::command::Filter;
use config::edit::Environment;
use config::render_show::*;

struct NoWorld;

impl Environment for NoWorld {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

const CONFIGURATION: &str = "
hostname R1
crypto ipsec transform-set ts esp-aes 256 esp-sha256-hmac
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
crypto map tohub 1 ipsec-isakmp
 set peer 10.1.1.1
 set peer 10.2.2.2
 set security-association idle-time 120 default
 set transform-set ts
 match address 101
interface GigabitEthernet0/1
 crypto map tohub
";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ident(address: &str) -> Ident {
    Ident { address: ip(address), length: 24, protocol: 0, port: 0 }
}

#[track_caller]
fn assert_golden(text: &str, golden: &str) {
    for (number, (a, b)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(a, b, "line {}", number + 1);
    }
    assert_eq!(text, golden);
}

#[test]
fn crypto_map_is_golden_and_names_the_default_peer_on_a_line_of_its_own() {
    let mut configuration = config::file::parse("t", CONFIGURATION, &mut NoWorld).unwrap().configuration;
    let mut current = BTreeMap::new();
    current.insert(("tohub".to_string(), 1), "10.1.1.1".to_string());
    let text = crypto_map(&configuration, &Filter::default(), &current, &[]);
    assert_golden(&text, include_str!("golden/show_crypto_map.txt"));

    let entry = configuration.crypto_maps.get_mut("tohub").unwrap().entries.get_mut(&1).unwrap();
    entry.body.peers[0].default = true;
    let text = crypto_map(&configuration, &Filter::default(), &BTreeMap::new(), &[]);
    assert!(text.contains("\tPeer = 10.1.1.1\n\tPeer = 10.2.2.2\n\tDefault peer: 10.1.1.1\n"), "{text}");
    assert!(!text.contains("Current peer"), "absent until a peer was selected");

    configuration.crypto_maps.get_mut("tohub").unwrap().fail_close = true;
    let text = crypto_map(&configuration, &Filter::default(), &BTreeMap::new(), &[]);
    assert!(
        text.contains("\tFail-close: what it protects is dropped wherever it is not in force\n"),
        "{text}"
    );
}

#[test]
fn isakmp_sa_is_golden() {
    let sa = IsakmpSaView {
        destination: ip("10.1.1.1"),
        source: ip("10.9.9.9"),
        state: "QM_IDLE".into(),
        connection_id: 1001,
        deleted: false,
        encryption: "aes".into(),
        hash: "sha256".into(),
        authentication: "psk".into(),
        group: 14,
        lifetime_left: 86_232,
        capabilities: "D".into(),
    };
    assert_golden(
        &isakmp_sa(std::slice::from_ref(&sa), false),
        include_str!("golden/show_crypto_isakmp_sa.txt"),
    );
    assert_golden(&isakmp_sa(&[sa], true), include_str!("golden/show_crypto_isakmp_sa_detail.txt"));
}

#[test]
fn ikev2_sa_is_golden() {
    let sa = Ikev2SaView {
        tunnel_id: 1,
        local: (ip("10.9.9.9"), 500),
        remote: (ip("10.1.1.1"), 500),
        status: "READY".into(),
        encryption: "AES-CBC".into(),
        key_size: 256,
        prf: "SHA512".into(),
        hash: "SHA512".into(),
        group: 19,
        auth_sign: "PSK".into(),
        auth_verify: "PSK".into(),
        lifetime: 86_400,
        active: 168,
        session_id: 1,
        local_spi: 0x4CF8_7E32_B253_02C0,
        remote_spi: 0x9625_4131_FD30_6002,
        status_description: "Negotiation done".into(),
        local_id: "10.9.9.9".into(),
        remote_id: "10.1.1.1".into(),
        local_message_id: 2,
        remote_message_id: 0,
        window: 5,
        dpd: Some((10, 2)),
        fragmentation: false,
        nat: false,
        initiator: true,
    };
    assert_golden(
        &ikev2_sa(std::slice::from_ref(&sa), false),
        include_str!("golden/show_crypto_ikev2_sa.txt"),
    );
    assert_golden(&ikev2_sa(&[sa], true), include_str!("golden/show_crypto_ikev2_sa_detail.txt"));
}

#[test]
fn ipsec_sa_is_golden() {
    let sa = |spi, connection_id| IpsecSaView {
        spi,
        transform: "esp-256-aes esp-sha256-hmac".into(),
        transport: false,
        udp: false,
        connection_id,
        kilobytes_left: Some(4_607_999),
        seconds_left: 3401,
        iv_size: 16,
        replay_window: Some(64),
    };
    let flow = IpsecFlowView {
        local_ident: ident("192.168.1.0"),
        remote_ident: ident("192.168.2.0"),
        peer: Some((ip("10.1.1.1"), 500)),
        counters: FlowCounters { encrypted: 4, decrypted: 4, ..FlowCounters::default() },
        local_endpoint: ip("10.9.9.9"),
        path_mtu: 1500,
        plaintext_mtu: 1438,
        pfs_group: None,
        inbound: vec![sa(0x658F_7C11, 1)],
        outbound: vec![sa(0x397C_36EE, 2)],
    };
    let view = InterfaceSasView {
        interface: "GigabitEthernet0/1".into(),
        mtu: 1500,
        map: "tohub".into(),
        local_address: ip("10.9.9.9"),
        flows: vec![flow],
    };
    assert_golden(
        &ipsec_sa(std::slice::from_ref(&view), false),
        include_str!("golden/show_crypto_ipsec_sa.txt"),
    );
    assert_golden(&ipsec_sa(&[view], true), include_str!("golden/show_crypto_ipsec_sa_detail.txt"));
    assert_eq!(ipsec_sa(&[], false), "No SAs found\n");
}

#[test]
fn session_is_golden() {
    let life = FlowLife { packets: 4, drops: 0, kilobytes_left: Some(4_607_999), seconds_left: 3401 };
    let session = SessionView {
        interface: "GigabitEthernet0/1".into(),
        uptime: Some(168),
        status: SessionStatus::UpActive,
        peer: (ip("10.1.1.1"), 500),
        phase1_id: Some("10.1.1.1".into()),
        description: None,
        ike: Some(IkeSessionView {
            version: 1,
            local: (ip("10.9.9.9"), 500),
            remote: (ip("10.1.1.1"), 500),
            active: true,
            capabilities: "D".into(),
            connection_id: 1001,
            lifetime_left: 86_232,
        }),
        flows: vec![SessionFlowView {
            local: ident("192.168.1.0"),
            remote: ident("192.168.2.0"),
            active_sas: 2,
            dynamic: false,
            inbound: life,
            outbound: life,
        }],
    };
    let one = std::slice::from_ref(&session);
    assert_golden(&crypto_session(one, false, false), include_str!("golden/show_crypto_session.txt"));
    assert_golden(&crypto_session(one, true, false), include_str!("golden/show_crypto_session_detail.txt"));
    assert!(crypto_session(one, false, true).contains("10.1.1.1           GigabitEthernet0/1"));
}
