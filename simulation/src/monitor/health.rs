//! Which sites can communicate, and since when, as seen by an external observer; and the time
//! bounds that follow from the configuration.

use std::net::IpAddr;

use controlplane::peers::select::{CYCLE_INTERVAL, Reason};

use crate::gateway::Condition;
use crate::network::Network;
use crate::site::{Site, compatible, dns_name};

/// Allowance for round trips, the control plane's scan and a name query, in milliseconds.
const SLACK: u64 = 10_000;

/// How long an attempt is kept open after an unauthenticated error.
const ERROR_GRACE: u64 = 5_000;

/// The relation between two sites, from the view of one of them.
#[derive(Clone, Copy)]
struct Relation {
    /// They can communicate now.
    good: bool,
    /// Since when `good` has had its value without a disturbance.
    since: u64,
    /// Since when they have communicated without a disturbance, as shown by a reply. Damage from a
    /// disturbance may only show at the next packet after it.
    working: Option<u64>,
    /// After a disturbance, this side may have an IKE SA that the peer has deleted.
    doubtful: bool,
    /// One of them was restarted and they have not negotiated since: it lacks the peer's IKE SA.
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

    /// The site of a peer name in a message.
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

    /// The IKE SAs of a gateway were lost.
    pub(super) fn lose_ike(&mut self, gateway: usize) {
        let count = self.sites.len();
        for other in 0..count {
            self.relations[gateway * count + other].without_ike = true;
            self.relations[other * count + gateway].without_ike = true;
        }
    }

    /// A new SA pair of `site` with `address` was negotiated.
    pub(super) fn negotiated(&mut self, site: usize, address: IpAddr) {
        if let Some(at) = self.index(site, address) {
            self.relations[at].without_ike = false;
            self.relations[at].doubtful = false;
        }
    }

    /// A gateway has processed all events: without an IKE SA, none can be outdated.
    pub(super) fn look(&mut self, network: &Network, site: usize) {
        let count = self.sites.len();
        for peer in 0..count {
            let relation = &mut self.relations[site * count + peer];
            if relation.doubtful && !network.gateways[site].control.has_ike_with(self.sites[peer].ip()) {
                relation.doubtful = false;
            }
        }
    }

    /// A reply came through an SA of `site` with `address`.
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

    /// Since when nothing has changed between a site and any of its peers.
    pub(super) fn quiet_since(&self, site: usize) -> u64 {
        let count = self.sites.len();
        let own = self.listed(site).map(|peer| self.relations[site * count + peer].since);
        own.max().unwrap_or(0)
    }

    /// Since when an initiation has had no reason to fail; `None` if it has one now.
    pub(super) fn good_since(&self, site: usize, peer: usize) -> Option<u64> {
        let relation = self.relations[site * self.sites.len() + peer];
        let fresh = relation.good && !relation.doubtful;
        fresh.then_some(relation.since).or(self.working_since(site, peer))
    }

    /// Since when the two have communicated and know each other's SAs; `None` if they do not.
    pub(super) fn working_since(&self, site: usize, peer: usize) -> Option<u64> {
        let relation = self.relations[site * self.sites.len() + peer];
        relation.working.filter(|_| relation.good && !relation.without_ike)
    }

    /// The maximum time for a flow to get through: detection of a dead peer on either side, a pass
    /// through the list that has just skipped the working peer, the pause, and a complete pass.
    /// `None` without detection: then the flow only recovers when the SA expires.
    pub(super) fn bound(&self, site: usize) -> Option<u64> {
        let own = self.sites[site].detection_ms()?;
        let peers: Vec<usize> = self.listed(site).collect();
        let theirs = peers.iter().map(|peer| self.sites[*peer].detection_ms());
        let theirs = theirs.collect::<Option<Vec<u64>>>()?.into_iter().max().unwrap_or(0);
        // IKE_SA_INIT and IKE_AUTH can each take the give-up time.
        let attempt = 2 * u64::from(self.sites[site].give_up) * 1000 + ERROR_GRACE;
        let cycle = CYCLE_INTERVAL.as_millis() as u64;
        Some(own + theirs + 2 * peers.len() as u64 * attempt + cycle + SLACK)
    }

    /// How long after the last disturbance it still counts as the cause of leaving a peer.
    pub(super) fn patience(&self, site: usize, reason: Reason) -> Option<u64> {
        let detection = self.sites[site].detection_ms()?;
        Some(match reason {
            // The peer may have declared us dead just after the disturbance.
            Reason::Dpd => detection + SLACK,
            // An initiation over an IKE SA that the peer no longer has ends with its detection.
            _ => detection.max(2 * u64::from(self.sites[site].give_up) * 1000 + ERROR_GRACE) + SLACK,
        })
    }
}
