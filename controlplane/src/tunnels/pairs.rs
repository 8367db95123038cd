//! SA pairs as the gateway sees them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::{ChildId, IkeId};
use sa_table::PolicyId;

use super::Tunnels;
use crate::plan::EntryKey;
use crate::routes::ReverseRoute;

/// Names of pairs taken over from a previous control plane begin here: the endpoint's own names
/// stay below.
pub const FIRST_ADOPTED: u64 = 1 << 63;

/// What is kept of an SA pair. Its keys are in the shared table only.
#[derive(Debug)]
pub struct SaPair {
    /// None for a pair of a previous control plane: this one has not the keys of its IKE SA.
    ike: Option<IkeId>,
    entry: EntryKey,
    policy: PolicyId,
    facts: PairFacts,
    /// Routes that exist as long as the pair does.
    routes: Vec<ReverseRoute>,
    /// The soft limit has passed without traffic: rekey as soon as there is some.
    soft_passed: bool,
    rekeying: bool,
    /// The stamps of the last packet heard and of the last one sent, as the session was told them.
    told: (u64, u64),
}

/// What was agreed for an SA pair; no keys.
#[derive(Clone, Debug)]
pub struct PairFacts {
    /// SPI of what the peer sends.
    pub inbound_spi: u32,
    /// SPI of what we send.
    pub outbound_spi: u32,
    /// Algorithms.
    pub suite: ike::EspSuite,
    /// Tunnel or transport.
    pub mode: ike::Mode,
    /// Our side.
    pub local_selectors: Vec<ike::TrafficSelector>,
    /// The peer's side.
    pub remote_selectors: Vec<ike::TrafficSelector>,
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Our port and the peer's, where ESP travels in UDP.
    pub udp: Option<(u16, u16)>,
    /// When it ends.
    pub hard_limit: Option<Duration>,
}

/// What the data plane counted for a pair.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Stamps of the last packet heard and of the last one sent, as the table has them.
    pub stamps: (u64, u64),
    /// The last packet heard, on the control plane's clock.
    pub heard: Option<Duration>,
    /// The last packet sent.
    pub sent: Option<Duration>,
    /// Packets either way.
    pub packets: u64,
}

/// What follows from a [`Seen`].
#[derive(Debug)]
pub struct Observed {
    /// A probe is on its way to this IKE SA's peer, and the peer was heard meanwhile.
    pub alive: Option<IkeId>,
    /// The pair is to be rekeyed: there is traffic again after its soft limit.
    pub rekey: bool,
    /// The entry whose session has not been told of these packets.
    pub news: Option<EntryKey>,
}

impl SaPair {
    /// A new pair. `ike` is none for one of a previous control plane.
    pub fn new(
        ike: Option<IkeId>,
        entry: EntryKey,
        policy: PolicyId,
        facts: PairFacts,
        routes: Vec<ReverseRoute>,
    ) -> Self {
        SaPair { ike, entry, policy, facts, routes, soft_passed: false, rekeying: false, told: (0, 0) }
    }

    /// The IKE SA that it can be rekeyed and deleted over.
    pub fn ike(&self) -> Option<IkeId> {
        self.ike
    }

    /// The entry that it belongs to.
    pub fn entry(&self) -> &EntryKey {
        &self.entry
    }

    /// The flow that it belongs to.
    pub fn policy(&self) -> PolicyId {
        self.policy
    }

    /// What was agreed.
    pub fn facts(&self) -> &PairFacts {
        &self.facts
    }

    /// The reverse routes that exist as long as it does.
    pub fn routes(&self) -> &[ReverseRoute] {
        &self.routes
    }

    /// Whether a successor is being made.
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

    /// All pairs, in the order of their names.
    pub fn pairs(&self) -> impl Iterator<Item = (ChildId, &SaPair)> {
        self.pairs.iter().map(|(child, pair)| (*child, pair))
    }

    /// How many pairs there are.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// The pairs without an IKE SA, taken over from a previous control plane.
    pub fn adopted_pairs(&self) -> impl Iterator<Item = (ChildId, &SaPair)> {
        self.pairs.range(ChildId(FIRST_ADOPTED)..).map(|(child, pair)| (*child, pair))
    }

    /// The IKE SA of a pair, if it has no other pair.
    pub fn ike_of_last_pair(&self, child: ChildId) -> Option<IkeId> {
        let ike = self.pairs.get(&child)?.ike?;
        self.pairs_under(ike).iter().all(|other| *other == child).then_some(ike)
    }

    /// The pair's soft limit by time has passed: one that carried nothing is left to expire. True
    /// if it is to be rekeyed now.
    pub fn soft_limit(&mut self, child: ChildId, used: bool) -> bool {
        let Some(pair) = self.pairs.get_mut(&child) else { return false };
        pair.soft_passed = true;
        used && !std::mem::replace(&mut pair.rekeying, true)
    }

    /// A successor of the pair is wanted. False if it is being made already, or if there is no IKE
    /// SA that it could be made over.
    pub fn begin_rekey(&mut self, child: ChildId) -> bool {
        let with_ike = self.pairs.get(&child).is_some_and(|pair| pair.ike.is_some());
        with_ike && self.begin_replacement(child)
    }

    /// A pair that succeeds this one is wanted, whatever IKE SA it comes over. False if it is being
    /// made already.
    pub fn begin_replacement(&mut self, child: ChildId) -> bool {
        self.pairs.get_mut(&child).is_some_and(|pair| !std::mem::replace(&mut pair.rekeying, true))
    }

    /// The data plane's times and counters of a pair with an IKE SA.
    pub fn observe(&mut self, child: ChildId, seen: &Seen) -> Option<Observed> {
        let pair = self.pairs.get_mut(&child)?;
        let ike = pair.ike?;
        let rekey = pair.soft_passed && !pair.rekeying && seen.packets > 0;
        pair.rekeying |= rekey;
        // Most of many tunnels are silent, and their sessions know it.
        let news = std::mem::replace(&mut pair.told, seen.stamps) != seen.stamps;
        let news = news.then(|| pair.entry.clone());
        let alive = self.traffic(ike, seen.heard, seen.sent).then_some(ike);
        Some(Observed { alive, rekey, news })
    }

    /// The peer is somewhere else. All pairs of the IKE SA, and those whose records cannot express
    /// that, because our own address or the encapsulation changed too: these are to be rekeyed.
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
