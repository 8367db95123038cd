//! Builds the IKE connections of the compiled entries.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use config::effective_ike::{IkeKey, IkeParameters, IpsecParameters};
use config::model::{AuthenticationMethod, Identity as ConfiguredIdentity, RemoteIdentity};
use ike::provider::KeyKind;
use ike::{
    Acceptance, AddressMatch, Authentication, CertificatePolicy, ChildLifetime, ChildPolicy, ChildTag,
    Connection, ConnectionId, Identity, IdentityMatch, IkeLifetime, IkeProposal, Ppk, Proof, Retransmission,
    Secret,
};

use super::algorithms::{esp_proposals, ike_proposal, mode_for};
use super::{ConnectionKey, NoConnection, Relation, TemplateFlow, connection_key, tag, templates};
use crate::pki::Pki;
use crate::plan::{Entry, Peer, Plan, PolicyKey};
use crate::tunnels::{self, Timing};

/// Builds the connections of a plan. `resolve` returns the address of a peer, if it is known; `id`
/// returns a stable number for each key. The second list holds the peers without a connection, with
/// the reason.
pub(super) fn relations(
    plan: &Plan,
    hostname: &str,
    pki: &Pki,
    resolve: impl Fn(&Entry, &Peer) -> Option<IpAddr>,
    mut id: impl FnMut(&ConnectionKey) -> ConnectionId,
    mut template_tag: impl FnMut(&TemplateFlow) -> ChildTag,
) -> (BTreeMap<ConnectionId, Relation>, Vec<NoConnection>) {
    let mut relations: BTreeMap<ConnectionId, Relation> = BTreeMap::new();
    let mut refused = Vec::new();
    for entry in plan.entries.values().filter(|entry| entry.template.is_none()) {
        for peer in &entry.peers {
            let Some(remote) =
                resolve(entry, peer).filter(|remote| remote.is_ipv4() == entry.local.is_ipv4())
            else {
                continue;
            };
            let key = connection_key(entry, remote);
            let id = id(&key);
            if let std::collections::btree_map::Entry::Vacant(slot) = relations.entry(id) {
                match connection(id, entry, peer, remote, (hostname, pki)) {
                    Ok(connection) => {
                        slot.insert(Relation {
                            key,
                            peer: peer.clone(),
                            connection,
                            ike: entry.ike.clone(),
                            stale: false,
                        });
                    }
                    Err(reason) => {
                        refused.push(reason);
                        continue;
                    }
                }
            }
            if let Some(relation) = relations.get_mut(&id) {
                relation.connection.children.extend(children(plan, entry, remote));
            }
        }
    }
    templates::add(plan, hostname, pki, &mut relations, &mut refused, &mut id, &mut template_tag);
    (relations, refused)
}

pub(super) fn connection(
    id: ConnectionId,
    entry: &Entry,
    peer: &Peer,
    remote: IpAddr,
    (hostname, pki): (&str, &Pki),
) -> Result<Connection, NoConnection> {
    let parameters = &entry.ike;
    let authentication = authentication(parameters, peer, remote, pki)?;
    let name = peer.host_name().map(|name| ConfiguredIdentity::Fqdn(name.to_owned()));
    // With certificate authentication a pre-shared key is optional, and a PPK may be configured as
    // well.
    let key = parameters.key_for(remote, name.as_ref());
    let ike_proposals: Vec<IkeProposal> =
        parameters.proposals_at(entry.local).iter().map(ike_proposal).collect();
    if ike_proposals.iter().all(|proposal| proposal.groups.is_empty() || proposal.encryption.is_empty()) {
        return Err(NoConnection::Proposal(remote));
    }
    let remote_identities = if parameters.remote_identities.is_empty() {
        match peer.host_name() {
            Some(name) => vec![
                IdentityMatch::Exact(Identity::Fqdn(name.to_owned())),
                IdentityMatch::Exact(Identity::Address(remote)),
            ],
            None => Vec::new(),
        }
    } else {
        parameters.remote_identities.iter().map(remote_identity).collect()
    };
    let lifetime = Duration::from_secs(parameters.lifetime.into());
    let margin = (lifetime / 24).max(Duration::from_secs(30)).min(lifetime / 2);
    Ok(Connection {
        id,
        local_address: Some(entry.local),
        remote_addresses: vec![AddressMatch::exact(remote)],
        local_identity: local_identity(&parameters.local_identity, hostname, &authentication),
        remote_identities,
        authentication,
        ppk: key.and_then(ppk),
        ike_proposals,
        children: Vec::new(),
        initiation: Retransmission {
            give_up: Duration::from_secs(parameters.give_up.into()),
            ..Retransmission::default()
        },
        established: Retransmission { give_up: patience(parameters), ..Retransmission::default() },
        lifetime: IkeLifetime { rekey: Some(lifetime - margin), jitter: margin, hard: Some(lifetime) },
        initial_contact: true,
        initial_contact_force: parameters.initial_contact_force,
        nat_keepalive: parameters.nat_keepalive.map(|seconds| Duration::from_secs(seconds.into())),
        close_duplicates: true,
        mobike: true,
        force_udp_encapsulation: false,
    })
}

