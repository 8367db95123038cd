//! `crypto ikev2 …`: proposals, policies, keyrings, profiles and global lines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{AuthenticationMethod, DhGroup, DpdMode, Identity, Prefix, ProfileTrustpoint, Secret};

/// Cipher of an IKEv2 proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ikev2Encryption {
    /// `des`, rejected when used.
    Des,
    /// `3des`, rejected when used.
    TripleDes,
    /// `aes-cbc-N`, key length in bits.
    AesCbc(u16),
    /// `aes-gcm-N`, key length in bits; needs a `prf` and no `integrity`.
    AesGcm(u16),
}

/// Hash of `integrity` and `prf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ikev2Hash {
    /// `md5`, rejected when used.
    Md5,
    /// `sha1`.
    Sha1,
    /// `sha256`.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

/// `crypto ikev2 proposal N`; every list in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Proposal {
    /// `encryption`.
    pub encryption: Vec<Ikev2Encryption>,
    /// `integrity`.
    pub integrity: Vec<Ikev2Hash>,
    /// `prf`; empty means the integrity hashes.
    pub prf: Vec<Ikev2Hash>,
    /// `group`.
    pub groups: Vec<DhGroup>,
    /// `additional-key-exchange N …`, in the order of their numbers, each number once.
    pub additional: Vec<AdditionalExchange>,
}

/// `additional-key-exchange N METHOD [optional]` of a proposal (RFC 9370).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdditionalExchange {
    /// 1 to 7.
    pub number: u8,
    /// Methods in order of preference.
    pub methods: Vec<AdditionalMethod>,
    /// Peers that do not support it are accepted.
    pub optional: bool,
}

/// A method of an additional key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdditionalMethod {
    /// `mlkem768`: ML-KEM-768 (FIPS 203).
    MlKem768,
}

/// `crypto ikev2 policy N`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Policy {
    /// `match address local A`; empty matches any.
    pub local_addresses: Vec<IpAddr>,
    /// `match fvrf`, stored without an effect.
    pub fvrf: Option<String>,
    /// `proposal P` in order of preference.
    pub proposals: Vec<String>,
}

/// Keys of one keyring peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Key {
    /// The local pre-shared key.
    pub local: Option<Secret>,
    /// The peer's pre-shared key.
    pub remote: Option<Secret>,
    /// True when the text is `hex` digits rather than characters.
    pub hex: bool,
}

/// `ppk manual …` of a keyring peer: a post-quantum pre-shared key (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringPpk {
    /// `id`: the name of the key at both ends.
    pub id: String,
    /// `key`.
    pub key: Secret,
    /// True when the text is `hex` digits rather than characters.
    pub hex: bool,
    /// `required`: an IKE SA without it is rejected.
    pub required: bool,
}

/// `peer X` of a keyring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyringPeer {
    /// `description`.
    pub description: Option<String>,
    /// `address A [mask]` or `address P/L`.
    pub address: Option<Prefix>,
    /// `hostname H`.
    pub hostname: Option<String>,
    /// `identity …`.
    pub identity: Option<Identity>,
    /// `pre-shared-key …`.
    pub key: Ikev2Key,
    /// `ppk manual …`.
    pub ppk: Option<KeyringPpk>,
}

/// `crypto ikev2 keyring N`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Keyring {
    /// Peers by name.
    pub peers: BTreeMap<String, KeyringPeer>,
}

/// `crypto ikev2 dpd` and a profile's `dpd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ikev2Dpd {
    /// Seconds without authenticated inbound traffic before the first probe, 10–3600.
    pub interval: u16,
    /// Seconds between retries, 2–60.
    pub retry: u16,
    /// Mode.
    pub mode: DpdMode,
}

/// `match identity remote …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteIdentity {
    /// `any`.
    Any,
    /// `address A [mask]`.
    Address(Prefix),
    /// `fqdn F`.
    Fqdn(String),
    /// `fqdn domain D`.
    FqdnDomain(String),
    /// `email E`.
    Email(String),
    /// `key-id K`.
    KeyId(String),
    /// `dn D`: the subject of the peer's certificate, as `CN=gateway,O=Example`.
    Dn(String),
}

/// `crypto ikev2 profile N`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Profile {
    /// `description`.
    pub description: Option<String>,
    /// `match fvrf`, stored without an effect.
    pub fvrf: Option<String>,
    /// `match address local A`.
    pub local_addresses: Vec<IpAddr>,
    /// `match identity remote …`; a profile without any is incomplete.
    pub remote_identities: Vec<RemoteIdentity>,
    /// `identity local …`; absent means the local address.
    pub local_identity: Option<Identity>,
    /// `authentication local …`.
    pub local_authentication: Option<AuthenticationMethod>,
    /// `authentication remote …`.
    pub remote_authentication: Vec<AuthenticationMethod>,
    /// `keyring local K`.
    pub keyring: Option<String>,
    /// `pki trustpoint T [sign | verify]` in configuration order; if absent, every trustpoint is
    /// used.
    pub trustpoints: Vec<ProfileTrustpoint>,
    /// `lifetime`, seconds; absent means 86400.
    pub lifetime: Option<u32>,
    /// `dpd`; overrides the global line.
    pub dpd: Option<Ikev2Dpd>,
    /// `nat keepalive`, seconds.
    pub nat_keepalive: Option<u16>,
    /// `initial-contact force`.
    pub initial_contact_force: bool,
    /// Lines without an effect, stored as entered.
    pub kept: Vec<String>,
}

/// `crypto ikev2 cookie-challenge N`: the number of half-open SAs above which cookies are demanded.
pub type CookieChallenge = u16;

/// `crypto ikev2 limit …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Limits {
    /// `max-sa N`.
    pub max_sa: Option<u32>,
    /// `max-in-negotation-sa N [incoming | outgoing]` (the spelling is IOS's own).
    pub max_in_negotiation: Option<(u32, Negotiations)>,
}

/// The negotiations that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiations {
    /// Incoming and outgoing, each with this limit.
    All,
    /// Initiated by peers.
    Incoming,
    /// Initiated locally.
    Outgoing,
}

/// Global `crypto ikev2 …` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ikev2Globals {
    /// `crypto ikev2 dpd N M mode`.
    pub dpd: Option<Ikev2Dpd>,
    /// `crypto ikev2 nat keepalive N`, seconds.
    pub nat_keepalive: Option<u16>,
    /// `crypto ikev2 cookie-challenge N`.
    pub cookie_challenge: Option<CookieChallenge>,
    /// `crypto ikev2 fragmentation [mtu N]`: the MTU in bytes, default 576.
    pub fragmentation: Option<u16>,
    /// `crypto ikev2 redirect client [max-redirects N]`: the maximum number of consecutive
    /// redirects, default 5.
    pub max_redirects: Option<u8>,
    /// `crypto ikev2 window N`; absent means 5.
    pub window: Option<u8>,
    /// `crypto ikev2 limit …`.
    pub limits: Ikev2Limits,
    /// Lines without an effect, stored as entered.
    pub kept: Vec<String>,
}
