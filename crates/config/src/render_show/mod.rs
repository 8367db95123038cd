//! What the show commands print: pure functions from plain state to IOS text.
//!
//! The layouts are the ones that unmodified third-party parsers of device output read. Trailing
//! blanks are part of them.

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
