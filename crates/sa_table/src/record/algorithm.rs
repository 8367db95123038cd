//! The ESP algorithms an SA record can name, with their key, salt and check value lengths.

/// An ESP cipher with its integrity algorithm. The numbers are part of the segment layout and are never
/// given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Algorithm {
    /// AES-GCM with a 16-octet ICV and a 128-bit key (RFC 4106).
    AesGcm128 = 0x11,
    /// AES-GCM with a 16-octet ICV and a 192-bit key (RFC 4106).
    AesGcm192 = 0x12,
    /// AES-GCM with a 16-octet ICV and a 256-bit key (RFC 4106).
    AesGcm256 = 0x13,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305 = 0x18,
    /// AES-GMAC, authentication only, 128-bit key (RFC 4543).
    AesGmac128 = 0x21,
    /// AES-GMAC, authentication only, 192-bit key (RFC 4543).
    AesGmac192 = 0x22,
    /// AES-GMAC, authentication only, 256-bit key (RFC 4543).
    AesGmac256 = 0x23,
    /// NULL encryption (RFC 2410) with HMAC-SHA1-96 (RFC 2404).
    NullHmacSha1 = 0x31,
    /// NULL encryption with HMAC-SHA-256-128 (RFC 4868).
    NullHmacSha256 = 0x32,
    /// NULL encryption with HMAC-SHA-384-192 (RFC 4868).
    NullHmacSha384 = 0x33,
    /// NULL encryption with HMAC-SHA-512-256 (RFC 4868).
    NullHmacSha512 = 0x34,
    /// AES-CBC with a 128-bit key (RFC 3602) and HMAC-SHA1-96.
    AesCbc128HmacSha1 = 0x41,
    /// AES-CBC with a 128-bit key and HMAC-SHA-256-128.
    AesCbc128HmacSha256 = 0x42,
    /// AES-CBC with a 128-bit key and HMAC-SHA-384-192.
    AesCbc128HmacSha384 = 0x43,
    /// AES-CBC with a 128-bit key and HMAC-SHA-512-256.
    AesCbc128HmacSha512 = 0x44,
    /// AES-CBC with a 192-bit key and HMAC-SHA1-96.
    AesCbc192HmacSha1 = 0x51,
    /// AES-CBC with a 192-bit key and HMAC-SHA-256-128.
    AesCbc192HmacSha256 = 0x52,
    /// AES-CBC with a 192-bit key and HMAC-SHA-384-192.
    AesCbc192HmacSha384 = 0x53,
    /// AES-CBC with a 192-bit key and HMAC-SHA-512-256.
    AesCbc192HmacSha512 = 0x54,
    /// AES-CBC with a 256-bit key and HMAC-SHA1-96.
    AesCbc256HmacSha1 = 0x61,
    /// AES-CBC with a 256-bit key and HMAC-SHA-256-128.
    AesCbc256HmacSha256 = 0x62,
    /// AES-CBC with a 256-bit key and HMAC-SHA-384-192.
    AesCbc256HmacSha384 = 0x63,
    /// AES-CBC with a 256-bit key and HMAC-SHA-512-256.
    AesCbc256HmacSha512 = 0x64,
}

/// Lengths in octets of what an algorithm needs, and of what it adds to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmLengths {
    /// Encryption key (for AES-GMAC: the GMAC key), without the salt.
    pub encryption_key: usize,
    /// Integrity key; 0 for combined-mode algorithms.
    pub integrity_key: usize,
    /// Salt: the implicit part of the nonce, 0 where there is none.
    pub salt: usize,
    /// IV carried in each packet.
    pub iv: usize,
    /// Integrity check value carried in each packet.
    pub icv: usize,
}

const NULL_CIPHER: (usize, usize) = (0, 0);
const SHA1_96: (usize, usize) = (20, 12);
const SHA256_128: (usize, usize) = (32, 16);
const SHA384_192: (usize, usize) = (48, 24);
const SHA512_256: (usize, usize) = (64, 32);

