//! Processes that end: at various times after the start, by every signal, alone and together.

use crate::event::{Begin, Ending, Event, Process, Step};
use crate::setup::Setup;

/// Times after the start in milliseconds: minimum, and random addition.
const AGES: [(u64, u64); 4] = [(0, 60), (60, 200), (260, 500), (760, 900)];

pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for process in Process::ALL {
        for ending in [Ending::Kill, Ending::Terminate] {
            events.extend(AGES.map(|age| while_it_starts(process, ending, age)));
            for setup in [Setup::OneUplink, Setup::Tunnel] {
                events.push(in_steady_state(process, ending, setup));
            }
        }
        events.push(paused(process));
    }
    events.extend([Setup::OneUplink, Setup::Tunnel].map(both_killed));
    events.extend([Setup::OneUplink, Setup::Tunnel].map(all_killed));
    events.push(killed_again_and_again());
    events
}

fn while_it_starts(process: Process, ending: Ending, (from, more): (u64, u64)) -> Event {
    Event::from_state(
        Begin::Guarded,
        format!("{} at {} {from} to {} ms after the start", ending.name(), process.name(), from + more),
        format!(
            "The boot guard ran, the gateway is started; {from} to {} ms later its {} gets {}.",
            from + more,
            process.name(),
            ending.name()
        ),
        Setup::OneUplink,
        vec![
            Step::Start,
            Step::Wait(from),
            Step::WaitUpTo(more),
            Step::End(process, ending),
            Step::OpenForwarding,
            Step::Wait(300),
        ],
    )
}

fn in_steady_state(process: Process, ending: Ending, setup: Setup) -> Event {
    let mut steps =
        vec![Step::WaitUpTo(50), Step::End(process, ending), Step::OpenForwarding, Step::Wait(200)];
    if process == Process::Supervisor && ending == Ending::Terminate {
        steps.extend([Step::Wait(400), Step::Stop, Step::Start]);
    } else if process == Process::Supervisor {
        // Its children keep running; a new supervisor is started after they were stopped.
        steps.extend([
            Step::End(Process::ControlPlane, Ending::Terminate),
            Step::End(Process::DataPlane, Ending::Terminate),
            Step::Wait(500),
            Step::Stop,
            Step::Start,
        ]);
    }
    steps.push(Step::Ready);
    if setup == Setup::Tunnel {
        steps.push(Step::TunnelUp);
    }
    Event::running(
        format!("{} at the {}{}", ending.name(), process.name(), suffix(setup)),
        format!("The {} of the running gateway gets {}, and comes back.", process.name(), ending.name()),
        setup,
        steps,
    )
}

fn paused(process: Process) -> Event {
    Event::running(
        format!("{} at the {}", Ending::Pause.name(), process.name()),
        format!("The {} stands still for some hundred milliseconds, as under a debugger.", process.name()),
        Setup::OneUplink,
        vec![Step::End(process, Ending::Pause), Step::OpenForwarding, Step::Ready],
    )
}

fn both_killed(setup: Setup) -> Event {
    Event::running(
        format!("SIGKILL at both processes{}", suffix(setup)),
        "Control plane and data plane are killed together, and come back.".to_owned(),
        setup,
        vec![
            Step::End(Process::DataPlane, Ending::Kill),
            Step::End(Process::ControlPlane, Ending::Kill),
            Step::OpenForwarding,
            Step::Wait(150),
            Step::Ready,
        ],
    )
}

fn all_killed(setup: Setup) -> Event {
    Event::running(
        format!("SIGKILL at everything{}", suffix(setup)),
        "All three processes are killed together, as the OOM killer might; later the gateway is started again."
            .to_owned(),
        setup,
        vec![
            Step::End(Process::Supervisor, Ending::Kill),
            Step::End(Process::DataPlane, Ending::Kill),
            Step::End(Process::ControlPlane, Ending::Kill),
            Step::OpenForwarding,
            Step::Wait(300),
            Step::Stop,
            Step::Start,
            Step::Ready,
        ],
    )
}

fn killed_again_and_again() -> Event {
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.extend([
            Step::End(Process::DataPlane, Ending::Kill),
            Step::WaitUpTo(200),
            Step::End(Process::ControlPlane, Ending::Kill),
            Step::WaitUpTo(200),
        ]);
    }
    steps.push(Step::Ready);
    Event::running(
        "SIGKILL again and again".to_owned(),
        "Control plane and data plane are killed in turn, also while they start.".to_owned(),
        Setup::OneUplink,
        steps,
    )
}

fn suffix(setup: Setup) -> &'static str {
    if setup == Setup::Tunnel { ", with a tunnel" } else { "" }
}
