//! Which idle timer is in force.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The idle rule that is in force for an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleRule {
    /// Silence after which an SA pair is deleted; none: never.
    pub after: Option<Duration>,
    /// `idle-time N default`: the next connection goes to the default peer.
    pub to_default: bool,
}

impl IdleRule {
    /// The rule that follows from the entry's own timer (seconds, `default` flag) and the global
    /// one (seconds).
    ///
    /// An entry timer equal to the global one is not added, its flag included; the global timer
    /// never leads to the default peer.
    pub fn resolve(entry: Option<(u64, bool)>, global: Option<u64>) -> IdleRule {
        match (entry, global) {
            (Some((seconds, to_default)), global) if global != Some(seconds) => {
                IdleRule { after: Some(Duration::from_secs(seconds)), to_default }
            }
            (_, Some(seconds)) => IdleRule { after: Some(Duration::from_secs(seconds)), to_default: false },
            (_, None) => IdleRule::default(),
        }
    }

    /// Whether the silence since the entry's `last_packet` sends the connection that begins `now`
    /// to the default peer, although no timer of ours expired (the other side deleted the SAs
    /// first).
    pub fn silence_leads_to_default(&self, last_packet: Option<Duration>, now: Duration) -> bool {
        match (self.to_default, self.after, last_packet) {
            (true, Some(after), Some(last)) => now >= last + after,
            _ => false,
        }
    }
}
