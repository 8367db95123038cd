//! The packet process of tohub: crypto-map match, ESP, forwarding.
//!
//! Modules: [`process`] starts, attaches the guard by [`xdp`] and runs workers; a worker passes
//! bursts through [`path`], which uses [`policy`] for the rules, [`sa`] for keys, [`host`] for
//! routes, neighbours and ports, and [`count`] for counters. Imports run in this direction,
//! `process` → `path` → `sa`, `policy` → `host`, `xdp` → `count`, except that `sa` and `host` use
//! `path::shared`, `host` and `xdp` use `policy::address_bits`, and `host` uses `process::closing`.
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
