//! Log messages in the form of IOS, the transition history, and rate limits for messages that third
//! parties can cause.

mod history;
mod message;
mod rate_limit;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::model::IpsecGlobals;

use crate::peers::select::{Change, Reason};
use crate::plan::{EntryKey, Peer};

pub use history::{HISTORY, History, Transition};
pub use message::Message;
pub use rate_limit::RateLimit;

/// An entry for the log.
#[derive(Debug)]
pub enum Said {
    /// A message of the control plane.
    Message(Message),
    /// Debug text of the IKE endpoint.
    Ike(ike::LogRecord),
}

/// Log and history, see the module documentation.
#[derive(Debug)]
pub struct Report {
    history: History,
    /// For each entry, how often the cursor moved and the last reason.
    changes: BTreeMap<EntryKey, (u64, Reason)>,
    waiting: VecDeque<Said>,
    /// `crypto logging ikev2`.
    says_ike_sas: bool,
    /// `crypto logging session`.
    says_sessions: bool,
    invalid_spi: RateLimit,
    aborts: RateLimit,
    remarks: RateLimit,
    ike_warnings: RateLimit,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            history: History::default(),
            changes: BTreeMap::new(),
            waiting: VecDeque::new(),
            says_ike_sas: false,
            says_sessions: false,
            invalid_spi: RateLimit::new(5),
            aborts: RateLimit::new(20),
            remarks: RateLimit::new(5),
            ike_warnings: RateLimit::new(20),
        }
    }
}

impl Report {
    /// Applies the `crypto logging` lines.
    pub fn configure(&mut self, ipsec: &IpsecGlobals) {
        (self.says_ike_sas, self.says_sessions) = (ipsec.logging_ikev2, ipsec.logging_session);
    }

    /// The next log entry, oldest first.
    pub fn next_said(&mut self) -> Option<Said> {
        self.waiting.pop_front()
    }

    /// The number of entries waiting for [`Report::next_said`].
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The recorded transitions.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How often the cursor of an entry moved, and the last reason; `None` if it never moved.
    pub fn changes_of(&self, entry: &EntryKey) -> Option<(u64, Reason)> {
        self.changes.get(entry).copied()
    }

    /// Removes an entry that is no longer configured.
    pub fn forget_entry(&mut self, entry: &EntryKey) {
        self.changes.remove(entry);
    }

    /// Logs a message.
    pub fn say(&mut self, message: Message) {
        self.waiting.push_back(Said::Message(message));
    }

    /// Logs an error that the operator has to correct.
    pub fn trouble(&mut self, text: impl Display) {
        self.say(Message::Trouble(text.to_string()));
    }

    /// Logs a note about the configuration.
    pub fn note(&mut self, text: impl Display) {
        self.say(Message::Note(text.to_string()));
    }

    /// Adds a transition of an entry or a peer to the history, without a log message.
    pub fn transition(&mut self, now: Duration, place: impl Display, event: impl Into<String>) {
        self.history.push(now, place.to_string(), event);
    }

    /// Logs a record of the IKE endpoint. Warnings are rate-limited, because any host can cause
    /// them, for example by a refused initiation or a failed authentication.
    pub fn ike_log(&mut self, now: Duration, record: ike::LogRecord) {
        if record.level != ike::LogLevel::Warning || self.ike_warnings.pass(now) {
            self.waiting.push_back(Said::Ike(record));
        }
    }

    /// An IKE SA is established; `began` names the initiator.
    pub fn ike_up(&mut self, now: Duration, peer: SocketAddr, began: &str) {
        self.history.push(now, peer.ip().to_string(), format!("IKE SA up ({began})"));
        if self.says_ike_sas {
            self.say(Message::IkeSa { up: true, detail: format!("peer {peer}, {began}") });
        }
    }

    /// An IKE SA has ended.
    pub fn ike_down(&mut self, now: Duration, peer: SocketAddr, why: &str) {
        self.history.push(now, peer.ip().to_string(), format!("IKE SA down ({why})"));
        if self.says_ike_sas {
            self.say(Message::IkeSa { up: false, detail: format!("peer {peer}, {why}") });
        }
    }

