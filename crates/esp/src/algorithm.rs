//! Algorithms of ESP and the lengths they imply.

use crate::Mode;

/// A cipher of ESP with its integrity. Every length that the packet path needs comes from the methods below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// AES-GCM with a 16-byte ICV and a 128-bit key (RFC 4106).
    AesGcm128,
    /// AES-GCM with a 16-byte ICV and a 192-bit key (RFC 4106).
    AesGcm192,
    /// AES-GCM with a 16-byte ICV and a 256-bit key (RFC 4106).
    AesGcm256,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-GMAC, authentication only, with a 128-bit key (RFC 4543).
    AesGmac128,
    /// AES-GMAC with a 192-bit key (RFC 4543).
    AesGmac192,
    /// AES-GMAC with a 256-bit key (RFC 4543).
    AesGmac256,
    /// AES-CBC with a 128-bit key (RFC 3602), authenticated by an HMAC.
    AesCbc128(Hmac),
    /// AES-CBC with a 192-bit key (RFC 3602), authenticated by an HMAC.
    AesCbc192(Hmac),
    /// AES-CBC with a 256-bit key (RFC 3602), authenticated by an HMAC.
    AesCbc256(Hmac),
    /// No encryption (RFC 2410), authenticated by an HMAC.
    Null(Hmac),
}

/// An integrity algorithm beside a cipher that has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hmac {
    /// HMAC-SHA1-96 (RFC 2404).
    Sha1_96,
    /// HMAC-SHA-256-128 (RFC 4868).
    Sha256_128,
    /// HMAC-SHA-384-192 (RFC 4868).
    Sha384_192,
    /// HMAC-SHA-512-256 (RFC 4868).
    Sha512_256,
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

impl Hmac {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1_96, Self::Sha256_128, Self::Sha384_192, Self::Sha512_256];

    /// Bytes of the key: as many as the hash has (RFC 2404 §3, RFC 4868 §2.1.1).
    pub const fn key_len(self) -> usize {
        match self {
            Self::Sha1_96 => 20,
            Self::Sha256_128 => 32,
            Self::Sha384_192 => 48,
            Self::Sha512_256 => 64,
        }
    }

    /// Bytes of the truncated code in a packet.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::Sha1_96 => 12,
            Self::Sha256_128 => 16,
            Self::Sha384_192 => 24,
            Self::Sha512_256 => 32,
        }
    }
}

impl Algorithm {
    /// All algorithms, for tests and benches.
    pub const ALL: [Self; 23] = [
        Self::AesGcm128,
        Self::AesGcm192,
        Self::AesGcm256,
        Self::ChaCha20Poly1305,
        Self::AesGmac128,
        Self::AesGmac192,
        Self::AesGmac256,
        Self::Null(Hmac::Sha1_96),
        Self::Null(Hmac::Sha256_128),
        Self::Null(Hmac::Sha384_192),
        Self::Null(Hmac::Sha512_256),
        Self::AesCbc128(Hmac::Sha1_96),
        Self::AesCbc128(Hmac::Sha256_128),
        Self::AesCbc128(Hmac::Sha384_192),
        Self::AesCbc128(Hmac::Sha512_256),
        Self::AesCbc192(Hmac::Sha1_96),
        Self::AesCbc192(Hmac::Sha256_128),
        Self::AesCbc192(Hmac::Sha384_192),
        Self::AesCbc192(Hmac::Sha512_256),
        Self::AesCbc256(Hmac::Sha1_96),
        Self::AesCbc256(Hmac::Sha256_128),
        Self::AesCbc256(Hmac::Sha384_192),
        Self::AesCbc256(Hmac::Sha512_256),
    ];

    /// The HMAC beside the cipher; `None` where one algorithm does both.
    pub const fn hmac(self) -> Option<Hmac> {
        match self {
            Self::AesCbc128(hmac) | Self::AesCbc192(hmac) | Self::AesCbc256(hmac) | Self::Null(hmac) => {
                Some(hmac)
            }
            _ => None,
        }
    }

    /// Bytes of the cipher key, without salt and without the key of the HMAC.
    pub const fn cipher_key_len(self) -> usize {
        match self {
            Self::AesGcm128 | Self::AesGmac128 | Self::AesCbc128(_) => 16,
            Self::AesGcm192 | Self::AesGmac192 | Self::AesCbc192(_) => 24,
            Self::AesGcm256 | Self::AesGmac256 | Self::AesCbc256(_) | Self::ChaCha20Poly1305 => 32,
            Self::Null(_) => 0,
        }
    }

    /// Bytes of the key: that of the cipher, and behind it that of the HMAC (the order of RFC 7296 §2.17), without the salt.
    pub const fn key_len(self) -> usize {
        match self.hmac() {
            Some(hmac) => self.cipher_key_len() + hmac.key_len(),
            None => self.cipher_key_len(),
        }
    }

