//! Sans-IO IKEv2 (RFC 7296), initiator and responder.
//!
//! An [`Endpoint`] holds all IKE SAs of a gateway. It opens no socket, reads no clock and draws no
//! random number by itself: datagrams, the time and a [`Random`] are handed in. After each call of
//! [`Endpoint::handle_datagram`], [`Endpoint::handle_timeout`] or [`Endpoint::command`] the caller
//! drains [`Endpoint::poll_transmit`] and [`Endpoint::poll_action`] and sets its timer to
//! [`Endpoint::poll_timeout`].
//!
//! The caller is the control plane. It owns sockets, timers, the configuration and the decision
//! *when* to connect; the endpoint owns message IDs, keys and the state of each exchange. It keeps
//! these invariants:
//!
//! - A datagram that is not authenticated changes a counter or a bounded half-open entry, nothing
//!   else: each message is validated, decrypted and processed, and only then state is changed.
//! - One request per IKE SA is in flight, and a retransmitted request gets the same response.
//! - An IV is never used twice under a key.
//! - Secrets are erased on drop and never printed.
//!
//! `docs/ike.md` describes the design; `docs/compliance.md` lists what of the RFCs is not done.

#![forbid(unsafe_code)]

mod action;
mod algorithm;
mod certificate;
mod checkpoint;
mod collision;
mod command;
mod config;
mod endpoint;
mod identity;
mod keys;
mod message;
mod negotiate;
pub mod provider;
mod random;
mod sa;
mod secret;
mod selector;
mod sk;
mod suite;
mod task;
mod time;

pub use action::{
    Action, ChildHalf, ChildId, FailReason, IkeDownReason, IkeId, IkeInfo, InstallChild, LogLevel, LogRecord,
    ProofMethod, RemoveReason, Transmit,
};
pub use algorithm::{Encryption, Group, Integrity, Prf};
pub use certificate::{Certificate, CertificateError, Credential, KeyUsage, Revocation, TrustStore};
pub use checkpoint::{RESERVED_IVS, RestoreError, Restored, RestoredChild};
pub use command::{ChildRequest, Command};
pub use config::{
    Acceptance, AddressMatch, Authentication, CertificatePolicy, ChildLifetime, ChildPolicy, ChildTag,
    Connection, ConnectionId, EndpointConfig, IkeLifetime, Mode, Ppk, Proof, Retransmission, SpiSource,
};
pub use endpoint::{CommandError, Counters, Endpoint, RandomSpis, Tables};
pub use identity::{Identity, IdentityMatch, prefix_contains};
pub use random::{Random, SystemRandom};
pub use secret::Secret;
pub use selector::{TrafficSelector, is_subset, narrow};
pub use suite::{Additional, AdditionalExchange, EspProposal, EspSuite, IkeProposal, IkeSuite};
pub use time::Time;
