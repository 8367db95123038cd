//! Key material of one direction of an SA: erased on drop, never printed.

use core::fmt;

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use ipsec_types::EspAlgorithm;

/// Octets of the key field of a record: AES-CBC-256 with HMAC-SHA-512.
pub const MAX_KEY_OCTETS: usize = 32 + 64;

/// The keys of one direction of an SA with the algorithm that determines their lengths.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeyMaterial {
    #[zeroize(skip)]
    algorithm: EspAlgorithm,
    /// Encryption key, then integrity key, then zeros.
    keys: [u8; MAX_KEY_OCTETS],
    salt: [u8; 4],
}

/// Keys that do not fit their algorithm. The caller cut the keying material (RFC 7296 §2.17)
/// wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{algorithm:?} takes {expected} octets of {part}, {given} were given; cut the keying material by the lengths of EspAlgorithm"
)]
pub struct KeyLengthError {
    /// The algorithm of the record.
    pub algorithm: EspAlgorithm,
    /// The part that is wrong:
    pub part: &'static str,
    /// The octets that the algorithm takes.
    pub expected: usize,
    /// The octets that were given.
    pub given: usize,
}

impl KeyMaterial {
    /// Keys for `algorithm`, each part with exactly the length of [`EspAlgorithm`] (empty if it has
    /// none).
    ///
    /// # Errors
    /// The first part whose length is wrong.
    pub fn new(
        algorithm: EspAlgorithm,
        encryption_key: &[u8],
        integrity_key: &[u8],
        salt: &[u8],
    ) -> Result<Self, KeyLengthError> {
        let check = |part, expected, given: &[u8]| {
            if given.len() == expected {
                Ok(())
            } else {
                Err(KeyLengthError { algorithm, part, expected, given: given.len() })
            }
        };
        check("encryption key", algorithm.cipher_key_len(), encryption_key)?;
        check("integrity key", algorithm.integrity_key_len(), integrity_key)?;
        check("salt", algorithm.salt_len(), salt)?;
        let mut material = Self { algorithm, keys: [0; MAX_KEY_OCTETS], salt: [0; 4] };
        let (encryption_field, rest) = material.keys.split_at_mut(encryption_key.len());
        encryption_field.copy_from_slice(encryption_key);
        rest[..integrity_key.len()].copy_from_slice(integrity_key);
        material.salt[..salt.len()].copy_from_slice(salt);
        Ok(material)
    }

    /// From the fields of a record; lengths follow from the algorithm, so any content is valid.
    pub(crate) fn from_fields(algorithm: EspAlgorithm, keys: &[u8; MAX_KEY_OCTETS], salt: [u8; 4]) -> Self {
        Self { algorithm, keys: *keys, salt }
    }

    /// The whole key field of a record.
    pub(crate) fn key_field(&self) -> &[u8; MAX_KEY_OCTETS] {
        &self.keys
    }

    /// The salt field of a record, zeros if the algorithm has no salt.
    pub(crate) fn salt_field(&self) -> [u8; 4] {
        self.salt
    }

    /// The algorithm that these keys are for.
    pub fn algorithm(&self) -> EspAlgorithm {
        self.algorithm
    }

    /// The encryption key (for AES-GMAC the GMAC key); empty for NULL.
    pub fn encryption_key(&self) -> &[u8] {
        &self.keys[..self.algorithm.cipher_key_len()]
    }

    /// The integrity key; empty for combined-mode algorithms.
    pub fn integrity_key(&self) -> &[u8] {
        let algorithm = self.algorithm;
        &self.keys[algorithm.cipher_key_len()..algorithm.cipher_key_len() + algorithm.integrity_key_len()]
    }

    /// Encryption key and integrity key, one behind the other.
    pub fn both_keys(&self) -> &[u8] {
        let algorithm = self.algorithm;
        &self.keys[..algorithm.cipher_key_len() + algorithm.integrity_key_len()]
    }

    /// The salt, first four octets of the nonce; empty where the algorithm has none.
    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.algorithm.salt_len()]
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMaterial({:?}, redacted)", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipsec_types::Hmac;

    #[test]
    fn parts_are_given_back_as_they_came() {
        let keys =
            KeyMaterial::new(EspAlgorithm::AesCbc128(Hmac::Sha256_128), &[1; 16], &[2; 32], &[]).unwrap();
        assert_eq!(
            (keys.encryption_key(), keys.integrity_key(), keys.salt()),
            (&[1; 16][..], &[2; 32][..], &[][..])
        );
        let keys = KeyMaterial::new(EspAlgorithm::AesGcm256, &[3; 32], &[], &[4; 4]).unwrap();
        assert_eq!(
            (keys.encryption_key(), keys.integrity_key(), keys.salt()),
            (&[3; 32][..], &[][..], &[4; 4][..])
        );
    }

    #[test]
    fn a_wrong_length_names_part_and_both_lengths() {
        let error = KeyMaterial::new(EspAlgorithm::AesGcm128, &[0; 20], &[], &[0; 4]).unwrap_err();
        assert_eq!((error.part, error.expected, error.given), ("encryption key", 16, 20));
        let error = KeyMaterial::new(EspAlgorithm::AesGcm128, &[0; 16], &[], &[]).unwrap_err();
        assert_eq!((error.part, error.expected, error.given), ("salt", 4, 0));
    }

    #[test]
    fn debug_shows_no_octet_of_a_key() {
        let keys = KeyMaterial::new(EspAlgorithm::AesGcm128, &[0xab; 16], &[], &[0xcd; 4]).unwrap();
        assert_eq!(format!("{keys:?}"), "KeyMaterial(AesGcm128, redacted)");
    }

    #[test]
    fn zeroize_clears_keys_and_salt() {
        let mut keys = KeyMaterial::new(EspAlgorithm::AesGcm128, &[0xab; 16], &[], &[0xcd; 4]).unwrap();
        keys.zeroize();
        assert_eq!((keys.key_field(), keys.salt_field()), (&[0; MAX_KEY_OCTETS], [0; 4]));
    }
}
