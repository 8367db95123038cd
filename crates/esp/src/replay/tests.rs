use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The service by definition: all accepted numbers are stored.
struct Naive {
    size: u64,
    top: u64,
    seen: BTreeSet<u64>,
}

impl Naive {
    fn new(size: u32, top: u64) -> Self {
        Self { size: u64::from(size), top, seen: BTreeSet::new() }
    }

    fn commit(&mut self, sequence: u64) -> Result<(), ReplayError> {
        if sequence == 0 {
            return Err(ReplayError::Zero);
        }
        if sequence <= self.top && self.top - sequence >= self.size {
            return Err(ReplayError::TooOld);
        }
        if !self.seen.insert(sequence) {
            return Err(ReplayError::Replayed);
        }
        self.top = self.top.max(sequence);
        Ok(())
    }
}

fn sizes() -> impl Strategy<Value = u32> {
    (6u32..=12).prop_map(|power| 1 << power)
}

#[test]
fn only_powers_of_two_in_range_are_windows() {
    for size in 0..=9000 {
        let regular = [64, 128, 256, 512, 1024, 2048, 4096].contains(&size);
        assert_eq!(ReplayWindow::new(size, true).is_some(), regular, "{size}");
        assert_eq!(ReplayWindow::new(size, false).is_some(), regular || size == 0, "{size}");
    }
}

#[test]
fn a_window_of_n_tracks_exactly_n_packets() {
    let window = ReplayWindow::new(64, false).unwrap();
    let store = LocalReplayStore::new();
    window.commit(&store, 100).unwrap();
    assert_eq!(window.check(&store, 37), Ok(()));
    assert_eq!(window.check(&store, 36), Err(ReplayError::TooOld));
    assert_eq!(window.commit(&store, 37), Ok(()));
    assert_eq!(window.commit(&store, 37), Err(ReplayError::Replayed));
    window.commit(&store, 101).unwrap();
    assert_eq!(window.check(&store, 37), Err(ReplayError::TooOld));
}

#[test]
fn a_fresh_window_takes_one_as_the_first_number_and_never_zero() {
    let window = ReplayWindow::new(64, true).unwrap();
    let store = LocalReplayStore::new();
    assert_eq!(window.commit(&store, 0), Err(ReplayError::Zero));
    assert_eq!(window.commit(&store, 1), Ok(()));
    assert_eq!(window.commit(&store, 1), Err(ReplayError::Replayed));
}

#[test]
fn a_check_changes_nothing() {
    let window = ReplayWindow::new(64, false).unwrap();
    let store = LocalReplayStore::new();
    for _ in 0..3 {
        assert_eq!(window.check(&store, 500), Ok(()));
    }
    assert_eq!((store.top(), store.word(0)), (0, 0));
}

#[test]
fn without_the_service_everything_passes_and_the_top_is_shown() {
    let window = ReplayWindow::new(0, false).unwrap();
    let store = LocalReplayStore::new();
    for sequence in [9, 9, 3, 0] {
        assert_eq!(window.commit(&store, sequence), Ok(()));
    }
    assert_eq!((store.top(), window.words()), (9, 0));
}

#[test]
fn the_end_of_the_number_space_is_reached_without_overflow() {
    let window = ReplayWindow::new(64, true).unwrap();
    let store = LocalReplayStore::new();
    store.set_top(u64::MAX - 3);
    for sequence in [u64::MAX, u64::MAX - 1, u64::MAX - 40] {
        assert_eq!(window.commit(&store, sequence), Ok(()));
        assert_eq!(window.commit(&store, sequence), Err(ReplayError::Replayed));
    }
}

#[test]
fn a_restored_window_refuses_what_the_old_one_delivered() {
    let window = ReplayWindow::new(128, true).unwrap();
    let old = LocalReplayStore::new();
    for sequence in [5, 70, 71, 190] {
        window.commit(&old, sequence).unwrap();
    }
    let new = LocalReplayStore::new();
    new.set_top(old.top());
    for index in 0..window.words() {
        new.set_word(index, old.word(index));
    }
    for sequence in [70, 71, 190] {
        assert_eq!(window.commit(&new, sequence), Err(ReplayError::Replayed));
    }
    assert_eq!(window.commit(&new, 5), Err(ReplayError::TooOld));
    assert_eq!(window.commit(&new, 72), Ok(()));
}

/// A store that loses writes after a point, like that of a process that dies.
struct Dying {
    inner: LocalReplayStore,
    writes_left: Cell<usize>,
}

impl Dying {
    fn alive(&self) -> bool {
        let left = self.writes_left.get();
        self.writes_left.set(left.saturating_sub(1));
        left > 0
    }
}

impl ReplayStore for Dying {
    fn top(&self) -> u64 {
        self.inner.top()
    }
    fn set_top(&self, top: u64) {
        if self.alive() {
            self.inner.set_top(top);
        }
    }
    fn word(&self, index: usize) -> u64 {
        self.inner.word(index)
    }
    fn set_word(&self, index: usize, bits: u64) {
        if self.alive() {
            self.inner.set_word(index, bits);
        }
    }
}

