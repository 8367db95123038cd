//! Our own certificate with its private key.

use std::fmt;

use super::{Certificate, CertificateError};
use crate::provider::{CryptoError, KeyKind, Provider, SignatureScheme, SigningKey};
use crate::secret::Secret;

/// Longest chain that is sent.
const MAX_CHAIN: usize = 8;

/// A certificate with its private key and the chain that is sent with it.
pub struct Credential {
    /// The certificate first, then the issuers in order, without the root.
    chain: Vec<Certificate>,
    /// SHA-1 of the public keys of all issuers, the root too.
    issuer_hashes: Vec<[u8; 20]>,
    key: Box<dyn SigningKey>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?}, key hidden)", self.chain.first())
    }
}

impl Credential {
    /// `certificate` and `private_key` (see
    /// [`Signatures::load`](crate::provider::Signatures::load)) in DER, and CA certificates among
    /// which its issuers are looked for.
    ///
    /// # Errors
    /// If one of them cannot be read or the key is not the certificate's.
    pub fn new(
        provider: &Provider,
        certificate: &[u8],
        authorities: &[Vec<u8>],
        private_key: &Secret,
    ) -> Result<Self, CertificateError> {
        let certificate = Certificate::from_der(certificate)?;
        let key =
            provider.signatures.load(private_key.expose()).map_err(|CryptoError| CertificateError::Key)?;
        if certificate.key_kind() != Some(key.kind()) || certificate.public_key() != key.public_key() {
            return Err(CertificateError::KeyMismatch(certificate.subject_text()));
        }
        let authorities: Vec<Certificate> =
            authorities.iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>()?;
        let mut chain = vec![certificate];
        let mut issuer_hashes = Vec::new();
        while let Some(last) = chain.last().filter(|last| chain.len() < MAX_CHAIN && !last.is_self_issued()) {
            let Some(issuer) = authorities.iter().find(|issuer| last.names_issuer(issuer)) else { break };
            issuer_hashes.push((provider.sha1)(&[issuer.public_key_info()]));
            // The peer has the root, or does not trust it.
            if issuer.is_self_issued() {
                break;
            }
            chain.push(issuer.clone());
        }
        Ok(Credential { chain, issuer_hashes, key })
    }

    /// The certificate itself.
    pub fn certificate(&self) -> &Certificate {
        // The constructor stores the certificate first, and the chain never changes.
        &self.chain[0]
    }

    /// The kind of its key.
    pub fn kind(&self) -> KeyKind {
        self.key.kind()
    }

    /// What CERT payloads carry, the certificate itself first (RFC 7296 §3.6).
    pub(crate) fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(Certificate::der)
    }

    /// Is one of the CAs that the peer named an issuer of it?
    pub(crate) fn is_issued_by(&self, key_hashes: &[[u8; 20]]) -> bool {
        self.issuer_hashes.iter().any(|issuer| key_hashes.contains(issuer))
    }

    pub(crate) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.key.sign(scheme, message)
    }
}