    /// Bytes of salt that follow the key in the keying material (RFC 4106 §8.1, RFC 4543 §3.2, RFC 7634 §2).
    pub const fn salt_len(self) -> usize {
        if self.hmac().is_some() { 0 } else { 4 }
    }

    /// Bytes of keying material that the key exchange derives for one direction.
    pub const fn keying_material_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Whether the IV of each packet must be unpredictable, as that of AES-CBC (RFC 3602 §3), so that
    /// [`OutboundParameters::iv_key`](crate::OutboundParameters::iv_key) has to be random.
    pub const fn needs_random_iv(self) -> bool {
        matches!(self, Self::AesCbc128(_) | Self::AesCbc192(_) | Self::AesCbc256(_))
    }

    /// Bytes of IV between ESP header and ciphertext.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesCbc128(_) | Self::AesCbc192(_) | Self::AesCbc256(_) => 16,
            Self::Null(_) => 0,
            _ => 8,
        }
    }

    /// Bytes of integrity check value at the end of the packet.
    pub const fn icv_len(self) -> usize {
        match self.hmac() {
            Some(hmac) => hmac.icv_len(),
            None => 16,
        }
    }

    /// The ciphertext (payload, padding, trailer) is a multiple of this many bytes (RFC 4303 §2.4): the block of the cipher, at
    /// least 4. A power of two.
    pub const fn alignment(self) -> usize {
        if self.needs_random_iv() { 16 } else { 4 }
    }
}

/// What the packet path needs to know of an algorithm. AES-GCM and ChaCha20-Poly1305 have one shape, which is a constant where it
/// counts; the others carry theirs along.
pub(crate) trait Shape: Copy {
    fn iv_len(self) -> usize;
    fn icv_len(self) -> usize;
    fn alignment(self) -> usize;
    /// The data of a job begin with the IV, which is authenticated like the text.
    fn data_has_iv(self) -> bool;
    /// The SA is in transport mode.
    fn is_transport(self) -> bool;
}

/// AES-GCM and ChaCha20-Poly1305 in tunnel mode: the IV is in the nonce only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aead;

impl Shape for Aead {
    #[inline(always)]
    fn iv_len(self) -> usize {
        8
    }
    #[inline(always)]
    fn icv_len(self) -> usize {
        16
    }
    #[inline(always)]
    fn alignment(self) -> usize {
        4
    }
    #[inline(always)]
    fn data_has_iv(self) -> bool {
        false
    }
    #[inline(always)]
    fn is_transport(self) -> bool {
        false
    }
}

/// Any other algorithm, and transport mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    iv_len: u8,
    icv_len: u8,
    alignment: u8,
    data_has_iv: bool,
    is_transport: bool,
}

impl Other {
    /// `None` for what has the shape [`Aead`].
    pub(crate) fn of(algorithm: Algorithm, mode: Mode) -> Option<Self> {
        let data_has_iv = !matches!(
            algorithm,
            Algorithm::AesGcm128 | Algorithm::AesGcm192 | Algorithm::AesGcm256 | Algorithm::ChaCha20Poly1305
        );
        let is_transport = mode == Mode::Transport;
        (data_has_iv || is_transport).then_some(Self {
            iv_len: algorithm.iv_len() as u8,
            icv_len: algorithm.icv_len() as u8,
            alignment: algorithm.alignment() as u8,
            data_has_iv,
            is_transport,
        })
    }
}

impl Shape for Other {
    #[inline]
    fn iv_len(self) -> usize {
        self.iv_len.into()
    }
    #[inline]
    fn icv_len(self) -> usize {
        self.icv_len.into()
    }
    #[inline]
    fn alignment(self) -> usize {
        self.alignment.into()
    }
    #[inline]
    fn data_has_iv(self) -> bool {
        self.data_has_iv
    }
    #[inline]
    fn is_transport(self) -> bool {
        self.is_transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_shape_is_that_of_every_algorithm_that_has_no_other() {
        let with_constant_shape: Vec<_> =
            Algorithm::ALL.into_iter().filter(|of| Other::of(*of, Mode::Tunnel).is_none()).collect();
        assert_eq!(with_constant_shape.len(), 4);
        for algorithm in with_constant_shape {
            let lengths = (algorithm.iv_len(), algorithm.icv_len(), algorithm.alignment());
            assert_eq!(lengths, (Aead.iv_len(), Aead.icv_len(), Aead.alignment()));
        }
    }

    #[test]
    fn every_length_is_within_the_room_that_callers_leave() {
        for algorithm in Algorithm::ALL {
            assert!(40 + 8 + 8 + algorithm.iv_len() <= crate::MAX_HEADROOM);
            assert!(algorithm.alignment() - 1 + 2 + algorithm.icv_len() <= crate::MAX_TAILROOM);
            assert!(algorithm.alignment().is_power_of_two());
        }
    }
}
