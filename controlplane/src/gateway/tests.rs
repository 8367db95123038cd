//! Tests of the gateway alone: peer names, limits, refusals. Whole networks are simulated in
//! `tests/failover_simulated.rs`.

mod edits;

use std::time::Duration;

use config::model::InterfaceName;
use ike::{EndpointConfig, RandomSpis, SystemRandom};
use sa_table::{Event, FiveTuple, Segments};

use super::*;
use crate::names::Answer;
use crate::plan::Device;
use config::edit::Offline;

mod room;

const NOW: Duration = Duration::from_secs(100);

fn text(peers: &str) -> String {
    format!(
        "crypto isakmp key k address 0.0.0.0 0.0.0.0
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto ipsec transform-set ts esp-gcm
crypto map tohub 1 ipsec-isakmp
{peers} set transform-set ts
 match address 101
interface GigabitEthernet0/1
 device outside
 crypto map tohub
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
"
    )
}

fn gateway(segments: &Segments, configuration: &str) -> Gateway {
    let endpoint =
        Endpoint::new(EndpointConfig::default(), Box::new(SystemRandom), Box::new(RandomSpis::default()));
    let memory = Memory::default();
    let table = Tables::new(segments.table_writer().unwrap(), segments.runtime_reader().unwrap(), &memory);
    let mut gateway = Gateway::new(endpoint, table, Scale::default(), memory);
    let loaded = config::file::parse("test", configuration, &mut Offline).unwrap();
    let device = Device { ifindex: 3, mtu: 1500, addresses: vec!["10.9.9.9".parse().unwrap()], up: true };
    let devices = Devices::from([(InterfaceName::parse("Gi0/1").unwrap(), device)]);
    gateway.configure(NOW, loaded.configuration, devices);
    gateway
}

fn packet(gateway: &mut Gateway, now: Duration) {
    let policy = *gateway.plan.policies.keys().next().unwrap();
    let flow = FiveTuple {
        source: "192.168.1.1".parse().unwrap(),
        destination: "192.168.2.1".parse().unwrap(),
        protocol: 1,
        source_port: 0,
        destination_port: 0,
    };
    gateway.handle_event(now, &Event::Acquire { policy, flow });
}

/// Destinations of IKE datagrams, resolved names and messages.
fn outputs(gateway: &mut Gateway) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut sent, mut asked, mut said) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(output) = gateway.poll_output() {
        match output {
            Output::Transmit(transmit) => sent.push(transmit.to.to_string()),
            Output::Resolve(name) => asked.push(name),
            Output::Log(message) => said.push(message.to_string()),
            Output::Route(_) | Output::IkeLog(_) => {}
        }
    }
    (sent, asked, said)
}

#[test]
fn a9_a_name_is_resolved_at_each_initiation_and_its_failure_leads_to_the_next_peer() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway =
        gateway(&segments, &text(" set peer hub1.example dynamic default\n set peer 10.2.2.2\n"));
    packet(&mut gateway, NOW);
    let (sent, asked, _) = outputs(&mut gateway);
    assert_eq!((sent, asked), (vec![], vec!["hub1.example".to_owned()]));
    packet(&mut gateway, NOW);
    assert!(outputs(&mut gateway).1.is_empty(), "asked once while the answer is under way");
    gateway.resolved(NOW, "hub1.example", answer(&["2001:db8::1"], 0));
    let (sent, _, said) = outputs(&mut gateway);
    assert_eq!(sent, ["10.2.2.2:500"], "an address of the other family is none");
    assert!(said.iter().any(|text| text.contains("does not resolve")), "{said:?}");
}

#[test]
fn a9_the_answer_itself_starts_ike() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway =
        gateway(&segments, &text(" set peer hub1.example dynamic default\n set peer 10.2.2.2\n"));
    packet(&mut gateway, NOW);
    outputs(&mut gateway);
    gateway.resolved(NOW, "hub1.example", answer(&["10.7.7.7"], 0));
    assert_eq!(outputs(&mut gateway).0, ["10.7.7.7:500"]);
}

fn answer(addresses: &[&str], ttl: u64) -> Result<Answer, NameError> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Ok(Answer { addresses, ttl: Duration::from_secs(ttl) })
}

/// Waits until the initiation is given up, as the default timers do for a peer that does not
/// answer.
fn give_up(gateway: &mut Gateway, mut now: Duration) -> Duration {
    while !gateway.tunnels.attempts().is_empty() && gateway.failed.is_empty() {
        let before = gateway.tunnels.attempts().to_vec();
        // As the service loop does; a pending checkpoint would otherwise be due at once.
        let _ = gateway.checkpoint(now);
        now = gateway.deadline().max(now);
        gateway.handle_timeout(now);
        if gateway.tunnels.attempts() != before {
            break;
        }
    }
    now
}

