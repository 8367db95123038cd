//! The output of show commands: pure functions from plain structs to IOS text.
//!
//! The layouts are those that unmodified third-party parsers of device output accept, including
//! trailing blanks.

mod from_configuration;
mod ike_sa;
mod ipsec_sa;
mod map;
mod session;
mod tohub;

pub use from_configuration::{access_lists, from_configuration};
pub use ike_sa::{Ikev2SaView, IsakmpSaView, ikev2_sa, isakmp_sa};
pub use ipsec_sa::{
    FlowCounters, Ident, InterfaceSasView, IpsecFlowView, IpsecSaView, ipsec_sa, ipsec_sa_count,
};
pub use map::{TemporaryEntryView, crypto_map, temporary_entries};
pub use session::{FlowLife, IkeSessionView, SessionFlowView, SessionStatus, SessionView, crypto_session};
pub use tohub::{EntryPeersView, PeerStatusView, PeersView, dataplane, peers};
