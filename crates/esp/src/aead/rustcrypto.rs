//! AES-GCM and ChaCha20-Poly1305 by RustCrypto's detached in-place interface.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, KeyInit, Nonce, Tag};
use chacha20poly1305::ChaCha20Poly1305;

use crate::EspAlgorithm;

#[allow(
    clippy::large_enum_variant,
    reason = "a schedule is read per packet: no pointer between SA and round keys"
)]
pub(super) enum Key {
    Aes128(Aes128Gcm),
    Aes192(AesGcm<Aes192, U12>),
    Aes256(Aes256Gcm),
    ChaCha20(ChaCha20Poly1305),
}

impl Key {
    /// `None` when the key's length does not fit.
    pub(super) fn new(algorithm: EspAlgorithm, key: &[u8]) -> Option<Self> {
        match algorithm {
            EspAlgorithm::AesGcm128 => Aes128Gcm::new_from_slice(key).ok().map(Self::Aes128),
            EspAlgorithm::AesGcm192 => AesGcm::new_from_slice(key).ok().map(Self::Aes192),
            EspAlgorithm::AesGcm256 => Aes256Gcm::new_from_slice(key).ok().map(Self::Aes256),
            EspAlgorithm::ChaCha20Poly1305 => ChaCha20Poly1305::new_from_slice(key).ok().map(Self::ChaCha20),
            _ => None,
        }
    }

    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &mut [u8]) -> bool {
        let nonce = Nonce::from(*nonce);
        let computed = match self {
            Self::Aes128(key) => key.encrypt_inout_detached(&nonce, aad, data.into()),
            Self::Aes192(key) => key.encrypt_inout_detached(&nonce, aad, data.into()),
            Self::Aes256(key) => key.encrypt_inout_detached(&nonce, aad, data.into()),
            Self::ChaCha20(key) => key.encrypt_inout_detached(&nonce, aad, data.into()),
        };
        match computed {
            Ok(computed) if computed.len() == tag.len() => {
                tag.copy_from_slice(&computed);
                true
            }
            _ => false,
        }
    }

    pub(super) fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let nonce = Nonce::from(*nonce);
        let Ok(tag) = Tag::try_from(tag) else { return false };
        match self {
            Self::Aes128(key) => key.decrypt_inout_detached(&nonce, aad, data.into(), &tag),
            Self::Aes192(key) => key.decrypt_inout_detached(&nonce, aad, data.into(), &tag),
            Self::Aes256(key) => key.decrypt_inout_detached(&nonce, aad, data.into(), &tag),
            Self::ChaCha20(key) => key.decrypt_inout_detached(&nonce, aad, data.into(), &tag),
        }
        .is_ok()
    }
}
