//! One packet of any length, a group of vectors at a time.
//!
//! A group of eight vectors is multiplied lane by lane with H^(8 `LANES`) down to H^1, the hash so far going into its first lane; the tail
//! likewise, with one power more for the length block. A pipeline like that of the short kernel: while a group goes through AES, the one before is hashed.

use super::burst::next;
use super::ghash::Sums;
use super::{Kernel, keep_order};
use crate::vector::{COUNTERS, Vector};
use crate::{Job, KeySchedule};

/// Vectors that go through AES together: as many as the AES units need to hide their latency.
const GROUP: usize = 8;

/// Where the walk through a packet stands.
struct Walk<'s, X: Vector> {
    schedule: &'s KeySchedule,
    rounds: usize,
    /// Counter block 0 after round key 0.
    base: X::V,
    /// Blocks of counter before the next group, a native number in the last word of each lane.
    blocks: X::V,
    /// Text not yet encrypted.
    rest: &'s mut [u8],
}

/// Reverses the last four bytes of a lane and keeps the others.
const COUNTER_ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12];

impl<X: Vector> Kernel<X> {
    /// Seals or opens packets whose lanes fill more than a group each. Returns how many were rejected.
    ///
    /// The tags of `LANES` packets are made at a time: the chain from the sums to a tag is long, and one lane wide for each.
    #[inline(always)]
    pub(super) fn long<const OPEN: bool>(&self, jobs: &mut [Option<&mut Job<'_>>]) -> usize {
        let v = self.v;
        let mut rejected = 0;
        let mut rest = jobs;
        while let Some(mut some) = next::<4>(&mut rest) {
            let mut sums = [Sums { low: v.zero(), middle: v.zero(), high: v.zero() }; 4];
            let mut masks = [v.zero(); 4];
            for p in 0..4 {
                (sums[p], masks[p]) = self.sums_of::<OPEN>(some[p]);
            }
            let mut start = 0;
            while start < 4 {
                let end = start + X::LANES;
                let some = &mut some[start..end];
                let total = self.total_of(some, &sums[start..end]);
                let tags = v.xor(self.reverse(self.reduce(total)), v.first_lanes(&masks[start..end]));
                rejected += self.deliver::<OPEN>(some, tags);
                start = end;
            }
        }
        while let Some(mut some) = next::<1>(&mut rest) {
            let (sums, mask) = self.sums_of::<OPEN>(some[0]);
            let total = self.total_of(&some, &[sums]);
            rejected += self.deliver::<OPEN>(&mut some, v.xor(self.reverse(self.reduce(total)), mask));
        }
        rejected
    }

    /// Text of one packet; gives its hash but for the length block, not yet reduced, and the encrypted J0.
    #[inline(always)]
    fn sums_of<const OPEN: bool>(&self, job: &mut Job<'_>) -> (Sums<X::V>, X::V) {
        let v = self.v;
        let vectors = (job.text_len().div_ceil(16) + 1).div_ceil(X::LANES);
        let groups = (vectors - 1) / GROUP;
        let aad = self.aad_block(job);
        let (schedule, rounds, base) = (job.schedule, job.rounds(), self.counter_base(job));
        let mut walk = Walk { schedule, rounds, base, blocks: v.zero(), rest: job.text() };

        let mut state = self.counters::<GROUP>(&mut walk);
        for round in 1..10 {
            self.round_of(&mut state, schedule, round);
        }
        self.last_rounds_of(&walk, &mut state);
        let mask = state[0];
        let mut hashed = self.crypt_group::<OPEN, true>(&mut walk, &state);
        hashed[0] = v.replace_first(hashed[0], aad);
        let mut pending = Sums { low: v.zero(), middle: v.zero(), high: v.zero() };
        for _ in 1..groups {
            let mut state = self.counters::<GROUP>(&mut walk);
            pending = self.rounds_and_hash(&walk, &mut state, &hashed, pending);
            hashed = self.crypt_group::<OPEN, false>(&mut walk, &state);
        }
        let sums = self.any_tail::<OPEN>(walk, &hashed, pending);
        (sums, mask)
    }

    /// The next `N` vectors, at most a group, of counter blocks with round key 0.
    ///
    /// Counters 1 to 8 `LANES` - 1 after the group's base have bits that the base has not, so an exclusive or adds them; only the
    /// last lane of the last vector carries, and that vector is made by a sum.
    #[inline(always)]
    fn counters<const N: usize>(&self, walk: &mut Walk<'_, X>) -> [X::V; N] {
        let v = self.v;
        let order = v.splat(&COUNTER_ORDER);
        let group = v.xor(walk.base, v.shuffle(walk.blocks, order));
        let mut state = [v.zero(); N];
        for z in 0..N {
            let counters = v.load(&COUNTERS.as_flattened()[z * X::WIDTH..]);
            state[z] = if z < GROUP - 1 {
                v.xor(group, counters)
            } else {
                let sum = v.add32(walk.blocks, v.shuffle(counters, order));
                v.xor(walk.base, v.shuffle(sum, order))
            };
        }
        walk.blocks = v.add32(
            walk.blocks,
            v.splat(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (GROUP * X::LANES) as u8, 0, 0, 0]),
        );
        state
    }

