//! The IKE connections that follow from the compiled entries: which peers may connect, and with
//! what parameters.
//!
//! A connection is identified by a pair of addresses and one set of IKE parameters. Its child
//! policies are the permits of every entry that names the peer, in crypto map order: a request of
//! the peer is matched to the first entry whose mirrored permit contains it or can narrow it. Local
//! initiations use the same connections, so that both directions use the same policies.

mod algorithms;
mod build;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config::effective_ike::IkeParameters;
use ike::{ChildTag, Connection, ConnectionId};
use sa_table::PolicyId;

use crate::pki::Pki;
use crate::plan::{Entry, Peer, Plan};
use crate::tunnels::{Mode, Timing};

pub use algorithms::manual_suite;
pub use templates::TemplateFlow;

/// IDs of connections with dynamic-map peers start here. They sort after configured ones, so that
/// entries that name the peer match first.
const FIRST_UNKNOWN: u64 = 1 << 32;

/// Tags of template permits start here; tags of policies are below.
const FIRST_TEMPLATE: u64 = 1 << 32;

/// Identity of a connection across edits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// Local address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// The IKEv2 profile, if the entry names one.
    pub profile: Option<String>,
    /// For dynamic-map peers, which are known only by their pre-shared key: the peers that the key
    /// is for.
    pub unknown: Option<String>,
}

/// A connection and the data that the gateway needs with it.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its key.
    pub key: ConnectionKey,
    /// The peer as the entries name it.
    pub peer: Peer,
    /// The connection as passed to the IKE endpoint.
    pub connection: Connection,
    /// IKE parameters, for dead peer detection and for `show`.
    pub ike: IkeParameters,
    /// No longer configured. Kept until the Delete messages of its SAs have been sent.
    pub stale: bool,
}

/// Why there is no connection for an entry and a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConnection {
    /// There is no key for the peer.
    #[error("no pre-shared key for peer {0}; type \"crypto isakmp key K address {0}\"")]
    NoKey(IpAddr),
    /// The authentication method is not implemented.
    #[error(
        "peer {0} needs an authentication method that IKEv2 here has not; type \"authentication pre-share\", \"rsa-sig\" or \"ecdsa-sig\""
    )]
    Method(IpAddr),
    /// No local certificate can be used.
    #[error(
        "peer {0}: no trustpoint has a usable certificate of this gateway; see \"show crypto pki trustpoints\""
    )]
    Certificate(IpAddr),
    /// No CA can be used.
    #[error("peer {0}: no trustpoint has a usable CA; see \"show crypto pki trustpoints\"")]
    Trust(IpAddr),
    /// No supported algorithm is left in the proposal.
    #[error("peer {0} has no usable IKE proposal; type \"group 19\" and \"encryption aes 256\"")]
    Proposal(IpAddr),
}

/// The key of an entry's connection with `remote`.
fn connection_key(entry: &Entry, remote: IpAddr) -> ConnectionKey {
    ConnectionKey { local: entry.local, remote, profile: entry.ike.profile.clone(), unknown: None }
}

/// The tag of a policy, the same in every connection.
pub fn tag(policy: PolicyId) -> ChildTag {
    ChildTag(policy.0.into())
}

/// The policy of a tag; `None` if the number is out of range.
pub fn policy(tag: ChildTag) -> Option<PolicyId> {
    u32::try_from(tag.0).ok().map(PolicyId)
}

/// All connections, and the IDs that they keep across edits.
#[derive(Debug, Default)]
pub struct Connections {
    relations: BTreeMap<ConnectionId, Relation>,
    ids: BTreeMap<ConnectionKey, ConnectionId>,
    /// The flow of each tag from [`FIRST_TEMPLATE`] on.
    template_tags: BTreeMap<TemplateFlow, u64>,
}