    /// Whether [`Report::session`] logs anything; if not, the caller need not look up the peer.
    pub fn says_sessions(&self) -> bool {
        self.says_sessions
    }

    /// The first SA pair with a peer came up, or the last one was removed. `known` is its address
    /// and port and its identity; `None` if the address is no longer known.
    pub fn session(
        &mut self,
        now: Duration,
        entry: &EntryKey,
        peer: &Peer,
        up: bool,
        known: Option<(SocketAddr, String)>,
    ) {
        let event = format!("tunnel to {peer} {}", if up { "up" } else { "down" });
        self.transition(now, entry, event);
        if let Some((peer, id)) = known.filter(|_| self.says_sessions) {
            self.say(Message::SessionStatus { up, peer, id });
        }
    }

    /// The cursor of an entry moved.
    pub fn peer_change(&mut self, now: Duration, entry: &EntryKey, change: &Change<Peer>) {
        let count = self.changes.get(entry).map_or(0, |(count, _)| *count);
        self.changes.insert(entry.clone(), (count + 1, change.reason));
        let event = format!("current peer {} -> {} ({})", change.old, change.new, change.reason);
        self.transition(now, entry, event);
        self.say(Message::PeerChange {
            entry: entry.to_string(),
            old: change.old.to_string(),
            new: change.new.to_string(),
            reason: change.reason,
        });
    }

    /// An initiation failed; the log message is rate-limited.
    pub fn aborted(&mut self, now: Duration, entry: &EntryKey, peer: &Peer, reason: &str) {
        self.transition(now, entry, format!("{peer} failed: {reason}"));
        self.refused(now, entry, peer, reason);
    }

    /// A negotiation failed; rate-limited, since peers can cause it.
    pub fn refused(&mut self, now: Duration, place: impl Display, peer: impl Display, reason: &str) {
        if self.aborts.pass(now) {
            let (place, peer) = (place.to_string(), peer.to_string());
            self.say(Message::NegotiationAborted { place, peer, reason: reason.to_owned() });
        }
    }

    /// Logs an error that packets of hosts can cause, with the rate limit of failed negotiations.
    pub fn caused_trouble(&mut self, now: Duration, text: impl Display) {
        if self.aborts.pass(now) {
            self.trouble(text);
        }
    }

    /// Logs a note about a resolver answer, rate-limited.
    pub fn remark(&mut self, now: Duration, text: impl Display) {
        if self.remarks.pass(now) {
            self.note(text);
        }
    }

    /// ESP with an unknown SPI was received; rate-limited.
    pub fn invalid_spi(&mut self, now: Duration, spi: u32, source: IpAddr, destination: IpAddr) {
        if self.invalid_spi.pass(now) {
            self.say(Message::InvalidSpi { spi, source, destination });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ike_sas_are_said_where_that_is_configured_and_stand_in_the_history_always() {
        let mut report = Report::default();
        let peer = "10.1.1.1:500".parse().unwrap();
        report.ike_up(Duration::from_secs(1), peer, "initiator");
        assert_eq!((report.waiting(), report.history().iter().count()), (0, 1));
        report.configure(&IpsecGlobals { logging_ikev2: true, ..IpsecGlobals::default() });
        report.ike_down(Duration::from_secs(2), peer, "PeerDead");
        let said = report.next_said();
        assert!(
            matches!(&said, Some(Said::Message(message))
                if message.to_string() == "%IKEV2-5-SA_DOWN: SA DOWN (peer 10.1.1.1:500, PeerDead)"),
            "{said:?}"
        );
    }

    #[test]
    fn failed_negotiations_are_said_within_a_limit() {
        let mut report = Report::default();
        for _ in 0..100 {
            report.refused(Duration::from_secs(5), "crypto map m 1", "10.1.1.1", "no proposal chosen");
        }
        assert_eq!(report.waiting(), 20);
    }
}
