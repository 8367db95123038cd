//! Runs cases in parallel and collects their outcomes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use lab::command::interrupt_flag;

use crate::bench::Bench;
use crate::case::Case;
use crate::vm::Machine;

/// Outcome of a case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its number in the order of the table.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Observations for the table.
    pub seen: Vec<String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Runs numbered cases on `workers` threads, long ones first, and returns the outcomes in the order
/// of the numbers. Cases not started before an interrupt have no outcome.
pub fn play_all(cases: &[(usize, Case)], workers: usize, machine: Option<&Machine>) -> Vec<Outcome> {
    let mut order: VecDeque<&(usize, Case)> = cases.iter().filter(|(_, case)| case.long).collect();
    order.extend(cases.iter().filter(|(_, case)| !case.long));
    let queue = Mutex::new(order);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !interrupt_flag().load(std::sync::atomic::Ordering::Relaxed) {
                    let Some((number, case)) =
                        queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
                    else {
                        return;
                    };
                    let outcome = play(*number, case, machine);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.number);
    outcomes
}

fn play(number: usize, case: &Case, machine: Option<&Machine>) -> Outcome {
    let started = Instant::now();
    let mut seen = Vec::new();
    let mut logs = String::new();
    let result = Bench::start(case, machine).and_then(|mut bench| {
        let result = (case.play)(&mut bench);
        seen.append(&mut bench.seen);
        if result.is_err() {
            logs = bench.logs();
        }
        result
    });
    let seconds = started.elapsed().as_secs_f32();
    let failure = result.err().map(|error| error.to_string());
    match &failure {
        None => println!("ok    {} ({seconds:.1} s) {}", case.name(), seen.join(", ")),
        Some(why) => println!("FAIL  {} ({seconds:.1} s)\n{why}\n{logs}", case.name()),
    }
    Outcome { number, name: case.name(), seen, failure }
}
