//! `tohub-ike-histories`: floods and many seeded histories of two IKE endpoints, or one with its
//! timeline.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::campaign::Campaign;
use simulation::pair::flood::{Kind, flood};
use simulation::pair::history::{Outcome, run};

/// A history makes many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs seeded histories of two IKE endpoints on an unreliable network, see docs/simulation.md.
#[derive(Debug, Parser)]
#[command(name = "tohub-ike-histories")]
struct Arguments {
    /// Number of histories.
    #[arg(long, default_value_t = 10_000)]
    histories: u64,
    /// The first seed; the others are consecutive.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Replays this one seed and prints its timeline.
    #[arg(long)]
    seed: Option<u64>,
    /// Half-open attempts of each kind of flood; 0 for none.
    #[arg(long, default_value_t = 1_000_000)]
    attempts: u64,
    /// Number of threads; by default that of processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Continues after a failure and lists all failing seeds.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let outcome = run(seed, true);
        print(seed, &outcome);
        return ExitCode::from(u8::from(outcome.violation.is_some()));
    }
    if arguments.attempts > 0 && !floods(arguments.attempts) {
        return ExitCode::FAILURE;
    }
    histories(&arguments)
}

fn floods(attempts: u64) -> bool {
    let kinds = [Kind::Cookies, Kind::Returned, Kind::Limits];
    for kind in kinds {
        let begin = Instant::now();
        let flood = flood(kind, attempts);
        if let Some(violation) = flood.violation() {
            println!("simulate-ike: FAIL flood {kind:?}: {violation}");
            return false;
        }
        println!(
            "flood {kind:?}: {attempts} attempts, at most {} half open, {} KiB grown, {:.1} s",
            flood.most.half_open,
            flood.grown_kib,
            begin.elapsed().as_secs_f64()
        );
    }
    true
}

fn histories(arguments: &Arguments) -> ExitCode {
    let begin = Instant::now();
    let campaign = Campaign {
        first_seed: arguments.first_seed,
        histories: arguments.histories,
        threads: arguments.threads,
        keep_going: arguments.keep_going,
    };
    let (mut done, mut datagrams, mut length, mut failing) = (0, 0, 0, Vec::new());
    let result = campaign.run(
        |seed| Ok::<Outcome, Infallible>(run(seed, false)),
        |seed, outcome| {
            done += 1;
            datagrams += outcome.datagrams;
            length += outcome.length;
            outcome.violation.map(|violation| failing.push((seed, violation))).is_some()
        },
    );
    let Ok(()) = result;
    let seconds = begin.elapsed().as_secs_f64();
    failing.sort_unstable();
    let Some((first, _)) = failing.first() else {
        println!(
            "simulated {:.1} days of virtual time and {datagrams} datagrams in {seconds:.1} s",
            length as f64 / 86_400_000.0
        );
        println!("simulate-ike: PASS histories={done}");
        return ExitCode::SUCCESS;
    };
    print(*first, &run(*first, true));
    for (seed, violation) in &failing {
        println!("seed {seed}: {violation}");
    }
    println!("replay with: make simulate-ike SEED={first}");
    println!("simulate-ike: FAIL histories={done} failing={} first={first}", failing.len());
    ExitCode::FAILURE
}

/// A closed pipe, as with `head`, is not an error.
fn print(seed: u64, outcome: &Outcome) {
    let mut text = outcome.timeline.join("\n");
    let verdict = match &outcome.violation {
        Some(violation) => format!("FAIL seed={seed}: {violation}"),
        None => format!("PASS seed={seed}"),
    };
    text.push_str(&format!("\nsimulate-ike: {verdict} virtual_seconds={}\n", outcome.length / 1000));
    let _ = std::io::stdout().write_all(text.as_bytes());
}
