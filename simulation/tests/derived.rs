//! Dynamic maps, host pairs, several entries: flows that are created and removed with their SAs.

mod lab;

use config::command::ShowCommand;
use lab::{IKE, answered, clear, flow, network, pass, show, show_map, timeline};

const HUB: usize = 0;

fn hub(match_address: &str) -> String {
    format!(
        "hostname hub
crypto dynamic-map anybody 10
 set transform-set ts
{match_address}crypto map m 65535 ipsec-isakmp dynamic anybody
{IKE}access-list 102 permit ip 192.168.0.0 0.0.255.255 10.0.0.0 0.255.255.255
"
    )
}

fn branch(number: u8, rest: &str) -> String {
    format!(
        "hostname branch{number}
crypto map m 1 ipsec-isakmp
 set peer 10.1.1.1
 set transform-set ts
 match address 101
{rest}{IKE}access-list 101 permit ip 10.{number}.0.0 0.0.255.255 192.168.2.0 0.0.0.255
"
    )
}

fn peers() -> ShowCommand {
    ShowCommand::TohubPeers
}

#[test]
fn a_dynamic_map_answers_unknown_peers_and_asks_nobody() {
    for list in [" match address 102\n", ""] {
        let mut network = network(
            1,
            &[("10.1.1.1", hub(list)), ("198.51.100.7", branch(7, "")), ("203.0.113.8", branch(8, ""))],
        );
        // Before a peer has connected, traffic that the template permits is dropped and causes no
        // initiation.
        let down = flow(&mut network, HUB, "192.168.2.9", "10.7.0.9");
        network.set_interval(down, 200);
        pass(&mut network, 20);
        assert_eq!(answered(&network, down), 0);
        assert!(!network.gateways[HUB].control.has_ike_with("198.51.100.7".parse().unwrap()));
        network.set_interval(down, 0);

        let first = flow(&mut network, 1, "10.7.0.9", "192.168.2.9");
        let second = flow(&mut network, 2, "10.8.0.9", "192.168.2.9");
        network.set_interval(first, 200);
        network.set_interval(second, 200);
        pass(&mut network, 10);
        assert!(answered(&network, first) > 40 && answered(&network, second) > 40, "{}", timeline(&network));
        let shown = show_map(&network, HUB);
        for words in [
            "Crypto Map IPv4 \"m\" 65536 ipsec-isakmp\n\tPeer = ",
            "Crypto Map IPv4 \"m\" 65537 ipsec-isakmp\n\tPeer = ",
            "access-list  permit ip 192.168.2.0 0.0.0.255 10.7.0.0 0.0.255.255\n",
            "dynamic (created from dynamic map anybody/10)",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        // Both branches are reachable now, each through its own tunnel.
        network.set_interval(down, 200);
        pass(&mut network, 5);
        assert!(answered(&network, down) > 20, "{}", timeline(&network));

        // The branch disconnects: its entry is removed, the other's stays.
        network.set_interval(first, 0);
        clear(&mut network, 1);
        // Traffic that no access list permits is still dropped for a while.
        pass(&mut network, 12);
        let shown = show_map(&network, HUB);
        assert!(!shown.contains("198.51.100.7") && shown.contains("203.0.113.8"), "{shown}");
        let before = (answered(&network, down), answered(&network, second));
        pass(&mut network, 10);
        assert_eq!(answered(&network, down), before.0, "dropped again, not initiated");
        assert!(answered(&network, second) >= before.1 + 45, "the other branch was not disturbed");
        assert_eq!(network.gateways[HUB].control.load().pairs, 1);
    }
}

#[test]
fn what_the_template_does_not_permit_is_refused() {
    let odd = branch(7, "").replace("192.168.2.0 0.0.0.255\n", "172.16.0.0 0.0.0.255\n");
    let mut network = network(2, &[("10.1.1.1", hub(" match address 102\n")), ("198.51.100.7", odd)]);
    let up = flow(&mut network, 1, "10.7.0.9", "172.16.0.9");
    network.set_interval(up, 200);
    pass(&mut network, 30);
    assert_eq!(answered(&network, up), 0);
    assert_eq!(network.gateways[HUB].control.load().pairs, 0);
    assert!(!show_map(&network, HUB).contains("65536"));
}

#[test]
fn a_peer_without_the_key_is_nobody_to_a_dynamic_map() {
    let stranger = branch(7, "").replace("key simulated", "key another");
    let mut network = network(3, &[("10.1.1.1", hub("")), ("198.51.100.7", stranger)]);
    let up = flow(&mut network, 1, "10.7.0.9", "192.168.2.9");
    network.set_interval(up, 200);
    pass(&mut network, 30);
    assert_eq!(answered(&network, up), 0);
    assert!(!show_map(&network, HUB).contains("65536"), "{}", show_map(&network, HUB));
    assert_eq!(network.gateways[HUB].control.load().pairs, 0);
}

#[test]
fn a_branch_that_lost_power_is_answered_again_and_leaves_no_second_entry() {
    let mut network = network(4, &[("10.1.1.1", hub("")), ("198.51.100.7", branch(7, ""))]);
    let up = flow(&mut network, 1, "10.7.0.9", "192.168.2.9");
    network.set_interval(up, 200);
    pass(&mut network, 10);
    network.reboot(1).unwrap();
    let before = answered(&network, up);
    pass(&mut network, 10);
    assert!(answered(&network, up) > before + 40, "INITIAL_CONTACT: {}", timeline(&network));
    pass(&mut network, 60);
    let load = network.gateways[HUB].control.load();
    assert_eq!((load.ike_sas, load.pairs), (1, 1), "{}", timeline(&network));
    assert!(!show_map(&network, HUB).contains("65537"), "{}", show_map(&network, HUB));
}

#[test]
fn a_temporary_entry_outlives_the_control_plane_that_made_it() {
    let mut network =
        network(5, &[("10.1.1.1", hub(" match address 102\n")), ("198.51.100.7", branch(7, ""))]);
    let up = flow(&mut network, 1, "10.7.0.9", "192.168.2.9");
    network.set_interval(up, 100);
    pass(&mut network, 10);
    let sent = network.flows[up].sent - answered(&network, up);
    network.restart_control_plane(HUB, true).unwrap();
    assert!(show_map(&network, HUB).contains("65536"), "{}", show_map(&network, HUB));
    pass(&mut network, 5);
    let lost = network.flows[up].sent - answered(&network, up);
    assert!(lost <= sent + 1, "no packet is lost: {lost} after {sent}; {}", timeline(&network));
}

#[test]
fn temporary_entries_are_rekeyed_like_others() {
    let rest = "crypto ipsec security-association lifetime seconds 300\n";
    let mut network = network(6, &[("10.1.1.1", hub("") + rest), ("198.51.100.7", branch(7, "") + rest)]);
    let up = flow(&mut network, 1, "10.7.0.9", "192.168.2.9");
    network.set_interval(up, 200);
    pass(&mut network, 2000);
    network.set_interval(up, 0);
    pass(&mut network, 2);
    let flow = &network.flows[up];
    assert!(flow.sent - flow.answered <= 2, "{} of {}: {}", flow.answered, flow.sent, timeline(&network));
    assert!(!show_map(&network, HUB).contains("65537"), "the same entry through every rekey");
}

fn per_host(number: u8, address: &str, ours: &str, theirs: &str) -> String {
    format!(
        "hostname gateway{number}
crypto map m 1 ipsec-isakmp
 set peer {address}
 set transform-set ts
 set security-association level per-host
 set security-association idle-time 60
 match address 101
{IKE}access-list 101 permit ip {ours} 0.0.0.255 {theirs} 0.0.0.255
"
    )
}

#[test]
fn level_per_host_makes_a_pair_of_sas_for_each_pair_of_hosts_with_timers_of_their_own() {
    let mut network = network(
        7,
        &[
            ("10.1.1.1", per_host(0, "10.2.2.2", "192.168.1.0", "192.168.2.0")),
            ("10.2.2.2", per_host(1, "10.1.1.1", "192.168.2.0", "192.168.1.0")),
        ],
    );
    let hosts =
        [("192.168.1.1", "192.168.2.1"), ("192.168.1.1", "192.168.2.2"), ("192.168.1.2", "192.168.2.2")];
    let flows = hosts.map(|(from, to)| flow(&mut network, 0, from, to));
    for flow in flows {
        network.set_interval(flow, 200);
    }
    pass(&mut network, 20);
    for flow in flows {
        assert!(answered(&network, flow) > 50, "{}", timeline(&network));
    }
    for gateway in 0..2 {
        let load = network.gateways[gateway].control.load();
        assert_eq!((load.ike_sas, load.pairs), (1, 3), "{}", timeline(&network));
    }
    // One host pair stops sending; its SAs idle out, the others' stay.
    network.set_interval(flows[0], 0);
    let before = answered(&network, flows[1]);
    pass(&mut network, 75);
    assert_eq!(network.gateways[0].control.load().pairs, 2, "{}", timeline(&network));
    assert!(answered(&network, flows[1]) >= before + 370, "undisturbed");
    // It sends again.
    let before = answered(&network, flows[0]);
    network.set_interval(flows[0], 200);
    pass(&mut network, 10);
    assert!(answered(&network, flows[0]) > before + 40, "{}", timeline(&network));
    // All stop sending: only the configuration is left.
    for flow in flows {
        network.set_interval(flow, 0);
    }
    pass(&mut network, 80);
    let load = network.gateways[0].control.load();
    assert_eq!((load.ike_sas, load.pairs, load.table.policies), (0, 0, 1), "{}", timeline(&network));
}

#[test]
fn an_initiator_per_host_is_answered_by_a_whole_permit_without_mixing_up_hosts() {
    let whole = per_host(1, "10.1.1.1", "192.168.2.0", "192.168.1.0")
        .replace(" set security-association level per-host\n", "");
    let mut network = network(
        8,
        &[("10.1.1.1", per_host(0, "10.2.2.2", "192.168.1.0", "192.168.2.0")), ("10.2.2.2", whole)],
    );
    let one = flow(&mut network, 0, "192.168.1.1", "192.168.2.1");
    let two = flow(&mut network, 0, "192.168.1.2", "192.168.2.2");
    network.set_interval(one, 200);
    network.set_interval(two, 200);
    pass(&mut network, 20);
    let before = (answered(&network, one), answered(&network, two));
    pass(&mut network, 20);
    assert!(answered(&network, one) >= before.0 + 95, "{}", timeline(&network));
    assert!(answered(&network, two) >= before.1 + 95, "{}", timeline(&network));
}

fn site(ours: &str, peers: [&str; 2], theirs: [&str; 2]) -> String {
    format!(
        "hostname site
crypto map m 1 ipsec-isakmp
 set peer {} default
 set transform-set ts
 match address 101
 set security-association idle-time 60 default
crypto map m 2 ipsec-isakmp
 set peer {} default
 set transform-set ts
 match address 102
{IKE}access-list 101 permit ip {ours} 0.0.0.255 {} 0.0.0.255
access-list 102 permit ip {ours} 0.0.0.255 {} 0.0.0.255
",
        peers[0], peers[1], theirs[0], theirs[1]
    )
}

#[test]
fn two_ends_that_initiate_at_the_same_moment_end_with_one_ike_sa_and_lose_nothing_but_time() {
    for seed in 10..30 {
        let mut network = network(
            seed,
            &[
                ("10.1.1.1", site("192.168.1.0", ["10.2.2.2", "10.3.3.3"], ["192.168.2.0", "192.168.3.0"])),
                ("10.2.2.2", site("192.168.2.0", ["10.1.1.1", "10.3.3.3"], ["192.168.1.0", "192.168.3.0"])),
            ],
        );
        let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
        let back = flow(&mut network, 1, "192.168.2.8", "192.168.1.8");
        network.set_interval(there, 200);
        network.set_interval(back, 200);
        pass(&mut network, 30);
        for flow in [there, back] {
            assert!(answered(&network, flow) > 140, "seed {seed}: {}", timeline(&network));
        }
        for gateway in 0..2 {
            let load = network.gateways[gateway].control.load();
            assert_eq!(load.ike_sas, 1, "seed {seed}: {}", timeline(&network));
            assert!(load.pairs <= 2, "seed {seed}: {}", timeline(&network));
        }
    }
}

#[test]
fn a16_a_dead_peer_of_two_entries_moves_the_cursor_of_each() {
    let two = "crypto map m 1 ipsec-isakmp
 set peer 10.2.2.2 default
 set peer 10.3.3.3
 set transform-set ts
 match address 101
crypto map m 2 ipsec-isakmp
 set peer 10.2.2.2
 set peer 10.3.3.3
 set transform-set ts
 match address 102
";
    let acl = "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
access-list 102 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255
";
    let mirror = "crypto map m 1 ipsec-isakmp
 set peer 10.1.1.1
 set transform-set ts
 match address 101
";
    let back = "access-list 101 permit ip 192.168.2.0 0.0.1.255 192.168.1.0 0.0.0.255\n";
    let mut network = network(
        40,
        &[
            ("10.1.1.1", format!("{two}{IKE}{acl}")),
            ("10.2.2.2", format!("{mirror}{IKE}{back}")),
            ("10.3.3.3", format!("{mirror}{IKE}{back}")),
        ],
    );
    let one = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    let two = flow(&mut network, 0, "192.168.1.9", "192.168.3.9");
    network.set_interval(one, 200);
    network.set_interval(two, 200);
    pass(&mut network, 10);
    let load = network.gateways[0].control.load();
    assert_eq!((load.ike_sas, load.pairs), (1, 2), "one IKE SA serves both entries: {}", timeline(&network));
    network.wire.around(1, |link| link.cut = true);
    let before = answered(&network, two);
    pass(&mut network, 60);
    assert!(answered(&network, two) > before, "{}", timeline(&network));
    let text = timeline(&network);
    // The entry with a default peer tries it again; the other one moves on at once.
    assert!(text.contains("crypto map m 2: current peer 10.2.2.2 -> 10.3.3.3 (reason dpd)"), "{text}");
    assert!(text.contains("crypto map m 1: current peer 10.2.2.2 -> 10.3.3.3 (reason init-fail)"), "{text}");
}

#[test]
fn only_the_entry_with_idle_time_default_goes_home() {
    let entry = |seq: u8, idle: &str| {
        format!(
            "crypto map m {seq} ipsec-isakmp
 set peer 10.2.2.2 default
 set peer 10.3.3.3
 set transform-set ts
 match address 10{seq}
 {idle}
"
        )
    };
    let text = entry(1, "set security-association idle-time 60 default")
        + &entry(2, "set security-association idle-time 60")
        + IKE
        + "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
access-list 102 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255
";
    let mirror = format!(
        "crypto map m 1 ipsec-isakmp
 set peer 10.1.1.1
 set transform-set ts
 match address 101
{IKE}access-list 101 permit ip 192.168.2.0 0.0.1.255 192.168.1.0 0.0.0.255
"
    );
    let mut network = network(41, &[("10.1.1.1", text), ("10.2.2.2", mirror.clone()), ("10.3.3.3", mirror)]);
    network.wire.around(1, |link| link.cut = true);
    let flows = ["192.168.2.9", "192.168.3.9"].map(|to| flow(&mut network, 0, "192.168.1.9", to));
    for flow in flows {
        network.set_interval(flow, 200);
    }
    pass(&mut network, 40);
    network.wire.around(1, |link| link.cut = false);
    for flow in flows {
        assert!(answered(&network, flow) > 0, "{}", timeline(&network));
        network.set_interval(flow, 0);
    }
    pass(&mut network, 90);
    assert_eq!(network.gateways[0].control.load().pairs, 0);
    for flow in flows {
        network.set_interval(flow, 200);
    }
    pass(&mut network, 10);
    let shown = show_map(&network, 0);
    let current: Vec<&str> =
        shown.lines().filter(|line| line.contains("Current peer")).map(str::trim).collect();
    assert_eq!(current, ["Current peer: 10.2.2.2", "Current peer: 10.3.3.3"], "{}", timeline(&network));
}

#[test]
fn a_peer_that_answers_ike_and_swallows_esp_is_called_suspicious() {
    let mut network = network(
        42,
        &[
            ("10.1.1.1", site("192.168.1.0", ["10.2.2.2", "10.3.3.3"], ["192.168.2.0", "192.168.3.0"])),
            ("10.2.2.2", site("192.168.2.0", ["10.1.1.1", "10.3.3.3"], ["192.168.1.0", "192.168.3.0"])),
        ],
    );
    let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    network.set_interval(there, 200);
    pass(&mut network, 60);
    assert!(!show(&network, 0, &peers()).contains("suspicious"), "{}", show(&network, 0, &peers()));
    network.wire.around(1, |link| link.no_esp = true);
    pass(&mut network, 60);
    let shown = show(&network, 0, &peers());
    assert!(shown.contains("suspicious: it answers IKE"), "{shown}\n{}", timeline(&network));
    network.wire.around(1, |link| link.no_esp = false);
    pass(&mut network, 5);
    assert!(!show(&network, 0, &peers()).contains("suspicious"));
}

#[test]
fn a_peer_that_comes_and_goes_each_second_leaves_nothing_behind() {
    let mut network = network(
        43,
        &[
            ("10.1.1.1", site("192.168.1.0", ["10.2.2.2", "10.3.3.3"], ["192.168.2.0", "192.168.3.0"])),
            ("10.2.2.2", site("192.168.2.0", ["10.1.1.1", "10.3.3.3"], ["192.168.1.0", "192.168.3.0"])),
        ],
    );
    let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    network.set_interval(there, 100);
    for second in 0..600 {
        network.wire.around(1, |link| link.cut = second % 2 == 1);
        pass(&mut network, 1);
    }
    let log = timeline(&network);
    let changes = log.matches("PEER_CHANGE").count();
    assert!(changes <= 60, "the cursor does not flap with the peer: {changes}");
    network.wire.around(1, |link| link.cut = false);
    let before = answered(&network, there);
    pass(&mut network, 60);
    assert!(answered(&network, there) > before + 200, "{}", timeline(&network));
    network.set_interval(there, 0);
    pass(&mut network, 120);
    let load = network.gateways[0].control.load();
    assert_eq!((load.pairs, load.attempts, load.ike_sas), (0, 0, 0), "{load:?}");
}

#[test]
fn set_pfs_gives_the_successor_of_an_sa_a_key_exchange_of_its_own() {
    let text = |ours: &str, peer: &str, theirs: &str| {
        format!(
            "crypto map m 1 ipsec-isakmp
 set peer {peer}
 set transform-set ts
 set pfs group19
 set security-association lifetime seconds 300
 match address 101
{IKE}access-list 101 permit ip {ours} 0.0.0.255 {theirs} 0.0.0.255
"
        )
    };
    let mut network = network(
        44,
        &[
            ("10.1.1.1", text("192.168.1.0", "10.2.2.2", "192.168.2.0")),
            ("10.2.2.2", text("192.168.2.0", "10.1.1.1", "192.168.1.0")),
        ],
    );
    let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    network.set_interval(there, 200);
    pass(&mut network, 10);
    let shown = |network: &_| {
        show(
            network,
            0,
            &ShowCommand::CryptoIpsecSa { detail: true, filter: config::command::Filter::default() },
        )
    };
    assert!(!shown(&network).contains("group19"), "{}", shown(&network));
    pass(&mut network, 600);
    assert!(shown(&network).contains("group19"), "{}", shown(&network));
}

#[test]
fn the_second_transform_set_is_taken_where_the_peer_has_only_that() {
    let text = |ours: &str, peer: &str, theirs: &str, sets: &str| {
        format!(
            "crypto ipsec transform-set strong esp-gcm 256
crypto ipsec transform-set ts esp-gcm
crypto map m 1 ipsec-isakmp
 set peer {peer}
 set transform-set {sets}
 match address 101
{IKE}access-list 101 permit ip {ours} 0.0.0.255 {theirs} 0.0.0.255
"
        )
    };
    let mut network = network(
        45,
        &[
            ("10.1.1.1", text("192.168.1.0", "10.2.2.2", "192.168.2.0", "strong ts")),
            ("10.2.2.2", text("192.168.2.0", "10.1.1.1", "192.168.1.0", "ts")),
        ],
    );
    let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    network.set_interval(there, 200);
    pass(&mut network, 10);
    assert!(answered(&network, there) > 40, "{}", timeline(&network));
    let filter = config::command::Filter::default();
    let shown = show(&network, 0, &ShowCommand::CryptoIpsecSa { detail: true, filter });
    assert!(shown.contains("transform: esp-gcm ,"), "{shown}");
}

#[test]
fn a_machine_that_slept_an_hour_is_back_within_the_time_of_detection() {
    let mut network = network(
        46,
        &[
            ("10.1.1.1", site("192.168.1.0", ["10.2.2.2", "10.3.3.3"], ["192.168.2.0", "192.168.3.0"])),
            ("10.2.2.2", site("192.168.2.0", ["10.1.1.1", "10.3.3.3"], ["192.168.1.0", "192.168.3.0"])),
        ],
    );
    let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    network.set_interval(there, 200);
    pass(&mut network, 10);
    network.stop(0, simulation::gateway::Condition::Asleep);
    pass(&mut network, 3600);
    assert_eq!(network.gateways[1].control.load().pairs, 0, "the peer has given it up");
    // CLOCK_MONOTONIC stood still: no timer expired here, and only missing replies show that the
    // SAs are dead.
    network.wake(0, 3_600_000);
    let before = answered(&network, there);
    pass(&mut network, 25);
    assert!(answered(&network, there) > before, "{}", timeline(&network));
}

#[test]
fn traffic_that_is_answered_keeps_every_probe_off_the_wire() {
    let mut network = network(
        47,
        &[
            ("10.1.1.1", site("192.168.1.0", ["10.2.2.2", "10.3.3.3"], ["192.168.2.0", "192.168.3.0"])),
            ("10.2.2.2", site("192.168.2.0", ["10.1.1.1", "10.3.3.3"], ["192.168.1.0", "192.168.3.0"])),
        ],
    );
    let there = flow(&mut network, 0, "192.168.1.9", "192.168.2.9");
    network.set_interval(there, 1000);
    pass(&mut network, 10);
    let before = network.ike_messages;
    pass(&mut network, 600);
    assert_eq!(network.ike_messages, before, "no IKE message in ten minutes of traffic");
    network.set_interval(there, 0);
    pass(&mut network, 50);
    assert!(network.ike_messages >= before + 4, "silence is probed: {}", network.ike_messages - before);
}
