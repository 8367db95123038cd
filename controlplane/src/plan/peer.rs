//! Peers as the configuration names them.

use std::net::IpAddr;

use config::model::PeerName;
use serde::{Deserialize, Serialize};

/// A peer as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// By address.
    Address(IpAddr),
    /// By a name with `dynamic`; resolved at each initiation.
    Name(String),
    /// By a name that was resolved when it was configured, or when the configuration was loaded.
    Fixed(String),
}

impl Peer {
    /// The peer of a `set peer` line; names are in lower case.
    pub fn of(name: &PeerName) -> Self {
        match name {
            PeerName::Address(address) => Peer::Address(*address),
            PeerName::Host { name, dynamic: true } => Peer::Name(name.to_ascii_lowercase()),
            PeerName::Host { name, dynamic: false } => Peer::Fixed(name.to_ascii_lowercase()),
        }
    }

    /// The host name, if the peer is configured by name.
    pub fn host_name(&self) -> Option<&str> {
        match self {
            Peer::Address(_) => None,
            Peer::Name(name) | Peer::Fixed(name) => Some(name),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "{address}"),
            Peer::Name(name) | Peer::Fixed(name) => f.write_str(name),
        }
    }
}
