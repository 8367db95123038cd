//! Dead peer detection: when to probe, when to give a peer up.
//!
//! The probe ladder of `crypto isakmp keepalive N M`: after N seconds without an authenticated
//! packet from the peer a probe is sent, then five more at intervals of M seconds. The peer is dead
//! when the sixth is not answered within M seconds, N + 6·M after the last sign of life. In
//! on-demand mode the first probe is sent only if a protected packet was sent since the peer was
//! last heard. Any authenticated packet from the peer, ESP or IKE, resets the ladder.

use std::time::Duration;

use ike::IkeId;
use serde::{Deserialize, Serialize};

use super::{Ended, Tunnels};

/// Probes after the first one before a peer is declared dead.
pub const RETRIES: u32 = 5;

/// When probes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Whenever the peer is silent.
    Periodic,
    /// Only when there is traffic to send to a silent peer.
    OnDemand,
}

/// The timing of one peer's detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Silence before the first probe.
    pub interval: Duration,
    /// Time between probes, and after the last one.
    pub retry: Duration,
    /// Number of probes, the first included.
    pub probes: u32,
    /// Periodic or on demand.
    pub mode: Mode,
}

impl Timing {
    /// `keepalive N M {periodic|on-demand}`: dead N + 6·M seconds after the last sign of life.
    pub fn keepalive(interval: u64, retry: u64, mode: Mode) -> Timing {
        Timing {
            interval: Duration::from_secs(interval),
            retry: Duration::from_secs(retry),
            probes: 1 + RETRIES,
            mode,
        }
    }

    /// The millisecond form: a probe every `interval`, dead `count` intervals after the last sign
    /// of life.
    pub fn fast(interval: Duration, count: u32, mode: Mode) -> Timing {
        Timing { interval, retry: interval, probes: count.saturating_sub(1).max(1), mode }
    }

    /// Time from the last sign of life to the verdict, in periodic mode.
    pub fn detection(&self) -> Duration {
        self.interval + self.retry * self.probes
    }
}

/// The result of [`Liveness::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No action.
    Quiet,
    /// Send (or repeat) a probe; numbered from 0 within the ladder.
    Probe(u32),
    /// The peer is dead.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ladder {
    sent: u32,
    next: Duration,
}

/// Dead peer detection for one IKE peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    timing: Timing,
    last_heard: Duration,
    last_sent: Option<Duration>,
    ladder: Option<Ladder>,
}

impl Liveness {
    /// Starts detection for a peer that was heard, authenticated, at `now`.
    pub fn new(timing: Timing, now: Duration) -> Self {
        Liveness { timing, last_heard: now, last_sent: None, ladder: None }
    }

    /// The timing in force.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Changes the timing; a ladder in progress continues with the new intervals.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// An authenticated packet, ESP or IKE, arrived from the peer at `at`.
    pub fn heard(&mut self, at: Duration) {
        if at > self.last_heard {
            self.last_heard = at;
            self.ladder = None;
        }
    }

    /// A protected packet was sent to the peer at `at`.
    pub fn sent(&mut self, at: Duration) {
        self.last_sent = self.last_sent.max(Some(at));
    }

    /// The time when the peer was last heard.
    pub fn last_heard(&self) -> Duration {
        self.last_heard
    }

    /// Probes sent in the current ladder; 0 while the peer is considered alive.
    pub fn unanswered(&self) -> u32 {
        self.ladder.map_or(0, |ladder| ladder.sent)
    }

    /// The next time at which [`Liveness::poll`] can return something other than `Quiet`, as far as
    /// known now.
    pub fn deadline(&self) -> Option<Duration> {
        match self.ladder {
            Some(ladder) => Some(ladder.next),
            None if self.wants_probe() => Some(self.last_heard + self.timing.interval),
            None => None,
        }
    }

    /// Advances by at most one step, so that a process that was suspended for some time sends its
    /// probes before it declares a peer dead.
    pub fn poll(&mut self, now: Duration) -> Verdict {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Verdict::Quiet;
        }
        let sent = self.unanswered();
        if sent >= self.timing.probes {
            return Verdict::Dead;
        }
        self.ladder = Some(Ladder { sent: sent + 1, next: now + self.timing.retry });
        Verdict::Probe(sent)
    }

    fn wants_probe(&self) -> bool {
        match self.timing.mode {
            Mode::Periodic => true,
            Mode::OnDemand => self.last_sent.is_some_and(|sent| sent > self.last_heard),
        }
    }
}

