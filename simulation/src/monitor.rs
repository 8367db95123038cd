//! The invariants, checked after every step of every gateway.
//!
//! The monitor knows the disturbances of the network ([`Monitor::disturbed`] and the conditions of
//! the links) and the configuration of each site. It judges from these, not from the state of the
//! control plane.

mod coherence;
mod cursor;
mod forgery;
mod health;

use std::fmt;

use controlplane::peers::select::Reason;
use sa_table::{FiveTuple, PolicyId, SlotWord};

use crate::network::{Network, ORIGIN, Sabotage};
use crate::site::Site;

use cursor::Track;
use health::Health;

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Traffic that is configured to be protected never leaves in clear, and no sequence number is
    /// used twice under one key.
    NeverClear,
    /// While a listed peer is reachable, a flow gets through within a time that follows from the
    /// configured timers.
    NeverStuck,
    /// A healthy peer is left only when the configuration requires it.
    HealthyKept,
    /// The cursor moves only as the transition table defines, and for the reported reason.
    CursorRules,
    /// A flow has one outbound SA: policy word, session and table agree, and surplus pairs are
    /// removed.
    OneOutbound,
    /// Unused resources are freed.
    NoLeak,
    /// Unauthenticated packets change nothing.
    ForgeriesInert,
    /// No panic, no endless loop, no internal error.
    Sound,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Invariant::NeverClear => "never in clear",
            Invariant::NeverStuck => "never stuck",
            Invariant::HealthyKept => "a healthy peer is kept",
            Invariant::CursorRules => "cursor rules",
            Invariant::OneOutbound => "one outbound SA",
            Invariant::NoLeak => "no leak",
            Invariant::ForgeriesInert => "forgeries change nothing",
            Invariant::Sound => "sound",
        })
    }
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Milliseconds since the start.
    pub at: u64,
    /// The invariant.
    pub invariant: Invariant,
    /// The gateway's name.
    pub gateway: String,
    /// The observed and the expected state.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at as f64 / 1000.0;
        write!(f, "{seconds:.3} s, {}: \"{}\" is violated: {}", self.gateway, self.invariant, self.text)
    }
}

/// The monitor, see the module documentation.
pub struct Monitor {
    /// Violations, oldest first; only the first few are kept.
    pub violations: Vec<Violation>,
    health: Health,
    tracks: Vec<Vec<Track>>,
    words: Vec<Vec<(PolicyId, Option<SlotWord>)>>,
    fingerprint: u64,
    /// Flows that must always make progress.
    watched: Vec<bool>,
    sabotage: Sabotage,
}

const MOST_VIOLATIONS: usize = 8;

impl Monitor {
    /// A monitor of gateways that are about to start. `watched` marks the flows that must always
    /// make progress.
    pub fn new(sites: Vec<Site>, watched: Vec<bool>, sabotage: Sabotage) -> Self {
        let count = sites.len();
        Monitor {
            violations: Vec::new(),
            health: Health::new(sites),
            tracks: vec![Vec::new(); count],
            words: vec![Vec::new(); count],
            fingerprint: 0,
            watched,
            sabotage,
        }
    }

    /// The sites with their current configuration.
    pub fn sites(&self) -> &[Site] {
        self.health.sites()
    }

    /// A disturbance that invalidates state of a gateway or its peers: restart, clear, edit.
    pub fn disturbed(&mut self, network: &Network, gateway: usize) {
        self.health.disturb(network.now, gateway);
        self.unsettle(gateway);
    }

    /// The conditions of links, gateways or names may have changed.
    pub fn conditions(&mut self, network: &Network) {
        self.health.refresh(network);
    }

    /// A site gets a new configuration; to be called before it is applied.
    pub fn edited(&mut self, network: &Network, gateway: usize, site: Site) {
        self.before_edit(network, gateway);
        self.health.set_site(gateway, site);
        self.health.disturb(network.now, gateway);
        self.health.refresh(network);
    }

    /// The control plane was restarted: its cursor may have changed, and its IKE SAs are gone.
    pub fn restarted(&mut self, gateway: usize) {
        self.tracks[gateway].clear();
        self.health.lose_ike(gateway);
    }

