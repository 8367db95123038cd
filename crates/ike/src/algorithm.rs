//! Algorithm names with their IANA transform numbers (RFC 7296 §3.3.2) and key lengths.

/// An ESP or IKE encryption algorithm. The key length is always part of the name and always sent
/// (RFC 7296 §3.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    /// AES-GCM with a 16-octet ICV and a 128-bit key (RFC 4106, RFC 5282).
    AesGcm128,
    /// The same with a 192-bit key.
    AesGcm192,
    /// The same with a 256-bit key.
    AesGcm256,
    /// ChaCha20-Poly1305 (RFC 7634); ESP only.
    ChaCha20Poly1305,
    /// AES-CBC with a 128-bit key (RFC 3602).
    AesCbc128,
    /// The same with a 192-bit key.
    AesCbc192,
    /// The same with a 256-bit key.
    AesCbc256,
    /// NULL (RFC 2410): integrity only; ESP only.
    Null,
    /// AES-GMAC with a 128-bit key (RFC 4543): integrity only; ESP only.
    AesGmac128,
    /// The same with a 192-bit key.
    AesGmac192,
    /// The same with a 256-bit key.
    AesGmac256,
}

impl Encryption {
    /// Every value, strongest combined modes first.
    pub const ALL: [Encryption; 11] = [
        Encryption::AesGcm256,
        Encryption::AesGcm192,
        Encryption::AesGcm128,
        Encryption::ChaCha20Poly1305,
        Encryption::AesCbc256,
        Encryption::AesCbc192,
        Encryption::AesCbc128,
        Encryption::AesGmac256,
        Encryption::AesGmac192,
        Encryption::AesGmac128,
        Encryption::Null,
    ];

    /// (transform ID, key length attribute in bits if the algorithm has one).
    pub fn transform(self) -> (u16, Option<u16>) {
        match self {
            Encryption::Null => (11, None),
            Encryption::AesCbc128 => (12, Some(128)),
            Encryption::AesCbc192 => (12, Some(192)),
            Encryption::AesCbc256 => (12, Some(256)),
            Encryption::AesGcm128 => (20, Some(128)),
            Encryption::AesGcm192 => (20, Some(192)),
            Encryption::AesGcm256 => (20, Some(256)),
            Encryption::AesGmac128 => (21, Some(128)),
            Encryption::AesGmac192 => (21, Some(192)),
            Encryption::AesGmac256 => (21, Some(256)),
            Encryption::ChaCha20Poly1305 => (28, None),
        }
    }

    /// The algorithm of this transform; `None` for one that is not implemented, or without its key
    /// length.
    pub fn from_transform(id: u16, key_bits: Option<u16>) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.transform() == (id, key_bits))
    }

    /// Key length in octets, without the salt.
    pub fn key_len(self) -> usize {
        match self {
            Encryption::Null => 0,
            Encryption::ChaCha20Poly1305 => 32,
            _ => usize::from(self.transform().1.unwrap_or(0)) / 8,
        }
    }

    /// Octets of salt that follow the key in the keying material (RFC 4106 §8.1, RFC 5282 §7.1, RFC
    /// 7634 §2).
    pub fn salt_len(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }

    /// Combined mode: it brings its own integrity and is proposed without an integrity transform.
    pub fn is_aead(self) -> bool {
        !matches!(
            self,
            Encryption::Null | Encryption::AesCbc128 | Encryption::AesCbc192 | Encryption::AesCbc256
        )
    }

    /// May protect IKE messages here.
    pub fn usable_for_ike(self) -> bool {
        matches!(
            self,
            Encryption::AesGcm128
                | Encryption::AesGcm192
                | Encryption::AesGcm256
                | Encryption::AesCbc128
                | Encryption::AesCbc192
                | Encryption::AesCbc256
        )
    }
}

/// An integrity algorithm of a non-combined mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    /// AUTH_HMAC_SHA1_96 (RFC 2404).
    HmacSha1_96,
    /// AUTH_HMAC_SHA2_256_128 (RFC 4868).
    HmacSha256_128,
    /// AUTH_HMAC_SHA2_384_192 (RFC 4868).
    HmacSha384_192,
    /// AUTH_HMAC_SHA2_512_256 (RFC 4868).
    HmacSha512_256,
}

impl Integrity {
    /// Every value.
    pub const ALL: [Integrity; 4] = [
        Integrity::HmacSha512_256,
        Integrity::HmacSha384_192,
        Integrity::HmacSha256_128,
        Integrity::HmacSha1_96,
    ];

    /// IANA transform ID of type 3.
    pub fn transform(self) -> u16 {
        match self {
            Integrity::HmacSha1_96 => 2,
            Integrity::HmacSha256_128 => 12,
            Integrity::HmacSha384_192 => 13,
            Integrity::HmacSha512_256 => 14,
        }
    }

