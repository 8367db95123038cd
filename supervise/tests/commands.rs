//! Tests of `tohub-supervise` that need neither root nor the other programs.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(run_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tohub-supervise"));
    command.arg("--run-dir").arg(run_dir).args(arguments).env_remove("TOHUB_RUN_DIR");
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_option_of_earlier_releases_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--config", "/dev/null", "--large-rule-lists"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("leave it out"), "{}", text(&output.stderr));
}

#[test]
fn a_second_supervisor_ends_with_code_9() {
    let folder = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(folder.path().join("supervise.lock")).unwrap();
    lock.lock().unwrap();
    let output = run(folder.path(), &["--config", "/dev/null"]);
    assert_eq!(output.status.code(), Some(9));
    assert!(text(&output.stderr).contains("running"), "{}", text(&output.stderr));
}

#[test]
fn wrong_usage_is_code_2() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &[]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--config", "x", "--time-scale", "0"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--config", "x", "--hung-after", "2"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--config", "x", "--log", "=,="]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--frobnicate"]).status.code(), Some(2));
}
