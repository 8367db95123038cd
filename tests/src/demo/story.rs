//! The steps of the demo.

use lab::Result;
use lab::capture::Capture;
use lab::command::{LabError, sleep_ms, wait_for};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Hub, Options, branch_configuration};
use lab::probe::{Probe, echo_server, now_ms, tcp_transfer};

use crate::prediction::{Run, compare};
use crate::report::{Phase, Report};
use crate::timeline::Timeline;

/// The wires of the internet that are captured.
const WIRES: [&str; 3] = ["branch", "hub1", "hub2"];
const PROBE_INTERVAL_MS: u32 = 20;
const TRANSFER_MEGABYTES: u32 = 32;
const IDLE_SECONDS: u64 = 60;
/// `crypto isakmp keepalive 10 2`: the silence before the first probe, and six unanswered probes
/// two seconds apart.
const DETECTION_SECONDS: u64 = 22;
const GIVE_UP_SECONDS: u64 = 10;

/// Runs the demo once. Everything that it created is removed when it returns, also on error.
pub fn run(scale: u32) -> Result<()> {
    let timeline = Timeline::start();
    // Only timers are scaled, not the processes' run time: timeouts are at least a few real
    // seconds.
    let at_most = |seconds: u64| seconds / u64::from(scale) + 5;

    timeline.say("building the network: host-a, branch, internet, hub1, hub2, LAN, host-b");
    let options = Options { time_scale: scale, ..Options::default() };
    let network = Failover::start(&options)?;
    timeline.follow(network.branch.run_dir().join("log"));
    let captures = WIRES.map(|wire| Capture::start(&network.internet, wire));
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    timeline.say("three gateways run; no tunnel yet; the internet is being captured");

    timeline.say("traffic starts: host-a sends to host-b");
    let begin = now_ms();
    let mut probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), PROBE_INTERVAL_MS)?;
    let up = probe.wait_for_echo(at_most(15))?;
    expect(
        network.current_peer().as_deref() == Some("10.1.1.1"),
        "the first tunnel does not go to the default peer",
    )?;
    timeline.say(&format!("the first answer came after {} ms, through hub1, the default peer", up - begin));
    let ping = network.host_a.run("ping", &["-c", "5", "-i", "0.2", "-W", "2", HOST_B])?;
    timeline.say(ping.lines().find(|line| line.contains("received")).unwrap_or("ping answered"));
    let transfer = tcp_transfer(&network.host_a, &network.host_b, HOST_B, 7001, TRANSFER_MEGABYTES, 60)?;
    expect(transfer.intact, "the TCP transfer arrived with another checksum")?;
    timeline.say(&format!(
        "TCP: {} MB through the tunnel in {} ms, SHA-256 matches",
        transfer.bytes >> 20,
        transfer.milliseconds
    ));

    timeline.say("hub1 is cut off the internet");
    let cut = now_ms();
    network.cut(Hub::One)?;
    let dead = wait_for("dead peer detection", at_most(DETECTION_SECONDS + 8), || {
        timeline
            .message_since(cut, &["PEER_CHANGE", "reason dpd"])
            .or_else(|| timeline.message_since(cut, &["SESSION_STATUS", "DOWN"]))
    })?;
    timeline.say("DPD has found hub1 dead; the default is tried again, then the next peer");
    let takeover =
        wait_for("the take-over by hub2", at_most(GIVE_UP_SECONDS + 15), || probe.first_echo_since(dead.at))?;
    expect(
        network.current_peer().as_deref() == Some("10.2.2.2"),
        "the current peer is not hub2 after the take-over",
    )?;
    timeline.say("hub2 has taken over");

    sleep_ms(2000)?;
    timeline.say("hub1 returns");
    let healed = now_ms();
    network.heal()?;
    sleep_ms(at_most(20) * 1000)?;
    expect(
        network.current_peer().as_deref() == Some("10.2.2.2"),
        "traffic left hub2 although hub2 is healthy",
    )?;
    timeline.say("traffic has stayed on hub2, as it should: nobody leaves a healthy peer");

    timeline.say(&format!("silence: host-a stops sending; idle timer {IDLE_SECONDS} s"));
    probe.pause()?;
    let silence = now_ms();
    wait_for("the idle timer", at_most(IDLE_SECONDS + 12), || {
        (!network.has_sa_with(Hub::Two)).then_some(())
    })?;
    timeline.say("the SAs have idled out and are closed");
    sleep_ms(500)?;

    timeline.say("host-a sends again");
    let resumed = now_ms();
    probe.resume()?;
    probe.wait_for_echo(at_most(15))?;
    expect(
        network.current_peer().as_deref() == Some("10.1.1.1"),
        "the tunnel did not come home to the default peer",
    )?;
    expect(network.has_sa_with(Hub::One), "there is no SA with hub1 after coming home")?;
    timeline.say("home again: the tunnel goes to hub1, the default peer");
    sleep_ms(2000)?;
    probe.pause()?;
    let end = now_ms();
    sleep_ms(500)?;

    let (detection_ms, outage_ms) = (dead.at - cut, probe.longest_silence(cut, healed));
    let run = Run { begin, cut, healed, silence, resumed, end, interval: PROBE_INTERVAL_MS, scale };
    let predicted = compare(&branch_configuration(&options), &run, detection_ms, outage_ms)?;
    let mut report = Report {
        phases: vec![
            Phase { name: "tunnel to hub1 (first packets wait for IKE)", span: (begin, cut) },
            Phase { name: "hub1 cut, until hub2 carries traffic", span: (cut, takeover) },
            Phase { name: "on hub2, hub1 still away", span: (takeover, healed) },
            Phase { name: "on hub2, hub1 back", span: (healed, silence) },
            Phase { name: "silence", span: (silence, resumed) },
            Phase { name: "home on hub1 (first packets wait for IKE)", span: (resumed, end) },
        ],
        predicted,
        clear_packets: 0,
        esp_packets: 0,
        capture_dropped: 0,
    };
    for (wire, capture) in std::iter::zip(WIRES, captures) {
        let recording = capture?.finish()?;
        for line in recording.describe_clear().into_iter().take(5) {
            timeline.say(&format!("CLEAR TEXT on the wire of {wire}: {line}"));
        }
        report.clear_packets += recording.clear_packets();
        report.esp_packets += recording.esp_packets();
        report.capture_dropped += recording.dropped;
    }
    report.print(&probe, scale);
    expect(report.clear_packets == 0, "clear text was seen on the internet")?;
    expect(
        report.capture_dropped == 0,
        "the captures missed packets, so that zero clear packets prove nothing",
    )?;
    expect(report.esp_packets > 0, "no ESP was seen on the internet")?;
    let lost_home = probe.count(resumed, end).lost;
    expect(
        lost_home == 0,
        &format!("{lost_home} packets were lost on the way home although none needs to be"),
    )?;
    if let Some(pair) = report.predicted.iter().find(|pair| !pair.agrees()) {
        return Err(LabError::Unexpected(format!("not as predicted: {pair}")));
    }
    timeline.say("cleaning up");
    Ok(())
}

fn expect(condition: bool, otherwise: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(LabError::Unexpected(otherwise.to_owned())) }
}
