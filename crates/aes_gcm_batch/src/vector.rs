//! The vector operations that the kernel is written in, and the three widths that provide them.
//!
//! A [`Vector`] is a zero-sized *proof*: a value exists only after a check that the CPU has the
//! instructions, so its methods are safe functions. A register is an array of `LANES` 16-byte
//! blocks; "lane" always means one such block, "half" one of its two 64-bit words.
//!
//! Every method compiles to a fixed sequence of data-independent instructions; only lengths, which
//! are public, select between sequences.

pub(crate) mod x128;
pub(crate) mod x256;
pub(crate) mod x512;

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_set_epi64x, _mm_storeu_si128};

/// Applies an intrinsic that takes and returns values only.
macro_rules! pure {
    ($intrinsic:expr $(, $argument:expr)*) => {{
        // SAFETY: used in methods of a proof only, which guarantees that the CPU has the
        // instruction; it touches registers and no memory.
        #[allow(unused_unsafe, reason = "nested uses")]
        unsafe { $intrinsic($($argument),*) }
    }};
}
pub(crate) use pure;

/// One 16-byte block in memory.
pub(crate) type Block = [u8; 16];

/// One vector width, as a proof that the CPU has it.
pub(crate) trait Vector: Copy {
    /// A register of `LANES` blocks.
    type V: Copy;
    /// Blocks per register.
    const LANES: usize;
    /// Bytes per register.
    const WIDTH: usize = 16 * Self::LANES;
    /// Whether four packets can have one lane each.
    const QUADS: bool = Self::LANES == 4;
    /// Four multiplications a product instead of three and four operations: better where the
    /// multiplier takes one instruction a cycle.
    const SCHOOLBOOK: bool = false;

    /// Runs a task compiled with the instructions of this width.
    fn run<T: Task<Self>>(self, task: T) -> usize;

    /// All bits zero.
    fn zero(self) -> Self::V;
    /// The block in every lane.
    fn splat(self, block: &Block) -> Self::V;
    /// The 64-bit number in every half.
    fn splat_half(self, half: u64) -> Self::V;
    /// `WIDTH` bytes. Panics if there are fewer.
    fn load(self, bytes: &[u8]) -> Self::V;
    /// Writes `WIDTH` bytes. Panics if there is no room.
    fn store(self, bytes: &mut [u8], value: Self::V);
    /// All of `bytes` (at most `WIDTH`), then zeros; reads nothing else.
    fn load_part(self, bytes: &[u8]) -> Self::V;
    /// Writes as many bytes as `bytes` has (at most `WIDTH`).
    fn store_part(self, bytes: &mut [u8], value: Self::V);
    /// Zero in lane 0, then all of `bytes` (at most `WIDTH - 16`), then zeros.
    fn load_part_above(self, bytes: &[u8]) -> Self::V;
    /// Writes as many bytes from lane 1 on as `bytes` has (at most `WIDTH - 16`).
    fn store_part_above(self, bytes: &mut [u8], value: Self::V);
    /// The first `length` bytes of `value`, zeros behind them, and then the bytes of every lane in
    /// reverse. `order` is [`REVERSE`] in every lane.
    fn keep_reversed(self, value: Self::V, length: usize, order: Self::V) -> Self::V;
    /// `value` with lane 0 replaced.
    fn replace_first(self, value: Self::V, block: __m128i) -> Self::V;

