//! Packets of any length, a group of vectors at a time.
//!
//! A group of eight vectors is multiplied lane by lane with H^(8 `LANES`) down to H^1, the hash so
//! far going into its first lane; the tail likewise, with one power more for the length block. A
//! pipeline like that of the short kernel: while a group goes through AES, the one before is
//! hashed, and the tail of a packet while the first group of the next one does.

use core::arch::x86_64::__m128i;

use super::burst::next;
use super::ghash::Sums;
use super::{Kernel, keep_order};
use crate::vector::{COUNTERS, Vector};
use crate::{Job, KeySchedule};

/// Vectors that go through AES together: as many as the AES units need to hide their latency.
const GROUP: usize = 8;

/// Position in a packet.
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

/// Vectors that are encrypted and not yet hashed: a group, or a packet's tail.
struct Behind<'s, V> {
    /// In the multiplier's order; zeros from `vectors` on.
    hashed: [V; GROUP],
    vectors: usize,
    /// From the power of the first lane on.
    powers: &'s [u8],
    /// Sums of everything before, to be reduced and added to the first lane.
    pending: Sums<V>,
}

/// Reverses the last four bytes of a lane and keeps the others.
const COUNTER_ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12];

impl<X: Vector> Kernel<X> {
    /// Seals or opens packets whose lanes fill more than a group each. Returns how many were
    /// rejected.
    ///
    /// The tags of four packets are made at a time: the chain from the sums to a tag is long, and
    /// one lane wide for each.
    #[inline(always)]
    pub(super) fn long<const OPEN: bool>(&self, jobs: &mut [Option<&mut Job<'_>>]) -> usize {
        let v = self.v;
        let mut rejected = 0;
        let mut sums = [self.no_sums(); 4];
        let mut masks = [v.zero(); 4];
        let [Some(first), ..] = jobs else { return 0 };
        let mut behind;
        (masks[0], behind) = self.first_packet::<OPEN>(first);
        for p in 1..jobs.len() {
            let Some(job) = &mut jobs[p] else { break };
            let mask;
            (sums[(p - 1) % 4], mask, behind) = self.next_packet::<OPEN>(job, behind);
            if p % 4 == 0 {
                rejected += self.conclude_long::<OPEN>(&mut jobs[p - 4..p], &sums, &masks);
            }
            masks[p % 4] = mask;
        }
        let last = (jobs.len() - 1) % 4;
        sums[last] = self.hash_of(&behind);
        let start = jobs.len() - 1 - last;
        rejected + self.conclude_long::<OPEN>(&mut jobs[start..], &sums, &masks)
    }

    /// Tags of at most four packets.
    #[inline(always)]
    fn conclude_long<const OPEN: bool>(
        &self,
        mut jobs: &mut [Option<&mut Job<'_>>],
        sums: &[Sums<X::V>; 4],
        masks: &[X::V; 4],
    ) -> usize {
        let v = self.v;
        let mut rejected = 0;
        if let Some(mut some) = next::<4>(&mut jobs) {
            let mut start = 0;
            while start < 4 {
                let end = start + X::LANES;
                let total = self.total_of(&some[start..end], &sums[start..end]);
                let tags = v.xor(self.reverse(self.reduce(total)), v.first_lanes(&masks[start..end]));
                rejected += self.deliver::<OPEN>(&mut some[start..end], tags);
                start = end;
            }
        }
        for p in 0..3 {
            let Some(mut some) = next::<1>(&mut jobs) else { break };
            let total = self.total_of(&some, &sums[p..p + 1]);
            rejected += self.deliver::<OPEN>(&mut some, v.xor(self.reverse(self.reduce(total)), masks[p]));
        }
        rejected
    }

    #[inline(always)]
    fn walk<'s>(&self, job: &'s mut Job<'_>) -> Walk<'s, X> {
        let (schedule, rounds, base) = (job.schedule, job.rounds(), self.counter_base(job));
        Walk { schedule, rounds, base, blocks: self.v.zero(), rest: job.text() }
    }

    /// The first packet: there is nothing to hash yet. Gives the encrypted J0, and what is left to
    /// hash.
    #[inline(always)]
    fn first_packet<'a, const OPEN: bool>(&self, job: &mut Job<'a>) -> (X::V, Behind<'a, X::V>) {
        let (schedule, aad) = (job.schedule, self.aad_block(job));
        let mut walk = self.walk(job);
        let mut state = self.counters::<GROUP>(&mut walk);
        for round in 1..10 {
            self.round_of(&mut state, schedule, round);
        }
        self.last_rounds_of(&walk, &mut state);
        (state[0], self.rest_of_packet::<OPEN>(schedule, walk, &state, aad))
    }

    /// A further packet. Gives the hash but for the length block, not yet reduced, of the one
    /// before, too.
    #[inline(always)]
    fn next_packet<'a, const OPEN: bool>(
        &self,
        job: &mut Job<'a>,
        behind: Behind<'_, X::V>,
    ) -> (Sums<X::V>, X::V, Behind<'a, X::V>) {
        let (schedule, aad) = (job.schedule, self.aad_block(job));
        let mut walk = self.walk(job);
        let mut state = self.counters::<GROUP>(&mut walk);
        let sums = match behind.vectors {
            1 => self.rounds_and_hash::<GROUP, 1>(&walk, &mut state, &behind),
            2 => self.rounds_and_hash::<GROUP, 2>(&walk, &mut state, &behind),
            3 => self.rounds_and_hash::<GROUP, 3>(&walk, &mut state, &behind),
            4 => self.rounds_and_hash::<GROUP, 4>(&walk, &mut state, &behind),
            5 => self.rounds_and_hash::<GROUP, 5>(&walk, &mut state, &behind),
            6 => self.rounds_and_hash::<GROUP, 6>(&walk, &mut state, &behind),
            7 => self.rounds_and_hash::<GROUP, 7>(&walk, &mut state, &behind),
            8 => self.rounds_and_hash::<GROUP, 8>(&walk, &mut state, &behind),
            _ => unreachable!("a tail is at most a group of eight vectors"),
        };
        (sums, state[0], self.rest_of_packet::<OPEN>(schedule, walk, &state, aad))
    }

