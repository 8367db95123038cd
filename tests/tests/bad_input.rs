//! Malformed packets from arbitrary sources change a counter and nothing else, and the tunnel keeps
//! working.

use lab::Result;
use lab::command::{LabError, sleep_ms, wait_for};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Options};
use lab::namespace::{Namespace, available};
use lab::probe::{Probe, echo_server, now_ms};

const IKE_DATAGRAMS: u64 = 10_000;
const FRAMES: u64 = 6_000;
/// Limit of memory growth between the samples.
const GROWTH_KIB: u64 = 32 << 10;
const LOG_BYTES: usize = 64 << 10;

#[test]
fn garbage_is_counted_and_changes_nothing_while_the_tunnel_carries_on() -> Result<()> {
    if !available("garbage_is_counted_and_changes_nothing_while_the_tunnel_carries_on") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    probe.wait_for_echo(15)?;
    let before = Sample::take(&network)?;

    let from = now_ms();
    let lab = lab::gateway::program("tohub-lab")?;
    let lab = lab.to_string_lossy();
    let count = IKE_DATAGRAMS.to_string();
    // With the source address of the peer in use, of the other peer, and of an unknown host.
    network.internet.run(&lab, &["ike-garbage", "10.9.9.9", &count, "10.1.1.1", "10.2.2.2", "10.9.9.77"])?;
    let sides =
        [(&network.internet, "branch", "outside", "10.9.9.9"), (&network.host_a, "eth0", "inside", HOST_B)];
    for (attacker, interface, port, target) in sides {
        let mac = mac_of(network.branch.namespace(), port)?;
        attacker.run(&lab, &["frame-garbage", interface, &mac, target, &FRAMES.to_string()])?;
    }
    let to = now_ms();

    let mut stats = String::new();
    wait_for("the IKE garbage to be counted", 10, || {
        stats = network.branch.cli("show crypto ikev2 stats").unwrap_or_default();
        let counted = |name: &str| -> u64 {
            let line = stats.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            line.unwrap_or(0)
        };
        (counted("Malformed:") > IKE_DATAGRAMS / 8 && counted("Unknown SPI:") > IKE_DATAGRAMS / 32)
            .then_some(())
    })
    .map_err(|error| LabError::Unexpected(format!("{error}:\n{stats}")))?;
    let status = network.branch.json("show tohub dataplane")?;
    let (drops, programs) = (status["drops"].clone(), &status["programs"]);
    assert!(programs["ingress-drop-malformed"].as_u64() > Some(FRAMES / 100), "{programs}");
    for name in ["bad-ip-checksum", "unknown-spi", "esp-truncated"] {
        assert!(drops[name].as_u64() > Some(FRAMES / 100), "{name}: {drops}");
    }

    let after = Sample::take(&network)?;
    assert_eq!(after.state, before.state, "no state changed, and no process died");
    for (was, is) in std::iter::zip(before.memory_kib, after.memory_kib) {
        assert!(is < was + GROWTH_KIB, "memory grew from {was} to {is} KiB");
    }
    let grown = after.log_bytes - before.log_bytes;
    assert!(grown < LOG_BYTES, "{grown} bytes were logged:\n{}", network.branch.log_tail());
    let during = probe.count(from, to);
    assert!(during.lost * 10 < during.sent, "the tunnel suffered: {during:?}");

    sleep_ms(500)?;
    let ping = network.host_a.run("ping", &["-c", "5", "-i", "0.2", "-W", "3", HOST_B])?;
    assert!(ping.contains("5 received"), "afterwards nothing is lost: {ping}");
    Ok(())
}

/// State that garbage must not change, and state that it may change a little.
struct Sample {
    /// Both processes' ids, the peer in use, the SPIs, the IKE SAs.
    state: Vec<String>,
    memory_kib: [u64; 2],
    log_bytes: usize,
}

impl Sample {
    fn take(network: &Failover) -> Result<Self> {
        let branch = &network.branch;
        let pids = ["tohub-controlplane", "tohub-dataplane"].map(|name| {
            branch.pid_of(name).ok_or_else(|| LabError::Unexpected(format!("{name} does not run")))
        });
        let [control, data] = pids;
        let (control, data) = (control?, data?);
        let mut state = vec![format!("{control} {data}"), format!("{:?}", network.current_peer())];
        for (show, word) in [("show crypto ipsec sa", "spi"), ("show crypto ikev2 sa", "10.")] {
            let text = branch.cli(show)?;
            state.extend(text.lines().filter(|line| line.contains(word)).map(str::to_owned));
        }
        Ok(Self {
            state,
            memory_kib: [resident_kib(control), resident_kib(data)],
            log_bytes: branch.log().len(),
        })
    }
}

fn resident_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The MAC address of an interface, in hexadecimal without colons.
fn mac_of(namespace: &Namespace, interface: &str) -> Result<String> {
    let text = namespace.ip(&["-o", "link", "show", "dev", interface])?;
    let mac = text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
    mac.map(|mac| mac.replace(':', ""))
        .ok_or_else(|| LabError::Unexpected(format!("no MAC address of {interface} in {text:?}")))
}
