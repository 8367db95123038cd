//! What the caller configures: the endpoint as a whole, connections, and the Child SAs a connection
//! allows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use ipsec_types::Mode;

use crate::certificate::{Credential, TrustStore};
use crate::identity::{Identity, IdentityMatch, prefix_contains};
use crate::provider::Provider;
use crate::secret::Secret;
use crate::selector::TrafficSelector;
use crate::suite::{EspProposal, IkeProposal};

/// The caller's name for a [`Connection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The caller's name for a [`ChildPolicy`], handed back in every action about its Child SAs. Unique
/// in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildTag(pub u64);

/// Settings of the endpoint as a whole.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Local port without a NAT; 500.
    pub ike_port: u16,
    /// Local port with a NAT in between, where IKE messages carry the non-ESP marker (RFC 3948
    /// §2.2); 4500.
    pub natt_port: u16,
    /// Limit of half-open IKE SAs (initiated by peers, not yet authenticated); beyond it requests
    /// are ignored.
    pub half_open_limit: usize,
    /// The same from one address (IPv6: one /64).
    pub half_open_per_source: usize,
    /// IKE_SA_INIT requests from one source (as above) in a second; beyond, a cookie is asked for
    /// regardless of `cookie_threshold`, unless that is `None`.
    pub init_rate_per_source: u32,
    /// From this number of half-open IKE SAs on, initiators must return a cookie (RFC 7296 §2.6).
    /// 0: always; `None`: never.
    pub cookie_threshold: Option<usize>,
    /// How long a peer may take from IKE_SA_INIT to the end of IKE_AUTH.
    pub half_open_lifetime: Duration,
    /// IKE SAs in all; beyond, new ones are refused.
    pub max_ike_sas: usize,
    /// Interval of NAT-T keepalive octets while this end is behind a NAT (RFC 3948 §4); `None`: not
    /// sent.
    pub nat_keepalive: Option<Duration>,
    /// Largest IKE datagram (IP and UDP headers not counted) before a message is cut into fragments
    /// (RFC 7383). `None`: fragmentation is neither offered nor used.
    pub fragment_size: Option<usize>,
    /// After an unauthenticated error during an initiation: how much longer to listen before it
    /// counts as failed (RFC 7296 §2.21.1).
    pub unauthenticated_error_grace: Duration,
    /// How long the Delete of an IKE SA is retransmitted before it is dropped unanswered.
    pub delete_give_up: Duration,
    /// How many consecutive redirections are followed (RFC 5685); `None`: none, and support is not
    /// announced.
    pub max_redirects: Option<u32>,
    /// Keep track of changes for [`Endpoint::poll_checkpoint`](crate::Endpoint::poll_checkpoint),
    /// which must then be polled.
    pub checkpoint: bool,
    /// Cryptographic backend.
    pub provider: &'static Provider,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            ike_port: 500,
            natt_port: 4500,
            half_open_limit: 4096,
            half_open_per_source: 256,
            init_rate_per_source: 64,
            cookie_threshold: Some(256),
            half_open_lifetime: Duration::from_secs(30),
            max_ike_sas: 65_536,
            nat_keepalive: Some(Duration::from_secs(20)),
            fragment_size: Some(1280 - 48),
            unauthenticated_error_grace: Duration::from_secs(5),
            delete_give_up: Duration::from_secs(10),
            max_redirects: None,
            checkpoint: false,
            provider: &crate::provider::DEFAULT,
        }
    }
}

/// When a request is sent again and when it is given up (RFC 7296 §2.4): after `initial`, then each
/// interval `backoff_percent` of the one before, at most `max_interval`; given up `give_up` after
/// the first transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// First interval.
    pub initial: Duration,
    /// Growth of the interval in percent; 200 doubles it, 100 keeps it.
    pub backoff_percent: u32,
    /// Upper bound of the interval.
    pub max_interval: Duration,
    /// Time from the first transmission to the verdict that the peer does not answer.
    pub give_up: Duration,
}

impl Default for Retransmission {
    fn default() -> Self {
        Retransmission {
            initial: Duration::from_secs(1),
            backoff_percent: 200,
            max_interval: Duration::from_secs(32),
            give_up: Duration::from_secs(120),
        }
    }
}

/// Which peer addresses a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMatch {
    /// Any address: a responder for peers that are not known beforehand.
    Any,
    /// This address and prefix length.
    Prefix(IpAddr, u8),
}

impl AddressMatch {
    /// Just this address.
    pub fn exact(address: IpAddr) -> Self {
        AddressMatch::Prefix(address, 128)
    }

    /// Does it cover `address`?
    pub fn accepts(&self, address: IpAddr) -> bool {
        match *self {
            AddressMatch::Any => true,
            AddressMatch::Prefix(network, length) => prefix_contains(network, length, address),
        }
    }
}

/// How the two ends authenticate. The two directions may differ (RFC 7296 §2.15).
#[derive(Clone, Debug)]
pub struct Authentication {
    /// How we authenticate ourselves.
    pub local: Proof,
    /// What the peer must present.
    pub remote: Acceptance,
}

