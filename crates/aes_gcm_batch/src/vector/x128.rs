//! 128-bit vectors: one block, on every x86-64 CPU with AES-NI, PCLMULQDQ and AVX.

use core::arch::asm;
use core::arch::x86_64::*;

use super::{Block, Task, Vector, pure};

/// Proof of AVX, AES-NI and PCLMULQDQ.
#[derive(Clone, Copy)]
pub(crate) struct X128(());

impl X128 {
    /// The proof, when the CPU and the operating system have all of it.
    pub(crate) fn detect() -> Option<Self> {
        let present = is_x86_feature_detected!("avx")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq");
        present.then_some(X128(()))
    }

    /// SubWord of FIPS 197 §5.2, by the AES unit.
    #[inline(always)]
    pub(crate) fn substitute_word(self, word: u32) -> u32 {
        // `aeskeygenassist` gives SubWord(X1) in word 0.
        let assisted = pure!(_mm_aeskeygenassist_si128::<0>, pure!(_mm_set1_epi32, word as i32));
        pure!(_mm_cvtsi128_si32, assisted) as u32
    }
}

/// `length` bytes of ones, then zeros, when read from byte `16 - length` on.
static KEEP: [u8; 32] = {
    let mut mask = [0; 32];
    let mut index = 0;
    while index < 16 {
        mask[index] = 0xff;
        index += 1;
    }
    mask
};

impl Vector for X128 {
    type V = __m128i;
    const LANES: usize = 1;

    #[inline(always)]
    fn run<T: Task<Self>>(self, task: T) -> usize {
        #[inline(never)]
        #[target_feature(enable = "avx,aes,pclmulqdq")]
        fn compiled<T: Task<X128>>(v: X128, task: T) -> usize {
            task.run(v)
        }
        // SAFETY: the proof guarantees that the CPU has these features.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn zero(self) -> __m128i {
        pure!(_mm_setzero_si128)
    }

