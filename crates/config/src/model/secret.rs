//! Secrets, which must not be printed unintentionally.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{pbkdf2, rand};
use zeroize::Zeroize;

/// A pre-shared key or password. It is zeroized on drop, and `Debug` does not print it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Stores the text as entered (IOS type 0).
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Concatenates the parts without leaving a copy in memory.
    pub fn joined(parts: &[&str]) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| text.push_str(part));
        Self(text)
    }

    /// The secret, only for key derivation and for the saved file.
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

/// A hashed login secret with its IOS type: 5, 8 or 9. tohub creates and verifies type 8
/// (PBKDF2-HMAC-SHA-256, 20000 rounds, `$8$salt$digest`); the others are stored and never match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedSecret {
    /// The type number, which IOS prints before the text.
    pub kind: u8,
    /// The text after the number.
    pub text: Secret,
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: NonZeroU32 = NonZeroU32::new(20_000).unwrap();
const DIGEST: usize = 32;

impl HashedSecret {
    /// Hashes a password with a new salt; `None` if the system has no randomness.
    pub fn hash(password: &str) -> Option<Self> {
        let mut random = [0u8; 14];
        rand::fill(&mut random).ok()?;
        let salt: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
        Some(Self { kind: 8, text: Secret::new(format!("$8${salt}${}", encode(&derive(password, &salt)))) })
    }

    /// Whether `password` is the hashed one.
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
        // The published example of type 8 for the password "cisco".
        let text = Secret::new("$8$dsYGNam3K1SIJO$7nv/35M/qr6t.dVc7UY9zrJDWRVqncHub1PE9UlMQFs");
        assert!(HashedSecret { kind: 8, text }.matches("cisco"));
    }
}
