//! The prediction as data.

use std::net::IpAddr;

use serde::Serialize;

use super::{html, text};

/// What kind of thing a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What the scenario says.
    Event,
    /// Traffic gets through, or stops to.
    Traffic,
    /// A tunnel comes up or goes down.
    Tunnel,
    /// A peer is found dead.
    Detection,
    /// The cursor moves.
    Cursor,
    /// An attempt begins or fails.
    Attempt,
    /// Anything else that the gateway notes.
    Note,
}

/// A line of the predicted timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// What kind.
    pub kind: Kind,
    /// What happens.
    pub text: String,
    /// Why, where a rule says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A peer of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerFact {
    /// As configured.
    pub name: String,
    /// Where it was simulated.
    pub address: IpAddr,
    /// `default`.
    pub default: bool,
}

/// A time without answers although something was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The last answer before, or the first packet.
    pub from_ms: u64,
    /// The first answer after, none if there is none.
    pub to_ms: Option<u64>,
    /// Packets that were never answered.
    pub lost: u64,
}

/// From a peer's death to its detection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// The peer.
    pub peer: String,
    /// When it was declared dead.
    pub at_ms: u64,
    /// Since it went down; none if no event says so.
    pub after_ms: Option<u64>,
}

/// A time during which a peer carried the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// The peer.
    pub peer: String,
    /// From its tunnel coming up.
    pub from_ms: u64,
    /// To its going down, or to the end.
    pub to_ms: u64,
}

/// The prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// The gateway.
    pub hostname: String,
    /// How long was simulated.
    pub duration_ms: u64,
    /// The peers, in the order of the entries.
    pub peers: Vec<PeerFact>,
    /// Everything in order.
    pub timeline: Vec<Moment>,
    /// Every detection.
    pub detections: Vec<Detection>,
    /// Every outage.
    pub outages: Vec<Outage>,
    /// Who had a tunnel, and when.
    pub carried: Vec<Carried>,
    /// Packets sent.
    pub sent: u64,
    /// Packets answered.
    pub answered: u64,
    /// What was assumed.
    pub assumptions: Vec<String>,
    #[serde(skip)]
    pub(super) answers: Vec<u64>,
}

impl Prediction {
    /// From `since_ms` to the moment at which `peer` is declared dead.
    pub fn detection_ms(&self, peer: &str, since_ms: u64) -> Option<u64> {
        let found = self.detections.iter().find(|found| found.peer == peer && found.at_ms >= since_ms);
        found.map(|found| found.at_ms - since_ms)
    }

    /// The longest time without an answer that begins in this span.
    pub fn longest_silence_ms(&self, from_ms: u64, to_ms: u64) -> Option<u64> {
        let before = self.answers.iter().rev().find(|at| **at <= from_ms).copied().unwrap_or(from_ms);
        let inside = self.answers.iter().copied().filter(|at| (from_ms..=to_ms).contains(at));
        let times: Vec<u64> = std::iter::once(before).chain(inside).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max()
    }

    /// One document for other programs.
    ///
    /// # Errors
    /// Never in practice: the prediction is plain data.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The timeline for a terminal.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// One self-contained page with the timeline as a picture.
    pub fn to_html(&self) -> String {
        html::render(self)
    }
}
