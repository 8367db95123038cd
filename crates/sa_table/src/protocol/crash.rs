//! A word type for tests in which the writer can die: after a number of stores, further ones are
//! lost.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::word::Word;

std::thread_local! {
    static STORES_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static DIED: Cell<bool> = const { Cell::new(false) };
}

/// Single-threaded shared memory whose writer can die.
#[derive(Default)]
pub(crate) struct CrashWord(AtomicU64);

impl CrashWord {
    /// Runs `act`; only its first `stores` stores reach memory.
    pub(crate) fn die_after<R>(stores: u64, act: impl FnOnce() -> R) -> R {
        STORES_LEFT.set(stores);
        DIED.set(false);
        let result = act();
        STORES_LEFT.set(u64::MAX);
        result
    }

    /// Whether a store was lost already: the writer's actions after that did not happen.
    pub(crate) fn died() -> bool {
        DIED.get()
    }

    fn alive() -> bool {
        let left = STORES_LEFT.get();
        STORES_LEFT.set(left.saturating_sub(1));
        DIED.set(DIED.get() || left == 0);
        left > 0
    }
}

impl Word for CrashWord {
    fn load_relaxed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn store_relaxed(&self, value: u64) {
        if Self::alive() {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    fn store_release(&self, value: u64) {
        self.store_relaxed(value);
    }

    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        let seen = self.load_relaxed();
        if seen != current {
            return Err(seen);
        }
        self.store_relaxed(new);
        Ok(seen)
    }

    fn swap(&self, value: u64) -> u64 {
        let seen = self.load_relaxed();
        self.store_relaxed(value);
        seen
    }

    fn fence_acquire() {}

    fn fence_release() {}

    fn fence_full() {}
}
