//! The actions that the endpoint hands to the caller.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::{ChildTag, ConnectionId, Mode};
use crate::identity::Identity;
use crate::provider::KeyKind;
use crate::secret::Secret;
use crate::selector::TrafficSelector;
use crate::suite::{EspSuite, IkeSuite};
use crate::time::Time;

/// The endpoint's name for an IKE SA, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeId(pub u64);

/// The endpoint's name for a Child SA (an SA pair), never used again. It outlives a rekeying of the
/// IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// A datagram to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Our address and port: which socket sends it.
    pub from: SocketAddr,
    /// The peer's.
    pub to: SocketAddr,
    /// UDP payload, complete: on the NAT-T port it already begins with the non-ESP marker (RFC 3948
    /// §2.2), and it may be the single octet of a NAT keepalive.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transmit({} -> {}, {} bytes)", self.from, self.to, self.bytes.len())
    }
}

/// An action for the caller; actions are carried out in the order in which they are returned.
#[derive(Debug)]
pub enum Action {
    /// Make a Child SA usable.
    InstallChild(Box<InstallChild>),
    /// The outbound half of a child that came with `outbound_ready: false` may carry traffic now:
    /// the peer deleted the old child, so it has installed the new one. Traffic on the inbound half
    /// is the same evidence and may come earlier.
    OutboundReady {
        /// The child.
        child: ChildId,
    },
    /// Take a Child SA out of use. Inbound packets may still be on the way if `reason` is
    /// [`RemoveReason::Replaced`].
    RemoveChild {
        /// The IKE SA it belonged to.
        ike: IkeId,
        /// The child.
        child: ChildId,
        /// Its policy.
        tag: ChildTag,
        /// Its inbound SPI.
        inbound_spi: u32,
        /// Its outbound SPI.
        outbound_spi: u32,
        /// Why.
        reason: RemoveReason,
    },
    /// The soft limit of a child's life is reached and
    /// [`rekey_on_soft`](crate::ChildLifetime::rekey_on_soft) is off: rekey it, or let it run to
    /// its hard limit.
    ChildSoftLimit {
        /// The IKE SA.
        ike: IkeId,
        /// The child.
        child: ChildId,
        /// Its policy.
        tag: ChildTag,
    },
    /// A child was not created or not rekeyed. The IKE SA lives on.
    ChildFailed {
        /// The IKE SA.
        ike: IkeId,
        /// The policy asked for.
        tag: ChildTag,
        /// The child that was to be replaced, if this was a rekeying; it still exists unless its
        /// removal is reported.
        rekeying: Option<ChildId>,
        /// Why.
        reason: FailReason,
    },
    /// An IKE SA is established: both ends are authenticated.
    IkeUp(Box<IkeInfo>),
    /// `new` takes the place of `old`, with all children. Nothing follows for `old`.
    IkeRekeyed {
        /// The IKE SA that is being closed.
        old: IkeId,
        /// Its successor.
        new: Box<IkeInfo>,
    },
    /// An IKE SA that was reported up is gone; the removal of its children was reported before.
    IkeDown {
        /// The IKE SA.
        ike: IkeId,
        /// Its connection.
        connection: ConnectionId,
        /// Why.
        reason: IkeDownReason,
    },
    /// An initiation ended without an IKE SA. Every child asked for on it is failed too.
    InitiationFailed {
        /// The name that the initiation had.
        ike: IkeId,
        /// Its connection.
        connection: ConnectionId,
        /// The first child that was asked for.
        tag: Option<ChildTag>,
        /// Why.
        reason: FailReason,
        /// The reason came in a message protected by the new IKE SA's keys, or is our own verdict
        /// on such a message. If not, it may have been forged by anyone on the path, and the
        /// attempt was held open for
        /// [`unauthenticated_error_grace`](crate::EndpointConfig::unauthenticated_error_grace).
        protected: bool,
    },
    /// An authenticated IKE message came in.
    PeerHeard {
        /// The IKE SA.
        ike: IkeId,
    },
    /// The peer's address or port changed, shown by an authenticated message (RFC 7296 §2.23) or by
    /// MOBIKE with a return routability check (RFC 4555): send the children's ESP there.
    PeerEndpointChanged {
        /// The IKE SA.
        ike: IkeId,
        /// Our address and port.
        local: SocketAddr,
        /// The peer's new address and port.
        remote: SocketAddr,
        /// (our port, peer's port) if ESP travels in UDP now; it may not have before.
        udp_encapsulation: Option<(u16, u16)>,
    },
    /// The peer redirected us to another gateway (RFC 5685), with which an initiation has begun in
    /// place of `old`.
    Redirected {
        /// The initiation that was redirected, or the IKE SA that the new one will replace.
        old: IkeId,
        /// The new initiation; the same ID if `old` itself continues.
        new: IkeId,
        /// Its connection.
        connection: ConnectionId,
        /// The new gateway.
        remote: SocketAddr,
    },
    /// A log record.
    Log(LogRecord),
}

