//! The packet process of tohub: crypto-map match, ESP, forwarding.
//!
//! Modules: [`process`] starts, attaches the guard by [`xdp`] and runs workers; a worker passes
//! bursts through [`path`], which uses [`policy`] for the rules, [`sa`] for keys, [`host`] for
//! routes, neighbours and ports, and [`count`] for counters. Imports are allowed in this direction
//! only: `process` → `path` → `sa`, `policy` → `host`, `xdp` → `count`.
#![forbid(unsafe_code)]

pub mod count;
pub mod failure;
pub mod host;
#[cfg(any(test, feature = "lab"))]
pub mod lab;
pub mod path;
pub mod policy;
pub mod process;
pub mod sa;
pub mod xdp;
