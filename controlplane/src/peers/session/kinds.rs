//! Types of a session: pairs, states, intents.

use std::time::Duration;

use ike::ChildId;
use sa_table::PolicyId;
use serde::Serialize;

use crate::peers::idle::IdleTimer;
use crate::peers::select::{Change, Reason, Standing};
use crate::plan::Peer;

/// State of a session as `show` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No SA and no pending initiation.
    Idle,
    /// A pass through the peer list is in progress.
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

/// An action that the gateway has to carry out for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Bring up a child SA for `policy` with `peer`, over an IKE SA that exists or a new one.
    Initiate {
        /// The peer under the cursor.
        peer: Peer,
        /// The flow that waits.
        policy: PolicyId,
    },
    /// Cancel the initiation to `peer`; its result is ignored.
    Abandon {
        /// The peer that was being tried.
        peer: Peer,
    },
    /// Delete a pair and notify the peer.
    CloseChild {
        /// The pair.
        pair: ChildId,
        /// The reason.
        why: Close,
    },
    /// Send the flow through this pair, or hold it.
    Outbound {
        /// The flow.
        policy: PolicyId,
        /// The pair whose outbound half is used.
        pair: Option<ChildId>,
    },
    /// Drop the held packets of this flow.
    DropHeld {
        /// The flow.
        policy: PolicyId,
    },
    /// The cursor moved; for the log and the history.
    Changed(Change<Peer>),
}

/// An SA pair as seen by its session.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The flow.
    pub policy: PolicyId,
    /// The peer.
    pub peer: Peer,
    /// In service, draining, standby.
    pub standing: Standing,
    /// When it was installed.
    pub installed: Duration,
    /// The last authenticated inbound packet.
    pub last_heard: Option<Duration>,
    pub(super) idle: IdleTimer,
}

impl Pair {
    /// The time of the last packet in either direction, or of the installation.
    pub fn last_activity(&self) -> Duration {
        self.idle.last_activity()
    }
}

impl Intent {
    /// The reason of a cursor movement, if the intent is one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Intent::Changed(change) => Some(change.reason),
            _ => None,
        }
    }
}
