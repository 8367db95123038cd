//! Crypto map sets on real packets: edits beside a tunnel in use, dynamic maps, the set on two
//! interfaces.

use lab::Result;
use lab::command::{sleep_ms, wait_for};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Hub, Options};
use lab::namespace::available;
use lab::probe::{Probe, echo_server, now_ms};

fn options() -> Options {
    Options { time_scale: 10, give_up: 5, ..Options::default() }
}

#[test]
fn editing_one_entry_loses_no_packet_of_another() -> Result<()> {
    if !available("editing_one_entry_loses_no_packet_of_another") {
        return Ok(());
    }
    let network = Failover::start(&options())?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let mut probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 5)?;
    probe.wait_for_echo(15)?;
    sleep_ms(500)?;
    let begin = now_ms();
    let branch = &network.branch;
    // It protects the traffic of entry 2 while that entry is added and removed.
    branch.configure(&[
        "access-list 102 permit ip 192.168.1.0 0.0.0.255 192.168.7.0 0.0.0.255",
        "crypto map tohub 3 ipsec-isakmp",
        "set peer 10.2.2.2",
        "set transform-set ts",
        "match address 102",
    ])?;
    // Repeat the edits until a hundred packets were sent during them.
    let mut round = 0;
    while round < 5 || probe.count(begin, now_ms()).sent <= 100 {
        branch.configure(&[
            "access-list 102 permit ip 192.168.1.0 0.0.0.255 192.168.7.0 0.0.0.255",
            "crypto map tohub 2 ipsec-isakmp",
            "set peer 10.2.2.2 default",
            "set transform-set ts",
            "match address 102",
        ])?;
        branch.configure(&["crypto map tohub 2", "set peer 10.1.1.1", "set pfs group19"])?;
        branch.configure(&["crypto map tohub 2", "set security-association level per-host"])?;
        branch.configure(&[
            "crypto dynamic-map anybody 10",
            "set transform-set ts",
            "crypto map tohub 65535 ipsec-isakmp dynamic anybody",
        ])?;
        branch.configure(&["crypto map tohub 2", "no set peer 10.2.2.2"])?;
        let order = if round % 2 == 0 {
            ["no crypto map tohub 2", "no crypto map tohub 65535"]
        } else {
            ["no crypto map tohub 65535", "no crypto map tohub 2"]
        };
        branch.configure(&order)?;
        round += 1;
    }
    sleep_ms(300)?;
    probe.pause()?;
    let end = now_ms();
    sleep_ms(500)?;
    let count = probe.count(begin, end);
    assert!(count.sent > 100, "{count:?}");
    assert_eq!(count.lost, 0, "{count:?}\n{}", branch.log_tail());
    assert_eq!(network.current_peer().as_deref(), Some("10.1.1.1"));
    // No other entry protects the traffic of entry 3, so its removal is refused.
    let refused = branch.configure(&["no crypto map tohub 3"]);
    assert!(format!("{refused:?}").contains("crypto map tohub 3 is in force"), "{refused:?}");
    assert!(branch.cli("show running-config")?.contains("crypto map tohub 3 ipsec-isakmp"));
    // The set is applied to an interface, so its removal is refused.
    let refused = branch.configure(&["no crypto map tohub"]);
    assert!(format!("{refused:?}").contains("in use by interface(s): GigabitEthernet0/1"), "{refused:?}");
    Ok(())
}

#[test]
fn a_dynamic_map_answers_a_branch_that_it_does_not_know() -> Result<()> {
    if !available("a_dynamic_map_answers_a_branch_that_it_does_not_know") {
        return Ok(());
    }
    let network = Failover::start(&options())?;
    let hub = network.hub(Hub::One);
    hub.configure(&[
        "interface GigabitEthernet0/1",
        "no crypto map tohub",
        "exit",
        "no crypto map tohub",
        "crypto isakmp key only-for-the-laboratory address 0.0.0.0 0.0.0.0",
        "crypto dynamic-map anybody 10",
        "set transform-set ts",
        "match address 101",
        "reverse-route",
        "exit",
        "crypto map tohub 65535 ipsec-isakmp dynamic anybody",
        "interface GigabitEthernet0/1",
        "crypto map tohub",
    ])?;
    // Traffic that the template permits but that no peer has negotiated is dropped: host-b's
    // packets are not forwarded, and no IKE SA is initiated.
    let ping = network.host_b.run("ping", &["-c", "2", "-i", "0.2", "-W", "1", "192.168.1.10"]);
    assert!(ping.is_err(), "{ping:?}");
    assert!(!hub.log().contains("NEG_ABORT"), "{}", hub.log_tail());

    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(15)?;
    let shown = hub.cli("show crypto map")?;
    assert!(shown.contains("\"tohub\" 65536 ipsec-isakmp\n\tPeer = 10.9.9.9"), "{shown}");
    assert!(shown.contains("dynamic (created from dynamic map anybody/10)"), "{shown}");
    network.host_b.run("ping", &["-c", "3", "-i", "0.2", "-W", "2", "192.168.1.10"])?;

    drop(probe);
    network.branch.cli("clear crypto session")?;
    wait_for("the temporary entry to go", 10, || {
        (!hub.cli("show crypto map").ok()?.contains("65536")).then_some(())
    })?;
    Ok(())
}