/// How we prove our identity.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a pre-shared key.
    PreShared(Secret),
    /// By the signature of a certificate's key: the first whose CA the peer asks for (CERTREQ), or
    /// else the first. Empty: the connection can neither initiate nor answer.
    Certificate(Vec<Arc<Credential>>),
}

/// What a peer may authenticate with: a pre-shared key, a certificate, or either if both are
/// configured.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// The key with which we check the peer's AUTH.
    pub pre_shared: Option<Secret>,
    /// The CAs and key kinds that are trusted.
    pub certificates: Option<CertificatePolicy>,
}

/// Trusted CAs and accepted key kinds. The certificate must also name the identity that the peer
/// presents.
#[derive(Clone, Debug)]
pub struct CertificatePolicy {
    /// The CAs: any one of these.
    pub trust: Vec<Arc<TrustStore>>,
    /// RSA keys are accepted.
    pub rsa: bool,
    /// Keys on elliptic curves (ECDSA, Ed25519) are accepted.
    pub elliptic: bool,
}

impl Authentication {
    /// One pre-shared key for both directions.
    pub fn psk(key: Secret) -> Self {
        Authentication::pre_shared(key.clone(), key)
    }

    /// A pre-shared key for each direction: one authenticates us, the other the peer.
    pub fn pre_shared(local: Secret, remote: Secret) -> Self {
        Authentication {
            local: Proof::PreShared(local),
            remote: Acceptance { pre_shared: Some(remote), certificates: None },
        }
    }

    /// Certificates in both directions, of any kind of key.
    pub fn certificates(credential: Arc<Credential>, trust: Arc<TrustStore>) -> Self {
        let policy = CertificatePolicy { trust: vec![trust], rsa: true, elliptic: true };
        Authentication {
            local: Proof::Certificate(vec![credential]),
            remote: Acceptance { pre_shared: None, certificates: Some(policy) },
        }
    }

    /// Does either end sign?
    pub(crate) fn uses_signatures(&self) -> bool {
        matches!(self.local, Proof::Certificate(_)) || self.remote.certificates.is_some()
    }

    /// SHA-1 of the keys of the trusted CAs (RFC 7296 §3.7).
    pub(crate) fn authorities(&self) -> impl Iterator<Item = [u8; 20]> + '_ {
        self.remote.certificates.iter().flat_map(|policy| &policy.trust).flat_map(|trust| trust.key_hashes())
    }
}

/// A post-quantum pre-shared key (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ppk {
    /// Its name, the same at both ends.
    pub id: Vec<u8>,
    /// The key: at least 32 octets of entropy for post-quantum security (RFC 8784), which is not
    /// checked here.
    pub key: Secret,
    /// Refuse an IKE SA without it.
    pub required: bool,
}

/// The configuration for a peer (or, as a responder, to a group of peers): addresses, identities,
/// keys, proposals, children.
///
/// As a responder the endpoint first finds connections by the two addresses (lowest
/// [`ConnectionId`] first), answers IKE_SA_INIT with the proposals of the first that fits, and
/// settles on one by the identities in IKE_AUTH.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The caller's name for it.
    pub id: ConnectionId,
    /// Local address; `None`: any.
    pub local_address: Option<IpAddr>,
    /// Peer addresses that it answers to. An initiation may go to any address.
    pub remote_addresses: Vec<AddressMatch>,
    /// Our identity; `None`: the local address in use. With a certificate that does not name that
    /// address: its subject.
    pub local_identity: Option<Identity>,
    /// Acceptable identities of the peer (any one of them). Empty: only the address the peer's
    /// messages come from.
    pub remote_identities: Vec<IdentityMatch>,
    /// Proof of identity, both ways.
    pub authentication: Authentication,
    /// A post-quantum pre-shared key used in addition.
    pub ppk: Option<Ppk>,
    /// IKE proposals in order of preference.
    pub ike_proposals: Vec<IkeProposal>,
    /// What Child SAs are allowed, in order of preference as a responder.
    pub children: Vec<ChildPolicy>,
    /// Retransmission and give-up time of IKE_SA_INIT and IKE_AUTH, each.
    pub initiation: Retransmission,
    /// Retransmission and give-up time of requests on an established IKE SA. Unanswered, the IKE SA
    /// counts as dead (RFC 7296 §2.4). Liveness probes bring their own schedule.
    pub established: Retransmission,
    /// Life of the IKE SA.
    pub lifetime: IkeLifetime,
    /// Send INITIAL_CONTACT when initiating without another IKE SA to this peer (RFC 7296 §2.4).
    pub initial_contact: bool,
    /// Treat each new IKE SA that the peer begins as if it had sent INITIAL_CONTACT.
    pub initial_contact_force: bool,
    /// Interval of NAT keepalives, where it is another than [`EndpointConfig::nat_keepalive`].
    pub nat_keepalive: Option<Duration>,
    /// If both ends initiate at once, close the surplus IKE SA: of the two, the one with the lowest
    /// nonce (the rule of RFC 7296 §2.8.1 applied to simultaneous initiations).
    pub close_duplicates: bool,
    /// As a responder, let the peer move (RFC 4555).
    pub mobike: bool,
    /// Encapsulate ESP in UDP even without a NAT in between.
    pub force_udp_encapsulation: bool,
}

