//! Failover without sockets and real time: a branch, two hubs and a link that can be cut, under a
//! virtual clock.

#![allow(clippy::expect_used, reason = "a simulation that cannot be set up has failed")]

mod simulated;

use std::time::Duration;

use simulated::{Network, Wire};

const BRANCH: usize = 0;
const HUB1: usize = 1;
const HUB2: usize = 2;
const GIVE_UP: u64 = 30;

fn branch(peers: &str, rest: &str) -> String {
    format!(
        "hostname branch
crypto ike give-up {GIVE_UP}
crypto logging session
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key simulated address 10.1.1.1
crypto isakmp key simulated address 10.2.2.2
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts esp-gcm
crypto map tohub 1 ipsec-isakmp
{peers}{rest} set transform-set ts
 match address 101
interface GigabitEthernet0/1
 device outside
 crypto map tohub
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
"
    )
}

const DEFAULT: &str = " set peer 10.1.1.1 default\n set peer 10.2.2.2\n";
const NO_DEFAULT: &str = " set peer 10.1.1.1\n set peer 10.2.2.2\n";
const IDLE_DEFAULT: &str = " set security-association idle-time 120 default\n";
const IDLE: &str = " set security-association idle-time 120\n";

fn hub(rest: &str) -> String {
    format!(
        "hostname hub
crypto ike give-up {GIVE_UP}
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key simulated address 10.9.9.9
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts esp-gcm
crypto map tohub 1 ipsec-isakmp
 set peer 10.9.9.9
{rest} set transform-set ts
 match address 101
 reverse-route
interface GigabitEthernet0/1
 device outside
 crypto map tohub
access-list 101 permit ip 192.168.2.0 0.0.0.255 192.168.1.0 0.0.0.255
"
    )
}

fn network(seed: u64, branch: String) -> Network {
    Network::new(seed, &[("10.9.9.9", branch), ("10.1.1.1", hub("")), ("10.2.2.2", hub(""))])
}

fn current(network: &Network) -> Option<String> {
    network.gateways[BRANCH].current_peer(network.now)
}

fn pairs(network: &Network, gateway: usize, peer: &str) -> u32 {
    network.gateways[gateway].pairs_with(network.now, peer)
}

/// Brings the tunnel up with hub1 and cuts hub1, so that hub2 takes over; returns the detection
/// time and the length of the outage.
fn fail_over(network: &mut Network) -> (Duration, Duration) {
    network.traffic_until(60, |network| network.answered > 0);
    network.traffic(20);
    assert_eq!(current(network).as_deref(), Some("10.1.1.1"));
    network.gateways[HUB1].cut = true;
    let cut = network.now;
    let received = network.gateways[HUB2].received;
    network.traffic_until(200, |network| network.gateways[HUB2].received > received);
    let dead = network.gateways[BRANCH].said(cut, &["SESSION_STATUS", "DOWN", "10.1.1.1"]).expect("a DOWN");
    assert_eq!(current(network).as_deref(), Some("10.2.2.2"));
    (dead - cut, network.now - cut)
}

#[test]
fn traffic_raises_the_tunnel_and_routes_follow() {
    let mut network = network(1, branch(DEFAULT, IDLE_DEFAULT));
    network.silence(100);
    assert_eq!(current(&network), None, "nothing happens before the first packet");
    let took = network.traffic_until(5, |network| network.answered > 0);
    assert!(took < Duration::from_secs(1), "the first packet was answered after {took:?}");
    assert_eq!(current(&network).as_deref(), Some("10.1.1.1"));
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 1);
    assert_eq!(pairs(&network, HUB1, "10.9.9.9"), 1);
    assert!(network.gateways[HUB1].routes.contains("192.168.1.0/24"));
    assert!(network.gateways[HUB2].routes.is_empty());
}

