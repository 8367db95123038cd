//! Crypto maps: sets of entries, each with its ordered peers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::{AccessGroups, DfBit, DhGroup, InterfaceName, Lifetime, Replay, Secret, SharedMap};

/// The peer in `set peer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// By address.
    Address(IpAddr),
    /// By host name. `dynamic`: resolved before every initiation; otherwise once, when the line is
    /// applied.
    Host {
        /// The name as entered.
        name: String,
        /// `dynamic`.
        dynamic: bool,
    },
}

impl PeerName {
    /// Whether both are the same peer, regardless of keywords.
    pub fn same_peer(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(a), Self::Address(b)) => a == b,
            (Self::Host { name: a, .. }, Self::Host { name: b, .. }) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Host { name, .. } => f.write_str(name),
        }
    }
}

/// `set peer …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address or host name.
    pub name: PeerName,
    /// `default`: only ever true for the first peer of an entry.
    pub default: bool,
}

/// `set security-association idle-time S [default]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimer {
    /// 60–86400 seconds.
    pub seconds: u32,
    /// `default`: once all SAs have idled out, the next connection goes to the default peer.
    pub to_default: bool,
}

/// How the SAs of an entry are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keying {
    /// `ipsec-isakmp`.
    Isakmp,
    /// `ipsec-isakmp dynamic D [discover]`.
    Dynamic {
        /// The dynamic map.
        map: String,
        /// `discover`, stored without an effect.
        discover: bool,
    },
    /// `ipsec-manual`.
    Manual,
}

/// The profile of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `set ikev2-profile P`.
    Ikev2(String),
    /// `set isakmp-profile P`: IKEv1 only.
    Isakmp(String),
}

/// `reverse-route …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReverseRoute {
    /// `static`: the routes exist without an SA.
    pub static_routes: bool,
    /// `remote-peer A`.
    pub remote_peer: Option<IpAddr>,
    /// `set reverse-route distance N`.
    pub distance: Option<u8>,
    /// `set reverse-route tag N`.
    pub tag: Option<u32>,
    /// `set reverse-route gateway A`.
    pub gateway: Option<IpAddr>,
}

/// A manually configured SA key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    /// 256–4294967295.
    pub spi: u32,
    /// Cipher key as hexadecimal digits (for AH the only key).
    pub cipher: Secret,
    /// Authenticator key as hexadecimal digits.
    pub authenticator: Option<Secret>,
}

/// `set session-key …` of an `ipsec-manual` entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionKeys {
    /// `inbound esp`.
    pub inbound_esp: Option<SessionKey>,
    /// `outbound esp`.
    pub outbound_esp: Option<SessionKey>,
    /// `inbound ah`.
    pub inbound_ah: Option<SessionKey>,
    /// `outbound ah`.
    pub outbound_ah: Option<SessionKey>,
}

/// The common parts of entries of static and dynamic maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryBody {
    /// `description …`.
    pub description: Option<String>,
    /// Peers in the order of trial.
    pub peers: Vec<Peer>,
    /// `match address …`.
    pub match_address: Option<String>,
    /// Transform sets in order of preference, at most six.
    pub transform_sets: Vec<String>,
    /// The entry's own idle timer; never equal to the global one after a commit.
    pub idle: Option<IdleTimer>,
    /// `set security-association lifetime`.
    pub lifetime: Lifetime,
    /// `set security-association replay`.
    pub replay: Option<Replay>,
    /// `set security-association level per-host`.
    pub per_host: bool,
    /// `set security-association dfbit`.
    pub df_bit: Option<DfBit>,
    /// `set pfs …`.
    pub pfs: Option<DhGroup>,
    /// `set ikev2-profile` or `set isakmp-profile`.
    pub profile: Option<Profile>,
    /// `reverse-route …`.
    pub reverse_route: Option<ReverseRoute>,
    /// `set ip access-group …`.
    pub access_groups: AccessGroups,
    /// `set session-key …`.
    pub session_keys: SessionKeys,
    /// Lines without an effect, stored as entered.
    pub kept: Vec<String>,
}

impl EntryBody {
    /// The default peer, which can only be the first.
    pub fn default_peer(&self) -> Option<&Peer> {
        self.peers.first().filter(|peer| peer.default)
    }
}

/// `crypto map M S …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoMapEntry {
    /// Keying method; fixed when the entry is created.
    pub keying: Keying,
    /// `profile P` after the keying method, stored without an effect.
    pub template_profile: Option<String>,
    /// All lines within the entry.
    pub body: EntryBody,
}

impl CryptoMapEntry {
    /// False while a peer, an access list or a transform set is missing: traffic that the access
    /// list permits is then dropped. An entry that refers to a dynamic map is always complete.
    pub fn is_complete(&self) -> bool {
        let body = &self.body;
        matches!(self.keying, Keying::Dynamic { .. })
            || (!body.peers.is_empty() && body.match_address.is_some() && !body.transform_sets.is_empty())
    }
}

/// A crypto map set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CryptoMap {
    /// `crypto map M local-address I`.
    pub local_address: Option<InterfaceName>,
    /// `crypto map M fail-close`, a tohub extension: traffic that the entries permit is dropped on
    /// every device on which the map is not in force.
    pub fail_close: bool,
    /// Entries by sequence number; the lowest is evaluated first.
    pub entries: SharedMap<u16, CryptoMapEntry>,
    /// Lines of the set without an effect, stored as entered (without `crypto map M `).
    pub kept: Vec<String>,
}

/// `crypto dynamic-map D`: templates for peers that connect to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicMap {
    /// Templates by sequence number.
    pub entries: BTreeMap<u16, EntryBody>,
}
