//! The typed configuration, independent of how it was entered.
//!
//! Every list is in printing order. Values are stored in normal form (masked addresses, canonical
//! interface names), so that two models are equal if and only if their running configurations are.

mod acl;
mod crypto_map;
mod ikev2;
mod interface;
mod ipsec;
mod isakmp;
mod pki;
mod secret;
mod shared;
mod shared_map;
mod system;

pub use acl::{
    AccessGroups, AccessList, AclAction, AclAddress, AclLine, AclOptions, AclRule, IcmpType, Inserted,
    PortMatch, ServiceMatch,
};
pub use crypto_map::{
    CryptoMap, CryptoMapEntry, DynamicMap, EntryBody, IdleTimer, Keying, Peer, PeerName, Profile,
    ReverseRoute, SessionKey, SessionKeys,
};
pub use ikev2::{
    AdditionalExchange, AdditionalMethod, CookieChallenge, Ikev2Dpd, Ikev2Encryption, Ikev2Globals,
    Ikev2Hash, Ikev2Key, Ikev2Keyring, Ikev2Limits, Ikev2Policy, Ikev2Profile, Ikev2Proposal, KeyringPeer,
    KeyringPpk, Negotiations, RemoteIdentity,
};
pub use interface::{Interface, InterfaceAddress, InterfaceName, NextHop, Route};
pub use ipsec::{
    AhTransform, DfBit, EspCipher, EspMac, IpsecGlobals, KilobyteLimit, Lifetime, Mode, Replay, TransformSet,
};
pub use ipsec_types::Prefix;
pub use isakmp::{
    AuthenticationMethod, DhGroup, DpdMode, Identity, IsakmpEncryption, IsakmpGlobals, IsakmpHash, IsakmpKey,
    IsakmpPolicy, Keepalive, KeyAddress,
};
pub use pki::{KeyPair, PkiCertificate, ProfileTrustpoint, RevocationCheck, Trustpoint};
pub use secret::{HashedSecret, Secret};
pub use shared::Shared;
pub use shared_map::{Difference, SharedMap};
pub use system::{Line, System, User};

use std::collections::BTreeMap;

/// A complete configuration. `Configuration::default()` is that of a new gateway.
///
/// A clone is cheap: each section is shared until one of the clones changes it, and of access lists
/// and crypto map entries only the changed ones are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Host name, users, lines, name resolution, logging, and lines without an effect.
    pub system: Shared<System>,
    /// Interfaces by canonical name, in printing order.
    pub interfaces: Shared<BTreeMap<InterfaceName, Interface>>,
    /// Static routes in configuration order.
    pub routes: Shared<Vec<Route>>,
    /// Extended access lists by number or name.
    pub access_lists: SharedMap<String, AccessList>,
    /// `crypto isakmp …`: keys, policies, keepalive.
    pub isakmp: Shared<IsakmpGlobals>,
    /// `crypto isakmp policy P` by priority; the lowest number has the highest priority.
    pub isakmp_policies: Shared<BTreeMap<u16, IsakmpPolicy>>,
    /// Pre-shared keys of `crypto isakmp key`, in configuration order.
    pub isakmp_keys: Shared<Vec<IsakmpKey>>,
    /// Global `crypto ikev2 …` lines.
    pub ikev2: Shared<Ikev2Globals>,
    /// `crypto ikev2 proposal N`.
    pub ikev2_proposals: Shared<BTreeMap<String, Ikev2Proposal>>,
    /// `crypto ikev2 policy N`.
    pub ikev2_policies: Shared<BTreeMap<String, Ikev2Policy>>,
    /// `crypto ikev2 keyring N`.
    pub ikev2_keyrings: Shared<BTreeMap<String, Ikev2Keyring>>,
    /// `crypto ikev2 profile N`.
    pub ikev2_profiles: Shared<BTreeMap<String, Ikev2Profile>>,
    /// `crypto pki trustpoint N` with its certificates.
    pub trustpoints: Shared<BTreeMap<String, Trustpoint>>,
    /// Global `crypto ipsec …` lines.
    pub ipsec: Shared<IpsecGlobals>,
    /// `crypto ipsec transform-set T`.
    pub transform_sets: Shared<BTreeMap<String, TransformSet>>,
    /// `crypto dynamic-map N seq`.
    pub dynamic_maps: Shared<BTreeMap<String, DynamicMap>>,
    /// Crypto map sets by name.
    pub crypto_maps: Shared<BTreeMap<String, CryptoMap>>,
}

impl Configuration {
    /// The entry `seq` of crypto map `map`, if both exist.
    pub fn entry(&self, map: &str, seq: u16) -> Option<&CryptoMapEntry> {
        self.crypto_maps.get(map)?.entries.get(&seq)
    }

    /// Interfaces to which crypto map `map` is applied, in printing order.
    pub fn interfaces_using<'a>(&'a self, map: &'a str) -> impl Iterator<Item = &'a InterfaceName> + 'a {
        self.interfaces
            .iter()
            .filter(move |(_, i)| i.crypto_map.as_deref() == Some(map))
            .map(|(name, _)| name)
    }

    /// The idle timer in force for SAs of an entry, and whether the next connection after an idle
    /// timeout uses the default peer: the entry's own timer, otherwise the global one (which never
    /// selects the default peer; failover-semantics S4, A19).
    pub fn idle_timer(&self, entry: &EntryBody) -> Option<IdleTimer> {
        entry.idle.or(self.ipsec.idle_seconds.map(|seconds| IdleTimer { seconds, to_default: false }))
    }
}