/// An action that detection requests from the gateway.
#[derive(Debug)]
pub enum Detected {
    /// Probe the peer of this IKE SA now, and then every `interval`, `retries` times.
    Probe {
        /// The IKE SA.
        ike: IkeId,
        /// Time between transmissions.
        interval: Duration,
        /// The number of retransmissions.
        retries: u32,
    },
    /// The peer did not answer. Its IKE SA and everything under it are already removed here.
    PeerDead(Ended),
}

impl Tunnels {
    /// Polls the detections that are due.
    pub fn detect(&mut self, now: Duration) -> Vec<Detected> {
        let mut detected = Vec::new();
        for ike in self.detections_due(now) {
            match self.with_liveness(ike, |liveness| (liveness.poll(now), liveness.timing())) {
                Some((Verdict::Probe(0), timing)) => {
                    if let Some(sa) = self.ike_sas.get_mut(&ike) {
                        sa.probing = true;
                    }
                    let retries = timing.probes.saturating_sub(1);
                    detected.push(Detected::Probe { ike, interval: timing.retry, retries });
                }
                Some((Verdict::Dead, _)) => detected.extend(self.end_ike(ike).map(Detected::PeerDead)),
                // The endpoint retransmits its probe at the same interval.
                Some((Verdict::Probe(_) | Verdict::Quiet, _)) | None => {}
            }
        }
        detected
    }

    /// The earliest deadline of any detection.
    pub fn detection_deadline(&self) -> Option<Duration> {
        debug_assert_eq!(
            self.detection_timers.first(),
            self.ike_sas.values().filter_map(|sa| sa.liveness()?.deadline()).min(),
            "a change of a detection was not noted"
        );
        self.detection_timers.first()
    }

    /// IKE SAs whose detection is due.
    pub fn detections_due(&self, now: Duration) -> Vec<IkeId> {
        self.detection_timers.overdue(now)
    }

    /// Whether a probe to the peer of an IKE SA is outstanding.
    pub fn is_probing(&self, ike: IkeId) -> bool {
        self.ike_sas.get(&ike).is_some_and(|sa| sa.probing)
    }

    /// An authenticated IKE message was received over an IKE SA; it answers a probe.
    pub fn peer_heard(&mut self, ike: IkeId, at: Duration) {
        if let Some(sa) = self.ike_sas.get_mut(&ike) {
            sa.probing = false;
        }
        self.heard(ike, at);
    }

    /// An authenticated packet was received from the peer of an IKE SA.
    pub fn heard(&mut self, ike: IkeId, at: Duration) {
        self.with_liveness(ike, |liveness| liveness.heard(at));
    }

    /// A request or packet that a live peer answers was sent over an IKE SA.
    pub fn sent(&mut self, ike: IkeId, at: Duration) {
        self.with_liveness(ike, |liveness| liveness.sent(at));
    }

    /// Reports the times of the last ESP received and sent. True if a probe is outstanding although
    /// the peer is heard.
    pub(super) fn traffic(&mut self, ike: IkeId, heard: Option<Duration>, sent: Option<Duration>) -> bool {
        let answered = self.with_liveness(ike, |liveness| {
            heard.into_iter().for_each(|at| liveness.heard(at));
            sent.into_iter().for_each(|at| liveness.sent(at));
            liveness.unanswered() == 0
        });
        self.is_probing(ike) && answered == Some(true)
    }

    /// Sets the timing of an IKE SA; `None` if no keepalive is configured any more.
    pub fn set_timing(&mut self, ike: IkeId, timing: Option<Timing>) {
        let Some(sa) = self.ike_sas.get_mut(&ike).filter(|sa| sa.is_established()) else { return };
        match (timing, &mut sa.liveness) {
            (Some(timing), Some(liveness)) => liveness.set_timing(timing),
            (Some(timing), empty) => *empty = Some(Liveness::new(timing, Duration::ZERO)),
            (None, liveness) => *liveness = None,
        }
        self.set_detection_timer(ike);
    }

    fn with_liveness<R>(&mut self, ike: IkeId, change: impl FnOnce(&mut Liveness) -> R) -> Option<R> {
        let liveness = self.ike_sas.get_mut(&ike)?.liveness.as_mut()?;
        let result = change(liveness);
        let at = liveness.deadline();
        self.detection_timers.set(ike, at);
        Some(result)
    }

