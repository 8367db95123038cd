//! A backend without any cryptography, so that tests get past integrity checks and authentication
//! into the deep states. Any sender passes authentication with it: it exists in the unit tests of
//! this crate only.

use super::{
    Aead, Cbc, CryptoError, KeyExchange, Mac, PrivateKey, Provider, SignatureScheme, Signatures, SigningKey,
};
use crate::algorithm::{Encryption, Group, Prf};
use crate::random::Random;
use crate::secret::Secret;

/// The backend: every MAC is zero, encryption does nothing, tags are zero and not verified, shared
/// secrets are zero.
pub static FAKE: Provider = Provider {
    // tests/tests/programs.rs searches released programs for the beginning of this name.
    name: "tohub-fake-cryptography of the unit tests",
    prfs: &[(Prf::HmacSha256, &Zero), (Prf::HmacSha384, &Zero)],
    aeads: &[(Encryption::AesGcm128, &Zero), (Encryption::AesGcm256, &Zero)],
    cbcs: &[(Encryption::AesCbc256, &Zero)],
    groups: &[(Group::Ecp256, &Zero), (Group::Curve25519, &Zero), (Group::MlKem768, &Zero)],
    signatures: &Zero,
    sha1: mixed,
};

struct Zero;

const TAG: usize = 16;

impl Mac for Zero {
    fn mac(&self, _: &[u8], _: &[&[u8]], output: &mut [u8]) {
        output.fill(0);
    }
}

impl Aead for Zero {
    fn seal(&self, _: &[u8], _: [u8; 12], _: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        text.extend([0; TAG]);
        Ok(())
    }

    fn open(&self, _: &[u8], _: [u8; 12], _: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError> {
        let length = text.len().checked_sub(TAG).ok_or(CryptoError)?;
        text.truncate(length);
        Ok(())
    }
}

impl Cbc for Zero {
    fn encrypt(&self, _: &[u8], _: &[u8; 16], _: &mut [u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn decrypt(&self, _: &[u8], _: &[u8; 16], _: &mut [u8]) -> Result<(), CryptoError> {
        Ok(())
    }
}

impl KeyExchange for Zero {
    fn generate(
        &'static self,
        random: &mut dyn Random,
    ) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let mut public = vec![0; 32];
        random.fill(&mut public);
        Ok((Box::new(Zero), public))
    }
}

impl PrivateKey for Zero {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        if peer_public.is_empty() { Err(CryptoError) } else { Ok(Secret::zeroed(32)) }
    }
}

/// Signatures on certificates are verified; only the signature in AUTH is not.
impl Signatures for Zero {
    fn verify(&self, _: SignatureScheme, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn load(&self, private_key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        super::DEFAULT.signatures.load(private_key)
    }

    fn certificate_algorithms(
        &self,
    ) -> &'static [&'static dyn rustls_pki_types::SignatureVerificationAlgorithm] {
        super::DEFAULT.signatures.certificate_algorithms()
    }
}

/// Different messages get different values, which the table of half-open IKE SAs needs.
fn mixed(parts: &[&[u8]]) -> [u8; 20] {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().copied().flatten() {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut output = [0; 20];
    output[..8].copy_from_slice(&state.to_be_bytes());
    output
}
