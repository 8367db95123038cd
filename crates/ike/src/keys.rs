//! The key schedule (RFC 7296 §2.13 to §2.18).

use crate::action::ChildHalf;
use crate::algorithm::{Integrity, Prf};
use crate::provider::{CryptoError, Provider};
use crate::secret::Secret;
use crate::suite::{EspSuite, IkeSuite};

/// The keys of an IKE SA.
#[derive(Clone, Debug)]
pub(crate) struct IkeKeys {
    /// Seeds the keys of Child SAs and of the next IKE SA.
    pub(crate) d: Secret,
    /// Protect what the original initiator sends.
    pub(crate) initiator: MessageKeys,
    /// Protect what the original responder sends.
    pub(crate) responder: MessageKeys,
    /// SK_pi and SK_pr: used for the AUTH payloads.
    pub(crate) p_initiator: Secret,
    pub(crate) p_responder: Secret,
}

/// SK_e and SK_a of one direction.
#[derive(Clone, Debug)]
pub(crate) struct MessageKeys {
    /// Encryption key, with the salt behind it for combined modes (RFC 5282 §7.1).
    pub(crate) encryption: Secret,
    /// Integrity key; empty for combined modes (RFC 5282 §7.2).
    pub(crate) integrity: Secret,
}

/// What both ends contribute to a key derivation.
pub(crate) struct KeyInputs<'a> {
    pub(crate) nonce_i: &'a [u8],
    pub(crate) nonce_r: &'a [u8],
    pub(crate) spi_i: u64,
    pub(crate) spi_r: u64,
    pub(crate) shared: &'a Secret,
    /// The secrets of additional key exchanges of a rekeying (RFC 9370 §2.2.4). Those before
    /// IKE_AUTH are applied one at a time by [`IkeKeys::rekeyed`].
    pub(crate) additional: &'a [Secret],
}

impl IkeKeys {
    /// The keys of a first IKE SA: SKEYSEED = prf(Ni | Nr, g^ir) (RFC 7296 §2.14).
    pub(crate) fn initial(
        provider: &Provider,
        suite: &IkeSuite,
        inputs: &KeyInputs<'_>,
    ) -> Result<Self, CryptoError> {
        let key = Secret::new([inputs.nonce_i, inputs.nonce_r].concat());
        let seed = prf(provider, suite.prf, &key, &[inputs.shared.expose()])?;
        Self::expand(provider, suite, &seed, inputs)
    }

    /// The keys of an IKE SA that replaces another: SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr |
    /// SK(1) | … SK(n)), with the PRF of the old one (RFC 7296 §2.18, RFC 9370 §2.2.4).
    ///
    /// Also those after an IKE_INTERMEDIATE: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), with
    /// the nonces and SPIs of IKE_SA_INIT (RFC 9370 §2.2.2).
    pub(crate) fn rekeyed(
        provider: &Provider,
        suite: &IkeSuite,
        old_prf: Prf,
        old_d: &Secret,
        inputs: &KeyInputs<'_>,
    ) -> Result<Self, CryptoError> {
        let mut parts = vec![inputs.shared.expose(), inputs.nonce_i, inputs.nonce_r];
        parts.extend(inputs.additional.iter().map(Secret::expose));
        let seed = prf(provider, old_prf, old_d, &parts)?;
        Self::expand(provider, suite, &seed, inputs)
    }

    /// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi |
    /// SPIr)
    fn expand(
        provider: &Provider,
        suite: &IkeSuite,
        seed: &Secret,
        inputs: &KeyInputs<'_>,
    ) -> Result<Self, CryptoError> {
        let prf_len = suite.prf.output_len();
        let integrity_len = suite.integrity.map_or(0, Integrity::key_len);
        let encryption_len = suite.encryption.key_len() + suite.encryption.salt_len();
        let (spi_i, spi_r) = (inputs.spi_i.to_be_bytes(), inputs.spi_r.to_be_bytes());
        let stream = prf_plus(
            provider,
            suite.prf,
            seed,
            &[inputs.nonce_i, inputs.nonce_r, &spi_i, &spi_r],
            3 * prf_len + 2 * (integrity_len + encryption_len),
        )?;
        let mut cut = Cutter(stream.expose());
        let d = cut.next(prf_len)?;
        let (integrity_i, integrity_r) = (cut.next(integrity_len)?, cut.next(integrity_len)?);
        let (encryption_i, encryption_r) = (cut.next(encryption_len)?, cut.next(encryption_len)?);
        Ok(IkeKeys {
            d,
            initiator: MessageKeys { encryption: encryption_i, integrity: integrity_i },
            responder: MessageKeys { encryption: encryption_r, integrity: integrity_r },
            p_initiator: cut.next(prf_len)?,
            p_responder: cut.next(prf_len)?,
        })
    }
}