/// Authentication of both ends. `rsa-sig` stands for RSA keys, `ecdsa-sig` for elliptic-curve keys
/// including Ed25519.
fn authentication(
    parameters: &IkeParameters,
    peer: &Peer,
    remote: IpAddr,
    pki: &Pki,
) -> Result<Authentication, NoConnection> {
    use AuthenticationMethod::{EcdsaSig, PreShare, RsaSig};
    let name = peer.host_name().map(|name| ConfiguredIdentity::Fqdn(name.to_owned()));
    let key = parameters.key_for(remote, name.as_ref());
    let local = match parameters.local_authentication {
        PreShare => Proof::PreShared(Secret::from(key.ok_or(NoConnection::NoKey(remote))?.local.expose())),
        RsaSig | EcdsaSig => {
            let wants_rsa = parameters.local_authentication == RsaSig;
            let mut credentials = pki.credentials(&parameters.signing_trustpoints);
            credentials.retain(|credential| (credential.kind() == KeyKind::Rsa) == wants_rsa);
            if credentials.is_empty() {
                return Err(NoConnection::Certificate(remote));
            }
            Proof::Certificate(credentials)
        }
        _ => return Err(NoConnection::Method(remote)),
    };
    let accepts = |method| parameters.remote_authentication.contains(&method);
    if parameters.remote_authentication.iter().any(|method| !matches!(method, PreShare | RsaSig | EcdsaSig)) {
        return Err(NoConnection::Method(remote));
    }
    let mut acceptance = Acceptance::default();
    if accepts(PreShare) {
        acceptance.pre_shared = Some(Secret::from(key.ok_or(NoConnection::NoKey(remote))?.remote.expose()));
    }
    if accepts(RsaSig) || accepts(EcdsaSig) {
        let trust = pki.trust(&parameters.trusted_trustpoints);
        if trust.is_empty() {
            return Err(NoConnection::Trust(remote));
        }
        let policy = CertificatePolicy { trust, rsa: accepts(RsaSig), elliptic: accepts(EcdsaSig) };
        acceptance.certificates = Some(policy);
    }
    Ok(Authentication { local, remote: acceptance })
}

pub(super) fn ppk(key: &IkeKey) -> Option<Ppk> {
    key.ppk.as_ref().map(|ppk| Ppk {
        id: ppk.id.clone().into_bytes(),
        key: Secret::from(ppk.key.expose()),
        required: ppk.required,
    })
}

/// Timeout of a request over an established IKE SA: the duration of dead peer detection. ESP that
/// still arrives resets detection, and after a restart of the peer's control plane ESP can continue
/// to arrive although the peer no longer has the IKE SA.
fn patience(parameters: &IkeParameters) -> Duration {
    let longest = Retransmission::default().give_up;
    let Some(dpd) = parameters.dpd else { return longest };
    let detection =
        Timing::keepalive(dpd.interval.into(), dpd.retry.into(), tunnels::Mode::Periodic).detection();
    detection.max(Duration::from_secs(parameters.give_up.into())).min(longest)
}