    /// The algorithm of this transform ID, if implemented.
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.transform() == id)
    }

    /// The hash underneath, as the PRF of the same HMAC.
    pub fn prf(self) -> Prf {
        match self {
            Integrity::HmacSha1_96 => Prf::HmacSha1,
            Integrity::HmacSha256_128 => Prf::HmacSha256,
            Integrity::HmacSha384_192 => Prf::HmacSha384,
            Integrity::HmacSha512_256 => Prf::HmacSha512,
        }
    }

    /// Key length in octets: the length of the hash (RFC 4868 §2.1.1).
    pub fn key_len(self) -> usize {
        self.prf().output_len()
    }

    /// Length of the truncated integrity check value in octets.
    pub fn icv_len(self) -> usize {
        match self {
            Integrity::HmacSha1_96 => 12,
            _ => self.key_len() / 2,
        }
    }
}

/// A pseudo-random function of IKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prf {
    /// PRF_HMAC_SHA1 (RFC 2104).
    HmacSha1,
    /// PRF_HMAC_SHA2_256 (RFC 4868).
    HmacSha256,
    /// PRF_HMAC_SHA2_384 (RFC 4868).
    HmacSha384,
    /// PRF_HMAC_SHA2_512 (RFC 4868).
    HmacSha512,
}

impl Prf {
    /// Every value.
    pub const ALL: [Prf; 4] = [Prf::HmacSha512, Prf::HmacSha384, Prf::HmacSha256, Prf::HmacSha1];

    /// IANA transform ID of type 2.
    pub fn transform(self) -> u16 {
        match self {
            Prf::HmacSha1 => 2,
            Prf::HmacSha256 => 5,
            Prf::HmacSha384 => 6,
            Prf::HmacSha512 => 7,
        }
    }

    /// The PRF of this transform ID, if implemented.
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|prf| prf.transform() == id)
    }

    /// Output length in octets, which is also its preferred key length (RFC 7296 §2.13).
    pub fn output_len(self) -> usize {
        match self {
            Prf::HmacSha1 => 20,
            Prf::HmacSha256 => 32,
            Prf::HmacSha384 => 48,
            Prf::HmacSha512 => 64,
        }
    }
}

/// A key exchange method (RFC 7296 §3.3.2 transform type 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 2048-bit MODP (RFC 3526), number 14.
    Modp2048,
    /// 3072-bit MODP, number 15.
    Modp3072,
    /// 4096-bit MODP, number 16.
    Modp4096,
    /// 256-bit random ECP, P-256 (RFC 5903), number 19.
    Ecp256,
    /// 384-bit random ECP, P-384, number 20.
    Ecp384,
    /// 521-bit random ECP, P-521, number 21.
    Ecp521,
    /// Curve25519 (RFC 8031), number 31.
    Curve25519,
    /// ML-KEM-768 (FIPS 203, draft-ietf-ipsecme-ikev2-mlkem), number 36; as an additional exchange
    /// only (RFC 9370).
    MlKem768,
}

impl Group {
    /// Every value.
    pub const ALL: [Group; 8] = [
        Group::Modp2048,
        Group::Modp3072,
        Group::Modp4096,
        Group::Ecp256,
        Group::Ecp384,
        Group::Ecp521,
        Group::Curve25519,
        Group::MlKem768,
    ];

    /// IANA number, as in the configuration (`group 19`).
    pub fn number(self) -> u16 {
        match self {
            Group::Modp2048 => 14,
            Group::Modp3072 => 15,
            Group::Modp4096 => 16,
            Group::Ecp256 => 19,
            Group::Ecp384 => 20,
            Group::Ecp521 => 21,
            Group::Curve25519 => 31,
            Group::MlKem768 => 36,
        }
    }

    /// A key encapsulation method: the two ends send different things, and it is not used in
    /// IKE_SA_INIT, whose messages cannot be fragmented (RFC 7383 §2.2).
    pub fn is_kem(self) -> bool {
        self == Group::MlKem768
    }

    /// The group of this number, if implemented.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7296 §3.3.2
    #[test]
    fn every_transform_number_finds_its_algorithm_again() {
        for algorithm in Encryption::ALL {
            let (id, bits) = algorithm.transform();
            assert_eq!(Encryption::from_transform(id, bits), Some(algorithm));
        }
        for algorithm in Integrity::ALL {
            assert_eq!(Integrity::from_transform(algorithm.transform()), Some(algorithm));
        }
        for prf in Prf::ALL {
            assert_eq!(Prf::from_transform(prf.transform()), Some(prf));
        }
        for group in Group::ALL {
            assert_eq!(Group::from_number(group.number()), Some(group));
        }
    }

    /// RFC 7296 §3.3.5
    #[test]
    fn a_key_length_is_never_guessed() {
        assert_eq!(Encryption::from_transform(12, None), None);
        assert_eq!(Encryption::from_transform(20, Some(127)), None);
        assert_eq!(Encryption::from_transform(28, Some(256)), None);
    }

    /// RFC 4868 §2.1.1; RFC 7634 §2
    #[test]
    fn keys_are_as_long_as_the_hash_and_salts_as_the_mode_wants() {
        assert_eq!(Integrity::HmacSha256_128.key_len(), 32);
        assert_eq!(Integrity::HmacSha384_192.key_len(), 48);
        assert_eq!(Integrity::HmacSha512_256.key_len(), 64);
        let chacha = Encryption::ChaCha20Poly1305;
        assert_eq!((chacha.key_len(), chacha.salt_len()), (32, 4));
    }
}
