//! Tests of the `tohub` program that need neither root nor a gateway.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use config::Configuration;
use config::control::{Request, SOCKET_NAME, decode, encode};
use config::edit::ImportError;
use config::shell::{Ask, Baselines, CommandError, Shell, Told};

fn tohub(run_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tohub"));
    command.arg("--run-dir").arg(run_dir).args(arguments).env_remove("TOHUB_RUN_DIR");
    command
}

fn run(run_dir: &Path, arguments: &[&str]) -> Output {
    tohub(run_dir, arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A control plane that only stores the configuration.
#[derive(Default)]
struct Device(Configuration);

impl Device {
    fn carry_out(&mut self, ask: Ask) -> Told {
        match ask {
            Ask::Commit(commit) => {
                self.0 = commit.configuration;
                Told::Committed(Ok(()))
            }
            Ask::Entered(_) => Told::Entered(String::new()),
            Ask::Baselines => Told::Baselines(Baselines::default()),
            Ask::Left(_) | Ask::Abandoned => Told::Noted,
            Ask::Resolve(_) => Told::Resolved(true),
            Ask::Import(_) => Told::Imported(Err(ImportError::Refused("%ERROR: no place".into()))),
            Ask::Show(command) => Told::Shown(Ok(format!("{command:?}\n"))),
            Ask::ShowJson(_) => Told::no_json(),
            Ask::Execute(_) => Told::Executed(Err(CommandError::Failed("it did not work".into()))),
        }
    }
}

/// Serves one connection on the control socket of `run_dir`.
fn serve(run_dir: &Path) -> std::thread::JoinHandle<Configuration> {
    let listener = UnixListener::bind(run_dir.join(SOCKET_NAME)).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let (mut shell, mut device) = (Shell::new(1), Device::default());
        for line in BufReader::new(stream).lines() {
            let request: Request = decode(&line.unwrap()).unwrap();
            let mut turn = shell.request(request, &device.0);
            loop {
                for response in &turn.replies {
                    writer.write_all(encode(response).unwrap().as_bytes()).unwrap();
                }
                turn = match turn.ask {
                    Some(ask) => shell.told(device.carry_out(ask), &device.0),
                    None if shell.holds_lines() => shell.flush(&device.0),
                    None => break,
                };
            }
        }
        device.0
    })
}

#[test]
fn nobody_listening_is_code_11_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["-c", "show version"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(text(&output.stderr).contains("tohub supervise --config"), "{}", text(&output.stderr));
}

#[test]
fn several_lines_share_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let lines = [
        "configure terminal",
        "crypto map tohub 1 ipsec-isakmp",
        "set peer 10.1.1.1 default",
        "end",
        "show privilege",
    ];
    let arguments: Vec<&str> = lines.iter().flat_map(|line| ["-c", *line]).collect();
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("Current privilege level is 15\n"));
    assert!(server.join().unwrap().entry("tohub", 1).unwrap().body.default_peer().is_some());
}

#[test]
fn the_first_error_ends_the_run_with_its_code_and_caret() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let output =
        run(folder.path(), &["-c", "show crypto mapp", "-c", "configure terminal", "-c", "hostname never"]);
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<String> = text(&output.stderr).lines().map(String::from).collect();
    assert_eq!(lines[0], "Router#show crypto mapp");
    assert_eq!(lines[1].find('^'), lines[0].rfind('p'), "the caret stands under the last p");
    assert_eq!(server.join().unwrap().system.hostname, "Router");
}

#[test]
fn refusals_and_failures_have_codes_of_their_own() {
    for (lines, code) in
        [(&["configure terminal", "crypto ike default-version 1"][..], 3), (&["reload"][..], 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(folder.path());
        let arguments: Vec<&str> = lines.iter().flat_map(|line| ["-c", *line]).collect();
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{lines:?}: {}", text(&output.stderr));
        server.join().unwrap();
    }
}

#[test]
fn piped_lines_are_executed() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let mut child = tohub(folder.path(), &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = b"! a comment\r\nconf t\r\nhostname piped\r\nend\r\nshow privilege\r\n";
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Current privilege level is 15\n"));
    assert_eq!(server.join().unwrap().system.hostname, "piped");
}

#[test]
fn check_accepts_notes_and_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.cfg");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "crypto map tohub 1 ipsec-isakmp\n set peer 10.1.1.1 default\n").unwrap();
    let output = run(folder.path(), &["check", path]);
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    assert!(
        out.contains("stays disabled until")
            && out.contains("permits is dropped")
            && out.contains("DPD is disabled"),
        "{out}"
    );
    assert!(out.contains("sizes: 0 permits") && out.contains("for 4096 policies"), "{out}");
    std::fs::write(&file, "crypto map tohub 1 ipsec-isakmp\n set peer 10.1.1.1 defalt\n").unwrap();
    let output = run(folder.path(), &["check", path]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("c.cfg:2:24:"), "{}", text(&output.stderr));
    let output = run(folder.path(), &["check", "/does/not/exist"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_names_what_the_kernel_has_no_room_for_and_refuses_what_nothing_has() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.cfg");
    let path = file.to_str().unwrap();
    let lines: String =
        (0..8193).map(|n| format!("access-list 101 permit udp any eq {n} host 10.1.1.9\n")).collect();
    let map = "crypto map m 1 ipsec-isakmp\n set peer 10.1.1.1\n set transform-set ts\n match address 101\n\
               crypto ipsec transform-set ts esp-gcm\ninterface GigabitEthernet0/1\n crypto map m\n";
    std::fs::write(&file, format!("{map}{lines}")).unwrap();
    let out = text(&run(folder.path(), &["check", path]).stdout);
    assert!(out.contains("interface GigabitEthernet0/1 makes 8193 rules"), "{out}");
    assert!(out.contains("sizes: 8193 permits, 8193 rules, 8193 tunnels"), "{out}");
    let interfaces: String = (0..65).map(|n| format!("interface GigabitEthernet1/{n}\n")).collect();
    std::fs::write(&file, interfaces).unwrap();
    let output = run(folder.path(), &["check", path]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("a gateway holds 64"), "{}", text(&output.stderr));
}

#[test]
fn wrong_usage_is_code_2() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["check"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["guard"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--frobnicate"]).status.code(), Some(2));
}
