//! Fake cryptography with almost no cost, so that a hundred thousand histories run within minutes.
//!
//! It has the properties that the protocol relies on: both ends derive the same Diffie-Hellman
//! secret, which no other pair derives by accident; a MAC or tag differs for another key or text;
//! ciphertext is accepted only with the same key, nonce and additional data. It offers no security.
//! No gateway can use it: it exists only in this crate, and of the released programs only
//! `tohub-simulate` links it, which opens no socket.

use ike::provider::{Aead, Cbc, CryptoError, KeyExchange, Mac, PrivateKey, Provider};
use ike::{Encryption, Group, Prf, Random, Secret};

use crate::random::mix;

/// Name of the backend, and prefix of the names of all fake backends: a program that contains it
/// has linked one. `tests/tests/programs.rs` searches the released programs for it.
pub const MARKER: &str = "tohub-fake-cryptography";

/// The backend.
pub static CHEAP: Provider = Provider {
    name: MARKER,
    prfs: &[
        (Prf::HmacSha1, &CheapMac(20)),
        (Prf::HmacSha256, &CheapMac(32)),
        (Prf::HmacSha384, &CheapMac(48)),
        (Prf::HmacSha512, &CheapMac(64)),
    ],
    aeads: &[
        (Encryption::AesGcm128, &CheapAead),
        (Encryption::AesGcm192, &CheapAead),
        (Encryption::AesGcm256, &CheapAead),
    ],
    cbcs: &[
        (Encryption::AesCbc128, &CheapCbc),
        (Encryption::AesCbc192, &CheapCbc),
        (Encryption::AesCbc256, &CheapCbc),
    ],
    groups: &[
        (Group::Ecp256, &SmallField(64)),
        (Group::Ecp384, &SmallField(96)),
        (Group::Ecp521, &SmallField(132)),
        (Group::Curve25519, &SmallField(32)),
        (Group::Modp2048, &SmallField(256)),
        (Group::Modp3072, &SmallField(384)),
        (Group::Modp4096, &SmallField(512)),
        // Not a KEM: each end sends a value, and both derive the secret.
        (Group::MlKem768, &SmallField(1184)),
    ],
    // Histories use no certificates; the gateway's signature algorithms are unused.
    signatures: ike::provider::DEFAULT.signatures,
    sha1,
};

/// Absorbs text of any length into a 64-bit state.
struct Sponge(u64);

impl Sponge {
    fn keyed(purpose: u64, key: &[u8]) -> Self {
        let mut sponge = Sponge(mix(purpose));
        sponge.absorb(key);
        sponge
    }

    fn absorb(&mut self, text: &[u8]) {
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
        self.word(text.len() as u64);
    }

    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xa076_1d64_78bd_642f_u128;
        self.0 = (product as u64) ^ (product >> 64) as u64 ^ self.0.rotate_left(23);
    }

    fn squeeze(&self, output: &mut [u8]) {
        for (number, chunk) in (0u64..).zip(output.chunks_mut(8)) {
            chunk.copy_from_slice(&mix(self.0 ^ mix(number)).to_le_bytes()[..chunk.len()]);
        }
    }

    fn apply(&self, text: &mut [u8]) {
        for (number, chunk) in (0u64..).zip(text.chunks_mut(8)) {
            let stream = mix(self.0 ^ mix(number)).to_le_bytes();
            chunk.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut output = [0; 20];
    CheapMac(20).mac(&[], parts, &mut output);
    output
}

/// A MAC of this length in octets.
struct CheapMac(usize);

impl Mac for CheapMac {
    fn mac(&self, key: &[u8], parts: &[&[u8]], output: &mut [u8]) {
        let mut sponge = Sponge::keyed(self.0 as u64, key);
        // As for a real MAC, only the concatenation counts, not how it is divided.
        match parts {
            [one] => sponge.absorb(one),
            _ => sponge.absorb(&parts.concat()),
        }
        sponge.squeeze(&mut output[..self.0]);
    }
}

struct CheapAead;

const TAG: usize = 16;

impl CheapAead {
    fn sponge(key: &[u8], nonce: [u8; 12]) -> Sponge {
        let mut sponge = Sponge::keyed(1000, key);
        sponge.absorb(&nonce);
        sponge
    }

    fn tag(mut sponge: Sponge, aad: &[u8], sealed: &[u8]) -> [u8; TAG] {
        sponge.absorb(aad);
        sponge.absorb(sealed);
        let mut tag = [0; TAG];
        sponge.squeeze(&mut tag);
        tag
    }
}

impl Aead for CheapAead {
    fn seal(&self, key: &[u8], nonce: [u8; 12], aad: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        let sponge = Self::sponge(key, nonce);
        sponge.apply(text);
        let tag = Self::tag(sponge, aad, text);
        text.extend_from_slice(&tag);
        Ok(())
    }

    fn open(&self, key: &[u8], nonce: [u8; 12], aad: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        let length = text.len().checked_sub(TAG).ok_or(CryptoError)?;
        let (sealed, tag) = text.split_at(length);
        if Self::tag(Self::sponge(key, nonce), aad, sealed) != *tag {
            return Err(CryptoError);
        }
        text.truncate(length);
        Self::sponge(key, nonce).apply(text);
        Ok(())
    }
}

struct CheapCbc;

impl Cbc for CheapCbc {
    fn encrypt(&self, key: &[u8], iv: &[u8; 16], text: &mut [u8]) -> Result<(), CryptoError> {
        let mut sponge = Sponge::keyed(2000, key);
        sponge.absorb(iv);
        sponge.apply(text);
        Ok(())
    }

    fn decrypt(&self, key: &[u8], iv: &[u8; 16], text: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt(key, iv, text)
    }
}

/// Diffie-Hellman in the field of 2^61 - 1, with public values of the same length as in the group
/// that it replaces.
struct SmallField(usize);

const PRIME: u64 = (1 << 61) - 1;
const GENERATOR: u64 = 37;

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let times = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64;
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        exponent >>= 1;
    }
    result
}

