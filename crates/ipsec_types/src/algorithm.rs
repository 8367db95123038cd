//! Algorithms of ESP and the lengths they imply.

/// A cipher of ESP with its integrity. Every length that the packet path needs comes from the
/// methods below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EspAlgorithm {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

impl EspAlgorithm {
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

    /// Bytes of the HMAC's key; 0 where one algorithm does both.
    pub const fn integrity_key_len(self) -> usize {
        match self.hmac() {
            Some(hmac) => hmac.key_len(),
            None => 0,
        }
    }

    /// Bytes of the key: that of the cipher, and behind it that of the HMAC (the order of RFC 7296
    /// §2.17), without the salt.
    pub const fn key_len(self) -> usize {
        self.cipher_key_len() + self.integrity_key_len()
    }

    /// Bytes of salt that follow the key in the keying material (RFC 4106 §8.1, RFC 4543 §3.2, RFC
    /// 7634 §2).
    pub const fn salt_len(self) -> usize {
        if self.hmac().is_some() { 0 } else { 4 }
    }

    /// Bytes of keying material that the key exchange derives for one direction.
    pub const fn keying_material_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Whether the IV of each packet must be unpredictable, as that of AES-CBC (RFC 3602 §3).
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

    /// The ciphertext (payload, padding, trailer) is a multiple of this many bytes (RFC 4303 §2.4):
    /// the block of the cipher, at least 4. A power of two.
    pub const fn alignment(self) -> usize {
        if self.needs_random_iv() { 16 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_rfcs() {
        let cbc = EspAlgorithm::AesCbc256(Hmac::Sha384_192);
        assert_eq!((cbc.cipher_key_len(), cbc.integrity_key_len(), cbc.key_len()), (32, 48, 80));
        assert_eq!((cbc.iv_len(), cbc.icv_len(), cbc.salt_len(), cbc.alignment()), (16, 24, 0, 16));
        let gcm = EspAlgorithm::AesGcm192;
        assert_eq!((gcm.cipher_key_len(), gcm.integrity_key_len(), gcm.keying_material_len()), (24, 0, 28));
        assert_eq!((gcm.iv_len(), gcm.icv_len(), gcm.salt_len(), gcm.alignment()), (8, 16, 4, 4));
    }

    #[test]
    fn every_algorithm_is_listed_once() {
        let distinct: std::collections::BTreeSet<_> = EspAlgorithm::ALL.into_iter().collect();
        assert_eq!(distinct.len(), EspAlgorithm::ALL.len());
    }
}