#[test]
fn the_main_job_fails_over_stays_and_comes_home() {
    let mut network = network(2, branch(DEFAULT, IDLE_DEFAULT));
    let (detection, outage) = fail_over(&mut network);
    let bounds = Duration::from_secs(20)..=Duration::from_millis(22_200);
    assert!(bounds.contains(&detection), "N+5M..N+6M, was {detection:?}");
    assert!(outage >= detection + Duration::from_secs(GIVE_UP), "the default is tried first: {outage:?}");
    assert!(outage <= detection + Duration::from_secs(GIVE_UP + 2), "{outage:?}");
    let change = ["PEER_CHANGE", "10.1.1.1 -> 10.2.2.2", "init-fail"];
    assert_eq!(network.gateways[BRANCH].count(&change), 1);
    network.traffic(30);
    assert!(network.gateways[HUB1].routes.is_empty(), "hub1's own detection took its route away");
    assert!(network.gateways[HUB2].routes.contains("192.168.1.0/24"));

    network.gateways[HUB1].cut = false;
    let (log, received) = (network.gateways[BRANCH].log.len(), network.gateways[HUB1].received);
    network.traffic(3000);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"), "a healthy peer is not left");
    assert_eq!(network.gateways[HUB1].received, received);
    assert_eq!(network.gateways[BRANCH].log.len(), log, "{}", network.log_text(BRANCH));

    network.silence(119);
    assert_eq!(pairs(&network, BRANCH, "10.2.2.2"), 1);
    network.silence(12);
    assert_eq!(pairs(&network, BRANCH, "10.2.2.2"), 0, "idled out");
    assert_eq!(pairs(&network, HUB2, "10.9.9.9"), 0, "the hub was notified");
    assert!(network.gateways[HUB2].routes.is_empty());
    assert_eq!(network.gateways[BRANCH].count(&["10.2.2.2 -> 10.1.1.1", "idle-default"]), 1);
    let answered = network.answered;
    network.traffic_until(5, |network| network.answered > answered);
    assert_eq!(current(&network).as_deref(), Some("10.1.1.1"), "home");
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 1);
}

#[test]
fn without_default_the_outage_is_the_detection_alone() {
    let mut network = network(3, branch(NO_DEFAULT, IDLE));
    let (detection, outage) = fail_over(&mut network);
    assert!(outage <= detection + Duration::from_secs(2), "{outage:?}");
    assert_eq!(network.gateways[BRANCH].count(&["PEER_CHANGE", "reason dpd"]), 1);
}

#[test]
fn scenario_4_without_default_on_the_idle_timer_it_stays() {
    let mut network = network(4, branch(DEFAULT, IDLE));
    fail_over(&mut network);
    network.gateways[HUB1].cut = false;
    network.silence(140);
    assert_eq!(pairs(&network, BRANCH, "10.2.2.2"), 0);
    let answered = network.answered;
    network.traffic_until(5, |network| network.answered > answered);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
}

#[test]
fn scenario_5_the_backup_dies_after_the_default_returned() {
    let mut network = network(5, branch(DEFAULT, IDLE_DEFAULT));
    fail_over(&mut network);
    network.gateways[HUB1].cut = false;
    network.gateways[HUB2].cut = true;
    let received = network.gateways[HUB1].received;
    let took = network.traffic_until(60, |network| network.gateways[HUB1].received > received);
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert_eq!(network.gateways[BRANCH].count(&["10.2.2.2 -> 10.1.1.1", "reason dpd"]), 1);
}

#[test]
fn scenario_7_both_dead_then_back() {
    let mut network = network(7, branch(DEFAULT, IDLE_DEFAULT));
    network.gateways[HUB1].cut = true;
    network.gateways[HUB2].cut = true;
    network.traffic(600);
    let cycles = network.gateways[BRANCH].count(&["PEERS_EXHAUSTED"]);
    let expected = 600 / (2 * GIVE_UP as usize);
    assert!((expected - 2..=expected).contains(&cycles), "{cycles} cycles:\n{}", network.log_text(BRANCH));
    network.gateways[HUB1].cut = false;
    network.gateways[HUB2].cut = false;
    network.traffic_until(2 * GIVE_UP + 10, |network| network.answered > 0);
}

#[test]
fn scenario_9_the_backup_connects_to_us_and_the_flow_follows() {
    let mut network = network(9, branch(DEFAULT, IDLE_DEFAULT));
    network.traffic_until(5, |network| network.answered > 0);
    assert_eq!(current(&network).as_deref(), Some("10.1.1.1"));
    network.originate(HUB2);
    network.silence(1);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
    let received = network.gateways[HUB2].received;
    network.traffic(2);
    assert!(network.gateways[HUB2].received > received + 10, "the newest pair carries the flow");
    assert_eq!(network.gateways[BRANCH].count(&["10.1.1.1 -> 10.2.2.2", "peer-heard"]), 1);
}

#[test]
fn scenario_10_on_demand_notices_nothing_without_traffic() {
    let text = branch(DEFAULT, "").replace("10 2 periodic", "10 2 on-demand");
    let mut network = network(10, text);
    network.traffic_until(5, |network| network.answered > 0);
    network.silence(2);
    network.gateways[HUB1].cut = true;
    network.silence(1000);
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 1);
    let received = network.gateways[HUB2].received;
    network.traffic_until(100, |network| network.gateways[HUB2].received > received);
}

