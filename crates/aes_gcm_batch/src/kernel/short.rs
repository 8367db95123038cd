//! Several packets at once, each wholly in registers.

use super::ghash::Sums;
use super::{Kernel, reject};
use crate::Job;
use crate::vector::{COUNTERS, Vector, read_block, write_block};

impl<X: Vector> Kernel<X> {
    /// Seals or opens `P` packets whose lanes (blocks of text and one) fill exactly `Z` vectors. All have the same number of
    /// rounds. Returns how many were rejected.
    #[inline(always)]
    pub(super) fn short<const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        jobs: [&mut Job<'_>; P],
    ) -> usize {
        let v = self.v;
        let keystream = self.keystream::<P, Z>(&jobs);
        let mut sums = [Sums { low: v.zero(), middle: v.zero(), high: v.zero() }; P];
        let mut masks = [v.zero(); P];
        let mut jobs = jobs;
        for p in 0..P {
            masks[p] = keystream[p][0];
            sums[p] = self.crypt::<Z, OPEN>(jobs[p], &keystream[p]);
        }
        let mut rejected = 0;
        let mut start = 0;
        while start < P {
            let end = if start + X::LANES < P { start + X::LANES } else { P };
            rejected += self.finish::<OPEN>(&mut jobs[start..end], &sums[start..end], &masks[start..end]);
            start = end;
        }
        rejected
    }

    /// The encrypted counter blocks of `P` packets, round by round so that all of them are in flight.
    #[inline(always)]
    fn keystream<const P: usize, const Z: usize>(&self, jobs: &[&mut Job<'_>; P]) -> [[X::V; Z]; P] {
        let v = self.v;
        let mut state = [[v.zero(); Z]; P];
        for p in 0..P {
            let base = self.counter_base(jobs[p]);
            for z in 0..Z {
                state[p][z] = v.xor(base, v.load(&COUNTERS.as_flattened()[z * X::WIDTH..]));
            }
        }
        let rounds = jobs[0].rounds();
        for round in 1..10 {
            self.round(&mut state, jobs, round);
        }
        if rounds > 10 {
            self.round(&mut state, jobs, 10);
            self.round(&mut state, jobs, 11);
        }
        if rounds > 12 {
            self.round(&mut state, jobs, 12);
            self.round(&mut state, jobs, 13);
        }
        for p in 0..P {
            let key = v.splat(jobs[p].schedule.round_key(rounds));
            for z in 0..Z {
                state[p][z] = v.aes_last(state[p][z], key);
            }
        }
        state
    }

    #[inline(always)]
    fn round<const P: usize, const Z: usize>(
        &self,
        state: &mut [[X::V; Z]; P],
        jobs: &[&mut Job<'_>; P],
        round: usize,
    ) {
        for p in 0..P {
            let key = self.v.splat(jobs[p].schedule.round_key(round));
            for z in 0..Z {
                state[p][z] = self.v.aes_round(state[p][z], key);
            }
        }
    }

    /// Text of one packet: xor with the key stream, and the products of additional data and ciphertext.
    #[inline(always)]
    fn crypt<const Z: usize, const OPEN: bool>(
        &self,
        job: &mut Job<'_>,
        keystream: &[X::V; Z],
    ) -> Sums<X::V> {
        let v = self.v;
        let aad = self.aad_block(job);
        // The length block has exponent 1 and is added later, so the last block of text has 2 and lane 0 this:
        let powers = job.schedule.powers_from(job.text.len().div_ceil(16) + 2);
        let mut sums = Sums { low: v.zero(), middle: v.zero(), high: v.zero() };
        let mut start = 0;
        for z in 0..Z {
            let (first, last) = (z == 0, z == Z - 1);
            let end = if last { job.text.len() } else { start + X::WIDTH - if first { 16 } else { 0 } };
            let piece = &mut job.text[start..end];
            let input = if first {
                v.load_part_above(piece)
            } else if last {
                v.load_part(piece)
            } else {
                v.load(piece)
            };
            let output = v.xor(input, keystream[z]);
            if first {
                v.store_part_above(piece, output);
            } else if last {
                v.store_part(piece, output);
            } else {
                v.store(piece, output);
            }
            let mut ciphertext = if OPEN { input } else { output };
            if last && !OPEN {
                ciphertext = v.keep(ciphertext, piece.len() + if first { 16 } else { 0 });
            }
            if first {
                ciphertext = v.replace_first(ciphertext, &aad);
            }
            let product = self.product(self.reverse(ciphertext), v.load(&powers[z * X::WIDTH..]));
            sums = if first { product } else { self.add(sums, product) };
            start = end;
        }
        sums
    }

    /// The tags of at most `LANES` packets: sum over the lanes, length block, reduction and mask, one packet per lane.
    #[inline(always)]
    pub(super) fn finish<const OPEN: bool>(
        &self,
        jobs: &mut [&mut Job<'_>],
        sums: &[Sums<X::V>],
        masks: &[X::V],
    ) -> usize {
        let v = self.v;
        let mut low = [v.zero(); 4];
        let mut middle = [v.zero(); 4];
        let mut high = [v.zero(); 4];
        let mut lengths = [read_block(&[0; 16]); 4];
        let mut h = lengths;
        let mut expected = lengths;
        let count = jobs.len();
        for p in 0..count {
            (low[p], middle[p], high[p]) = (sums[p].low, sums[p].middle, sums[p].high);
            lengths[p] = Self::length_block(jobs[p]);
            h[p] = read_block(jobs[p].schedule.power(1));
            expected[p] = read_block(jobs[p].tag);
        }
        let text = Sums {
            low: v.sum_lanes(&low[..count]),
            middle: v.sum_lanes(&middle[..count]),
            high: v.sum_lanes(&high[..count]),
        };
        let lengths = self.product(v.gather(&lengths[..count]), v.gather(&h[..count]));
        let hash = self.reverse(self.reduce(self.add(text, lengths)));
        let tags = v.xor(hash, v.first_lanes(masks));
        if !OPEN {
            let tags = v.lanes(tags);
            for p in 0..count {
                write_block(jobs[p].tag, tags[p]);
            }
            return 0;
        }
        let equal = v.equal_lanes(tags, v.gather(&expected[..count]));
        let mut rejected = 0;
        for p in 0..count {
            jobs[p].authentic = equal >> p & 1 == 1;
            if !jobs[p].authentic {
                reject(jobs[p]);
                rejected += 1;
            }
        }
        rejected
    }
}