    /// A reply to a packet came through an SA with `from`.
    pub(crate) fn answered(&mut self, network: &Network, gateway: usize, from: std::net::IpAddr) {
        self.health.works(network.now, gateway, from);
    }

    /// A flow sends a packet.
    pub(crate) fn offered(&mut self, network: &Network, flow: usize) {
        let Some(entry) = network.flows.get(flow).filter(|_| self.watched.get(flow) == Some(&true)) else {
            return;
        };
        let site = entry.gateway;
        let Some(bound) = self.health.bound(site).filter(|_| self.health.can_reach_any(site)) else { return };
        let begin = self.health.quiet_since(site).max(entry.since).max(entry.last_answer);
        if network.now > begin + bound {
            let text = format!(
                "flow {flow} sends since {:.1} s, a listed peer can be reached and nothing changed since {:.1} s, but there is \
                 no answer since {:.1} s; the bound is {:.1} s",
                seconds(entry.since),
                seconds(self.health.quiet_since(site)),
                seconds(entry.last_answer),
                bound as f64 / 1000.0
            );
            self.violated(network, site, Invariant::NeverStuck, text);
        }
    }

    /// The data plane sent a packet or did not.
    pub(crate) fn left(&mut self, network: &Network, gateway: usize, tuple: &FiveTuple, clear: bool) {
        if clear && self.sites()[gateway].applied {
            let text = format!("a packet {} -> {} left as it is", tuple.source, tuple.destination);
            self.violated(network, gateway, Invariant::NeverClear, text);
        }
        if network.gateways[gateway].plane.reused_nonce {
            self.violated(
                network,
                gateway,
                Invariant::NeverClear,
                "a number was used twice under one key".into(),
            );
        }
    }

    /// A control plane reports that the cursor of an entry moved.
    pub(crate) fn peer_change(
        &mut self,
        network: &Network,
        gateway: usize,
        entry: &str,
        old: &str,
        new: &str,
        reason: Reason,
    ) {
        self.check_health_of_change(network, gateway, old, reason);
        self.check_change(network, gateway, entry, old, new, reason);
    }

    /// A control plane has processed all events.
    pub(crate) fn after(&mut self, network: &Network, gateway: usize) {
        self.health.look(network, gateway);
        self.check_cursors(network, gateway);
        self.check_words(network, gateway);
        self.check_amounts(network, gateway);
    }

    /// A control plane reports an internal error.
    pub(crate) fn trouble(&mut self, network: &Network, gateway: usize, text: &str) {
        self.violated(network, gateway, Invariant::Sound, text.to_owned());
    }

    /// A peer was declared dead or an initiation to it failed: it must not have been healthy.
    fn check_health_of_change(&mut self, network: &Network, gateway: usize, old: &str, reason: Reason) {
        if !matches!(reason, Reason::Dpd | Reason::InitFail) {
            return;
        }
        let Some(peer) = self.health.site_of(old) else { return };
        let Some(patience) = self.health.patience(gateway, reason) else { return };
        let healthy = match reason {
            Reason::Dpd => self.health.working_since(gateway, peer),
            _ => self.health.good_since(gateway, peer),
        };
        if let Some(since) = healthy
            && network.now > since + patience
        {
            let text = format!(
                "{old} is left ({reason}) although it can be reached and works since {:.1} s; {:.1} s would be excused",
                seconds(since),
                patience as f64 / 1000.0
            );
            self.violated(network, gateway, Invariant::HealthyKept, text);
        }
    }

    pub(crate) fn violated(&mut self, network: &Network, gateway: usize, invariant: Invariant, text: String) {
        let known = self.violations.iter().any(|violation| violation.invariant == invariant);
        if known || self.violations.len() >= MOST_VIOLATIONS {
            return;
        }
        let gateway = network.gateways[gateway].name.clone();
        self.violations.push(Violation { at: network.now - ORIGIN, invariant, gateway, text });
    }
}

fn seconds(at: u64) -> f64 {
    at.saturating_sub(ORIGIN) as f64 / 1000.0
}
