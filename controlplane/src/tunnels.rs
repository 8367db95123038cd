//! IKE SAs, SA pairs and the initiations that have no result yet: their indexes, dead peer
//! detection and its timers.
//!
//! Nothing here knows sessions, the parameters of connections or the shared table. Reports of the
//! IKE endpoint and of the data plane come in as calls; what follows from them is the result.

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

/// See the module's description.
#[derive(Debug, Default)]
pub struct Tunnels {
    /// Those under way included. Changed by [`indexes`] only, as `pairs` is.
    ike_sas: BTreeMap<IkeId, IkeSa>,
    by_connection: BTreeSet<(ConnectionId, IkeId)>,
    pairs: BTreeMap<ChildId, SaPair>,
    by_ike: BTreeSet<(IkeId, ChildId)>,
    /// Oldest first.
    attempts: Vec<Attempt>,
    detection_timers: Timers<IkeId>,
}

/// An IKE SA that is over, with everything that ended with it.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub ike: IkeId,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Its SA pairs, oldest first.
    pub pairs: Vec<(ChildId, SaPair)>,
    /// Initiations that waited for it, oldest first.
    pub attempts: Vec<Attempt>,
}

impl Tunnels {
    /// An IKE SA is over: it, its SA pairs and the initiations over it are removed.
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
