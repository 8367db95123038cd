//! The lower bound of AES-GCM on this core: the cost of its AES rounds and carry-less
//! multiplications alone.
//!
//! A packet of n blocks needs n + 1 blocks of AES (one for the tag), and n + 2 field
//! multiplications (one for the additional data, one for the lengths) of three carry-less
//! multiplications each (Karatsuba; no method with fewer is known), and two for one reduction. With
//! as many packets as a vector has lanes all of these are vector operations: n + 1 times (rounds +
//! 3), and 5 more. They run on registers, independent of one another, so the loop shows the
//! throughput of the units and no latency.

use core::arch::asm;
use core::arch::x86_64::*;

use crate::window::measure;

/// A vector width of the AES and multiplication units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 512 bits: VAES, VPCLMULQDQ, AVX-512.
    Bits512,
    /// 256 bits: VAES, VPCLMULQDQ.
    Bits256,
    /// 128 bits: AES-NI, PCLMULQDQ.
    Bits128,
}

impl Width {
    /// The widest that this CPU has; `None` without AES instructions.
    pub fn widest() -> Option<Self> {
        [Width::Bits512, Width::Bits256, Width::Bits128].into_iter().find(|width| width.present())
    }

    /// Whether this CPU has it.
    pub fn present(self) -> bool {
        let vector = is_x86_feature_detected!("vaes") && is_x86_feature_detected!("vpclmulqdq");
        match self {
            Width::Bits512 => vector && is_x86_feature_detected!("avx512f"),
            Width::Bits256 => vector && is_x86_feature_detected!("avx2"),
            Width::Bits128 => {
                is_x86_feature_detected!("avx")
                    && is_x86_feature_detected!("aes")
                    && is_x86_feature_detected!("pclmulqdq")
            }
        }
    }

    fn lanes(self) -> usize {
        match self {
            Width::Bits512 => 4,
            Width::Bits256 => 2,
            Width::Bits128 => 1,
        }
    }
}

/// Ticks for one packet of `text_len` bytes under a key of `rounds` rounds (10 or 14), best of many
/// windows.
pub fn ticks_per_packet(width: Width, text_len: usize, rounds: usize) -> f64 {
    assert!(width.present(), "this CPU has no {width:?}");
    let units = text_len.div_ceil(16) + 1;
    // Enough that the loop overhead is negligible, and no more: on a busy machine only short
    // windows are undisturbed.
    let packets = (65_536 / (text_len + 64)).clamp(32, 512) / 4 * 4;
    let packs = packets / width.lanes();
    let work = |_: &mut ()| match (width, rounds) {
        // SAFETY: `present` was checked above.
        (Width::Bits512, 10) => unsafe { loop_512::<10>(units, packs) },
        // SAFETY: as above.
        (Width::Bits512, _) => unsafe { loop_512::<14>(units, packs) },
        // SAFETY: as above.
        (Width::Bits256, 10) => unsafe { loop_256::<10>(units, packs) },
        // SAFETY: as above.
        (Width::Bits256, _) => unsafe { loop_256::<14>(units, packs) },
        // SAFETY: as above.
        (Width::Bits128, 10) => unsafe { loop_128::<10>(units, packs) },
        // SAFETY: as above.
        (Width::Bits128, _) => unsafe { loop_128::<14>(units, packs) },
    };
    measure(2000, packets, &mut (), |()| (), work).best
}

/// The loop of one width. Ten AES chains and five of multiplications: enough to hide both
/// latencies, few enough for 16 registers. (The fourteen rounds of AES-256 use some chains twice a
/// unit; its limit comes out up to a tenth too high.)
macro_rules! limit_loop {
    ($name:ident, $features:literal, $zero:ident, $aes:ident, $multiply:ident, $register:ident) => {
        #[target_feature(enable = $features)]
        fn $name<const ROUNDS: usize>(units: usize, packs: usize) {
            let key = $zero();
            let mut states = [key; 10];
            let mut products = [key; 5];
            for _ in 0..packs {
                for _ in 0..units {
                    for round in 0..ROUNDS {
                        states[round % 10] = $aes(states[round % 10], key);
                    }
                    for product in &mut products[..3] {
                        *product = $multiply::<0x01>(*product, key);
                    }
                }
                for product in &mut products {
                    *product = $multiply::<0x01>(*product, key);
                }
            }
            for value in states.into_iter().chain(products) {
                // SAFETY: no instruction; marks the value as used.
                unsafe { asm!("/* {0} */", in($register) value, options(nomem, nostack, preserves_flags)) };
            }
        }
    };
}

limit_loop!(
    loop_512,
    "avx512f,vaes,vpclmulqdq",
    _mm512_setzero_si512,
    _mm512_aesenc_epi128,
    _mm512_clmulepi64_epi128,
    zmm_reg
);
limit_loop!(
    loop_256,
    "avx2,vaes,vpclmulqdq",
    _mm256_setzero_si256,
    _mm256_aesenc_epi128,
    _mm256_clmulepi64_epi128,
    ymm_reg
);
limit_loop!(
    loop_128,
    "avx,aes,pclmulqdq",
    _mm_setzero_si128,
    _mm_aesenc_si128,
    _mm_clmulepi64_si128,
    xmm_reg
);
