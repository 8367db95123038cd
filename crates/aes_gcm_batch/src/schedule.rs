//! Expanded keys.

use std::fmt;
use std::sync::OnceLock;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::portable::PortableKey;

/// Powers of the hash key that a schedule holds: H^32 down to H^1.
pub(crate) const POWERS: usize = 32;
/// Round keys of AES-256, the longest schedule.
pub(crate) const ROUND_KEYS: usize = 15;

/// A key that is neither 16, 24 nor 32 bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AES key has 16, 24 or 32 bytes, not {length}; give the key without the ESP salt")]
pub struct KeyLengthError {
    /// Bytes that were given.
    pub length: usize,
}

/// Round keys and powers of the hash key of one AES-128, AES-192 or AES-256 key.
///
/// Owned by the caller, cache-line aligned, erased when dropped. Serves every back end. The powers lie in descending order right before
/// the round keys, so that a short packet touches few lines and those are neighbours: for 68 bytes under AES-128 they are five.
#[repr(C, align(64))]
pub struct KeySchedule {
    /// H^32 … H^1, each multiplied by x and in the byte order of the multiplier (docs/aead.md).
    pub(crate) powers: [[u8; 16]; POWERS],
    /// AES rounds: 10, 12 or 14.
    pub(crate) rounds: u64,
    pad: u64,
    pub(crate) round_keys: [[u8; 16]; ROUND_KEYS],
    key: [u8; 32],
    key_len: usize,
    portable: OnceLock<Box<PortableKey>>,
}

impl KeySchedule {
    /// Expands a key of 16, 24 or 32 bytes. About a microsecond; never on the packet path.
    ///
    /// # Errors
    /// [`KeyLengthError`] for every other length.
    pub fn new(key: &[u8]) -> Result<Self, KeyLengthError> {
        let rounds = match key.len() {
            16 => 10,
            24 => 12,
            32 => 14,
            length => return Err(KeyLengthError { length }),
        };
        let mut schedule = KeySchedule {
            powers: [[0; 16]; POWERS],
            rounds,
            pad: 0,
            round_keys: [[0; 16]; ROUND_KEYS],
            key: [0; 32],
            key_len: key.len(),
            portable: OnceLock::new(),
        };
        schedule.key[..key.len()].copy_from_slice(key);
        Ok(schedule)
    }

    /// Hint that a packet of `text_len` bytes under this key comes soon: asks the CPU for the cache lines that it will touch. Best given
    /// four to eight packets ahead when many keys take turns.
    #[inline(always)]
    pub fn prefetch(&self, text_len: usize) {
        let _ = text_len;
    }

    /// Bytes of the AES key: 16, 24 or 32.
    pub fn key_len(&self) -> usize {
        self.key_len
    }

    /// The key as the portable back end holds it; made at its first use.
    pub(crate) fn portable(&self) -> &PortableKey {
        self.portable.get_or_init(|| Box::new(PortableKey::new(&self.key[..self.key_len])))
    }
}

impl Drop for KeySchedule {
    fn drop(&mut self) {
        self.powers.zeroize();
        self.round_keys.zeroize();
        self.key.zeroize();
    }
}

impl ZeroizeOnDrop for KeySchedule {}

impl fmt::Debug for KeySchedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeySchedule(AES-{})", self.key_len * 8)
    }
}
