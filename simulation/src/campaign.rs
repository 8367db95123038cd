//! Runs many histories from consecutive seeds on all processors.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Which seeds to run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first seed; the others follow.
    pub first_seed: u64,
    /// How many.
    pub histories: u64,
    /// Threads; `None`: as many as the machine has processors.
    pub threads: Option<usize>,
    /// Continue after a failure.
    pub keep_going: bool,
}

impl Campaign {
    /// Runs `history` for each seed and passes the results to `take`, one at a time; `take` returns
    /// whether the history failed.
    ///
    /// # Errors
    /// The first error of a history, which ends the campaign.
    pub fn run<O, E: Send>(
        &self,
        history: impl Fn(u64) -> Result<O, E> + Sync,
        take: impl FnMut(u64, O) -> bool + Send,
    ) -> Result<(), E> {
        let (next, stop) = (AtomicU64::new(self.first_seed), AtomicBool::new(false));
        let end = self.first_seed.saturating_add(self.histories);
        let shared = Mutex::new((take, None));
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                let result = history(seed);
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let (take, error) = &mut *shared;
                match result {
                    Ok(outcome) => {
                        let failed = take(seed, outcome);
                        stop.fetch_or(failed && !self.keep_going, Ordering::Relaxed);
                    }
                    Err(found) => {
                        error.get_or_insert(found);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        };
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        // A panic in a history is reported with its seed.
        std::panic::set_hook(Box::new(|_| {}));
        std::thread::scope(|scope| {
            for _ in 0..self.threads.unwrap_or_else(processors).max(1) {
                scope.spawn(work);
            }
        });
        let _ = std::panic::take_hook();
        let (_, error) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        error.map_or(Ok(()), Err)
    }
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_run_once_and_a_failure_stops() {
        let campaign = Campaign { first_seed: 5, histories: 20, threads: Some(3), keep_going: false };
        let mut seen = std::collections::BTreeSet::new();
        campaign.run(Ok::<u64, ()>, |seed, outcome| !(seed == outcome && seen.insert(seed))).unwrap();
        assert_eq!(seen.len(), 20);
        let mut count = 0;
        let alone = Campaign { threads: Some(1), ..campaign };
        alone
            .run(Ok::<u64, ()>, |seed, _| {
                count += 1;
                seed == 7
            })
            .unwrap();
        assert_eq!(count, 3);
        assert_eq!(campaign.run(|_| Err::<(), u8>(9), |_, ()| false), Err(9));
    }
}
