//! Grace periods: memory that readers access without a lock is reused only after each reader has
//! announced a generation later than the one at which the memory became unreachable. A sleeping
//! reader announces OFFLINE and is not waited for.

use crate::word::{View, Word};

/// Announcement of a reader that uses no memory.
pub(crate) const OFFLINE: u64 = u64::MAX;

/// Reader: announces that nothing read before `generation` was loaded is used any more.
///
/// `generation` must have been loaded from the segment before this call, and after the last use of
/// anything older.
pub(crate) fn announce<W: Word>(word: &W, generation: u64) {
    let previous = word.load_relaxed();
    if previous == generation {
        return;
    }
    word.store_release(generation);
    if previous == OFFLINE {
        // Either the writer sees us online, or our next loads see what it removed; see `raise`.
        W::fence_full();
    }
}

/// Reader: announces sleep; it uses nothing until the next [`announce`].
pub(crate) fn announce_offline<W: Word>(word: &W) {
    word.store_release(OFFLINE);
    W::fence_full();
}

/// Writer: call after removing the last word that refers to the memory. Returns the new generation,
/// which readers must announce before the memory is reused.
pub(crate) fn raise<W: Word>(generation: &W) -> u64 {
    W::fence_full();
    // The value before OFFLINE is never reached: the generation would have to be raised 2^64 times.
    let next = generation.load_relaxed().wrapping_add(1);
    generation.store_release(next);
    W::fence_full();
    next
}

/// Writer: the oldest generation that some reader may still use, [`OFFLINE`] when none is awake.
pub(crate) fn oldest<'a, W: Word + 'a>(announcements: impl Iterator<Item = View<'a, W>>) -> u64 {
    W::fence_full();
    announcements.map(|word| word.acquire(0)).min().unwrap_or(OFFLINE)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    fn wait_for(words: &[AtomicU64]) -> u64 {
        oldest(words.iter().map(|word| View::new(core::slice::from_ref(word))))
    }

    #[test]
    fn the_slowest_reader_that_is_awake_counts() {
        let generation = AtomicU64::new(4);
        let words = [AtomicU64::new(OFFLINE), AtomicU64::new(OFFLINE)];
        assert_eq!(wait_for(&words), OFFLINE);
        announce(&words[0], 4);
        assert_eq!(raise(&generation), 5);
        assert_eq!(wait_for(&words), 4);
        announce(&words[1], 5);
        assert_eq!(wait_for(&words), 4);
        announce_offline(&words[0]);
        assert_eq!(wait_for(&words), 5);
    }
}
