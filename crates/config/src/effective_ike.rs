//! The IKE and SA parameters of a crypto map entry.
//!
//! `set ikev2-profile` selects the parameters of that profile. Without a profile the
//! `crypto isakmp` lines are translated: lines are translated:
//!
//! | line | meaning |
//! |---|---|
//! | `crypto isakmp key` | pre-shared key of both directions, by remote address or FQDN identity |
//! | `crypto isakmp policy` | one proposal a policy in priority order: AES-CBC + HMAC and PRF of the hash + group |
//! | `authentication` | AUTH method of both directions |
//! | `crypto isakmp keepalive` | liveness with the same interval, retry and mode |
//! | no policy at all | the built-in proposals |
//!
//! An entry that cannot be translated safely is rejected; every rejection includes a remedy.

mod ipsec;
mod manual;
mod profile;
mod proposal;
#[cfg(test)]
mod tests;
mod trustpoints;

pub use ipsec::{IpsecParameters, IpsecProposal, IpsecTransform, effective_ipsec};
pub use manual::{ManualKey, ManualParameters, effective_manual};
pub use proposal::{IkeEncryption, IkeProposal, built_in_proposals};

use std::net::IpAddr;

use crate::model::{
    AuthenticationMethod, Configuration, CryptoMapEntry, DpdMode, Identity, IsakmpEncryption, IsakmpPolicy,
    Keying, Prefix, Profile, RemoteIdentity, Secret,
};

/// Dead peer detection of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    /// Seconds without authenticated inbound traffic before the first probe.
    pub interval: u16,
    /// Seconds between retries; the peer is dead after `interval + 6 × retry`.
    pub retry: u16,
    /// Mode.
    pub mode: DpdMode,
}

/// The peers that a key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPeer {
    /// Remote address in this prefix.
    Address(Prefix),
    /// Remote identity.
    Identity(Identity),
}

/// One pre-shared key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeKey {
    /// The peers.
    pub peer: KeyPeer,
    /// The key for the local AUTH payload, as bytes.
    pub local: KeyBytes,
    /// The key for the peer's AUTH payload, as bytes.
    pub remote: KeyBytes,
    /// An additional post-quantum pre-shared key.
    pub ppk: Option<IkePpk>,
}

/// A post-quantum pre-shared key (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkePpk {
    /// Its name.
    pub id: String,
    /// The key.
    pub key: KeyBytes,
    /// Whether an IKE SA without it is rejected.
    pub required: bool,
}

/// A key as bytes: the characters of a text key, or the decoded digits of a hexadecimal one.
/// Zeroized on drop.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct KeyBytes(Vec<u8>);

impl KeyBytes {
    /// The key, for the key derivation only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    fn from_secret(secret: &Secret, hex: bool) -> Option<Self> {
        let text = secret.expose().as_bytes();
        if !hex {
            return Some(Self(text.to_vec()));
        }
        let digit = |c: u8| (c as char).to_digit(16);
        let pairs = text.chunks(2).map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
            _ => None,
        });
        pairs.collect::<Option<Vec<u8>>>().map(Self)
    }
}

impl std::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyBytes(<hidden>)")
    }
}

/// All IKE parameters of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeParameters {
    /// IKE version; 2.
    pub version: u8,
    /// Proposals in order of preference, from policies for any local address.
    pub proposals: Vec<IkeProposal>,
    /// Proposals of policies for specific local addresses, which take precedence there.
    pub proposals_of_addresses: Vec<(Vec<IpAddr>, Vec<IkeProposal>)>,
    /// Local addresses of the profile; empty: any.
    pub local_addresses: Vec<IpAddr>,
    /// IKE SA lifetime, seconds.
    pub lifetime: u32,
    /// Dead peer detection; `None` without a keepalive.
    pub dpd: Option<Dpd>,
    /// Local authentication method.
    pub local_authentication: AuthenticationMethod,
    /// Accepted authentication methods of the peer.
    pub remote_authentication: Vec<AuthenticationMethod>,
    /// Local identity; `Address(None)` is the address of the interface.
    pub local_identity: Identity,
    /// Accepted identities of the peer; empty: the peer's address, or its configured host name.
    pub remote_identities: Vec<RemoteIdentity>,
    /// Keys, the most specific prefix first.
    pub keys: Vec<IkeKey>,
    /// Trustpoints for the local certificate, in order of preference; empty with pre-shared keys.
    pub signing_trustpoints: Vec<String>,
    /// Trustpoints whose CA is trusted; empty with pre-shared keys.
    pub trusted_trustpoints: Vec<String>,
    /// Seconds between NAT keepalives, `None` when off.
    pub nat_keepalive: Option<u16>,
    /// Seconds after which an unanswered initiation has failed.
    pub give_up: u16,
    /// Number of half-open SAs above which cookies are demanded.
    pub cookie_challenge: Option<u16>,
    /// IKE fragmentation MTU, `None` when off.
    pub fragmentation: Option<u16>,
    /// `initial-contact force`.
    pub initial_contact_force: bool,
    /// The profile's name for `show crypto map`, when there is one.
    pub profile: Option<String>,
}

