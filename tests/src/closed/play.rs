//! Plays an event once and says what came of it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lab::Result;
use lab::command::{LabError, checked, output, settle, sleep_ms};
use rustix::process::{Pid, Signal, kill_process};

use crate::event::{Begin, Ending, Event, Failure, Process, Step};
use crate::inside;
use crate::packet::{Flow, Phase};
use crate::setup::{Peer, Setup};
use crate::traffic::{self, TCP_PORT};
use crate::wire::{Sighting, Sightings};
use crate::world::{Device, World, batch, forced_batch};

/// The switches are opened this often, whatever else happens.
const FORWARDING_MS: u32 = 50;
/// Packets on their way when the last step was done still belong to the event.
const TAIL_MS: u64 = 80;
const READY_SECONDS: u64 = 30;
const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// What came of one play.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Packets that were seen in clear or let in, and must not have been.
    pub clear: Sightings,
    /// The same in the documented second, or as IOS would send them too.
    pub apart: u64,
    /// What else was not as documented.
    pub problem: Option<String>,
}

impl Outcome {
    /// How many clear packets.
    pub fn clear_packets(&self) -> u64 {
        self.clear.values().sum()
    }
}

/// Numbers that look random (xorshift64).
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

/// Plays it on a world of its setup. An error is one of the laboratory; the world cannot be used
/// any more.
pub fn play(world: &mut World, event: &Event, number: u32, mut dice: Dice) -> Result<Outcome> {
    world.controls.set(number, Phase::Uncounted);
    world.controls.send(flows(world.setup));
    world.controls.open_forwarding_every(FORWARDING_MS);
    let mut outcome = Outcome::default();
    let mut counted = 0;
    match begin(world, event.begin) {
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

/// What the data plane counted as sent in clear although the map of another interface protects it.
fn clear_elsewhere(world: &World) -> u64 {
    fn sum(value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| match value.as_u64() {
                    Some(count) if name == "clear-elsewhere" => count,
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

/// The flows that the setup protects, and some that it does not.
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

fn begin(world: &mut World, begin: Begin) -> Result<()> {
    let had_settled = std::mem::replace(&mut world.settled, false);
    if begin == Begin::Running && had_settled {
        return Ok(());
    }
    world.cool()?;
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
            // The commit comes a second after the first policy.
            sleep_ms(300)?;
            world.remember();
            Ok(())
        }
    }
}

fn take(world: &mut World, step: &Step, number: u32, dice: &mut Dice) -> Result<()> {
    match step {
        Step::Wait(milliseconds) => sleep_ms(*milliseconds),
        Step::WaitUpTo(milliseconds) => sleep_ms(dice.up_to(*milliseconds)),
        Step::Ip(lines) => batch(world.gateway.namespace(), &named(world, lines)),
        Step::IpAtFarEnd(device, lines) => batch(world.far_namespace(*device), lines),
        Step::IpElsewhere(lines) => batch(&world.elsewhere, &named(world, lines)),
        Step::Plug(device) => world.plug_in(&[*device]),
        Step::Plugged(device) => world.far_end_up(*device),
        Step::PlugSpare => world.plug_in_spare(),
        // The gateway may have been faster, or not as far yet; whether it is as it was is looked at
        // in the end.
        Step::Address(device) => forced_batch(world.gateway.namespace(), &device.address_lines()),
        Step::Route => forced_batch(world.gateway.namespace(), &world.route_lines()),
        Step::Configure(lines) => {
            configure(world, lines).and_then(|command| checked(&mut { command }).map(drop))
        }
        Step::Type(lines) => type_slowly(world, lines, true, dice),
        Step::TypeAndLose(lines) => type_slowly(world, lines, false, dice),
        Step::TryConfigure(lines) => {
            configure(world, lines).and_then(|command| output(&mut { command }).map(drop))
        }
        Step::Refused(lines) => {
            let answer = output(&mut configure(world, lines)?)?;
            if answer.status.success() { unexpected("the lines were taken") } else { Ok(()) }
        }
        Step::Exec(line) => world.gateway.cli(line).map(drop),
        Step::Guard => guard(world),
        Step::TryGuard => guard_command(world).and_then(|mut command| output(&mut command).map(drop)),
        Step::Start => world.gateway.launch(),
        Step::Ready => ready(world),
        Step::ReadyOrEnded => {
            settle(READY_SECONDS, || world.gateway.ended().is_some() || world.gateway.is_ready());
            Ok(())
        }
        Step::ReadyAtLast => {
            // What could not start yet, because something was missing, has ended by now.
            sleep_ms(300)?;
            if world.gateway.ended().is_some() {
                world.gateway.launch()?;
            }
            ready(world)
        }
        Step::Stop => {
            stop(world);
            Ok(())
        }
        Step::Fails(failure) => fails(world, failure),
        Step::TohubRefuses(arguments, code) => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let answer = output(&mut world.tohub(&[], &arguments)?)?;
            if answer.status.code() == Some(*code) {
                return Ok(());
            }
            unexpected(&format!("exit {:?} instead of {code}", answer.status.code()))
        }
        Step::End(process, ending) => end(world, *process, *ending, dice),
        Step::Shell(script) => shell(world, script),
        Step::OpenForwarding => {
            world.controls.open_forwarding_every(FORWARDING_MS);
            inside::call(world.gateway.namespace(), || {
                traffic::open_forwarding();
                Ok(())
            })
        }
        Step::CloseForwarding => {
            world.controls.open_forwarding_every(0);
            sleep_ms(5)?;
            inside::call(world.gateway.namespace(), || {
                traffic::close_forwarding();
                Ok(())
            })
        }
        Step::Strict => {
            world.controls.set(number, Phase::Strict);
            Ok(())
        }
        Step::Grace => {
            world.controls.set(number, Phase::Grace);
            Ok(())
        }
        Step::UnprotectedPasses => within(3, "an unprotected packet of the host outside", || {
            world.seen.has(number, Flow::Unprotected)
        }),
        Step::ReachesGateway => reaches_gateway(world),
        Step::TunnelUp | Step::TunnelCarries => tunnel_up(world),
    }
}

fn named(world: &World, lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            line.replace("ELSEWHERE", world.elsewhere.name())
                .replace("GATEWAY", world.gateway.namespace().name())
        })
        .collect()
}

