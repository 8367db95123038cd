//! The data plane alone, with SAs written by the test: a ping crosses two gateways, and scapy, with
//! the same key, reads our ESP and writes ESP that we accept.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use lab::Result;
use lab::by_hand::{ByHand, Tunnel};
use lab::capture::Capture;
use lab::command::checked;
use lab::namespace::{Namespace, available, connect};
use lab::pcap::to_hex;
use sa_table::record::{Encapsulation, EspAlgorithm, Mode};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn tunnel(algorithm: EspAlgorithm, key_bytes: u8, esn: bool) -> Tunnel {
    Tunnel {
        local: ip("10.9.9.9"),
        remote: ip("10.9.9.8"),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::None,
        inner_local: (ip("192.168.1.0"), 24),
        inner_remote: (ip("192.168.2.0"), 24),
        spi_in: 0x1001,
        spi_out: 0x2002,
        algorithm,
        key: (0..key_bytes).collect(),
        esn,
    }
}

/// The same tunnel seen from the other end.
fn mirrored(tunnel: &Tunnel) -> Tunnel {
    Tunnel {
        local: tunnel.remote,
        remote: tunnel.local,
        inner_local: tunnel.inner_remote,
        inner_remote: tunnel.inner_local,
        spi_in: tunnel.spi_out,
        spi_out: tunnel.spi_in,
        ..tunnel.clone()
    }
}

/// A host behind a gateway's namespace: addresses, routes, offloads.
fn site(number: u8) -> Result<(Namespace, Namespace)> {
    let (host, gateway) =
        (Namespace::new(&format!("host{number}"))?, Namespace::new(&format!("gw{number}"))?);
    connect(&host, "eth0", &gateway, "inside")?;
    host.address("eth0", &format!("192.168.{number}.10/24"))?;
    host.end_host_offloads("eth0")?;
    host.route("default", &format!("192.168.{number}.1"))?;
    gateway.address("inside", &format!("192.168.{number}.1/24"))?;
    Ok((host, gateway))
}

fn ping_crosses(algorithm: EspAlgorithm, key_bytes: u8, esn: bool) -> Result<()> {
    let (host1, gateway1) = site(1)?;
    let (host2, gateway2) = site(2)?;
    // A switch in between: a capture on a port that has an XDP program would see nothing.
    let switch = Namespace::new("switch")?;
    switch.ip(&["link", "add", "switch", "type", "bridge"])?;
    switch.up("switch")?;
    for (gateway, port) in [(&gateway1, "gw1"), (&gateway2, "gw2")] {
        connect(gateway, "outside", &switch, port)?;
        switch.ip(&["link", "set", port, "master", "switch", "up"])?;
    }
    gateway1.address("outside", "10.9.9.9/24")?;
    gateway1.route("192.168.2.0/24", "10.9.9.8")?;
    gateway2.address("outside", "10.9.9.8/24")?;
    gateway2.route("192.168.1.0/24", "10.9.9.9")?;

    let tunnel = tunnel(algorithm, key_bytes, esn);
    let _second = ByHand::start(gateway2, &mirrored(&tunnel))?;
    let first = ByHand::start(gateway1, &tunnel)?;
    let wire = Capture::start(&switch, "gw2")?;

    for size in ["8", "56", "1400"] {
        let ping = host1.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "-s", size, "192.168.2.10"])?;
        assert!(ping.contains("3 received"), "{ping}");
    }
    // The gateway's own packets enter through its punt port.
    let own = first
        .namespace()
        .run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "-I", "192.168.1.1", "192.168.2.10"])?;
    assert!(own.contains("3 received"), "{own}");
    let to_gateway = host2.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "192.168.1.1"])?;
    assert!(to_gateway.contains("3 received"), "{to_gateway}");

    let seen = wire.finish()?;
    assert_eq!(seen.clear_packets(), 0);
    assert!(seen.esp_packets() > 0);
    Ok(())
}

#[test]
fn a_ping_crosses_two_gateways_with_aes_128_gcm() -> Result<()> {
    if !available("a_ping_crosses_two_gateways_with_aes_128_gcm") {
        return Ok(());
    }
    ping_crosses(EspAlgorithm::AesGcm128, 20, false)
}

#[test]
fn a_ping_crosses_two_gateways_with_aes_256_gcm_and_extended_sequence_numbers() -> Result<()> {
    if !available("a_ping_crosses_two_gateways_with_aes_256_gcm_and_extended_sequence_numbers") {
        return Ok(());
    }
    ping_crosses(EspAlgorithm::AesGcm256, 36, true)
}

#[test]
fn a_second_data_plane_is_refused_and_the_first_goes_on() -> Result<()> {
    if !available("a_second_data_plane_is_refused_and_the_first_goes_on") {
        return Ok(());
    }
    let (_host, gateway) = site(1)?;
    let other = Namespace::new("other")?;
    connect(&gateway, "outside", &other, "eth0")?;
    gateway.address("outside", "10.9.9.9/24")?;
    gateway.route("192.168.2.0/24", "10.9.9.8")?;
    let mut gateway = ByHand::start(gateway, &tunnel(EspAlgorithm::AesGcm128, 20, false))?;
    let (code, said) = gateway.start_second()?;
    assert_eq!(code, Some(9), "{said}");
    assert!(gateway.is_running()?, "the first one ended");
    Ok(())
}

#[test]
fn scapy_given_the_key_writes_esp_that_we_accept_and_reads_ours() -> Result<()> {
    const TEST: &str = "scapy_given_the_key_writes_esp_that_we_accept_and_reads_ours";
    if !available(TEST) {
        return Ok(());
    }
    let peers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
    if let Err(error) = checked(Command::new(peers.join("setup.sh")).arg("tools")) {
        println!("SKIP: {TEST}: scapy could not be installed: {error}");
        return Ok(());
    }
    let (_host, gateway) = site(1)?;
    let scapy = Namespace::new("scapy")?;
    connect(&gateway, "outside", &scapy, "eth0")?;
    gateway.address("outside", "10.9.9.9/24")?;
    gateway.route("192.168.2.0/24", "10.9.9.8")?;
    scapy.address("eth0", "10.9.9.8/24")?;
    scapy.end_host_offloads("eth0")?;

    let tunnel = tunnel(EspAlgorithm::AesGcm128, 20, false);
    let _gateway = ByHand::start(gateway, &tunnel)?;
    let said = checked(
        Command::new(peers.join("tool.sh"))
            .current_dir(&peers)
            .args([
                scapy.name(),
                "python3",
                "esp-echo.py",
                "10.9.9.8",
                "10.9.9.9",
                "192.168.2.10",
                "192.168.1.10",
                "1001",
                "2002",
            ])
            .arg(to_hex(&tunnel.key)),
    )?;
    assert!(said.contains("decrypted:") && said.contains("echo-reply"), "{said}");
    Ok(())
}
