//! Converts the trustpoints' certificates, private keys and CRLs to the types of `ike`.
//!
//! The configuration contains certificates and refers to the rest: private keys are in the key
//! directory of the instance ([`KeyStore`]), CRLs in files that the operator provides. Both are
//! read ([`Material::read`]) outside the gateway, whenever trustpoints or a CRL file change; the
//! gateway receives the result.

mod import;
mod material;
pub mod show;
mod store;

pub use import::import;
pub use material::{Material, Pki};
pub use store::{KeyStore, StoreError};