impl IkeParameters {
    /// The proposals at a local address: from the policies that name it, otherwise from those for
    /// any address, otherwise the built-in ones.
    pub fn proposals_at(&self, local: IpAddr) -> Vec<IkeProposal> {
        let named = self.proposals_of_addresses.iter().filter(|(addresses, _)| addresses.contains(&local));
        let named: Vec<IkeProposal> = named.flat_map(|(_, proposals)| proposals.clone()).collect();
        match (named.is_empty(), self.proposals.is_empty()) {
            (false, _) => named,
            (true, false) => self.proposals.clone(),
            (true, true) => built_in_proposals(),
        }
    }

    /// The key for a peer: by its identity if known, otherwise by the longest prefix that contains
    /// its address.
    pub fn key_for(&self, address: IpAddr, identity: Option<&Identity>) -> Option<&IkeKey> {
        let by_identity = |key: &&IkeKey| match (&key.peer, identity) {
            (KeyPeer::Identity(wanted), Some(identity)) => same_identity(wanted, identity),
            _ => false,
        };
        let by_address =
            |key: &&IkeKey| matches!(&key.peer, KeyPeer::Address(prefix) if prefix.contains(address));
        self.keys.iter().find(by_identity).or_else(|| self.keys.iter().find(by_address))
    }

    /// Whether a peer authenticated as `identity` may use the entry for the peer at `address`.
    pub fn accepts(&self, address: IpAddr, host_name: Option<&str>, identity: &Identity) -> bool {
        if self.remote_identities.is_empty() {
            return match identity {
                Identity::Address(Some(claimed)) => *claimed == address,
                Identity::Fqdn(name) => {
                    host_name.is_some_and(|host| host.eq_ignore_ascii_case(name))
                        || self.keys.iter().any(|key| {
                            matches!(&key.peer, KeyPeer::Identity(Identity::Fqdn(n)) if n.eq_ignore_ascii_case(name))
                        })
                }
                _ => false,
            };
        }
        self.remote_identities.iter().any(|wanted| match (wanted, identity) {
            (RemoteIdentity::Any, _) => true,
            (RemoteIdentity::Address(prefix), Identity::Address(Some(claimed))) => prefix.contains(*claimed),
            (RemoteIdentity::Fqdn(a), Identity::Fqdn(b)) => a.eq_ignore_ascii_case(b),
            (RemoteIdentity::FqdnDomain(domain), Identity::Fqdn(name)) => {
                let (domain, name) = (domain.to_ascii_lowercase(), name.to_ascii_lowercase());
                name.strip_suffix(&domain).is_some_and(|host| host.is_empty() || host.ends_with('.'))
            }
            (RemoteIdentity::Email(a), Identity::Email(b)) => a.eq_ignore_ascii_case(b),
            (RemoteIdentity::KeyId(a), Identity::KeyId(b)) => a == b,
            _ => false,
        })
    }
}

/// Why an entry is unusable. The text starts with the place and ends with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("crypto map \"{map}\" {seq}: {reason}; {remedy}")]
pub struct EntryRefusal {
    /// The map set.
    pub map: String,
    /// The entry.
    pub seq: u16,
    /// The reason.
    pub reason: String,
    /// What to type.
    pub remedy: String,
}

/// The IKE parameters of an entry, or why it has none.
///
/// For `dynamic` entries pass the template's body in `entry`; they use the parameters of the
/// template's profile.
pub fn effective_ike(
    configuration: &Configuration,
    map: &str,
    seq: u16,
    entry: &CryptoMapEntry,
) -> Result<IkeParameters, EntryRefusal> {
    let refuse =
        |reason: String, remedy: &str| EntryRefusal { map: map.into(), seq, reason, remedy: remedy.into() };
    if entry.keying == Keying::Manual {
        return Err(refuse(
            "hand-keyed entries do not use IKE".into(),
            "type \"ipsec-isakmp\" entries for IKE",
        ));
    }
    match &entry.body.profile {
        Some(Profile::Ikev2(name)) => {
            profile::from_profile(configuration, name).map_err(|(r, m)| refuse(r, m))
        }
        Some(Profile::Isakmp(name)) => Err(refuse(
            format!("isakmp-profile {name} means IKEv1, which is not implemented"),
            "use \"set ikev2-profile\" or no profile",
        )),
        None => from_isakmp(configuration).map_err(|(r, m)| refuse(r, m)),
    }
}

