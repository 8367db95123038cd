//! The kernel, written once and instantiated for every vector width.
//!
//! A packet is a row of 16-byte lanes: lane 0 is counter block J0 on the AES side and the
//! additional data on the GHASH side, lane n is block n of the text on both. [`short`] holds
//! several whole packets in registers; [`quad`] does so for packets whose lane 0 would open a
//! vector of its own; [`long`] walks one packet after another in groups of vectors; [`burst`] sorts
//! a burst into these three.

#![allow(
    clippy::needless_range_loop,
    reason = "arrays of vectors are walked by index, several at a time; iterators would need closures, which are compiled without the vector instructions"
)]

pub(crate) mod burst;
pub(crate) mod ghash;
mod long;
mod quad;
mod short;

use core::arch::x86_64::__m128i;
use std::sync::atomic::{Ordering, compiler_fence};

use crate::Job;
use crate::vector::{Block, REVERSE, Vector, block_of_halves, read_block};

/// What every packet of a burst needs: the proof of the vector width, and constants in registers.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<X: Vector> {
    pub(crate) v: X,
    /// 0xc2 << 56: the reduction polynomial (docs/aead.md, §2).
    polynomial: X::V,
    reverse: X::V,
    nonce_mask: X::V,
}

impl<X: Vector> Kernel<X> {
    #[inline(always)]
    pub(crate) fn new(v: X) -> Self {
        Kernel {
            v,
            polynomial: v.splat_half(0xc200_0000_0000_0000),
            reverse: v.splat(&REVERSE),
            nonce_mask: v.splat(&NONCE_MASK),
        }
    }

    /// Counter block 0 after the first round-key addition: xor a counter to it and it is ready for
    /// round 1.
    #[inline(always)]
    fn counter_base(&self, job: &Job<'_>) -> X::V {
        self.v.masked_xor(
            self.v.splat(job.nonce_and_more()),
            self.nonce_mask,
            self.v.splat(job.schedule.round_key(0)),
        )
    }

    /// Bytes of a block in the multiplier's order, and back.
    #[inline(always)]
    fn reverse(&self, value: X::V) -> X::V {
        self.v.shuffle(value, self.reverse)
    }

    /// The block that stands for the additional data in lane 0, in the multiplier's order: the data
    /// itself when it fits, else its hash so far.
    #[inline(always)]
    fn aad_block(&self, job: &Job<'_>) -> __m128i {
        match job.reversed_aad() {
            Some(block) => read_block(block),
            None => {
                let folded = ghash::fold_long_aad(job);
                block_of_halves((folded >> 64) as u64, folded as u64)
            }
        }
    }
}

const NONCE_MASK: Block = [!0, !0, !0, !0, !0, !0, !0, !0, !0, !0, !0, !0, 0, 0, 0, 0];

/// Replaces the plaintext of a forged packet by zeros.
#[cold]
fn reject(job: &mut Job<'_>) {
    job.text().fill(0);
}

/// Keeps the compiler from moving loads over this point: it would load all round keys first and
/// spill them, and separate the interleaved chains. Emits no instruction.
#[inline(always)]
fn keep_order() {
    compiler_fence(Ordering::SeqCst);
}