    #[inline(always)]
    fn splat(self, block: &Block) -> __m128i {
        // SAFETY: `block` is 16 readable bytes; the load needs no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline(always)]
    fn splat_half(self, half: u64) -> __m128i {
        pure!(_mm_set1_epi64x, half as i64)
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> __m128i {
        assert!(bytes.len() >= Self::WIDTH);
        // SAFETY: 16 readable bytes, checked above; the load needs no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8], value: __m128i) {
        assert!(bytes.len() >= Self::WIDTH);
        // SAFETY: 16 writable bytes, checked above; the store needs no alignment.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
    }

    #[inline(always)]
    fn load_part(self, bytes: &[u8]) -> __m128i {
        load_bytes(bytes)
    }

    #[inline(always)]
    fn store_part(self, bytes: &mut [u8], value: __m128i) {
        store_bytes(bytes, value);
    }

    #[inline(always)]
    fn load_part_above(self, _bytes: &[u8]) -> __m128i {
        self.zero()
    }

    #[inline(always)]
    fn store_part_above(self, _bytes: &mut [u8], _value: __m128i) {}

    #[inline(always)]
    fn keep_reversed(self, value: __m128i, length: usize, order: __m128i) -> __m128i {
        let mask = self.load(&KEEP[16 - length.min(16)..]);
        self.shuffle(pure!(_mm_and_si128, value, mask), order)
    }

    #[inline(always)]
    fn replace_first(self, _value: __m128i, block: __m128i) -> __m128i {
        block
    }

    #[inline(always)]
    fn xor(self, a: __m128i, b: __m128i) -> __m128i {
        pure!(_mm_xor_si128, a, b)
    }

    #[inline(always)]
    fn xor3(self, a: __m128i, b: __m128i, c: __m128i) -> __m128i {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn masked_xor(self, a: __m128i, mask: __m128i, b: __m128i) -> __m128i {
        self.xor(pure!(_mm_and_si128, a, mask), b)
    }

    #[inline(always)]
    fn add32(self, a: __m128i, b: __m128i) -> __m128i {
        pure!(_mm_add_epi32, a, b)
    }

    #[inline(always)]
    fn swap_halves(self, value: __m128i) -> __m128i {
        pure!(_mm_shuffle_epi32::<0x4e>, value)
    }

    #[inline(always)]
    fn shuffle(self, value: __m128i, order: __m128i) -> __m128i {
        pure!(_mm_shuffle_epi8, value, order)
    }

    #[inline(always)]
    fn aes_round(self, state: __m128i, key: __m128i) -> __m128i {
        pure!(_mm_aesenc_si128, state, key)
    }

    #[inline(always)]
    fn aes_last(self, state: __m128i, key: __m128i) -> __m128i {
        pure!(_mm_aesenclast_si128, state, key)
    }

    #[inline(always)]
    fn multiply_low(self, a: __m128i, b: __m128i) -> __m128i {
        pure!(_mm_clmulepi64_si128::<0x00>, a, b)
    }

    #[inline(always)]
    fn multiply_high(self, a: __m128i, b: __m128i) -> __m128i {
        pure!(_mm_clmulepi64_si128::<0x11>, a, b)
    }

    #[inline(always)]
    fn multiply_low_high(self, a: __m128i, b: __m128i) -> __m128i {
        pure!(_mm_clmulepi64_si128::<0x10>, a, b)
    }

    #[inline(always)]
    fn multiply_high_low(self, a: __m128i, b: __m128i) -> __m128i {
        pure!(_mm_clmulepi64_si128::<0x01>, a, b)
    }

    #[inline(always)]
    fn sum_lanes(self, parts: &[__m128i]) -> __m128i {
        parts[0]
    }

    #[inline(always)]
    fn sum_into_first(self, value: __m128i) -> __m128i {
        value
    }

    #[inline(always)]
    fn first_lanes(self, parts: &[__m128i]) -> __m128i {
        parts[0]
    }

    #[inline(always)]
    fn gather(self, blocks: &[__m128i]) -> __m128i {
        blocks[0]
    }

    #[inline(always)]
    fn gather_pairs(self, pairs: &[u64]) -> __m128i {
        pure!(_mm_cvtepu32_epi64, pure!(_mm_cvtsi64_si128, pairs[0] as i64))
    }

    #[inline(always)]
    fn times_eight(self, value: __m128i) -> __m128i {
        pure!(_mm_slli_epi64::<3>, value)
    }

    #[inline(always)]
    fn pin(self, value: &mut __m128i) {
        #[inline]
        #[target_feature(enable = "avx")]
        fn pinned(mut value: __m128i) -> __m128i {
            // SAFETY: no instruction; the register keeps its value.
            unsafe {
                asm!("/* {0} */", inout(xmm_reg) value, options(nomem, nostack, preserves_flags));
            }
            value
        }
        // SAFETY: the proof guarantees that the CPU has the feature.
        *value = unsafe { pinned(*value) };
    }

    #[inline(always)]
    fn lanes(self, value: __m128i) -> [__m128i; 4] {
        let none = self.zero();
        [value, none, none, none]
    }

    #[inline(always)]
    fn equal_lanes(self, a: __m128i, b: __m128i) -> u32 {
        let equal = pure!(_mm_cmpeq_epi8, a, b);
        u32::from(pure!(_mm_movemask_epi8, equal) == 0xffff)
    }
}

/// Up to 16 bytes, zeros behind them. Public lengths select the words; two of them overlap, so
/// there is no loop over bytes.
#[inline(always)]
pub(super) fn load_bytes(bytes: &[u8]) -> __m128i {
    let word = match bytes.len() {
        16.. => {
            // SAFETY: 16 readable bytes; SSE2 is part of x86-64.
            return unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        }
        length @ 8.. => {
            let low = u64::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 8]));
            let high = u64::from_le_bytes(*bytes.last_chunk().unwrap_or(&[0; 8]));
            // For 8 bytes the shift is 64: a shift of the widened word has no such edge.
            let high = (u128::from(high) >> (8 * (16 - length))) as u64;
            return pure!(_mm_set_epi64x, high as i64, low as i64);
        }
        length @ 4.. => {
            let low = u32::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 4]));
            let high = u32::from_le_bytes(*bytes.last_chunk().unwrap_or(&[0; 4]));
            u64::from(low) | u64::from(high) << (8 * (length - 4))
        }
        length @ 2.. => {
            let low = u16::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 2]));
            u64::from(low) | u64::from(bytes[length - 1]) << (8 * (length - 1))
        }
        1 => u64::from(bytes[0]),
        0 => 0,
    };
    pure!(_mm_cvtsi64_si128, word as i64)
}

/// Writes as many bytes as `bytes` has, at most 16, by overlapping words.
#[inline(always)]
pub(super) fn store_bytes(bytes: &mut [u8], value: __m128i) {
    if bytes.len() >= 16 {
        // SAFETY: 16 writable bytes, checked above; SSE2 is part of x86-64.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) };
        return;
    }
    let low = pure!(_mm_cvtsi128_si64, value) as u64;
    let high = pure!(_mm_cvtsi128_si64, pure!(_mm_unpackhi_epi64, value, value)) as u64;
    let length = bytes.len();
    if length >= 8 {
        let last = ((u128::from(high) << 64 | u128::from(low)) >> (8 * (length - 8))) as u64;
        put(bytes.first_chunk_mut(), low.to_le_bytes());
        put(bytes.last_chunk_mut(), last.to_le_bytes());
    } else if length >= 4 {
        put(bytes.first_chunk_mut(), (low as u32).to_le_bytes());
        put(bytes.last_chunk_mut(), ((low >> (8 * (length - 4))) as u32).to_le_bytes());
    } else if length >= 2 {
        put(bytes.first_chunk_mut(), (low as u16).to_le_bytes());
        put(bytes.last_chunk_mut(), [(low >> (8 * (length - 1))) as u8]);
    } else if length == 1 {
        bytes[0] = low as u8;
    }
}

#[inline(always)]
fn put<const N: usize>(target: Option<&mut [u8; N]>, word: [u8; N]) {
    if let Some(target) = target {
        *target = word;
    }
}
