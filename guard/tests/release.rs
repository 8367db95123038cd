//! Tests of `tohub-guard --release` that need no root.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(run_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tohub-guard"));
    command.arg("--run-dir").arg(run_dir).args(arguments).env_remove("TOHUB_RUN_DIR");
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_running_gateway_is_not_released() {
    let folder = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(folder.path().join("supervise.lock")).unwrap();
    lock.lock().unwrap();
    let output = run(folder.path(), &["--release"]);
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("supervise.lock").exists());
}

#[test]
fn closing_and_releasing_at_once_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["--release", "--config", "x"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--release", "--watch"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &[]).status.code(), Some(2));
}
