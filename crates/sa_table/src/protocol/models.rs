//! Every interleaving and every legal reordering of the protocols. The code under test is the code
//! that runs on the mapping. Models named `..._is_found` break a protocol on purpose, to show that
//! the model detects the error.

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::acquire::{self, Raised};
use super::claim::{self, Claimant, Outcome};
use super::grace::{self, OFFLINE};
use super::ring::{self, ENTRY_WORDS, Ring};
use super::sequence::Reservation;
use super::{seqlock, spi_index};
use crate::layout::BUCKET_WORDS;
use crate::word::{View, Word};

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // No bound: the models are small enough to be explored completely.
    builder.preemption_bound = None;
    builder.check(model);
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn view_of(word: &AtomicU64) -> View<'_, AtomicU64> {
    View::new(core::slice::from_ref(word))
}

/// One record, the word that refers to it, and one reader.
struct Table {
    policy: AtomicU64,
    record: AtomicU64,
    generation: AtomicU64,
    announced: AtomicU64,
}

const WRITTEN: u64 = 7;

impl Table {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            policy: AtomicU64::new(1),
            record: AtomicU64::new(WRITTEN),
            generation: AtomicU64::new(1),
            announced: AtomicU64::new(OFFLINE),
        })
    }

    fn read_burst(&self) {
        if self.policy.load_acquire() != 0 {
            assert_eq!(self.record.load_relaxed(), WRITTEN, "a record was erased under its reader");
        }
    }

    fn erase_after_grace(&self) {
        self.policy.store_release(0);
        let generation = grace::raise(&self.generation);
        for _ in 0..2 {
            if grace::oldest(core::iter::once(view_of(&self.announced))) >= generation {
                self.record.store_relaxed(0);
                return;
            }
            thread::yield_now();
        }
    }
}

/// Explores a reader concurrent with the control plane, starting from the table that `begin`
/// leaves.
fn race(begin: fn(&Table), reader: fn(&Table), control_plane: fn(&Table)) {
    explore(move || {
        let table = Table::new();
        begin(&table);
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || reader(&table))
        };
        control_plane(&table);
        other.join().unwrap();
    });
}

#[test]
fn loom_a_record_is_not_erased_under_a_busy_reader() {
    let reader = |table: &Table| {
        for _ in 0..2 {
            grace::announce(&table.announced, table.generation.load_acquire());
            table.read_burst();
        }
        grace::announce_offline(&table.announced);
    };
    race(|_| (), reader, Table::erase_after_grace);
}

#[test]
fn loom_a_record_is_not_erased_under_a_reader_that_wakes_up() {
    let reader = |table: &Table| {
        for _ in 0..2 {
            grace::announce(&table.announced, table.generation.load_acquire());
            table.read_burst();
            grace::announce_offline(&table.announced);
        }
    };
    race(|_| (), reader, Table::erase_after_grace);
}

#[test]
#[should_panic(expected = "a record was erased under its reader")]
fn loom_a_reader_that_wakes_up_without_a_fence_is_found() {
    let reader = |table: &Table| {
        table.announced.store_release(table.generation.load_acquire());
        table.read_burst();
    };
    race(|_| (), reader, Table::erase_after_grace);
}

#[test]
#[should_panic(expected = "a record was erased under its reader")]
fn loom_erasing_without_grace_is_found() {
    let reader = |table: &Table| {
        grace::announce(&table.announced, table.generation.load_acquire());
        table.read_burst();
    };
    let hasty = |table: &Table| {
        table.policy.store_release(0);
        table.record.store_relaxed(0);
    };
    race(|_| (), reader, hasty);
}

#[test]
fn loom_a_reader_that_follows_a_new_word_finds_the_whole_record() {
    let empty = |table: &Table| {
        table.policy.store_relaxed(0);
        table.record.store_relaxed(0);
    };
    let install = |table: &Table| {
        table.record.store_relaxed(WRITTEN);
        table.policy.store_release(1);
    };
    race(empty, Table::read_burst, install);
}

#[test]
fn loom_an_endpoint_is_read_whole_or_not_at_all() {
    explore(|| {
        let lock = Arc::new(words(3));
        let writer = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                seqlock::write(&lock[0], &lock[1..], &[1, 1]);
                seqlock::write(&lock[0], &lock[1..], &[2, 2]);
            })
        };
        if let seqlock::Read::New(values, version) =
            seqlock::read::<_, 2>(view_of(&lock[0]), View::new(&lock[1..]), 0)
        {
            assert_eq!(values, [version / 2; 2]);
        }
        writer.join().unwrap();
    });
}

struct Channel {
    indices: Vec<AtomicU64>,
    entries: Vec<AtomicU64>,
    armed: AtomicU64,
}

impl Channel {
    fn new() -> Arc<Self> {
        Arc::new(Self { indices: words(2), entries: words(2 * ENTRY_WORDS), armed: AtomicU64::new(0) })
    }

    fn ring(&self) -> Ring<'_, AtomicU64> {
        Ring { head: &self.indices[0], tail: &self.indices[1], entries: &self.entries }
    }
}

#[test]
fn loom_events_arrive_once_in_order_and_whole() {
    explore(|| {
        let channel = Channel::new();
        let producer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || (1..=3).filter(|n| channel.ring().push(&[*n; ENTRY_WORDS])).count())
        };
        let mut last = 0;
        let mut received = 0;
        let mut take = || {
            while let Some(entry) = channel.ring().pop() {
                assert!(entry[0] > last && entry == [entry[0]; ENTRY_WORDS]);
                last = entry[0];
                received += 1;
            }
        };
        take();
        let sent = producer.join().unwrap();
        take();
        assert_eq!(received, sent);
    });
}

