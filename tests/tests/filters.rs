//! Access groups on real packets: of a crypto map entry, of the interface of the hosts and of that
//! of the crypto map.

use lab::Result;
use lab::command::wait_for;
use lab::failover::{ECHO_PORT, Failover, HOST_A, HOST_B, Hub, Options};
use lab::namespace::{Namespace, available};
use lab::probe::{Probe, echo_server, now_ms};

/// The branch's address on the internet, and the router's beside it.
const BRANCH: &str = "10.9.9.9";
const ROUTER: &str = "10.9.9.1";

#[test]
fn an_entry_filters_what_goes_into_its_tunnel_and_what_comes_out() -> Result<()> {
    if !available("an_entry_filters_what_goes_into_its_tunnel_and_what_comes_out") {
        return Ok(());
    }
    let lists = "ip access-list extended OUT
 deny tcp any any eq 7001 log
 permit ip any any
ip access-list extended IN
 permit tcp any any established
 deny icmp any any echo
 permit icmp any any
 deny ip any any log
";
    let network = Failover::start(&Options {
        entry: " set security-association idle-time 60 default\n set ip access-group OUT out\n set ip access-group IN in\n"
            .to_owned(),
        globals: lists.to_owned(),
        ..Options::default()
    })?;
    let reached = reaches(&network.host_a, HOST_B)?;
    let status = || network.branch.json("show tohub dataplane").map(|status| status.to_string());
    assert!(reached, "the answers are no echo requests: {}", status()?);
    assert!(network.has_sa_with(Hub::One));
    assert!(!reaches(&network.host_b, HOST_A)?, "the requests of the other direction are");

    // No server listens, so a SYN that arrives is answered with RST, which matches "established".
    assert_eq!(connects(&network.host_a, HOST_B, 7002)?, "refused");
    assert_eq!(connects(&network.host_a, HOST_B, 7001)?, "prohibited");
    assert_eq!(connects(&network.host_b, HOST_A, 7003)?, "prohibited", "the error crosses the tunnel");

    wait_for("the matches to be counted", 5, || {
        let lists = network.branch.cli("show access-lists").ok()?;
        let counted =
            |line: &str| lists.lines().any(|one| one.trim_end().starts_with(line) && one.contains("match"));
        (counted("    10 deny tcp any any eq 7001 log (")
            && counted("    10 permit tcp any any established (")
            && counted("    20 deny icmp any any echo (")
            && counted("    30 permit icmp any any (")
            && counted("    40 deny ip any any log ("))
        .then_some(())
    })?;
    let log = network.branch.cli("show logging")?;
    let logged = |start: &str, end: &str| {
        log.lines().any(|line| {
            line.split_once("%SEC-6-IPACCESSLOGP: ")
                .is_some_and(|(_, text)| text.starts_with(start) && text.ends_with(end))
        })
    };
    assert!(logged("list OUT denied tcp 192.168.1.10(", ") -> 192.168.2.10(7001), 1 packet"), "{log}");
    assert!(logged("list IN denied tcp 192.168.2.10(", ") -> 192.168.1.10(7003), 1 packet"), "{log}");
    wait_for("the drops to be counted", 5, || {
        let drops = network.branch.json("show tohub dataplane").ok()?["drops"].clone();
        let count = |reason: &str| drops[reason].as_u64();
        let by_entry = ["crypto-access-list-denied-in", "crypto-access-list-denied-out"];
        (by_entry.iter().all(|reason| count(reason) > Some(0)) && count("access-list-denied-in") == Some(0))
            .then_some(())
    })?;

    network.branch.configure(&["crypto map tohub 1 ipsec-isakmp", "no set ip access-group OUT out"])?;
    wait_for("the filter to be gone", 5, || {
        (connects(&network.host_a, HOST_B, 7001).ok()? == "refused").then_some(())
    })
}

#[test]
fn an_interface_of_hosts_filters_and_an_edit_acts_on_running_flows() -> Result<()> {
    if !available("an_interface_of_hosts_filters_and_an_edit_acts_on_running_flows") {
        return Ok(());
    }
    // Long enough for its verdicts to be cached.
    let others: String = (8001..8011).map(|port| format!(" permit tcp any any eq {port}\n")).collect();
    let list = format!(
        "ip access-list extended INSIDE\n deny tcp any any eq 7001 log\n{others} permit ip any any\n"
    );
    let network = Failover::start(&Options { globals: list, ..Options::default() })?;
    network.branch.configure(&["interface GigabitEthernet0/0", "ip access-group INSIDE in"])?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    wait_for("the filter to be in force", 5, || {
        (connects(&network.host_a, HOST_B, 7001).ok()? == "prohibited").then_some(())
    })?;
    assert_eq!(connects(&network.host_a, HOST_B, 7002)?, "refused", "nothing listens there");

    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(20)?;
    network
        .branch
        .configure(&["ip access-list extended INSIDE", &format!("5 deny udp any any eq {ECHO_PORT}")])?;
    wait_for("the new line to act on the running flow", 5, || {
        let since = now_ms() - 500;
        probe.first_echo_since(since).is_none().then_some(())
    })?;
    let counted = |line: &str| {
        let lists = network.branch.cli("show access-lists INSIDE").unwrap_or_default();
        lists.lines().any(|one| one.trim_start().starts_with(line) && one.contains("match"))
    };
    wait_for("the matches to be counted", 5, || {
        (counted("5 deny udp any any eq 7000 (") && counted("10 deny tcp any any eq 7001 log ("))
            .then_some(())
    })?;
    network.branch.configure(&["ip access-list extended INSIDE", "no 5"])?;
    probe.wait_for_echo(5)?;
    let drops = network.branch.json("show tohub dataplane")?["drops"].clone();
    assert!(drops["access-list-denied-in"].as_u64() > Some(0), "{drops}");
    Ok(())
}

