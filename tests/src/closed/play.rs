//! Runs an event once and returns the outcome.

use lab::Result;
use lab::command::{LabError, sleep_ms};

use crate::event::{Begin, Event};
use crate::packet::{Flow, Phase};
use crate::setup::{Peer, Setup};
use crate::wire::{Sighting, Sightings};
use crate::world::{Device, World};

mod failing;
mod steps;
mod typing;

use steps::{guard, name, ready, stop, take, tunnel_up};

/// Interval at which the forwarding sysctls are set again.
const FORWARDING_MS: u32 = 50;
/// Packets in flight after the last step still belong to the event.
const TAIL_MS: u64 = 80;

/// Outcome of one run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Packets that were seen in clear or accepted and should not have been.
    pub clear: Sightings,
    /// The same in the documented second, or where IOS would send them too.
    pub apart: u64,
    /// Another deviation from the documentation.
    pub problem: Option<String>,
}

impl Outcome {
    /// Number of clear packets.
    pub fn clear_packets(&self) -> u64 {
        self.clear.values().sum()
    }
}

/// Pseudo-random numbers (xorshift64).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same numbers for the same seed, event and repetition.
    pub fn new(seed: u64, name: &str, repetition: u32) -> Self {
        let start = (seed ^ u64::from(repetition)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = Self(
            name.bytes().fold(start, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        );
        dice.0 |= 1;
        dice.up_to(1);
        dice
    }

    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % (limit + 1)
    }
}

/// Runs the event on a world of its setup. An error is one of the laboratory; the world is then
/// unusable.
pub fn play(world: &mut World, event: &Event, number: u32, mut dice: Dice) -> Result<Outcome> {
    world.controls.set(number, Phase::Uncounted);
    world.controls.send(flows(world.setup));
    world.controls.open_forwarding_every(FORWARDING_MS);
    let mut outcome = Outcome::default();
    let mut counted = 0;
    let again = world.last_event.replace(event.name.clone()).is_some_and(|name| name == event.name);
    match begin(world, event.begin, again) {
        Ok(()) => {
            counted = clear_elsewhere(world);
            if event.begin != Begin::Fresh {
                world.controls.set(number, Phase::Strict);
            }
            for step in &event.steps {
                match take(world, step, number, &mut dice) {
                    Ok(()) => {}
                    Err(LabError::Interrupted) => return Err(LabError::Interrupted),
                    Err(error) => {
                        outcome.problem = Some(format!("{}: {error}", name(step)));
                        break;
                    }
                }
            }
        }
        Err(LabError::Interrupted) => return Err(LabError::Interrupted),
        Err(error) => outcome.problem = Some(format!("before the event: {error}")),
    }
    sleep_ms(TAIL_MS)?;
    world.controls.set(number, Phase::Uncounted);
    for (sighting, count) in world.sightings(number)? {
        match judge(event, &sighting) {
            Verdict::Clear => {
                outcome.clear.insert(sighting, count);
            }
            Verdict::Apart => outcome.apart += count,
            Verdict::Fine => {}
        }
    }
    if event.clear_as_ios
        && outcome.apart > 0
        && outcome.problem.is_none()
        && clear_elsewhere(world) <= counted
    {
        outcome.problem =
            Some("packets left in clear by the other uplink, and no counter says so".to_owned());
    }
    world.settled = event.begin == Begin::Running && outcome.problem.is_none() && world.is_as_at_first();
    Ok(outcome)
}

/// The data plane's counter of packets sent in clear although the map of another interface protects
/// them.
fn clear_elsewhere(world: &World) -> u64 {
    fn sum(value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| match value.as_u64() {
                    Some(count) if name == "clear-elsewhere" || name == "departure-elsewhere" => count,
                    _ => sum(value),
                })
                .sum(),
            serde_json::Value::Array(values) => values.iter().map(sum).sum(),
            _ => 0,
        }
    }
    world.gateway.dataplane_status().as_ref().map_or(0, sum)
}

enum Verdict {
    Clear,
    Apart,
    Fine,
}

fn judge(event: &Event, sighting: &Sighting) -> Verdict {
    let protected = sighting.flow.is_none_or(Flow::is_protected);
    match sighting.phase {
        Phase::Strict if protected && event.clear_as_ios && sighting.place == "internet/second" => {
            Verdict::Apart
        }
        Phase::Strict if protected => Verdict::Clear,
        Phase::Grace if protected => Verdict::Apart,
        _ => Verdict::Fine,
    }
}

