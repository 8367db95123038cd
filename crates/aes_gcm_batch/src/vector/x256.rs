//! 256-bit vectors: two blocks. AVX2 has no byte masks, so partial vectors are put together from
//! overlapping words.

use core::arch::asm;
use core::arch::x86_64::*;

use super::x128::{load_bytes, store_bytes};
use super::{Block, Task, Vector, pure};

/// Proof of AVX2, VAES and VPCLMULQDQ.
#[derive(Clone, Copy)]
pub(crate) struct X256(());

impl X256 {
    /// The proof, when the CPU and the operating system have all of it.
    pub(crate) fn detect() -> Option<Self> {
        let present = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        present.then_some(X256(()))
    }
}

/// `length` bytes of ones, then zeros, when read from byte `32 - length` on.
static KEEP: [u8; 64] = {
    let mut mask = [0; 64];
    let mut index = 0;
    while index < 32 {
        mask[index] = 0xff;
        index += 1;
    }
    mask
};

impl Vector for X256 {
    type V = __m256i;
    const LANES: usize = 2;

    #[inline(always)]
    fn run<T: Task<Self>>(self, task: T) -> usize {
        #[inline(never)]
        #[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,bmi1,bmi2")]
        fn compiled<T: Task<X256>>(v: X256, task: T) -> usize {
            task.run(v)
        }
        // SAFETY: the proof guarantees that the CPU has these features.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        pure!(_mm256_setzero_si256)
    }

    #[inline(always)]
    fn splat(self, block: &Block) -> __m256i {
        // SAFETY: `block` is 16 readable bytes; the load needs no alignment.
        let block = unsafe { _mm_loadu_si128(block.as_ptr().cast()) };
        pure!(_mm256_broadcastsi128_si256, block)
    }

