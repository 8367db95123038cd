//! The packet process of tohub: crypto-map match, ESP, forwarding.
//!
//! The way through it: [`process`] starts, closes the machine by [`xdp`], and runs workers; a
//! worker takes bursts through [`path`], which asks [`policy`] what is protected, [`sa`] for keys
//! and [`host`] for routes, neighbours and ports, and counts in [`count`]. Imports run in this
//! order: `process` → `path` → `sa`, `policy` → `host`, `xdp` → `count`.
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
