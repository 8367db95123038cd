//! X.509 certificates: parsing, path validation to a trustpoint's CA, and our own certificate with
//! its private key.

mod credential;
mod distinguished_name;
mod error;
#[cfg(test)]
#[path = "../../tests/simulation/pki.rs"]
#[allow(dead_code, reason = "shared with the simulations, which use the rest")]
pub(crate) mod pki;
#[cfg(test)]
mod tests;
mod trust;
mod x509;

pub use credential::Credential;
pub(crate) use distinguished_name::{parse, same_name, text};
pub use error::CertificateError;
pub use trust::{Revocation, TrustStore};
pub use x509::{Certificate, KeyUsage};
