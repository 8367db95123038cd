//! The programs of one build: what is in their files, and how `tohub` executes those beside it.

use std::process::{Command, Output};

use lab::Result;
use lab::command::{LabError, output};
use lab::gateway::program;
use simulation::crypto::MARKER;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/branch.cfg");

fn contains_marker(name: &str) -> Result<bool> {
    let path = program(name)?;
    let file = std::fs::read(&path).map_err(LabError::io(format!("reading {}", path.display())))?;
    Ok(file.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()))
}

#[test]
fn no_program_of_a_gateway_contains_a_fake_provider() -> Result<()> {
    for name in ["tohub", "tohub-supervise", "tohub-guard", "tohub-controlplane", "tohub-dataplane"] {
        assert!(!contains_marker(name)?, "{name} contains {MARKER:?}");
    }
    assert!(contains_marker("tohub-simulate")?, "what is looked for can be found");
    Ok(())
}

/// Results of `tohub SUBCOMMAND` and of the program that it executes, with the same options.
fn both(front: &[&str], name: &str, options: &[&str]) -> Result<(Output, Output)> {
    let through = output(Command::new(program("tohub")?).args(front).args(options))?;
    let direct = output(Command::new(program(name)?).args(options))?;
    Ok((through, direct))
}

#[test]
fn a_dry_run_is_the_same_through_tohub() -> Result<()> {
    let events = ["--event", "t=10s down 10.1.1.1", "--traffic", "icmp every 1s 0s..60s"];
    let plain: Vec<&str> = ["--config", EXAMPLE].into_iter().chain(events).collect();
    let json: Vec<&str> = plain.iter().copied().chain(["--json"]).collect();
    let cases: [(&[&str], i32); 5] = [
        (&plain, 0),
        (&json, 0),
        (&["--config", EXAMPLE, "--event", "t=10s away 10.1.1.1"], 2),
        (&["--config", "/dev/null"], 3),
        (&["--config", EXAMPLE, "--no-such-option"], 2),
    ];
    for (options, code) in cases {
        let (through, direct) = both(&["simulate"], "tohub-simulate", options)?;
        assert_eq!(through.status.code(), Some(code), "{}", String::from_utf8_lossy(&through.stderr));
        assert_eq!(through, direct, "{options:?}");
    }
    let tohub = program("tohub")?;
    let in_front = output(Command::new(&tohub).args(["--json", "simulate"]).args(&plain))?;
    let behind = output(Command::new(&tohub).arg("simulate").args(&json))?;
    assert!(in_front.stdout.starts_with(b"{"), "{}", String::from_utf8_lossy(&in_front.stdout));
    assert_eq!(in_front, behind);
    Ok(())
}

#[test]
fn supervise_guard_and_release_end_with_the_codes_of_their_programs() -> Result<()> {
    let folder = tempfile::tempdir().map_err(LabError::io("making a folder"))?;
    let lock =
        std::fs::File::create(folder.path().join("supervise.lock")).map_err(LabError::io("making a lock"))?;
    lock.lock().map_err(LabError::io("locking"))?;
    let run = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(program("tohub")?);
        command.arg("--run-dir").arg(folder.path()).args(arguments).env_remove("TOHUB_RUN_DIR");
        let ended = output(&mut command)?;
        Ok((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
    };
    let (code, text) = run(&["supervise", "--config", "/dev/null"])?;
    assert_eq!(code, Some(9), "{text}");
    assert!(text.contains("running"), "{text}");
    let (code, text) = run(&["release"])?;
    assert_eq!(code, Some(9), "{text}");
    for wrong in [
        &["supervise"][..],
        &["supervise", "--config", "x", "--time-scale", "0"],
        &["supervise", "--no-such"],
    ] {
        assert_eq!(run(wrong)?.0, Some(2), "{wrong:?}");
    }
    let help = output(Command::new(program("tohub")?).args(["supervise", "--help"]))?;
    assert!(String::from_utf8_lossy(&help.stdout).contains("--hung-after"));
    Ok(())
}

#[test]
fn a_program_that_is_not_installed_is_named_with_the_remedy() -> Result<()> {
    let tohub = program("tohub")?;
    let build = tohub.parent().unwrap_or(&tohub);
    let folder = tempfile::tempdir_in(build).map_err(LabError::io("making a folder"))?;
    let alone = folder.path().join("bin/tohub");
    std::fs::create_dir(folder.path().join("bin")).map_err(LabError::io("making a folder"))?;
    std::fs::hard_link(&tohub, &alone).map_err(LabError::io("linking tohub"))?;
    let start =
        |path: &std::path::Path| output(Command::new(&alone).args(["supervise", "--help"]).env("PATH", path));
    let missing = start(folder.path())?;
    assert_eq!(missing.status.code(), Some(1));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("tohub-supervise is not in") && text.contains("install"), "{text}");
    let found = start(build)?;
    assert!(found.status.success(), "by PATH: {}", String::from_utf8_lossy(&found.stderr));
    Ok(())
}
