//! Starts that must fail, and the scripts before and after them.

use std::process::Stdio;

use lab::Result;
use lab::command::{LabError, checked, settle, sleep_ms};
use rustix::process::Signal;

use super::steps::{last_line, signal, unexpected};
use crate::event::Failure;
use crate::inside;
use crate::traffic;
use crate::world::World;

/// How long a start may take until it fails; loading the guard takes seconds of CPU time.
const END_SECONDS: u64 = 30;

/// Prepares the cause, starts the gateway, compares the exit code and removes the cause.
pub fn fails(world: &mut World, failure: &Failure) -> Result<()> {
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
    settle(END_SECONDS, || !matches!(child.try_wait(), Ok(None)));
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

pub fn read_back(mut file: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.read_to_string(&mut text);
    text
}

/// Runs a script in the gateway's namespace, with the paths of its files and of `tohub`.
pub fn shell(world: &World, script: &str) -> Result<()> {
    if script.is_empty() {
        return Ok(());
    }
    let lab_program = lab::gateway::program("tohub-lab")?;
    let script = script.replace("tohub-lab-program", &lab_program.to_string_lossy());
    let mut command = world.gateway.namespace().command("sh");
    command
        .args(["-c", &script])
        .env("TOHUB", lab::gateway::program("tohub")?)
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