impl Connections {
    /// Builds the connections of a plan. `resolve` returns the address of a peer, if it is known.
    /// Returns the changes for the IKE endpoint and the peers without a connection, with the
    /// reason.
    ///
    /// Connections that are no longer configured stay, marked as stale, until
    /// [`Connections::drop_stale`]: the Delete messages of their SAs are sent over them.
    pub fn rebuild(
        &mut self,
        plan: &Plan,
        hostname: &str,
        pki: &Pki,
        resolve: impl Fn(&Entry, &Peer) -> Option<IpAddr>,
    ) -> (Vec<Connection>, Vec<NoConnection>) {
        let (ids, tags) = (&mut self.ids, &mut self.template_tags);
        let mut next = ids.values().map(|id| id.0).filter(|id| *id < FIRST_UNKNOWN).max().unwrap_or(0);
        let mut next_unknown = ids.values().map(|id| id.0).max().unwrap_or(0).max(FIRST_UNKNOWN);
        let (built, refused) = build::relations(
            plan,
            hostname,
            pki,
            resolve,
            |key| {
                *ids.entry(key.clone()).or_insert_with(|| {
                    let next = if key.unknown.is_some() { &mut next_unknown } else { &mut next };
                    *next += 1;
                    ConnectionId(*next)
                })
            },
            |flow| {
                let next = tags.len() as u64;
                ChildTag(FIRST_TEMPLATE + *tags.entry(flow.clone()).or_insert(next))
            },
        );
        let connections = built.values().map(|relation| relation.connection.clone()).collect();
        for (id, relation) in std::mem::replace(&mut self.relations, built) {
            self.relations.entry(id).or_insert_with(|| Relation { stale: true, ..relation });
        }
        (connections, refused)
    }

    /// Marks stale connections that still have an IKE SA as needed.
    pub fn keep_used(&mut self, in_use: &BTreeSet<ConnectionId>) {
        for (id, relation) in &mut self.relations {
            relation.stale &= !in_use.contains(id);
        }
    }

    /// Removes the connections that are no longer configured and returns their IDs, which the
    /// caller removes from the endpoint too.
    pub fn drop_stale(&mut self) -> Vec<ConnectionId> {
        let stale = self.relations.iter().filter(|(_, relation)| relation.stale).map(|(id, _)| *id);
        let stale: Vec<ConnectionId> = stale.collect();
        self.relations.retain(|_, relation| !relation.stale);
        stale
    }

    /// The connection with this ID.
    pub fn get(&self, id: ConnectionId) -> Option<&Relation> {
        self.relations.get(&id)
    }

    /// All connections, in the order in which a peer's request is matched.
    pub fn iter(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.relations.len()
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    /// The connection that an entry's initiations to `remote` use; `None` if there is none for this
    /// peer.
    pub fn of_entry(&self, entry: &Entry, remote: IpAddr) -> Option<ConnectionId> {
        let id = self.ids.get(&connection_key(entry, remote)).copied()?;
        self.relations.get(&id).is_some_and(|relation| !relation.stale).then_some(id)
    }

    /// Dead peer detection timing of a connection, if a keepalive is configured.
    pub fn timing(&self, id: ConnectionId) -> Option<Timing> {
        let dpd = self.relations.get(&id)?.ike.dpd?;
        let mode = match dpd.mode {
            config::model::DpdMode::Periodic => Mode::Periodic,
            config::model::DpdMode::OnDemand => Mode::OnDemand,
        };
        Some(Timing::keepalive(dpd.interval.into(), dpd.retry.into(), mode))
    }

    /// What a child SA with this tag belongs to; `None` for an unknown tag.
    pub fn meaning(&self, tag: ChildTag) -> Option<Meaning<'_>> {
        let Some(number) = tag.0.checked_sub(FIRST_TEMPLATE) else {
            return policy(tag).map(Meaning::Policy);
        };
        let (flow, _) = self.template_tags.iter().find(|(_, known)| **known == number)?;
        Some(Meaning::Template(flow))
    }
}

/// What the tag of a child SA refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// A permit of an entry.
    Policy(PolicyId),
    /// A permit of a dynamic map.
    Template(&'a TemplateFlow),
}

#[cfg(test)]
mod tests;
