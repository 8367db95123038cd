//! The bodies of the fuzz targets: one function per parser, which panics if a property is violated.
//!
//! `fuzz/` runs them under libFuzzer (nightly tool chain), `tests/replay.rs` replays the corpus and
//! mutations of it in `make test`. Nothing else calls them.
#![forbid(unsafe_code)]

pub mod configuration;
pub mod control;
pub mod endpoint;
pub mod headers;
pub mod messages;
pub mod peer;
pub mod provider;
pub mod segments;
mod targets;

pub use targets::{TARGETS, Target};
