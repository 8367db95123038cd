//! Pending initiations.

use ike::IkeId;
use sa_table::PolicyId;

use super::Tunnels;
use crate::plan::{EntryKey, Peer};

/// A local initiation without a result yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The entry.
    pub entry: EntryKey,
    /// The peer.
    pub peer: Peer,
    /// The flow that waits.
    pub policy: PolicyId,
    /// The IKE SA that it uses.
    pub ike: IkeId,
    /// This attempt repeats one with the same peer whose IKE SA had ended.
    pub again: bool,
}

impl Tunnels {
    /// Adds a pending initiation.
    pub fn begin_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// All pending initiations, oldest first.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Removes and returns the selected initiations, oldest first.
    pub fn take_attempts(&mut self, which: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        self.attempts.extract_if(.., |attempt| which(attempt)).collect()
    }

    /// Cancels the initiations with `peer` for an entry. Returns the half-open IKE SAs that no
    /// other initiation uses.
    pub fn abandon(&mut self, entry: &EntryKey, peer: &Peer) -> Vec<IkeId> {
        let given_up = self.take_attempts(|attempt| attempt.entry == *entry && attempt.peer == *peer);
        let mut unused: Vec<IkeId> = given_up.into_iter().map(|attempt| attempt.ike).collect();
        unused.retain(|ike| {
            let shared = self.attempts.iter().any(|other| other.ike == *ike);
            !shared && !self.ike_sas.get(ike).is_some_and(super::IkeSa::is_established)
        });
        unused
    }

    /// Moves pending initiations from `old` to `new`.
    pub(super) fn move_attempts(&mut self, old: IkeId, new: IkeId) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.ike == old) {
            attempt.ike = new;
        }
    }
}