    /// A packet from its first group's key stream on.
    #[inline(always)]
    fn rest_of_packet<'a, const OPEN: bool>(
        &self,
        schedule: &'a KeySchedule,
        mut walk: Walk<'_, X>,
        keystream: &[X::V; GROUP],
        aad: __m128i,
    ) -> Behind<'a, X::V> {
        let groups = (walk.rest.len().div_ceil(16) / X::LANES) / GROUP;
        let mut hashed = self.crypt_group::<OPEN, true>(&mut walk, keystream);
        hashed[0] = self.v.replace_first(hashed[0], aad);
        let powers = schedule.powers_of_group(GROUP * X::LANES);
        let mut behind = Behind { hashed, vectors: GROUP, powers, pending: self.no_sums() };
        for _ in 1..groups {
            let mut state = self.counters::<GROUP>(&mut walk);
            behind.pending = self.rounds_and_hash::<GROUP, GROUP>(&walk, &mut state, &behind);
            behind.hashed = self.crypt_group::<OPEN, false>(&mut walk, &state);
        }
        match walk.rest.len().div_ceil(X::WIDTH) {
            1 => self.tail::<1, OPEN>(schedule, walk, &behind),
            2 => self.tail::<2, OPEN>(schedule, walk, &behind),
            3 => self.tail::<3, OPEN>(schedule, walk, &behind),
            4 => self.tail::<4, OPEN>(schedule, walk, &behind),
            5 => self.tail::<5, OPEN>(schedule, walk, &behind),
            6 => self.tail::<6, OPEN>(schedule, walk, &behind),
            7 => self.tail::<7, OPEN>(schedule, walk, &behind),
            8 => self.tail::<8, OPEN>(schedule, walk, &behind),
            _ => unreachable!("a tail is at most a group of eight vectors"),
        }
    }

    /// The next `N` vectors, at most a group, of counter blocks with round key 0.
    ///
    /// Counters 1 to 8 `LANES` - 1 after the group's base have bits that the base has not, so an
    /// exclusive or adds them; only the last lane of the last vector carries, and that vector is
    /// made by a sum.
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

    /// All rounds of `state`, and the products of the `M` vectors before. Their first comes last,
    /// because it waits for the reduction of the sums of everything before.
    #[inline(always)]
    fn rounds_and_hash<const N: usize, const M: usize>(
        &self,
        walk: &Walk<'_, X>,
        state: &mut [X::V; N],
        behind: &Behind<'_, X::V>,
    ) -> Sums<X::V> {
        let v = self.v;
        let Behind { mut hashed, powers, pending, .. } = *behind;
        let mut sums = self.no_sums();
        // Written out: as a loop over rounds it would keep its vectors in memory.
        self.add_products::<M, 7, 8>(&mut sums, &hashed, powers);
        self.round_of(state, walk.schedule, 1);
        let mut folded = self.fold_low(pending);
        v.pin(&mut folded);
        self.round_of(state, walk.schedule, 2);
        self.add_products::<M, 6, 7>(&mut sums, &hashed, powers);
        self.round_of(state, walk.schedule, 3);
        folded = self.fold_middle(folded, pending.high);
        v.pin(&mut folded);
        self.round_of(state, walk.schedule, 4);
        self.add_products::<M, 4, 6>(&mut sums, &hashed, powers);
        self.round_of(state, walk.schedule, 5);
        hashed[0] = v.xor(hashed[0], v.sum_into_first(folded));
        v.pin(&mut hashed[0]);
        self.round_of(state, walk.schedule, 6);
        self.add_products::<M, 2, 4>(&mut sums, &hashed, powers);
        self.round_of(state, walk.schedule, 7);
        self.round_of(state, walk.schedule, 8);
        self.add_products::<M, 0, 2>(&mut sums, &hashed, powers);
        self.round_of(state, walk.schedule, 9);
        self.last_rounds_of(walk, state);
        sums
    }

    /// Adds the products of the vectors `FROM..TO`, at most two, of `M`.
    #[inline(always)]
    fn add_products<const M: usize, const FROM: usize, const TO: usize>(
        &self,
        sums: &mut Sums<X::V>,
        hashed: &[X::V; GROUP],
        powers: &[u8],
    ) {
        if FROM >= M {
            return;
        }
        let first = self.v.load(&powers[FROM * X::WIDTH..]);
        *sums = if FROM + 1 < TO && FROM + 1 < M {
            let second = self.v.load(&powers[(FROM + 1) * X::WIDTH..]);
            self.add_two_products(*sums, [hashed[FROM], hashed[FROM + 1]], [first, second])
        } else {
            self.add_product(*sums, hashed[FROM], first)
        };
        self.pin_sums(sums);
    }

    /// The products of a packet's tail, when no packet follows.
    #[inline(always)]
    fn hash_of(&self, behind: &Behind<'_, X::V>) -> Sums<X::V> {
        let v = self.v;
        let mut hashed = behind.hashed;
        let mut sums = self.no_sums();
        hashed[0] = v.xor(hashed[0], v.sum_into_first(self.reduce(behind.pending)));
        for z in (0..GROUP).rev() {
            if z < behind.vectors {
                sums = self.add_product(sums, hashed[z], v.load(&behind.powers[z * X::WIDTH..]));
            }
        }
        sums
    }

    /// A group of full vectors of text; in the first one of a packet lane 0 has none. Gives the
    /// ciphertext in the multiplier's order.
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

    /// The last `R` vectors, of which only the last may be partial.
    #[inline(always)]
    fn tail<'a, const R: usize, const OPEN: bool>(
        &self,
        schedule: &'a KeySchedule,
        mut walk: Walk<'_, X>,
        behind: &Behind<'_, X::V>,
    ) -> Behind<'a, X::V> {
        let v = self.v;
        let mut state = self.counters::<R>(&mut walk);
        let pending = self.rounds_and_hash::<R, GROUP>(&walk, &mut state, behind);
        // As in the short kernel the last block has exponent 2.
        let powers = schedule.powers_from(walk.rest.len().div_ceil(16) + 1, R, X::LANES);
        let mut hashed = [v.zero(); GROUP];
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
            hashed[z] = if OPEN {
                self.reverse(input)
            } else if last {
                v.keep_reversed(output, piece.len(), self.reverse)
            } else {
                self.reverse(output)
            };
            rest = more;
        }
        Behind { hashed, vectors: R, powers, pending }
    }
}
