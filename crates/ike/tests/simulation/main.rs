//! Two real endpoints under a virtual clock and a seeded network.

mod chaos;
mod collisions;
mod network;
mod rekeying;
mod scenarios;
