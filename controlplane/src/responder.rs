//! Who may connect to what: the IKE connections that follow from the compiled entries.
//!
//! One connection stands for one pair of addresses and one set of IKE parameters. Its child policies are the permits of
//! every entry that names the peer, in the order of the crypto map, so that a peer's request is matched to the first
//! entry whose mirrored permit contains or can narrow it. The same connections serve our own initiations: whoever
//! begins, both sides speak of the same policies.

mod templates;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use config::effective_ike::{IkeEncryption, IkeKey, IkeParameters, IpsecParameters, IpsecTransform};
use config::model::{
    AuthenticationMethod, DhGroup, EspMac, Identity as ConfiguredIdentity, Ikev2Hash, Mode, RemoteIdentity,
};
use ike::provider::KeyKind;
use ike::{
    Acceptance, AdditionalExchange, AddressMatch, Authentication, CertificatePolicy, ChildLifetime,
    ChildPolicy, ChildTag, Connection, ConnectionId, Encryption, EspProposal, Group, Identity, IdentityMatch,
    IkeLifetime, IkeProposal, Integrity, Ppk, Prf, Proof, Retransmission, Secret,
};
use sa_table::PolicyId;

use crate::compile::{Entry, ManualEntry, Plan, PolicyKey};
use crate::liveness::{self, Timing};
use crate::pki::Pki;
use crate::session::Peer;

pub use templates::TemplateFlow;

/// What makes a connection the same across edits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// The IKEv2 profile, if the entry names one.
    pub profile: Option<String>,
    /// For peers of dynamic maps, which are known by nothing but their key: for whom the key is.
    pub unknown: Option<String>,
}

/// A connection with what the brain has to remember about it.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its name.
    pub key: ConnectionKey,
    /// The peer as the entries name it.
    pub peer: Peer,
    /// What IKE is told.
    pub connection: Connection,
    /// IKE parameters, for detection and for `show`.
    pub ike: IkeParameters,
    /// Nothing in the configuration names it any more; it goes when its SAs have been told.
    pub stale: bool,
}

/// Why an entry and a peer have no connection.
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
    /// No certificate of ours can be used.
    #[error(
        "peer {0}: no trustpoint has a usable certificate of this gateway; see \"show crypto pki trustpoints\""
    )]
    Certificate(IpAddr),
    /// No CA can be used.
    #[error("peer {0}: no trustpoint has a usable CA; see \"show crypto pki trustpoints\"")]
    Trust(IpAddr),
    /// No algorithm is left.
    #[error("peer {0} has no usable IKE proposal; type \"group 19\" and \"encryption aes 256\"")]
    Proposal(IpAddr),
}

