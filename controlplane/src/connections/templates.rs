//! Connections for dynamic maps: peers without an entry of their own that hold a configured key.

use std::collections::{BTreeMap, btree_map};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::effective_ike::{IkeKey, KeyPeer};
use config::model::AuthenticationMethod;
use ike::{AddressMatch, ChildPolicy, ChildTag, ConnectionId, IdentityMatch, Proof, Secret, TrafficSelector};

use super::build::{child, connection, local_identity, ppk};
use super::{ConnectionKey, NoConnection, Relation};
use crate::pki::Pki;
use crate::plan::{Entry, Peer, Plan, PolicyKey, Template, TemplateKey};

/// One permit of a template: what a peer may propose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateFlow {
    /// The template.
    pub template: TemplateKey,
    /// Local traffic selectors.
    pub local: Vec<TrafficSelector>,
    /// Remote traffic selectors.
    pub remote: Vec<TrafficSelector>,
}

/// Adds the connections of templates. A peer that an entry names may also propose what templates
/// permit; its own entries are matched first.
pub(super) fn add(
    plan: &Plan,
    hostname: &str,
    pki: &Pki,
    relations: &mut BTreeMap<ConnectionId, Relation>,
    refused: &mut Vec<NoConnection>,
    id: &mut impl FnMut(&ConnectionKey) -> ConnectionId,
    tag: &mut impl FnMut(&TemplateFlow) -> ChildTag,
) {
    for template in &plan.templates {
        let children: Vec<ChildPolicy> = template
            .permits
            .iter()
            .filter_map(|(local, remote)| {
                let (local, remote) = (local.clone(), remote.clone());
                let permit = PolicyKey { entry: template.entry.key.clone(), local, remote };
                let (local, remote) = (permit.local.clone(), permit.remote.clone());
                let tag = tag(&TemplateFlow { template: template.key.clone(), local, remote });
                // A template permit never covers the endpoints themselves: the peer addresses are
                // not known.
                child(&template.entry, tag, &permit, template.entry.local)
            })
            .collect();
        let named = relations.values_mut().filter(|relation| {
            let key = &relation.key;
            key.unknown.is_none()
                && key.local == template.entry.local
                && key.profile == template.entry.ike.profile
                && admits(template, key.remote)
        });
        for relation in named {
            relation.connection.children.extend(children.iter().cloned());
        }
        for (key, credential) in keys(&template.entry) {
            let id = id(&key);
            let relation = match relations.entry(id) {
                btree_map::Entry::Occupied(known) => known.into_mut(),
                btree_map::Entry::Vacant(free) => match unknown(id, template, credential, (hostname, pki)) {
                    Ok(connection) => {
                        let peer = Peer::Address(key.remote);
                        let ike = template.entry.ike.clone();
                        free.insert(Relation { key, peer, connection, ike, stale: false })
                    }
                    Err(reason) => {
                        refused.push(reason);
                        continue;
                    }
                },
            };
            relation.connection.children.extend(children.iter().cloned());
        }
    }
}

/// Whether the template accepts this peer: `set peer` in a dynamic map restricts it to the listed
/// peers.
fn admits(template: &Template, remote: IpAddr) -> bool {
    let peers = &template.entry.peers;
    peers.is_empty() || peers.contains(&Peer::Address(remote))
}

/// One connection for each pre-shared key; a single one where peers use another authentication
/// method.
fn keys(entry: &Entry) -> Vec<(ConnectionKey, Option<&IkeKey>)> {
    let any = match entry.local {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let key = |remote: IpAddr, unknown: String| ConnectionKey {
        local: entry.local,
        remote,
        profile: entry.ike.profile.clone(),
        unknown: Some(unknown),
    };
    let peers = if entry.peers.is_empty() { String::new() } else { format!(" of {:?}", entry.peers) };
    if entry.ike.local_authentication != AuthenticationMethod::PreShare {
        return vec![(key(any, format!("anybody{peers}")), None)];
    }
    let of_key = |credential: &IkeKey| match &credential.peer {
        KeyPeer::Address(prefix) if prefix.address.is_ipv4() != entry.local.is_ipv4() => None,
        KeyPeer::Address(prefix) => Some(key(prefix.address, format!("{}{peers}", prefix.length))),
        KeyPeer::Identity(identity) => Some(key(any, format!("{identity:?}{peers}"))),
    };
    entry.ike.keys.iter().filter_map(|credential| Some((of_key(credential)?, Some(credential)))).collect()
}

fn unknown(
    id: ConnectionId,
    template: &Template,
    credential: Option<&IkeKey>,
    (hostname, pki): (&str, &Pki),
) -> Result<ike::Connection, NoConnection> {
    let entry = &template.entry;
    let remote = match credential.map(|credential| &credential.peer) {
        Some(KeyPeer::Address(prefix)) => prefix.address,
        _ => entry.local,
    };
    let mut made = connection(id, entry, &Peer::Address(remote), remote, (hostname, pki))?;
    made.remote_addresses = if entry.peers.is_empty() {
        match credential.map(|credential| &credential.peer) {
            Some(KeyPeer::Address(prefix)) => vec![AddressMatch::Prefix(prefix.address, prefix.length)],
            _ => vec![AddressMatch::Any],
        }
    } else {
        let address = |peer: &Peer| match peer {
            Peer::Address(address) => Some(AddressMatch::exact(*address)),
            _ => None,
        };
        entry.peers.iter().filter_map(address).collect()
    };
    if let Some(credential) = credential {
        if entry.ike.local_authentication == AuthenticationMethod::PreShare {
            made.authentication.local = Proof::PreShared(Secret::from(credential.local.expose()));
        }
        if let Some(accepted) = &mut made.authentication.remote.pre_shared {
            *accepted = Secret::from(credential.remote.expose());
        }
        made.ppk = ppk(credential);
        if let KeyPeer::Identity(identity) = &credential.peer
            && entry.ike.remote_identities.is_empty()
        {
            let identity = local_identity(identity, hostname, &made.authentication);
            made.remote_identities = identity.into_iter().map(IdentityMatch::Exact).collect();
        }
    }
    Ok(made)
}
