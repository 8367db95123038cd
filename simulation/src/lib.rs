//! Whole networks of tohub gateways under a virtual clock, on the control plane's own code.
//!
//! Two uses. [`history`]: one `u64` seed gives a topology, configurations, traffic and faults, and
//! [`monitor`] checks the invariants after every step; a seed that fails replays as a readable
//! timeline. [`predict`]: a configuration and a list of events give the timeline that a gateway
//! would show, in milliseconds of real time.
//!
//! The control plane, the IKE endpoint and the shared segments are those of the product. Simulated
//! are the clock, the wire, the name service and the data plane, of which [`plane`] keeps what the
//! control plane can notice. `docs/simulation.md` says more.
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
