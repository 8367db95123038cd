//! One tunnel, end to end: packets that pass, and packets that must not.

use lab::Result;
use lab::capture::Capture;
use lab::command::wait_for;
use lab::failover::{ECHO_PORT, Failover, HOST_B, Hub, Options};
use lab::namespace::available;
use lab::pcap::to_hex;
use lab::probe::{Probe, echo_server, tcp_transfer};

#[test]
fn traffic_raises_the_tunnel_and_a_large_transfer_arrives_intact() -> Result<()> {
    if !available("traffic_raises_the_tunnel_and_a_large_transfer_arrives_intact") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    let capture = Capture::start_with(&network.internet, "branch", 64)?;

    let ping = network.host_a.run("ping", &["-c", "5", "-i", "0.2", "-W", "3", HOST_B])?;
    assert!(
        ping.contains("5 received"),
        "the packets that raise the tunnel wait for it, none is lost: {ping}"
    );
    assert_eq!(network.current_peer().as_deref(), Some("10.1.1.1"));

    let transfer = tcp_transfer(&network.host_a, &network.host_b, HOST_B, 7001, 100, 120)?;
    assert!(transfer.intact, "{transfer:?}");
    assert_eq!(transfer.bytes, 100 << 20);

    let recording = capture.finish()?;
    assert_eq!(recording.clear_packets(), 0);
    assert!(recording.esp_packets() > 70_000, "{}", recording.esp_packets());
    Ok(())
}

#[test]
fn replayed_and_corrupted_esp_is_dropped_and_counted() -> Result<()> {
    if !available("replayed_and_corrupted_esp_is_dropped_and_counted") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    let capture = Capture::start_with(&network.internet, "branch", 2000)?;
    network.host_a.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", HOST_B])?;
    let recording = capture.finish()?;
    let toward_branch: Vec<&[u8]> = recording
        .packets
        .iter()
        .filter(|packet| {
            packet.protocol() == Some(50) && packet.addresses().is_some_and(|(_, to)| to == [10, 9, 9, 9])
        })
        .filter_map(|packet| {
            let ip = packet.ipv4()?;
            ip.get(..usize::from(u16::from_be_bytes([ip[2], ip[3]])))
        })
        .collect();
    let seen: Vec<_> =
        recording.packets.iter().map(|packet| (packet.protocol(), packet.addresses())).collect();
    assert!(toward_branch.len() >= 3, "{seen:?}");

    let before = drops(&network)?;
    let replayed = to_hex(toward_branch[0]);
    let mut forged = toward_branch[2].to_vec();
    // A sequence number still ahead of the window, so that only the integrity check can stop it.
    forged[27] = forged[27].wrapping_add(40);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let inject = lab::gateway::program("tohub-lab")?;
    network.internet.run(&inject.to_string_lossy(), &["inject", &replayed, &to_hex(&forged)])?;

    wait_for("both drops to be counted", 5, || {
        let after = drops(&network).ok()?;
        let grown = |name: &str| after[name].as_u64().unwrap_or(0) > before[name].as_u64().unwrap_or(0);
        (grown("replayed") && grown("authentication-failed")).then_some(())
    })?;
    let ping = network.host_a.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", HOST_B])?;
    assert!(ping.contains("3 received"), "the tunnel goes on: {ping}");
    Ok(())
}

#[test]
fn a_clear_packet_on_a_protected_flow_is_dropped_and_counted() -> Result<()> {
    if !available("a_clear_packet_on_a_protected_flow_is_dropped_and_counted") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    network.host_a.run("ping", &["-c", "2", "-i", "0.2", "-W", "3", HOST_B])?;
    let at_host = Capture::start(&network.host_a, "eth0")?;
    let before = drops(&network)?;

    // A host on the internet sends with the source address of host-b.
    network.internet.route("192.168.1.0/24", "10.9.9.9")?;
    network.internet.ip(&["address", "add", "192.168.2.77/32", "dev", "lo"])?;
    let forger = lab::gateway::program("tohub-lab")?;
    let packet = clear_udp([192, 168, 2, 77], [192, 168, 1, 10]);
    network.internet.run(&forger.to_string_lossy(), &["inject", &to_hex(&packet)])?;

    wait_for("the drop to be counted", 5, || {
        let after = drops(&network).ok()?;
        (after["clear-on-protected-flow"].as_u64() > before["clear-on-protected-flow"].as_u64()).then_some(())
    })?;
    let seen = at_host.finish()?;
    let leaked = seen
        .packets
        .iter()
        .filter(|packet| packet.addresses().is_some_and(|(from, _)| from == [192, 168, 2, 77]));
    assert_eq!(leaked.count(), 0, "the forged packet reached host-a");
    Ok(())
}

#[test]
fn the_tunnel_carries_traffic_over_a_lossy_internet() -> Result<()> {
    if !available("the_tunnel_carries_traffic_over_a_lossy_internet") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    network.lose(5)?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(20)?;
    let transfer = tcp_transfer(&network.host_a, &network.host_b, HOST_B, 7001, 4, 60)?;
    assert!(transfer.intact, "{transfer:?}");
    assert!(network.has_sa_with(Hub::One));
    Ok(())
}

/// The drop counters of the branch by name.
fn drops(network: &Failover) -> Result<serde_json::Value> {
    Ok(network.branch.json("show tohub dataplane")?["drops"].clone())
}

fn clear_udp(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    // The kernel fills in length, identification and checksum of a raw IPv4 header that it sends.
    let mut packet = vec![0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    packet.extend([0x1b, 0x58, 0x1b, 0x58, 0, 16, 0, 0]);
    packet.extend(*b"in clear");
    packet
}
