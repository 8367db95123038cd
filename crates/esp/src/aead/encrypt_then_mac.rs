//! AES-CBC or no cipher, with an HMAC over the ciphertext (RFC 3602, RFC 2410, RFC 2404, RFC 4868),
//! by RustCrypto.
//!
//! The ICV covers SPI, sequence number, IV and ciphertext, followed by the upper half of an
//! extended sequence number, which is not sent (RFC 4303 §2.2.1). It is verified in constant time
//! before anything is decrypted, so that padding gives no information to an attacker.

use aes::cipher::consts::U16;
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    InnerIvInit, KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use super::Aad;
use crate::EspAlgorithm;

/// Expanded cipher key and the inner and outer states of the HMAC.
pub(super) struct Key {
    cipher: Cipher,
    mac: Mac,
}

#[allow(clippy::large_enum_variant, reason = "read per packet: no pointer between SA and round keys")]
enum Cipher {
    Null,
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

#[allow(clippy::large_enum_variant, reason = "read per packet: no pointer between SA and hash state")]
enum Mac {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

/// Bytes of an AES block, and of the IV of CBC.
const BLOCK: usize = 16;

impl Key {
    /// `None` when the algorithm is another one or the key's length does not fit.
    pub(super) fn new(algorithm: EspAlgorithm, key: &[u8]) -> Option<Self> {
        let (cipher_key, mac_key) = key.split_at_checked(algorithm.cipher_key_len())?;
        let cipher = match algorithm {
            EspAlgorithm::AesCbc128(_) => Cipher::Aes128(Aes128::new_from_slice(cipher_key).ok()?),
            EspAlgorithm::AesCbc192(_) => Cipher::Aes192(Aes192::new_from_slice(cipher_key).ok()?),
            EspAlgorithm::AesCbc256(_) => Cipher::Aes256(Aes256::new_from_slice(cipher_key).ok()?),
            EspAlgorithm::Null(_) => Cipher::Null,
            _ => return None,
        };
        let hmac = algorithm.hmac().filter(|hmac| hmac.key_len() == mac_key.len())?;
        let mac = match hmac {
            ipsec_types::Hmac::Sha1_96 => Mac::Sha1(Hmac::new_from_slice(mac_key).ok()?),
            ipsec_types::Hmac::Sha256_128 => Mac::Sha256(Hmac::new_from_slice(mac_key).ok()?),
            ipsec_types::Hmac::Sha384_192 => Mac::Sha384(Hmac::new_from_slice(mac_key).ok()?),
            ipsec_types::Hmac::Sha512_256 => Mac::Sha512(Hmac::new_from_slice(mac_key).ok()?),
        };
        Some(Self { cipher, mac })
    }

    /// `data`: IV (none without cipher) and text.
    pub(super) fn seal(&self, aad: &Aad, data: &mut [u8], tag: &mut [u8]) -> bool {
        let encrypted = match &self.cipher {
            Cipher::Null => true,
            Cipher::Aes128(cipher) => encrypt(cipher, data),
            Cipher::Aes192(cipher) => encrypt(cipher, data),
            Cipher::Aes256(cipher) => encrypt(cipher, data),
        };
        encrypted && self.mac.write(aad, data, tag)
    }

    /// `data`: IV (none without cipher) and ciphertext.
    pub(super) fn open(&self, aad: &Aad, data: &mut [u8], tag: &[u8]) -> bool {
        if !self.mac.is_authentic(aad, data, tag) {
            return false;
        }
        match &self.cipher {
            Cipher::Null => true,
            Cipher::Aes128(cipher) => decrypt(cipher, data),
            Cipher::Aes192(cipher) => decrypt(cipher, data),
            Cipher::Aes256(cipher) => decrypt(cipher, data),
        }
    }
}

/// `false`, and nothing done, unless `data` is an IV and whole blocks.
fn encrypt<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(cipher: &C, data: &mut [u8]) -> bool {
    let Some((iv, blocks)) = iv_and_blocks(data) else { return false };
    cbc::Encryptor::inner_iv_init(cipher, iv).encrypt_blocks(blocks);
    true
}

fn decrypt<C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>>(cipher: &C, data: &mut [u8]) -> bool {
    let Some((iv, blocks)) = iv_and_blocks(data) else { return false };
    cbc::Decryptor::inner_iv_init(cipher, iv).decrypt_blocks(blocks);
    true
}

type Block = Array<u8, U16>;

fn iv_and_blocks(data: &mut [u8]) -> Option<(&Block, &mut [Block])> {
    let (iv, text) = data.split_first_chunk_mut::<BLOCK>()?;
    match Block::slice_as_chunks_mut(text) {
        (blocks, []) => Some(((&*iv).into(), blocks)),
        _ => None,
    }
}

impl Mac {
    /// Writes the code, truncated to the length of `tag`.
    fn write(&self, aad: &Aad, data: &[u8], tag: &mut [u8]) -> bool {
        self.with_code(aad, data, |code| match code.get(..tag.len()) {
            Some(code) => {
                tag.copy_from_slice(code);
                true
            }
            None => false,
        })
    }

    fn is_authentic(&self, aad: &Aad, data: &[u8], tag: &[u8]) -> bool {
        self.with_code(aad, data, |code| {
            code.get(..tag.len()).is_some_and(|code| bool::from(code.ct_eq(tag)))
        })
    }

    fn with_code(&self, aad: &Aad, data: &[u8], use_code: impl FnOnce(&[u8]) -> bool) -> bool {
        macro_rules! code {
            ($mac:expr) => {{
                let mut mac = $mac.clone();
                mac.update(&aad.spi_and_sequence());
                mac.update(data);
                mac.update(aad.upper_half());
                use_code(&mac.finalize().into_bytes())
            }};
        }
        match self {
            Self::Sha1(mac) => code!(mac),
            Self::Sha256(mac) => code!(mac),
            Self::Sha384(mac) => code!(mac),
            Self::Sha512(mac) => code!(mac),
        }
    }
}
