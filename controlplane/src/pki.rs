//! The trustpoints' certificates, private keys and CRLs in the form in which IKE takes them.
//!
//! The configuration holds certificates and names the rest: private keys lie in the key directory
//! of the instance ([`KeyStore`]), CRLs in files of the operator. The shell reads both
//! ([`Material::read`]) whenever trustpoints change and when a CRL file does; the gateway only sees
//! the result.

mod import;
mod material;
pub mod show;
mod store;

pub use import::import;
pub use material::{Material, Pki};
pub use store::{KeyStore, StoreError};
