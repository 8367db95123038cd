//! Expanded keys.

use std::fmt;
use std::sync::OnceLock;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::expand;
use crate::portable::PortableKey;

/// Powers of the hash key that a schedule holds: H^36 down to H^1.
const POWERS: usize = 36;
/// Index of round key 0: behind the powers and one block that holds the number of rounds.
const ROUND_KEYS: usize = POWERS + 1;
/// Blocks of the table: room for the 15 round keys of AES-256.
const TABLE: usize = ROUND_KEYS + 15;

/// A key that is neither 16, 24 nor 32 bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AES key has 16, 24 or 32 bytes, not {length}; give the key without the ESP salt")]
pub struct KeyLengthError {
    /// Bytes that were given.
    pub length: usize,
}

/// Round keys and powers of the hash key of one AES-128, AES-192 or AES-256 key.
///
/// Owned by the caller, cache-line aligned, erased when dropped. Serves every back end. The powers
/// lie in descending order right before the round keys, so that a short packet reads few, adjacent
/// cache lines: five for 68 bytes under AES-128.
#[repr(C, align(64))]
pub struct KeySchedule {
    /// H^36 … H^1, each multiplied by x and in the byte order of the multiplier (docs/aead.md,
    /// section 2); a block whose first byte is the number of rounds; the round keys. A vector of
    /// powers may run past H^1 into the next blocks: those lanes multiply zeros.
    table: [[u8; 16]; TABLE],
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
            table: [[0; 16]; TABLE],
            key: [0; 32],
            key_len: key.len(),
            portable: OnceLock::new(),
        };
        schedule.key[..key.len()].copy_from_slice(key);
        schedule.table[POWERS][0] = rounds;
        let (powers, rest) = schedule.table.split_at_mut(POWERS);
        expand::expand(key, powers, &mut rest[1..]);
        Ok(schedule)
    }

    /// Hint that a packet of `text_len` bytes under this key follows soon: prefetches the cache
    /// lines that it will read. Best given four to eight packets ahead when many keys take turns.
    #[inline(always)]
    pub fn prefetch(&self, text_len: usize) {
        let rounds_on = POWERS * 16;
        let powers = if text_len > 16 * (POWERS - 2) { POWERS } else { text_len.div_ceil(16) + 2 };
        let mut offset = (rounds_on - 16 * powers) & !63;
        // Up to round key 10, with which AES-128 ends. Longer keys have a line more; which is only
        // known from the schedule itself.
        while offset < (ROUND_KEYS + 11) * 16 {
            expand::prefetch(&self.table.as_flattened()[offset]);
            offset += 64;
        }
    }

    /// The same for the round keys behind number 10, once the number of rounds is known.
    #[inline(always)]
    pub(crate) fn prefetch_longer(&self, rounds: u8) {
        if rounds > 10 {
            expand::prefetch(&self.table[ROUND_KEYS + 11][0]);
        }
    }

    /// AES rounds: 10, 12 or 14.
    #[inline(always)]
    pub(crate) fn rounds(&self) -> usize {
        usize::from(self.table[POWERS][0])
    }

    /// Round key `index`, at most 14.
    #[inline(always)]
    pub(crate) fn round_key(&self, index: usize) -> &[u8; 16] {
        &self.table[ROUND_KEYS + index]
    }

    /// H^`exponent`, 1 to [`POWERS`].
    #[inline(always)]
    pub(crate) fn power(&self, exponent: usize) -> &[u8; 16] {
        &self.table[POWERS - exponent]
    }

    /// H^`exponent`, H^(`exponent` - 1), … H^1 and what lies behind, at least to the length of
    /// `vectors` vectors of `lanes` blocks. The exponent lies in the last of these vectors; the
    /// assertion lets the compiler remove its bounds checks.
    #[inline(always)]
    pub(crate) fn powers_from(&self, exponent: usize, vectors: usize, lanes: usize) -> &[u8] {
        let start = POWERS.wrapping_sub(exponent);
        assert!(start < POWERS - lanes * (vectors - 1));
        self.table[start..].as_flattened()
    }

    /// H^`blocks` down to H^1 for a group of so many blocks.
    #[inline(always)]
    pub(crate) fn powers_of_group(&self, blocks: usize) -> &[u8] {
        self.table[POWERS - blocks..POWERS].as_flattened()
    }

    /// Bytes of the AES key: 16, 24 or 32.
    pub fn key_len(&self) -> usize {
        self.key_len
    }

    /// The key in the form of the portable back end; created at its first use.
    pub(crate) fn portable(&self) -> &PortableKey {
        self.portable.get_or_init(|| Box::new(PortableKey::new(&self.key[..self.key_len])))
    }
}

impl Drop for KeySchedule {
    fn drop(&mut self) {
        self.table.zeroize();
        self.key.zeroize();
    }
}

impl ZeroizeOnDrop for KeySchedule {}

impl fmt::Debug for KeySchedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeySchedule(AES-{})", self.key_len * 8)
    }
}
