//! The pending request of a policy that has traffic and no SA. Several workers may raise it, but
//! only one request is pending; the flow of the first one is kept, for the traffic selectors of the
//! exchange (RFC 7296 §2.9).

use crate::layout::AcquireState;
use crate::word::{View, Word, store_all};

const PHASE_MASK: u64 = 3;
const IDLE: u64 = 0;
const WRITING: u64 = 1;
const PENDING: u64 = 2;
const COUNT_ONE: u64 = 4;

/// Words of the flow of a request.
pub(crate) const FLOW_WORDS: usize = 5;
/// Interval at which the time of a pending request is updated, in milliseconds.
const REFRESH_MS: u64 = 1000;

const _: () = assert!(AcquireState::source == 1 && AcquireState::bits == FLOW_WORDS);

/// Result of raising a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// A new request.
    New,
    /// The request was already pending; its time was updated.
    Renewed,
    /// The request was already pending.
    Standing,
}

/// Raises the request of a policy.
pub(crate) fn raise<W: Word>(words: &[W], flow: &[u64; FLOW_WORDS], now_ms: u64) -> Raised {
    let (Some(state), Some(raised_ms), Some(flow_words)) =
        (words.first(), words.get(AcquireState::raised_ms), words.get(1..=FLOW_WORDS))
    else {
        return Raised::Standing;
    };
    let seen = state.load_relaxed();
    if seen & PHASE_MASK != IDLE {
        if now_ms.saturating_sub(raised_ms.load_relaxed()) < REFRESH_MS {
            return Raised::Standing;
        }
        raised_ms.store_relaxed(now_ms);
        return Raised::Renewed;
    }
    if state.compare_exchange(seen, seen | WRITING).is_err() {
        return Raised::Standing;
    }
    // A reader that sees one of the following stores also sees the phase.
    W::fence_release();
    store_all(flow_words, flow);
    raised_ms.store_relaxed(now_ms);
    state.store_release((seen & !PHASE_MASK).wrapping_add(COUNT_ONE) | PENDING);
    Raised::New
}

/// Withdraws the request: the policy has an SA now.
pub(crate) fn clear<W: Word>(words: &[W]) {
    if let Some(state) = words.first() {
        let seen = state.load_relaxed();
        if seen & PHASE_MASK == PENDING {
            // If it fails, another worker cleared it.
            let _ = state.compare_exchange(seen, seen & !PHASE_MASK);
        }
    }
}

/// Called by a new process: withdraws a request whose writer died halfway; traffic raises it again.
pub(crate) fn mend<W: Word>(words: &[W]) {
    if let Some(state) = words.first() {
        let seen = state.load_relaxed();
        if seen & PHASE_MASK != PENDING {
            state.store_relaxed(seen & !PHASE_MASK);
        }
    }
}

/// The pending request: the count of requests, the flow, the last update time.
pub(crate) fn read<W: Word>(words: View<'_, W>) -> Option<(u64, [u64; FLOW_WORDS], u64)> {
    let state = words.acquire(0);
    if state & PHASE_MASK != PENDING {
        return None;
    }
    let mut flow = [0; FLOW_WORDS];
    words.part(1, FLOW_WORDS).copy_to(&mut flow);
    let raised_ms = words.relaxed(AcquireState::raised_ms);
    W::fence_acquire();
    (words.relaxed(0) == state).then_some((state / COUNT_ONE, flow, raised_ms))
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn one_request_stands_until_it_is_cleared() {
        let words: [AtomicU64; 8] = Default::default();
        assert_eq!(read(View::new(&words)), None);
        assert_eq!(raise(&words, &[1; 5], 100), Raised::New);
        assert_eq!(raise(&words, &[2; 5], 200), Raised::Standing);
        assert_eq!(raise(&words, &[2; 5], 1200), Raised::Renewed);
        assert_eq!(read(View::new(&words)), Some((1, [1; 5], 1200)));
        clear(&words);
        assert_eq!(read(View::new(&words)), None);
        assert_eq!(raise(&words, &[3; 5], 1300), Raised::New);
        assert_eq!(read(View::new(&words)), Some((2, [3; 5], 1300)));
    }

    #[test]
    fn a_request_that_died_halfway_is_mended() {
        let words: [AtomicU64; 8] = Default::default();
        words[0].store_relaxed(COUNT_ONE | WRITING);
        assert_eq!(raise(&words, &[1; 5], 0), Raised::Standing);
        mend(&words);
        assert_eq!(raise(&words, &[1; 5], 0), Raised::New);
        mend(&words);
        assert_eq!(read(View::new(&words)), Some((2, [1; 5], 0)), "a whole request survives");
    }
}
