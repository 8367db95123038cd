//! What a session speaks of: pairs, conditions, intents.

use std::time::Duration;

use ike::ChildId;
use sa_table::PolicyId;
use serde::Serialize;

use crate::peers::idle::IdleTimer;
use crate::peers::select::{Change, Reason, Standing};
use crate::plan::Peer;

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

/// What the gateway has to do for a session.
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
