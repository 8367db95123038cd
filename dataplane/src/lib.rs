//! The packet process of tohub: crypto-map match, ESP, forwarding.
#![deny(unsafe_code)]

pub mod classify;
pub mod drop_reason;
pub mod flow;
pub mod flow_cache;
pub mod forward;
pub mod fragment;
pub mod icmp;
pub mod kernel;
pub mod packet;
pub mod policy;
pub mod rules;
pub mod wait;
pub mod xdp;
