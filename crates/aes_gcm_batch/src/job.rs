//! One packet of a burst.

use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::NonNull;

use crate::KeySchedule;

/// Bytes of a nonce. Only the 96-bit form of SP 800-38D 8.2.1 exists here; RFC 4106 uses no other.
pub const NONCE_LEN: usize = 12;
/// Bytes of an authentication tag; truncated tags do not exist here.
pub const TAG_LEN: usize = 16;
/// Largest text in bytes of one job: far above any packet, far below the 2^36 - 32 where the block
/// counter would wrap.
pub const MAX_TEXT_LEN: usize = 1 << 30;

/// Largest additional data in bytes of one job; ESP has 8 or 12.
pub const MAX_AAD_LEN: usize = 1 << 16;

/// Additional data up to this length travels inside the job; longer data is referred to.
pub(crate) const INLINE_AAD_LEN: usize = 16;

/// One packet to seal or open: key, nonce, additional data, and where text and tag lie.
///
/// Exactly one cache line, built for each burst. Text and tag are processed in place.
#[repr(C, align(64))]
pub struct Job<'a> {
    text: NonNull<u8>,
    text_len: u32,
    aad_len: u32,
    pub(crate) tag: &'a mut [u8; TAG_LEN],
    pub(crate) schedule: &'a KeySchedule,
    aad: Aad<'a>,
    /// Followed by four bytes of this struct, so that a 16-byte load at its address stays inside.
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) authentic: bool,
    /// Copied from the schedule, so that sorting a burst reads no key.
    rounds: u8,
    /// Blocks of text, at most the largest number; only short packets ask.
    blocks: u16,
    borrowed: PhantomData<&'a mut [u8]>,
}

const _: () = assert!(size_of::<Job<'_>>() == 64);

// SAFETY: a job is its fields, and those are exclusive or shared borrows of bytes and of a `Sync`
// schedule; the pointer stands for `&mut [u8]`.
unsafe impl Send for Job<'_> {}

/// Short additional data, zero-padded and with its bytes in reverse as GHASH takes them, or a
/// reference to longer data; `Job::aad_len` tells which.
#[derive(Clone, Copy)]
union Aad<'a> {
    reversed: [u8; INLINE_AAD_LEN],
    long: &'a [u8],
}

impl<'a> Job<'a> {
    /// A packet with its `schedule`, its 12-byte `nonce` (for ESP salt ‖ IV, see [`esp_nonce`]),
    /// its additional data (for ESP the SPI and the 32- or 64-bit sequence number in network order,
    /// RFC 4106 §5), its text without IV and tag, and its tag: written by
    /// [`Engine::seal`](crate::Engine::seal), read by [`Engine::open`](crate::Engine::open).
    ///
    /// A nonce must never be used twice to seal under one key.
    ///
    /// # Panics
    /// If `text` is longer than [`MAX_TEXT_LEN`] or `aad` longer than [`MAX_AAD_LEN`].
    #[inline(always)]
    pub fn new(
        schedule: &'a KeySchedule,
        nonce: [u8; NONCE_LEN],
        aad: &'a [u8],
        text: &'a mut [u8],
        tag: &'a mut [u8; TAG_LEN],
    ) -> Self {
        assert!(text.len() <= MAX_TEXT_LEN, "a text of more than 2^30 bytes is not a packet");
        assert!(aad.len() <= MAX_AAD_LEN, "additional data of more than 2^16 bytes is not a header");
        let (text_len, aad_len) = (text.len() as u32, aad.len() as u32);
        let aad = match aad.len() {
            // The two lengths of ESP are spelled out so that they compile to plain moves.
            8 => Aad { reversed: reversed::<8>(aad) },
            12 => Aad { reversed: reversed::<12>(aad) },
            length @ 0..=INLINE_AAD_LEN => {
                let mut block = [0; INLINE_AAD_LEN];
                block[..length].copy_from_slice(aad);
                Aad { reversed: reversed::<INLINE_AAD_LEN>(&block) }
            }
            _ => Aad { long: aad },
        };
        let rounds = schedule.rounds() as u8;
        schedule.prefetch_longer(rounds);
        let text = NonNull::from(text).cast();
        let blocks = u16::try_from(text_len.div_ceil(16)).unwrap_or(u16::MAX);
        Job {
            text,
            text_len,
            aad_len,
            tag,
            schedule,
            aad,
            nonce,
            authentic: false,
            rounds,
            blocks,
            borrowed: PhantomData,
        }
    }

