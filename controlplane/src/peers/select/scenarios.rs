//! Scenarios of the preferred-peer rules with detection, idle timer and cursor under a virtual
//! clock. The peers are flags (up or down); IKE gives up after [`GIVE_UP`].

use super::*;
use crate::peers::idle::IdleTimer;
use crate::tunnels::{Liveness, Mode, Timing, Verdict};

const A: &str = "10.1.1.1";
const B: &str = "10.2.2.2";
const C: &str = "10.3.3.3";
const GIVE_UP: Duration = Duration::from_secs(60);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A gateway with one entry; time advances in steps of a second.
struct Gateway {
    now: Duration,
    selection: Selection<&'static str>,
    rule: IdleRule,
    mode: Mode,
    up: Vec<&'static str>,
    tunnel: Option<(&'static str, Liveness, IdleTimer)>,
    trying: Option<(&'static str, Duration)>,
    log: Vec<(u64, String)>,
}

impl Gateway {
    fn new(peers: &[&'static str], default: bool, rule: IdleRule) -> Self {
        Gateway {
            now: s(0),
            selection: Selection::new(peers.to_vec(), default, rule),
            rule,
            mode: Mode::Periodic,
            up: peers.to_vec(),
            tunnel: None,
            trying: None,
            log: Vec::new(),
        }
    }

    /// The specification's example: A (default), B, `idle-time 120 default`, keepalive 10 2
    /// periodic.
    fn example() -> Self {
        Gateway::new(&[A, B], true, IdleRule::resolve(Some((120, true)), None))
    }

    fn note(&mut self, text: String) {
        self.log.push((self.now.as_secs(), text));
    }

    fn act(&mut self, step: Step<&'static str>) {
        match step.next {
            Next::Initiate(peer) => {
                self.note(format!("try {peer}"));
                self.trying = Some((peer, self.now + GIVE_UP));
            }
            Next::Exhausted(_) => self.note("exhausted".into()),
            _ => {}
        }
    }

    fn close(&mut self, why: &str) {
        if let Some((peer, ..)) = self.tunnel.take() {
            self.note(format!("{why} {peer}"));
        }
    }

    /// Advances one second; with `traffic`, a packet to the remote network is sent (and answered if
    /// the tunnel is up).
    fn second(&mut self, traffic: bool) {
        self.now += s(1);
        if let Some((peer, give_up)) = self.trying {
            if self.up.contains(&peer) {
                self.trying = None;
                let _ = self.selection.established(&peer);
                self.tunnel = Some((
                    peer,
                    Liveness::new(Timing::keepalive(10, 2, self.mode), self.now),
                    IdleTimer::started(self.now),
                ));
                self.note(format!("up {peer}"));
            } else if self.now >= give_up {
                self.trying = None;
                let step = self.selection.failed(&peer);
                self.act(step);
            }
        }
        let alive = self.tunnel.as_ref().is_some_and(|(peer, ..)| self.up.contains(peer));
        if traffic {
            match &mut self.tunnel {
                Some((_, liveness, idle)) => {
                    liveness.sent(self.now);
                    idle.packet(self.now);
                    self.selection.packet(self.now);
                    if alive {
                        liveness.heard(self.now);
                    }
                }
                None => {
                    let step = self.selection.trigger(self.now);
                    self.act(step);
                }
            }
        }
        let now = self.now;
        let verdict = self.tunnel.as_mut().map(|(peer, liveness, idle)| {
            let verdict = liveness.poll(now);
            if matches!(verdict, Verdict::Probe(_)) && alive {
                liveness.heard(now);
            }
            (*peer, verdict, idle.expired(&self.rule, now))
        });
        match verdict {
            Some((peer, Verdict::Dead, _)) => {
                self.close("dead");
                let _ = self.selection.dead(&peer, None);
            }
            Some((_, _, true)) => {
                self.close("idle");
                let _ = self.selection.idled(true);
            }
            _ => {}
        }
    }

    fn traffic(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second(true);
        }
    }

    fn silence(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second(false);
        }
    }

    fn tunnel_with(&self) -> Option<&'static str> {
        self.tunnel.as_ref().map(|(peer, ..)| *peer)
    }

