//! One packet of any length, a group of vectors at a time.
//!
//! GHASH by Horner's rule in every lane for itself: a group's first vector takes the lanes' sums of the groups before, and vector z of a group
//! of G is multiplied by H^(LANES (G - z)), the same in all lanes. Only the tail has a power of its own for each lane.
//!
//! A pipeline like that of the short kernel: while a group goes through AES, the one before is hashed.

use super::Kernel;
use super::ghash::Sums;
use crate::{Job, KeySchedule};
use crate::vector::{COUNTERS, Vector};

/// What the groups of a packet have in common.
struct Packet<'s, X: Vector> {
    base: X::V,
    step: X::V,
    counter_order: X::V,
    round_keys: &'s [[u8; 16]],
    rounds: usize,
}

/// Reverses the last four bytes of a lane and keeps the others.
const COUNTER_ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12];

impl<X: Vector> Kernel<X> {
    /// Seals or opens one packet whose lanes fill at least `G + 2` vectors. Returns 1 when it was rejected, else 0.
    #[inline(always)]
    pub(super) fn long<const G: usize, const OPEN: bool>(&self, job: &mut Job<'_>) -> usize {
        let v = self.v;
        let vectors = (job.text_len().div_ceil(16) + 1).div_ceil(X::LANES);
        // The tail has two vectors at least: then its first one is full and has room for the hash of every lane.
        let groups = (vectors - 2) / G;
        let schedule = job.schedule;
        let packet = Packet {
            base: self.counter_base(job),
            step: v.splat(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X::LANES as u8, 0, 0, 0]),
            counter_order: v.splat(&COUNTER_ORDER),
            round_keys: schedule.round_keys(),
            rounds: job.rounds(),
        };
        // The counters of the next vector, each a native 32-bit number in the last word of its lane.
        let mut counter = v.shuffle(v.load(COUNTERS.as_flattened()), packet.counter_order);
        let mut powers = [(v.zero(), v.zero()); G];
        for z in 0..G {
            let h = v.splat(schedule.power(X::LANES * (G - z)));
            powers[z] = (h, v.xor(h, v.swap_halves(h)));
        }
        let aad = self.aad_block(job);

