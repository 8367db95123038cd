//! AES-GMAC (RFC 4543): GCM with everything in the additional data, by RustCrypto's AES and GHASH.
//!
//! The additional data are SPI, sequence number (64 bits when extended), IV and payload
//! (RFC 4543 §3.3). The upper half of an extended number is not in the packet, so they are not one
//! slice of the frame, as the library's AEAD interface would need them; GHASH takes them in pieces.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;

use super::Aad;
use crate::EspAlgorithm;

/// Round keys, and GHASH with its key.
pub(super) struct Key {
    cipher: Cipher,
    ghash: GHash,
}

enum Cipher {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl Key {
    /// `None` when the algorithm is another one or the key's length does not fit.
    pub(super) fn new(algorithm: EspAlgorithm, key: &[u8]) -> Option<Self> {
        let cipher = match algorithm {
            EspAlgorithm::AesGmac128 => Cipher::Aes128(Aes128::new_from_slice(key).ok()?),
            EspAlgorithm::AesGmac192 => Cipher::Aes192(Aes192::new_from_slice(key).ok()?),
            EspAlgorithm::AesGmac256 => Cipher::Aes256(Aes256::new_from_slice(key).ok()?),
            _ => return None,
        };
        let mut hash_key = cipher.encrypt([0; 16]);
        let ghash = GHash::new(&Array(hash_key));
        zeroize::Zeroize::zeroize(&mut hash_key);
        Some(Self { cipher, ghash })
    }

    /// `data`: IV and text.
    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &Aad, data: &[u8], tag: &mut [u8]) -> bool {
        let computed = self.tag(nonce, aad, data);
        if tag.len() != computed.len() {
            return false;
        }
        tag.copy_from_slice(&computed);
        true
    }

    /// `data`: IV and text.
    pub(super) fn open(&self, nonce: &[u8; 12], aad: &Aad, data: &[u8], tag: &[u8]) -> bool {
        self.tag(nonce, aad, data).ct_eq(tag).into()
    }

    fn tag(&self, nonce: &[u8; 12], aad: &Aad, data: &[u8]) -> [u8; 16] {
        let mut ghash = self.ghash.clone();
        let aad = aad.as_slice();
        // SPI, sequence number and as much of the data as fill one block; then the rest.
        let mut first = [0; 16];
        let (head, rest) = data.split_at(data.len().min(first.len() - aad.len()));
        first[..aad.len()].copy_from_slice(aad);
        first[aad.len()..aad.len() + head.len()].copy_from_slice(head);
        ghash.update(&[Array(first)]);
        ghash.update_padded(rest);
        let mut lengths = [0; 16];
        lengths[..8].copy_from_slice(&((aad.len() + data.len()) as u64 * 8).to_be_bytes());
        ghash.update(&[Array(lengths)]);

        let mut counter = [0; 16];
        counter[..12].copy_from_slice(nonce);
        counter[15] = 1;
        let mut tag = self.cipher.encrypt(counter);
        for (byte, hash) in tag.iter_mut().zip(ghash.finalize()) {
            *byte ^= hash;
        }
        tag
    }
}

impl Cipher {
    fn encrypt(&self, block: [u8; 16]) -> [u8; 16] {
        let mut block = Array(block);
        match self {
            Self::Aes128(cipher) => cipher.encrypt_block(&mut block),
            Self::Aes192(cipher) => cipher.encrypt_block(&mut block),
            Self::Aes256(cipher) => cipher.encrypt_block(&mut block),
        }
        block.0
    }
}
