//! The encrypted payload, whole (SK, RFC 7296 §3.14, RFC 5282) and in fragments (SKF, RFC 7383
//! §2.5).

use subtle::ConstantTimeEq;

use crate::algorithm::Encryption;
use crate::keys::MessageKeys;
use crate::message::{HEADER_LEN, Header, payload_type};
use crate::provider::{Aead, CryptoError, Provider};
use crate::random::Random;
use crate::suite::IkeSuite;

const BLOCK: usize = 16;
const TAG: usize = 16;
const COUNTER_IV: usize = 8;

/// Position of a fragment: number from 1, total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) number: u16,
    pub(crate) total: u16,
}

/// The algorithms and keys of one direction.
#[derive(Clone, Copy)]
pub(crate) struct Protection<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) suite: &'a IkeSuite,
    pub(crate) keys: &'a MessageKeys,
}

impl Protection<'_> {
    /// A whole message: header, SK (or SKF) payload, and `plain` encrypted in it.
    ///
    /// `iv` is taken by combined modes and counts up, so that it is never used twice under a key
    /// (RFC 5282 §3.1); the IV of CBC is drawn at random, as it must not be predictable (RFC 7296
    /// §3.14).
    pub(crate) fn seal(
        &self,
        header: &Header,
        first_inner: u8,
        plain: &[u8],
        fragment: Option<Fragment>,
        iv: &mut u64,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, CryptoError> {
        let outer = if fragment.is_some() { payload_type::SKF } else { payload_type::SK };
        let fragment = fragment.map(encode_fragment).unwrap_or_default();
        let total = HEADER_LEN + 4 + fragment.len() + self.overhead(plain.len()) + plain.len();
        let mut message = Vec::with_capacity(total);
        message.extend(Header { next_payload: outer, ..*header }.encode(total));
        let length = u16::try_from(total - HEADER_LEN).map_err(|_| CryptoError)?.to_be_bytes();
        message.extend([first_inner, 0, length[0], length[1]]);
        message.extend(fragment);
        if self.suite.encryption.is_aead() {
            self.seal_aead(&mut message, plain, iv)?;
        } else {
            self.seal_cbc(&mut message, plain, random)?;
        }
        Ok(message)
    }

    /// Checks and decrypts the payload whose body begins at `offset` and ends with the message.
    /// Returns the inner payload chain (or a part of it, for a fragment).
    pub(crate) fn open(&self, message: &[u8], offset: usize, fragment: bool) -> Result<Vec<u8>, CryptoError> {
        let start = offset + if fragment { 4 } else { 0 };
        let (aad, body) = message.split_at_checked(start).ok_or(CryptoError)?;
        let mut text = if self.suite.encryption.is_aead() {
            let (iv, text) = body.split_at_checked(COUNTER_IV).ok_or(CryptoError)?;
            let (cipher, key, nonce) = self.aead(iv)?;
            let mut text = text.to_vec();
            cipher.open(key, nonce, aad, &mut text)?;
            text
        } else {
            self.open_cbc(message, start)?
        };
        // §3.14: the last octet counts the padding before it; its content is not checked.
        let padding = usize::from(text.pop().ok_or(CryptoError)?);
        let length = text.len().checked_sub(padding).ok_or(CryptoError)?;
        text.truncate(length);
        Ok(text)
    }

    /// Octets that the payload's content adds to a plain text of this length: IV, padding, pad
    /// length, check value.
    pub(crate) fn overhead(&self, plain_len: usize) -> usize {
        if self.suite.encryption.is_aead() {
            COUNTER_IV + 1 + TAG
        } else {
            let padded = (plain_len + 1).next_multiple_of(BLOCK);
            BLOCK + (padded - plain_len) + self.icv_len()
        }
    }

    /// The most that `overhead` can be for any length.
    pub(crate) fn max_overhead(&self) -> usize {
        if self.suite.encryption.is_aead() { self.overhead(0) } else { 2 * BLOCK + self.icv_len() }
    }

    fn seal_aead(&self, message: &mut Vec<u8>, plain: &[u8], iv: &mut u64) -> Result<(), CryptoError> {
        let iv_bytes = iv.to_be_bytes();
        *iv = iv.checked_add(1).ok_or(CryptoError)?;
        let (cipher, key, nonce) = self.aead(&iv_bytes)?;
        let mut text = Vec::with_capacity(plain.len() + 1 + TAG);
        text.extend_from_slice(plain);
        text.push(0);
        cipher.seal(key, nonce, message, &mut text)?;
        message.extend(iv_bytes);
        message.extend(text);
        Ok(())
    }

    fn aead(&self, iv: &[u8]) -> Result<AeadCall<'_>, CryptoError> {
        let encryption: Encryption = self.suite.encryption;
        let cipher = self.provider.aead(encryption).ok_or(CryptoError)?;
        let (key, salt) =
            self.keys.encryption.expose().split_at_checked(encryption.key_len()).ok_or(CryptoError)?;
        // RFC 5282 §4: nonce = salt | IV.
        let nonce = <[u8; 12]>::try_from([salt, iv].concat()).map_err(|_| CryptoError)?;
        Ok((cipher, key, nonce))
    }

    fn seal_cbc(
        &self,
        message: &mut Vec<u8>,
        plain: &[u8],
        random: &mut dyn Random,
    ) -> Result<(), CryptoError> {
        let mut iv = [0; BLOCK];
        random.fill(&mut iv);
        message.extend(iv);
        let start = message.len();
        message.extend_from_slice(plain);
        let padding = (plain.len() + 1).next_multiple_of(BLOCK) - plain.len() - 1;
        message.resize(message.len() + padding, 0);
        message.push(padding as u8);
        let cipher = self.provider.cbc(self.suite.encryption).ok_or(CryptoError)?;
        cipher.encrypt(self.keys.encryption.expose(), &iv, message.get_mut(start..).ok_or(CryptoError)?)?;
        let icv = self.icv(message)?;
        message.extend_from_slice(icv.get(..self.icv_len()).ok_or(CryptoError)?);
        Ok(())
    }

    /// Encrypt-then-MAC: the check value over all preceding octets is compared first, in constant
    /// time.
    fn open_cbc(&self, message: &[u8], start: usize) -> Result<Vec<u8>, CryptoError> {
        let end = message.len().checked_sub(self.icv_len()).ok_or(CryptoError)?;
        let (covered, received) = message.split_at_checked(end).ok_or(CryptoError)?;
        let expected = self.icv(covered)?;
        if !bool::from(expected.get(..self.icv_len()).ok_or(CryptoError)?.ct_eq(received)) {
            return Err(CryptoError);
        }
        let (iv, text) =
            covered.get(start..).and_then(|body| body.split_first_chunk::<BLOCK>()).ok_or(CryptoError)?;
        let mut text = text.to_vec();
        let cipher = self.provider.cbc(self.suite.encryption).ok_or(CryptoError)?;
        cipher.decrypt(self.keys.encryption.expose(), iv, &mut text)?;
        Ok(text)
    }

    fn icv(&self, covered: &[u8]) -> Result<[u8; 64], CryptoError> {
        let integrity = self.suite.integrity.ok_or(CryptoError)?;
        let mut output = [0; 64];
        let mac = self.provider.prf(integrity.prf()).ok_or(CryptoError)?;
        mac.mac(self.keys.integrity.expose(), &[covered], &mut output);
        Ok(output)
    }

    fn icv_len(&self) -> usize {
        self.suite.integrity.map_or(0, |integrity| integrity.icv_len())
    }
}

