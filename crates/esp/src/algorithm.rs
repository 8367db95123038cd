//! Encryption algorithms of ESP and the lengths they imply.

/// An ESP algorithm. Further ones (ChaCha20-Poly1305, AES-CBC with HMAC, NULL with HMAC, GMAC) become variants here; every
/// length that the packet path needs comes from the methods below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// AES-GCM with a 16-byte ICV and a 128-bit key (RFC 4106).
    AesGcm128,
    /// AES-GCM with a 16-byte ICV and a 192-bit key (RFC 4106).
    AesGcm192,
    /// AES-GCM with a 16-byte ICV and a 256-bit key (RFC 4106).
    AesGcm256,
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key's length does not fit the algorithm.
    #[error("{algorithm:?} takes a key of {expected} bytes, not {actual}: negotiate the matching key length")]
    Length {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// Bytes that it takes, salt excluded.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
}

impl Algorithm {
    /// All algorithms, for tests and benches.
    pub const ALL: [Self; 3] = [Self::AesGcm128, Self::AesGcm192, Self::AesGcm256];

    /// Bytes of the cipher key, without the salt.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesGcm128 => 16,
            Self::AesGcm192 => 24,
            Self::AesGcm256 => 32,
        }
    }

    /// Bytes of salt that follow the key in the keying material (RFC 4106 §8.1).
    pub const fn salt_len(self) -> usize {
        4
    }

    /// Bytes of keying material that the key exchange derives for one direction.
    pub const fn keying_material_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Bytes of IV between ESP header and ciphertext.
    pub const fn iv_len(self) -> usize {
        8
    }

    /// Bytes of integrity check value at the end of the packet.
    pub const fn icv_len(self) -> usize {
        16
    }

    /// The ciphertext (payload, padding, trailer) is a multiple of this many bytes (RFC 4303 §2.4).
    pub const fn alignment(self) -> usize {
        4
    }
}