    fn times(&self, what: &str) -> Vec<u64> {
        self.log.iter().filter(|(_, text)| text == what).map(|(at, _)| *at).collect()
    }

    fn sequence(&self) -> Vec<&str> {
        self.log.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// The example after A died under traffic and B took over.
fn on_the_backup() -> Gateway {
    let mut gateway = Gateway::example();
    gateway.traffic(30);
    gateway.up = vec![B];
    gateway.traffic(120);
    assert_eq!(gateway.tunnel_with(), Some(B));
    gateway
}

#[test]
fn scenario_1_the_default_dies_under_traffic() {
    let mut gateway = Gateway::example();
    gateway.traffic(30);
    assert_eq!(gateway.tunnel_with(), Some(A));
    gateway.up = vec![B];
    gateway.traffic(120);
    assert_eq!(
        gateway.sequence(),
        ["try 10.1.1.1", "up 10.1.1.1", "dead 10.1.1.1", "try 10.1.1.1", "try 10.2.2.2", "up 10.2.2.2"]
    );
    let dead = gateway.times("dead 10.1.1.1")[0];
    let up = gateway.times("up 10.2.2.2")[0];
    assert!((20..=22).contains(&(dead - 30)), "detection in N+5M..N+6M, was {}", dead - 30);
    assert!(up - dead >= GIVE_UP.as_secs(), "the default is tried first and costs the whole give-up time");
}

#[test]
fn scenario_1_without_default_costs_the_detection_only() {
    let mut gateway = Gateway::new(&[A, B], false, IdleRule::default());
    gateway.traffic(30);
    gateway.up = vec![B];
    gateway.traffic(30);
    assert_eq!(
        gateway.sequence(),
        ["try 10.1.1.1", "up 10.1.1.1", "dead 10.1.1.1", "try 10.2.2.2", "up 10.2.2.2"]
    );
}

#[test]
fn scenario_2_traffic_stays_on_the_backup_for_ever() {
    let mut gateway = on_the_backup();
    gateway.up = vec![A, B];
    gateway.log.clear();
    gateway.traffic(20_000);
    assert_eq!(gateway.tunnel_with(), Some(B));
    assert!(gateway.log.is_empty());
}

#[test]
fn scenario_3_silence_brings_the_next_packet_home() {
    let mut gateway = on_the_backup();
    gateway.up = vec![A, B];
    gateway.silence(121);
    assert_eq!(gateway.tunnel_with(), None);
    gateway.traffic(3);
    assert_eq!(gateway.tunnel_with(), Some(A));
}

#[test]
fn scenario_4_without_default_on_idle_time_it_stays() {
    let mut gateway = Gateway::new(&[A, B], true, IdleRule::resolve(Some((120, false)), None));
    gateway.traffic(30);
    gateway.up = vec![B];
    gateway.traffic(120);
    gateway.up = vec![A, B];
    gateway.silence(125);
    assert_eq!(gateway.tunnel_with(), None);
    gateway.traffic(3);
    assert_eq!(gateway.tunnel_with(), Some(B));
}

#[test]
fn scenario_5_the_backup_dies_after_the_default_returned() {
    let mut gateway = on_the_backup();
    gateway.up = vec![A];
    gateway.traffic(30);
    assert_eq!(gateway.tunnel_with(), Some(A));
}

#[test]
fn scenario_6_a_dead_default_costs_the_give_up_time_at_every_idle_cycle() {
    let mut gateway = on_the_backup();
    for _ in 0..3 {
        gateway.silence(125);
        gateway.log.clear();
        gateway.traffic(70);
        assert_eq!(gateway.sequence(), ["try 10.1.1.1", "try 10.2.2.2", "up 10.2.2.2"]);
    }
}

#[test]
fn scenario_7_both_dead() {
    let mut gateway = Gateway::example();
    gateway.up = vec![];
    gateway.traffic(250);
    assert_eq!(
        gateway.sequence(),
        [
            "try 10.1.1.1",
            "try 10.2.2.2",
            "exhausted",
            "try 10.1.1.1",
            "try 10.2.2.2",
            "exhausted",
            "try 10.1.1.1"
        ]
    );
    let lone = gateway.times("exhausted").len();
    gateway.silence(400);
    assert_eq!(gateway.times("exhausted").len(), lone + 1, "no cycle without a trigger");
}

#[test]
fn scenario_8_no_default_wraps() {
    let mut gateway = Gateway::new(&[A, B], false, IdleRule::resolve(Some((120, false)), None));
    gateway.traffic(5);
    gateway.up = vec![B];
    gateway.traffic(30);
    assert_eq!(gateway.tunnel_with(), Some(B));
    gateway.up = vec![A];
    gateway.traffic(30);
    assert_eq!(gateway.tunnel_with(), Some(A));
    gateway.up = vec![B];
    gateway.traffic(30);
    gateway.up = vec![A, B];
    gateway.silence(125);
    gateway.traffic(3);
    assert_eq!(gateway.tunnel_with(), Some(B), "idle-out on B returns to B");
}

#[test]
fn scenario_9_the_backup_initiates_to_us() {
    let mut gateway = Gateway::example();
    gateway.traffic(5);
    let step = gateway.selection.established(&B);
    assert_eq!(step.change, Some(Change { old: A, new: B, reason: Reason::PeerHeard }));
}

#[test]
fn scenario_10_on_demand_detects_nothing_without_traffic() {
    let mut gateway = Gateway::example();
    gateway.rule = IdleRule::default();
    gateway.mode = Mode::OnDemand;
    gateway.traffic(5);
    gateway.up = vec![B];
    gateway.silence(1000);
    assert_eq!(gateway.tunnel_with(), Some(A), "nothing to send, nothing noticed");
    gateway.log.clear();
    gateway.traffic(90);
    assert_eq!(gateway.sequence(), ["dead 10.1.1.1", "try 10.1.1.1", "try 10.2.2.2", "up 10.2.2.2"]);
}

#[test]
fn scenario_11_a2_next_after_the_default_not_after_the_dead_one() {
    let mut gateway = Gateway::new(&[A, B, C], true, IdleRule::default());
    gateway.up = vec![B, C];
    gateway.traffic(70);
    assert_eq!(gateway.tunnel_with(), Some(B));
    gateway.up = vec![C];
    gateway.log.clear();
    gateway.traffic(200);
    assert_eq!(
        gateway.sequence(),
        ["dead 10.2.2.2", "try 10.1.1.1", "try 10.2.2.2", "try 10.3.3.3", "up 10.3.3.3"]
    );
}

#[test]
fn scenario_12_equal_timers_no_fail_back() {
    let mut gateway = Gateway::new(&[A, B], true, IdleRule::resolve(Some((120, true)), Some(120)));
    gateway.up = vec![B];
    gateway.traffic(70);
    gateway.up = vec![A, B];
    gateway.silence(125);
    assert_eq!(gateway.tunnel_with(), None, "the global timer closed it");
    gateway.traffic(3);
    assert_eq!(gateway.tunnel_with(), Some(B));
}

#[test]
fn scenario_13_the_other_side_idles_out_first() {
    let mut gateway = on_the_backup();
    gateway.up = vec![A, B];
    gateway.silence(110);
    gateway.close("deleted by");
    gateway.silence(10);
    gateway.traffic(3);
    assert_eq!(gateway.tunnel_with(), Some(A), "the idle clock ran on");
}

#[test]
fn scenario_13_a_packet_before_the_idle_time_stays() {
    let mut gateway = on_the_backup();
    gateway.up = vec![A, B];
    gateway.silence(60);
    gateway.close("deleted by");
    gateway.traffic(3);
    assert_eq!(gateway.tunnel_with(), Some(B));
}