/// Everything the data plane needs for a Child SA.
#[derive(Debug)]
pub struct InstallChild {
    /// The IKE SA it belongs to.
    pub ike: IkeId,
    /// Its name.
    pub child: ChildId,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its policy.
    pub tag: ChildTag,
    /// We began the exchange that made it.
    pub initiator: bool,
    /// The child it takes over from.
    pub replaces: Option<ChildId>,
    /// Inbound, from the peer to us.
    pub inbound: ChildHalf,
    /// Outbound, from us to the peer.
    pub outbound: ChildHalf,
    /// The outbound half may be used at once. `false` only for a child whose rekeying the peer
    /// began: keep sending on the replaced one until [`Action::OutboundReady`] or until traffic
    /// arrives on the inbound half (RFC 7296 §2.8).
    pub outbound_ready: bool,
    /// Algorithms of both directions.
    pub suite: EspSuite,
    /// Tunnel or transport, as agreed.
    pub mode: Mode,
    /// Traffic on our side, as agreed.
    pub local_selectors: Vec<TrafficSelector>,
    /// Traffic on the peer's side, as agreed.
    pub remote_selectors: Vec<TrafficSelector>,
    /// Tunnel source.
    pub local: IpAddr,
    /// Tunnel destination.
    pub remote: IpAddr,
    /// (our port, peer's port) if ESP travels in UDP (RFC 3948); `None`: plain ESP.
    pub udp_encapsulation: Option<(u16, u16)>,
    /// The peer will send no TFC padding and wants none (ESP_TFC_PADDING_NOT_SUPPORTED).
    pub tfc_padding_refused: bool,
    /// When it is to be rekeyed, jitter included; the endpoint watches it.
    pub soft_limit: Option<Time>,
    /// When it ends; the endpoint watches it.
    pub hard_limit: Option<Time>,
}

/// One direction of a Child SA.
#[derive(Debug)]
pub struct ChildHalf {
    /// Security parameters index.
    pub spi: u32,
    /// Encryption key without the salt; empty with NULL.
    pub encryption_key: Secret,
    /// Salt of combined modes, first four octets of the nonce; empty otherwise.
    pub salt: Secret,
    /// Integrity key; empty with combined modes.
    pub integrity_key: Secret,
}

/// The state of an IKE SA as shown to the caller.
#[derive(Clone, Debug)]
pub struct IkeInfo {
    /// Its name.
    pub ike: IkeId,
    /// Its connection.
    pub connection: ConnectionId,
    /// We began it (after a rekeying: we began that one).
    pub initiator: bool,
    /// Our SPI.
    pub local_spi: u64,
    /// The peer's SPI; 0 while it is unknown.
    pub remote_spi: u64,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Our identity as sent to the peer; `None` before IKE_AUTH.
    pub local_identity: Option<Identity>,
    /// The authenticated identity of the peer.
    pub remote_identity: Option<Identity>,
    /// How we authenticated ourselves; `None` before IKE_AUTH.
    pub local_method: Option<ProofMethod>,
    /// How the peer authenticated itself.
    pub remote_method: Option<ProofMethod>,
    /// Algorithms; `None` before IKE_SA_INIT is done.
    pub suite: Option<IkeSuite>,
    /// We are behind a NAT.
    pub nat_local: bool,
    /// The peer is behind a NAT.
    pub nat_remote: bool,
    /// Both ends support RFC 7383 fragmentation.
    pub fragmentation: bool,
    /// Both ends are authenticated.
    pub established: bool,
    /// When it was established, or begun if it is not.
    pub since: Time,
    /// When it will be rekeyed.
    pub rekey_at: Option<Time>,
    /// When it ends.
    pub hard_limit: Option<Time>,
    /// Its Child SAs.
    pub children: Vec<ChildId>,
}

/// How an end authenticated itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofMethod {
    /// A pre-shared key.
    PreShared,
    /// A signature by the key of a certificate.
    Signature(KeyKind),
}

