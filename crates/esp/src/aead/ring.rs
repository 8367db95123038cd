//! AES-GCM by `ring`, 128- and 256-bit keys, and ChaCha20-Poly1305.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};

use crate::EspAlgorithm;

pub(super) struct Key(LessSafeKey);

impl Key {
    /// `None` when `ring` lacks the algorithm or the key's length does not fit.
    pub(super) fn new(algorithm: EspAlgorithm, key: &[u8]) -> Option<Self> {
        let algorithm = match algorithm {
            EspAlgorithm::AesGcm128 => &AES_128_GCM,
            EspAlgorithm::AesGcm256 => &AES_256_GCM,
            EspAlgorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return None,
        };
        UnboundKey::new(algorithm, key).ok().map(LessSafeKey::new).map(Self)
    }

    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        match self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), data) {
            Ok(computed) if computed.as_ref().len() == tag.len() => {
                tag.copy_from_slice(computed.as_ref());
                true
            }
            _ => false,
        }
    }

    pub(super) fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let Ok(tag) = Tag::try_from(tag) else { return false };
        self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, data, 0..).is_ok()
    }
}