impl KeyExchange for SmallField {
    fn generate(
        &'static self,
        random: &mut dyn Random,
    ) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let mut drawn = [0; 8];
        random.fill(&mut drawn);
        let private = u64::from_le_bytes(drawn) % (PRIME - 2) + 1;
        let mut public = vec![0; self.0];
        public[..8].copy_from_slice(&power(GENERATOR, private).to_le_bytes());
        Ok((Box::new(SmallKey { private, length: self.0 }), public))
    }
}

struct SmallKey {
    private: u64,
    length: usize,
}

impl PrivateKey for SmallKey {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        let (head, padding) = peer_public.split_first_chunk::<8>().ok_or(CryptoError)?;
        let public = u64::from_le_bytes(*head);
        let proper = peer_public.len() == self.length && padding.iter().all(|byte| *byte == 0);
        if !proper || public <= 1 || public >= PRIME {
            return Err(CryptoError);
        }
        Ok(Secret::from(power(public, self.private).to_le_bytes().as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn two_ends_agree_and_a_damaged_value_is_refused() {
        let mut random = Stream::new(1);
        for (_, group) in CHEAP.groups {
            let (a, a_public) = group.generate(&mut random).unwrap();
            let (b, b_public) = group.generate(&mut random).unwrap();
            let (_, c_public) = group.generate(&mut random).unwrap();
            assert_eq!(a.agree(&b_public).unwrap(), b.agree(&a_public).unwrap());
            assert_ne!(a.agree(&b_public).unwrap(), a.agree(&c_public).unwrap());
            assert!(a.agree(&b_public[1..]).is_err());
            assert!(a.agree(&vec![0; b_public.len()]).is_err());
        }
    }

    #[test]
    fn tags_depend_on_everything() {
        let (key, nonce, aad) = ([1; 16], [2; 12], [3; 5]);
        let mut sealed = b"text".to_vec();
        CheapAead.seal(&key, nonce, &aad, &mut sealed).unwrap();
        let open = |key: [u8; 16], nonce, aad: &[u8], mut text: Vec<u8>| {
            CheapAead.open(&key, nonce, aad, &mut text).map(|()| text)
        };
        assert_eq!(open(key, nonce, &aad, sealed.clone()).unwrap(), b"text");
        assert!(open([9; 16], nonce, &aad, sealed.clone()).is_err());
        assert!(open(key, [9; 12], &aad, sealed.clone()).is_err());
        assert!(open(key, nonce, &[3; 4], sealed.clone()).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(key, nonce, &aad, damaged).is_err());
        }
    }

    #[test]
    fn a_mac_does_not_see_where_its_text_was_cut() {
        let of = |parts: &[&[u8]]| {
            let mut output = [0; 32];
            CheapMac(32).mac(b"key", parts, &mut output);
            output
        };
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"abc"]));
        assert_ne!(of(&[b"abc"]), of(&[b"abd"]));
        assert_ne!(of(&[b"abc"]), of(&[b"abc\0"]));
    }
}
