//! The laboratory of tohub: network namespaces wired like a small internet, gateways running in
//! them, probes that measure the traffic through the tunnel, and captures that count clear packets
//! on the wire.
//!
//! Used by the end-to-end tests (`tests/tests/`), by the demo (`tohub-demo`) and by no released
//! program. Every name that a laboratory creates on the machine includes its process id, so that
//! tests can run in parallel; every object is removed when it is dropped, also when a test panics.
//! It needs root, `ip`, `nsenter`, `nft`, `ethtool` and `tcpdump`; tests of names need `dnsmasq`.
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_errors_doc,
    reason = "every error here is a step of the laboratory that failed, named in its text"
)]

pub mod by_hand;
pub mod capture;
pub mod command;
pub mod dns;
pub mod failover;
pub mod garbage;
pub mod gateway;
pub mod namespace;
pub mod pcap;
pub mod peer;
pub mod probe;
pub mod stale;

pub use command::{LabError, Result};
