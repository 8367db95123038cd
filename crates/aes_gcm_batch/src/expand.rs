//! Key expansion: round keys (FIPS 197 §5.2) and powers of the hash key.

#[cfg(target_arch = "x86_64")]
use crate::kernel::{Kernel, ghash};
#[cfg(target_arch = "x86_64")]
use crate::vector::{Vector, read_block, write_block, x128::X128};

/// Fills `round_keys` from the front and `powers` with H^n down to H^1. Without AES instructions
/// both stay zero: then only the portable back end runs, which keeps its own.
pub(crate) fn expand(key: &[u8], powers: &mut [[u8; 16]], round_keys: &mut [[u8; 16]]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(v) = X128::detect() {
        // SAFETY: the proof guarantees that the CPU has the features of the function.
        unsafe { expand_x128(v, key, powers, round_keys) }
    }
}

/// Prefetches the cache line of `byte`.
#[inline(always)]
pub(crate) fn prefetch(byte: &u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and SSE is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>((&raw const *byte).cast());
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,aes,pclmulqdq")]
fn expand_x128(v: X128, key: &[u8], powers: &mut [[u8; 16]], round_keys: &mut [[u8; 16]]) {
    let key_words = key.len() / 4;
    let rounds = key_words + 6;
    let words = round_keys.as_flattened_mut();
    words[..key.len()].copy_from_slice(key);
    let mut round_constant = 1u32;
    for index in key_words..4 * (rounds + 1) {
        let mut word = read_word(words, index - 1);
        if index % key_words == 0 {
            word = v.substitute_word(word).rotate_right(8) ^ round_constant;
            // The constants 1, 2, 4 … 0x80, 0x1b, 0x36: doubling in AES's field.
            round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x11b);
        } else if key_words == 8 && index % 8 == 4 {
            word = v.substitute_word(word);
        }
        word ^= read_word(words, index - key_words);
        words[4 * index..][..4].copy_from_slice(&word.to_le_bytes());
    }

    let mut block = v.splat(&round_keys[0]);
    for key in &round_keys[1..rounds] {
        block = v.aes_round(block, v.splat(key));
    }
    block = v.aes_last(block, v.splat(&round_keys[rounds]));
    let mut h = [0; 16];
    write_block(&mut h, block);

    let kernel = Kernel::new(v);
    let h = read_block(&times_x(h).to_le_bytes());
    let mut power = h;
    for slot in powers.iter_mut().rev() {
        write_block(slot, power);
        power = ghash::multiply(&kernel, power, h);
    }
}

/// The hash key in the multiplier's order, multiplied by x: makes up for the bit that a carry-less
/// product of reflected numbers lacks (docs/aead.md, §2). No branch on the bit that falls out.
fn times_x(h: [u8; 16]) -> u128 {
    let h = u128::from_be_bytes(h);
    let carry = 0u128.wrapping_sub(h >> 127);
    (h << 1) ^ (carry & (0xc2 << 120 | 1))
}

#[cfg(target_arch = "x86_64")]
fn read_word(words: &[u8], index: usize) -> u32 {
    let bytes = &words[4 * index..][..4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
