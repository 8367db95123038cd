//! Checks that unauthenticated packets change only counters and a bounded number of half-open IKE
//! SAs.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Invariant, Monitor};
use crate::network::Network;

impl Monitor {
    /// Records the state of a gateway.
    pub(crate) fn before_forgery(&mut self, network: &Network, gateway: usize) {
        self.fingerprint = fingerprint(network, gateway);
    }

    /// Compares the state with the recorded one.
    pub(crate) fn after_forgery(&mut self, network: &Network, gateway: usize) {
        if fingerprint(network, gateway) != self.fingerprint {
            let text = "a datagram that is not authentic changed sessions, SAs or cursors".to_owned();
            self.violated(network, gateway, Invariant::ForgeriesInert, text);
        }
    }
}

/// A hash of a gateway's sessions, pairs, cursors, bindings, activity and resource counts.
fn fingerprint(network: &Network, gateway: usize) -> u64 {
    let subject = &network.gateways[gateway];
    // An unkeyed hash, so that it is the same in every run.
    let mut hasher = DefaultHasher::new();
    for (key, session) in subject.control.sessions() {
        let selection = session.selection();
        key.seq.hash(&mut hasher);
        selection.current().hash(&mut hasher);
        selection.displayed().hash(&mut hasher);
        selection.is_attempting().hash(&mut hasher);
        for (id, pair) in session.pairs() {
            (id, pair.policy, &pair.peer, pair.standing as u8, pair.last_heard).hash(&mut hasher);
            session.outbound(pair.policy).hash(&mut hasher);
        }
    }
    for (policy, _) in subject.control.policies() {
        subject.plane.policy_word(policy).map(|word| word.raw()).hash(&mut hasher);
    }
    let load = subject.control.load();
    (load.ike_sas, load.pairs, load.attempts, load.table.free).hash(&mut hasher);
    subject.plane.last_packet().hash(&mut hasher);
    hasher.finish()
}