#[test]
fn a_dynamic_name_is_asked_anew_when_its_ttl_has_passed_or_its_address_failed() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer hub1.example dynamic\n"));
    packet(&mut gateway, NOW);
    gateway.resolved(NOW, "hub1.example", answer(&["10.7.7.7"], 3600));
    assert_eq!(outputs(&mut gateway).0, ["10.7.7.7:500"]);
    let now = give_up(&mut gateway, NOW) + Duration::from_secs(1);
    outputs(&mut gateway);
    packet(&mut gateway, now);
    let (sent, asked, _) = outputs(&mut gateway);
    assert_eq!((sent, asked), (vec![], vec!["hub1.example".to_owned()]), "the address failed: asked anew");
    gateway.resolved(now, "hub1.example", answer(&["10.8.8.8"], 3600));
    assert_eq!(outputs(&mut gateway).0, ["10.8.8.8:500"], "it has moved");
}

#[test]
fn a_name_service_that_stalls_is_a_failed_initiation_after_ten_seconds() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway =
        gateway(&segments, &text(" set peer hub1.example dynamic default\n set peer 10.2.2.2\n"));
    packet(&mut gateway, NOW);
    outputs(&mut gateway);
    let limit = NOW + crate::names::PATIENCE;
    gateway.handle_timeout(limit - Duration::from_millis(1));
    assert!(outputs(&mut gateway).0.is_empty());
    assert!(gateway.deadline() <= limit);
    gateway.handle_timeout(limit);
    let (sent, _, said) = outputs(&mut gateway);
    assert_eq!(sent, ["10.2.2.2:500"]);
    assert!(
        said.iter().any(|text| text.contains("does not answer") && text.contains("hub1.example")),
        "{said:?}"
    );
    // A late answer is used for the next initiation and changes nothing now.
    gateway.resolved(limit, "hub1.example", answer(&["10.7.7.7"], 60));
    assert!(outputs(&mut gateway).0.is_empty());
}

#[test]
fn an_answer_full_of_lies_leads_to_the_next_peer_and_each_lie_is_explained() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway =
        gateway(&segments, &text(" set peer hub1.example dynamic default\n set peer 10.2.2.2\n"));
    packet(&mut gateway, NOW);
    outputs(&mut gateway);
    gateway.resolved(NOW, "hub1.example", answer(&["0.0.0.0", "127.0.0.1", "224.0.0.5", "10.9.9.9"], 60));
    let (sent, _, said) = outputs(&mut gateway);
    assert_eq!(sent, ["10.2.2.2:500"]);
    for reason in ["0.0.0.0 is not used", "loopback", "multicast", "our own address", "can be used"] {
        assert!(said.iter().any(|text| text.contains(reason)), "{reason}: {said:?}");
    }
}

#[test]
fn a_name_without_dynamic_is_resolved_at_load_and_keeps_its_address() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer hub1.example\n"));
    assert_eq!(outputs(&mut gateway).1, ["hub1.example"], "asked as soon as the configuration is loaded");
    gateway.resolved(NOW, "hub1.example", answer(&["10.7.7.7"], 1));
    // The name service has a new answer now, but the gateway must not query again.
    let now = NOW + Duration::from_secs(1000);
    packet(&mut gateway, now);
    let (sent, asked, _) = outputs(&mut gateway);
    assert_eq!((sent, asked), (vec!["10.7.7.7:500".to_owned()], vec![]));
    let now = give_up(&mut gateway, now) + Duration::from_secs(20);
    outputs(&mut gateway);
    gateway.resolved(now, "hub1.example", answer(&["10.8.8.8"], 60));
    packet(&mut gateway, now);
    let (sent, asked, _) = outputs(&mut gateway);
    assert_eq!((sent, asked), (vec!["10.7.7.7:500".to_owned()], vec![]), "also after it has failed");
    // Only configuring the name again causes a query.
    assert!(gateway.specify(now, "hub1.example", &answer(&["10.8.8.8"], 60)));
    assert_eq!(
        gateway.names.address_of(&Peer::Fixed("hub1.example".into()), false),
        Some("10.8.8.8".parse().unwrap())
    );
}

#[test]
fn a_name_that_did_not_resolve_at_load_is_tried_again_when_it_is_needed() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer hub1.example default\n set peer 10.2.2.2\n"));
    gateway.resolved(NOW, "hub1.example", Err(NameError::NotFound));
    outputs(&mut gateway);
    packet(&mut gateway, NOW);
    assert_eq!(outputs(&mut gateway).1, ["hub1.example"]);
    gateway.resolved(NOW, "hub1.example", answer(&["10.7.7.7"], 60));
    assert_eq!(outputs(&mut gateway).0, ["10.7.7.7:500"]);
}