#[test]
fn the_interface_of_a_crypto_map_filters_what_is_on_its_wire() -> Result<()> {
    if !available("the_interface_of_a_crypto_map_filters_what_is_on_its_wire") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    network.internet.route("192.168.1.0/24", BRANCH)?;
    // Packets for the gateway itself pass through the packet path, which gets incomplete checksums
    // from a veth pair.
    network.internet.end_host_offloads("branch")?;
    let clear_and_sealed = |clear: bool, sealed: bool| -> Result<()> {
        wait_for("the filter to be in force", 5, || {
            (reaches(&network.host_a, ROUTER).ok()? == clear).then_some(())
        })?;
        assert_eq!(reaches(&network.internet, BRANCH)?, clear, "what is for the gateway itself");
        assert_eq!(reaches(&network.host_a, HOST_B)?, sealed, "the tunnel");
        Ok(())
    };
    clear_and_sealed(true, true)?;

    let outside = "interface GigabitEthernet0/1";
    network.branch.configure(&[
        "ip access-list extended IPSEC",
        "deny icmp any any log-input",
        "permit udp any any eq isakmp",
        "permit esp any any",
        "ip access-list extended OPEN",
        "permit ip any any",
        outside,
        "ip access-group IPSEC in",
    ])?;
    clear_and_sealed(false, true)?;
    let log = network.branch.cli("show logging")?;
    assert!(
        log.contains("%SEC-6-IPACCESSLOGDP: list IPSEC denied icmp 10.9.9.1 (GigabitEthernet0/1) -> "),
        "{log}"
    );
    network.branch.cli("clear crypto sa")?;
    wait_for("a new tunnel through the filter", 10, || reaches(&network.host_a, HOST_B).ok()?.then_some(()))?;
    let lists = network.branch.cli("show access-lists IPSEC")?;
    for line in ["    20 permit udp any any eq isakmp (", "    30 permit esp any any ("] {
        assert!(lists.contains(line), "{lists}");
    }
    network.branch.configure(&[outside, "ip access-group OPEN in"])?;
    clear_and_sealed(true, true)?;

    network.branch.configure(&[outside, "no ip access-group OPEN in", "ip access-group IPSEC out"])?;
    wait_for("the filter to be in force", 5, || (!reaches(&network.host_a, ROUTER).ok()?).then_some(()))?;
    let ping = network.host_a.command("ping").args(["-c", "1", "-W", "2", ROUTER]).output();
    let told = ping.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Packet filtered"));
    assert!(told, "the sender is told");
    assert!(reaches(&network.internet, BRANCH)?, "what the gateway itself sends is no subject");
    assert!(reaches(&network.host_a, HOST_B)?, "ESP is permitted");

    // A list that does not exist denies everything, ESP too, which the CLI reports.
    let said =
        network.branch.configure(&[outside, "no ip access-group IPSEC out", "ip access-group NONE in"])?;
    assert!(said.contains("access list NONE, which is not configured: everything is denied there"), "{said}");
    clear_and_sealed(false, false)?;

    // While the data plane is dead the list cannot be evaluated: packets for the gateway itself are
    // dropped, too.
    network.branch.configure(&[outside, "ip access-group OPEN in"])?;
    clear_and_sealed(true, true)?;
    let killed = network.branch.kill("tohub-dataplane")?;
    wait_for("the data plane to be gone", 5, || {
        (network.branch.pid_of("tohub-dataplane") != Some(killed)).then_some(())
    })?;
    assert!(!reaches_within(&network.internet, BRANCH, "0.05")?, "nothing passes a filter unasked");
    wait_for("the data plane to be back", 20, || reaches(&network.internet, BRANCH).ok()?.then_some(()))
}

/// Whether one ping is answered.
fn reaches(from: &Namespace, to: &str) -> Result<bool> {
    reaches_within(from, to, "1")
}

fn reaches_within(from: &Namespace, to: &str, seconds: &str) -> Result<bool> {
    let status = from.command("ping").args(["-c", "1", "-W", seconds, to]).output();
    Ok(status.map_err(lab::command::LabError::io("running ping"))?.status.success())
}

/// How a TCP connection to a port where nothing listens ends.
fn connects(from: &Namespace, to: &str, port: u16) -> Result<&'static str> {
    let script = format!("exec 3<>/dev/tcp/{to}/{port}");
    let output = from.command("timeout").args(["4", "bash", "-c", &script]).output();
    let output = output.map_err(lab::command::LabError::io("running bash"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(match text {
        text if text.contains("refused") => "refused",
        text if text.contains("No route to host") => "prohibited",
        _ => "silent",
    })
}
