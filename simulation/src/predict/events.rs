//! Events of a scenario, and the meaning of the gateway's messages.

use std::time::Duration;

use super::{Kind, Moment, PeerFact, PredictError};

/// An event at a certain time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since the start.
    pub at: Duration,
    /// The event.
    pub what: What,
}

/// Kinds of events. Peers are given by address, or by name as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The peer becomes unreachable.
    Down(String),
    /// It becomes reachable again, with its state.
    Up(String),
    /// It restarts without its state and continues at once.
    Restart(String),
    /// `clear crypto session` is executed at the gateway.
    Clear,
}

/// Maximum duration of a scenario: a week.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Parses `t=10s down 10.1.1.1`.
///
/// # Errors
/// The reason why it is invalid.
pub fn parse_event(text: &str) -> Result<Event, PredictError> {
    let refuse = |reason: String| PredictError::Event { text: text.to_owned(), reason };
    let mut words = text.split_whitespace();
    let time = words.next().and_then(|word| word.strip_prefix("t="));
    let time = time.ok_or_else(|| refuse("it does not begin with a time".to_owned()))?;
    let at = parse_duration(time).map_err(refuse)?;
    let verb = words.next().ok_or_else(|| refuse("it does not say what happens".to_owned()))?;
    let mut peer =
        || words.next().map(str::to_owned).ok_or_else(|| refuse(format!("\"{verb}\" needs a peer")));
    let what = match verb {
        "down" => What::Down(peer()?),
        "up" => What::Up(peer()?),
        "restart" => What::Restart(peer()?),
        "clear" => What::Clear,
        _ => return Err(refuse(format!("\"{verb}\" is nothing that can happen"))),
    };
    match words.next() {
        Some(word) => Err(refuse(format!("\"{word}\" is too much"))),
        None => Ok(Event { at, what }),
    }
}

/// Parses `500ms`, `10s`, `5m`, `2h`; an error contains the input.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("\"{text}\" is no duration: it needs a number and ms, s, m or h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is no duration: it needs a number"))?;
    let span = Duration::from_millis(number.saturating_mul(milliseconds));
    if span > LONGEST { Err(format!("\"{text}\" is longer than a week")) } else { Ok(span) }
}

impl Event {
    pub(super) fn moment(&self) -> Moment {
        let text = match &self.what {
            What::Down(peer) => format!("{peer} cannot be reached any more"),
            What::Up(peer) => format!("{peer} can be reached again"),
            What::Restart(peer) => format!("{peer} restarts and has forgotten everything"),
            What::Clear => "clear crypto session".to_owned(),
        };
        Moment { at_ms: super::millis(self.at), kind: Kind::Event, text, why: None }
    }
}

/// The kind of a transition, and the rule that causes it.
pub(super) fn classify(event: &str, peers: &[PeerFact]) -> (Kind, Option<String>) {
    let default = peers.iter().find(|peer| peer.default).map(|peer| peer.name.as_str());
    let why = |text: &str| Some(text.to_owned());
    if event.ends_with(" is dead") {
        return (Kind::Detection, why("nothing authenticated came from it, and no probe was answered"));
    }
    if event.starts_with("tunnel to ") {
        return (Kind::Tunnel, None);
    }
    if event.starts_with("initiating to ") || event.starts_with("asking ") {
        return (Kind::Attempt, None);
    }
    if event.contains(" failed: ") {
        return (Kind::Attempt, why("the next peer of the list is tried"));
    }
    if event == "every peer failed" {
        return (
            Kind::Attempt,
            why("each was tried once; a new round begins with the next packet, at most every 10 s"),
        );
    }
    if event.starts_with("current peer ") {
        let reason = event.rsplit('(').next().unwrap_or_default().trim_end_matches(')');
        let rule = match reason {
            "dpd" if default.is_some() => "a peer died: the next connection goes to the default peer first",
            "dpd" => "a peer died, and there is no default peer: the next one of the list",
            "init-fail" => "the peer did not come up: the next one of the list becomes current and stays so",
            "idle-default" => "all SAs were idle, and the idle timer says default",
            "peer-heard" => "this peer was heard from last",
            "clear" => "the operator cleared the sessions",
            _ => "the configuration changed",
        };
        return (Kind::Cursor, why(rule));
    }
    if event.starts_with("SA pair closed (idle)") {
        return (Kind::Tunnel, why("no packet passed for as long as the idle timer says"));
    }
    (Kind::Note, None)
}
