//! Sequence numbers that are never used twice, even after a crash of the owner.
//!
//! The nonce of a packet is the salt and the 64-bit sequence number. With AES-GCM one repeated
//! nonce reveals the authentication key. So the owner first stores an upper bound in shared memory
//! and then uses numbers below it. The next owner begins at the stored bound and skips numbers that
//! may have been used.

use crate::word::Word;

/// Numbers reserved at a time: 2^16 packets between two stores, at most this many are lost by a
/// restart.
pub(crate) const BLOCK: u64 = 1 << 16;

/// The first number of an SA (RFC 4303 §3.3.3).
const FIRST: u64 = 1;

/// The end of an SA's sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Numbers `next..reserved_until` may be used without a store to shared memory.
#[derive(Debug)]
pub(crate) struct Reservation {
    next: u64,
    reserved_until: u64,
    /// Last number that may be used.
    last: u64,
    block: u64,
}

impl Reservation {
    /// Continues at the bound that the previous owner stored in `word`; 0 for a new SA.
    ///
    /// Without ESN the last number is 2^32 - 1; with ESN the bound itself must stay below 2^64.
    pub(crate) fn resume<W: Word>(word: &W, esn: bool) -> Self {
        Self::resume_in_blocks(word, esn, BLOCK)
    }

    pub(crate) fn resume_in_blocks<W: Word>(word: &W, esn: bool, block: u64) -> Self {
        let start = word.load_acquire().max(FIRST);
        Self {
            next: start,
            reserved_until: start,
            last: if esn { u64::MAX - 1 } else { u64::from(u32::MAX) },
            block,
        }
    }

    /// The first of `count` consecutive numbers. All or none are reserved.
    pub(crate) fn take<W: Word>(&mut self, word: &W, count: u32) -> Result<u64, Exhausted> {
        let first = self.next;
        let end = first.checked_add(u64::from(count)).filter(|end| end - 1 <= self.last).ok_or(Exhausted)?;
        if end > self.reserved_until {
            let bound = end.max(self.reserved_until.saturating_add(self.block)).min(self.last + 1);
            // Stored before the first use of any of these numbers. A packet leaves through a
            // release store of a ring index, which this store precedes.
            word.store_release(bound);
            self.reserved_until = bound;
        }
        self.next = end;
        Ok(first)
    }

    /// Whether [`Reservation::take`] would have to store a new bound.
    pub(crate) fn needs_block(&self, count: u32) -> bool {
        self.next.saturating_add(u64::from(count)) > self.reserved_until
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many numbers are left before the SA ends.
    pub(crate) fn remaining(&self) -> u64 {
        (self.last + 1).saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::claim::{self, Claimant, Outcome};
    use crate::protocol::crash::CrashWord;

    /// A process that claims a slot, sends groups of packets and dies after some store. Records
    /// what it sent.
    fn live_and_die(
        slot: &[CrashWord; 2],
        generation: u32,
        incarnation: u64,
        stores: u64,
        sent: &mut Vec<(u32, u64)>,
    ) {
        let [claim_word, word] = slot;
        CrashWord::die_after(stores, || {
            let me = Claimant { generation, incarnation, worker: 1 };
            let outcome = claim::claim(claim_word, me, || word.store_relaxed(0));
            assert!(matches!(outcome, Outcome::Fresh | Outcome::Kept));
            let mut reservation = Reservation::resume_in_blocks(word, true, 4);
            for _ in 0..7 {
                let first = reservation.take(word, 2).unwrap();
                if CrashWord::died() {
                    return;
                }
                sent.extend([(generation, first), (generation, first + 1)]);
            }
        });
    }

    #[test]
    fn no_nonce_is_used_twice_whenever_processes_die() {
        for deaths in 0..8 * 8 * 8 {
            let slot = [CrashWord::default(), CrashWord::default()];
            let mut sent = Vec::new();
            // Two processes with one SA, one with the next SA in the slot, one more with that.
            live_and_die(&slot, 1, 1, deaths % 8, &mut sent);
            live_and_die(&slot, 1, 2, deaths / 8 % 8, &mut sent);
            live_and_die(&slot, 2, 3, deaths / 64, &mut sent);
            live_and_die(&slot, 2, 4, u64::MAX, &mut sent);
            let count = sent.len();
            assert!(count >= 14);
            sent.sort_unstable();
            sent.dedup();
            assert_eq!(sent.len(), count, "deaths {deaths:o}");
        }
    }

    #[test]
    fn numbers_begin_at_one_and_follow_each_other() {
        let word = AtomicU64::new(0);
        let mut reservation = Reservation::resume(&word, false);
        assert_eq!(reservation.take(&word, 3), Ok(1));
        assert_eq!(reservation.take(&word, 1), Ok(4));
        assert_eq!(word.load_relaxed(), 1 + BLOCK);
        assert_eq!(Reservation::resume(&word, false).take(&word, 1), Ok(1 + BLOCK));
    }

    #[test]
    fn a_group_larger_than_a_block_is_reserved_whole() {
        let word = AtomicU64::new(0);
        assert_eq!(Reservation::resume_in_blocks(&word, true, 4).take(&word, 100), Ok(1));
        assert_eq!(word.load_relaxed(), 101);
    }

    #[test]
    fn a_32_bit_sa_ends_with_its_last_number() {
        let word = AtomicU64::new(u64::from(u32::MAX) - 1);
        let mut reservation = Reservation::resume(&word, false);
        assert_eq!(reservation.remaining(), 2);
        assert_eq!(reservation.take(&word, 3), Err(Exhausted));
        assert_eq!(reservation.take(&word, 2), Ok(u64::from(u32::MAX) - 1));
        assert_eq!(reservation.take(&word, 1), Err(Exhausted));
        assert_eq!(reservation.remaining(), 0);
        assert_eq!(Reservation::resume(&word, false).take(&word, 1), Err(Exhausted), "nor after a restart");
    }

    #[test]
    fn an_esn_sa_ends_before_the_counter_wraps() {
        for start in [u64::MAX - 1, u64::MAX] {
            let word = AtomicU64::new(start);
            let mut reservation = Reservation::resume(&word, true);
            let mut last = 0;
            while let Ok(number) = reservation.take(&word, 1) {
                assert!(number >= start && number > last);
                last = number;
            }
            assert_eq!(Reservation::resume(&word, true).take(&word, 1), Err(Exhausted));
        }
    }

    proptest! {
        #[test]
        fn no_number_is_handed_out_twice_across_restarts(
            lives in proptest::collection::vec(proptest::collection::vec(1u32..40, 0..20), 1..10),
            esn: bool,
            start in prop_oneof![Just(0), Just(u64::from(u32::MAX) - 300), Just(u64::MAX - 300)],
        ) {
            let word = AtomicU64::new(if esn { start } else { start.min(u64::from(u32::MAX)) });
            let mut behind = 0;
            for groups in lives {
                let mut reservation = Reservation::resume_in_blocks(&word, esn, 16);
                for count in groups {
                    if let Ok(first) = reservation.take(&word, count) {
                        prop_assert!(first >= behind);
                        behind = first + u64::from(count);
                        prop_assert!(behind <= word.load_relaxed());
                    }
                }
            }
        }
    }
}