#[test]
fn scenario_13_the_hub_idles_out_first() {
    let hub_idle = " set security-association idle-time 60\n";
    let mut network = Network::new(
        13,
        &[
            ("10.9.9.9", branch(DEFAULT, IDLE_DEFAULT)),
            ("10.1.1.1", hub(hub_idle)),
            ("10.2.2.2", hub(hub_idle)),
        ],
    );
    fail_over(&mut network);
    network.gateways[HUB1].cut = false;
    network.silence(75);
    assert_eq!(pairs(&network, BRANCH, "10.2.2.2"), 0, "the hub deleted it");
    let mut early = 0;
    network.traffic_until(5, |network| network.gateways[HUB2].received > early);
    early = network.gateways[HUB2].received;
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"), "75 s of silence are not 120");
    network.silence(125);
    let answered = network.answered;
    network.traffic_until(5, |network| network.answered > answered);
    assert_eq!(current(&network).as_deref(), Some("10.1.1.1"), "125 s are");
    assert!(early > 0);
}

#[test]
fn a_wrong_key_counts_as_a_failed_initiation() {
    let wrong =
        branch(DEFAULT, IDLE_DEFAULT).replace("key simulated address 10.1.1.1", "key other address 10.1.1.1");
    let mut network = network(20, wrong);
    network.traffic_until(GIVE_UP + 20, |network| network.answered > 0);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
    assert_eq!(network.gateways[BRANCH].count(&["NEG_ABORT", "peer 10.1.1.1"]), 1);
}

#[test]
fn a_proposal_that_hub1_refuses_leads_to_hub2() {
    let mut network = Network::new(
        21,
        &[
            ("10.9.9.9", branch(DEFAULT, IDLE_DEFAULT)),
            ("10.1.1.1", hub("").replace("ts esp-gcm", "ts esp-gcm 256")),
            ("10.2.2.2", hub("")),
        ],
    );
    network.traffic_until(GIVE_UP + 20, |network| network.answered > 0);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
}

#[test]
fn rekeys_lose_no_packet() {
    let mut network = network(22, branch(DEFAULT, " set security-association lifetime seconds 300\n"));
    network.traffic_until(5, |network| network.answered > 0);
    network.silence(1);
    let (sent, answered) = (network.sent, network.answered);
    network.traffic(3000);
    network.silence(1);
    assert_eq!(network.sent - sent, network.answered - answered, "{}", network.log_text(BRANCH));
    let rekeys =
        network.gateways[BRANCH].control.history().iter().filter(|t| t.event.contains("rekeyed")).count();
    assert!(rekeys >= 9, "{rekeys} rekeys in ten lifetimes");
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 1);
}

#[test]
fn an_sa_without_traffic_is_not_rekeyed() {
    let mut network = network(23, branch(DEFAULT, " set security-association lifetime seconds 300\n"));
    network.originate(BRANCH);
    network.silence(2);
    // The packet that caused the request was not sent: the pair carried no traffic.
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 1);
    network.silence(310);
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 0);
}

#[test]
fn a_hub_that_lost_its_memory_is_noticed_and_met_again() {
    let mut network = network(24, branch(DEFAULT, IDLE_DEFAULT));
    network.traffic_until(5, |network| network.answered > 0);
    network.restart(HUB1, true);
    let answered = network.answered;
    network.traffic_until(60, |network| network.answered > answered + 20);
}

#[test]
fn a_forgetful_branch_comes_back_with_initial_contact() {
    let mut network = network(25, branch(DEFAULT, IDLE_DEFAULT));
    network.traffic_until(5, |network| network.answered > 0);
    network.restart(BRANCH, true);
    let answered = network.answered;
    network.traffic_until(60, |network| network.answered > answered + 20);
    assert_eq!(pairs(&network, HUB1, "10.9.9.9"), 1, "INITIAL_CONTACT cleared the old one");
}

#[test]
fn a_killed_control_plane_loses_no_packet_and_renegotiates_nothing() {
    for victim in [BRANCH, HUB1] {
        let mut network = network(26, branch(DEFAULT, IDLE_DEFAULT));
        network.traffic_until(5, |network| network.answered > 0);
        network.silence(1);
        let (sent, answered) = (network.sent, network.answered);
        for _ in 0..3 {
            network.restart(victim, false);
            network.traffic(100);
            let text = network.gateways[victim].show_everything(network.now);
            assert!(text.contains("outbound esp sas"), "{text}");
        }
        network.silence(1);
        assert_eq!(network.sent - sent, network.answered - answered, "{}", network.log_text(BRANCH));
        assert_eq!(network.gateways[BRANCH].count(&["SESSION_STATUS"]), 1, "{}", network.log_text(BRANCH));
        assert_eq!(current(&network).as_deref(), Some("10.1.1.1"));
        assert!(network.gateways[HUB1].routes.contains("192.168.1.0/24"), "its route is there again");
    }
}

