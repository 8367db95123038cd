//! Several packets at once, each wholly in registers.
//!
//! A pipeline of two stages over the packets of one shape: while chunk n goes through the rounds of
//! AES, chunk n - 1 is hashed, a slice of it after each round, so that both chains of latency run
//! at the same time.

use super::ghash::Sums;
use super::{Kernel, keep_order, reject};
use crate::vector::{COUNTERS, Vector, read_block, write_block};
use crate::{Job, KeySchedule};

/// Runs the block for the packets `start..end` of every vector of at most `LANES` packets; a
/// closure would be compiled without the vector instructions.
macro_rules! for_groups {
    ($packets:expr, $group:ident, $start:ident, $end:ident, $work:block) => {
        let mut $start = 0;
        while $start < $packets {
            let $group = $start / X::LANES;
            let $end = if $start + X::LANES < $packets { $start + X::LANES } else { $packets };
            $work
            $start = $end;
        }
    };
}

/// `P` packets of `Z` vectors: text done, hash and tag to do.
pub(super) struct Crypted<'j, 'a, V, const P: usize, const Z: usize> {
    jobs: [&'j mut Job<'a>; P],
    /// Additional data and ciphertext in the multiplier's order.
    hashed: [[V; Z]; P],
    sums: [Sums<V>; P],
    /// From here on a packet is one lane, `LANES` packets a vector: first the encrypted J0, in the
    /// end the tags.
    tags: [V; P],
    /// Sums over all lanes of a packet and its length block.
    totals: [Sums<V>; P],
}

impl<X: Vector> Kernel<X> {
    /// The first chunk: nothing to hash yet. `SAME`: all packets have one key.
    #[inline(always)]
    pub(super) fn fill<'j, 'a, const P: usize, const Z: usize, const OPEN: bool, const SAME: bool>(
        &self,
        jobs: [&'j mut Job<'a>; P],
    ) -> Crypted<'j, 'a, X::V, P, Z> {
        let keys = schedules(&jobs);
        let rounds = jobs[0].rounds();
        let mut state = self.first_round(&jobs);
        for round in 1..10 {
            self.round::<P, Z, SAME>(&mut state, &keys, round);
        }
        self.last_rounds::<P, Z, SAME>(&mut state, &keys, rounds);
        self.crypt::<P, Z, OPEN>(jobs, state)
    }

    /// A further chunk, and the tags of the one before. Adds the rejected to `rejected`.
    #[inline(always)]
    pub(super) fn overlap<'j, 'a, const P: usize, const Z: usize, const OPEN: bool, const SAME: bool>(
        &self,
        jobs: [&'j mut Job<'a>; P],
        mut before: Crypted<'j, 'a, X::V, P, Z>,
        rejected: &mut usize,
    ) -> Crypted<'j, 'a, X::V, P, Z> {
        let keys = schedules(&jobs);
        let rounds = jobs[0].rounds();
        let powers = powers_of::<X, P, Z>(&before.jobs, 1);
        let mut state = self.first_round(&jobs);
        self.round::<P, Z, SAME>(&mut state, &keys, 1);
        self.multiply(&before.hashed, &mut before.sums, &powers, 0);
        self.round::<P, Z, SAME>(&mut state, &keys, 2);
        self.multiply(&before.hashed, &mut before.sums, &powers, 1);
        self.round::<P, Z, SAME>(&mut state, &keys, 3);
        self.multiply(&before.hashed, &mut before.sums, &powers, 2);
        self.round::<P, Z, SAME>(&mut state, &keys, 4);
        self.multiply(&before.hashed, &mut before.sums, &powers, 3);
        self.round::<P, Z, SAME>(&mut state, &keys, 5);
        self.multiply(&before.hashed, &mut before.sums, &powers, 4);
        self.round::<P, Z, SAME>(&mut state, &keys, 6);
        self.multiply(&before.hashed, &mut before.sums, &powers, 5);
        self.round::<P, Z, SAME>(&mut state, &keys, 7);
        self.multiply(&before.hashed, &mut before.sums, &powers, 6);
        self.multiply(&before.hashed, &mut before.sums, &powers, 7);
        self.round::<P, Z, SAME>(&mut state, &keys, 8);
        self.total(&mut before);
        self.round::<P, Z, SAME>(&mut state, &keys, 9);
        self.fold_first(&mut before);
        self.last_rounds::<P, Z, SAME>(&mut state, &keys, rounds);
        self.fold_second(&mut before);
        *rejected += self.conclude::<P, Z, OPEN>(before);
        self.crypt::<P, Z, OPEN>(jobs, state)
    }

