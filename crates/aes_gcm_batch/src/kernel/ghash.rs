//! Multiplication in GCM's field GF(2^128), derived in docs/aead.md §2.

use core::arch::x86_64::__m128i;

use super::Kernel;
use crate::Job;
use crate::vector::x128::X128;
use crate::vector::{Vector, read_block, write_block};

/// Three 128-bit sums of 64-bit products per lane: together one 256-bit product not yet reduced.
/// `middle` is the sum of the two crossed products, or Karatsuba's (a0 + a1)(b0 + b1), from which
/// the reduction takes the other two away.
#[derive(Clone, Copy)]
pub(crate) struct Sums<V> {
    pub(crate) low: V,
    pub(crate) middle: V,
    pub(crate) high: V,
}

impl<X: Vector> Kernel<X> {
    #[inline(always)]
    pub(crate) fn no_sums(&self) -> Sums<X::V> {
        let zero = self.v.zero();
        Sums { low: zero, middle: zero, high: zero }
    }

    #[inline(always)]
    pub(crate) fn product(&self, x: X::V, h: X::V) -> Sums<X::V> {
        let v = self.v;
        let middle = if X::SCHOOLBOOK {
            v.xor(v.multiply_low_high(x, h), v.multiply_high_low(x, h))
        } else {
            self.karatsuba_middle(x, h)
        };
        Sums { low: v.multiply_low(x, h), middle, high: v.multiply_high(x, h) }
    }

    /// `sums` + x · h.
    #[inline(always)]
    pub(crate) fn add_product(&self, sums: Sums<X::V>, x: X::V, h: X::V) -> Sums<X::V> {
        let v = self.v;
        let middle = if X::SCHOOLBOOK {
            v.xor3(sums.middle, v.multiply_low_high(x, h), v.multiply_high_low(x, h))
        } else {
            v.xor(sums.middle, self.karatsuba_middle(x, h))
        };
        Sums {
            low: v.xor(sums.low, v.multiply_low(x, h)),
            middle,
            high: v.xor(sums.high, v.multiply_high(x, h)),
        }
    }

    /// `sums` + x0 · h0 + x1 · h1: two additions are one instruction on 512 bits.
    #[inline(always)]
    pub(crate) fn add_two_products(&self, sums: Sums<X::V>, x: [X::V; 2], h: [X::V; 2]) -> Sums<X::V> {
        let v = self.v;
        let middle = if X::SCHOOLBOOK {
            let first = v.xor3(sums.middle, v.multiply_low_high(x[0], h[0]), v.multiply_high_low(x[0], h[0]));
            v.xor3(first, v.multiply_low_high(x[1], h[1]), v.multiply_high_low(x[1], h[1]))
        } else {
            v.xor3(sums.middle, self.karatsuba_middle(x[0], h[0]), self.karatsuba_middle(x[1], h[1]))
        };
        Sums {
            low: v.xor3(sums.low, v.multiply_low(x[0], h[0]), v.multiply_low(x[1], h[1])),
            middle,
            high: v.xor3(sums.high, v.multiply_high(x[0], h[0]), v.multiply_high(x[1], h[1])),
        }
    }

    #[inline(always)]
    pub(crate) fn add(&self, a: Sums<X::V>, b: Sums<X::V>) -> Sums<X::V> {
        let v = self.v;
        Sums { low: v.xor(a.low, b.low), middle: v.xor(a.middle, b.middle), high: v.xor(a.high, b.high) }
    }

    #[inline(always)]
    fn karatsuba_middle(&self, x: X::V, h: X::V) -> X::V {
        let v = self.v;
        v.multiply_low(v.xor(x, v.swap_halves(x)), v.xor(h, v.swap_halves(h)))
    }

    /// Every lane's 256-bit sum as a 128-bit field element: two folds of 64 bits by the polynomial.
    #[inline(always)]
    pub(crate) fn reduce(&self, sums: Sums<X::V>) -> X::V {
        let folded = self.fold_low(sums);
        self.fold_middle(folded, sums.high)
    }
}

impl<X: Vector> Kernel<X> {
    /// The first fold: adds the lowest 64 bits times the polynomial to the middle.
    #[inline(always)]
    pub(crate) fn fold_low(&self, sums: Sums<X::V>) -> X::V {
        let v = self.v;
        let middle = if X::SCHOOLBOOK { sums.middle } else { v.xor3(sums.middle, sums.low, sums.high) };
        v.xor3(middle, v.swap_halves(sums.low), v.multiply_low(sums.low, self.polynomial))
    }

    /// The second fold: the same with the lower half of the middle, onto the top.
    #[inline(always)]
    pub(crate) fn fold_middle(&self, folded: X::V, high: X::V) -> X::V {
        let v = self.v;
        v.xor3(high, v.swap_halves(folded), v.multiply_low(folded, self.polynomial))
    }

    #[inline(always)]
    pub(crate) fn pin_sums(&self, sums: &mut Sums<X::V>) {
        self.v.pin(&mut sums.low);
        self.v.pin(&mut sums.middle);
        self.v.pin(&mut sums.high);
    }
}

/// One field multiplication, for key expansion and long additional data.
#[inline(always)]
pub(crate) fn multiply(kernel: &Kernel<X128>, a: __m128i, b: __m128i) -> __m128i {
    kernel.reduce(kernel.product(a, b))
}

/// The one block that, in lane 0, hashes like all the additional data of a job: Horner's rule up to
/// and without its last multiplication. Seldom used: ESP has 8 or 12 bytes of it.
#[cold]
#[inline(never)]
pub(crate) fn fold_long_aad(job: &Job<'_>) -> u128 {
    match X128::detect() {
        // SAFETY: the proof guarantees that the CPU has the features of the function.
        Some(proof) => unsafe { fold(proof, job) },
        None => unreachable!("every vector back end includes this one"),
    }
}

#[target_feature(enable = "avx,aes,pclmulqdq")]
fn fold(v: X128, job: &Job<'_>) -> u128 {
    let kernel = Kernel::new(v);
    let h = read_block(job.schedule.power(1));
    let mut hash = v.zero();
    for (index, chunk) in job.long_aad().unwrap_or_default().chunks(16).enumerate() {
        if index > 0 {
            hash = multiply(&kernel, hash, h);
        }
        hash = v.xor(hash, kernel.reverse(v.load_part(chunk)));
    }
    let mut block = [0; 16];
    write_block(&mut block, hash);
    u128::from_le_bytes(block)
}