    #[inline(always)]
    fn round_of<const N: usize>(&self, state: &mut [X::V; N], schedule: &KeySchedule, round: usize) {
        keep_order();
        let key = self.v.splat(schedule.round_key(round));
        for z in 0..N {
            state[z] = self.v.aes_round(state[z], key);
            self.v.pin(&mut state[z]);
        }
    }

    #[inline(always)]
    fn last_rounds_of<const N: usize>(&self, walk: &Walk<'_, X>, state: &mut [X::V; N]) {
        if walk.rounds > 10 {
            self.round_of(state, walk.schedule, 10);
            self.round_of(state, walk.schedule, 11);
        }
        if walk.rounds > 12 {
            self.round_of(state, walk.schedule, 12);
            self.round_of(state, walk.schedule, 13);
        }
        let key = self.v.splat(walk.schedule.round_key(walk.rounds));
        for z in 0..N {
            state[z] = self.v.aes_last(state[z], key);
        }
    }

    /// All rounds of `state`, and the products of the group before. Its first vector comes last, because it waits for the reduction of
    /// `pending`, the sums of everything before that group.
    #[inline(always)]
    fn rounds_and_hash<const N: usize>(
        &self,
        walk: &Walk<'_, X>,
        state: &mut [X::V; N],
        hashed: &[X::V; GROUP],
        pending: Sums<X::V>,
    ) -> Sums<X::V> {
        let v = self.v;
        let powers = walk.schedule.powers_of_group(GROUP * X::LANES);
        let mut sums = self.product(hashed[7], v.load(&powers[7 * X::WIDTH..]));
        // Written out: as a loop over rounds it would keep its vectors in memory.
        self.round_of(state, walk.schedule, 1);
        let mut folded = self.fold_low(pending);
        v.pin(&mut folded);
        self.round_of(state, walk.schedule, 2);
        sums = self.add(sums, self.product(hashed[6], v.load(&powers[6 * X::WIDTH..])));
        self.pin_sums(&mut sums);
        self.round_of(state, walk.schedule, 3);
        folded = self.fold_middle(folded, pending.high);
        v.pin(&mut folded);
        self.round_of(state, walk.schedule, 4);
        self.add_products(&mut sums, [hashed[4], hashed[5]], &powers[4 * X::WIDTH..]);
        self.round_of(state, walk.schedule, 5);
        let mut first = v.xor(hashed[0], v.sum_into_first(folded));
        v.pin(&mut first);
        self.round_of(state, walk.schedule, 6);
        self.add_products(&mut sums, [hashed[2], hashed[3]], &powers[2 * X::WIDTH..]);
        self.round_of(state, walk.schedule, 7);
        self.round_of(state, walk.schedule, 8);
        self.add_products(&mut sums, [first, hashed[1]], powers);
        self.round_of(state, walk.schedule, 9);
        self.last_rounds_of(walk, state);
        sums
    }

