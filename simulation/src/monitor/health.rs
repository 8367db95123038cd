//! Who could work with whom, since when, as an outside observer knows it; and the bounds that
//! follow from the configuration.

use std::net::IpAddr;

use controlplane::peers::select::{CYCLE_INTERVAL, Reason};

use crate::gateway::Condition;
use crate::network::Network;
use crate::site::{Site, compatible, dns_name};

/// Room for round trips, the control plane's scan and a name look-up, milliseconds.
const SLACK: u64 = 10_000;

/// After an unauthenticated error an attempt is kept open for so long.
const ERROR_GRACE: u64 = 5_000;

/// Between two sites, as one of them sees it.
#[derive(Clone, Copy)]
struct Relation {
    /// They can work together now.
    good: bool,
    /// Since when that has been so, or not so, without disturbance.
    since: u64,
    /// Since when they have worked together without disturbance: an answer came through. What went
    /// wrong during a disturbance may show only at the next packet after it.
    working: Option<u64>,
    /// Since a disturbance this side may have an IKE SA that the other has given up.
    doubtful: bool,
    /// One of them was restarted and they have not negotiated since: the first does not know the
    /// other's IKE SA.
    without_ike: bool,
}

pub(super) struct Health {
    sites: Vec<Site>,
    relations: Vec<Relation>,
}

impl Health {
    pub(super) fn new(sites: Vec<Site>) -> Self {
        let count = sites.len();
        let mut health = Health {
            relations: vec![
                Relation {
                    good: false,
                    since: 0,
                    working: None,
                    doubtful: false,
                    without_ike: false
                };
                count * count
            ],
            sites,
        };
        for a in 0..count {
            for b in 0..count {
                health.relations[a * count + b].good = compatible(&health.sites, a, b);
            }
        }
        health
    }

    pub(super) fn sites(&self) -> &[Site] {
        &self.sites
    }

    pub(super) fn set_site(&mut self, index: usize, site: Site) {
        self.sites[index] = site;
    }

    /// The site that a peer's name in a message stands for.
    pub(super) fn site_of(&self, peer: &str) -> Option<usize> {
        self.sites.iter().position(|site| peer == dns_name(site) || peer.parse() == Ok(site.address))
    }

    pub(super) fn disturb(&mut self, now: u64, gateway: usize) {
        let count = self.sites.len();
        for other in 0..count {
            for at in [gateway * count + other, other * count + gateway] {
                self.relations[at].since = now;
                self.relations[at].working = None;
                self.relations[at].doubtful = true;
            }
        }
    }

    /// The IKE SAs of a gateway are gone.
    pub(super) fn lose_ike(&mut self, gateway: usize) {
        let count = self.sites.len();
        for other in 0..count {
            self.relations[gateway * count + other].without_ike = true;
            self.relations[other * count + gateway].without_ike = true;
        }
    }

    /// A new SA pair of `site` goes to `address`.
    pub(super) fn negotiated(&mut self, site: usize, address: IpAddr) {
        if let Some(at) = self.index(site, address) {
            self.relations[at].without_ike = false;
            self.relations[at].doubtful = false;
        }
    }

    /// A gateway came to rest: where it has no IKE SA, there is none to doubt.
    pub(super) fn look(&mut self, network: &Network, site: usize) {
        let count = self.sites.len();
        for peer in 0..count {
            let relation = &mut self.relations[site * count + peer];
            if relation.doubtful && !network.gateways[site].control.has_ike_with(self.sites[peer].ip()) {
                relation.doubtful = false;
            }
        }
    }

    /// An answer came through an SA of `site` with `address`.
    pub(super) fn works(&mut self, now: u64, site: usize, address: IpAddr) {
        if let Some(at) = self.index(site, address)
            && self.relations[at].good
        {
            self.relations[at].working.get_or_insert(now);
        }
    }

    fn index(&self, site: usize, address: IpAddr) -> Option<usize> {
        let peer = self.sites.iter().position(|other| other.ip() == address)?;
        Some(site * self.sites.len() + peer)
    }

