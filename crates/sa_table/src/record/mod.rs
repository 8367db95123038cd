//! SA records as plain data, and their form in words.

mod algorithm;
pub(crate) mod codec;
mod keys;
mod sa;
mod selectors;

pub use algorithm::{Algorithm, AlgorithmLengths};
pub use codec::RecordError;
pub use keys::{KeyLengthError, KeyMaterial, MAX_KEY_OCTETS};
pub use sa::{
    DfPolicy, DscpPolicy, Encapsulation, InboundSaRecord, Lifetime, Mode, OutboundSaRecord, PeerEndpoint,
};
pub use selectors::{AddressRange, MAX_SELECTOR_PAIRS, PortRange, SelectorPair, Selectors, TrafficSelector};
