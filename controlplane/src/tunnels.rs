//! IKE SAs, SA pairs and pending initiations: their indexes, dead peer detection and its timers.
//!
//! This module uses neither sessions nor connection parameters nor the shared table. Reports of the
//! IKE endpoint and of the data plane are method calls; the return values say what follows from
//! them.

mod attempts;
mod detection;
mod ike_sas;
mod indexes;
mod pairs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ike::{ChildId, ConnectionId, IkeId};

use crate::timers::Timers;

pub use attempts::Attempt;
pub use detection::{Detected, Liveness, Mode, RETRIES, Timing, Verdict};
pub use ike_sas::IkeSa;
pub use pairs::{FIRST_ADOPTED, Observed, PairFacts, SaPair, Seen};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Tunnels {
    /// Including those being negotiated. Changed only by [`indexes`], like `pairs`.
    ike_sas: BTreeMap<IkeId, IkeSa>,
    by_connection: BTreeSet<(ConnectionId, IkeId)>,
    pairs: BTreeMap<ChildId, SaPair>,
    by_ike: BTreeSet<(IkeId, ChildId)>,
    /// Oldest first.
    attempts: Vec<Attempt>,
    detection_timers: Timers<IkeId>,
}

/// An ended IKE SA, with everything that ended with it.
#[derive(Debug)]
pub struct Ended {
    /// Its ID.
    pub ike: IkeId,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Its SA pairs, oldest first.
    pub pairs: Vec<(ChildId, SaPair)>,
    /// Initiations that were pending on it, oldest first.
    pub attempts: Vec<Attempt>,
}

impl Tunnels {
    /// Removes an ended IKE SA with its SA pairs and the initiations over it.
    pub fn end_ike(&mut self, ike: IkeId) -> Option<Ended> {
        let sa = self.remove_ike(ike)?;
        let children = self.pairs_under(ike);
        let pairs = children.into_iter().filter_map(|child| Some((child, self.remove_pair(child)?)));
        let pairs = pairs.collect();
        let attempts = self.take_attempts(|attempt| attempt.ike == ike);
        Some(Ended { ike, remote: sa.remote(), pairs, attempts })
    }
}

#[cfg(test)]
mod tests;
