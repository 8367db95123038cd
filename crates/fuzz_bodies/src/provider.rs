//! Cryptography that a fuzzer can pass or fail: protected messages carry a fixed mark instead of a
//! tag.
//!
//! Unlike a backend that accepts everything it tests both cases: with the mark any message is
//! authentic, without it nothing may change.

use ike::provider::{Aead, Cbc, CryptoError, KeyExchange, Mac, PrivateKey, Provider};
use ike::{Encryption, Group, Prf, Random, Secret};

/// The tag of authentic messages.
pub const MARK: [u8; 16] = [0xa5; 16];

/// The backend. No gateway can use it: it exists in this crate alone.
pub static MARKED: Provider = Provider {
    name: "marked",
    prfs: &[(Prf::HmacSha256, &Marked), (Prf::HmacSha384, &Marked)],
    aeads: &[(Encryption::AesGcm128, &Marked), (Encryption::AesGcm256, &Marked)],
    cbcs: &[(Encryption::AesCbc256, &Marked)],
    groups: &[(Group::Ecp256, &Marked), (Group::Curve25519, &Marked)],
    signatures: ike::provider::DEFAULT.signatures,
    sha1: |parts| {
        let mut output = [0; 20];
        output[..8].copy_from_slice(&digest(parts).to_be_bytes());
        output
    },
};

struct Marked;

fn digest(parts: &[&[u8]]) -> u64 {
    let step = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    parts.iter().copied().flatten().fold(0xcbf2_9ce4_8422_2325, step)
}

impl Mac for Marked {
    fn mac(&self, _: &[u8], _: &[&[u8]], output: &mut [u8]) {
        output.fill(MARK[0]);
    }
}

impl Aead for Marked {
    fn seal(&self, _: &[u8], _: [u8; 12], _: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        text.extend(MARK);
        Ok(())
    }

    fn open(&self, _: &[u8], _: [u8; 12], _: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        let plain = text.strip_suffix(&MARK).ok_or(CryptoError)?.len();
        text.truncate(plain);
        Ok(())
    }
}

impl Cbc for Marked {
    fn encrypt(&self, _: &[u8], _: &[u8; 16], _: &mut [u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn decrypt(&self, _: &[u8], _: &[u8; 16], _: &mut [u8]) -> Result<(), CryptoError> {
        Ok(())
    }
}

impl KeyExchange for Marked {
    fn generate(
        &'static self,
        random: &mut dyn Random,
    ) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let mut public = vec![0; 32];
        random.fill(&mut public);
        Ok((Box::new(Marked), public))
    }
}

impl PrivateKey for Marked {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        if peer_public.is_empty() { Err(CryptoError) } else { Ok(Secret::zeroed(32)) }
    }
}
