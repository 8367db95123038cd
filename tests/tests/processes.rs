//! Processes: state that survives a kill, refusal of a second start, traffic that stays closed.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use lab::Result;
use lab::capture::Capture;
use lab::command::{LabError, output, sleep_ms};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Options};
use lab::namespace::available;
use lab::probe::{Probe, echo_server, now_ms};

#[test]
fn a_killed_data_plane_lets_nothing_out_in_clear_and_comes_back_with_the_same_tunnel() -> Result<()> {
    if !available("a_killed_data_plane_lets_nothing_out_in_clear_and_comes_back_with_the_same_tunnel") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 10)?;
    probe.wait_for_echo(15)?;
    let spi = outbound_spi(&network);
    let capture = Capture::start(&network.internet, "branch")?;

    let pid = network.branch.kill("tohub-dataplane")?;
    network.branch.wait_for_restart("tohub-dataplane", pid)?;
    probe.wait_for_echo(15)?;

    assert_eq!(outbound_spi(&network), spi, "IKE did not notice");
    let recording = capture.finish()?;
    assert_eq!((recording.clear_packets(), recording.dropped), (0, 0));
    Ok(())
}

#[test]
fn a_killed_control_plane_loses_no_packet_and_no_clear_text_leaves() -> Result<()> {
    if !available("a_killed_control_plane_loses_no_packet_and_no_clear_text_leaves") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 10)?;
    probe.wait_for_echo(15)?;
    let spi = outbound_spi(&network);
    let capture = Capture::start(&network.internet, "branch")?;
    sleep_ms(300)?;

    let from = now_ms();
    let pid = network.branch.kill("tohub-controlplane")?;
    network.branch.wait_for_restart("tohub-controlplane", pid)?;
    sleep_ms(3000)?;
    let to = now_ms();
    probe.wait_for_echo(15)?;

    let recording = capture.finish()?;
    assert_eq!((recording.clear_packets(), recording.dropped), (0, 0));
    let count = probe.count(from, to);
    assert!(count.sent > 100, "{count:?}");
    assert_eq!(count.lost, 0, "{count:?}");
    assert_eq!(outbound_spi(&network), spi, "no tunnel was renegotiated");
    Ok(())
}

#[test]
fn a_process_that_hangs_is_restarted_and_nothing_leaves_in_clear() -> Result<()> {
    if !available("a_process_that_hangs_is_restarted_and_nothing_leaves_in_clear") {
        return Ok(());
    }
    let mut network = Failover::start(&Options::default())?;
    network.branch.stop();
    // Acts as a service manager.
    let path = network.branch.run_dir().join("notify.sock");
    let manager = UnixDatagram::bind(&path).map_err(LabError::io("binding a socket"))?;
    manager.set_read_timeout(Some(Duration::from_secs(20))).map_err(LabError::io("setting a timeout"))?;
    network.branch.set_environment("NOTIFY_SOCKET", &path.to_string_lossy());
    network.branch.set_environment("TOHUB_HUNG_AFTER", "3");
    network.branch.launch()?;
    let told = || {
        let mut text = [0; 256];
        manager.recv(&mut text).map(|length| String::from_utf8_lossy(&text[..length]).into_owned())
    };
    assert!(told().is_ok_and(|text| text.starts_with("READY=1")), "the first news is that both work");
    assert!(told().is_ok_and(|text| text.starts_with("WATCHDOG=1")));
    network.branch.wait_until_ready()?;

    let _echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 10)?;
    probe.wait_for_echo(15)?;
    let capture = Capture::start(&network.internet, "branch")?;
    for program in ["tohub-controlplane", "tohub-dataplane"] {
        let pid = network.branch.freeze(program)?;
        network.branch.wait_for_restart(program, pid)?;
        assert!(network.branch.log().contains(&format!("{program} makes no progress")), "{program}");
        probe.wait_for_echo(15)?;
    }
    let recording = capture.finish()?;
    assert_eq!((recording.clear_packets(), recording.dropped), (0, 0));
    // Process the messages received meanwhile; then new ones must follow.
    manager.set_nonblocking(true).map_err(LabError::io("setting a socket"))?;
    while told().is_ok() {}
    manager.set_nonblocking(false).map_err(LabError::io("setting a socket"))?;
    assert!(told().is_ok_and(|text| text.starts_with("WATCHDOG=1")), "both make progress again");
    Ok(())
}

#[test]
fn a_second_supervisor_is_refused_and_disturbs_nothing() -> Result<()> {
    if !available("a_second_supervisor_is_refused_and_disturbs_nothing") {
        return Ok(());
    }
    let network = Failover::start(&Options::default())?;
    let supervisor = network.branch.supervisor_pid();
    assert!(supervisor.is_some());
    assert_eq!(
        network.branch.pid_of("tohub-supervise"),
        supervisor,
        "tohub has become the parent: a service manager sees one process"
    );
    let second = output(
        network
            .branch
            .tohub_command()
            .arg("supervise")
            .arg("--config")
            .arg(network.branch.configuration_file()),
    )?;
    assert_eq!(second.status.code(), Some(9), "{}", String::from_utf8_lossy(&second.stderr));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("running"),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );

    let ping = network.host_a.run("ping", &["-c", "2", "-W", "3", HOST_B])?;
    assert!(ping.contains("2 received"), "{ping}");
    Ok(())
}

#[test]
fn after_a_clean_stop_protected_traffic_stays_inside_until_the_release() -> Result<()> {
    if !available("after_a_clean_stop_protected_traffic_stays_inside_until_the_release") {
        return Ok(());
    }
    let mut network = Failover::start(&Options::default())?;
    network.host_a.run("ping", &["-c", "2", "-W", "3", HOST_B])?;
    let capture = Capture::start(&network.internet, "branch")?;
    network.branch.stop();
    let unanswered =
        output(network.host_a.command("ping").args(["-c", "3", "-i", "0.2", "-W", "1", HOST_B]))?;
    assert!(!unanswered.status.success());
    // The gateway itself, toward the protected network, from its inside address.
    let own = output(network.branch.namespace().command("ping").args([
        "-c",
        "3",
        "-i",
        "0.2",
        "-W",
        "1",
        "-I",
        "192.168.1.1",
        HOST_B,
    ]))?;
    assert!(!own.status.success());
    let recording = capture.finish()?;
    assert_eq!((recording.clear_packets(), recording.dropped), (0, 0));
    network.branch.release()?;
    Ok(())
}

/// The branch's outbound SPI, as shown.
fn outbound_spi(network: &Failover) -> Option<String> {
    let text = network.branch.cli("show crypto ipsec sa").ok()?;
    text.lines().find_map(|line| line.trim().strip_prefix("current outbound spi: ").map(str::to_owned))
}