#[test]
fn a_typed_name_that_resolves_to_nothing_usable_is_refused() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.2.2.2\n"));
    outputs(&mut gateway);
    assert!(!gateway.specify(NOW, "hub1.example", &answer(&["127.0.0.1"], 60)));
    assert!(!gateway.specify(NOW, "hub1.example", &Err(NameError::Off)));
    let said = outputs(&mut gateway).2;
    assert!(said.iter().any(|text| text.contains("loopback")), "{said:?}");
    assert!(said.iter().any(|text| text.contains("ip domain lookup")), "{said:?}");
}

#[test]
fn the_domain_name_is_appended_to_a_short_name_of_an_ip_host_line() {
    let segments = Segments::in_memory().unwrap();
    let hosts = "ip domain name example.net\nip host user1.example.net 10.1.1.1\n".to_owned()
        + &text(" set peer user1 dynamic\n");
    let mut gateway = gateway(&segments, &hosts);
    packet(&mut gateway, NOW);
    assert_eq!(outputs(&mut gateway).0, ["10.1.1.1:500"]);
}

#[test]
fn a9_an_ip_host_line_needs_nobody() {
    let segments = Segments::in_memory().unwrap();
    let hosts = "ip host user1 10.1.1.1\n".to_owned() + &text(" set peer user1 default\n");
    let mut gateway = gateway(&segments, &hosts);
    packet(&mut gateway, NOW);
    let (sent, asked, _) = outputs(&mut gateway);
    assert_eq!((sent, asked), (vec!["10.1.1.1:500".to_owned()], vec![]));
}

#[test]
fn a_peer_without_key_is_a_failed_initiation_and_says_the_remedy() {
    let segments = Segments::in_memory().unwrap();
    let keyless = text(" set peer 10.1.1.1 default\n set peer 10.2.2.2\n")
        .replace("key k address 0.0.0.0 0.0.0.0", "key k address 10.2.2.2");
    let mut gateway = gateway(&segments, &keyless);
    let (_, _, said) = outputs(&mut gateway);
    assert!(said.iter().any(|text| text.contains("crypto isakmp key K address 10.1.1.1")), "{said:?}");
    packet(&mut gateway, NOW);
    assert_eq!(outputs(&mut gateway).0, ["10.2.2.2:500"]);
}

#[test]
fn unknown_spis_are_reported_within_a_limit() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    outputs(&mut gateway);
    let event = Event::UnknownSpi {
        spi: 0xdead_beef,
        source: "192.0.2.1".parse().unwrap(),
        destination: "10.9.9.9".parse().unwrap(),
    };
    for _ in 0..10_000 {
        gateway.handle_event(NOW, &event);
    }
    let (sent, _, said) = outputs(&mut gateway);
    assert!(sent.is_empty(), "an unauthenticated packet starts nothing");
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said[0].contains("spi=0xDEADBEEF(3735928559)"), "{}", said[0]);
}

#[test]
fn garbage_on_the_ike_ports_changes_nothing() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    outputs(&mut gateway);
    let (from, to) = ("10.1.1.1:500".parse().unwrap(), "10.9.9.9:500".parse().unwrap());
    for length in 0..200 {
        gateway.handle_datagram(NOW, from, to, &vec![0x5a; length]);
    }
    assert_eq!(outputs(&mut gateway), (vec![], vec![], vec![]));
    assert_eq!((gateway.tunnels.ike_count(), gateway.tunnels.pair_count()), (0, 0));
}

const MANUAL: &str = "crypto ipsec transform-set ts esp-aes 256 esp-sha256-hmac
crypto map tohub 1 ipsec-manual
 set peer 10.1.1.1
 set session-key inbound esp 500 cipher 1111111111111111111111111111111111111111111111111111111111111111 authenticator 2222222222222222222222222222222222222222222222222222222222222222
 set session-key outbound esp 501 cipher 3333333333333333333333333333333333333333333333333333333333333333 authenticator 4444444444444444444444444444444444444444444444444444444444444444
 set transform-set ts
 match address 101
interface GigabitEthernet0/1
 device outside
 crypto map tohub
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
";

fn configure(gateway: &mut Gateway, configuration: &str) {
    let loaded = config::file::parse("test", configuration, &mut Offline).unwrap();
    let devices = gateway.devices().clone();
    gateway.configure(NOW, loaded.configuration, devices);
}