    /// The tags of the last chunk.
    #[inline(always)]
    pub(super) fn drain<const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        mut last: Crypted<'_, '_, X::V, P, Z>,
    ) -> usize {
        let powers = powers_of::<X, P, Z>(&last.jobs, 1);
        // Written out: an index that the compiler does not know would keep all vectors in memory.
        self.multiply(&last.hashed, &mut last.sums, &powers, 0);
        self.multiply(&last.hashed, &mut last.sums, &powers, 1);
        self.multiply(&last.hashed, &mut last.sums, &powers, 2);
        self.multiply(&last.hashed, &mut last.sums, &powers, 3);
        self.multiply(&last.hashed, &mut last.sums, &powers, 4);
        self.multiply(&last.hashed, &mut last.sums, &powers, 5);
        self.multiply(&last.hashed, &mut last.sums, &powers, 6);
        self.multiply(&last.hashed, &mut last.sums, &powers, 7);
        self.total(&mut last);
        self.fold_first(&mut last);
        self.fold_second(&mut last);
        self.conclude::<P, Z, OPEN>(last)
    }

    /// Counter blocks with round key 0.
    #[inline(always)]
    fn first_round<const P: usize, const Z: usize>(&self, jobs: &[&mut Job<'_>; P]) -> [[X::V; Z]; P] {
        let v = self.v;
        let mut state = [[v.zero(); Z]; P];
        for p in 0..P {
            let base = self.counter_base(jobs[p]);
            for z in 0..Z {
                state[p][z] = v.xor(base, v.load(&COUNTERS.as_flattened()[z * X::WIDTH..]));
            }
        }
        state
    }

    /// Middle round `round` of all packets, so that all are in flight together.
    #[inline(always)]
    fn round<const P: usize, const Z: usize, const SAME: bool>(
        &self,
        state: &mut [[X::V; Z]; P],
        keys: &[&KeySchedule; P],
        round: usize,
    ) {
        keep_order();
        let mut key = self.v.splat(keys[0].round_key(round));
        for p in 0..P {
            if !SAME && p > 0 {
                key = self.v.splat(keys[p].round_key(round));
            }
            for z in 0..Z {
                state[p][z] = self.v.aes_round(state[p][z], key);
                self.v.pin(&mut state[p][z]);
            }
        }
    }

    /// What follows round 9: two or four more for longer keys, and the last one.
    #[inline(always)]
    fn last_rounds<const P: usize, const Z: usize, const SAME: bool>(
        &self,
        state: &mut [[X::V; Z]; P],
        keys: &[&KeySchedule; P],
        rounds: usize,
    ) {
        if rounds > 10 {
            self.round::<P, Z, SAME>(state, keys, 10);
            self.round::<P, Z, SAME>(state, keys, 11);
        }
        if rounds > 12 {
            self.round::<P, Z, SAME>(state, keys, 12);
            self.round::<P, Z, SAME>(state, keys, 13);
        }
        let mut key = self.v.splat(keys[0].round_key(rounds));
        for p in 0..P {
            if !SAME && p > 0 {
                key = self.v.splat(keys[p].round_key(rounds));
            }
            for z in 0..Z {
                state[p][z] = self.v.aes_last(state[p][z], key);
            }
        }
    }

    /// Text of all packets: xor with the key stream, in place.
    #[inline(always)]
    fn crypt<'j, 'a, const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        jobs: [&'j mut Job<'a>; P],
        keystream: [[X::V; Z]; P],
    ) -> Crypted<'j, 'a, X::V, P, Z> {
        let v = self.v;
        let mut hashed = keystream;
        let mut masks = [v.zero(); P];
        for p in 0..P {
            masks[p] = keystream[p][0];
            let aad = self.aad_block(jobs[p]);
            let mut rest = jobs[p].text();
            // Once instead of at every vector.
            assert!(rest.len() + 16 > (Z - 1) * X::WIDTH && rest.len() + 16 <= Z * X::WIDTH);
            for z in 0..Z {
                let (first, last) = (z == 0, z == Z - 1);
                let room = if first { X::WIDTH - 16 } else { X::WIDTH };
                let (piece, more) = rest.split_at_mut(if last { rest.len() } else { room });
                let input = if first {
                    v.load_part_above(piece)
                } else if last {
                    v.load_part(piece)
                } else {
                    v.load(piece)
                };
                let output = v.xor(input, keystream[p][z]);
                if first {
                    v.store_part_above(piece, output);
                } else if last {
                    v.store_part(piece, output);
                } else {
                    v.store(piece, output);
                }
                let ciphertext = if OPEN { input } else { output };
                hashed[p][z] = if last && !OPEN {
                    v.keep_reversed(ciphertext, piece.len() + if first { 16 } else { 0 }, self.reverse)
                } else {
                    self.reverse(ciphertext)
                };
                if first {
                    hashed[p][z] = v.replace_first(hashed[p][z], aad);
                }
                rest = more;
            }
        }
        let mut tags = [v.zero(); P];
        for_groups!(P, group, start, end, { tags[group] = v.first_lanes(&masks[start..end]) });
        let sums = [self.no_sums(); P];
        Crypted { jobs, hashed, sums, tags, totals: sums }
    }

    /// One eighth of the products with the powers of H.
    #[inline(always)]
    pub(super) fn multiply<const P: usize, const Z: usize>(
        &self,
        hashed: &[[X::V; Z]; P],
        sums: &mut [Sums<X::V>],
        powers: &[&[u8]; P],
        eighth: usize,
    ) {
        for index in P * Z * eighth / 8..P * Z * (eighth + 1) / 8 {
            let (p, z) = (index / Z, index % Z);
            let (x, power) = (hashed[p][z], self.v.load(&powers[p][z * X::WIDTH..]));
            sums[p] = if z == 0 { self.product(x, power) } else { self.add_product(sums[p], x, power) };
            // Not after each product, so that two additions can become one instruction.
            if index + 1 == P * Z * (eighth + 1) / 8 || z == Z - 1 {
                self.pin_sums(&mut sums[p]);
            }
        }
    }

    /// The sum over all lanes of each packet, and its length block.
    #[inline(always)]
    fn total<const P: usize, const Z: usize>(&self, crypted: &mut Crypted<'_, '_, X::V, P, Z>) {
        let Crypted { jobs, sums, totals, .. } = crypted;
        for_groups!(P, group, start, end, {
            totals[group] = self.total_of(&jobs[start..end], &sums[start..end]);
            self.pin_sums(&mut totals[group]);
        });
    }

    /// The same for at most `LANES` packets.
    #[inline(always)]
    pub(super) fn total_of(&self, jobs: &[&mut Job<'_>], sums: &[Sums<X::V>]) -> Sums<X::V> {
        let v = self.v;
        let mut low = [v.zero(); 4];
        let mut middle = [v.zero(); 4];
        let mut high = [v.zero(); 4];
        let mut lengths = [0; 4];
        let mut h = [read_block(&[0; 16]); 4];
        let count = jobs.len();
        for p in 0..count {
            (low[p], middle[p], high[p]) = (sums[p].low, sums[p].middle, sums[p].high);
            lengths[p] = jobs[p].lengths();
            h[p] = read_block(jobs[p].schedule.power(1));
        }
        let bits = v.times_eight(v.gather_pairs(&lengths[..count]));
        let lengths = self.product(bits, v.gather(&h[..count]));
        let text = Sums {
            low: v.sum_lanes(&low[..count]),
            middle: v.sum_lanes(&middle[..count]),
            high: v.sum_lanes(&high[..count]),
        };
        self.add(text, lengths)
    }

    #[inline(always)]
    fn fold_first<const P: usize, const Z: usize>(&self, crypted: &mut Crypted<'_, '_, X::V, P, Z>) {
        for_groups!(P, group, start, end, {
            let total = &mut crypted.totals[group];
            total.low = self.fold_low(*total);
            self.v.pin(&mut total.low);
        });
    }

    #[inline(always)]
    fn fold_second<const P: usize, const Z: usize>(&self, crypted: &mut Crypted<'_, '_, X::V, P, Z>) {
        for_groups!(P, group, start, end, {
            let total = crypted.totals[group];
            let hash = self.reverse(self.fold_middle(total.low, total.high));
            crypted.tags[group] = self.v.xor(crypted.tags[group], hash);
            self.v.pin(&mut crypted.tags[group]);
        });
    }

    #[inline(always)]
    fn conclude<const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        mut crypted: Crypted<'_, '_, X::V, P, Z>,
    ) -> usize {
        let mut rejected = 0;
        for_groups!(P, group, start, end, {
            rejected += self.deliver::<OPEN>(&mut crypted.jobs[start..end], crypted.tags[group]);
        });
        rejected
    }

    /// Writes the tags of at most `LANES` packets, or compares them and rejects.
    #[inline(always)]
    pub(super) fn deliver<const OPEN: bool>(&self, jobs: &mut [&mut Job<'_>], tags: X::V) -> usize {
        let v = self.v;
        if !OPEN {
            let tags = v.lanes(tags);
            for p in 0..jobs.len() {
                write_block(jobs[p].tag, tags[p]);
            }
            return 0;
        }
        let mut expected = [read_block(&[0; 16]); 4];
        for p in 0..jobs.len() {
            expected[p] = read_block(jobs[p].tag);
        }
        let equal = v.equal_lanes(tags, v.gather(&expected[..jobs.len()]));
        #[cfg(feature = "memcheck")]
        let equal = crate::memcheck::publish(equal);
        let mut rejected = 0;
        for p in 0..jobs.len() {
            jobs[p].authentic = equal >> p & 1 == 1;
            if !jobs[p].authentic {
                reject(jobs[p]);
                rejected += 1;
            }
        }
        rejected
    }
}

/// For each packet the powers of H from that of its first lane on; `heads` lanes are in front of
/// its text. The length block has exponent 1, so the last block of text has 2.
#[inline(always)]
pub(super) fn powers_of<'a, X: Vector, const P: usize, const Z: usize>(
    jobs: &[&mut Job<'a>],
    heads: usize,
) -> [&'a [u8]; P] {
    let mut powers: [&[u8]; P] = [&[]; P];
    for p in 0..P {
        powers[p] = jobs[p].schedule.powers_from(jobs[p].blocks() + 1 + heads, Z, X::LANES);
    }
    powers
}

#[inline(always)]
pub(super) fn schedules<'a, const P: usize>(jobs: &[&mut Job<'a>; P]) -> [&'a KeySchedule; P] {
    let mut schedules = [jobs[0].schedule; P];
    for p in 1..P {
        schedules[p] = jobs[p].schedule;
    }
    schedules
}
