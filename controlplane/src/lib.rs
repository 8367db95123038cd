//! The control plane of tohub: configuration, IKE, dead peer detection, idle timers, preferred
//! peer.
//!
//! It writes the SA table that the data plane reads; it processes no packets. Each part owns its
//! state, takes events and returns events: [`compile`] makes a [`plan`] of the configuration;
//! [`connections`], [`tunnels`], [`peers`], [`dynamic`], [`names`], [`tables`], [`report`],
//! [`edits`] and [`checkpoint`] use neither sockets nor clocks; [`gateway`] owns them and routes
//! events between them; only [`service`] does I/O. `docs/controlplane.md` describes the structure
//! of this crate. map of this crate.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod clock;
pub mod compile;
pub mod connections;
pub mod control;
pub mod dynamic;
pub mod edits;
pub mod gateway;
pub mod interfaces;
pub mod names;
pub mod operator;
pub mod peers;
pub mod pki;
pub mod plan;
pub mod report;
pub mod resolver;
pub mod room;
pub mod routes;
pub mod service;
pub mod settings;
pub mod sockets;
pub mod tables;
pub mod timers;
pub mod tunnels;
