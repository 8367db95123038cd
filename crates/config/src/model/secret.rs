//! Values that must not be printed by accident.

use std::fmt;

use zeroize::Zeroize;

/// A pre-shared key or password. It is erased on drop and `Debug` never shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes over the text as typed (IOS type 0).
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
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

/// A login secret with the IOS number of its form: 0 clear, 5, 8 and 9 hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedSecret {
    /// The number that IOS writes before the text.
    pub kind: u8,
    /// The text after the number.
    pub text: Secret,
}
