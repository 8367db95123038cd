//! 512-bit vectors: four blocks, byte masks, three-operand logic.

use core::arch::asm;
use core::arch::x86_64::*;

use super::{Block, Task, Vector, pure};

/// Proof of AVX-512 F, BW, DQ, VL, VAES, VPCLMULQDQ and BMI2. `SCHOOLBOOK`: how products are made.
#[derive(Clone, Copy)]
pub(crate) struct X512<const SCHOOLBOOK: bool>(());

impl<const SCHOOLBOOK: bool> X512<SCHOOLBOOK> {
    /// The proof, when the CPU and the operating system have all of it.
    pub(crate) fn detect() -> Option<Self> {
        let present = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        present.then_some(X512(()))
    }
}

/// One bit per byte, the lowest `length` set; all for 64 and more.
#[inline(always)]
fn byte_mask(length: usize) -> u64 {
    // SAFETY: called only by methods of `X512`, which proves BMI2.
    unsafe { _bzhi_u64(!0, length as u32) }
}

impl<const SCHOOLBOOK: bool> Vector for X512<SCHOOLBOOK> {
    type V = __m512i;
    const LANES: usize = 4;
    const SCHOOLBOOK: bool = SCHOOLBOOK;

    #[inline(always)]
    fn run<T: Task<Self>>(self, task: T) -> usize {
        #[inline(never)]
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,aes,pclmulqdq,bmi1,bmi2"
        )]
        fn compiled<const SCHOOLBOOK: bool, T: Task<X512<SCHOOLBOOK>>>(
            v: X512<SCHOOLBOOK>,
            task: T,
        ) -> usize {
            task.run(v)
        }
        // SAFETY: the proof guarantees that the CPU has these features.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        pure!(_mm512_setzero_si512)
    }

    #[inline(always)]
    fn splat(self, block: &Block) -> __m512i {
        // SAFETY: `block` is 16 readable bytes; the load needs no alignment.
        let block = unsafe { _mm_loadu_si128(block.as_ptr().cast()) };
        pure!(_mm512_broadcast_i32x4, block)
    }

    #[inline(always)]
    fn splat_half(self, half: u64) -> __m512i {
        pure!(_mm512_set1_epi64, half as i64)
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> __m512i {
        assert!(bytes.len() >= Self::WIDTH);
        // SAFETY: 64 readable bytes, checked above; the load needs no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8], value: __m512i) {
        assert!(bytes.len() >= Self::WIDTH);
        // SAFETY: 64 writable bytes, checked above; the store needs no alignment.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
    }

    #[inline(always)]
    fn load_part(self, bytes: &[u8]) -> __m512i {
        let mask = byte_mask(bytes.len());
        // SAFETY: only the bytes of the mask are accessed, and those are in the slice; masked bytes
        // do not fault.
        unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_part(self, bytes: &mut [u8], value: __m512i) {
        let mask = byte_mask(bytes.len());
        // SAFETY: only the bytes of the mask are accessed, and those are in the slice; masked bytes
        // do not fault.
        unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask, value) }
    }

    #[inline(always)]
    fn load_part_above(self, bytes: &[u8]) -> __m512i {
        let mask = byte_mask(bytes.len() + 16) & !0xffff;
        // SAFETY: bit 16 of the mask is the first byte of the slice, so the accessed bytes are in
        // it; masked bytes do not fault.
        unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().wrapping_sub(16).cast()) }
    }

    #[inline(always)]
    fn store_part_above(self, bytes: &mut [u8], value: __m512i) {
        let mask = byte_mask(bytes.len() + 16) & !0xffff;
        // SAFETY: bit 16 of the mask is the first byte of the slice, so the accessed bytes are in
        // it; masked bytes do not fault.
        unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().wrapping_sub(16).cast(), mask, value) }
    }

    #[inline(always)]
    fn keep_reversed(self, value: __m512i, length: usize, order: __m512i) -> __m512i {
        // The mask is the one that stored the bytes.
        self.shuffle(pure!(_mm512_maskz_mov_epi8, byte_mask(length), value), order)
    }

    #[inline(always)]
    fn replace_first(self, value: __m512i, block: __m128i) -> __m512i {
        pure!(_mm512_mask_broadcast_i32x4, value, 0xf, block)
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_xor_si512, a, b)
    }

    #[inline(always)]
    fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        pure!(_mm512_ternarylogic_epi64::<0x96>, a, b, c)
    }

    #[inline(always)]
    fn masked_xor(self, a: __m512i, mask: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_ternarylogic_epi64::<0x78>, b, a, mask)
    }

    #[inline(always)]
    fn add32(self, a: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_add_epi32, a, b)
    }

    #[inline(always)]
    fn swap_halves(self, value: __m512i) -> __m512i {
        pure!(_mm512_shuffle_epi32::<0x4e>, value)
    }

    #[inline(always)]
    fn shuffle(self, value: __m512i, order: __m512i) -> __m512i {
        pure!(_mm512_shuffle_epi8, value, order)
    }

    #[inline(always)]
    fn aes_round(self, state: __m512i, key: __m512i) -> __m512i {
        pure!(_mm512_aesenc_epi128, state, key)
    }

    #[inline(always)]
    fn aes_last(self, state: __m512i, key: __m512i) -> __m512i {
        pure!(_mm512_aesenclast_epi128, state, key)
    }

    #[inline(always)]
    fn multiply_low(self, a: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_clmulepi64_epi128::<0x00>, a, b)
    }

    #[inline(always)]
    fn multiply_high(self, a: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_clmulepi64_epi128::<0x11>, a, b)
    }

    #[inline(always)]
    fn multiply_low_high(self, a: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_clmulepi64_epi128::<0x10>, a, b)
    }

    #[inline(always)]
    fn multiply_high_low(self, a: __m512i, b: __m512i) -> __m512i {
        pure!(_mm512_clmulepi64_epi128::<0x01>, a, b)
    }

    #[inline(always)]
    fn sum_lanes(self, parts: &[__m512i]) -> __m512i {
        match *parts {
            [a, b, c, d] => {
                let (ab, cd) = (pair_sums(self, a, b), pair_sums(self, c, d));
                let even = pure!(_mm512_shuffle_i64x2::<0b10_00_10_00>, ab, cd);
                let odd = pure!(_mm512_shuffle_i64x2::<0b11_01_11_01>, ab, cd);
                self.xor(even, odd)
            }
            [a, b] => {
                let ab = pair_sums(self, a, b);
                let even = pure!(_mm512_shuffle_i64x2::<0b10_00_10_00>, ab, ab);
                let odd = pure!(_mm512_shuffle_i64x2::<0b11_01_11_01>, ab, ab);
                self.xor(even, odd)
            }
            [a] => {
                let half = self.xor(a, pure!(_mm512_shuffle_i64x2::<0b01_00_11_10>, a, a));
                self.xor(half, pure!(_mm512_shuffle_i64x2::<0b10_11_00_01>, half, half))
            }
            _ => unreachable!("the kernel sums one, two or four packets"),
        }
    }

    #[inline(always)]
    fn sum_into_first(self, value: __m512i) -> __m512i {
        let upper = pure!(_mm512_extracti64x4_epi64::<1>, value);
        let half = pure!(_mm256_xor_si256, pure!(_mm512_castsi512_si256, value), upper);
        let upper = pure!(_mm256_extracti128_si256::<1>, half);
        let sum = pure!(_mm_xor_si128, pure!(_mm256_castsi256_si128, half), upper);
        pure!(_mm512_zextsi128_si512, sum)
    }

    #[inline(always)]
    fn first_lanes(self, parts: &[__m512i]) -> __m512i {
        match *parts {
            [a, b, c, d] => {
                let ab = pure!(_mm512_shuffle_i64x2::<0>, a, b);
                let cd = pure!(_mm512_shuffle_i64x2::<0>, c, d);
                pure!(_mm512_shuffle_i64x2::<0b10_00_10_00>, ab, cd)
            }
            [a, b] => pure!(_mm512_inserti32x4::<1>, a, pure!(_mm512_castsi512_si128, b)),
            [a] => a,
            _ => unreachable!("the kernel gathers one, two or four packets"),
        }
    }

    #[inline(always)]
    fn gather(self, blocks: &[__m128i]) -> __m512i {
        match *blocks {
            [a, b, c, d] => {
                let ab = pure!(_mm256_inserti128_si256::<1>, pure!(_mm256_castsi128_si256, a), b);
                let cd = pure!(_mm256_inserti128_si256::<1>, pure!(_mm256_castsi128_si256, c), d);
                pure!(_mm512_inserti64x4::<1>, pure!(_mm512_castsi256_si512, ab), cd)
            }
            [a, b] => {
                let ab = pure!(_mm256_inserti128_si256::<1>, pure!(_mm256_castsi128_si256, a), b);
                pure!(_mm512_castsi256_si512, ab)
            }
            [a] => pure!(_mm512_castsi128_si512, a),
            _ => unreachable!("the kernel gathers one, two or four blocks"),
        }
    }

    #[inline(always)]
    fn gather_pairs(self, pairs: &[u64]) -> __m512i {
        let pairs = match *pairs {
            [a, b, c, d] => pure!(_mm256_set_epi64x, d as i64, c as i64, b as i64, a as i64),
            [a, b] => pure!(_mm256_set_epi64x, 0, 0, b as i64, a as i64),
            [a] => pure!(_mm256_set_epi64x, 0, 0, 0, a as i64),
            _ => unreachable!("the kernel gathers one, two or four packets"),
        };
        pure!(_mm512_cvtepu32_epi64, pairs)
    }

    #[inline(always)]
    fn times_eight(self, value: __m512i) -> __m512i {
        pure!(_mm512_slli_epi64::<3>, value)
    }

    #[inline(always)]
    fn pin(self, value: &mut __m512i) {
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn pinned(mut value: __m512i) -> __m512i {
            // SAFETY: no instruction; the register keeps its value.
            unsafe {
                asm!("/* {0} */", inout(zmm_reg) value, options(nomem, nostack, preserves_flags));
            }
            value
        }
        // SAFETY: the proof guarantees that the CPU has the feature.
        *value = unsafe { pinned(*value) };
    }

    #[inline(always)]
    fn lanes(self, value: __m512i) -> [__m128i; 4] {
        [
            pure!(_mm512_castsi512_si128, value),
            pure!(_mm512_extracti32x4_epi32::<1>, value),
            pure!(_mm512_extracti32x4_epi32::<2>, value),
            pure!(_mm512_extracti32x4_epi32::<3>, value),
        ]
    }

    #[inline(always)]
    fn equal_lanes(self, a: __m512i, b: __m512i) -> u32 {
        let halves = u32::from(pure!(_mm512_cmpeq_epi64_mask, a, b));
        let both = halves & (halves >> 1);
        (both & 1) | (both >> 1 & 2) | (both >> 2 & 4) | (both >> 3 & 8)
    }
}

/// Lanes (a0 + a2, a1 + a3, b0 + b2, b1 + b3).
#[inline(always)]
fn pair_sums<X: Vector<V = __m512i>>(v: X, a: __m512i, b: __m512i) -> __m512i {
    let low = pure!(_mm512_shuffle_i64x2::<0b01_00_01_00>, a, b);
    let high = pure!(_mm512_shuffle_i64x2::<0b11_10_11_10>, a, b);
    v.xor(low, high)
}
