//! Two real endpoints under a virtual clock and a seeded network.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end where its story does not hold")]

mod additional;
mod certificates;
mod chaos;
mod collisions;
mod life;
mod nat;
mod network;
#[allow(dead_code, reason = "shared with the unit tests, which use the rest")]
mod pki;
mod ppk;
mod rekeying;
mod restart;
mod scenarios;