/// The flows of the setup, protected and unprotected.
fn flows(setup: Setup) -> &'static [Flow] {
    const ALL: &[Flow] = &[
        Flow::Forwarded,
        Flow::Own,
        Flow::Inward,
        Flow::InwardOwn,
        Flow::Unprotected,
        Flow::Unprotected6,
        Flow::Answered,
    ];
    const AFTER_THE_TUNNEL: &[Flow] = &[Flow::Unprotected, Flow::Unprotected6, Flow::Answered];
    if setup.selects_before_the_tunnel() { ALL } else { AFTER_THE_TUNNEL }
}

/// Brings the machine into the state that the event begins in. Verifying the programs takes the
/// kernel half a second of CPU time: they are removed only before the first of consecutive runs
/// (and always for events that begin without programs); afterwards the next process takes over the
/// pinned ones.
fn begin(world: &mut World, begin: Begin, again: bool) -> Result<()> {
    let had_settled = std::mem::replace(&mut world.settled, false);
    if begin == Begin::Running && had_settled {
        return Ok(());
    }
    if again && matches!(begin, Begin::Guarded | Begin::Stopped) {
        stop(world);
        return Ok(());
    }
    world.cool()?;
    if !again || begin == Begin::Fresh {
        world.release()?;
    }
    let wires: &[Device] = match begin {
        Begin::GuardedWithoutWires => &[],
        Begin::GuardedWithoutUplink => &[Device::Inside, Device::Second],
        _ => &Device::ALL,
    };
    world.wire_anew(wires)?;
    match begin {
        Begin::Fresh => Ok(()),
        Begin::Guarded | Begin::GuardedWithoutWires | Begin::GuardedWithoutUplink => guard(world),
        Begin::Stopped => {
            world.gateway.launch()?;
            ready(world)?;
            world.gateway.stop();
            Ok(())
        }
        Begin::Running => {
            world.gateway.launch()?;
            ready(world)?;
            if world.setup.peer() != Peer::Absent {
                tunnel_up(world)?;
            }
            // The commit follows a second after the first policy.
            sleep_ms(300)?;
            world.remember();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(phase: Phase, flow: Option<Flow>, place: &str) -> Sighting {
        Sighting { play: 1, phase, flow, place: place.to_owned(), what: String::new() }
    }

    #[test]
    fn only_protected_packets_of_the_strict_phase_are_clear() {
        let event = Event::running(String::new(), String::new(), Setup::OneUplink, Vec::new());
        let verdict = |phase, flow| judge(&event, &sighting(phase, flow, "internet/branch"));
        assert!(matches!(verdict(Phase::Strict, Some(Flow::Own)), Verdict::Clear));
        assert!(matches!(verdict(Phase::Strict, None), Verdict::Clear));
        assert!(matches!(verdict(Phase::Strict, Some(Flow::Unprotected)), Verdict::Fine));
        assert!(matches!(verdict(Phase::Grace, Some(Flow::Forwarded)), Verdict::Apart));
        assert!(matches!(verdict(Phase::Uncounted, Some(Flow::Forwarded)), Verdict::Fine));
    }

    #[test]
    fn what_ios_sends_in_clear_too_is_excused_on_the_second_uplink_only() {
        let mut event = Event::running(String::new(), String::new(), Setup::TwoUplinksOpen, Vec::new());
        event.clear_as_ios = true;
        let verdict = |place| judge(&event, &sighting(Phase::Strict, Some(Flow::Forwarded), place));
        assert!(matches!(verdict("internet/second"), Verdict::Apart));
        assert!(matches!(verdict("internet/branch"), Verdict::Clear));
    }

    #[test]
    fn dice_fall_the_same_for_the_same_seed() {
        let roll = |seed, name: &str, repetition| {
            let mut dice = Dice::new(seed, name, repetition);
            [dice.up_to(1000), dice.up_to(1000), dice.up_to(1000)]
        };
        assert_eq!(roll(1, "a", 1), roll(1, "a", 1));
        assert_ne!(roll(1, "a", 1), roll(1, "a", 2));
        assert_ne!(roll(1, "a", 1), roll(2, "a", 1));
        assert!(roll(1, "a", 1).iter().all(|number| *number <= 1000));
    }
}
