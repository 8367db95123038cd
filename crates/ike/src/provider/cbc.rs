//! AES-CBC by RustCrypto. IKE pads by itself (RFC 7296 §3.14), so no padding scheme is involved.

use aes::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use aes::{Aes128, Aes192, Aes256};

use super::{Cbc, CryptoError};

pub(super) struct AesCbc128;
pub(super) struct AesCbc192;
pub(super) struct AesCbc256;

macro_rules! aes_cbc {
    ($name:ty, $cipher:ty) => {
        impl Cbc for $name {
            fn encrypt(&self, key: &[u8], iv: &[u8; 16], text: &mut [u8]) -> Result<(), CryptoError> {
                let mut mode =
                    cbc::Encryptor::<$cipher>::new_from_slices(key, iv).map_err(|_| CryptoError)?;
                mode.encrypt_blocks(blocks::<$cipher>(text)?);
                Ok(())
            }

            fn decrypt(&self, key: &[u8], iv: &[u8; 16], text: &mut [u8]) -> Result<(), CryptoError> {
                let mut mode =
                    cbc::Decryptor::<$cipher>::new_from_slices(key, iv).map_err(|_| CryptoError)?;
                mode.decrypt_blocks(blocks::<$cipher>(text)?);
                Ok(())
            }
        }
    };
}

aes_cbc!(AesCbc128, Aes128);
aes_cbc!(AesCbc192, Aes192);
aes_cbc!(AesCbc256, Aes256);

fn blocks<C: BlockCipherEncrypt + BlockCipherDecrypt + KeyInit>(
    text: &mut [u8],
) -> Result<&mut [Block<C>], CryptoError> {
    match Block::<C>::slice_as_chunks_mut(text) {
        (blocks, []) => Ok(blocks),
        _ => Err(CryptoError),
    }
}
