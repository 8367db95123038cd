//! What a session speaks of: peers, pairs, conditions, intents.

use std::net::IpAddr;
use std::time::Duration;

use config::model::PeerName;
use ike::ChildId;
use sa_table::PolicyId;
use serde::{Deserialize, Serialize};

use crate::idle::IdleTimer;
use crate::select::{Change, Reason, Standing};

/// A peer as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// By address.
    Address(IpAddr),
    /// By a `dynamic` name; resolved at each initiation.
    Name(String),
    /// By a name that was resolved when it was typed, or when the configuration was loaded.
    Fixed(String),
}

impl Peer {
    /// The peer as `set peer` has it; names in lower case.
    pub fn of(name: &PeerName) -> Self {
        match name {
            PeerName::Address(address) => Peer::Address(*address),
            PeerName::Host { name, dynamic: true } => Peer::Name(name.to_ascii_lowercase()),
            PeerName::Host { name, dynamic: false } => Peer::Fixed(name.to_ascii_lowercase()),
        }
    }

    /// The name of a peer that is configured by one.
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

/// What `show` calls the session's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No SA and nothing to do.
    Idle,
    /// A pass through the peer list is under way.
    Initiating,
    /// At least one SA pair.
    Up,
    /// Every peer failed; waiting for a packet and for the end of the pause.
    Exhausted,
}

/// Why an SA pair is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Its idle timer ran out.
    Idle,
    /// Its peer was removed from the entry.
    Config,
}

/// What the brain has to do for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Bring up a child SA for `policy` with `peer`, over an IKE SA that exists or a new one.
    Initiate {
        /// The peer under the cursor.
        peer: Peer,
        /// The flow that waits.
        policy: PolicyId,
    },
    /// Stop trying `peer`; the result is not wanted any more.
    Abandon {
        /// The peer that was being tried.
        peer: Peer,
    },
    /// Delete a pair, telling the other side.
    CloseChild {
        /// The pair.
        pair: ChildId,
        /// Why.
        why: Close,
    },
    /// The flow is from now on carried by this pair, or by none.
    Outbound {
        /// The flow.
        policy: PolicyId,
        /// The pair whose outbound half is used.
        pair: Option<ChildId>,
    },
    /// Give up the packets that wait for this flow.
    DropHeld {
        /// The flow.
        policy: PolicyId,
    },
    /// The cursor moved; for the log and the history.
    Changed(Change<Peer>),
}

/// One SA pair as the session sees it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The flow it belongs to.
    pub policy: PolicyId,
    /// With whom.
    pub peer: Peer,
    /// In service, draining, standby.
    pub standing: Standing,
    /// When it was installed.
    pub installed: Duration,
    /// The last inbound packet that passed authentication.
    pub last_heard: Option<Duration>,
    pub(super) idle: IdleTimer,
}

impl Pair {
    /// The last packet either way, or the installation.
    pub fn last_activity(&self) -> Duration {
        self.idle.last_activity()
    }
}

impl Intent {
    /// The reason of a cursor movement, if it is one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Intent::Changed(change) => Some(change.reason),
            _ => None,
        }
    }
}
