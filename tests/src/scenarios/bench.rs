//! The bench of a scenario: a new network, a probe, a capture of the branch's wire, and the usual
//! steps.

use lab::Result;
use lab::capture::{Capture, Recording};
use lab::command::{LabError, sleep_ms, wait_for};
use lab::failover::{ECHO_PORT, Failover, HOST_B, Hub};
use lab::probe::{Helper, Probe, echo_server, now_ms};

use crate::report::Figures;
use crate::scenarios::Scenario;

/// How much faster than real time the gateways' timers run.
pub const SCALE: u32 = 10;
const BRANCH: [u8; 4] = [10, 9, 9, 9];
const PROBE_INTERVAL_MS: u32 = 10;

/// A running scenario.
#[derive(Debug)]
pub struct Bench {
    /// The network.
    pub network: Failover,
    /// Traffic from host-a to host-b.
    pub probe: Probe,
    /// Measured values.
    pub figures: Figures,
    wire: Option<Capture>,
    _echo: Helper,
}

/// Plays one scenario from the start of its network to the end, and checks that there is no clear
/// text.
pub fn play(scenario: &Scenario) -> Result<Figures> {
    let network = Failover::start(&(scenario.options)())?;
    let wire = Capture::start(&network.internet, "branch")?;
    let echo = echo_server(&network.host_b, ECHO_PORT)?;
    let begin = now_ms();
    let probe = Probe::start(&network.host_a, &format!("{HOST_B}:{ECHO_PORT}"), PROBE_INTERVAL_MS)?;
    let mut bench = Bench { network, probe, figures: Figures::default(), wire: Some(wire), _echo: echo };
    (scenario.steps)(&mut bench)?;
    sleep_ms(300)?;
    let count = bench.probe.count(begin, now_ms() - 300);
    (bench.figures.sent, bench.figures.lost) = (count.sent, count.lost);
    if let Some(wire) = bench.wire.take() {
        let recording = wire.finish()?;
        expect_no_clear_text(&recording)?;
    }
    Ok(bench.figures)
}

impl Bench {
    /// Checks that traffic flows through that hub.
    pub fn expect_traffic_through(&self, hub: Hub) -> Result<()> {
        self.probe.wait_for_echo(15)?;
        self.expect_current(hub)?;
        if self.network.has_sa_with(hub) { Ok(()) } else { fail(&format!("no SA with {}", hub.wire())) }
    }

    /// Checks that `Current peer` is that hub.
    pub fn expect_current(&self, hub: Hub) -> Result<()> {
        match self.network.current_peer() {
            Some(peer) if peer == hub.address() => Ok(()),
            other => fail(&format!("current peer is {other:?}, expected {}", hub.address())),
        }
    }

    /// Cuts the hub off and waits until the SAs with it are gone; records the detection time.
    pub fn cut_and_wait_for_detection(&mut self, hub: Hub) -> Result<u64> {
        let cut = now_ms();
        self.network.cut(hub)?;
        let gone = wait_for("dead peer detection", 12, || (!self.network.has_sa_with(hub)).then(now_ms))?;
        self.figures.detection_ms = Some(gone - cut);
        Ok(cut)
    }

    /// Cuts the hub off and waits until traffic flows through another; records detection and
    /// outage.
    pub fn fail_over(&mut self, dead: Hub, successor: Hub) -> Result<()> {
        let cut = self.cut_and_wait_for_detection(dead)?;
        self.wait_for_takeover(successor)?;
        self.figures.outage_ms = Some(self.probe.longest_silence(cut, now_ms()));
        Ok(())
    }

    /// Waits until traffic flows through the hub.
    pub fn wait_for_takeover(&self, hub: Hub) -> Result<()> {
        wait_for(&format!("{} to take over", hub.wire()), 20, || {
            (self.network.current_peer().as_deref() == Some(hub.address()) && self.network.has_sa_with(hub))
                .then_some(())
        })?;
        self.probe.wait_for_echo(5).map(drop)
    }

    /// Stops the traffic and waits until the SAs with the hub have idled out.
    pub fn fall_silent(&mut self, hub: Hub) -> Result<()> {
        self.probe.pause()?;
        wait_for("the idle timer", 25, || (!self.network.has_sa_with(hub)).then_some(()))
    }

    /// Resumes the traffic and waits for the first answer.
    pub fn speak_again(&mut self) -> Result<()> {
        self.probe.resume()?;
        self.probe.wait_for_echo(20).map(drop)
    }

    /// The peers to which the branch has initiated so far. Ends the capture of the wire; clear text
    /// in it fails the scenario.
    pub fn initiations(&mut self) -> Result<Vec<String>> {
        let Some(wire) = self.wire.take() else { return fail("the wire was read already") };
        let recording = wire.finish()?;
        expect_no_clear_text(&recording)?;
        Ok(recording.initiations(BRANCH).iter().map(ToString::to_string).collect())
    }
}

/// Checks that there is no clear text, and that the capture lost no packets.
fn expect_no_clear_text(recording: &Recording) -> Result<()> {
    match (recording.clear_packets(), recording.dropped) {
        (0, 0) => Ok(()),
        (clear, missed) => fail(&format!("{clear} clear packets, {missed} missed")),
    }
}

/// The error of a failed scenario.
pub fn fail<T>(why: &str) -> Result<T> {
    Err(LabError::Unexpected(why.to_owned()))
}