#[test]
fn infers_across_the_first_and_later_boundaries() {
    let boundary = 1u64 << 32;
    // Just behind a boundary, a late packet belongs to the epoch before.
    assert_eq!(infer_extended_sequence(boundary + 3, 64, u32::MAX), Some(boundary - 1));
    // Just before it, a small number is the next epoch's.
    assert_eq!(infer_extended_sequence(boundary - 3, 64, 2), Some(boundary + 2));
    // At the very beginning there is no epoch before.
    assert_eq!(infer_extended_sequence(0, 64, u32::MAX), None);
    assert_eq!(infer_extended_sequence(0, 64, 1), Some(1));
    // At the very end there is no epoch behind.
    assert_eq!(infer_extended_sequence(u64::MAX, 64, 1), None);
    assert_eq!(infer_extended_sequence(u64::MAX - 5, 64, u32::MAX), Some(u64::MAX));
}

#[test]
fn without_extension_the_carried_number_is_the_number() {
    let window = ReplayWindow::new(64, false).unwrap();
    let store = LocalReplayStore::new();
    store.set_top(u64::from(u32::MAX));
    assert_eq!(window.infer(&store, 1), Some(1));
    assert_eq!(window.check(&store, 1), Err(ReplayError::TooOld));
}

/// Steps around the top that reach every part of the window and jumps over it.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        4 => -70i64..70,
        2 => -5000i64..5000,
        1 => Just(1i64),
        1 => Just(64i64),
        1 => 4000i64..5000,
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn the_window_agrees_with_a_set(
        size in sizes(),
        start in prop_oneof![Just(0u64), 1u64..10_000, (u64::MAX - 100_000)..(u64::MAX - 50_000), any::<u32>().prop_map(u64::from)],
        steps in steps(),
    ) {
        let window = ReplayWindow::new(size, true).unwrap();
        let store = LocalReplayStore::new();
        store.set_top(start);
        let mut naive = Naive::new(size, start);
        for step in steps {
            let sequence = naive.top.saturating_add_signed(step);
            let expected = naive.commit(sequence);
            prop_assert_eq!(window.check(&store, sequence), expected, "{}", sequence);
            prop_assert_eq!(window.commit(&store, sequence), expected);
            prop_assert_eq!(store.top(), naive.top);
        }
    }

    /// RFC 4303 appendix A2.1 in one sentence: the number with these low bits in the 2^32 numbers
    /// that begin at the window's left edge.
    #[test]
    fn inference_agrees_with_the_definition(
        size in sizes(),
        epoch in prop_oneof![0u64..3, Just(u64::from(u32::MAX)), any::<u32>().prop_map(u64::from)],
        low_top in prop_oneof![0u32..9000, (u32::MAX - 9000)..=u32::MAX, any::<u32>()],
        low in prop_oneof![0u32..9000, (u32::MAX - 9000)..=u32::MAX, any::<u32>()],
    ) {
        let top = epoch << 32 | u64::from(low_top);
        let left = i128::from(top) - i128::from(size - 1);
        let expected = left + i128::from(i64::from(low)).wrapping_sub(left).rem_euclid(1 << 32);
        prop_assert_eq!(infer_extended_sequence(top, size, low), u64::try_from(expected).ok());
    }

    /// As long as no more than 2^32 minus the window is lost, the sender's number is found.
    #[test]
    fn inference_finds_every_number_that_the_window_admits(
        size in sizes(),
        top in prop_oneof![0u64..9000, ((1u64 << 32) - 9000)..((1 << 32) + 9000), any::<u64>()],
        ahead in 0u64..(1 << 31),
        behind in 0u64..4096,
    ) {
        for sequence in [top.saturating_add(ahead), top.saturating_sub(behind % u64::from(size))] {
            prop_assert_eq!(infer_extended_sequence(top, size, sequence as u32), Some(sequence));
        }
    }

    #[test]
    fn dying_half_way_never_lets_a_delivered_packet_in_again(
        size in sizes(),
        steps in steps(),
        writes in 0usize..80,
    ) {
        let window = ReplayWindow::new(size, true).unwrap();
        let store = Dying { inner: LocalReplayStore::new(), writes_left: Cell::new(usize::MAX) };
        let mut delivered = BTreeSet::new();
        let last = steps.len() - 1;
        for (place, step) in steps.iter().enumerate() {
            let sequence = store.top().saturating_add_signed(*step);
            if place == last {
                store.writes_left.set(writes);
            }
            // The last packet is not delivered: its process died during the commit or right after
            // it.
            if window.commit(&store, sequence).is_ok() && place != last {
                delivered.insert(sequence);
            }
        }
        for sequence in delivered {
            prop_assert!(window.check(&store.inner, sequence).is_err(), "{}", sequence);
        }
    }
}
