//! One packet of any length, a group of vectors at a time.
//!
//! GHASH by Horner's rule in every lane for itself: a group's first vector takes the lanes' sums of the groups before, and vector z of a group
//! of G is multiplied by H^(LANES (G - z)), the same in all lanes. Only the tail has a power of its own for each lane.

use super::Kernel;
use super::ghash::Sums;
use crate::Job;
use crate::vector::{COUNTERS, Vector};

/// Where the walk through one packet stands.
struct Walk<'s, X: Vector> {
    /// Text not yet worked on.
    rest: &'s mut [u8],
    /// Counters of the next vector, each a native 32-bit number in the last word of its lane.
    counter: X::V,
    /// Per lane the reduced hash of everything before.
    hash: X::V,
    /// Lane 0: the encrypted J0.
    mask: X::V,
}

/// What one packet's groups have in common, in registers.
struct Context<'s, X: Vector> {
    base: X::V,
    step: X::V,
    counter_order: X::V,
    round_keys: &'s [[u8; 16]],
    rounds: usize,
    aad: [u8; 16],
}

/// Reverses the last four bytes of a lane and keeps the others.
const COUNTER_ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12];

impl<X: Vector> Kernel<X> {
    /// Seals or opens one packet whose lanes fill at least `G + 2` vectors. Returns 1 when it was rejected, else 0.
    #[inline(always)]
    pub(super) fn long<const G: usize, const OPEN: bool>(&self, job: &mut Job<'_>) -> usize {
        let v = self.v;
        let vectors = (job.text.len().div_ceil(16) + 1).div_ceil(X::LANES);
        // The tail has two vectors at least: then its first one is full and has room for the hash of every lane.
        let groups = (vectors - 2) / G;
        let schedule = job.schedule;
        let context = Context {
            base: self.counter_base(job),
            step: v.splat(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X::LANES as u8, 0, 0, 0]),
            counter_order: v.splat(&COUNTER_ORDER),
            round_keys: schedule.round_keys(),
            rounds: job.rounds(),
            aad: self.aad_block(job),
        };
        let mut powers = [(v.zero(), v.zero()); G];
        for (z, power) in powers.iter_mut().enumerate() {
            let h = v.splat(schedule.power(X::LANES * (G - z)));
            *power = (h, v.xor(h, v.swap_halves(h)));
        }
        let mut walk = Walk {
            rest: &mut *job.text,
            counter: v.shuffle(v.load(COUNTERS.as_flattened()), context.counter_order),
            hash: v.zero(),
            mask: v.zero(),
        };
        walk = self.group::<G, OPEN, true>(&context, walk, &powers);
        for _ in 1..groups {
            walk = self.group::<G, OPEN, false>(&context, walk, &powers);
        }
        let tail = schedule.powers_from(walk.rest.len().div_ceil(16) + 1);
        let (sums, mask) = match vectors - groups * G {
            2 => self.tail::<2, OPEN>(&context, walk, tail),
            3 => self.tail::<3, OPEN>(&context, walk, tail),
            4 => self.tail::<4, OPEN>(&context, walk, tail),
            5 => self.tail::<5, OPEN>(&context, walk, tail),
            6 if G >= 5 => self.tail::<6, OPEN>(&context, walk, tail),
            7 if G >= 6 => self.tail::<7, OPEN>(&context, walk, tail),
            8 if G >= 7 => self.tail::<8, OPEN>(&context, walk, tail),
            9 if G >= 8 => self.tail::<9, OPEN>(&context, walk, tail),
            _ => unreachable!("a tail is two vectors to one more than a group"),
        };
        self.finish::<OPEN>(&mut [job], &[sums], &[mask])
    }

    /// `N` vectors of key stream from `counter` on.
    #[inline(always)]
    fn key_vectors<const N: usize>(&self, context: &Context<'_, X>, counter: &mut X::V) -> [X::V; N] {
        let v = self.v;
        let mut state = [v.zero(); N];
        for vector in &mut state {
            *vector = v.xor(context.base, v.shuffle(*counter, context.counter_order));
            *counter = v.add32(*counter, context.step);
        }
        self.rounds(&mut state, &context.round_keys[1..10]);
        if context.rounds > 10 {
            self.rounds(&mut state, &context.round_keys[10..12]);
        }
        if context.rounds > 12 {
            self.rounds(&mut state, &context.round_keys[12..14]);
        }
        let key = v.splat(&context.round_keys[context.rounds]);
        for vector in &mut state {
            *vector = v.aes_last(*vector, key);
        }
        state
    }

    #[inline(always)]
    fn rounds<const N: usize>(&self, state: &mut [X::V; N], keys: &[[u8; 16]]) {
        for key in keys {
            let key = self.v.splat(key);
            for vector in state.iter_mut() {
                *vector = self.v.aes_round(*vector, key);
            }
        }
    }

    #[inline(always)]
    fn group<'s, const G: usize, const OPEN: bool, const FIRST: bool>(
        &self,
        context: &Context<'_, X>,
        walk: Walk<'s, X>,
        powers: &[(X::V, X::V); G],
    ) -> Walk<'s, X> {
        let v = self.v;
        let Walk { rest, mut counter, hash, mut mask } = walk;
        let keystream = self.key_vectors::<G>(context, &mut counter);
        let (text, rest) = rest.split_at_mut(G * X::WIDTH - if FIRST { 16 } else { 0 });
        let mut sums = Sums { low: v.zero(), middle: v.zero(), high: v.zero() };
        let mut start = 0;
        for z in 0..G {
            let head = FIRST && z == 0;
            let end = start + X::WIDTH - if head { 16 } else { 0 };
            let piece = &mut text[start..end];
            let input = if head { v.load_part_above(piece) } else { v.load(piece) };
            let output = v.xor(input, keystream[z]);
            if head {
                v.store_part_above(piece, output);
            } else {
                v.store(piece, output);
            }
            let mut ciphertext = if OPEN { input } else { output };
            if head {
                mask = keystream[z];
                ciphertext = v.replace_first(ciphertext, &context.aad);
            }
            let mut x = self.reverse(ciphertext);
            if z == 0 && !FIRST {
                x = v.xor(x, hash);
            }
            let product = self.product_by(x, powers[z]);
            sums = if z == 0 { product } else { self.add(sums, product) };
            start = end;
        }
        Walk { rest, counter, hash: self.reduce(sums), mask }
    }

    /// The last `R` vectors, of which only the last may be partial.
    #[inline(always)]
    fn tail<const R: usize, const OPEN: bool>(
        &self,
        context: &Context<'_, X>,
        walk: Walk<'_, X>,
        powers: &[u8],
    ) -> (Sums<X::V>, X::V) {
        let v = self.v;
        let Walk { rest, mut counter, hash, mask } = walk;
        let keystream = self.key_vectors::<R>(context, &mut counter);
        let mut sums = Sums { low: v.zero(), middle: v.zero(), high: v.zero() };
        for z in 0..R {
            let last = z == R - 1;
            let end = if last { rest.len() } else { (z + 1) * X::WIDTH };
            let piece = &mut rest[z * X::WIDTH..end];
            let input = if last { v.load_part(piece) } else { v.load(piece) };
            let output = v.xor(input, keystream[z]);
            if last {
                v.store_part(piece, output);
            } else {
                v.store(piece, output);
            }
            let mut ciphertext = if OPEN { input } else { output };
            if last && !OPEN {
                ciphertext = v.keep(ciphertext, piece.len());
            }
            let mut x = self.reverse(ciphertext);
            if z == 0 {
                x = v.xor(x, hash);
            }
            let product = self.product(x, v.load(&powers[z * X::WIDTH..]));
            sums = if z == 0 { product } else { self.add(sums, product) };
        }
        (sums, mask)
    }
}