        let mut state = self.first_round_at::<G>(&packet, &mut counter);
        self.rounds(&mut state, &packet.round_keys[1..10]);
        self.last_rounds_of(&packet, &mut state);
        let mask = state[0];
        let head = G * X::WIDTH - 16;
        let (text, mut rest) = job.text().split_at_mut(head);
        let mut hashed = self.crypt_group::<G, OPEN, true>(text, &state);
        hashed[0] = v.replace_first(hashed[0], aad);
        for _ in 1..groups {
            let (text, more) = rest.split_at_mut(G * X::WIDTH);
            let mut state = self.first_round_at::<G>(&packet, &mut counter);
            let hash = self.rounds_and_hash(&packet, &mut state, &hashed, &powers);
            hashed = self.crypt_group::<G, OPEN, false>(text, &state);
            hashed[0] = v.xor(hashed[0], hash);
            rest = more;
        }
        let tail = Tail { packet: &packet, text: rest, hashed: &hashed, powers: &powers, schedule, counter };
        let sums = match vectors - groups * G {
            2 => self.tail::<2, G, OPEN>(tail),
            3 => self.tail::<3, G, OPEN>(tail),
            4 => self.tail::<4, G, OPEN>(tail),
            5 => self.tail::<5, G, OPEN>(tail),
            6 if G >= 5 => self.tail::<6, G, OPEN>(tail),
            7 if G >= 6 => self.tail::<7, G, OPEN>(tail),
            8 if G >= 7 => self.tail::<8, G, OPEN>(tail),
            9 if G >= 8 => self.tail::<9, G, OPEN>(tail),
            _ => unreachable!("a tail is two vectors to one more than a group"),
        };
        let total = self.total_of(&[&mut *job], &[sums]);
        let tags = v.xor(self.reverse(self.reduce(total)), mask);
        self.deliver::<OPEN>(&mut [job], tags)
    }

    #[inline(always)]
    fn first_round_at<const N: usize>(&self, packet: &Packet<'_, X>, counter: &mut X::V) -> [X::V; N] {
        let v = self.v;
        let mut state = [v.zero(); N];
        for z in 0..N {
            state[z] = v.xor(packet.base, v.shuffle(*counter, packet.counter_order));
            *counter = v.add32(*counter, packet.step);
        }
        state
    }

    #[inline(always)]
    fn rounds<const N: usize>(&self, state: &mut [X::V; N], keys: &[[u8; 16]]) {
        for key in keys {
            let key = self.v.splat(key);
            for z in 0..N {
                state[z] = self.v.aes_round(state[z], key);
                self.v.pin(&mut state[z]);
            }
        }
    }

    #[inline(always)]
    fn last_rounds_of<const N: usize>(&self, packet: &Packet<'_, X>, state: &mut [X::V; N]) {
        if packet.rounds > 10 {
            self.rounds(state, &packet.round_keys[10..12]);
        }
        if packet.rounds > 12 {
            self.rounds(state, &packet.round_keys[12..14]);
        }
        let key = self.v.splat(&packet.round_keys[packet.rounds]);
        for z in 0..N {
            state[z] = self.v.aes_last(state[z], key);
        }
    }

    /// All rounds of `state`, and the hash of the group before.
    #[inline(always)]
    fn rounds_and_hash<const N: usize, const G: usize>(
        &self,
        packet: &Packet<'_, X>,
        state: &mut [X::V; N],
        hashed: &[X::V; G],
        powers: &[(X::V, X::V); G],
    ) -> X::V {
        let mut sums = self.product_by(hashed[0], powers[0]);
        self.pin_sums(&mut sums);
        for z in 1..G {
            self.rounds(state, &packet.round_keys[z..z + 1]);
            sums = self.add(sums, self.product_by(hashed[z], powers[z]));
            self.pin_sums(&mut sums);
        }
        self.rounds(state, &packet.round_keys[G..G + 1]);
        let mut folded = self.fold_low(sums);
        self.v.pin(&mut folded);
        self.rounds(state, &packet.round_keys[G + 1..10]);
        let hash = self.fold_middle(folded, sums.high);
        self.last_rounds_of(packet, state);
        hash
    }

    /// Full vectors of text; in the first group lane 0 has none. Gives the ciphertext in the multiplier's order.
    #[inline(always)]
    fn crypt_group<const G: usize, const OPEN: bool, const FIRST: bool>(
        &self,
        text: &mut [u8],
        keystream: &[X::V; G],
    ) -> [X::V; G] {
        let v = self.v;
        let mut hashed = [v.zero(); G];
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
            hashed[z] = self.reverse(if OPEN { input } else { output });
            start = end;
        }
        hashed
    }

    /// The last `R` vectors, of which only the last may be partial.
    #[inline(always)]
    fn tail<const R: usize, const G: usize, const OPEN: bool>(&self, tail: Tail<'_, X, G>) -> Sums<X::V> {
        let v = self.v;
        let Tail { packet, text, hashed, powers, schedule, mut counter } = tail;
        // As in the short kernel the last block has exponent 2.
        let tail_powers = schedule.powers_from(text.len().div_ceil(16) + 1, R, X::LANES);
        let mut state = self.first_round_at::<R>(packet, &mut counter);
        let hash = self.rounds_and_hash(packet, &mut state, hashed, powers);
        let mut sums = Sums { low: v.zero(), middle: v.zero(), high: v.zero() };
        for z in 0..R {
            let last = z == R - 1;
            let end = if last { text.len() } else { (z + 1) * X::WIDTH };
            let piece = &mut text[z * X::WIDTH..end];
            let input = if last { v.load_part(piece) } else { v.load(piece) };
            let output = v.xor(input, state[z]);
            if last {
                v.store_part(piece, output);
            } else {
                v.store(piece, output);
            }
            let mut x = if OPEN {
                self.reverse(input)
            } else if last {
                v.keep_reversed(output, piece.len(), self.reverse)
            } else {
                self.reverse(output)
            };
            if z == 0 {
                x = v.xor(x, hash);
            }
            let product = self.product(x, v.load(&tail_powers[z * X::WIDTH..]));
            sums = if z == 0 { product } else { self.add(sums, product) };
        }
        sums
    }
}

/// What is left of a packet when the groups are through AES.
struct Tail<'s, X: Vector, const G: usize> {
    packet: &'s Packet<'s, X>,
    text: &'s mut [u8],
    hashed: &'s [X::V; G],
    powers: &'s [(X::V, X::V); G],
    schedule: &'s KeySchedule,
    counter: X::V,
}