/// Cipher, key without salt, nonce.
type AeadCall<'a> = (&'static dyn Aead, &'a [u8], [u8; 12]);

fn encode_fragment(fragment: Fragment) -> Vec<u8> {
    [fragment.number.to_be_bytes(), fragment.total.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Group, Integrity, Prf};
    use crate::message::{Exchange, Flags};
    use crate::provider::DEFAULT;
    use crate::random::SystemRandom;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            spi_i: 1,
            spi_r: 2,
            next_payload: 0,
            major: 2,
            exchange: Exchange::Informational,
            flags: Flags { initiator: true, response: false },
            message_id: 7,
        }
    }

    fn suites() -> Vec<IkeSuite> {
        let aead = |encryption| IkeSuite {
            encryption,
            integrity: None,
            prf: Prf::HmacSha256,
            group: Group::Ecp256,
            additional: Default::default(),
        };
        let cbc = |encryption, integrity| IkeSuite { integrity: Some(integrity), ..aead(encryption) };
        vec![
            aead(Encryption::AesGcm128),
            aead(Encryption::AesGcm192),
            aead(Encryption::AesGcm256),
            cbc(Encryption::AesCbc128, Integrity::HmacSha1_96),
            cbc(Encryption::AesCbc192, Integrity::HmacSha384_192),
            cbc(Encryption::AesCbc256, Integrity::HmacSha256_128),
            cbc(Encryption::AesCbc256, Integrity::HmacSha512_256),
        ]
    }

    fn keys(suite: &IkeSuite) -> MessageKeys {
        let fill = |length: usize| Secret::new((0..length).map(|i| i as u8).collect());
        MessageKeys {
            encryption: fill(suite.encryption.key_len() + suite.encryption.salt_len()),
            integrity: fill(suite.integrity.map_or(0, Integrity::key_len)),
        }
    }

    /// RFC 5282 §4; the padding that is encrypted along by RFC 7296 §3.14
    #[test]
    fn the_nonce_of_combined_modes_is_salt_and_iv() {
        let suite = suites()[0];
        let keys = keys(&suite);
        let protection = Protection { provider: &DEFAULT, suite: &suite, keys: &keys };
        let mut iv = 7;
        let message = protection.seal(&header(), 41, b"payloads", None, &mut iv, &mut SystemRandom).unwrap();
        let (aad, rest) = message.split_at(crate::message::HEADER_LEN + 4);
        let (iv, sealed) = rest.split_at(8);
        let (key, salt) = keys.encryption.expose().split_at(16);
        let nonce = <[u8; 12]>::try_from([salt, iv].concat()).unwrap();
        let mut text = sealed.to_vec();
        DEFAULT.aead(suite.encryption).unwrap().open(key, nonce, aad, &mut text).unwrap();
        assert_eq!(text, b"payloads\0");
    }

    proptest! {
        #[test]
        fn sealed_messages_open_and_damaged_ones_do_not(
            plain in proptest::collection::vec(any::<u8>(), 0..100), which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(), flip in 1u8.., fragmented in any::<bool>(),
        ) {
            let suite = *which.get(&suites());
            let keys = keys(&suite);
            let protection = Protection { provider: &DEFAULT, suite: &suite, keys: &keys };
            let fragment = fragmented.then_some(Fragment { number: 1, total: 2 });
            let mut iv = 0;
            let mut message =
                protection.seal(&header(), 41, &plain, fragment, &mut iv, &mut SystemRandom).unwrap();
            let overhead = protection.overhead(plain.len());
            prop_assert_eq!(message.len(), HEADER_LEN + 4 + if fragmented { 4 } else { 0 } + plain.len() + overhead);
            prop_assert!(overhead <= protection.max_overhead());
            prop_assert_eq!(protection.open(&message, HEADER_LEN + 4, fragmented), Ok(plain));
            let position = at.index(message.len());
            message[position] ^= flip;
            prop_assert_eq!(protection.open(&message, HEADER_LEN + 4, fragmented), Err(CryptoError));
        }
    }

    /// RFC 5282 §3.1
    #[test]
    fn counter_ivs_differ_and_stop_before_wrapping() {
        let suite = suites()[0];
        let keys = keys(&suite);
        let protection = Protection { provider: &DEFAULT, suite: &suite, keys: &keys };
        let mut iv = u64::MAX - 1;
        protection.seal(&header(), 0, b"", None, &mut iv, &mut SystemRandom).unwrap();
        assert_eq!(iv, u64::MAX);
        assert_eq!(protection.seal(&header(), 0, b"", None, &mut iv, &mut SystemRandom), Err(CryptoError));
    }
}
