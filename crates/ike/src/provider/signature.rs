//! Digital signatures: the schemes by which an end proves that it holds the private key of its
//! certificate.

use std::fmt;

use rustls_pki_types::SignatureVerificationAlgorithm;

use super::CryptoError;

/// A hash of a signature, by its number in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureHash {
    /// SHA-1: verified where a peer without RFC 7427 sends it (RFC 7296 §3.8), never announced and
    /// never used to sign (RFC 8247 §3.2).
    Sha1,
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

/// An elliptic curve for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureCurve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

/// What kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, 2048 to 8192 bits.
    Rsa,
    /// ECDSA.
    Ecdsa(SignatureCurve),
    /// Ed25519 (RFC 8420).
    Ed25519,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyKind::Rsa => "RSA",
            KeyKind::Ecdsa(SignatureCurve::P256) => "ECDSA P-256",
            KeyKind::Ecdsa(SignatureCurve::P384) => "ECDSA P-384",
            KeyKind::Ecdsa(SignatureCurve::P521) => "ECDSA P-521",
            KeyKind::Ed25519 => "Ed25519",
        })
    }
}

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(SignatureHash),
    /// RSASSA-PSS, MGF1 with the same hash, salt as long as the hash.
    RsaPss(SignatureHash),
    /// ECDSA as a DER `Ecdsa-Sig-Value` (RFC 7427 §3).
    Ecdsa(SignatureCurve, SignatureHash),
    /// ECDSA as r | s with the hash of the curve (RFC 4754 §7).
    EcdsaFixed(SignatureCurve),
    /// Ed25519 (RFC 8420 §2).
    Ed25519,
}

/// Signatures of a backend.
pub trait Signatures: Sync {
    /// Checks a signature. `public_key` is the content of the certificate's subjectPublicKey.
    ///
    /// # Errors
    /// If it is not the signature of that key over that message, or the backend lacks the scheme.
    fn verify(
        &self,
        scheme: SignatureScheme,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError>;

    /// Reads a private key: PKCS#8, PKCS#1 `RSAPrivateKey` or SEC1 `ECPrivateKey`, DER without
    /// encryption.
    ///
    /// # Errors
    /// If it is none of these, or of a kind or size that is not in [`KeyKind`].
    fn load(&self, private_key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError>;

    /// What signatures on certificates and CRLs may be.
    fn certificate_algorithms(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm];
}

/// A private key.
pub trait SigningKey: Send + Sync {
    /// Its kind.
    fn kind(&self) -> KeyKind;

    /// The public key, in the form of a certificate's subjectPublicKey.
    fn public_key(&self) -> &[u8];

    /// Signs `message`. Randomness that a scheme needs is the backend's own.
    ///
    /// # Errors
    /// If the scheme does not fit the key, or the backend fails.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError>;
}
