//! The deciding process of tohub: configuration, IKE, dead peer detection, idle timers, preferred peer.
//!
//! It writes the SA table that the data plane reads and never touches a packet. [`select`], [`liveness`] and
//! [`idle`] are pure rules; the brain joins them with IKE and the table without a socket or a clock; the shell
//! around it owns the sockets. `docs/controlplane.md` is the map of this crate.
#![forbid(unsafe_code)]

pub mod brain;
pub mod clock;
pub mod compile;
pub mod control;
pub mod derived;
pub mod idle;
pub mod install;
pub mod interfaces;
pub mod liveness;
pub mod log;
pub mod memory;
pub mod names;
pub mod operator;
pub mod pki;
pub mod resolver;
pub mod responder;
pub mod room;
pub mod routes;
pub mod run;
pub mod select;
pub mod session;
pub mod settings;
pub mod sockets;
