//! The packet process of tohub: crypto-map match, ESP, forwarding.
#![forbid(unsafe_code)]

mod address_bits;
pub mod classify;
pub mod closing;
pub mod counter;
pub mod drop_reason;
pub mod engine;
pub mod failure;
pub mod filter;
pub mod flow;
pub mod flow_cache;
pub mod forward;
pub mod fragment;
mod guarded;
pub mod hold;
pub mod hygiene;
pub mod icmp;
pub mod inbound;
pub mod instance;
pub mod kernel;
#[cfg(any(test, feature = "lab"))]
pub mod lab;
pub mod mailbox;
pub mod nat_t;
pub mod outbound;
pub mod packet;
pub mod pipeline;
pub mod policy;
pub mod ports;
pub mod punt;
pub mod reassembly;
pub mod release;
pub mod rules;
pub mod run;
pub mod sa;
pub mod settings;
pub mod shared;
pub mod status;
mod tally;
pub mod wait;
pub mod watch;
pub mod worker;
pub mod xdp;