fn children<'a>(plan: &'a Plan, entry: &'a Entry, remote: IpAddr) -> impl Iterator<Item = ChildPolicy> + 'a {
    entry.policies.iter().filter_map(move |id| child(entry, tag(*id), plan.policies.get(id)?, remote))
}

/// What a peer at `remote` may propose, and in which mode; `None` where transport mode is required
/// and the permit covers other addresses.
pub(super) fn child(entry: &Entry, tag: ChildTag, permit: &PolicyKey, remote: IpAddr) -> Option<ChildPolicy> {
    let wanted = entry.ipsec.proposals.first().map(|proposal| proposal.mode).unwrap_or_default();
    let (mode, transport_required) = mode_for(wanted, permit, entry.local, remote)?;
    Some(ChildPolicy {
        tag,
        local_selectors: permit.local.clone(),
        remote_selectors: permit.remote.clone(),
        proposals: esp_proposals(&entry.ipsec),
        mode,
        transport_required,
        lifetime: child_lifetime(&entry.ipsec),
    })
}

/// The endpoint reports the soft limit and the gateway decides whether to rekey: an SA that carried
/// no traffic is left to expire.
fn child_lifetime(ipsec: &IpsecParameters) -> ChildLifetime {
    let hard = Duration::from_secs(ipsec.lifetime_seconds.into());
    let margin = (hard * 3 / 40).max(Duration::from_secs(30)).min(hard / 2);
    ChildLifetime { soft: Some(hard - margin), jitter: margin, hard: Some(hard), rekey_on_soft: false }
}

pub(super) fn local_identity(
    configured: &ConfiguredIdentity,
    hostname: &str,
    authentication: &Authentication,
) -> Option<Identity> {
    match configured {
        ConfiguredIdentity::Address(None) => None,
        // With several certificates, the subject of the first one: `identity local dn` selects a
        // single identity.
        ConfiguredIdentity::Dn => match &authentication.local {
            Proof::Certificate(credentials) => {
                credentials.first().map(|credential| credential.certificate().subject())
            }
            Proof::PreShared(_) => None,
        },
        ConfiguredIdentity::Address(Some(address)) => Some(Identity::Address(*address)),
        ConfiguredIdentity::Fqdn(name) if name.is_empty() => Some(Identity::Fqdn(hostname.to_owned())),
        ConfiguredIdentity::Fqdn(name) => Some(Identity::Fqdn(name.clone())),
        ConfiguredIdentity::Email(name) => Some(Identity::Email(name.clone())),
        ConfiguredIdentity::KeyId(id) => Some(Identity::KeyId(id.clone().into_bytes())),
    }
}

fn remote_identity(configured: &RemoteIdentity) -> IdentityMatch {
    match configured {
        RemoteIdentity::Any => IdentityMatch::Any,
        RemoteIdentity::Address(prefix) => IdentityMatch::Prefix(prefix.address, prefix.length),
        RemoteIdentity::Fqdn(name) => IdentityMatch::Exact(Identity::Fqdn(name.clone())),
        RemoteIdentity::FqdnDomain(domain) => IdentityMatch::FqdnDomain(domain.clone()),
        RemoteIdentity::Email(name) => IdentityMatch::Exact(Identity::Email(name.clone())),
        RemoteIdentity::KeyId(id) => IdentityMatch::Exact(Identity::KeyId(id.clone().into_bytes())),
        // An unparsable distinguished name matches nothing (reported at configuration time).
        RemoteIdentity::Dn(name) => IdentityMatch::Exact(
            Identity::distinguished_name(name)
                .unwrap_or_else(|| Identity::Other(9, name.clone().into_bytes())),
        ),
    }
}
