//! Two IKE endpoints on a bad wire: seeded histories after which exactly one IKE SA and the
//! intended children are left, and after whose end nothing is; and a flood of half-open attempts
//! within bounded memory.
//!
//! What the control plane decides is a few lines here ([`session`]); what is tried is the IKE core,
//! alone and therefore often.

pub mod flood;
pub mod gateway;
pub mod history;
pub mod network;
pub mod session;
pub mod setup;
