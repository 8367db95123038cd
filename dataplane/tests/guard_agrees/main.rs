//! The guard in the kernel and the workers make the same decisions: both get the same rule lists
//! and the same 10⁶ frames. The guard does not pass what a worker would protect or drop, and passes
//! what a worker forwards in clear, except for the differences listed in `differences`.
//!
//! A mismatch prints the seed of its rule list; `TOHUB_GUARD_SEED=N` begins with that list.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod differences;
mod frames;
mod lists;
mod random;
mod workers;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aya::programs::{TestRun, TestRunOptions};
use common::bench::{LOOPBACK, TC_NEXT, TC_SHOT};
use common::{Instance, is_root};
use dataplane::xdp::Programs;
use differences::{Difference, Expectations};
use ebpf_abi::{PORT_COARSE, PortConfig};
use frames::Edges;
use lists::{Role, Scene};
use random::Random;
use workers::{Direction, Workers};

/// Each frame leaves and arrives, so that it is judged twice.
const FRAMES: usize = 1_000_000;
const LISTS: usize = 1000;
const THREADS: usize = 2;
/// The default seed: the same frames in each run.
const SEED: u64 = 20_260_101;

#[test]
fn the_guard_and_the_workers_decide_alike() {
    if !is_root() {
        return;
    }
    let seed = std::env::var("TOHUB_GUARD_SEED").map_or(SEED, |text| text.parse().expect("a number"));
    let parts: Vec<Tally> = std::thread::scope(|scope| {
        let run = |thread: u64| {
            scope.spawn(move || {
                let mut run = Run::new();
                (0..LISTS as u64 / THREADS as u64)
                    .for_each(|at| run.scene(seed + at * THREADS as u64 + thread));
                run.tally
            })
        };
        let threads: Vec<_> = (0..THREADS as u64).map(run).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Tally>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let mut all = Tally::default();
    parts.into_iter().for_each(|part| all.add(part));
    println!("{all}");
    assert_eq!(all.frames, FRAMES);
    for what in ["pass", "drop"] {
        for direction in ["departure", "arrival"] {
            let count = all.alike.get(&(direction, what)).copied().unwrap_or(0);
            assert!(
                count > FRAMES / 10,
                "only {count} frames {what} on {direction}: the frames prove little"
            );
        }
    }
    for difference in Difference::ALL {
        assert!(
            all.different.contains_key(&difference),
            "{difference:?} does not occur: take it off the list"
        );
    }
}

/// Counts of what was tested.
#[derive(Default)]
struct Tally {
    frames: usize,
    alike: BTreeMap<(&'static str, &'static str), usize>,
    different: BTreeMap<Difference, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.frames += other.frames;
        for (key, count) in other.alike {
            *self.alike.entry(key).or_default() += count;
        }
        for (key, count) in other.different {
            *self.different.entry(key).or_default() += count;
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} frames by {LISTS} pairs of rule lists", self.frames)?;
        for ((direction, what), count) in &self.alike {
            writeln!(f, "{count:>8}  alike, {direction}: {what}")?;
        }
        for (difference, count) in &self.different {
            writeln!(f, "{count:>8}  {difference:?}: {}", difference.reason())?;
        }
        Ok(())
    }
}

/// The loaded programs, and the results of one thread.
struct Run {
    bench: common::bench::Bench,
    expectations: Expectations,
    tally: Tally,
}

impl Run {
    fn new() -> Self {
        let instance = Instance::new();
        let programs = Programs::load(&instance.0).unwrap();
        let bench = common::bench::Bench { programs, instance };
        Self { bench, expectations: Expectations::default(), tally: Tally::default() }
    }

    fn scene(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let scene = Scene::new(&mut random);
        let policy = scene.kernel_policy();
        self.bench.programs.prepare(&policy).unwrap();
        self.bench.programs.commit(&policy).unwrap();
        if scene.role == Role::Coarse {
            self.bench.set_entry(LOOPBACK, |entry: &mut PortConfig| entry.flags |= PORT_COARSE);
        }
        let mut workers = Workers::new(&scene);
        let edges = Edges::of(&scene.lists, scene.raw_ip, &mut random);
        for _ in 0..FRAMES / LISTS {
            let frame = edges.frame(&mut random);
            self.tally.frames += 1;
            for direction in [Direction::Departure, Direction::Arrival] {
                self.compare(seed, &scene, &mut workers, &frame, direction);
            }
        }
    }

    fn compare(
        &mut self,
        seed: u64,
        scene: &Scene,
        workers: &mut Workers,
        frame: &[u8],
        direction: Direction,
    ) {
        let judgement = workers.judge(frame, direction);
        let expected = self.expectations.of(scene.role, workers, frame, direction, &judgement);
        let passed = self.passes(frame, direction);
        if expected.passes.is_none_or(|expected| expected == passed) {
            let name = if direction == Direction::Departure { "departure" } else { "arrival" };
            match expected.difference {
                Some(difference) => *self.tally.different.entry(difference).or_default() += 1,
                None => {
                    *self.tally.alike.entry((name, if passed { "pass" } else { "drop" })).or_default() += 1
                }
            }
            return;
        }
        let verdict = if passed { "passes" } else { "drops" };
        let hex = frame.iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        });
        panic!(
            "the guard {verdict} what the workers see as {judgement:#?}\n{direction:?}, {:?}, raw IP {}, expected {expected:?}\n\
             frame {hex}\nlists {:#?}\nTOHUB_GUARD_SEED={seed} begins with these lists",
            scene.role, scene.raw_ip, scene.lists
        );
    }

    fn passes(&mut self, frame: &[u8], direction: Direction) -> bool {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let program = match direction {
            Direction::Departure => self.bench.programs.departure_program(),
            Direction::Arrival => self.bench.programs.arrival_program(),
        };
        match program.test_run(options).unwrap().return_value {
            TC_NEXT => true,
            TC_SHOT => false,
            other => panic!("a guard answers with pass or drop, not with {other}"),
        }
    }
}