    /// Updates the timer of an IKE SA whose detection was started, stopped or removed.
    pub(super) fn set_detection_timer(&mut self, ike: IkeId) {
        let at = self.ike_sas.get(&ike).and_then(|sa| sa.liveness()?.deadline());
        self.detection_timers.set(ike, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Polls once a second from `from`; returns the times of the probes and of the verdict.
    fn run(liveness: &mut Liveness, from: u64, until: u64) -> (Vec<u64>, Option<u64>) {
        let mut probes = Vec::new();
        for now in from..=until {
            match liveness.poll(s(now)) {
                Verdict::Quiet => {}
                Verdict::Probe(_) => probes.push(now),
                Verdict::Dead => return (probes, Some(now)),
            }
        }
        (probes, None)
    }

    #[test]
    fn periodic_dead_at_n_plus_6m() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::Periodic), s(0));
        assert_eq!(run(&mut liveness, 0, 60), (vec![10, 12, 14, 16, 18, 20], Some(22)));
        let mut liveness = Liveness::new(Timing::keepalive(10, 3, Mode::Periodic), s(0));
        assert_eq!(run(&mut liveness, 0, 60), (vec![10, 13, 16, 19, 22, 25], Some(28)));
        assert_eq!(Timing::keepalive(10, 3, Mode::Periodic).detection(), s(28));
    }

    #[test]
    fn inbound_traffic_suppresses_probes() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::Periodic), s(0));
        for now in 0..100 {
            liveness.heard(s(now));
            assert_eq!(liveness.poll(s(now)), Verdict::Quiet);
        }
    }

    #[test]
    fn a_sign_of_life_on_the_last_rung_resets_the_ladder() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::Periodic), s(0));
        let (probes, dead) = run(&mut liveness, 0, 21);
        assert_eq!((probes.len(), dead), (6, None));
        liveness.heard(s(21));
        assert_eq!(liveness.unanswered(), 0);
        assert_eq!(run(&mut liveness, 21, 100), (vec![31, 33, 35, 37, 39, 41], Some(43)));
    }

    #[test]
    fn an_old_report_does_not_reset_the_ladder() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::Periodic), s(5));
        assert_eq!(liveness.poll(s(15)), Verdict::Probe(0));
        liveness.heard(s(4));
        assert_eq!(liveness.unanswered(), 1);
    }

    #[test]
    fn a17_on_demand_probes_only_with_something_sent() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::OnDemand), s(0));
        assert_eq!(run(&mut liveness, 0, 1000), (vec![], None));
        assert_eq!(liveness.deadline(), None);
        liveness.sent(s(1001));
        assert_eq!(run(&mut liveness, 1001, 2000), (vec![1001, 1003, 1005, 1007, 1009, 1011], Some(1013)));
    }

    #[test]
    fn on_demand_waits_for_n_seconds_of_silence() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::OnDemand), s(0));
        liveness.heard(s(5));
        liveness.sent(s(6));
        assert_eq!(run(&mut liveness, 6, 14), (vec![], None));
        assert_eq!(liveness.poll(s(15)), Verdict::Probe(0));
        liveness.heard(s(15) + Duration::from_millis(1));
        assert_eq!(run(&mut liveness, 16, 500), (vec![], None), "answered, nothing more to send");
    }

    #[test]
    fn milliseconds_dead_after_count_intervals() {
        let timing = Timing::fast(Duration::from_millis(100), 5, Mode::Periodic);
        assert_eq!(timing.detection(), Duration::from_millis(500));
        let mut liveness = Liveness::new(timing, s(0));
        let mut probes = 0;
        for ms in 0..1000 {
            match liveness.poll(Duration::from_millis(ms)) {
                Verdict::Quiet => {}
                Verdict::Probe(_) => probes += 1,
                Verdict::Dead => {
                    assert_eq!((ms, probes), (500, 4));
                    return;
                }
            }
        }
        panic!("never dead");
    }

    #[test]
    fn a_stopped_process_probes_before_it_gives_up() {
        let mut liveness = Liveness::new(Timing::keepalive(10, 2, Mode::Periodic), s(0));
        assert_eq!(liveness.poll(s(500)), Verdict::Probe(0));
        assert_eq!(liveness.poll(s(500)), Verdict::Quiet);
        assert_eq!(liveness.deadline(), Some(s(502)));
    }
}
