//! The packet process of tohub: crypto-map match, ESP, forwarding.
#![deny(unsafe_code)]

pub mod kernel;
pub mod xdp;