/// The keys of a Child SA: (initiator to responder, responder to initiator), SPIs left at 0.
///
/// KEYMAT = prf+(SK_d, [SK(0)] | Ni | Nr | [SK(1) | … SK(n)]) (RFC 9370 §2.2.4); the initiator's
/// direction comes first, and in each direction the encryption key (with its salt) before the
/// integrity key (RFC 7296 §2.17).
pub(crate) fn child_keys(
    provider: &Provider,
    ike_prf: Prf,
    d: &Secret,
    suite: &EspSuite,
    (shared, additional): (Option<&Secret>, &[Secret]),
    nonces: (&[u8], &[u8]),
) -> Result<(ChildHalf, ChildHalf), CryptoError> {
    let (key_len, salt_len) = (suite.encryption.key_len(), suite.encryption.salt_len());
    let integrity_len = suite.integrity.map_or(0, Integrity::key_len);
    let shared = shared.map_or(&[][..], Secret::expose);
    let length = 2 * (key_len + salt_len + integrity_len);
    let mut seed = vec![shared, nonces.0, nonces.1];
    seed.extend(additional.iter().map(Secret::expose));
    let stream = prf_plus(provider, ike_prf, d, &seed, length)?;
    let mut cut = Cutter(stream.expose());
    let mut half = || -> Result<ChildHalf, CryptoError> {
        Ok(ChildHalf {
            spi: 0,
            encryption_key: cut.next(key_len)?,
            salt: cut.next(salt_len)?,
            integrity_key: cut.next(integrity_len)?,
        })
    };
    Ok((half()?, half()?))
}

/// prf(key, parts).
pub(crate) fn prf(
    provider: &Provider,
    prf: Prf,
    key: &Secret,
    parts: &[&[u8]],
) -> Result<Secret, CryptoError> {
    let mut output = Secret::zeroed(prf.output_len());
    provider.prf(prf).ok_or(CryptoError)?.mac(key.expose(), parts, output.expose_mut());
    Ok(output)
}

/// prf+(key, seed) = T1 | T2 | ..., Tn = prf(key, Tn-1 | seed | n) (RFC 7296 §2.13).
pub(crate) fn prf_plus(
    provider: &Provider,
    prf: Prf,
    key: &Secret,
    seed: &[&[u8]],
    length: usize,
) -> Result<Secret, CryptoError> {
    let function = provider.prf(prf).ok_or(CryptoError)?;
    let block = prf.output_len();
    let mut stream = Secret::zeroed(length.next_multiple_of(block));
    for n in 0..stream.len() / block {
        // §2.13: the counter is one octet, and nothing here needs more than 255 blocks.
        let counter = [u8::try_from(n + 1).map_err(|_| CryptoError)?];
        let (done, rest) = stream.expose_mut().split_at_mut(n * block);
        let previous = done.get(done.len().saturating_sub(block)..).unwrap_or_default();
        let mut parts = vec![previous];
        parts.extend_from_slice(seed);
        parts.push(&counter);
        function.mac(key.expose(), &parts, rest);
    }
    Ok(Secret::from(stream.expose().get(..length).unwrap_or_default()))
}

struct Cutter<'a>(&'a [u8]);

