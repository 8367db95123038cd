//! The matrix: every event, generated from lists.

use crate::event::Event;

mod edits;
mod failing;
mod interfaces;
mod life;
mod names;
mod processes;
mod removal;
mod start;

/// All of them. Those that share a setup are adjacent, so that a laboratory can keep its gateway.
pub fn all() -> Vec<Event> {
    let mut events: Vec<Event> = [
        start::events(),
        failing::events(),
        processes::events(),
        interfaces::events(),
        edits::events(),
        names::events(),
        removal::events(),
        life::events(),
    ]
    .into_iter()
    .flatten()
    .collect();
    events.sort_by_key(|event| (event.setup, event.begin));
    events
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::{Begin, Step};

    #[test]
    fn there_are_enough_and_each_has_its_own_name() {
        let events = all();
        assert!(events.len() >= 150, "{}", events.len());
        let names: BTreeSet<&str> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names.len(), events.len());
    }

    #[test]
    fn packets_count_in_every_event() {
        for event in all() {
            let counted =
                event.begin != Begin::Fresh || event.steps.iter().any(|step| matches!(step, Step::Strict));
            assert!(counted, "{}", event.name);
        }
    }

    #[test]
    fn a_grace_ends() {
        for event in all() {
            let mut grace = false;
            for step in &event.steps {
                match step {
                    Step::Grace => grace = true,
                    Step::Strict => grace = false,
                    _ => {}
                }
            }
            assert!(!grace, "{}", event.name);
        }
    }
}
