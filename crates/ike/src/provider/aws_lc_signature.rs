//! Signatures by aws-lc.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls_pki_types::SignatureVerificationAlgorithm;

use super::CryptoError;
use super::signature::{KeyKind, SignatureCurve, SignatureHash, SignatureScheme, Signatures, SigningKey};

/// Smallest and largest RSA modulus, octets (RFC 8247 §3.1.1: not below 2048 bits).
const RSA_OCTETS: std::ops::RangeInclusive<usize> = 256..=1024;

pub(super) struct AwsLc;

impl Signatures for AwsLc {
    fn verify(
        &self,
        scheme: SignatureScheme,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        UnparsedPublicKey::new(verification(scheme)?, public_key)
            .verify(message, signature)
            .map_err(|_| CryptoError)
    }

    fn load(&self, private_key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(private_key).or_else(|_| RsaKeyPair::from_der(private_key)) {
            if !RSA_OCTETS.contains(&pair.public_modulus_len()) {
                return Err(CryptoError);
            }
            return Ok(Box::new(Rsa(pair)));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(private_key) {
            return Ok(Box::new(Ed25519(pair)));
        }
        CURVES
            .iter()
            .find_map(|curve| Ecdsa::load(curve, private_key))
            .ok_or(CryptoError)
            .map(|key| Box::new(key) as _)
    }

    fn certificate_algorithms(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
        webpki::ALL_VERIFICATION_ALGS
    }
}

fn verification(scheme: SignatureScheme) -> Result<&'static dyn VerificationAlgorithm, CryptoError> {
    use SignatureCurve::{P256, P384, P521};
    use SignatureHash::{Sha1, Sha256, Sha384, Sha512};
    use SignatureScheme::{Ecdsa, EcdsaFixed, RsaPkcs1, RsaPss};
    Ok(match scheme {
        RsaPkcs1(Sha1) => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        RsaPkcs1(Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        RsaPkcs1(Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        RsaPkcs1(Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        RsaPss(Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        RsaPss(Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        RsaPss(Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        Ecdsa(P256, Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
        Ecdsa(P256, Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
        Ecdsa(P256, Sha512) => &signature::ECDSA_P256_SHA512_ASN1,
        Ecdsa(P384, Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
        Ecdsa(P384, Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
        Ecdsa(P384, Sha512) => &signature::ECDSA_P384_SHA512_ASN1,
        Ecdsa(P521, Sha256) => &signature::ECDSA_P521_SHA256_ASN1,
        Ecdsa(P521, Sha384) => &signature::ECDSA_P521_SHA384_ASN1,
        Ecdsa(P521, Sha512) => &signature::ECDSA_P521_SHA512_ASN1,
        EcdsaFixed(P256) => &signature::ECDSA_P256_SHA256_FIXED,
        EcdsaFixed(P384) => &signature::ECDSA_P384_SHA384_FIXED,
        EcdsaFixed(P521) => &signature::ECDSA_P521_SHA512_FIXED,
        SignatureScheme::Ed25519 => &signature::ED25519,
        RsaPss(Sha1) | Ecdsa(_, Sha1) => return Err(CryptoError),
    })
}

struct Rsa(RsaKeyPair);

impl SigningKey for Rsa {
    fn kind(&self) -> KeyKind {
        KeyKind::Rsa
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        use SignatureHash::{Sha256, Sha384, Sha512};
        let encoding: &'static dyn RsaEncoding = match scheme {
            SignatureScheme::RsaPkcs1(Sha256) => &signature::RSA_PKCS1_SHA256,
            SignatureScheme::RsaPkcs1(Sha384) => &signature::RSA_PKCS1_SHA384,
            SignatureScheme::RsaPkcs1(Sha512) => &signature::RSA_PKCS1_SHA512,
            SignatureScheme::RsaPss(Sha256) => &signature::RSA_PSS_SHA256,
            SignatureScheme::RsaPss(Sha384) => &signature::RSA_PSS_SHA384,
            SignatureScheme::RsaPss(Sha512) => &signature::RSA_PSS_SHA512,
            _ => return Err(CryptoError),
        };
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| CryptoError)?;
        Ok(signature)
    }
}

struct Ed25519(Ed25519KeyPair);

impl SigningKey for Ed25519 {
    fn kind(&self) -> KeyKind {
        KeyKind::Ed25519
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match scheme {
            SignatureScheme::Ed25519 => {
                Ok(self.0.try_sign(message).map_err(|_| CryptoError)?.as_ref().to_vec())
            }
            _ => Err(CryptoError),
        }
    }
}

/// A curve: its name, its hash, and how aws-lc signs in the two forms.
struct Curve {
    name: SignatureCurve,
    hash: SignatureHash,
    der: &'static EcdsaSigningAlgorithm,
    fixed: &'static EcdsaSigningAlgorithm,
}

static CURVES: [Curve; 3] = [
    Curve {
        name: SignatureCurve::P256,
        hash: SignatureHash::Sha256,
        der: &ECDSA_P256_SHA256_ASN1_SIGNING,
        fixed: &ECDSA_P256_SHA256_FIXED_SIGNING,
    },
    Curve {
        name: SignatureCurve::P384,
        hash: SignatureHash::Sha384,
        der: &ECDSA_P384_SHA384_ASN1_SIGNING,
        fixed: &ECDSA_P384_SHA384_FIXED_SIGNING,
    },
    Curve {
        name: SignatureCurve::P521,
        hash: SignatureHash::Sha512,
        der: &ECDSA_P521_SHA512_ASN1_SIGNING,
        fixed: &ECDSA_P521_SHA512_FIXED_SIGNING,
    },
];

/// aws-lc ties a key object to one signature format, so the key is loaded twice.
struct Ecdsa {
    curve: &'static Curve,
    der: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
}

impl Ecdsa {
    fn load(curve: &'static Curve, private_key: &[u8]) -> Option<Self> {
        let pair = |algorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, private_key)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, private_key))
                .ok()
        };
        Some(Ecdsa { curve, der: pair(curve.der)?, fixed: pair(curve.fixed)? })
    }
}

impl SigningKey for Ecdsa {
    fn kind(&self) -> KeyKind {
        KeyKind::Ecdsa(self.curve.name)
    }

    fn public_key(&self) -> &[u8] {
        self.der.public_key().as_ref()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let pair = match scheme {
            SignatureScheme::Ecdsa(name, hash) if (name, hash) == (self.curve.name, self.curve.hash) => {
                &self.der
            }
            SignatureScheme::EcdsaFixed(name) if name == self.curve.name => &self.fixed,
            _ => return Err(CryptoError),
        };
        Ok(pair.sign(&SystemRandom::new(), message).map_err(|_| CryptoError)?.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8247 §3.1.1. Made by OpenSSL: a key of 1024 bits, and its signature of the message
    /// "octets".
    #[test]
    fn rsa_below_2048_bits_neither_signs_nor_proves() {
        let public = include_bytes!("rsa1024/public.der");
        let proof = include_bytes!("rsa1024/signature");
        let legacy = &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
        assert!(UnparsedPublicKey::new(legacy, public).verify(b"octets", proof).is_ok(), "but for its size");
        let scheme = SignatureScheme::RsaPkcs1(SignatureHash::Sha256);
        assert_eq!(AwsLc.verify(scheme, public, b"octets", proof), Err(CryptoError));
        assert!(AwsLc.load(include_bytes!("rsa1024/private.der")).is_err());
    }
}
