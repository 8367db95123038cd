//! The cases opposite a Linux kernel in a virtual machine. Two machines, one with strongSwan and one with libreswan, each play their cases
//! one after the other.

mod by_hand;
mod libreswan;
mod strongswan;

use lab::command::{LabError, interrupt_flag};

use crate::case::{Case, Opposite};
use crate::runner::{Outcome, play_all};
use crate::vm::Machine;
use crate::{Choice, everything_was_played, report};

/// Installs the peers, boots the machines, plays.
pub fn play(choice: &Choice) -> Result<Vec<Outcome>, String> {
    lab::peer::install(&["strongswan6", "libreswan", "kernel-vm"])
        .map_err(|error| format!("the peers could not be installed: {error}"))?;
    let all = [strongswan::cases(), libreswan::cases()].concat();
    let by_hand: Vec<_> =
        (all.len() + 1..).zip(by_hand::cases()).filter(|(_, (name, ..))| choice.takes(name)).collect();
    let cases = choice.of(all);
    let (theirs, ours): (Vec<_>, Vec<_>) =
        cases.iter().cloned().partition(|(_, case)| case.opposite == Opposite::LibreswanOnKernel);
    let (mut outcomes, mut kernel) = (Vec::new(), String::new());
    std::thread::scope(|scope| {
        let libreswan = scope.spawn(|| on_machine("libreswan", &theirs, &[]));
        let strongswan = on_machine("strongswan6", &ours, &by_hand);
        let libreswan = libreswan
            .join()
            .unwrap_or_else(|_| Err(LabError::Unexpected("the thread of a machine ended".to_owned())));
        for result in [strongswan, libreswan] {
            let (version, played) = result.map_err(|error| format!("a virtual machine: {error}"))?;
            kernel = if version.is_empty() { std::mem::take(&mut kernel) } else { version };
            outcomes.extend(played);
        }
        Ok::<(), String>(())
    })?;
    outcomes.sort_by_key(|outcome| outcome.number);
    let versions = ["strongswan6", "libreswan"].map(lab::peer::version).join(", ");
    choice.report(report::Section::Kernel, &format!("Linux {kernel}, {versions}"), &outcomes)?;
    everything_was_played(cases.len() + by_hand.len(), outcomes)
}

/// A case of [`by_hand`] with its number in the table.
type ByHandCase = (usize, (String, &'static by_hand::Row, bool));

fn on_machine(
    root: &str,
    cases: &[(usize, Case)],
    by_hand: &[ByHandCase],
) -> lab::Result<(String, Vec<Outcome>)> {
    if cases.is_empty() && by_hand.is_empty() {
        return Ok(Default::default());
    }
    let machine = Machine::boot(root)?;
    let kernel = machine.stranger.exec(&["uname", "-r"])?.trim().to_owned();
    let mut outcomes = play_all(cases, 1, Some(&machine));
    for (number, (name, row, esn)) in by_hand {
        if interrupt_flag().load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        outcomes.push(by_hand::play(*number, name.clone(), row, *esn, &machine));
    }
    Ok((kernel, outcomes))
}