    /// Whether the last [`Engine::open`](crate::Engine::open) found the tag right; false before it.
    #[inline]
    pub fn is_authentic(&self) -> bool {
        self.authentic
    }

    /// Bytes of text.
    #[inline(always)]
    pub fn text_len(&self) -> usize {
        self.text_len as usize
    }

    /// Blocks of text, the last one perhaps partial; 65535 stands for all larger numbers, too.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> usize {
        usize::from(self.blocks)
    }

    /// The text.
    #[inline(always)]
    pub(crate) fn text(&mut self) -> &mut [u8] {
        // SAFETY: pointer and length are those of the `&'a mut [u8]` that `new` took, and this
        // borrows the job exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.text.as_ptr(), self.text_len as usize) }
    }

    /// AES rounds of its key.
    #[inline(always)]
    pub(crate) fn rounds(&self) -> usize {
        usize::from(self.rounds)
    }

    /// The nonce and four more bytes of this struct.
    #[inline(always)]
    pub(crate) fn nonce_and_more(&self) -> &[u8; 16] {
        const { assert!(offset_of!(Job<'_>, nonce) + 16 <= size_of::<Job<'_>>()) };
        let start = (&raw const *self).cast::<u8>();
        // SAFETY: the offset of a field, inside the struct.
        let nonce = unsafe { start.add(offset_of!(Job<'_>, nonce)) };
        // SAFETY: 16 bytes from `nonce` on lie in this struct by the assertion above; all of them,
        // `nonce`, `authentic`, `rounds` and `blocks`, are initialised, without padding between,
        // and borrowed as long as `self`.
        unsafe { &*nonce.cast() }
    }

    /// Additional data of at most 16 bytes as one zero-padded block, its bytes in reverse.
    #[inline(always)]
    pub(crate) fn reversed_aad(&self) -> Option<&[u8; INLINE_AAD_LEN]> {
        if self.aad_len as usize > INLINE_AAD_LEN {
            return None;
        }
        // SAFETY: `new` wrote the `reversed` variant for these lengths.
        Some(unsafe { &self.aad.reversed })
    }

    /// The additional data where it lies outside, if it is long.
    pub(crate) fn long_aad(&self) -> Option<&'a [u8]> {
        if self.aad_len as usize <= INLINE_AAD_LEN {
            return None;
        }
        // SAFETY: `new` wrote the `long` variant for these lengths.
        Some(unsafe { self.aad.long })
    }

    /// Bytes of additional data.
    pub(crate) fn aad_len(&self) -> usize {
        self.aad_len as usize
    }

    /// Bytes of text in the low half, of additional data in the high half.
    #[inline(always)]
    pub(crate) fn lengths(&self) -> u64 {
        u64::from(self.aad_len) << 32 | u64::from(self.text_len)
    }
}

/// The nonce of RFC 4106 §4: the salt that came with the key, then the explicit IV as in the
/// packet.
#[inline(always)]
pub fn esp_nonce(salt: [u8; 4], iv: [u8; 8]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[..4].copy_from_slice(&salt);
    nonce[4..].copy_from_slice(&iv);
    nonce
}

#[inline(always)]
fn reversed<const N: usize>(aad: &[u8]) -> [u8; INLINE_AAD_LEN] {
    let mut block = [0; INLINE_AAD_LEN];
    block[..N].copy_from_slice(&aad[..N]);
    u128::from_le_bytes(block).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additional_data_of_every_length_is_given_back() {
        let schedule = KeySchedule::new(&[1; 16]).unwrap();
        let data: Vec<u8> = (0..64).collect();
        for length in 0..data.len() {
            let (mut text, mut tag) = ([], [0; TAG_LEN]);
            let job = Job::new(&schedule, [0; NONCE_LEN], &data[..length], &mut text, &mut tag);
            assert_eq!(job.aad_len(), length);
            match (job.reversed_aad(), job.long_aad()) {
                (Some(block), None) => {
                    let mut expected = [0; 16];
                    expected[..length].copy_from_slice(&data[..length]);
                    expected.reverse();
                    assert_eq!(*block, expected);
                }
                (None, Some(long)) => assert_eq!(long, &data[..length]),
                _ => panic!("exactly one form holds the data"),
            }
        }
    }

    #[test]
    fn the_esp_nonce_is_salt_then_iv() {
        assert_eq!(
            esp_nonce([1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12]),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        );
    }
}
