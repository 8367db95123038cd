//! The preferred peer on real packets: fail-over, staying on the new peer, and failing back to the
//! default peer or not, as configured. Timers run ten times as fast.

use lab::Result;
use lab::command::{sleep_ms, wait_for};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Hub, Options};
use lab::namespace::available;
use lab::probe::{Helper, Probe, echo_server};

const SCALE: u32 = 10;

struct Running {
    network: Failover,
    probe: Probe,
    _echo: Helper,
}

fn running(options: Options) -> Result<Running> {
    let network = Failover::start(&Options { time_scale: SCALE, ..options })?;
    let echo = echo_server(&network.host_b, ECHO_PORT)?;
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), 20)?;
    Ok(Running { network, probe, _echo: echo })
}

/// Cuts hub1 and waits until traffic flows through hub2.
fn fail_over(running: &Running) -> Result<()> {
    running.probe.wait_for_echo(15)?;
    assert_eq!(running.network.current_peer().as_deref(), Some("10.1.1.1"));
    running.network.cut(Hub::One)?;
    wait_for("hub2 to take over", 20, || {
        (running.network.has_sa_with(Hub::Two)
            && running.network.current_peer().as_deref() == Some("10.2.2.2"))
        .then_some(())
    })?;
    running.probe.wait_for_echo(5)?;
    Ok(())
}

#[test]
fn a_dead_default_peer_is_replaced_and_gets_its_traffic_back_after_silence() -> Result<()> {
    if !available("a_dead_default_peer_is_replaced_and_gets_its_traffic_back_after_silence") {
        return Ok(());
    }
    let mut running = running(Options::default())?;
    fail_over(&running)?;

    running.network.heal()?;
    sleep_ms(4000)?;
    assert_eq!(running.network.current_peer().as_deref(), Some("10.2.2.2"), "a healthy peer is not left");

    running.probe.pause()?;
    wait_for("the idle timer", 15, || (!running.network.has_sa_with(Hub::Two)).then_some(()))?;
    running.probe.resume()?;
    running.probe.wait_for_echo(10)?;
    assert_eq!(running.network.current_peer().as_deref(), Some("10.1.1.1"), "home");
    Ok(())
}

#[test]
fn an_idle_timer_without_default_stays_with_the_current_peer() -> Result<()> {
    if !available("an_idle_timer_without_default_stays_with_the_current_peer") {
        return Ok(());
    }
    let entry = " set security-association idle-time 60\n".to_owned();
    let mut running = running(Options { entry, ..Options::default() })?;
    fail_over(&running)?;
    running.network.heal()?;
    running.probe.pause()?;
    wait_for("the idle timer", 15, || (!running.network.has_sa_with(Hub::Two)).then_some(()))?;
    running.probe.resume()?;
    running.probe.wait_for_echo(10)?;
    assert_eq!(
        running.network.current_peer().as_deref(),
        Some("10.2.2.2"),
        "the current peer remains unchanged"
    );
    Ok(())
}

#[test]
fn with_both_hubs_dead_the_branch_keeps_trying_and_recovers() -> Result<()> {
    if !available("with_both_hubs_dead_the_branch_keeps_trying_and_recovers") {
        return Ok(());
    }
    let running = running(Options { give_up: 5, ..Options::default() })?;
    running.probe.wait_for_echo(15)?;
    running.network.cut(Hub::One)?;
    running.network.cut(Hub::Two)?;
    wait_for("both peers to be given up", 20, || {
        (!running.network.has_sa_with(Hub::One) && running.network.branch.log().contains("init-fail"))
            .then_some(())
    })?;
    sleep_ms(3000)?;
    running.network.heal()?;
    running.probe.wait_for_echo(20)?;
    Ok(())
}

#[test]
fn a_wrong_key_gives_no_tunnel_and_says_so() -> Result<()> {
    if !available("a_wrong_key_gives_no_tunnel_and_says_so") {
        return Ok(());
    }
    let keys = ("key-of-the-branch".to_owned(), "another-key-of-the-hubs".to_owned());
    let running = running(Options { keys, give_up: 5, ..Options::default() })?;
    wait_for("the branch to report the failed authentication", 20, || {
        let log = running.network.branch.log();
        (log.to_lowercase().contains("auth")).then_some(())
    })?;
    sleep_ms(1000)?;
    assert!(!running.network.has_sa_with(Hub::One) && !running.network.has_sa_with(Hub::Two));
    assert_eq!(running.probe.first_echo_since(0), None);
    for gateway in [&running.network.branch, running.network.hub(Hub::One)] {
        assert!(!gateway.log().contains("key-of-the"), "a key stands in the log");
    }
    Ok(())
}

#[test]
fn without_a_common_proposal_there_is_no_tunnel_and_the_log_says_so() -> Result<()> {
    if !available("without_a_common_proposal_there_is_no_tunnel_and_the_log_says_so") {
        return Ok(());
    }
    let transforms = ("esp-gcm".to_owned(), "esp-gcm 256".to_owned());
    let running = running(Options { transforms, give_up: 5, ..Options::default() })?;
    wait_for("the branch to report the missing proposal", 20, || {
        let log = running.network.branch.log().to_lowercase();
        (log.contains("proposal")).then_some(())
    })?;
    assert_eq!(running.probe.first_echo_since(0), None);
    Ok(())
}
