//! Short packets whose blocks fill their vectors to the last lane, four at a time.
//!
//! There J0 and the additional data would open one more vector for each packet. Here those of four
//! packets share a vector of their own, one packet a lane: the *heads*. Otherwise it is the
//! pipeline of the short kernel; packets of more than two vectors go in two halves.

use super::ghash::Sums;
use super::short::{powers_of, schedules};
use super::{Kernel, keep_order};
use crate::vector::{COUNTERS, Vector, read_block};
use crate::{Job, KeySchedule};

/// Packets that share their heads; as many as a vector has lanes.
const QUAD: usize = 4;

/// Four packets on their way.
pub(super) struct Quad<'j, 'a, V> {
    jobs: [&'j mut Job<'a>; QUAD],
    /// The encrypted J0 of each packet.
    heads: V,
    /// Products of the text, as far as they are made.
    sums: [Sums<V>; QUAD],
}

/// `P` packets of a quad, all of it or half, of `Z` vectors of text each: ciphertext in the
/// multiplier's order.
type Part<V, const P: usize, const Z: usize> = [[V; Z]; P];

impl<X: Vector> Kernel<X> {
    /// The first part of the first quad: nothing to hash yet.
    #[inline(always)]
    pub(super) fn fill_quad<'j, 'a, const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        mut jobs: [&'j mut Job<'a>; QUAD],
    ) -> (Quad<'j, 'a, X::V>, Part<X::V, P, Z>) {
        let keys = schedules(&jobs);
        let rounds = jobs[0].rounds();
        let mut heads = self.first_heads(&jobs);
        let mut state = self.first_blocks::<P, Z>(&jobs[..P]);
        for round in 1..10 {
            self.quad_round::<P, Z, false, true>(&mut state, &mut heads, &keys, round);
        }
        self.last_quad_rounds::<P, Z, false, true>(&mut state, &mut heads, &keys, rounds);
        let hashed = self.crypt_part::<P, Z, OPEN>(&mut jobs[..P], state);
        (Quad { jobs, heads, sums: [self.no_sums(); QUAD] }, hashed)
    }

    /// The first part of a further quad, and the tags of the one before, of which `hashed` is the
    /// last part. `SAME`: the further quad has one key. Adds the rejected to `rejected`.
    #[inline(always)]
    pub(super) fn next_quad<'j, 'a, const P: usize, const Z: usize, const OPEN: bool, const SAME: bool>(
        &self,
        mut jobs: [&'j mut Job<'a>; QUAD],
        mut before: Quad<'j, 'a, X::V>,
        hashed: Part<X::V, P, Z>,
        rejected: &mut usize,
    ) -> (Quad<'j, 'a, X::V>, Part<X::V, P, Z>) {
        let keys = schedules(&jobs);
        let rounds = jobs[0].rounds();
        let powers = powers_of::<X, P, Z>(&before.jobs[QUAD - P..], 0);
        let sums = &mut before.sums[QUAD - P..];
        let mut heads = self.first_heads(&jobs);
        let mut state = self.first_blocks::<P, Z>(&jobs[..P]);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 1);
        self.multiply(&hashed, sums, &powers, 0);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 2);
        self.multiply(&hashed, sums, &powers, 1);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 3);
        self.multiply(&hashed, sums, &powers, 2);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 4);
        self.multiply(&hashed, sums, &powers, 3);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 5);
        self.multiply(&hashed, sums, &powers, 4);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 6);
        self.multiply(&hashed, sums, &powers, 5);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 7);
        self.multiply(&hashed, sums, &powers, 6);
        self.multiply(&hashed, sums, &powers, 7);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 8);
        let mut total = self.total_of_quad(&before);
        self.pin_sums(&mut total);
        self.quad_round::<P, Z, SAME, true>(&mut state, &mut heads, &keys, 9);
        total.low = self.fold_low(total);
        self.v.pin(&mut total.low);
        self.last_quad_rounds::<P, Z, SAME, true>(&mut state, &mut heads, &keys, rounds);
        let mut tags = self.v.xor(before.heads, self.reverse(self.fold_middle(total.low, total.high)));
        self.v.pin(&mut tags);
        *rejected += self.deliver::<OPEN>(&mut before.jobs, tags);
        let hashed = self.crypt_part::<P, Z, OPEN>(&mut jobs[..P], state);
        (Quad { jobs, heads, sums: [self.no_sums(); QUAD] }, hashed)
    }

    /// The second half of a quad, and the products of the first.
    #[inline(always)]
    pub(super) fn second_half<const Z: usize, const OPEN: bool>(
        &self,
        quad: &mut Quad<'_, '_, X::V>,
        hashed: Part<X::V, 2, Z>,
    ) -> Part<X::V, 2, Z> {
        let (first, second) = quad.jobs.split_at_mut(2);
        let (keys, rounds) = ([second[0].schedule, second[1].schedule], second[0].rounds());
        let powers = powers_of::<X, 2, Z>(first, 0);
        let sums = &mut quad.sums[..2];
        // There are no heads; the argument is not used.
        let mut none = quad.heads;
        let mut state = self.first_blocks::<2, Z>(second);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 1);
        self.multiply(&hashed, sums, &powers, 0);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 2);
        self.multiply(&hashed, sums, &powers, 1);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 3);
        self.multiply(&hashed, sums, &powers, 2);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 4);
        self.multiply(&hashed, sums, &powers, 3);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 5);
        self.multiply(&hashed, sums, &powers, 4);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 6);
        self.multiply(&hashed, sums, &powers, 5);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 7);
        self.multiply(&hashed, sums, &powers, 6);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 8);
        self.multiply(&hashed, sums, &powers, 7);
        self.quad_round::<2, Z, false, false>(&mut state, &mut none, &keys, 9);
        self.last_quad_rounds::<2, Z, false, false>(&mut state, &mut none, &keys, rounds);
        self.crypt_part::<2, Z, OPEN>(second, state)
    }

    /// The tags of the last quad.
    #[inline(always)]
    pub(super) fn drain_quad<const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        mut last: Quad<'_, '_, X::V>,
        hashed: Part<X::V, P, Z>,
    ) -> usize {
        let powers = powers_of::<X, P, Z>(&last.jobs[QUAD - P..], 0);
        let sums = &mut last.sums[QUAD - P..];
        self.multiply(&hashed, sums, &powers, 0);
        self.multiply(&hashed, sums, &powers, 1);
        self.multiply(&hashed, sums, &powers, 2);
        self.multiply(&hashed, sums, &powers, 3);
        self.multiply(&hashed, sums, &powers, 4);
        self.multiply(&hashed, sums, &powers, 5);
        self.multiply(&hashed, sums, &powers, 6);
        self.multiply(&hashed, sums, &powers, 7);
        let total = self.total_of_quad(&last);
        let tags = self.v.xor(last.heads, self.reverse(self.reduce(total)));
        self.deliver::<OPEN>(&mut last.jobs, tags)
    }

    /// J0 of each packet with its round key 0, one packet a lane.
    #[inline(always)]
    fn first_heads(&self, jobs: &[&mut Job<'_>; QUAD]) -> X::V {
        let v = self.v;
        let mut nonces = [read_block(&[0; 16]); QUAD];
        let mut keys = nonces;
        for p in 0..QUAD {
            nonces[p] = read_block(jobs[p].nonce_and_more());
            keys[p] = read_block(jobs[p].schedule.round_key(0));
        }
        let counted = v.xor(v.gather(&keys), v.splat(&COUNTERS[0]));
        v.masked_xor(v.gather(&nonces), self.nonce_mask, counted)
    }

    /// Counter blocks of text, from 2 on, with round key 0.
    #[inline(always)]
    fn first_blocks<const P: usize, const Z: usize>(&self, jobs: &[&mut Job<'_>]) -> [[X::V; Z]; P] {
        let v = self.v;
        let mut state = [[v.zero(); Z]; P];
        for p in 0..P {
            let base = self.counter_base(jobs[p]);
            for z in 0..Z {
                state[p][z] = v.xor(base, v.load(&COUNTERS.as_flattened()[16 + z * X::WIDTH..]));
            }
        }
        state
    }

    /// A middle round of `P` packets and, with `HEADS`, of the heads of four. `keys` are those of
    /// the packets, then those of the rest of the quad.
    #[inline(always)]
    fn quad_round<const P: usize, const Z: usize, const SAME: bool, const HEADS: bool>(
        &self,
        state: &mut [[X::V; Z]; P],
        heads: &mut X::V,
        keys: &[&KeySchedule],
        round: usize,
    ) {
        keep_order();
        let v = self.v;
        let mut key = v.splat(keys[0].round_key(round));
        if HEADS {
            *heads = v.aes_round(*heads, if SAME { key } else { self.head_keys(keys, round) });
            v.pin(heads);
        }
        for p in 0..P {
            if !SAME && p > 0 {
                key = v.splat(keys[p].round_key(round));
            }
            for z in 0..Z {
                state[p][z] = v.aes_round(state[p][z], key);
                v.pin(&mut state[p][z]);
            }
        }
    }

    /// What follows round 9.
    #[inline(always)]
    fn last_quad_rounds<const P: usize, const Z: usize, const SAME: bool, const HEADS: bool>(
        &self,
        state: &mut [[X::V; Z]; P],
        heads: &mut X::V,
        keys: &[&KeySchedule],
        rounds: usize,
    ) {
        if rounds > 10 {
            self.quad_round::<P, Z, SAME, HEADS>(state, heads, keys, 10);
            self.quad_round::<P, Z, SAME, HEADS>(state, heads, keys, 11);
        }
        if rounds > 12 {
            self.quad_round::<P, Z, SAME, HEADS>(state, heads, keys, 12);
            self.quad_round::<P, Z, SAME, HEADS>(state, heads, keys, 13);
        }
        let v = self.v;
        let mut key = v.splat(keys[0].round_key(rounds));
        if HEADS {
            *heads = v.aes_last(*heads, if SAME { key } else { self.head_keys(keys, rounds) });
        }
        for p in 0..P {
            if !SAME && p > 0 {
                key = v.splat(keys[p].round_key(rounds));
            }
            for z in 0..Z {
                state[p][z] = v.aes_last(state[p][z], key);
            }
        }
    }

    /// The round key of each packet in its lane.
    #[inline(always)]
    fn head_keys(&self, keys: &[&KeySchedule], round: usize) -> X::V {
        let mut blocks = [read_block(&[0; 16]); QUAD];
        for p in 0..QUAD {
            blocks[p] = read_block(keys[p].round_key(round));
        }
        self.v.gather(&blocks)
    }

    /// Text of `P` packets: xor with the key stream, in place.
    #[inline(always)]
    fn crypt_part<const P: usize, const Z: usize, const OPEN: bool>(
        &self,
        jobs: &mut [&mut Job<'_>],
        keystream: [[X::V; Z]; P],
    ) -> Part<X::V, P, Z> {
        let v = self.v;
        let mut hashed = keystream;
        for p in 0..P {
            let mut rest = jobs[p].text();
            // Once instead of at every vector.
            assert!(rest.len() > (Z - 1) * X::WIDTH && rest.len() <= Z * X::WIDTH);
            for z in 0..Z {
                let last = z == Z - 1;
                let (piece, more) = rest.split_at_mut(if last { rest.len() } else { X::WIDTH });
                let input = if last { v.load_part(piece) } else { v.load(piece) };
                let output = v.xor(input, keystream[p][z]);
                if last {
                    v.store_part(piece, output);
                } else {
                    v.store(piece, output);
                }
                hashed[p][z] = if OPEN {
                    self.reverse(input)
                } else if last {
                    v.keep_reversed(output, piece.len(), self.reverse)
                } else {
                    self.reverse(output)
                };
                rest = more;
            }
        }
        hashed
    }

    /// The sum over all lanes of each packet, its additional data and its length block; from here
    /// on a packet is one lane.
    #[inline(always)]
    fn total_of_quad(&self, quad: &Quad<'_, '_, X::V>) -> Sums<X::V> {
        let v = self.v;
        let mut aads = [read_block(&[0; 16]); QUAD];
        let mut powers = aads;
        for p in 0..QUAD {
            let job = &quad.jobs[p];
            aads[p] = self.aad_block(job);
            powers[p] = read_block(job.schedule.power(job.blocks() + 2));
        }
        let text = self.total_of(&quad.jobs, &quad.sums);
        self.add_product(text, v.gather(&aads), v.gather(&powers))
    }
}
