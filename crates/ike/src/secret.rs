//! Bytes that are erased when dropped and never printed.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret bytes: a pre-shared key, a Diffie-Hellman secret, key material.
///
/// Erased on drop; `Debug` prints only the length; comparison takes constant time. Cloning makes a
/// second copy that is erased on its own.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(bytes)
    }

    /// `length` zero bytes, to be filled through [`Secret::expose_mut`]. The buffer never grows, so
    /// that no copy stays behind in freed memory.
    pub fn zeroed(length: usize) -> Self {
        Secret(vec![0; length])
    }

    /// The bytes themselves. The name marks each place where a secret is read.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be written in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no bytes at all, e.g. the integrity key of a combined-mode algorithm.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Secret(bytes.to_vec())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.as_bytes().to_vec())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "Secret(7 bytes)");
    }

    #[test]
    fn comparison_is_by_value() {
        assert_eq!(Secret::from("a"), Secret::from("a"));
        assert_ne!(Secret::from("a"), Secret::from("b"));
        assert_ne!(Secret::from("a"), Secret::from("aa"));
    }
}
