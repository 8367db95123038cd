//! ML-KEM-768 (FIPS 203) as a key exchange method (draft-ietf-ipsecme-ikev2-mlkem).
//!
//! The initiator sends an encapsulation key, the responder a ciphertext. The library draws its
//! randomness itself and takes none from outside, so a simulation with a seed repeats in everything
//! but these bytes.

use aws_lc_rs::kem::{self, ML_KEM_768};

use super::{CryptoError, KeyExchange, PrivateKey};
use crate::random::Random;
use crate::secret::Secret;

pub(super) struct MlKem768;

/// Octets of an encapsulation key and of a ciphertext (FIPS 203 §8, table 3).
const ENCAPSULATION_KEY: usize = 1184;
const CIPHERTEXT: usize = 1088;

impl KeyExchange for MlKem768 {
    fn generate(&'static self, _: &mut dyn Random) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let key = kem::DecapsulationKey::generate(&ML_KEM_768).map_err(|_| CryptoError)?;
        let public = key.encapsulation_key().and_then(|key| key.key_bytes()).map_err(|_| CryptoError)?;
        let public = public.as_ref().to_vec();
        Ok((Box::new(Decapsulation(key)), public))
    }

    fn respond(&'static self, _: &mut dyn Random, peer: &[u8]) -> Result<(Vec<u8>, Secret), CryptoError> {
        // FIPS 203 §7.2: the type check is the length; the modulus check is the library's, which
        // refuses the key.
        if peer.len() != ENCAPSULATION_KEY {
            return Err(CryptoError);
        }
        let key = kem::EncapsulationKey::new(&ML_KEM_768, peer).map_err(|_| CryptoError)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| CryptoError)?;
        Ok((ciphertext.as_ref().to_vec(), Secret::from(secret.as_ref())))
    }
}

struct Decapsulation(kem::DecapsulationKey);

impl PrivateKey for Decapsulation {
    /// A ciphertext made for another key yields a pseudorandom secret (implicit rejection, FIPS 203
    /// §6.3), so the messages that follow fail authentication.
    fn agree(&self, peer: &[u8]) -> Result<Secret, CryptoError> {
        if peer.len() != CIPHERTEXT {
            return Err(CryptoError);
        }
        let secret = self.0.decapsulate(peer.into()).map_err(|_| CryptoError)?;
        Ok(Secret::from(secret.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// The first vector of kat_MLKEM_768.rsp (FIPS 203), as the cryptography project distributes
    /// it: a ciphertext that was made for the key, and one that was not, which implicit rejection
    /// answers by a secret of its own.
    #[test]
    fn the_published_ciphertexts_give_the_published_secrets() {
        let key = hex(include_str!("vectors/mlkem768_decapsulation_key.hex"));
        let key = Decapsulation(kem::DecapsulationKey::new(&ML_KEM_768, &key).unwrap());
        let right = hex(include_str!("vectors/mlkem768_ciphertext.hex"));
        let foreign = hex(include_str!("vectors/mlkem768_foreign_ciphertext.hex"));
        let secret = |ciphertext: &[u8]| key.agree(ciphertext).unwrap().expose().to_vec();
        assert_eq!(secret(&right), hex(include_str!("vectors/mlkem768_secret.hex")));
        assert_eq!(secret(&foreign), hex(include_str!("vectors/mlkem768_foreign_secret.hex")));
    }

    #[test]
    fn both_ends_get_the_same_secret() {
        let (private, public) = MlKem768.generate(&mut SystemRandom).unwrap();
        assert_eq!(public.len(), ENCAPSULATION_KEY);
        let (ciphertext, theirs) = MlKem768.respond(&mut SystemRandom, &public).unwrap();
        assert_eq!(ciphertext.len(), CIPHERTEXT);
        assert_eq!(private.agree(&ciphertext).unwrap(), theirs);
        assert_eq!(theirs.len(), 32);
    }

    #[test]
    fn wrong_lengths_and_coefficients_beyond_the_modulus_are_refused() {
        let (private, public) = MlKem768.generate(&mut SystemRandom).unwrap();
        assert!(private.agree(&[0; CIPHERTEXT - 1]).is_err());
        assert!(MlKem768.respond(&mut SystemRandom, &public[1..]).is_err());
        let mut beyond = public;
        beyond[..3].fill(0xff);
        assert!(MlKem768.respond(&mut SystemRandom, &beyond).is_err(), "FIPS 203 §7.2, modulus check");
    }
}
