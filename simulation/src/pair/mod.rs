//! Two IKE endpoints on an unreliable network: seeded histories after which exactly one IKE SA and
//! the intended children are left, and no state after they are closed; and floods of half-open IKE
//! SAs within bounded memory.
//!
//! The control plane is reduced to a few lines ([`session`]). Only the IKE endpoint is tested,
//! which makes many runs possible.

pub mod flood;
pub mod gateway;
pub mod history;
pub mod network;
pub mod session;
pub mod setup;