    pub(super) fn refresh(&mut self, network: &Network) {
        let count = self.sites.len();
        for a in 0..count {
            for b in 0..count {
                let good = self.is_good(network, a, b);
                let relation = &mut self.relations[a * count + b];
                if relation.good != good {
                    *relation =
                        Relation { good, since: network.now, working: None, doubtful: true, ..*relation };
                }
            }
        }
    }

    fn is_good(&self, network: &Network, a: usize, b: usize) -> bool {
        let runs = |index: usize| network.gateways[index].condition == Condition::Running;
        let resolves = |from: usize, to: usize| {
            let by_name =
                self.sites[from].entries.iter().any(|entry| entry.by_name && entry.peers.contains(&to));
            !by_name || network.zone.contains_key(&dns_name(&self.sites[to]))
        };
        let clean = |from, to| network.wire.link(from, to).is_clean();
        runs(a)
            && runs(b)
            && clean(a, b)
            && clean(b, a)
            && resolves(a, b)
            && resolves(b, a)
            && compatible(&self.sites, a, b)
    }

    fn listed(&self, site: usize) -> impl Iterator<Item = usize> + '_ {
        self.sites[site].entries.iter().flat_map(|entry| entry.peers.iter().copied())
    }

    pub(super) fn can_reach_any(&self, site: usize) -> bool {
        self.listed(site).any(|peer| self.relations[site * self.sites.len() + peer].good)
    }

    /// Since when nothing has changed between a site and any of its peers, for the better or for
    /// the worse.
    pub(super) fn quiet_since(&self, site: usize) -> u64 {
        let count = self.sites.len();
        let own = self.listed(site).map(|peer| self.relations[site * count + peer].since);
        own.max().unwrap_or(0)
    }

    /// Since when an initiation has had no reason to fail; none if it has.
    pub(super) fn good_since(&self, site: usize, peer: usize) -> Option<u64> {
        let relation = self.relations[site * self.sites.len() + peer];
        let fresh = relation.good && !relation.doubtful;
        fresh.then_some(relation.since).or(self.working_since(site, peer))
    }

    /// Since when the two have worked together, both knowing each other's SAs; none if they have
    /// not.
    pub(super) fn working_since(&self, site: usize, peer: usize) -> Option<u64> {
        let relation = self.relations[site * self.sites.len() + peer];
        relation.working.filter(|_| relation.good && !relation.without_ike)
    }

    /// How long a flow may take to get through: detection of a dead peer on either side, a pass
    /// through the list that has just gone by the peer that works, the pause, and a whole pass.
    /// None without detection: only the end of an SA's life helps then.
    pub(super) fn bound(&self, site: usize) -> Option<u64> {
        let own = self.sites[site].detection_ms()?;
        let peers: Vec<usize> = self.listed(site).collect();
        let theirs = peers.iter().map(|peer| self.sites[*peer].detection_ms());
        let theirs = theirs.collect::<Option<Vec<u64>>>()?.into_iter().max().unwrap_or(0);
        // IKE_SA_INIT and IKE_AUTH have the give-up time each.
        let attempt = 2 * u64::from(self.sites[site].give_up) * 1000 + ERROR_GRACE;
        let cycle = CYCLE_INTERVAL.as_millis() as u64;
        Some(own + theirs + 2 * peers.len() as u64 * attempt + cycle + SLACK)
    }

    /// How long after the last disturbance leaving a peer is still excused by it.
    pub(super) fn patience(&self, site: usize, reason: Reason) -> Option<u64> {
        let detection = self.sites[site].detection_ms()?;
        Some(match reason {
            // The other side may have given us up on its last rung just after the disturbance.
            Reason::Dpd => detection + SLACK,
            // An initiation over an IKE SA that only we still know ends with its detection.
            _ => detection.max(2 * u64::from(self.sites[site].give_up) * 1000 + ERROR_GRACE) + SLACK,
        })
    }
}
