//! Execution of each step.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lab::Result;
use lab::command::{LabError, checked, output, settle, sleep_ms};
use rustix::process::{Pid, Signal, kill_process};

use super::typing::{configure, type_slowly};
use super::{Dice, FORWARDING_MS, failing};
use crate::event::{Ending, Process, Step};
use crate::inside;
use crate::packet::{Flow, Phase};
use crate::traffic::{self, TCP_PORT};
use crate::world::{World, batch, forced_batch};

const READY_SECONDS: u64 = 30;
const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Executes one step.
pub fn take(world: &mut World, step: &Step, number: u32, dice: &mut Dice) -> Result<()> {
    match step {
        Step::Wait(milliseconds) => sleep_ms(*milliseconds),
        Step::WaitUpTo(milliseconds) => sleep_ms(dice.up_to(*milliseconds)),
        Step::Ip(lines) => batch(world.gateway.namespace(), &named(world, lines)),
        Step::IpAtFarEnd(device, lines) => batch(world.far_namespace(*device), lines),
        Step::IpElsewhere(lines) => batch(&world.elsewhere, &named(world, lines)),
        Step::Plug(device) => world.plug_in(&[*device]),
        Step::Plugged(device) => world.far_end_up(*device),
        Step::PlugSpare => world.plug_in_spare(),
        // Errors are ignored, as the gateway may have changed the state concurrently; the final
        // state is checked at the end.
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
            // A start that failed for a missing device has ended by now.
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
        Step::Fails(failure) => failing::fails(world, failure),
        Step::TohubRefuses(arguments, code) => {
            let configuration = world.gateway.configuration_file().to_string_lossy().into_owned();
            let words = arguments.iter().map(|word| if word == "CONFIG" { &configuration } else { word });
            let arguments: Vec<&str> = words.map(String::as_str).collect();
            let answer = output(&mut world.tohub(&[], &arguments)?)?;
            if answer.status.code() == Some(*code) {
                return Ok(());
            }
            unexpected(&format!("exit {:?} instead of {code}", answer.status.code()))
        }
        Step::End(process, ending) => end(world, *process, *ending, dice),
        Step::Shell(script) => failing::shell(world, script),
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

fn guard_command(world: &World) -> Result<Command> {
    let configuration = world.gateway.configuration_file();
    world.tohub(&[], &["guard", "--config", &configuration.to_string_lossy()])
}

/// An interface without a device is closed everywhere, which the boot guard reports by its exit
/// code.
pub fn guard(world: &World) -> Result<()> {
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

pub fn ready(world: &mut World) -> Result<()> {
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

pub fn tunnel_up(world: &World) -> Result<()> {
    let before = world.carried.load(Ordering::SeqCst);
    within(20, "a packet behind the peer", || world.carried.load(Ordering::SeqCst) > before)
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

/// Stops the supervisor, and then processes left by a supervisor that was killed.
pub fn stop(world: &mut World) {
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
    // While a gateway starts the process may not exist yet, or may have ended.
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

pub fn within(seconds: u64, what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    if settle(seconds, condition) {
        Ok(())
    } else {
        Err(LabError::Timeout { what: what.to_owned(), seconds })
    }
}

/// Short text for a step.
pub fn name(step: &Step) -> String {
    let text = format!("{step:?}");
    text.chars().take(60).collect()
}

pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

pub fn unexpected<T>(why: &str) -> Result<T> {
    Err(LabError::Unexpected(why.to_owned()))
}

pub fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned()
}