impl Cutter<'_> {
    fn next(&mut self, length: usize) -> Result<Secret, CryptoError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(CryptoError)?;
        self.0 = tail;
        Ok(Secret::from(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Encryption, Group};
    use crate::provider::DEFAULT;

    /// RFC 7296 §2.13
    #[test]
    fn prf_plus_chains_its_blocks() {
        let key = Secret::from("key");
        let stream = prf_plus(&DEFAULT, Prf::HmacSha256, &key, &[b"se", b"ed"], 70).unwrap();
        let t1 = prf(&DEFAULT, Prf::HmacSha256, &key, &[b"seed", &[1]]).unwrap();
        let t2 = prf(&DEFAULT, Prf::HmacSha256, &key, &[t1.expose(), b"seed", &[2]]).unwrap();
        let t3 = prf(&DEFAULT, Prf::HmacSha256, &key, &[t2.expose(), b"seed", &[3]]).unwrap();
        let whole = [t1.expose(), t2.expose(), t3.expose()].concat();
        assert_eq!(stream.expose(), &whole[..70]);
    }

    /// RFC 7296 §2.18; RFC 9370 §2.2.2 for what follows an IKE_INTERMEDIATE, §2.2.4 for a rekeying
    /// with IKE_FOLLOWUP_KE.
    #[test]
    fn the_keys_of_before_and_each_new_secret_go_into_the_next_keys() {
        let suite = IkeSuite {
            encryption: Encryption::AesCbc128,
            integrity: Some(Integrity::HmacSha256_128),
            prf: Prf::HmacSha256,
            group: Group::Ecp256,
            additional: crate::suite::Additional::default(),
        };
        let (old, shared) = (Secret::from("old d"), Secret::from("sk0"));
        let more = [Secret::from("sk1"), Secret::from("sk2")];
        for (additional, joined) in [(&more[..0], "sk0ninr"), (&more[..], "sk0ninrsk1sk2")] {
            let (nonce_i, nonce_r, spi_i, spi_r) = (&b"ni"[..], &b"nr"[..], 1, 2);
            let inputs = KeyInputs { nonce_i, nonce_r, spi_i, spi_r, shared: &shared, additional };
            let keys = IkeKeys::rekeyed(&DEFAULT, &suite, Prf::HmacSha384, &old, &inputs).unwrap();
            // The seed is computed with the PRF of the old IKE SA.
            let seed = prf(&DEFAULT, Prf::HmacSha384, &old, &[joined.as_bytes()]).unwrap();
            let spis = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
            let stream = prf_plus(&DEFAULT, Prf::HmacSha256, &seed, &[b"ninr", &spis], 192).unwrap();
            let (i, r) = (&keys.initiator, &keys.responder);
            let cut = [&keys.d, &i.integrity, &r.integrity, &i.encryption, &r.encryption];
            let cut: Vec<u8> = cut
                .into_iter()
                .chain([&keys.p_initiator, &keys.p_responder])
                .flat_map(|part| part.expose().to_vec())
                .collect();
            assert_eq!(cut, stream.expose());
        }
    }

    /// RFC 7296 §2.17
    #[test]
    fn child_keys_are_cut_initiator_first_and_encryption_first() {
        let d = Secret::from("d");
        let suite = EspSuite {
            encryption: Encryption::AesCbc128,
            integrity: Some(Integrity::HmacSha256_128),
            esn: false,
            group: None,
        };
        let (i, r) = child_keys(&DEFAULT, Prf::HmacSha256, &d, &suite, (None, &[]), (b"ni", b"nr")).unwrap();
        let stream = prf_plus(&DEFAULT, Prf::HmacSha256, &d, &[b"ninr"], 96).unwrap();
        let cut = [&i.encryption_key, &i.integrity_key, &r.encryption_key, &r.integrity_key];
        let cut: Vec<u8> = cut.iter().flat_map(|part| part.expose().to_vec()).collect();
        assert_eq!(cut, stream.expose());
        assert_eq!(i.encryption_key.len(), 16);
    }

    /// RFC 5282 §7.1, §7.2; RFC 4106 §8.1
    #[test]
    fn combined_modes_get_a_salt_and_no_integrity_key() {
        let suite = IkeSuite {
            encryption: Encryption::AesGcm256,
            integrity: None,
            prf: Prf::HmacSha384,
            group: Group::Ecp256,
            additional: crate::suite::Additional::default(),
        };
        let shared = Secret::from("shared");
        let inputs = KeyInputs {
            nonce_i: b"ni",
            nonce_r: b"nr",
            spi_i: 1,
            spi_r: 2,
            shared: &shared,
            additional: &[],
        };
        let keys = IkeKeys::initial(&DEFAULT, &suite, &inputs).unwrap();
        assert_eq!(keys.initiator.encryption.len(), 36);
        assert!(keys.initiator.integrity.is_empty());
        assert_eq!((keys.d.len(), keys.p_responder.len()), (48, 48));
        assert_ne!(keys.initiator.encryption, keys.responder.encryption);
    }
}
