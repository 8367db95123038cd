//! A common interface to other libraries: text and tag in one buffer, one call per packet.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, KeyInit};

/// A library that is compared with ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// ring.
    Ring,
    /// RustCrypto's `aes-gcm`.
    RustCrypto,
    /// aws-lc-rs.
    AwsLc,
}

/// One key of a library.
pub enum Key {
    /// ring.
    Ring(Box<ring::aead::LessSafeKey>),
    /// RustCrypto, AES-128.
    RustCrypto128(Box<Aes128Gcm>),
    /// RustCrypto, AES-256.
    RustCrypto256(Box<Aes256Gcm>),
    /// aws-lc-rs.
    AwsLc(Box<aws_lc_rs::aead::LessSafeKey>),
}

impl Library {
    /// All of them.
    pub const ALL: [Library; 3] = [Library::Ring, Library::RustCrypto, Library::AwsLc];

    /// Name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Library::Ring => "ring",
            Library::RustCrypto => "aes-gcm",
            Library::AwsLc => "aws-lc-rs",
        }
    }

    /// `count` keys of 16 or 32 bytes.
    pub fn keys(self, key_len: usize, count: usize) -> Vec<Key> {
        (0..count)
            .filter_map(|index| {
                let mut key = [0x5a; 32];
                key[..8].copy_from_slice(&(index as u64).to_le_bytes());
                self.key(&key[..key_len])
            })
            .collect()
    }

    fn key(self, key: &[u8]) -> Option<Key> {
        let long = key.len() == 32;
        Some(match self {
            Library::Ring => {
                let algorithm = if long { &ring::aead::AES_256_GCM } else { &ring::aead::AES_128_GCM };
                Key::Ring(Box::new(ring::aead::LessSafeKey::new(
                    ring::aead::UnboundKey::new(algorithm, key).ok()?,
                )))
            }
            Library::RustCrypto if long => Key::RustCrypto256(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            Library::RustCrypto => Key::RustCrypto128(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            Library::AwsLc => {
                let algorithm =
                    if long { &aws_lc_rs::aead::AES_256_GCM } else { &aws_lc_rs::aead::AES_128_GCM };
                let key = aws_lc_rs::aead::UnboundKey::new(algorithm, key).ok()?;
                Key::AwsLc(Box::new(aws_lc_rs::aead::LessSafeKey::new(key)))
            }
        })
    }
}

impl Key {
    /// Seals all of `packet` but its last 16 bytes, which take the tag.
    pub fn seal(&mut self, nonce: [u8; 12], aad: &[u8], packet: &mut [u8]) {
        let Some((text, tag)) = packet.split_last_chunk_mut::<16>() else { return };
        match self {
            Key::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                if let Ok(made) = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), text) {
                    tag.copy_from_slice(made.as_ref());
                }
            }
            Key::RustCrypto128(key) => {
                if let Ok(made) = key.encrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(text)) {
                    *tag = made.into();
                }
            }
            Key::RustCrypto256(key) => {
                if let Ok(made) = key.encrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(text)) {
                    *tag = made.into();
                }
            }
            Key::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                if let Ok(made) = key.seal_in_place_separate_tag(nonce, aws_lc_rs::aead::Aad::from(aad), text)
                {
                    tag.copy_from_slice(made.as_ref());
                }
            }
        }
    }

    /// Opens text and tag in place; whether it was authentic.
    pub fn open(&mut self, nonce: [u8; 12], aad: &[u8], packet: &mut [u8]) -> bool {
        match self {
            Key::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring::aead::Aad::from(aad), packet).is_ok()
            }
            Key::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws_lc_rs::aead::Aad::from(aad), packet).is_ok()
            }
            Key::RustCrypto128(key) => packet.split_last_chunk_mut::<16>().is_some_and(|(text, tag)| {
                key.decrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(text), &(*tag).into()).is_ok()
            }),
            Key::RustCrypto256(key) => packet.split_last_chunk_mut::<16>().is_some_and(|(text, tag)| {
                key.decrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(text), &(*tag).into()).is_ok()
            }),
        }
    }
}
