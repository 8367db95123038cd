//! The long differential run of `make test-aead`: number of packets and, if wanted, the seed as
//! arguments.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (packets, seed) = match (arguments.next(), arguments.next()) {
        (None, _) => (10_000_000, fresh_seed()),
        (Some(Ok(packets)), None) => (packets, fresh_seed()),
        (Some(Ok(packets)), Some(Ok(seed))) => (packets, seed),
        _ => {
            eprintln!("usage: differential [PACKETS [SEED]]");
            return ExitCode::from(2);
        }
    };
    let engines = support::engines();
    let names: Vec<&str> = engines.iter().map(|engine| engine.backend().name()).collect();
    println!("seed {seed}");
    let mut shown = 0;
    support::differential::run(&engines, seed, packets as usize, |done| {
        if done as u64 * 10 / packets.max(1) > shown {
            shown += 1;
            println!("{done} packets");
        }
    });
    println!("test-aead: PASS packets={packets} backends={}", names.join(","));
    ExitCode::SUCCESS
}

fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |elapsed| elapsed.as_nanos() as u64)
}
