//! Whole networks of tohub gateways under a virtual clock, on the control plane's own code.
//!
//! There are two uses. [`history`]: one `u64` seed determines topology, configurations, traffic and
//! faults, and [`monitor`] checks the invariants after every step; a failing seed is replayed as a
//! readable timeline. [`predict`]: a configuration and a list of events produce the timeline of a
//! gateway, within milliseconds of real time.
//!
//! The control plane, the IKE endpoint and the shared segments are those of the product. The clock,
//! the network, name resolution and the data plane are simulated; of the data plane [`plane`]
//! models what the control plane can observe. See `docs/simulation.md`.
#![forbid(unsafe_code)]

pub mod campaign;
pub mod crypto;
pub mod forge;
pub mod gateway;
pub mod history;
pub mod monitor;
pub mod network;
pub mod pair;
pub mod plan;
pub mod plane;
pub mod predict;
pub mod random;
pub mod site;
pub mod tunnels;
