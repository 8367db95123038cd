//! Numbers of the ESP algorithms in SA records.

use ipsec_types::{EspAlgorithm, Hmac};

/// The number of an algorithm in a record. The numbers are part of the segment layout and are never
/// given a second meaning.
pub(crate) const fn number(algorithm: EspAlgorithm) -> u16 {
    match algorithm {
        EspAlgorithm::AesGcm128 => 0x11,
        EspAlgorithm::AesGcm192 => 0x12,
        EspAlgorithm::AesGcm256 => 0x13,
        EspAlgorithm::ChaCha20Poly1305 => 0x18,
        EspAlgorithm::AesGmac128 => 0x21,
        EspAlgorithm::AesGmac192 => 0x22,
        EspAlgorithm::AesGmac256 => 0x23,
        EspAlgorithm::Null(hmac) => 0x30 + hmac_number(hmac),
        EspAlgorithm::AesCbc128(hmac) => 0x40 + hmac_number(hmac),
        EspAlgorithm::AesCbc192(hmac) => 0x50 + hmac_number(hmac),
        EspAlgorithm::AesCbc256(hmac) => 0x60 + hmac_number(hmac),
    }
}

const fn hmac_number(hmac: Hmac) -> u16 {
    match hmac {
        Hmac::Sha1_96 => 1,
        Hmac::Sha256_128 => 2,
        Hmac::Sha384_192 => 3,
        Hmac::Sha512_256 => 4,
    }
}

/// The algorithm with this number in a record.
pub(crate) fn from_number(wanted: u16) -> Option<EspAlgorithm> {
    EspAlgorithm::ALL.into_iter().find(|algorithm| number(*algorithm) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::MAX_KEY_OCTETS;

    #[test]
    fn numbers_lead_back_to_their_algorithm() {
        for algorithm in EspAlgorithm::ALL {
            assert_eq!(from_number(number(algorithm)), Some(algorithm));
        }
        assert_eq!(from_number(0), None);
    }

    #[test]
    fn the_longest_keys_fill_the_key_field_exactly() {
        let longest = EspAlgorithm::ALL.iter().map(|algorithm| algorithm.key_len()).max();
        assert_eq!(longest, Some(MAX_KEY_OCTETS));
    }
}