fn configure(world: &World, lines: &[String]) -> Result<Command> {
    let mut arguments = vec!["-c", "configure terminal"];
    for line in lines {
        arguments.extend(["-c", line]);
    }
    arguments.extend(["-c", "end"]);
    world.tohub(&[], &arguments)
}

/// A session whose lines come one after the other, as from a keyboard.
fn type_slowly(world: &World, lines: &[String], leaves: bool, dice: &mut Dice) -> Result<()> {
    let mut command = world.tohub(&[], &[])?;
    let log = tempfile::tempfile().map_err(LabError::io("making a log"))?;
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(log.try_clone().map_err(LabError::io("sharing a log"))?);
    let mut child = command
        .spawn()
        .map_err(|source| LabError::Start { command: lab::command::describe(&command), source })?;
    let typed = child.stdin.take().map_or(Ok(()), |mut keyboard| {
        for line in std::iter::once("configure terminal").chain(lines.iter().map(String::as_str)) {
            writeln!(keyboard, "{line}").map_err(LabError::io("typing"))?;
            sleep_ms(10 + dice.up_to(60))?;
        }
        if leaves {
            writeln!(keyboard, "end").map_err(LabError::io("typing"))?;
        } else {
            let _ = child.kill();
        }
        Ok(())
    });
    settle(8, || !matches!(child.try_wait(), Ok(None)));
    let _ = child.kill();
    let status = child.wait().map_err(LabError::io("waiting for a session"))?;
    typed?;
    if status.success() || !leaves { Ok(()) } else { unexpected(last_line(&read_back(log)).as_str()) }
}

fn guard_command(world: &World) -> Result<Command> {
    let configuration = world.gateway.configuration_file();
    world.tohub(&[], &["guard", "--config", &configuration.to_string_lossy()])
}

/// An interface without a device is closed everywhere, and the boot guard says so by its exit code.
fn guard(world: &World) -> Result<()> {
    const NO_DEVICE: i32 = 6;
    match checked(&mut guard_command(world)?) {
        Err(LabError::Failed { status, .. })
            if world.setup.map_device().is_none() && status.code() == Some(NO_DEVICE) =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}

fn ready(world: &mut World) -> Result<()> {
    let mut ended = None;
    let ready = settle(READY_SECONDS, || {
        ended = world.gateway.ended();
        ended.is_some() || world.gateway.is_ready()
    });
    match ended {
        Some(status) => {
            unexpected(&format!("the supervisor ended ({status}): {}", last_line(&world.gateway.log())))
        }
        None if ready => Ok(()),
        None => unexpected(&format!("not ready in {READY_SECONDS} s: {}", last_line(&world.gateway.log()))),
    }
}

fn tunnel_up(world: &World) -> Result<()> {
    let before = world.carried.load(Ordering::SeqCst);
    within(10, "a packet behind the peer", || world.carried.load(Ordering::SeqCst) > before)
}

fn reaches_gateway(world: &World) -> Result<()> {
    let address = SocketAddr::from((UPLINK, TCP_PORT));
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let limit = Duration::from_millis(700);
        let reached =
            inside::call(&world.internet, move || TcpStream::connect_timeout(&address, limit).map(drop));
        match reached {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep_ms(50)?,
        }
    }
}