type Refusal = (String, &'static str);

fn from_isakmp(configuration: &Configuration) -> Result<IkeParameters, Refusal> {
    let globals = &configuration.isakmp;
    let mut authentication = AuthenticationMethod::PreShare;
    let mut lifetime = 86_400;
    let mut proposals = Vec::new();
    // A policy without any line yet is ignored: it must not make entries unusable while it is being
    // entered.
    let typed = |policy: &&IsakmpPolicy| **policy != IsakmpPolicy::default();
    let mut policies: Vec<_> =
        configuration.isakmp_policies.iter().filter(|(_, policy)| typed(policy)).collect();
    if policies.is_empty() {
        policies = configuration.isakmp_policies.iter().collect();
    }
    for (index, (priority, policy)) in policies.into_iter().enumerate() {
        let place = |what: &str| format!("isakmp policy {priority} uses {what}");
        let bits = match policy.encryption {
            IsakmpEncryption::Aes(bits) => bits,
            IsakmpEncryption::Des => return Err((place("DES"), "type \"encr aes 256\" in that policy")),
            IsakmpEncryption::TripleDes => {
                return Err((place("3DES"), "type \"encr aes 256\" in that policy"));
            }
        };
        proposals.push(
            proposal::from_isakmp(bits, policy.hash, policy.group).map_err(|(what, m)| (place(&what), m))?,
        );
        if policy.authentication == AuthenticationMethod::RsaEncr {
            return Err((
                place("rsa-encr"),
                "type \"authentication pre-share\" or \"rsa-sig\" in that policy",
            ));
        }
        if index == 0 {
            (authentication, lifetime) = (policy.authentication, policy.lifetime);
        } else if policy.authentication != authentication {
            return Err((
                place("another authentication method than the first policy"),
                "IKEv2 has one method an entry: make them equal, or use \"set ikev2-profile\"",
            ));
        }
    }
    if proposals.is_empty() {
        proposals = built_in_proposals();
    }
    let mut keys: Vec<IkeKey> = Vec::new();
    for key in &configuration.isakmp_keys {
        let Some(bytes) = KeyBytes::from_secret(&key.key, false) else { continue };
        let peer = match &key.peer {
            crate::model::KeyAddress::Address(prefix) => KeyPeer::Address(*prefix),
            crate::model::KeyAddress::Hostname(name) => KeyPeer::Identity(Identity::Fqdn(name.clone())),
        };
        keys.push(IkeKey { peer, local: bytes.clone(), remote: bytes, ppk: None });
    }
    sort_keys(&mut keys);
    let trustpoints = trustpoints::of_isakmp(configuration, authentication)?;
    let local_identity = match &globals.identity {
        Identity::Fqdn(_) => Identity::Fqdn(own_fqdn(configuration)),
        other => other.clone(),
    };
    Ok(IkeParameters {
        version: globals.default_version,
        proposals,
        proposals_of_addresses: Vec::new(),
        local_addresses: Vec::new(),
        lifetime,
        dpd: globals.keepalive.map(|k| Dpd { interval: k.interval, retry: k.retry, mode: k.mode }),
        local_authentication: authentication,
        remote_authentication: vec![authentication],
        local_identity,
        remote_identities: Vec::new(),
        keys,
        signing_trustpoints: trustpoints.signing,
        trusted_trustpoints: trustpoints.trusted,
        nat_keepalive: globals.nat_keepalive.or(configuration.ikev2.nat_keepalive),
        give_up: globals.give_up,
        cookie_challenge: configuration.ikev2.cookie_challenge,
        fragmentation: configuration.ikev2.fragmentation,
        initial_contact_force: false,
        profile: None,
    })
}

/// `hostname`, with `ip domain name` appended if configured.
fn own_fqdn(configuration: &Configuration) -> String {
    let system = &configuration.system;
    match &system.domain_name {
        Some(domain) if !system.hostname.contains('.') => format!("{}.{domain}", system.hostname),
        _ => system.hostname.clone(),
    }
}

/// Most specific prefix first, identities before addresses, otherwise in configuration order.
fn sort_keys(keys: &mut [IkeKey]) {
    keys.sort_by_key(|key| match &key.peer {
        KeyPeer::Identity(_) => 0,
        KeyPeer::Address(prefix) => 200 - u16::from(prefix.length),
    });
}

fn same_identity(a: &Identity, b: &Identity) -> bool {
    match (a, b) {
        (Identity::Fqdn(a), Identity::Fqdn(b)) | (Identity::Email(a), Identity::Email(b)) => {
            a.eq_ignore_ascii_case(b)
        }
        _ => a == b,
    }
}
