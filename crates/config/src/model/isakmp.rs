//! `crypto isakmp …`: policies, keys and keepalive. Entries without an IKEv2 profile use these IKE
//! parameters.

use std::net::IpAddr;

use super::{Prefix, Secret};

/// A Diffie-Hellman group by its IANA number (1, 2, 5, 14, 15, 16, 19, 20, 21, 24, 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhGroup(pub u16);

impl DhGroup {
    /// All groups that can be configured; `effective_ike` decides which of them can be used.
    pub const KNOWN: [u16; 11] = [1, 2, 5, 14, 15, 16, 19, 20, 21, 24, 31];

    /// Groups 1, 2, 5 and 24 are rejected (RFC 8247 §2.4).
    pub fn is_weak(self) -> bool {
        matches!(self.0, 1 | 2 | 5 | 24)
    }
}

/// Cipher of an ISAKMP policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsakmpEncryption {
    /// `des` (the IOS default), rejected when used.
    Des,
    /// `3des`, rejected when used.
    TripleDes,
    /// `aes [128|192|256]`, key length in bits.
    Aes(u16),
}

/// Hash of an ISAKMP policy: integrity and PRF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsakmpHash {
    /// `md5`, rejected when used.
    Md5,
    /// `sha` (the IOS default).
    Sha1,
    /// `sha256`.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

/// Authentication method of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationMethod {
    /// `pre-share`.
    PreShare,
    /// `rsa-sig`.
    RsaSig,
    /// `rsa-encr` (IKEv1 only).
    RsaEncr,
    /// `ecdsa-sig` (IKEv2 only).
    EcdsaSig,
    /// `eap` (IKEv2 only).
    Eap,
}

/// `crypto isakmp policy P`, with the IOS defaults for missing lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpPolicy {
    /// `encr`.
    pub encryption: IsakmpEncryption,
    /// `hash`.
    pub hash: IsakmpHash,
    /// `authentication`.
    pub authentication: AuthenticationMethod,
    /// `group`.
    pub group: DhGroup,
    /// `lifetime` of the IKE SA, seconds.
    pub lifetime: u32,
}

impl Default for IsakmpPolicy {
    fn default() -> Self {
        Self {
            encryption: IsakmpEncryption::Des,
            hash: IsakmpHash::Sha1,
            authentication: AuthenticationMethod::RsaSig,
            group: DhGroup(1),
            lifetime: 86_400,
        }
    }
}

/// The peers that a pre-shared key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAddress {
    /// `address A [mask]` or `address ipv6 P/L`.
    Address(Prefix),
    /// `hostname H`: the remote FQDN identity.
    Hostname(String),
}

impl KeyAddress {
    /// Whether the key is for the peer at `address`.
    pub fn covers(&self, address: IpAddr) -> bool {
        matches!(self, Self::Address(prefix) if prefix.contains(address))
    }
}

/// `crypto isakmp key K {address A [mask] | hostname H} [no-xauth]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpKey {
    /// The key.
    pub key: Secret,
    /// Its peers.
    pub peer: KeyAddress,
    /// `no-xauth`, stored without an effect.
    pub no_xauth: bool,
}

/// When probes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpdMode {
    /// Only when there is a packet to send and nothing was heard for the interval.
    OnDemand,
    /// Whenever nothing was heard for the interval.
    Periodic,
}

/// `crypto isakmp keepalive N [M] [periodic|on-demand]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Seconds without authenticated inbound traffic before the first probe, 10–3600.
    pub interval: u16,
    /// Seconds between retries, 2–60.
    pub retry: u16,
    /// Mode.
    pub mode: DpdMode,
}

/// The identity of an end in IKE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The address of the interface (or of the peer, when matching).
    Address(Option<IpAddr>),
    /// A fully qualified domain name.
    Fqdn(String),
    /// An e-mail address.
    Email(String),
    /// An opaque key id.
    KeyId(String),
    /// The subject of the certificate.
    Dn,
}

/// Global `crypto isakmp …` and `crypto ike …` lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpGlobals {
    /// `crypto isakmp enable` (the default).
    pub enabled: bool,
    /// `crypto isakmp identity`: `Address(None)`, `Fqdn("")` for the host name, or `Dn`.
    pub identity: Identity,
    /// `crypto isakmp keepalive`.
    pub keepalive: Option<Keepalive>,
    /// `crypto isakmp nat keepalive`, seconds.
    pub nat_keepalive: Option<u16>,
    /// `crypto isakmp invalid-spi-recovery`.
    pub invalid_spi_recovery: bool,
    /// `crypto ike default-version`: the IKE version of entries without a profile. Only 2 is
    /// supported.
    pub default_version: u8,
    /// `crypto ike give-up`: seconds after which an unanswered initiation has failed, 5–600.
    pub give_up: u16,
    /// Lines without an effect, stored as entered.
    pub kept: Vec<String>,
}

impl IsakmpGlobals {
    /// Default give-up time of an initiation: about two minutes, as in IOS for IKEv2.
    pub const GIVE_UP: u16 = 120;
}

impl Default for IsakmpGlobals {
    fn default() -> Self {
        Self {
            enabled: true,
            identity: Identity::Address(None),
            keepalive: None,
            nat_keepalive: None,
            invalid_spi_recovery: false,
            default_version: 2,
            give_up: Self::GIVE_UP,
            kept: Vec::new(),
        }
    }
}
