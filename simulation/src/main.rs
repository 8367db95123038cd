//! `tohub-histories`: runs many seeded histories, or one with its timeline.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::campaign::Campaign;
use simulation::history::{Options, Outcome, report, run};
use simulation::network::SimulationError;
use simulation::plan::Plan;

/// A history makes many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs seeded histories of whole networks and checks the invariants of docs/simulation.md.
#[derive(Debug, Parser)]
#[command(name = "tohub-histories")]
struct Arguments {
    /// Number of histories.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The first seed; the others are consecutive.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Replays this one seed and prints its timeline.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of threads; by default that of processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Continues after a failure and lists all failing seeds.
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

/// A closed pipe, as with `head`, is not an error.
fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn failed(error: &SimulationError) -> ExitCode {
    println!("simulate: FAIL {error}");
    ExitCode::from(7)
}

#[derive(Default)]
struct Sums {
    done: u64,
    virtual_ms: u64,
    sent: u64,
    answered: u64,
    failing: Vec<(u64, Outcome)>,
}

fn many(arguments: &Arguments) -> ExitCode {
    let begin = Instant::now();
    let campaign = Campaign {
        first_seed: arguments.first_seed,
        histories: arguments.histories,
        threads: arguments.threads,
        keep_going: arguments.keep_going,
    };
    let mut sums = Sums::default();
    let done = campaign.run(|seed| run(seed, Options::default()), |seed, outcome| sums.take(seed, outcome));
    if let Err(error) = done {
        return failed(&error);
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

impl Sums {
    fn take(&mut self, seed: u64, outcome: Outcome) -> bool {
        self.done += 1;
        self.virtual_ms += outcome.length;
        self.sent += outcome.packets.0;
        self.answered += outcome.packets.1;
        let failed = !outcome.violations.is_empty();
        if failed {
            self.failing.push((seed, outcome));
        }
        failed
    }
}