#[test]
fn an_adopted_pair_is_given_up_in_silence_and_replaced_before_its_end() {
    let mut network = network(27, branch(DEFAULT, " set security-association lifetime seconds 600\n"));
    network.traffic_until(5, |network| network.answered > 0);
    network.restart(BRANCH, false);
    network.traffic(530);
    network.silence(1);
    let (sent, answered) = (network.sent, network.answered);
    network.traffic(120);
    network.silence(1);
    assert!(network.sent - sent <= network.answered - answered + 2, "the successor took over in time");

    network.restart(BRANCH, false);
    network.silence(15);
    assert_eq!(pairs(&network, BRANCH, "10.1.1.1"), 0, "no packet was received for N seconds");
    let answered = network.answered;
    network.traffic_until(5, |network| network.answered > answered);
}

#[test]
fn clear_takes_the_tunnel_down_and_goes_home() {
    for killed_before in [false, true] {
        let mut network = network(29, branch(DEFAULT, IDLE_DEFAULT));
        fail_over(&mut network);
        network.gateways[HUB1].cut = false;
        if killed_before {
            network.restart(BRANCH, false);
        }
        network.clear_sessions(BRANCH);
        assert_eq!(pairs(&network, BRANCH, "10.2.2.2"), 0);
        assert_eq!(current(&network).as_deref(), Some("10.1.1.1"), "A10");
        assert_eq!(network.gateways[BRANCH].count(&["10.2.2.2 -> 10.1.1.1", "reason clear"]), 1);
        let received = network.gateways[HUB1].received;
        network.traffic_until(5, |network| network.gateways[HUB1].received > received);
    }
}

#[test]
fn the_cursor_survives_the_control_plane() {
    let mut network = network(28, branch(DEFAULT, IDLE_DEFAULT));
    fail_over(&mut network);
    network.restart(BRANCH, false);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
    network.gateways[HUB1].cut = false;
    network.traffic(100);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
    network.silence(20);
    network.traffic(5);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"), "20 s of silence are not 120");
}

#[test]
fn an_edit_elsewhere_disturbs_nothing_and_removing_a_peer_closes_its_sa() {
    let mut network = network(26, branch(DEFAULT, IDLE_DEFAULT));
    network.traffic_until(5, |network| network.answered > 0);
    network.silence(1);
    let more = branch(DEFAULT, IDLE_DEFAULT)
        + "access-list 102 permit ip 192.168.7.0 0.0.0.255 192.168.8.0 0.0.0.255
crypto map tohub 2 ipsec-isakmp
 set peer 10.2.2.2
 set transform-set ts
 match address 102
";
    let now = network.now;
    network.gateways[BRANCH].configure(now, &more);
    let (sent, answered) = (network.sent, network.answered);
    network.traffic(60);
    network.silence(1);
    assert_eq!(network.sent - sent, network.answered - answered, "{}", network.log_text(BRANCH));

    let now = network.now;
    network.gateways[BRANCH].configure(now, &branch(" set peer 10.2.2.2\n", ""));
    network.silence(1);
    assert_eq!(pairs(&network, HUB1, "10.9.9.9"), 0, "hub1 was notified");
    let answered = network.answered;
    network.traffic_until(5, |network| network.answered > answered);
    assert_eq!(current(&network).as_deref(), Some("10.2.2.2"));
}

#[test]
fn the_same_seed_gives_the_same_day() {
    let day = |seed| {
        let mut network = network(seed, branch(DEFAULT, IDLE_DEFAULT));
        network.wire = Wire { loss: 100, duplicate: 50, ..Wire::default() };
        fail_over(&mut network);
        (network.log_text(BRANCH), network.answered)
    };
    assert_eq!(day(31), day(31));
}

#[test]
fn a_bad_wire_delays_the_main_job_but_does_not_break_it() {
    for seed in 100..120 {
        let mut network = network(seed, branch(DEFAULT, IDLE_DEFAULT));
        network.wire = Wire {
            loss: 200,
            duplicate: 100,
            delay: Duration::from_millis(30),
            jitter: Duration::from_millis(200),
        };
        network.traffic_until(60, |network| network.answered > 10);
        network.gateways[HUB1].cut = true;
        let received = network.gateways[HUB2].received;
        network.traffic_until(300, |network| network.gateways[HUB2].received > received);
        network.gateways[HUB1].cut = false;
        network.wire = Wire::default();
        network.silence(200);
        let answered = network.answered;
        network.traffic_until(60, |network| network.answered > answered);
        assert_eq!(
            current(&network).as_deref(),
            Some("10.1.1.1"),
            "seed {seed}:\n{}",
            network.log_text(BRANCH)
        );
        for gateway in [HUB1, HUB2] {
            network.silence(40);
            assert!(pairs(&network, gateway, "10.9.9.9") <= 1, "seed {seed}: a surplus pair stayed");
        }
    }
}
