//! The packet path of a worker, from the burst received to the burst sent.

pub mod classify;
pub mod context;
pub mod decision;
pub(crate) mod filter;
pub mod flow_cache;
pub mod forward;
pub mod fragment;
pub mod handoff;
pub mod hold;
pub mod hop;
pub mod icmp;
pub mod inbound;
pub mod mailbox;
pub mod nat_t;
pub mod outbound;
pub mod packet;
pub mod pipeline;
pub mod reassembly;
pub mod shared;
pub mod wait;
