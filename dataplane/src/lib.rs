//! The packet process of tohub: crypto-map match, ESP, forwarding.
#![deny(unsafe_code)]

pub mod classify;
pub mod counter;
pub mod drop_reason;
pub mod flow;
pub mod flow_cache;
pub mod forward;
pub mod fragment;
pub mod hold;
pub mod icmp;
pub mod inbound;
pub mod kernel;
pub mod mailbox;
pub mod nat_t;
pub mod outbound;
pub mod packet;
pub mod pipeline;
pub mod policy;
pub mod rules;
pub mod sa;
pub mod shared;
mod tally;
pub mod wait;
pub mod worker;
pub mod xdp;