    /// a ^ b.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// a ^ b ^ c.
    fn xor3(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// (a & mask) ^ b.
    fn masked_xor(self, a: Self::V, mask: Self::V, b: Self::V) -> Self::V;
    /// Sum of 32-bit words.
    fn add32(self, a: Self::V, b: Self::V) -> Self::V;
    /// Exchanges the halves of every lane.
    fn swap_halves(self, value: Self::V) -> Self::V;
    /// Permutes the bytes of every lane alike.
    fn shuffle(self, value: Self::V, order: Self::V) -> Self::V;
    /// One middle round of AES in every lane.
    fn aes_round(self, state: Self::V, key: Self::V) -> Self::V;
    /// The last round of AES in every lane.
    fn aes_last(self, state: Self::V, key: Self::V) -> Self::V;
    /// Carry-less product of the low halves of every lane.
    fn multiply_low(self, a: Self::V, b: Self::V) -> Self::V;
    /// Carry-less product of the high halves of every lane.
    fn multiply_high(self, a: Self::V, b: Self::V) -> Self::V;
    /// Carry-less product of the low halves of `a` and the high halves of `b`.
    fn multiply_low_high(self, a: Self::V, b: Self::V) -> Self::V;
    /// Carry-less product of the high halves of `a` and the low halves of `b`.
    fn multiply_high_low(self, a: Self::V, b: Self::V) -> Self::V;

    /// Lane p of the result is the sum (xor) of all lanes of `parts[p]`. At most `LANES` parts;
    /// lanes without a part are unspecified.
    fn sum_lanes(self, parts: &[Self::V]) -> Self::V;
    /// The sum (xor) of all lanes in lane 0, zero in the others.
    fn sum_into_first(self, value: Self::V) -> Self::V;
    /// Lane p of the result is lane 0 of `parts[p]`. At most `LANES` parts.
    fn first_lanes(self, parts: &[Self::V]) -> Self::V;
    /// Lane p of the result is `blocks[p]`. At most `LANES` blocks, other lanes are unspecified.
    fn gather(self, blocks: &[__m128i]) -> Self::V;
    /// Lane p of the result is the two 32-bit numbers of `pairs[p]`, each widened to a half. At
    /// most `LANES` pairs.
    fn gather_pairs(self, pairs: &[u64]) -> Self::V;
    /// Shifts every half up by three bits: bytes to bits.
    fn times_eight(self, value: Self::V) -> Self::V;
    /// The value itself, which the compiler must have computed here, before everything that is
    /// pinned later. No instruction.
    fn pin(self, value: &mut Self::V);
    /// The blocks of the register; those past `LANES` are zero.
    fn lanes(self, value: Self::V) -> [__m128i; 4];
    /// Bit p is set when lane p of both is equal.
    fn equal_lanes(self, a: Self::V, b: Self::V) -> u32;
}

/// A piece of work that is compiled once for each width, as a function of its own.
pub(crate) trait Task<X: Vector> {
    /// Must be `#[inline(always)]`, like everything that it calls, to be compiled with the
    /// instructions of `X`.
    fn run(self, v: X) -> usize;
}

/// Counter blocks without nonce, the 32-bit counter in network order in the last four bytes: 1, 2,
/// 3, … (SP 800-38D: J0 carries 1). Long enough for the first vectors of every short packet.
pub(crate) static COUNTERS: [Block; 32] = counters();

const fn counters() -> [Block; 32] {
    let mut blocks = [[0; 16]; 32];
    let mut index = 0;
    while index < blocks.len() {
        blocks[index][15] = index as u8 + 1;
        index += 1;
    }
    blocks
}

/// Reverses the 16 bytes of a block: GCM's bit order becomes that of the multiplier (docs/aead.md,
/// §2).
pub(crate) const REVERSE: Block = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];

/// A block of memory as a register.
#[inline(always)]
pub(crate) fn read_block(block: &Block) -> __m128i {
    // SAFETY: 16 readable bytes; the load needs no alignment and SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

/// A register as a block of memory.
#[inline(always)]
pub(crate) fn write_block(block: &mut Block, value: __m128i) {
    // SAFETY: 16 writable bytes; the store needs no alignment and SSE2 is part of x86-64.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), value) }
}

/// A register of two 64-bit halves.
#[inline(always)]
pub(crate) fn block_of_halves(high: u64, low: u64) -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_set_epi64x(high as i64, low as i64) }
}
