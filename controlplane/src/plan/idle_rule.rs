//! The idle timer in force.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The idle rule in force for an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleRule {
    /// Idle time after which an SA pair is deleted; `None` for never.
    pub after: Option<Duration>,
    /// `idle-time N default`: the next connection uses the default peer.
    pub to_default: bool,
}

impl IdleRule {
    /// Combines the entry's timer (seconds, `default` flag) with the global one (seconds).
    ///
    /// An entry timer equal to the global one is ignored together with its flag, as in IOS; the
    /// global timer never leads to the default peer.
    pub fn resolve(entry: Option<(u64, bool)>, global: Option<u64>) -> IdleRule {
        match (entry, global) {
            (Some((seconds, to_default)), global) if global != Some(seconds) => {
                IdleRule { after: Some(Duration::from_secs(seconds)), to_default }
            }
            (_, Some(seconds)) => IdleRule { after: Some(Duration::from_secs(seconds)), to_default: false },
            (_, None) => IdleRule::default(),
        }
    }

    /// Whether a connection that starts `now` uses the default peer because of the time since the
    /// entry's `last_packet`, although no local timer expired (the peer deleted the SAs first).
    pub fn silence_leads_to_default(&self, last_packet: Option<Duration>, now: Duration) -> bool {
        match (self.to_default, self.after, last_packet) {
            (true, Some(after), Some(last)) => now >= last + after,
            _ => false,
        }
    }
}
