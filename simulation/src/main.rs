//! `tohub-histories`: many seeded histories, or one with its timeline.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use simulation::history::{Options, Outcome, report, run};
use simulation::network::SimulationError;
use simulation::plan::Plan;

/// Runs seeded histories of whole networks and checks the invariants of docs/simulation.md.
#[derive(Debug, Parser)]
#[command(name = "tohub-histories")]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The first seed; the others follow.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Replays this one seed and prints its timeline.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads; as many as the machine has processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on after a failure and lists all failing seeds.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => replay(seed),
        None => many(&arguments),
    }
}

fn replay(seed: u64) -> ExitCode {
    match run(seed, Options { timeline: true, ..Options::default() }) {
        Ok(outcome) => {
            print(&report(&Plan::of(seed), &outcome));
            let (sent, answered) = outcome.packets;
            let verdict = if outcome.violations.is_empty() { "PASS" } else { "FAIL" };
            println!(
                "simulate: {verdict} seed={seed} virtual_seconds={} packets={sent} answered={answered}",
                outcome.length / 1000
            );
            ExitCode::from(u8::from(!outcome.violations.is_empty()))
        }
        Err(error) => failed(&error),
    }
}

/// A reader who has seen enough, such as `head`, is no error.
fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn failed(error: &SimulationError) -> ExitCode {
    println!("simulate: FAIL {error}");
    ExitCode::from(7)
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    end: u64,
    stop: AtomicBool,
    keep_going: bool,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    done: u64,
    virtual_ms: u64,
    sent: u64,
    answered: u64,
    failing: Vec<(u64, Outcome)>,
    error: Option<SimulationError>,
}

fn many(arguments: &Arguments) -> ExitCode {
    let begin = Instant::now();
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let shared = Shared {
        next: AtomicU64::new(arguments.first_seed),
        end: arguments.first_seed.saturating_add(arguments.histories),
        stop: AtomicBool::new(false),
        keep_going: arguments.keep_going,
        sums: Mutex::default(),
    };
    // A panic inside of a history is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1).max(1) {
            scope.spawn(|| work(&shared));
        }
    });
    let _ = std::panic::take_hook();
    let mut sums = shared.sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = &sums.error {
        return failed(error);
    }
    let seconds = begin.elapsed().as_secs_f64();
    sums.failing.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, _)) = sums.failing.first() {
        let replayed = run(*seed, Options { timeline: true, ..Options::default() });
        if let Ok(outcome) = replayed {
            print(&report(&Plan::of(*seed), &outcome));
        }
        for (seed, outcome) in &sums.failing {
            for violation in &outcome.violations {
                println!("seed {seed}: {violation}");
            }
        }
        println!("replay with: make simulate SEED={seed}");
        println!(
            "simulate: FAIL histories={} failing={} first={seed} seconds={seconds:.1}",
            sums.done,
            sums.failing.len()
        );
        return ExitCode::FAILURE;
    }
    println!(
        "simulated {:.1} days of virtual time; {} packets, {} answered",
        sums.virtual_ms as f64 / 86_400_000.0,
        sums.sent,
        sums.answered
    );
    println!("simulate: PASS histories={} seconds={seconds:.1}", sums.done);
    ExitCode::SUCCESS
}

fn work(shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= shared.end {
            return;
        }
        let result = run(seed, Options::default());
        let mut sums = shared.sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match result {
            Ok(outcome) => {
                sums.done += 1;
                sums.virtual_ms += outcome.length;
                sums.sent += outcome.packets.0;
                sums.answered += outcome.packets.1;
                if !outcome.violations.is_empty() {
                    sums.failing.push((seed, outcome));
                    shared.stop.fetch_or(!shared.keep_going, Ordering::Relaxed);
                }
            }
            Err(error) => {
                sums.error.get_or_insert(error);
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}