#[test]
fn a_hand_keyed_pair_stands_without_ike_and_shows_no_key() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, MANUAL);
    let reader = segments.table_reader().unwrap();
    let slot = reader.lookup_spi(500).unwrap();
    let inbound = reader.inbound(slot).unwrap();
    assert_eq!((inbound.replay_window, inbound.esn), (0, false), "RFC 4303 §3.4.3");
    assert_eq!(inbound.keys.both_keys(), [[0x11; 32], [0x22; 32]].concat());
    let outbound = reader.outbound(reader.inbound_peer(slot).unwrap()).unwrap();
    assert_eq!((outbound.spi, outbound.keys.encryption_key()), (501, &[0x33; 32][..]));
    assert!(gateway.peers.is_empty() && gateway.connections.is_empty(), "no IKE, no detection, no fail-over");
    packet(&mut gateway, NOW);
    assert_eq!(outputs(&mut gateway), (vec![], vec![], vec![]));
    let command = config::command::ShowCommand::CryptoIpsecSa {
        filter: config::command::Filter::default(),
        detail: true,
    };
    let text = gateway.show(NOW, &command).unwrap_or_default();
    assert!(text.contains("esp-256-aes esp-sha256-hmac") && text.contains("0x1F4(500)"), "{text}");
    assert!(text.contains("replay detection support: N"), "{text}");
    assert!(!text.contains("1111") && !text.contains("3333"), "{text}");
}

#[test]
fn a_hand_keyed_pair_goes_on_until_its_lines_change() {
    let segments = Segments::in_memory().unwrap();
    let mut first = gateway(&segments, MANUAL);
    let reader = segments.table_reader().unwrap();
    let slot = reader.lookup_spi(500).unwrap();
    configure(&mut first, &MANUAL.replace("crypto map tohub 1", "hostname other\ncrypto map tohub 1"));
    assert_eq!(reader.lookup_spi(500), Some(slot), "an edit elsewhere disturbs nothing");

    // A new control plane: the pair and its sequence numbers continue.
    let memory = Memory::decode(&first.checkpoint(NOW).unwrap()).unwrap();
    drop(first);
    let table = Tables::new(segments.table_writer().unwrap(), segments.runtime_reader().unwrap(), &memory);
    let endpoint =
        Endpoint::new(EndpointConfig::default(), Box::new(SystemRandom), Box::new(RandomSpis::default()));
    let mut second = Gateway::new(endpoint, table, Scale::default(), memory);
    let loaded = config::file::parse("test", MANUAL, &mut Offline).unwrap();
    let device = Device { ifindex: 3, mtu: 1500, addresses: vec!["10.9.9.9".parse().unwrap()], up: true };
    let devices = Devices::from([(InterfaceName::parse("Gi0/1").unwrap(), device)]);
    second.configure(NOW, loaded.configuration, devices);
    assert_eq!(reader.lookup_spi(500), Some(slot), "a restart disturbs nothing");
    let policy = *second.plan.policies.keys().next().unwrap();
    assert!(reader.policy_word(policy).is_some());

    configure(&mut second, &MANUAL.replace("cipher 1111", "cipher 5111"));
    let other = reader.lookup_spi(500).unwrap();
    assert_ne!(other, slot);
    assert_eq!(reader.inbound(other).unwrap().keys.encryption_key()[0], 0x51);
    configure(&mut second, &MANUAL.replace(" set peer 10.1.1.1\n", ""));
    assert_eq!(reader.lookup_spi(500), None);
    assert!(!reader.is_live_inbound(other));
}

#[test]
fn hand_keys_that_cannot_be_used_drop_what_they_should_protect() {
    let segments = Segments::in_memory().unwrap();
    let gcm = MANUAL.replace("esp-aes 256 esp-sha256-hmac", "esp-gcm 256");
    let loaded = config::file::parse("test", &gcm, &mut Offline);
    assert!(
        loaded.is_err() || {
            let mut gateway = gateway(&segments, &gcm);
            let said = outputs(&mut gateway).2;
            gateway.plan.policies.is_empty() && said.iter().any(|text| text.contains("repeat nonces"))
        }
    );
    let mut gateway = gateway(&segments, &MANUAL.replace("esp-sha256-hmac", "esp-sha512-hmac"));
    let (_, _, said) = outputs(&mut gateway);
    assert!(said.iter().any(|text| text.contains("64 octets")), "{said:?}");
    assert!(gateway.plan.policies.is_empty(), "the permit is dropped, not protected and not let through");
    assert!(gateway.plan.rules.iter().flatten().all(|rule| rule.action == sa_table::Action::Drop));
}
