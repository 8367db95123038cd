//! Initiations without a result.

use ike::IkeId;
use sa_table::PolicyId;

use super::Tunnels;
use crate::plan::{EntryKey, Peer};

/// An initiation of ours that has no result yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// For which entry.
    pub entry: EntryKey,
    /// With whom.
    pub peer: Peer,
    /// The flow that waits.
    pub policy: PolicyId,
    /// The IKE SA that it goes over.
    pub ike: IkeId,
    /// The one before it, to the same peer, ended with its IKE SA.
    pub again: bool,
}

impl Tunnels {
    /// An initiation has begun.
    pub fn begin_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// All of them, oldest first.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Removes these attempts; oldest first.
    pub fn take_attempts(&mut self, which: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        self.attempts.extract_if(.., |attempt| which(attempt)).collect()
    }

    /// What was begun with `peer` for an entry is not wanted any more. The IKE SAs that are not
    /// established and that nothing else waits for.
    pub fn abandon(&mut self, entry: &EntryKey, peer: &Peer) -> Vec<IkeId> {
        let given_up = self.take_attempts(|attempt| attempt.entry == *entry && attempt.peer == *peer);
        let mut unused: Vec<IkeId> = given_up.into_iter().map(|attempt| attempt.ike).collect();
        unused.retain(|ike| {
            let shared = self.attempts.iter().any(|other| other.ike == *ike);
            !shared && !self.ike_sas.get(ike).is_some_and(super::IkeSa::is_established)
        });
        unused
    }

    /// Attempts over `old` go over `new` from now on.
    pub(super) fn move_attempts(&mut self, old: IkeId, new: IkeId) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.ike == old) {
            attempt.ike = new;
        }
    }
}
