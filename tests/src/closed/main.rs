//! `tohub-closed`: a matrix of life events against real gateways under traffic. The rule under test
//! is in `docs/closed.md`.
//!
//! Each event is played several times on a laboratory of network namespaces. Threads send a packet
//! of every flow each millisecond, packet sockets check every frame outside, and the last line of
//! the output is the verdict.
#![forbid(unsafe_code)]

mod event;
mod events;
mod inside;
mod packet;
mod play;
mod report;
mod runner;
mod setup;
mod traffic;
mod wire;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lab::command::interrupt_flag;

use event::Event;
use runner::Plan;

#[derive(Debug, Parser)]
struct Arguments {
    /// Prints the page of events and plays nothing.
    #[arg(long)]
    list: bool,
    /// Only events whose names contain this.
    #[arg(long, default_value = "")]
    event: String,
    /// Seed of all delays; without it from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Every N-th event, beginning with the K-th.
    #[arg(long, value_name = "K/N", value_parser = part)]
    part: Option<(usize, usize)>,
    /// How often each event is played.
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// How many laboratories play side by side.
    #[arg(long, default_value_t = 4)]
    laboratories: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        print!("{}", report::page(&events::all()));
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(figures) => {
            println!("closed: PASS {figures}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("closed: FAIL {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, String> {
    if !lab::namespace::available("closed") {
        return Err("it makes network namespaces and needs root".to_owned());
    }
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupt_flag().clone()).map_err(|error| error.to_string())?;
    }
    let events = chosen(events::all(), &arguments.event, arguments.part);
    let seed = arguments.seed.unwrap_or_else(seed_of_the_clock);
    println!(
        "{} events, {} times each, on {} laboratories; CLOSED_SEED={seed}",
        events.len(),
        arguments.repetitions,
        arguments.laboratories
    );
    let plan = Plan { repetitions: arguments.repetitions, seed, laboratories: arguments.laboratories };
    let started = Instant::now();
    let results = runner::run(events, plan, |result| println!("{}", report::line(result)));
    println!(
        "{} s, {} laboratories built, {} clear packets counted apart",
        started.elapsed().as_secs(),
        results.built,
        results.events.iter().flat_map(|event| &event.outcomes).map(|outcome| outcome.apart).sum::<u64>()
    );
    report::verdict(&results)
}

fn chosen(events: Vec<Event>, words: &str, part: Option<(usize, usize)>) -> Vec<Event> {
    let of_part = |index: usize| part.is_none_or(|(number, of)| index % of == number - 1);
    let mut named: Vec<Event> = events.into_iter().filter(|event| event.name.contains(words)).collect();
    let mut index = 0..;
    named.retain(|_| index.next().is_some_and(of_part));
    named
}

/// `K/N`, K from 1 to N.
fn part(text: &str) -> Result<(usize, usize), String> {
    text.split_once('/')
        .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)))
        .filter(|(number, of)| (1..=*of).contains(number))
        .ok_or_else(|| format!("{text:?} is not K/N with K from 1 to N"))
}

fn seed_of_the_clock() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_together_are_the_whole() {
        let all = events::all().len();
        let parts: usize = (1..=7).map(|number| chosen(events::all(), "", Some((number, 7))).len()).sum();
        assert_eq!(parts, all);
        assert!(chosen(events::all(), "no event has this name", None).is_empty());
    }

    #[test]
    fn a_part_out_of_range_is_refused() {
        assert_eq!(part("2/3"), Ok((2, 3)));
        for text in ["0/3", "4/3", "3", "a/b", "1/0"] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
