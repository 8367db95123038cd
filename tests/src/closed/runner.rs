//! Runs the matrix on several laboratories in parallel, as most of the time is spent waiting.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use lab::command::{LabError, interrupt_flag};

use crate::event::Event;
use crate::play::{Dice, Outcome, play};
use crate::setup::Setup;
use crate::world::World;

/// Parameters of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often each event is played.
    pub repetitions: u32,
    /// Seed of the delays.
    pub seed: u64,
    /// How many laboratories.
    pub laboratories: usize,
}

/// The result of one event.
#[derive(Debug)]
pub struct Result {
    /// The event's name.
    pub name: String,
    /// One per repetition.
    pub outcomes: Vec<Outcome>,
}

/// All results.
#[derive(Debug, Default)]
pub struct Results {
    /// In the order of completion.
    pub events: Vec<Result>,
    /// Marked packets sent in counted phases.
    pub packets: u64,
    /// Frames that the captures missed.
    pub missed: u64,
    /// Number of laboratories built, the first ones included.
    pub built: u32,
    /// Whether the run was interrupted.
    pub interrupted: bool,
}

impl Result {
    /// No clear packet and no other deviation from the documentation.
    pub fn is_good(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.clear.is_empty() && outcome.problem.is_none())
    }
}

/// Plays all events.
pub fn run(events: Vec<Event>, plan: Plan, report: impl Fn(&Result) + Sync) -> Results {
    let shared = Shared {
        queue: Mutex::new(events.into()),
        results: Mutex::default(),
        next_play: AtomicU32::new(1),
        plan,
        report: &report,
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.laboratories {
            scope.spawn(|| Laboratory { world: None, shared: &shared }.work());
        }
    });
    let mut results = shared.results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.interrupted = interrupt_flag().load(Ordering::Relaxed);
    results
}

struct Shared<'a> {
    queue: Mutex<VecDeque<Event>>,
    results: Mutex<Results>,
    next_play: AtomicU32,
    plan: Plan,
    report: &'a (dyn Fn(&Result) + Sync),
}

struct Laboratory<'a> {
    world: Option<World>,
    shared: &'a Shared<'a>,
}

impl Laboratory<'_> {
    fn work(mut self) {
        while !interrupt_flag().load(Ordering::Relaxed) {
            let current = self.world.as_ref().map(|world| world.setup);
            let Some(event) = next(&self.shared.queue, current) else { break };
            let mut result = Result { name: event.name.clone(), outcomes: Vec::new() };
            for repetition in 1..=self.shared.plan.repetitions {
                match self.play(&event, repetition) {
                    Ok(outcome) => result.outcomes.push(outcome),
                    Err(LabError::Interrupted) => return self.demolish(),
                    Err(error) => {
                        self.demolish_world();
                        let problem = Some(format!("laboratory: {error}"));
                        result.outcomes.push(Outcome { problem, ..Outcome::default() });
                        break;
                    }
                }
            }
            (self.shared.report)(&result);
            self.results().events.push(result);
        }
        self.demolish();
    }

    fn play(&mut self, event: &Event, repetition: u32) -> lab::Result<Outcome> {
        let usable = self.world.as_ref().is_some_and(|world| world.setup == event.setup && !world.broken);
        if !usable {
            self.demolish_world();
        }
        let world = match &mut self.world {
            Some(world) => world,
            empty => {
                self.shared.results.lock().unwrap_or_else(PoisonError::into_inner).built += 1;
                empty.insert(World::build(event.setup)?)
            }
        };
        let number = self.shared.next_play.fetch_add(1, Ordering::Relaxed);
        let outcome = play(world, event, number, Dice::new(self.shared.plan.seed, &event.name, repetition))?;
        world.broken = outcome.problem.is_some();
        Ok(outcome)
    }

    fn demolish(mut self) {
        self.demolish_world();
    }

    fn demolish_world(&mut self) {
        if let Some(world) = self.world.take() {
            let mut results = self.results();
            results.packets += world.controls.sent();
            results.missed += world.seen.missed();
            drop(results);
            drop(world);
        }
    }

    fn results(&self) -> std::sync::MutexGuard<'_, Results> {
        self.shared.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next event with the laboratory's setup; else the first of the setup with the most remaining
/// events.
fn next(queue: &Mutex<VecDeque<Event>>, current: Option<Setup>) -> Option<Event> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |setup: Setup| queue.iter().position(|event| event.setup == setup);
    let at = current.and_then(of).or_else(|| {
        let waiting = |setup: Setup| queue.iter().filter(|event| event.setup == setup).count();
        let busiest = queue.iter().map(|event| event.setup).max_by_key(|setup| waiting(*setup))?;
        of(busiest)
    })?;
    queue.remove(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_laboratory_keeps_its_setup_and_then_helps_with_the_longest_queue() {
        let event = |name: &str, setup| Event::running(name.to_owned(), String::new(), setup, Vec::new());
        let queue = Mutex::new(VecDeque::from([
            event("a", Setup::OneUplink),
            event("b", Setup::Tunnel),
            event("c", Setup::TwoUplinks),
            event("d", Setup::TwoUplinks),
        ]));
        let names: Vec<String> =
            std::iter::from_fn(|| next(&queue, Some(Setup::Tunnel))).map(|event| event.name).collect();
        assert_eq!(names[0], "b");
        assert!(["c", "d"].contains(&names[1].as_str()), "{names:?}");
        assert_eq!(names.len(), 4);
    }
}