impl Algorithm {
    /// Every algorithm, in the order of the numbers.
    pub const ALL: [Self; 23] = [
        Self::AesGcm128,
        Self::AesGcm192,
        Self::AesGcm256,
        Self::ChaCha20Poly1305,
        Self::AesGmac128,
        Self::AesGmac192,
        Self::AesGmac256,
        Self::NullHmacSha1,
        Self::NullHmacSha256,
        Self::NullHmacSha384,
        Self::NullHmacSha512,
        Self::AesCbc128HmacSha1,
        Self::AesCbc128HmacSha256,
        Self::AesCbc128HmacSha384,
        Self::AesCbc128HmacSha512,
        Self::AesCbc192HmacSha1,
        Self::AesCbc192HmacSha256,
        Self::AesCbc192HmacSha384,
        Self::AesCbc192HmacSha512,
        Self::AesCbc256HmacSha1,
        Self::AesCbc256HmacSha256,
        Self::AesCbc256HmacSha384,
        Self::AesCbc256HmacSha512,
    ];

    /// The algorithm with this number in a segment.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| *algorithm as u16 == number)
    }

    /// What the algorithm needs and adds, in octets.
    pub const fn lengths(self) -> AlgorithmLengths {
        match self {
            Self::AesGcm128 | Self::AesGmac128 => combined(16),
            Self::AesGcm192 | Self::AesGmac192 => combined(24),
            Self::AesGcm256 | Self::AesGmac256 | Self::ChaCha20Poly1305 => combined(32),
            Self::NullHmacSha1 => separate(NULL_CIPHER, SHA1_96),
            Self::NullHmacSha256 => separate(NULL_CIPHER, SHA256_128),
            Self::NullHmacSha384 => separate(NULL_CIPHER, SHA384_192),
            Self::NullHmacSha512 => separate(NULL_CIPHER, SHA512_256),
            Self::AesCbc128HmacSha1 => separate((16, 16), SHA1_96),
            Self::AesCbc128HmacSha256 => separate((16, 16), SHA256_128),
            Self::AesCbc128HmacSha384 => separate((16, 16), SHA384_192),
            Self::AesCbc128HmacSha512 => separate((16, 16), SHA512_256),
            Self::AesCbc192HmacSha1 => separate((24, 16), SHA1_96),
            Self::AesCbc192HmacSha256 => separate((24, 16), SHA256_128),
            Self::AesCbc192HmacSha384 => separate((24, 16), SHA384_192),
            Self::AesCbc192HmacSha512 => separate((24, 16), SHA512_256),
            Self::AesCbc256HmacSha1 => separate((32, 16), SHA1_96),
            Self::AesCbc256HmacSha256 => separate((32, 16), SHA256_128),
            Self::AesCbc256HmacSha384 => separate((32, 16), SHA384_192),
            Self::AesCbc256HmacSha512 => separate((32, 16), SHA512_256),
        }
    }
}

/// RFC 4106, RFC 4543 and RFC 7634 share salt, IV and ICV lengths.
const fn combined(encryption_key: usize) -> AlgorithmLengths {
    AlgorithmLengths { encryption_key, integrity_key: 0, salt: 4, iv: 8, icv: 16 }
}

/// A cipher (key, IV) beside an integrity algorithm (key, ICV).
const fn separate(cipher: (usize, usize), integrity: (usize, usize)) -> AlgorithmLengths {
    AlgorithmLengths {
        encryption_key: cipher.0,
        integrity_key: integrity.0,
        salt: 0,
        iv: cipher.1,
        icv: integrity.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::MAX_KEY_OCTETS;

    #[test]
    fn numbers_lead_back_to_their_algorithm_and_rise() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_number(algorithm as u16), Some(algorithm));
        }
        assert!(Algorithm::ALL.windows(2).all(|pair| (pair[0] as u16) < pair[1] as u16));
        assert_eq!(Algorithm::from_number(0), None);
    }

    #[test]
    fn the_longest_keys_fill_the_key_field_exactly() {
        let longest =
            Algorithm::ALL.iter().map(|a| a.lengths().encryption_key + a.lengths().integrity_key).max();
        assert_eq!(longest, Some(MAX_KEY_OCTETS));
    }

    #[test]
    fn lengths_are_those_of_the_rfcs() {
        let cbc = Algorithm::AesCbc256HmacSha384.lengths();
        assert_eq!((cbc.encryption_key, cbc.integrity_key, cbc.iv, cbc.icv, cbc.salt), (32, 48, 16, 24, 0));
        let gcm = Algorithm::AesGcm192.lengths();
        assert_eq!((gcm.encryption_key, gcm.integrity_key, gcm.iv, gcm.icv, gcm.salt), (24, 0, 8, 16, 4));
    }
}