/// Why a Child SA was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoveReason {
    /// Another child took over.
    Replaced,
    /// Simultaneous rekey: both ends rekeyed, and this one is surplus (RFC 7296 §2.8.1).
    Redundant,
    /// By [`Command::DeleteChild`](crate::Command::DeleteChild).
    Local,
    /// The peer deleted it.
    DeletedByPeer,
    /// Its hard limit was reached.
    Expired,
    /// The IKE SA went down; see the [`Action::IkeDown`] that follows.
    IkeDown,
    /// The peer no longer knows it (CHILD_SA_NOT_FOUND).
    UnknownToPeer,
}

/// Why an IKE SA went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeDownReason {
    /// A liveness probe was not answered.
    PeerDead,
    /// A request other than a probe was not answered (RFC 7296 §2.4).
    Timeout,
    /// The peer deleted it.
    DeletedByPeer,
    /// By [`Command::DeleteIke`](crate::Command::DeleteIke).
    Local,
    /// The peer sent INITIAL_CONTACT on a newer IKE SA: it no longer has this one.
    InitialContact,
    /// Both ends initiated at once and this one is surplus.
    Redundant,
    /// The peer redirected us to another gateway, which has taken over (RFC 5685).
    Redirected,
    /// Its hard limit was reached.
    Expired,
    /// The peer reported a fatal error on it (AUTHENTICATION_FAILED, INVALID_SYNTAX), or violated
    /// the protocol fatally.
    Protocol,
    /// Our send counter is used up (RFC 7296 §2.2: message IDs never wrap).
    Exhausted,
    /// Its connection was removed.
    ConnectionRemoved,
}

/// Why an initiation or a child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// No answer.
    Timeout,
    /// NO_PROPOSAL_CHOSEN, or an answer outside of what was proposed.
    NoProposal,
    /// The peer failed to authenticate itself, or rejected our authentication
    /// (AUTHENTICATION_FAILED).
    AuthFailed,
    /// The peer's authenticated identity is not one that the connection accepts.
    WrongIdentity,
    /// TS_UNACCEPTABLE, or an answer outside of what was proposed.
    TsUnacceptable,
    /// INVALID_KE_PAYLOAD without a group we can use.
    NoGroup,
    /// NO_ADDITIONAL_SAS: the peer makes no more children.
    NoAdditionalSas,
    /// CHILD_SA_NOT_FOUND: the peer does not know the child that was to be rekeyed.
    ChildNotFound,
    /// TEMPORARY_FAILURE until the retries were used up.
    TemporaryFailure,
    /// INVALID_SYNTAX or another malformed or unexpected message.
    Syntax,
    /// INTERNAL_ADDRESS_FAILURE, FAILED_CP_REQUIRED, SINGLE_PAIR_REQUIRED and other error notifies,
    /// by number.
    PeerError(u16),
    /// A local limit is reached (SPIs, IKE SAs).
    LocalResources,
    /// Given up by command, or the IKE SA went down first.
    Cancelled,
    /// INVALID_MAJOR_VERSION: the peer does not support IKEv2.
    Version,
    /// An unauthenticated hint that the peer cannot be reached.
    Unreachable,
    /// The peer redirects us to a gateway that we do not follow: a host name, or too many
    /// redirections in a row.
    Redirected,
    /// The two ends do not agree on a post-quantum pre-shared key (RFC 8784).
    Ppk,
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailReason::Timeout => "the peer does not answer",
            FailReason::NoProposal => "no proposal chosen",
            FailReason::AuthFailed => "authentication failed",
            FailReason::WrongIdentity => "the peer's identity is not the one configured",
            FailReason::TsUnacceptable => "traffic selectors unacceptable",
            FailReason::NoGroup => "no common key exchange group",
            FailReason::NoAdditionalSas => "the peer accepts no more child SAs",
            FailReason::ChildNotFound => "the peer does not know the child SA",
            FailReason::TemporaryFailure => "the peer was busy for too long",
            FailReason::Syntax => "malformed or unexpected message",
            FailReason::PeerError(notify) => return write!(f, "the peer reported error {notify}"),
            FailReason::LocalResources => "no room for another SA",
            FailReason::Cancelled => "cancelled",
            FailReason::Version => "the peer does not speak IKEv2",
            FailReason::Unreachable => "the peer is unreachable",
            FailReason::Redirected => "the peer redirects to where we do not go",
            FailReason::Ppk => "no common post-quantum pre-shared key",
        })
    }
}

/// Severity of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For debugging an exchange.
    Debug,
    /// Normal milestones.
    Info,
    /// Something is wrong on one IKE SA or in what a peer sent.
    Warning,
}

/// A structured log record.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Severity.
    pub level: LogLevel,
    /// The IKE SA concerned.
    pub ike: Option<IkeId>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// What happened, in one line without a trailing period.
    pub text: String,
}
