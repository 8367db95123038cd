//! Values that must not be printed by accident.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{pbkdf2, rand};
use zeroize::Zeroize;

/// A pre-shared key or password. It is erased on drop and `Debug` never shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes over the text as typed (IOS type 0).
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The parts one behind the other, without a copy that would stay in memory.
    pub fn joined(parts: &[&str]) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| text.push_str(part));
        Self(text)
    }

    /// The secret itself, for the key derivation and for the saved file only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<hidden>)")
    }
}

/// A hashed login secret with the IOS number of its form: 5, 8 or 9. tohub makes and checks form 8
/// (PBKDF2-HMAC-SHA-256, 20000 rounds, `$8$salt$digest`); the others are kept and never match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedSecret {
    /// The number that IOS writes before the text.
    pub kind: u8,
    /// The text after the number.
    pub text: Secret,
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: NonZeroU32 = NonZeroU32::new(20_000).unwrap();
const DIGEST: usize = 32;

impl HashedSecret {
    /// Hashes a clear password with a fresh salt; `None` when the system has no randomness.
    pub fn hash(password: &str) -> Option<Self> {
        let mut random = [0u8; 14];
        rand::fill(&mut random).ok()?;
        let salt: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
        Some(Self { kind: 8, text: Secret::new(format!("$8${salt}${}", encode(&derive(password, &salt)))) })
    }

    /// True when `password` is the one that was hashed.
    pub fn matches(&self, password: &str) -> bool {
        let mut parts = self.text.expose().split('$').skip(1);
        let (Some("8"), Some(salt), Some(digest)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let typed = encode(&derive(password, salt));
        self.kind == 8
            && aws_lc_rs::constant_time::verify_slices_are_equal(typed.as_bytes(), digest.as_bytes()).is_ok()
    }
}

fn derive(password: &str, salt: &str) -> [u8; DIGEST] {
    let mut digest = [0u8; DIGEST];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), password.as_bytes(), &mut digest);
    digest
}

/// Base 64 over the alphabet of `crypt`, most significant bits first, without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().enumerate().fold(0u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        let digits = chunk.len() + 1;
        text.extend((0..digits).map(|i| char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_secret_knows_its_password_only() {
        let secret = HashedSecret::hash("cisco").unwrap();
        assert!(secret.text.expose().starts_with("$8$"));
        assert_eq!(secret.text.expose().len(), 3 + 14 + 1 + 43);
        assert!(secret.matches("cisco"));
        assert!(!secret.matches("Cisco"));
        assert!(!format!("{secret:?}").contains("$8$"));
    }

    #[test]
    fn a_known_digest_is_recognised() {
        // The published example of form 8 for the password "cisco".
        let text = Secret::new("$8$dsYGNam3K1SIJO$7nv/35M/qr6t.dVc7UY9zrJDWRVqncHub1PE9UlMQFs");
        assert!(HashedSecret { kind: 8, text }.matches("cisco"));
    }
}
