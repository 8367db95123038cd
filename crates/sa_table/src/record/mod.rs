//! SA records as plain data, and their form in words.

pub(crate) mod algorithm;
pub(crate) mod codec;
mod keys;
mod sa;
mod selectors;

pub use codec::RecordError;
pub use ipsec_types::{DfPolicy, DscpPolicy, Encapsulation, EspAlgorithm, Hmac, Mode, PortRange};
pub use keys::{KeyLengthError, KeyMaterial, MAX_KEY_OCTETS};
pub use sa::{InboundSaRecord, Lifetime, OutboundSaRecord, PeerEndpoint};
pub use selectors::{AddressRange, MAX_SELECTOR_PAIRS, SelectorPair, Selectors, TrafficSelector};
