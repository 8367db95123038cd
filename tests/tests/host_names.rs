//! Peers by name, with a real name server whose answers change. Timers run ten times as fast.

use std::time::{Duration, Instant};

use lab::Result;
use lab::command::{LabError, wait_for};
use lab::dns::{self, NameServer};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Hub, Options};
use lab::namespace::available;
use lab::probe::{Probe, echo_server};

const SERVER: &str = "10.9.9.1";
const HUB: &str = "hub.example.net";

fn options(peers: &str) -> Options {
    Options {
        time_scale: 10,
        peers: peers.to_owned(),
        globals: format!("ip name-server {SERVER}\nip domain name example.net\n"),
        give_up: 5,
        ..Options::default()
    }
}

#[test]
fn a_dynamic_name_leads_to_where_the_name_server_says_now() -> Result<()> {
    let test = "a_dynamic_name_leads_to_where_the_name_server_says_now";
    if !available(test) || !dns::available(test) {
        return Ok(());
    }
    let network = Failover::start(&options(" set peer hub dynamic\n"))?;
    // A short name: `ip domain name` is appended. The first address does not answer, the second is
    // used.
    let server =
        NameServer::start(&network.internet, SERVER, &[(HUB, "127.0.0.1"), (HUB, Hub::One.address())], 0)?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(15)?;
    assert!(network.has_sa_with(Hub::One));
    let hosts = network.branch.cli("show hosts")?;
    assert!(hosts.lines().any(|line| line.starts_with("hub ") && line.contains("10.1.1.1")), "{hosts}");

    server.answer(&[(HUB, Hub::Two.address())])?;
    network.cut(Hub::One)?;
    wait_for("the tunnel to follow the name", 25, || network.has_sa_with(Hub::Two).then_some(()))?;
    probe.wait_for_echo(5)?;
    assert_eq!(network.current_peer().as_deref(), Some("hub"));
    Ok(())
}

#[test]
fn a_dynamic_name_without_a_useful_answer_leads_to_the_next_peer() -> Result<()> {
    let test = "a_dynamic_name_without_a_useful_answer_leads_to_the_next_peer";
    if !available(test) || !dns::available(test) {
        return Ok(());
    }
    let network =
        Failover::start(&options(" set peer hub.example.net dynamic default\n set peer 10.2.2.2\n"))?;
    let many: Vec<String> = (1..=100).map(|n| format!("224.0.0.{n}")).collect();
    let zone: Vec<(&str, &str)> = many.iter().map(|address| (HUB, address.as_str())).collect();
    let server = NameServer::start(&network.internet, SERVER, &zone, 0)?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(15)?;
    assert_eq!(network.current_peer().as_deref(), Some("10.2.2.2"));
    let log = network.branch.log();
    assert!(log.contains("it is a multicast address") && log.contains("100 addresses"), "{log}");

    // The name server does not answer: the packets are held, and the next peer is used.
    server.stall();
    network.branch.cli("clear crypto session")?;
    wait_for("the stalled name to be given up", 20, || {
        network.branch.log().contains("the name service does not answer").then_some(())
    })?;
    wait_for("the next peer", 10, || network.has_sa_with(Hub::Two).then_some(()))?;
    server.go_on();
    Ok(())
}

#[test]
fn a_typed_name_is_resolved_at_once_and_keeps_its_address_until_reload() -> Result<()> {
    let test = "a_typed_name_is_resolved_at_once_and_keeps_its_address_until_reload";
    if !available(test) || !dns::available(test) {
        return Ok(());
    }
    let mut network = Failover::start(&options(" set peer 10.1.1.1\n"))?;
    let server = NameServer::start(&network.internet, SERVER, &[(HUB, Hub::Two.address())], 0)?;
    let entry = "crypto map tohub 1";
    let unknown = network.branch.configure(&[entry, "set peer nowhere.example.net"]);
    assert!(
        matches!(&unknown, Err(LabError::Failed { output, .. })
        if output.contains("% Unrecognized host or address.")),
        "{unknown:?}"
    );

    network.branch.configure(&[entry, "no set peer 10.1.1.1", "set peer hub.example.net"])?;
    let running = network.branch.cli("show running-config")?;
    assert!(
        running.contains("set peer hub.example.net\n"),
        "the name stands in the configuration: {running}"
    );
    // The address has changed; without `dynamic` the name is not resolved again.
    server.answer(&[(HUB, Hub::One.address())])?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(15)?;
    assert!(network.has_sa_with(Hub::Two) && !network.has_sa_with(Hub::One));

    // A name server that does not answer delays one CLI session, but no packets and no other
    // session.
    server.stall();
    let begun = Instant::now();
    let branch = &network.branch;
    std::thread::scope(|scope| {
        let typing = scope.spawn(|| branch.configure(&[entry, "set peer stalled.example.net"]));
        std::thread::sleep(Duration::from_millis(500));
        let asked = Instant::now();
        let shown = branch.cli("show crypto map");
        assert!(shown.is_ok() && asked.elapsed() < Duration::from_secs(2), "{shown:?}");
        probe.wait_for_echo(1)?;
        let refused = typing.join().unwrap_or_else(|_| Ok(String::new()));
        assert!(
            matches!(&refused, Err(LabError::Failed { output, .. })
            if output.contains("% Unrecognized host or address.")),
            "{refused:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        Ok::<(), LabError>(())
    })?;
    server.go_on();

    network.branch.cli("write memory")?;
    let old = network.branch.pid_of("tohub-controlplane").unwrap_or_default();
    let _ = network.branch.cli("reload");
    network.branch.wait_for_restart("tohub-controlplane", old)?;
    network.branch.wait_until_ready()?;
    wait_for("the tunnel to the address of now", 20, || network.has_sa_with(Hub::One).then_some(()))?;
    Ok(())
}
