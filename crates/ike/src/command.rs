//! The commands that the caller gives to the endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use crate::action::{ChildId, IkeId};
use crate::config::{ChildTag, ConnectionId};
use crate::selector::TrafficSelector;

/// A command to the endpoint. Commands for an IKE SA or child that no longer exists are ignored:
/// the action that reported its end may not have been processed by the caller yet.
#[derive(Clone, Debug)]
pub enum Command {
    /// Begin a new IKE SA. [`Endpoint::command`](crate::Endpoint::command) returns its [`IkeId`];
    /// it ends in [`Action::IkeUp`](crate::Action::IkeUp) or
    /// [`Action::InitiationFailed`](crate::Action::InitiationFailed).
    Initiate {
        /// A connection that was set before.
        connection: ConnectionId,
        /// The first child; `None`: only the IKE SA (RFC 6023; needs a peer that supports it).
        child: Option<ChildRequest>,
        /// Our address and port (normally [`ike_port`](crate::EndpointConfig::ike_port)).
        local: SocketAddr,
        /// The peer's address and port (normally 500).
        remote: SocketAddr,
    },
    /// One more child on an IKE SA that is established or on its way. Ends in
    /// [`Action::InstallChild`](crate::Action::InstallChild) or
    /// [`Action::ChildFailed`](crate::Action::ChildFailed).
    CreateChild {
        /// The IKE SA.
        ike: IkeId,
        /// Which child.
        child: ChildRequest,
    },
    /// Replace a child. Ignored while its replacement is under way. Refused rekeying is reported by
    /// [`Action::ChildFailed`](crate::Action::ChildFailed); the old child then lives on.
    RekeyChild {
        /// The child to be replaced.
        child: ChildId,
    },
    /// Replace an IKE SA; its children move to the new one
    /// ([`Action::IkeRekeyed`](crate::Action::IkeRekeyed)).
    RekeyIke {
        /// The IKE SA to be replaced.
        ike: IkeId,
    },
    /// Close one child on both ends. [`Action::RemoveChild`](crate::Action::RemoveChild) follows at
    /// once.
    DeleteChild {
        /// The child.
        child: ChildId,
    },
    /// Close an IKE SA and its children, or give up its initiation. The removing actions follow at
    /// once.
    DeleteIke {
        /// The IKE SA.
        ike: IkeId,
        /// Send a Delete to the peer (RFC 7296 §1.4.1). `false`: drop the state without a message,
        /// e.g. because the peer is dead.
        notify_peer: bool,
    },
    /// Liveness check: sends an empty INFORMATIONAL request now, then identical copies every
    /// `interval`. Any authenticated message of the peer ends it; silence of `interval` ×
    /// (`retries` + 1) since now ends the IKE SA with
    /// [`IkeDownReason::PeerDead`](crate::IkeDownReason::PeerDead). If another request is waiting
    /// for its answer, that one is repeated at the probe's interval instead. Ignored while a probe
    /// runs.
    Liveness {
        /// The IKE SA.
        ike: IkeId,
        /// Time between transmissions.
        interval: Duration,
        /// Retransmissions after the first transmission.
        retries: u32,
    },
    /// The data plane received authenticated ESP from the peer: a running probe starts its count
    /// again.
    PeerAlive {
        /// The IKE SA.
        ike: IkeId,
    },
    /// The data plane received authenticated ESP-in-UDP from a new peer endpoint (RFC 7296 §2.23).
    /// Honoured if the peer is behind a NAT and we are not.
    PeerEndpoint {
        /// The IKE SA.
        ike: IkeId,
        /// The new address and port.
        remote: SocketAddr,
    },
    /// An unauthenticated hint (an ICMP error) that the peer cannot be reached. During an
    /// initiation it only shortens the attempt; otherwise it is ignored (RFC 7296 §2.4).
    UnreachableHint {
        /// The IKE SA being initiated.
        ike: IkeId,
    },
}

/// A child to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRequest {
    /// Which policy of the connection.
    pub tag: ChildTag,
    /// The packet that asked for it, as (our side, peer's side): sent as first selector, so that
    /// the responder can narrow to a set that has it (RFC 7296 §2.9).
    pub trigger: Option<(TrafficSelector, TrafficSelector)>,
}

impl ChildRequest {
    /// The child of this policy, without a triggering packet.
    pub fn new(tag: ChildTag) -> Self {
        ChildRequest { tag, trigger: None }
    }
}