    #[inline(always)]
    fn splat_half(self, half: u64) -> __m256i {
        pure!(_mm256_set1_epi64x, half as i64)
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> __m256i {
        assert!(bytes.len() >= Self::WIDTH);
        // SAFETY: 32 readable bytes, checked above; the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8], value: __m256i) {
        assert!(bytes.len() >= Self::WIDTH);
        // SAFETY: 32 writable bytes, checked above; the store needs no alignment.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
    }

    #[inline(always)]
    fn load_part(self, bytes: &[u8]) -> __m256i {
        match bytes.split_first_chunk::<16>() {
            Some((low, rest)) => both(load_bytes(low), load_bytes(rest)),
            None => both(load_bytes(bytes), load_bytes(&[])),
        }
    }

    #[inline(always)]
    fn store_part(self, bytes: &mut [u8], value: __m256i) {
        let low = pure!(_mm256_castsi256_si128, value);
        match bytes.split_first_chunk_mut::<16>() {
            Some((first, rest)) => {
                store_bytes(first, low);
                store_bytes(rest, pure!(_mm256_extracti128_si256::<1>, value));
            }
            None => store_bytes(bytes, low),
        }
    }

    #[inline(always)]
    fn load_part_above(self, bytes: &[u8]) -> __m256i {
        both(load_bytes(&[]), load_bytes(bytes))
    }

    #[inline(always)]
    fn store_part_above(self, bytes: &mut [u8], value: __m256i) {
        store_bytes(bytes, pure!(_mm256_extracti128_si256::<1>, value));
    }

    #[inline(always)]
    fn keep_reversed(self, value: __m256i, length: usize, order: __m256i) -> __m256i {
        let mask = self.load(&KEEP[32 - length.min(32)..]);
        self.shuffle(pure!(_mm256_and_si256, value, mask), order)
    }

    #[inline(always)]
    fn replace_first(self, value: __m256i, block: __m128i) -> __m256i {
        pure!(_mm256_blend_epi32::<0x0f>, value, pure!(_mm256_castsi128_si256, block))
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        pure!(_mm256_xor_si256, a, b)
    }

    #[inline(always)]
    fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn masked_xor(self, a: __m256i, mask: __m256i, b: __m256i) -> __m256i {
        self.xor(pure!(_mm256_and_si256, a, mask), b)
    }

    #[inline(always)]
    fn add32(self, a: __m256i, b: __m256i) -> __m256i {
        pure!(_mm256_add_epi32, a, b)
    }

    #[inline(always)]
    fn swap_halves(self, value: __m256i) -> __m256i {
        pure!(_mm256_shuffle_epi32::<0x4e>, value)
    }

    #[inline(always)]
    fn shuffle(self, value: __m256i, order: __m256i) -> __m256i {
        pure!(_mm256_shuffle_epi8, value, order)
    }

    #[inline(always)]
    fn aes_round(self, state: __m256i, key: __m256i) -> __m256i {
        pure!(_mm256_aesenc_epi128, state, key)
    }

    #[inline(always)]
    fn aes_last(self, state: __m256i, key: __m256i) -> __m256i {
        pure!(_mm256_aesenclast_epi128, state, key)
    }

    #[inline(always)]
    fn multiply_low(self, a: __m256i, b: __m256i) -> __m256i {
        pure!(_mm256_clmulepi64_epi128::<0x00>, a, b)
    }

    #[inline(always)]
    fn multiply_high(self, a: __m256i, b: __m256i) -> __m256i {
        pure!(_mm256_clmulepi64_epi128::<0x11>, a, b)
    }

    #[inline(always)]
    fn multiply_low_high(self, a: __m256i, b: __m256i) -> __m256i {
        pure!(_mm256_clmulepi64_epi128::<0x10>, a, b)
    }

    #[inline(always)]
    fn multiply_high_low(self, a: __m256i, b: __m256i) -> __m256i {
        pure!(_mm256_clmulepi64_epi128::<0x01>, a, b)
    }

    #[inline(always)]
    fn sum_lanes(self, parts: &[__m256i]) -> __m256i {
        let (a, b) = match *parts {
            [a, b] => (a, b),
            [a] => (a, a),
            _ => unreachable!("the kernel sums one or two packets"),
        };
        let low = pure!(_mm256_permute2x128_si256::<0x20>, a, b);
        let high = pure!(_mm256_permute2x128_si256::<0x31>, a, b);
        self.xor(low, high)
    }

    #[inline(always)]
    fn sum_into_first(self, value: __m256i) -> __m256i {
        let upper = pure!(_mm256_extracti128_si256::<1>, value);
        let sum = pure!(_mm_xor_si128, pure!(_mm256_castsi256_si128, value), upper);
        pure!(_mm256_zextsi128_si256, sum)
    }

    #[inline(always)]
    fn first_lanes(self, parts: &[__m256i]) -> __m256i {
        match *parts {
            [a, b] => pure!(_mm256_inserti128_si256::<1>, a, pure!(_mm256_castsi256_si128, b)),
            [a] => a,
            _ => unreachable!("the kernel gathers one or two packets"),
        }
    }

    #[inline(always)]
    fn gather(self, blocks: &[__m128i]) -> __m256i {
        match *blocks {
            [a, b] => both(a, b),
            [a] => pure!(_mm256_castsi128_si256, a),
            _ => unreachable!("the kernel gathers one or two blocks"),
        }
    }

    #[inline(always)]
    fn gather_pairs(self, pairs: &[u64]) -> __m256i {
        let pairs = match *pairs {
            [a, b] => pure!(_mm_set_epi64x, b as i64, a as i64),
            [a] => pure!(_mm_set_epi64x, 0, a as i64),
            _ => unreachable!("the kernel gathers one or two packets"),
        };
        pure!(_mm256_cvtepu32_epi64, pairs)
    }

    #[inline(always)]
    fn times_eight(self, value: __m256i) -> __m256i {
        pure!(_mm256_slli_epi64::<3>, value)
    }

    #[inline(always)]
    fn pin(self, value: &mut __m256i) {
        #[inline]
        #[target_feature(enable = "avx")]
        fn pinned(mut value: __m256i) -> __m256i {
            // SAFETY: no instruction; the register keeps its value.
            unsafe {
                asm!("/* {0} */", inout(ymm_reg) value, options(nomem, nostack, preserves_flags));
            }
            value
        }
        // SAFETY: the proof guarantees that the CPU has the feature.
        *value = unsafe { pinned(*value) };
    }

    #[inline(always)]
    fn lanes(self, value: __m256i) -> [__m128i; 4] {
        let none = pure!(_mm_setzero_si128);
        [pure!(_mm256_castsi256_si128, value), pure!(_mm256_extracti128_si256::<1>, value), none, none]
    }

    #[inline(always)]
    fn equal_lanes(self, a: __m256i, b: __m256i) -> u32 {
        let equal = pure!(_mm256_cmpeq_epi64, a, b);
        let halves = pure!(_mm256_movemask_pd, pure!(_mm256_castsi256_pd, equal)) as u32;
        let both = halves & (halves >> 1);
        (both & 1) | (both >> 1 & 2)
    }
}

#[inline(always)]
fn both(low: __m128i, high: __m128i) -> __m256i {
    pure!(_mm256_inserti128_si256::<1>, pure!(_mm256_castsi128_si256, low), high)
}