#[test]
fn loom_a_consumer_that_goes_to_sleep_is_woken_or_sees_the_event() {
    explore(|| {
        let channel = Channel::new();
        let producer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                assert!(channel.ring().push(&[1; ENTRY_WORDS]));
                ring::must_wake(&channel.armed)
            })
        };
        ring::arm(&channel.armed);
        let seen = channel.ring().pop().is_some();
        let woken = producer.join().unwrap();
        assert!(seen || woken);
    });
}

#[test]
fn loom_whoever_follows_counts_behind_everything_that_was_sent() {
    explore(|| {
        let memory = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let owner = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (word, wire) = &*memory;
                let mut reservation = Reservation::resume_in_blocks(word, true, 2);
                for _ in 0..4 {
                    let number = reservation.take(word, 1).unwrap();
                    wire.store_release(number);
                }
            })
        };
        // The owner may be killed at any point: all numbers sent so far must be below the first
        // number of the next owner.
        let (word, wire) = &*memory;
        let sent = wire.load_acquire();
        let next = Reservation::resume_in_blocks(word, true, 2).take(word, 1).unwrap();
        assert!(next > sent, "a sequence number would be used twice");
        owner.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "a sequence number would be used twice")]
fn loom_sending_before_reserving_is_found() {
    explore(|| {
        let memory = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let owner = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                memory.1.store_release(1);
                memory.0.store_release(2);
            })
        };
        let sent = memory.1.load_acquire();
        let next = Reservation::resume_in_blocks(&memory.0, true, 2).next();
        assert!(next > sent, "a sequence number would be used twice");
        owner.join().unwrap();
    });
}

fn race_for_a_slot(before: u64, state: u64, expected: Outcome) {
    explore(move || {
        let memory = Arc::new((AtomicU64::new(before), AtomicU64::new(state)));
        let claim_as = |worker: u16| {
            let memory = Arc::clone(&memory);
            move || {
                let me = Claimant { generation: 2, incarnation: 2, worker };
                let outcome = claim::claim(&memory.0, me, || memory.1.store_relaxed(0));
                if outcome == expected {
                    // From here on only the owner may change the state.
                    memory.1.store_relaxed(memory.1.load_relaxed() + 1);
                }
                outcome
            }
        };
        let other = thread::spawn(claim_as(1));
        let outcomes = [claim_as(0)(), other.join().unwrap()];
        let owner = claim::owner(memory.0.load_acquire(), 2).unwrap();
        assert_eq!(outcomes[usize::from(owner)], expected);
        assert_eq!(outcomes[usize::from(owner ^ 1)], Outcome::Other(owner));
        assert_eq!(memory.1.load_relaxed(), if expected == Outcome::Kept { state + 1 } else { 1 });
    });
}

/// The word after a completed claim.
fn claim_word(generation: u32, incarnation: u64) -> u64 {
    let word = core::sync::atomic::AtomicU64::new(0);
    claim::claim(&word, Claimant { generation, incarnation, worker: 5 }, || ());
    word.load_relaxed()
}

#[test]
fn loom_a_new_slot_has_one_owner_and_is_cleared_once() {
    race_for_a_slot(0, 9, Outcome::Fresh);
    race_for_a_slot(claim_word(1, 2), 9, Outcome::Fresh);
}

#[test]
fn loom_a_slot_of_a_dead_process_has_one_heir_and_keeps_its_state() {
    race_for_a_slot(claim_word(2, 1), 9, Outcome::Kept);
}

#[test]
fn loom_a_request_is_raised_once_and_read_whole() {
    explore(|| {
        let memory = Arc::new(words(8));
        let raise = |flow: u64| {
            let memory = Arc::clone(&memory);
            move || acquire::raise(&memory, &[flow; acquire::FLOW_WORDS], flow)
        };
        let others = [thread::spawn(raise(1)), thread::spawn(raise(2))];
        if let Some((count, flow, _)) = acquire::read(View::new(&memory)) {
            assert!(count == 1 && (flow == [1; 5] || flow == [2; 5]));
        }
        let new = others.map(|other| other.join().unwrap() == Raised::New);
        assert!(new[0] != new[1]);
        assert!(acquire::read(View::new(&memory)).is_some());
    });
}

#[test]
fn loom_a_request_that_is_withdrawn_and_raised_again_is_read_whole() {
    explore(|| {
        let memory = Arc::new(words(8));
        assert_eq!(acquire::raise(&memory, &[1; acquire::FLOW_WORDS], 1), Raised::New);
        let worker = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                acquire::clear(&memory);
                assert_eq!(acquire::raise(&memory, &[2; acquire::FLOW_WORDS], 2), Raised::New);
            })
        };
        if let Some((count, flow, _)) = acquire::read(View::new(&memory)) {
            assert_eq!(flow, [count; 5]);
        }
        worker.join().unwrap();
    });
}

#[test]
fn loom_an_spi_is_found_while_others_come_and_go() {
    const SPI: u32 = 256;
    explore(|| {
        let index = Arc::new(words(2 * BUCKET_WORDS));
        // The home bucket is full, so that slot 7 and later ones are in the other one.
        for slot in 0..8 {
            assert!(spi_index::insert(&index, SPI, slot));
        }
        let writer = {
            let index = Arc::clone(&index);
            thread::spawn(move || {
                assert!(spi_index::insert(&index, SPI, 8));
                assert!(spi_index::remove(&index, SPI, 0));
            })
        };
        assert!(spi_index::lookup(View::new(&index), SPI).any(|slot| slot == 7));
        writer.join().unwrap();
    });
}
