//! Shared by the integration tests and the long differential run: back ends of this CPU, a random
//! source, the reference libraries.

#![allow(clippy::unwrap_used, reason = "a test stops where its own assumptions fail")]
#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod differential;

use aes_gcm::aes::Aes192;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, AesGcm, KeyInit};
use aes_gcm_batch::{Backend, Engine};

/// Every back end that this CPU supports; prints the others.
pub fn engines() -> Vec<Engine> {
    Backend::ALL
        .into_iter()
        .filter_map(|backend| match Engine::with_backend(backend) {
            Ok(engine) => Some(engine),
            Err(error) => {
                assert!(!backend.is_supported(), "{error}");
                println!("not run: {error}");
                None
            }
        })
        .collect()
}

/// SplitMix64: reproducible from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

/// One key in the reference libraries.
pub enum Reference {
    Aes128(Box<Aes128Gcm>, ring::aead::LessSafeKey),
    /// ring has no AES-192.
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>, ring::aead::LessSafeKey),
}

impl Reference {
    pub fn new(key: &[u8]) -> Self {
        let ring =
            |algorithm| ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(algorithm, key).unwrap());
        match key.len() {
            16 => Reference::Aes128(
                Box::new(Aes128Gcm::new_from_slice(key).unwrap()),
                ring(&ring::aead::AES_128_GCM),
            ),
            24 => Reference::Aes192(Box::new(KeyInit::new_from_slice(key).unwrap())),
            _ => Reference::Aes256(
                Box::new(Aes256Gcm::new_from_slice(key).unwrap()),
                ring(&ring::aead::AES_256_GCM),
            ),
        }
    }

    /// Seals in place with `aes-gcm`.
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        match self {
            Reference::Aes128(key, _) => key.encrypt_inout_detached(&nonce.into(), aad, text.into()),
            Reference::Aes192(key) => key.encrypt_inout_detached(&nonce.into(), aad, text.into()),
            Reference::Aes256(key, _) => key.encrypt_inout_detached(&nonce.into(), aad, text.into()),
        }
        .unwrap()
        .into()
    }

    /// Seals in place with ring, where it knows the key size.
    pub fn seal_with_ring(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let key = match self {
            Reference::Aes128(_, key) | Reference::Aes256(_, key) => key,
            Reference::Aes192(_) => return None,
        };
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), text).unwrap();
        Some(tag.as_ref().try_into().unwrap())
    }
}
