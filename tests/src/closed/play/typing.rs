//! Sessions of the command line.

use std::io::Write as _;
use std::process::{Command, Stdio};

use lab::Result;
use lab::command::{LabError, settle, sleep_ms};

use super::Dice;
use super::failing::read_back;
use super::steps::{last_line, unexpected};
use crate::world::World;

/// Executes lines in one session without pauses.
pub fn configure(world: &World, lines: &[String]) -> Result<Command> {
    let mut arguments = vec!["-c", "configure terminal"];
    for line in lines {
        arguments.extend(["-c", line]);
    }
    arguments.extend(["-c", "end"]);
    world.tohub(&[], &arguments)
}

/// A session whose lines arrive one by one, as typed.
pub fn type_slowly(world: &World, lines: &[String], leaves: bool, dice: &mut Dice) -> Result<()> {
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
