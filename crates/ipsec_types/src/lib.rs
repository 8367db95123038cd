//! The vocabulary of IPsec that the other crates share: one type for each thing that has a name in
//! the RFCs and crosses a crate's border. Plain data with the lengths and relations that follow
//! from the RFCs; no I/O, no cryptography, no text.
#![forbid(unsafe_code)]

mod address;
mod algorithm;
mod encapsulation;

pub use address::{PortRange, Prefix};
pub use algorithm::{EspAlgorithm, Hmac};
pub use encapsulation::{DfPolicy, DscpPolicy, EcnPolicy, Encapsulation, Mode};