impl Connection {
    /// A connection with a pre-shared key to one peer address, with default proposals and timers
    /// and no children yet.
    pub fn psk(id: ConnectionId, local: IpAddr, remote: IpAddr, key: Secret) -> Self {
        Connection {
            id,
            local_address: Some(local),
            remote_addresses: vec![AddressMatch::exact(remote)],
            local_identity: None,
            remote_identities: vec![],
            authentication: Authentication::psk(key),
            ppk: None,
            ike_proposals: IkeProposal::defaults(),
            children: vec![],
            initiation: Retransmission::default(),
            established: Retransmission::default(),
            lifetime: IkeLifetime::default(),
            initial_contact: true,
            initial_contact_force: false,
            nat_keepalive: None,
            close_duplicates: true,
            mobike: true,
            force_udp_encapsulation: false,
        }
    }

    /// The child policy of this tag.
    pub fn child(&self, tag: ChildTag) -> Option<&ChildPolicy> {
        self.children.iter().find(|child| child.tag == tag)
    }
}

/// A kind of Child SA that a connection may have; in IOS terms one permit ACE of a crypto-map
/// entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildPolicy {
    /// The caller's name for it.
    pub tag: ChildTag,
    /// Traffic on our side: proposed as initiator, the limit of narrowing as responder.
    pub local_selectors: Vec<TrafficSelector>,
    /// Traffic on the peer's side.
    pub remote_selectors: Vec<TrafficSelector>,
    /// ESP proposals in order of preference.
    pub proposals: Vec<EspProposal>,
    /// Tunnel or transport. Transport is asked for; if the peer declines, the child falls back to
    /// tunnel mode unless it is required.
    pub mode: Mode,
    /// With [`Mode::Transport`]: no child rather than one in tunnel mode.
    pub transport_required: bool,
    /// Life of the Child SA.
    pub lifetime: ChildLifetime,
}

/// Life of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeLifetime {
    /// Rekeyed after this time, less the jitter; `None`: never by time.
    pub rekey: Option<Duration>,
    /// A random time up to this is subtracted from `rekey`, so that the two ends seldom rekey at
    /// once (RFC 7296 §2.8).
    pub jitter: Duration,
    /// Deleted after this time if rekeying did not succeed.
    pub hard: Option<Duration>,
}

impl Default for IkeLifetime {
    fn default() -> Self {
        IkeLifetime {
            rekey: Some(Duration::from_secs(86_400 - 3_600)),
            jitter: Duration::from_secs(3_600),
            hard: Some(Duration::from_secs(86_400)),
        }
    }
}

/// Life of a Child SA by time. Limits by bytes, packets and sequence numbers are watched by the
/// data plane; the caller then sends [`Command::RekeyChild`](crate::Command::RekeyChild).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLifetime {
    /// Soft limit, less the jitter; `None`: none.
    pub soft: Option<Duration>,
    /// A random time up to this is subtracted from `soft`.
    pub jitter: Duration,
    /// Deleted after this time, with [`RemoveReason::Expired`](crate::RemoveReason::Expired).
    pub hard: Option<Duration>,
    /// What the soft limit does: `true` rekeys at once; `false` only reports
    /// [`Action::ChildSoftLimit`](crate::Action::ChildSoftLimit), and the caller decides (no rekey
    /// without traffic).
    pub rekey_on_soft: bool,
}

impl Default for ChildLifetime {
    fn default() -> Self {
        ChildLifetime {
            soft: Some(Duration::from_secs(3_600 - 270)),
            jitter: Duration::from_secs(270),
            hard: Some(Duration::from_secs(3_600)),
            rekey_on_soft: true,
        }
    }
}

/// Where SPIs for inbound ESP come from.
///
/// The endpoint asks before it sends a proposal or an answer, and gives an SPI back when no Child
/// SA came of it or when its Child SA was removed. That is the moment when
/// [`Action::RemoveChild`](crate::Action::RemoveChild) is queued, not when the caller has carried
/// it out: a source must not give the same SPI out again at once.
pub trait SpiSource: Send {
    /// An SPI that no inbound SA uses, 256 or above (RFC 4303 §2.1). `None`: no room, the child is
    /// refused (NO_ADDITIONAL_SAS).
    fn allocate(&mut self, random: &mut dyn crate::Random) -> Option<u32>;

    /// The SPI is in use: it belongs to a restored Child SA.
    fn claim(&mut self, _spi: u32) {}

    /// The SPI is free again.
    fn release(&mut self, spi: u32);
}
