//! The gateway's data about SA pairs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::{ChildId, IkeId};
use sa_table::PolicyId;

use super::Tunnels;
use crate::plan::EntryKey;
use crate::routes::ReverseRoute;

/// First ID of pairs adopted from a previous control plane; the endpoint's own IDs are below.
pub const FIRST_ADOPTED: u64 = 1 << 63;

/// The gateway's data about an SA pair. Its keys are in the shared table only.
#[derive(Debug)]
pub struct SaPair {
    /// `None` for a pair of a previous control plane, since the keys of its IKE SA are lost.
    ike: Option<IkeId>,
    entry: EntryKey,
    policy: PolicyId,
    facts: PairFacts,
    /// Routes that exist as long as the pair does.
    routes: Vec<ReverseRoute>,
    /// The soft limit has passed without traffic: rekey at the next packet.
    soft_passed: bool,
    rekeying: bool,
    /// The time stamps of the last packet received and sent, as last reported to the session.
    told: (u64, u64),
}

/// The negotiated parameters of an SA pair, without keys.
#[derive(Clone, Debug)]
pub struct PairFacts {
    /// Inbound SPI.
    pub inbound_spi: u32,
    /// Outbound SPI.
    pub outbound_spi: u32,
    /// Algorithms.
    pub suite: ike::EspSuite,
    /// Tunnel or transport.
    pub mode: ike::Mode,
    /// Local traffic selectors.
    pub local_selectors: Vec<ike::TrafficSelector>,
    /// Remote traffic selectors.
    pub remote_selectors: Vec<ike::TrafficSelector>,
    /// Local address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Local and remote port, with UDP encapsulation.
    pub udp: Option<(u16, u16)>,
    /// When the hard lifetime ends.
    pub hard_limit: Option<Duration>,
}

/// The data plane's time stamps and counters of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Time stamps of the last packet received and sent, as in the table.
    pub stamps: (u64, u64),
    /// The last packet received, on the control plane's clock.
    pub heard: Option<Duration>,
    /// The last packet sent.
    pub sent: Option<Duration>,
    /// Packets in both directions.
    pub packets: u64,
}

/// The result of processing a [`Seen`].
#[derive(Debug)]
pub struct Observed {
    /// The IKE SA with an outstanding probe whose peer was heard meanwhile.
    pub alive: Option<IkeId>,
    /// The pair has to be rekeyed: there is traffic again after its soft limit.
    pub rekey: bool,
    /// The entry whose session has to be informed of new packets.
    pub news: Option<EntryKey>,
}

impl SaPair {
    /// A new pair. `ike` is `None` for one of a previous control plane.
    pub fn new(
        ike: Option<IkeId>,
        entry: EntryKey,
        policy: PolicyId,
        facts: PairFacts,
        routes: Vec<ReverseRoute>,
    ) -> Self {
        SaPair { ike, entry, policy, facts, routes, soft_passed: false, rekeying: false, told: (0, 0) }
    }

    /// The IKE SA for rekeying and deleting the pair.
    pub fn ike(&self) -> Option<IkeId> {
        self.ike
    }

    /// Its entry.
    pub fn entry(&self) -> &EntryKey {
        &self.entry
    }

    /// Its flow.
    pub fn policy(&self) -> PolicyId {
        self.policy
    }

    /// The negotiated parameters.
    pub fn facts(&self) -> &PairFacts {
        &self.facts
    }

    /// The reverse routes that exist as long as the pair.
    pub fn routes(&self) -> &[ReverseRoute] {
        &self.routes
    }

    /// Whether a successor is being negotiated.
    pub fn is_rekeying(&self) -> bool {
        self.rekeying
    }

    pub(super) fn move_to(&mut self, ike: IkeId) {
        self.ike = Some(ike);
    }
}

impl Tunnels {
    /// One pair.
    pub fn pair(&self, child: ChildId) -> Option<&SaPair> {
        self.pairs.get(&child)
    }

    /// All pairs, ordered by ID.
    pub fn pairs(&self) -> impl Iterator<Item = (ChildId, &SaPair)> {
        self.pairs.iter().map(|(child, pair)| (*child, pair))
    }

    /// The number of pairs.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// The pairs without an IKE SA, adopted from a previous control plane.
    pub fn adopted_pairs(&self) -> impl Iterator<Item = (ChildId, &SaPair)> {
        self.pairs.range(ChildId(FIRST_ADOPTED)..).map(|(child, pair)| (*child, pair))
    }

    /// The IKE SA of a pair, if it has no other pair.
    pub fn ike_of_last_pair(&self, child: ChildId) -> Option<IkeId> {
        let ike = self.pairs.get(&child)?.ike?;
        self.pairs_under(ike).iter().all(|other| *other == child).then_some(ike)
    }

    /// The pair's soft lifetime has passed: one without traffic is left to expire. True if it has
    /// to be rekeyed now.
    pub fn soft_limit(&mut self, child: ChildId, used: bool) -> bool {
        let Some(pair) = self.pairs.get_mut(&child) else { return false };
        pair.soft_passed = true;
        used && !std::mem::replace(&mut pair.rekeying, true)
    }

    /// Starts a rekey. False if one is in progress, or if there is no IKE SA to rekey over.
    pub fn begin_rekey(&mut self, child: ChildId) -> bool {
        let with_ike = self.pairs.get(&child).is_some_and(|pair| pair.ike.is_some());
        with_ike && self.begin_replacement(child)
    }

    /// Starts a replacement over any IKE SA. False if one is in progress.
    pub fn begin_replacement(&mut self, child: ChildId) -> bool {
        self.pairs.get_mut(&child).is_some_and(|pair| !std::mem::replace(&mut pair.rekeying, true))
    }

    /// Processes the data plane's time stamps and counters of a pair with an IKE SA.
    pub fn observe(&mut self, child: ChildId, seen: &Seen) -> Option<Observed> {
        let pair = self.pairs.get_mut(&child)?;
        let ike = pair.ike?;
        let rekey = pair.soft_passed && !pair.rekeying && seen.packets > 0;
        pair.rekeying |= rekey;
        // With many tunnels, most have no new packets; then the session need not be informed.
        let news = std::mem::replace(&mut pair.told, seen.stamps) != seen.stamps;
        let news = news.then(|| pair.entry.clone());
        let alive = self.traffic(ike, seen.heard, seen.sent).then_some(ike);
        Some(Observed { alive, rekey, news })
    }

    /// The peer's address changed. Returns all pairs of the IKE SA, and those whose records cannot
    /// express the change, because the local address or the encapsulation changed too: these have
    /// to be rekeyed.
    pub fn peer_moved(
        &mut self,
        ike: IkeId,
        (local, remote): (SocketAddr, SocketAddr),
        in_udp: bool,
    ) -> (Vec<ChildId>, Vec<ChildId>) {
        self.set_remote(ike, remote);
        let moved = self.pairs_under(ike);
        let mut outdated = Vec::new();
        for child in &moved {
            let Some(pair) = self.pairs.get_mut(child) else { continue };
            pair.facts.remote = remote.ip();
            if pair.facts.local != local.ip() || pair.facts.udp.is_some() != in_udp {
                pair.rekeying = true;
                outdated.push(*child);
            }
        }
        (moved, outdated)
    }
}
