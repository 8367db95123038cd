//! The prediction as data.

use std::net::IpAddr;

use serde::Serialize;

use super::{html, text};

/// Kind of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An event of the scenario.
    Event,
    /// Traffic starts or stops getting through.
    Traffic,
    /// A tunnel comes up or goes down.
    Tunnel,
    /// A peer is declared dead.
    Detection,
    /// The cursor moves.
    Cursor,
    /// An initiation starts or fails.
    Attempt,
    /// Other entries of the gateway's history.
    Note,
}

/// A line of the predicted timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// Kind.
    pub kind: Kind,
    /// Description.
    pub text: String,
    /// The rule that causes it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A peer of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerFact {
    /// As configured.
    pub name: String,
    /// Its simulated address.
    pub address: IpAddr,
    /// `default`.
    pub default: bool,
}

/// A time without replies although packets were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The last reply before, or the first packet.
    pub from_ms: u64,
    /// The first reply after; `None` if there is none.
    pub to_ms: Option<u64>,
    /// Packets without a reply.
    pub lost: u64,
}

/// The detection of a dead peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// The peer.
    pub peer: String,
    /// When it was declared dead.
    pub at_ms: u64,
    /// Time since it became unreachable; `None` if it did so without an event.
    pub after_ms: Option<u64>,
}

/// A time during which a peer carried the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// The peer.
    pub peer: String,
    /// From its tunnel coming up.
    pub from_ms: u64,
    /// To its tunnel going down, or to the end.
    pub to_ms: u64,
}

/// The prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// Host name of the gateway.
    pub hostname: String,
    /// Simulated time.
    pub duration_ms: u64,
    /// The peers, in the order of the entries.
    pub peers: Vec<PeerFact>,
    /// All moments in order.
    pub timeline: Vec<Moment>,
    /// Every detection.
    pub detections: Vec<Detection>,
    /// Every outage.
    pub outages: Vec<Outage>,
    /// Which peer had a tunnel, and when.
    pub carried: Vec<Carried>,
    /// Packets sent.
    pub sent: u64,
    /// Packets replied to.
    pub answered: u64,
    /// Assumptions.
    pub assumptions: Vec<String>,
    #[serde(skip)]
    pub(super) answers: Vec<u64>,
}

impl Prediction {
    /// Time from `since_ms` until `peer` is declared dead.
    pub fn detection_ms(&self, peer: &str, since_ms: u64) -> Option<u64> {
        let found = self.detections.iter().find(|found| found.peer == peer && found.at_ms >= since_ms);
        found.map(|found| found.at_ms - since_ms)
    }

    /// The longest time without a reply that starts within this span.
    pub fn longest_silence_ms(&self, from_ms: u64, to_ms: u64) -> Option<u64> {
        let before = self.answers.iter().rev().find(|at| **at <= from_ms).copied().unwrap_or(from_ms);
        let inside = self.answers.iter().copied().filter(|at| (from_ms..=to_ms).contains(at));
        let times: Vec<u64> = std::iter::once(before).chain(inside).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max()
    }

    /// The prediction as a JSON document.
    ///
    /// # Errors
    /// Never in practice: the prediction is plain data.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The prediction as text for a terminal.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The prediction as a self-contained HTML page with a chart.
    pub fn to_html(&self) -> String {
        html::render(self)
    }
}
