//! Ownership of the sequence numbers or the replay window of a slot: the worker that uses it first
//! is the owner.
//!
//! A claim holds the generation of the slot, the incarnation of the process and the worker in one
//! word. A new generation is claimed in two steps with the state of the old one cleared in between,
//! so that a crash in between is detected.

use crate::word::Word;

const WORKER_BITS: u32 = 10;
const INCARNATION_BITS: u32 = 20;
const INCARNATION_MASK: u64 = (1 << INCARNATION_BITS) - 1;
/// The incarnation in a claim without owner: a slot that was released.
const NOT_LISTENING: u64 = 0;
const WORKER_MASK: u64 = (1 << WORKER_BITS) - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Clearing = 1,
    Owned = 2,
}

/// A claim as stored in shared memory: generation 32 bits, incarnation 20, worker 10, phase 2.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ClaimWord(u64);

impl ClaimWord {
    fn new(claimant: Claimant, phase: Phase) -> Self {
        Self(
            u64::from(claimant.generation) << 32
                | claimant.short_incarnation() << (WORKER_BITS + 2)
                | (u64::from(claimant.worker) & WORKER_MASK) << 2
                | phase as u64,
        )
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn incarnation(self) -> u64 {
        self.0 >> (WORKER_BITS + 2) & INCARNATION_MASK
    }

    fn worker(self) -> u16 {
        (self.0 >> 2 & WORKER_MASK) as u16
    }

    fn is_owned(self) -> bool {
        self.0 & 3 == Phase::Owned as u64
    }
}

/// The worker that claims a slot.
#[derive(Clone, Copy)]
pub(crate) struct Claimant {
    pub(crate) generation: u32,
    pub(crate) incarnation: u64,
    pub(crate) worker: u16,
}

impl Claimant {
    /// Never [`NOT_LISTENING`].
    fn short_incarnation(self) -> u64 {
        self.incarnation % INCARNATION_MASK + 1
    }
}

/// Result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Claimed, state cleared: the first owner of this generation.
    Fresh,
    /// Claimed, state kept: taken over from an owner that died or released it.
    Kept,
    /// This worker owns it already. A second owner would count from the same bound.
    Already,
    /// Another worker of the same process owns it.
    Other(u16),
    /// The slot is already used by a later generation.
    Stale,
}

/// Claims a slot. `clear` sets the state of the slot to that of a new SA.
pub(crate) fn claim<W: Word>(word: &W, me: Claimant, clear: impl FnOnce()) -> Outcome {
    let mut current = word.load_acquire();
    loop {
        let holder = ClaimWord(current);
        if is_newer(current, me.generation) {
            return Outcome::Stale;
        }
        let same_generation = holder.generation() == me.generation;
        if same_generation && holder.incarnation() == me.short_incarnation() {
            if holder.worker() != me.worker {
                return Outcome::Other(holder.worker());
            }
            if holder.is_owned() {
                return Outcome::Already;
            }
        }
        let keep = same_generation && holder.is_owned();
        let phase = if keep { Phase::Owned } else { Phase::Clearing };
        match word.compare_exchange(current, ClaimWord::new(me, phase).0) {
            Ok(_) if keep => return Outcome::Kept,
            Ok(_) => {
                clear();
                word.store_release(ClaimWord::new(me, Phase::Owned).0);
                return Outcome::Fresh;
            }
            // Another worker of this process was faster; the next iteration returns it. The loop
            // ends, because each worker changes the word at most once.
            Err(seen) => current = seen,
        }
    }
}

/// Releases a slot and keeps its state, so that another worker can continue with it.
pub(crate) fn release<W: Word>(word: &W, me: Claimant) {
    let mine = ClaimWord::new(me, Phase::Owned).0;
    let nobodys = mine & !(INCARNATION_MASK << (WORKER_BITS + 2)) | NOT_LISTENING << (WORKER_BITS + 2);
    // If this fails, a newer process has taken over the slot.
    let _ = word.compare_exchange(mine, nobodys);
}

/// Whether the slot was claimed by a later generation than this one.
pub(crate) fn is_newer(word: u64, generation: u32) -> bool {
    word != 0 && (generation.wrapping_sub(ClaimWord(word).generation()) as i32) < 0
}

/// Whether the state belongs to this generation.
pub(crate) fn is_valid(word: u64, generation: u32) -> bool {
    let claim = ClaimWord(word);
    claim.is_owned() && claim.generation() == generation
}

/// The owner of this generation, if it has one and its state is valid.
pub(crate) fn owner(word: u64, generation: u32) -> Option<u16> {
    let claim = ClaimWord(word);
    (is_valid(word, generation) && claim.incarnation() != NOT_LISTENING).then(|| claim.worker())
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::sync::atomic::AtomicU64;

    use super::*;

    fn claimant(generation: u32, incarnation: u64, worker: u16) -> Claimant {
        Claimant { generation, incarnation, worker }
    }

    #[test]
    fn the_first_worker_gets_a_cleared_slot_and_keeps_it() {
        let word = AtomicU64::new(0);
        let cleared = Cell::new(0);
        let clear = || cleared.set(cleared.get() + 1);
        assert_eq!(claim(&word, claimant(1, 1, 3), clear), Outcome::Fresh);
        assert_eq!(claim(&word, claimant(1, 1, 3), clear), Outcome::Already);
        assert_eq!(claim(&word, claimant(1, 1, 4), clear), Outcome::Other(3));
        assert_eq!(cleared.get(), 1);
        assert_eq!((owner(word.load_relaxed(), 1), owner(word.load_relaxed(), 2)), (Some(3), None));
    }

    #[test]
    fn a_slot_that_was_given_back_goes_on_with_its_state() {
        let word = AtomicU64::new(0);
        assert_eq!(claim(&word, claimant(1, 1, 3), || ()), Outcome::Fresh);
        release(&word, claimant(1, 2, 3));
        assert_eq!(owner(word.load_relaxed(), 1), Some(3), "only the owner can give it back");
        release(&word, claimant(1, 1, 3));
        assert_eq!((owner(word.load_relaxed(), 1), is_valid(word.load_relaxed(), 1)), (None, true));
        assert_eq!(claim(&word, claimant(1, 1, 4), || panic!("state lost")), Outcome::Kept);
    }

    #[test]
    fn a_new_process_keeps_the_state_and_a_new_generation_does_not() {
        let word = AtomicU64::new(0);
        assert_eq!(claim(&word, claimant(1, 1, 3), || ()), Outcome::Fresh);
        assert_eq!(claim(&word, claimant(1, 2, 0), || panic!("state lost")), Outcome::Kept);
        assert_eq!(claim(&word, claimant(2, 2, 5), || ()), Outcome::Fresh);
        assert_eq!(claim(&word, claimant(1, 2, 0), || panic!("state lost")), Outcome::Stale);
    }

    #[test]
    fn a_claim_that_died_while_clearing_is_cleared_again() {
        let word = AtomicU64::new(ClaimWord::new(claimant(4, 1, 3), Phase::Clearing).0);
        assert_eq!(owner(word.load_relaxed(), 4), None, "the state is not valid yet");
        assert_eq!(claim(&word, claimant(4, 2, 3), || ()), Outcome::Fresh);
    }

    #[test]
    fn generations_may_wrap() {
        let word = AtomicU64::new(0);
        assert_eq!(claim(&word, claimant(u32::MAX, 1, 1), || ()), Outcome::Fresh);
        assert_eq!(claim(&word, claimant(1, 1, 1), || ()), Outcome::Fresh);
        assert_eq!(claim(&word, claimant(u32::MAX, 1, 1), || ()), Outcome::Stale);
    }
}
