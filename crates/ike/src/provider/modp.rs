//! MODP groups 14 to 16 (RFC 3526) by Montgomery arithmetic in constant time in the private
//! exponent.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Encoding, Odd, U2048, U3072, U4096, Uint};
use zeroize::{Zeroize, Zeroizing};

use super::{CryptoError, KeyExchange, PrivateKey};
use crate::random::Random;
use crate::secret::Secret;

/// A MODP group with generator 2.
pub(super) struct Modp<const LIMBS: usize> {
    parameters: LazyLock<FixedMontyParams<LIMBS>>,
    /// Octets of private exponent: at least the second estimate of RFC 3526 §8.
    exponent_len: usize,
}

pub(super) static MODP_2048: Modp<{ U2048::LIMBS }> =
    Modp { parameters: LazyLock::new(|| parameters(U2048::from_be_hex(PRIME_2048))), exponent_len: 40 };
pub(super) static MODP_3072: Modp<{ U3072::LIMBS }> =
    Modp { parameters: LazyLock::new(|| parameters(U3072::from_be_hex(PRIME_3072))), exponent_len: 56 };
pub(super) static MODP_4096: Modp<{ U4096::LIMBS }> =
    Modp { parameters: LazyLock::new(|| parameters(U4096::from_be_hex(PRIME_4096))), exponent_len: 64 };

impl<const LIMBS: usize> KeyExchange for Modp<LIMBS>
where
    Uint<LIMBS>: Encoding,
{
    fn generate(
        &'static self,
        random: &mut dyn Random,
    ) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let mut bytes = Zeroizing::new(vec![0; LIMBS * 8]);
        let start = bytes.len().saturating_sub(self.exponent_len);
        random.fill(&mut bytes[start..]);
        let exponent = from_bytes::<LIMBS>(&bytes)?;
        let key = ModpKey { exponent, bits: (self.exponent_len * 8) as u32, parameters: &self.parameters };
        let public = key.raise(&Uint::from(2u8)).to_be_bytes().as_ref().to_vec();
        Ok((Box::new(key), public))
    }
}

struct ModpKey<const LIMBS: usize> {
    exponent: Uint<LIMBS>,
    bits: u32,
    parameters: &'static FixedMontyParams<LIMBS>,
}

impl<const LIMBS: usize> ModpKey<LIMBS> {
    fn raise(&self, base: &Uint<LIMBS>) -> Uint<LIMBS> {
        FixedMontyForm::new(base, self.parameters).pow_bounded_exp(&self.exponent, self.bits).retrieve()
    }
}

impl<const LIMBS: usize> Drop for ModpKey<LIMBS> {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

impl<const LIMBS: usize> PrivateKey for ModpKey<LIMBS>
where
    Uint<LIMBS>: Encoding,
{
    fn agree(&self, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        let public = from_bytes::<LIMBS>(peer_public)?;
        // RFC 6989 §2.1: 1 < y < p - 1. The groups have safe primes, so no further check is needed
        // with ephemeral keys.
        let last = self.parameters.modulus().get().wrapping_sub(&Uint::ONE);
        if public <= Uint::ONE || public >= last {
            return Err(CryptoError);
        }
        let mut shared = self.raise(&public);
        // RFC 7296 §2.14: g^ir has the length of the modulus, with leading zeros.
        let secret = Secret::new(shared.to_be_bytes().as_ref().to_vec());
        shared.zeroize();
        Ok(secret)
    }
}

/// # Panics
/// If `prime` is even, which none of the constants below is.
fn parameters<const LIMBS: usize>(prime: Uint<LIMBS>) -> FixedMontyParams<LIMBS> {
    match Odd::new(prime).into_option() {
        Some(prime) => FixedMontyParams::new_vartime(prime),
        None => unreachable!("the primes of RFC 3526 are odd"),
    }
}

fn from_bytes<const LIMBS: usize>(bytes: &[u8]) -> Result<Uint<LIMBS>, CryptoError> {
    if bytes.len() != LIMBS * 8 {
        return Err(CryptoError);
    }
    Ok(Uint::from_be_slice(bytes))
}

const PRIME_2048: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
);

const PRIME_3072: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7",
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C",
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
);

const PRIME_4096: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7",
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C",
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7",
    "88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6",
    "287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9",
    "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Group;
    use crate::provider::DEFAULT;
    use crate::random::SystemRandom;

    /// RFC 3526 §8
    #[test]
    fn exponents_have_the_length_that_the_second_estimate_asks_for() {
        let bits =
            [(MODP_2048.exponent_len, 320), (MODP_3072.exponent_len, 420), (MODP_4096.exponent_len, 480)];
        assert!(bits.iter().all(|(octets, least)| octets * 8 >= *least));
    }

    /// RFC 6989 §2.1; RFC 7296 §2.14
    #[test]
    fn both_ends_agree_and_degenerate_values_are_refused() {
        for group in [Group::Modp2048, Group::Modp3072, Group::Modp4096] {
            let exchange = DEFAULT.group(group).unwrap();
            let (a, public_a) = exchange.generate(&mut SystemRandom).unwrap();
            let (b, public_b) = exchange.generate(&mut SystemRandom).unwrap();
            let secret = a.agree(&public_b).unwrap();
            assert_eq!(secret, b.agree(&public_a).unwrap());
            assert_eq!(secret.len(), public_a.len());

            let number = |low: u8| [vec![0; public_a.len() - 1], vec![low]].concat();
            assert!(a.agree(&number(0)).is_err());
            assert!(a.agree(&number(1)).is_err());
            assert!(a.agree(&number(2)).is_ok());
            assert!(a.agree(&vec![0xff; public_a.len()]).is_err());
            assert!(a.agree(&public_b[1..]).is_err());
        }
    }

    #[test]
    fn the_primes_are_safe_primes_to_base_two() {
        // Fermat's test of p, and of (p - 1) / 2 by the order of 2 in a group of quadratic
        // residues.
        fn check<const LIMBS: usize>(group: &Modp<LIMBS>) {
            let prime = group.parameters.modulus().get();
            let two = FixedMontyForm::new(&Uint::from(2u8), &group.parameters);
            assert_eq!(two.pow(&prime.wrapping_sub(&Uint::ONE)).retrieve(), Uint::ONE);
            assert_eq!(two.pow(&prime.shr(1)).retrieve(), Uint::ONE);
        }
        check(&MODP_2048);
        check(&MODP_3072);
        check(&MODP_4096);
    }
}