/// Stops the supervisor, and then what it may have left when it was killed before.
fn stop(world: &mut World) {
    world.gateway.stop();
    for process in [Process::ControlPlane, Process::DataPlane] {
        if let Some(pid) = world.gateway.pid_of(process.program()) {
            signal(pid, Signal::TERM);
        }
    }
    settle(4, || {
        [Process::ControlPlane, Process::DataPlane]
            .iter()
            .all(|process| world.gateway.pid_of(process.program()).is_none())
    });
}

fn end(world: &World, process: Process, ending: Ending, dice: &mut Dice) -> Result<()> {
    // While a gateway starts the process may not be there yet, or not any more.
    let Some(pid) = world.gateway.pid_of(process.program()) else { return Ok(()) };
    match ending {
        Ending::Kill => signal(pid, Signal::KILL),
        Ending::Terminate => signal(pid, Signal::TERM),
        Ending::Pause => {
            signal(pid, Signal::STOP);
            let waited = sleep_ms(200 + dice.up_to(200));
            signal(pid, Signal::CONT);
            return waited;
        }
    }
    Ok(())
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn fails(world: &mut World, failure: &Failure) -> Result<()> {
    shell(world, &failure.prepare)?;
    let run_dir = world.gateway.run_dir().to_string_lossy().into_owned();
    let configuration = world.gateway.configuration_file().to_string_lossy().into_owned();
    let words = |words: &[String]| -> Vec<String> {
        let replaced = |word: &String| match word.as_str() {
            "CONFIG" => configuration.clone(),
            "RUN" => run_dir.clone(),
            "RUN.config" => format!("{run_dir}.config"),
            other => other.to_owned(),
        };
        words.iter().map(replaced).collect()
    };
    let arguments = words(&failure.arguments);
    let arguments: Vec<&str> =
        std::iter::once("supervise").chain(arguments.iter().map(String::as_str)).collect();
    let mut command = world.tohub(&words(&failure.wrapper), &arguments)?;
    let log = tempfile::tempfile().map_err(LabError::io("making a log"))?;
    command.stdout(Stdio::null()).stderr(log.try_clone().map_err(LabError::io("sharing a log"))?);
    let mut child = command
        .spawn()
        .map_err(|source| LabError::Start { command: lab::command::describe(&command), source })?;
    settle(8, || !matches!(child.try_wait(), Ok(None)));
    let status = child.try_wait().ok().flatten();
    if status.is_none() {
        signal(i32::try_from(child.id()).unwrap_or(0), Signal::TERM);
        settle(8, || !matches!(child.try_wait(), Ok(None)));
        let _ = child.kill();
        let _ = child.wait();
    }
    inside::call(world.gateway.namespace(), || {
        traffic::open_forwarding();
        Ok(())
    })?;
    sleep_ms(100)?;
    shell(world, &failure.undo)?;
    match status.and_then(|status| status.code()) {
        Some(code) if failure.codes.contains(&code) => Ok(()),
        other => {
            let text = read_back(log);
            let outcome =
                other.map_or_else(|| "the start did not fail".to_owned(), |code| format!("exit code {code}"));
            unexpected(&format!("{outcome} instead of {:?}: {}", failure.codes, last_line(&text)))
        }
    }
}

fn read_back(mut file: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.read_to_string(&mut text);
    text
}

fn shell(world: &World, script: &str) -> Result<()> {
    if script.is_empty() {
        return Ok(());
    }
    let lab_program = lab::gateway::program("tohub-lab")?;
    let script = script.replace("tohub-lab-program", &lab_program.to_string_lossy());
    let mut command = world.gateway.namespace().command("sh");
    command
        .args(["-c", &script])
        .env("RUN", world.gateway.run_dir())
        .env("CONFIG", world.gateway.configuration_file())
        .env("PINS", pins_folder(world));
    checked(&mut command).map(drop)
}

fn pins_folder(world: &World) -> std::path::PathBuf {
    let name = std::fs::read_to_string(world.gateway.run_dir().join("pins")).unwrap_or_default();
    let name = if name.trim().is_empty() { "none" } else { name.trim() };
    std::path::Path::new("/sys/fs/bpf/tohub").join(name)
}

fn within(seconds: u64, what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    if settle(seconds, condition) {
        Ok(())
    } else {
        Err(LabError::Timeout { what: what.to_owned(), seconds })
    }
}

fn unexpected<T>(why: &str) -> Result<T> {
    Err(LabError::Unexpected(why.to_owned()))
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned()
}

/// A step in a few words.
fn name(step: &Step) -> String {
    let text = format!("{step:?}");
    text.chars().take(60).collect()
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