/// Builds the connections of a plan. `resolve` gives the address of a peer, if it is known; `id` a stable number for
/// each key. The second list says which peers cannot be connected to, and why.
pub fn relations(
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

/// The key under which an entry's connection with `remote` is found.
pub fn connection_key(entry: &Entry, remote: IpAddr) -> ConnectionKey {
    ConnectionKey { local: entry.local, remote, profile: entry.ike.profile.clone(), unknown: None }
}

/// The tag of a policy in every connection.
pub fn tag(policy: PolicyId) -> ChildTag {
    ChildTag(policy.0.into())
}

/// The policy of a tag; none for a number that no policy can have.
pub fn policy(tag: ChildTag) -> Option<PolicyId> {
    u32::try_from(tag.0).ok().map(PolicyId)
}

fn connection(
    id: ConnectionId,
    entry: &Entry,
    peer: &Peer,
    remote: IpAddr,
    (hostname, pki): (&str, &Pki),
) -> Result<Connection, NoConnection> {
    let parameters = &entry.ike;
    let authentication = authentication(parameters, peer, remote, pki)?;
    let name = peer.host_name().map(|name| ConfiguredIdentity::Fqdn(name.to_owned()));
    // With certificates there need not be a key, and a PPK may stand beside them.
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

/// How the two ends prove themselves. `rsa-sig` stands for RSA keys, `ecdsa-sig` for keys on elliptic curves, Ed25519 too.
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

fn ppk(key: &IkeKey) -> Option<Ppk> {
    key.ppk.as_ref().map(|ppk| Ppk {
        id: ppk.id.clone().into_bytes(),
        key: Secret::from(ppk.key.expose()),
        required: ppk.required,
    })
}

/// How long a request over an established IKE SA may stay unanswered: as long as detection would take. Packets that still
/// arrive keep detection quiet, and after a restart of the peer's control plane they do although it has forgotten the IKE SA.
fn patience(parameters: &IkeParameters) -> Duration {
    let longest = Retransmission::default().give_up;
    let Some(dpd) = parameters.dpd else { return longest };
    let detection =
        Timing::keepalive(dpd.interval.into(), dpd.retry.into(), liveness::Mode::Periodic).detection();
    detection.max(Duration::from_secs(parameters.give_up.into())).min(longest)
}

fn children<'a>(plan: &'a Plan, entry: &'a Entry, remote: IpAddr) -> impl Iterator<Item = ChildPolicy> + 'a {
    entry.policies.iter().filter_map(move |id| child(entry, tag(*id), plan.policies.get(id)?, remote))
}

/// What a peer at `remote` may ask for, and how; none where transport mode is required and the permit is for others.
fn child(entry: &Entry, tag: ChildTag, permit: &PolicyKey, remote: IpAddr) -> Option<ChildPolicy> {
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

/// The endpoint reports the soft limit and the brain decides: an SA that carried nothing is not rekeyed.
fn child_lifetime(ipsec: &IpsecParameters) -> ChildLifetime {
    let hard = Duration::from_secs(ipsec.lifetime_seconds.into());
    let margin = (hard * 3 / 40).max(Duration::from_secs(30)).min(hard / 2);
    ChildLifetime { soft: Some(hard - margin), jitter: margin, hard: Some(hard), rekey_on_soft: false }
}

fn ike_proposal(proposal: &config::effective_ike::IkeProposal) -> IkeProposal {
    IkeProposal {
        encryption: proposal
            .encryption
            .iter()
            .filter_map(|cipher| match cipher {
                IkeEncryption::AesCbc(128) => Some(Encryption::AesCbc128),
                IkeEncryption::AesCbc(192) => Some(Encryption::AesCbc192),
                IkeEncryption::AesCbc(256) => Some(Encryption::AesCbc256),
                IkeEncryption::AesGcm(128) => Some(Encryption::AesGcm128),
                IkeEncryption::AesGcm(192) => Some(Encryption::AesGcm192),
                IkeEncryption::AesGcm(256) => Some(Encryption::AesGcm256),
                _ => None,
            })
            .collect(),
        integrity: proposal.integrity.iter().filter_map(|hash| integrity(*hash)).collect(),
        prf: proposal.prf.iter().filter_map(|hash| prf(*hash)).collect(),
        groups: proposal.groups.iter().filter_map(group).collect(),
        additional: proposal.additional.iter().map(additional).collect(),
    }
}

fn additional(exchange: &config::model::AdditionalExchange) -> AdditionalExchange {
    let groups = exchange.methods.iter().map(|method| match method {
        config::model::AdditionalMethod::MlKem768 => Group::MlKem768,
    });
    AdditionalExchange { number: exchange.number, groups: groups.collect(), optional: exchange.optional }
}

/// Algorithms and mode of a hand-keyed pair; none for what ESP does not have.
pub fn manual_suite(entry: &ManualEntry, permit: &PolicyKey) -> Option<(ike::EspSuite, ike::Mode)> {
    let proposal = esp_proposals(&entry.parameters.ipsec).into_iter().next()?;
    let suite = ike::EspSuite {
        encryption: *proposal.encryption.first()?,
        integrity: proposal.integrity.first().copied(),
        esn: false,
        group: None,
    };
    let wanted = entry.parameters.ipsec.proposals.first().map(|proposal| proposal.mode).unwrap_or_default();
    let (mode, _) = mode_for(wanted, permit, entry.local, entry.parameters.peer)?;
    Some((suite, mode))
}

/// The mode for a permit, and whether it is required. Transport mode is for the endpoints themselves, as IOS does; where it is required
/// and the permit is for others, there is none.
fn mode_for(wanted: Mode, permit: &PolicyKey, local: IpAddr, remote: IpAddr) -> Option<(ike::Mode, bool)> {
    let is_host = |selectors: &[ike::TrafficSelector], address: IpAddr| {
        selectors.iter().all(|selector| (selector.start, selector.end) == (address, address))
    };
    let between_endpoints = is_host(&permit.local, local) && is_host(&permit.remote, remote);
    match wanted {
        Mode::Transport if between_endpoints => Some((ike::Mode::Transport, false)),
        Mode::TransportRequire if between_endpoints => Some((ike::Mode::Transport, true)),
        Mode::TransportRequire => None,
        Mode::Transport | Mode::Tunnel => Some((ike::Mode::Tunnel, false)),
    }
}

fn esp_proposals(ipsec: &IpsecParameters) -> Vec<EspProposal> {
    let groups: Vec<Group> = ipsec.pfs.iter().filter_map(group).collect();
    let proposal = |encryption, integrity: Option<Integrity>, esn| EspProposal {
        encryption: vec![encryption],
        integrity: integrity.into_iter().collect(),
        groups: groups.clone(),
        esn: if esn { vec![true, false] } else { vec![false] },
    };
    ipsec
        .proposals
        .iter()
        .filter_map(|wanted| {
            let (encryption, integrity) = match wanted.transform {
                IpsecTransform::AesGcm(128) => (Encryption::AesGcm128, None),
                IpsecTransform::AesGcm(192) => (Encryption::AesGcm192, None),
                IpsecTransform::AesGcm(256) => (Encryption::AesGcm256, None),
                IpsecTransform::AesGmac(128) => (Encryption::AesGmac128, None),
                IpsecTransform::AesGmac(192) => (Encryption::AesGmac192, None),
                IpsecTransform::AesGmac(256) => (Encryption::AesGmac256, None),
                IpsecTransform::ChaCha20Poly1305 => (Encryption::ChaCha20Poly1305, None),
                IpsecTransform::AesCbc(128, mac) => (Encryption::AesCbc128, Some(esp_mac(mac)?)),
                IpsecTransform::AesCbc(192, mac) => (Encryption::AesCbc192, Some(esp_mac(mac)?)),
                IpsecTransform::AesCbc(256, mac) => (Encryption::AesCbc256, Some(esp_mac(mac)?)),
                IpsecTransform::Null(mac) => (Encryption::Null, Some(esp_mac(mac)?)),
                _ => return None,
            };
            Some(proposal(encryption, integrity, wanted.esn))
        })
        .collect()
}

fn esp_mac(mac: EspMac) -> Option<Integrity> {
    match mac {
        EspMac::Md5 => None,
        EspMac::Sha1 => Some(Integrity::HmacSha1_96),
        EspMac::Sha256 => Some(Integrity::HmacSha256_128),
        EspMac::Sha384 => Some(Integrity::HmacSha384_192),
        EspMac::Sha512 => Some(Integrity::HmacSha512_256),
    }
}

fn integrity(hash: Ikev2Hash) -> Option<Integrity> {
    match hash {
        Ikev2Hash::Md5 => None,
        Ikev2Hash::Sha1 => Some(Integrity::HmacSha1_96),
        Ikev2Hash::Sha256 => Some(Integrity::HmacSha256_128),
        Ikev2Hash::Sha384 => Some(Integrity::HmacSha384_192),
        Ikev2Hash::Sha512 => Some(Integrity::HmacSha512_256),
    }
}

fn prf(hash: Ikev2Hash) -> Option<Prf> {
    integrity(hash).map(Integrity::prf)
}

fn group(group: &DhGroup) -> Option<Group> {
    Group::from_number(group.0)
}

fn local_identity(
    configured: &ConfiguredIdentity,
    hostname: &str,
    authentication: &Authentication,
) -> Option<Identity> {
    match configured {
        ConfiguredIdentity::Address(None) => None,
        // With several certificates it is the first one's: `identity local dn` is for one.
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
        // What is no name matches nothing; it was said when it was configured.
        RemoteIdentity::Dn(name) => IdentityMatch::Exact(
            Identity::distinguished_name(name)
                .unwrap_or_else(|| Identity::Other(9, name.clone().into_bytes())),
        ),
    }
}
