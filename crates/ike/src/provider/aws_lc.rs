//! The default backend: aws-lc for HMAC, AES-GCM and elliptic curves.

use aws_lc_rs::{aead, agreement, digest, hmac};
use zeroize::Zeroizing;

use super::{Aead, CryptoError, KeyExchange, Mac, PrivateKey, Provider, aws_lc_signature, cbc, mlkem, modp};
use crate::algorithm::{Encryption, Group, Prf};
use crate::random::Random;
use crate::secret::Secret;

/// The backend of a gateway: aws-lc, RustCrypto's AES for CBC, and crypto-bigint for the MODP
/// groups.
pub static DEFAULT: Provider = Provider {
    name: "aws-lc",
    prfs: &[
        (Prf::HmacSha1, &Hmac(&hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
        (Prf::HmacSha256, &Hmac(&hmac::HMAC_SHA256)),
        (Prf::HmacSha384, &Hmac(&hmac::HMAC_SHA384)),
        (Prf::HmacSha512, &Hmac(&hmac::HMAC_SHA512)),
    ],
    aeads: &[
        (Encryption::AesGcm128, &Gcm(&aead::AES_128_GCM)),
        (Encryption::AesGcm192, &Gcm(&aead::AES_192_GCM)),
        (Encryption::AesGcm256, &Gcm(&aead::AES_256_GCM)),
    ],
    cbcs: &[
        (Encryption::AesCbc128, &cbc::AesCbc128),
        (Encryption::AesCbc192, &cbc::AesCbc192),
        (Encryption::AesCbc256, &cbc::AesCbc256),
    ],
    groups: &[
        (Group::Ecp256, &Curve { algorithm: &agreement::ECDH_P256, private_len: 32, top_mask: 0xff }),
        (Group::Ecp384, &Curve { algorithm: &agreement::ECDH_P384, private_len: 48, top_mask: 0xff }),
        (Group::Ecp521, &Curve { algorithm: &agreement::ECDH_P521, private_len: 66, top_mask: 0x01 }),
        (Group::Curve25519, &Curve { algorithm: &agreement::X25519, private_len: 32, top_mask: 0xff }),
        (Group::Modp2048, &modp::MODP_2048),
        (Group::Modp3072, &modp::MODP_3072),
        (Group::Modp4096, &modp::MODP_4096),
        (Group::MlKem768, &mlkem::MlKem768),
    ],
    signatures: &aws_lc_signature::AwsLc,
    sha1,
};

struct Hmac(&'static hmac::Algorithm);

impl Mac for Hmac {
    fn mac(&self, key: &[u8], parts: &[&[u8]], output: &mut [u8]) {
        let mut context = hmac::Context::with_key(&hmac::Key::new(*self.0, key));
        parts.iter().for_each(|part| context.update(part));
        let tag = context.sign();
        output[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
    }
}

struct Gcm(&'static aead::Algorithm);

impl Gcm {
    fn key(&self, key: &[u8]) -> Result<aead::LessSafeKey, CryptoError> {
        aead::UnboundKey::new(self.0, key).map(aead::LessSafeKey::new).map_err(|_| CryptoError)
    }
}

impl Aead for Gcm {
    fn seal(&self, key: &[u8], nonce: [u8; 12], aad: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.key(key)?.seal_in_place_append_tag(nonce, aead::Aad::from(aad), text).map_err(|_| CryptoError)
    }

    fn open(&self, key: &[u8], nonce: [u8; 12], aad: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let plain =
            self.key(key)?.open_in_place(nonce, aead::Aad::from(aad), text).map_err(|_| CryptoError)?;
        let length = plain.len();
        text.truncate(length);
        Ok(())
    }
}

/// An elliptic curve whose private keys are drawn from the endpoint's own [`Random`].
struct Curve {
    algorithm: &'static agreement::Algorithm,
    private_len: usize,
    /// Truncates the random number to the bit length of the group's order.
    top_mask: u8,
}

impl Curve {
    fn is_montgomery(&self) -> bool {
        *self.algorithm == agreement::X25519
    }
}

impl KeyExchange for Curve {
    fn generate(
        &'static self,
        random: &mut dyn Random,
    ) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let mut bytes = Zeroizing::new(vec![0; self.private_len]);
        // A number at or above the order is refused, and drawing again keeps the choice uniform.
        // The orders begin with 32 one bits or more, so more than a few rounds mean that the source
        // of randomness is broken.
        for _ in 0..8 {
            random.fill(&mut bytes);
            if let Some(top) = bytes.first_mut() {
                *top &= self.top_mask;
            }
            if let Ok(key) = agreement::PrivateKey::from_private_key(self.algorithm, &bytes) {
                let public = key.compute_public_key().map_err(|_| CryptoError)?;
                // RFC 5903 §7: x and y without the octet that marks an uncompressed point.
                let skip = usize::from(!self.is_montgomery());
                let public = public.as_ref().get(skip..).ok_or(CryptoError)?.to_vec();
                return Ok((Box::new(CurveKey { key, montgomery: self.is_montgomery() }), public));
            }
        }
        Err(CryptoError)
    }
}

struct CurveKey {
    key: agreement::PrivateKey,
    montgomery: bool,
}

impl PrivateKey for CurveKey {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        let mut encoded = Vec::with_capacity(1 + peer_public.len());
        if !self.montgomery {
            encoded.push(4);
        }
        encoded.extend_from_slice(peer_public);
        let peer = agreement::UnparsedPublicKey::new(self.key.algorithm(), encoded);
        agreement::agree(&self.key, peer, CryptoError, |secret| Ok(Secret::from(secret)))
    }
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut output = [0; 20];
    output.copy_from_slice(context.finish().as_ref());
    output
}