    /// Two neighbouring vectors times their powers.
    #[inline(always)]
    fn add_products(&self, sums: &mut Sums<X::V>, x: [X::V; 2], powers: &[u8]) {
        let first = self.product(x[0], self.v.load(powers));
        let second = self.product(x[1], self.v.load(&powers[X::WIDTH..]));
        *sums = self.add3(*sums, first, second);
        self.pin_sums(sums);
    }

    /// A group of full vectors of text; in the first one of a packet lane 0 has none. Gives the ciphertext in the multiplier's order.
    #[inline(always)]
    fn crypt_group<const OPEN: bool, const FIRST: bool>(
        &self,
        walk: &mut Walk<'_, X>,
        keystream: &[X::V; GROUP],
    ) -> [X::V; GROUP] {
        let v = self.v;
        let mut hashed = [v.zero(); GROUP];
        let (mut text, rest) =
            std::mem::take(&mut walk.rest).split_at_mut(GROUP * X::WIDTH - if FIRST { 16 } else { 0 });
        walk.rest = rest;
        for z in 0..GROUP {
            let head = FIRST && z == 0;
            let (piece, more) = text.split_at_mut(X::WIDTH - if head { 16 } else { 0 });
            let input = if head { v.load_part_above(piece) } else { v.load(piece) };
            let output = v.xor(input, keystream[z]);
            if head {
                v.store_part_above(piece, output);
            } else {
                v.store(piece, output);
            }
            hashed[z] = self.reverse(if OPEN { input } else { output });
            text = more;
        }
        hashed
    }

    /// The last vectors, one to a whole group.
    #[inline(always)]
    fn any_tail<const OPEN: bool>(
        &self,
        walk: Walk<'_, X>,
        hashed: &[X::V; GROUP],
        pending: Sums<X::V>,
    ) -> Sums<X::V> {
        match walk.rest.len().div_ceil(X::WIDTH) {
            1 => self.tail::<1, OPEN>(walk, hashed, pending),
            2 => self.tail::<2, OPEN>(walk, hashed, pending),
            3 => self.tail::<3, OPEN>(walk, hashed, pending),
            4 => self.tail::<4, OPEN>(walk, hashed, pending),
            5 => self.tail::<5, OPEN>(walk, hashed, pending),
            6 => self.tail::<6, OPEN>(walk, hashed, pending),
            7 => self.tail::<7, OPEN>(walk, hashed, pending),
            8 => self.tail::<8, OPEN>(walk, hashed, pending),
            _ => unreachable!("a tail is at most a group of eight vectors"),
        }
    }

    /// The last `R` vectors, of which only the last may be partial.
    #[inline(always)]
    fn tail<const R: usize, const OPEN: bool>(
        &self,
        mut walk: Walk<'_, X>,
        hashed: &[X::V; GROUP],
        pending: Sums<X::V>,
    ) -> Sums<X::V> {
        let v = self.v;
        let mut state = self.counters::<R>(&mut walk);
        let before = self.rounds_and_hash::<R>(&walk, &mut state, hashed, pending);
        // As in the short kernel the last block has exponent 2.
        let powers = walk.schedule.powers_from(walk.rest.len().div_ceil(16) + 1, R, X::LANES);
        let mut own = [v.zero(); R];
        let mut rest = walk.rest;
        for z in 0..R {
            let last = z == R - 1;
            let (piece, more) = rest.split_at_mut(if last { rest.len() } else { X::WIDTH });
            let input = if last { v.load_part(piece) } else { v.load(piece) };
            let output = v.xor(input, state[z]);
            if last {
                v.store_part(piece, output);
            } else {
                v.store(piece, output);
            }
            own[z] = if OPEN {
                self.reverse(input)
            } else if last {
                v.keep_reversed(output, piece.len(), self.reverse)
            } else {
                self.reverse(output)
            };
            rest = more;
        }
        let mut sums = Sums { low: v.zero(), middle: v.zero(), high: v.zero() };
        for z in (0..R).rev() {
            if z == 0 {
                own[0] = v.xor(own[0], v.sum_into_first(self.reduce(before)));
            }
            sums = self.add(sums, self.product(own[z], v.load(&powers[z * X::WIDTH..])));
        }
        sums
    }
}
