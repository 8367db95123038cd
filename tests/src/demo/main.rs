//! `tohub-demo`: preferred-peer fail-over on real packets, with a live timeline and a table at the
//! end.
//!
//! Traffic brings up a tunnel to the default peer; the default peer is cut off; dead peer
//! detection, retry of the default peer, take-over by the other hub; the default peer returns and
//! traffic stays; idle time; the next packet uses the default peer again.
#![forbid(unsafe_code)]

mod prediction;
mod report;
mod story;
mod timeline;

use std::env::VarError;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;

use lab::command::{LabError, interrupt_flag};

/// An abstract socket name: the lock leaves no file behind, whatever ends the demo.
const LOCK: &[u8] = b"tohub-demo";
const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_NEEDS_ROOT: u8 = 4;
const EXIT_ANOTHER_COPY: u8 = 9;
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("demo: PASS");
            ExitCode::SUCCESS
        }
        Err((why, code)) => {
            println!("demo: FAIL {why}");
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<(), (String, u8)> {
    let scale = scale_from_environment().map_err(|why| (why, EXIT_USAGE))?;
    if !rustix::process::geteuid().is_root() {
        return Err((
            "it makes network namespaces and needs root: run it as root".to_owned(),
            EXIT_NEEDS_ROOT,
        ));
    }
    let _lock = lock().map_err(|why| (why, EXIT_ANOTHER_COPY))?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, interrupt_flag().clone())
            .map_err(|error| (format!("cannot catch signals: {error}"), EXIT_FAILED))?;
    }
    lab::stale::remove_stale();
    println!("demo: DEMO_SCALE={scale} (every timer of the gateways divided by {scale})");
    story::run(scale).map_err(|error| match error {
        // A child process ended by the same Ctrl-C may be noticed before the flag.
        _ if interrupt_flag().load(std::sync::atomic::Ordering::Relaxed) => {
            ("interrupted".to_owned(), EXIT_INTERRUPTED)
        }
        LabError::Interrupted => ("interrupted".to_owned(), EXIT_INTERRUPTED),
        other => (other.to_string(), EXIT_FAILED),
    })
}

fn scale_from_environment() -> Result<u32, String> {
    match std::env::var("DEMO_SCALE") {
        Err(VarError::NotPresent) => Ok(1),
        Err(VarError::NotUnicode(_)) => Err("DEMO_SCALE is no number".to_owned()),
        Ok(text) => match text.parse() {
            Ok(scale @ 1..=20) => Ok(scale),
            _ => Err(format!("DEMO_SCALE={text} is no whole number from 1 to 20")),
        },
    }
}

/// One demo at a time: the namespaces could coexist, but two demos would compete for the CPU and
/// mix their output.
fn lock() -> Result<UnixListener, String> {
    let bound = SocketAddr::from_abstract_name(LOCK).and_then(|name| UnixListener::bind_addr(&name));
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another copy of the demo is running on this machine: wait for it or end it".to_owned()
        }
        _ => format!("cannot take the lock of the demo: {error}"),
    })
}
