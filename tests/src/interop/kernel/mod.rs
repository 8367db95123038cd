//! The cases against a Linux kernel in a virtual machine. Two machines, one with strongSwan and one
//! with libreswan, each run their cases sequentially, and share those without IKE.

mod by_hand;
mod hand_cases;
mod libreswan;
mod strongswan;
mod transport;

use lab::command::{LabError, interrupt_flag};

use crate::case::{Case, Opposite};
use crate::runner::{Outcome, play_all};
use crate::vm::Machine;
use crate::{Choice, everything_was_played, report};

/// Installs the peers, boots the machines and runs the cases.
pub fn play(choice: &Choice) -> Result<Vec<Outcome>, String> {
    lab::peer::install(&["strongswan6", "libreswan", "kernel-vm"])
        .map_err(|error| format!("the peers could not be installed: {error}"))?;
    let all = [strongswan::cases(), libreswan::cases()].concat();
    let by_hand: Vec<_> =
        (all.len() + 1..).zip(hand_cases::cases()).filter(|(_, case)| choice.takes(&case.name())).collect();
    let cases = choice.of(all);
    let (theirs, ours): (Vec<_>, Vec<_>) =
        cases.iter().cloned().partition(|(_, case)| case.opposite == Opposite::LibreswanOnKernel);
    // Without a daemon both machines are the same; for UDP, strongSwan holds the port.
    let (in_udp, plain): (Vec<_>, Vec<_>) = by_hand.iter().copied().partition(|(_, case)| case.udp);
    let (mut outcomes, mut kernel) = (Vec::new(), String::new());
    std::thread::scope(|scope| {
        let libreswan = scope.spawn(|| on_machine("libreswan", &theirs, &plain));
        let strongswan = on_machine("strongswan6", &ours, &in_udp);
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

fn on_machine(
    root: &str,
    cases: &[(usize, Case)],
    by_hand: &[(usize, hand_cases::HandCase)],
) -> lab::Result<(String, Vec<Outcome>)> {
    if cases.is_empty() && by_hand.is_empty() {
        return Ok(Default::default());
    }
    let machine = Machine::boot(root)?;
    let kernel = machine.stranger.exec(&["uname", "-r"])?.trim().to_owned();
    let mut outcomes = play_all(cases, 1, Some(&machine));
    for (number, case) in by_hand {
        if interrupt_flag().load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        outcomes.push(by_hand::play(*number, case, &machine));
    }
    Ok((kernel, outcomes))
}
