//! Cryptography behind a struct of static tables: the endpoint contains no primitive of its own,
//! and a test may hand it a backend without any cryptography.

mod aws_lc;
mod aws_lc_signature;
mod cbc;
#[cfg(test)]
pub(crate) mod fake;
mod mlkem;
mod modp;
mod signature;
#[cfg(test)]
mod vectors;

use std::fmt;

use crate::algorithm::{Encryption, Group, Prf};
use crate::random::Random;
use crate::secret::Secret;

pub use aws_lc::DEFAULT;
pub use signature::{KeyKind, SignatureCurve, SignatureHash, SignatureScheme, Signatures, SigningKey};

/// A cryptographic backend. An algorithm that is in no table is neither proposed nor accepted.
pub struct Provider {
    /// For logs and `show` commands.
    pub name: &'static str,
    /// Keyed hashes: PRFs, and by truncation the integrity algorithms.
    pub prfs: &'static [(Prf, &'static dyn Mac)],
    /// Combined modes for IKE messages.
    pub aeads: &'static [(Encryption, &'static dyn Aead)],
    /// CBC ciphers for IKE messages.
    pub cbcs: &'static [(Encryption, &'static dyn Cbc)],
    /// Key exchange methods.
    pub groups: &'static [(Group, &'static dyn KeyExchange)],
    /// Digital signatures.
    pub signatures: &'static dyn Signatures,
    /// SHA-1 of the concatenated parts; only where it protects nothing: the NAT detection payloads
    /// (RFC 7296 §2.23) and the names of CAs in CERTREQ (§3.7).
    pub sha1: fn(&[&[u8]]) -> [u8; 20],
}

impl Provider {
    /// The keyed hash of this PRF.
    pub fn prf(&self, prf: Prf) -> Option<&'static dyn Mac> {
        find(self.prfs, prf)
    }

    /// The combined mode of this name.
    pub fn aead(&self, encryption: Encryption) -> Option<&'static dyn Aead> {
        find(self.aeads, encryption)
    }

    /// The CBC cipher of this name.
    pub fn cbc(&self, encryption: Encryption) -> Option<&'static dyn Cbc> {
        find(self.cbcs, encryption)
    }

    /// The key exchange of this group.
    pub fn group(&self, group: Group) -> Option<&'static dyn KeyExchange> {
        find(self.groups, group)
    }

    /// Can IKE messages be protected with it?
    pub fn supports_encryption(&self, encryption: Encryption) -> bool {
        self.aead(encryption).is_some() || self.cbc(encryption).is_some()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name)
    }
}

/// A keyed hash.
pub trait Mac: Sync {
    /// Writes the MAC of the concatenated parts to the front of `output`, which holds at least the
    /// hash's length.
    fn mac(&self, key: &[u8], parts: &[&[u8]], output: &mut [u8]);
}

/// An AEAD with a 12-octet nonce and a 16-octet tag.
pub trait Aead: Sync {
    /// Encrypts `text` in place and appends the tag.
    ///
    /// # Errors
    /// If the key has the wrong length.
    fn seal(&self, key: &[u8], nonce: [u8; 12], aad: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError>;

    /// Checks the tag at the end of `text`, decrypts in place and cuts the tag off.
    ///
    /// # Errors
    /// If the tag does not match; `text` is then useless.
    fn open(&self, key: &[u8], nonce: [u8; 12], aad: &[u8], text: &mut Vec<u8>) -> Result<(), CryptoError>;
}

/// A block cipher of 16-octet blocks in CBC mode, without padding of its own.
pub trait Cbc: Sync {
    /// Encrypts in place; `text` is a multiple of 16 octets.
    ///
    /// # Errors
    /// If key or text have a wrong length.
    fn encrypt(&self, key: &[u8], iv: &[u8; 16], text: &mut [u8]) -> Result<(), CryptoError>;

    /// Decrypts in place; `text` is a multiple of 16 octets.
    ///
    /// # Errors
    /// If key or text have a wrong length.
    fn decrypt(&self, key: &[u8], iv: &[u8; 16], text: &mut [u8]) -> Result<(), CryptoError>;
}

/// A key exchange method: a Diffie-Hellman group or a key encapsulation, with public values in the
/// form of the KE payload (RFC 7296 §3.4, RFC 5903 §7, RFC 8031 §3.1,
/// draft-ietf-ipsecme-ikev2-mlkem §2.3).
pub trait KeyExchange: Sync {
    /// A new ephemeral key: (private, public value).
    ///
    /// # Errors
    /// If the backend fails.
    fn generate(
        &'static self,
        random: &mut dyn Random,
    ) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>;

    /// The responder's part in one go: (our public value, shared secret).
    ///
    /// # Errors
    /// As [`PrivateKey::agree`].
    fn respond(
        &'static self,
        random: &mut dyn Random,
        peer_public: &[u8],
    ) -> Result<(Vec<u8>, Secret), CryptoError> {
        let (private, public) = self.generate(random)?;
        Ok((public, private.agree(peer_public)?))
    }
}

/// An ephemeral private key.
pub trait PrivateKey: Send {
    /// The shared secret with the peer's public value, after the checks of RFC 6989.
    ///
    /// # Errors
    /// If the value has the wrong length, is not on the curve or out of range, or leads to a
    /// degenerate secret.
    fn agree(&self, peer_public: &[u8]) -> Result<Secret, CryptoError>;
}

/// A primitive refused its input. There is no detail, as it would only help an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic operation failed: wrong length, invalid public value or failed integrity check")]
pub struct CryptoError;

fn find<K: PartialEq + Copy, V: ?Sized>(table: &'static [(K, &'static V)], key: K) -> Option<&'static V> {
    table.iter().find(|(name, _)| *name == key).map(|&(_, value)| value)
}
