//! `tohub-supervise`: the small privileged parent of both processes, executed by `tohub supervise`.
//!
//! It owns the shared segments, starts the control plane and the data plane with their descriptors,
//! restarts a process that exits or hangs (after reaping it) and stops both in order. Before that
//! it runs `tohub-guard`, which closes the system for what the saved configuration protects and
//! prints the required segment sizes. It does not parse the configuration and opens no network
//! socket.
#![forbid(unsafe_code)]

mod arguments;
mod children;
mod gateway;
mod guard;
mod notify;
mod signals;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use program::{Failure, conclude, lock, make_run_dir};
use tracing::{error, info};

use arguments::Arguments;
use gateway::Gateway;
use signals::Signals;

fn main() -> ExitCode {
    conclude("tohub-supervise", run(&Arguments::parse()))
}

/// Runs the gateway until a signal or a permanent failure.
fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.large_rule_lists {
        let text = "--large-rule-lists: leave it out; the shared segments are made for what the configuration file needs";
        return Err(Failure::new(Failure::USAGE, text));
    }
    start_log(&arguments.log)?;
    make_run_dir(&arguments.run_dir)?;
    let _lock = lock(&arguments.run_dir)?;
    if arguments.time_scale != 1 {
        println!(
            "tohub-supervise: timers run {} times as fast (--time-scale); never in service",
            arguments.time_scale
        );
    }
    let signals =
        Signals::install().map_err(|error| Failure::system("installing signal handlers", &error))?;
    // First of all: a later failure of any kind leaves the system closed.
    let capacities = guard::close(&arguments.run_dir, &arguments.config)?;
    let mut gateway = Gateway::new(arguments, capacities)?;
    let outcome = gateway.serve(&signals);
    notify::stopping();
    gateway.stop();
    match &outcome {
        Ok(()) => info!("stopped; the dropping programs stay until \"tohub release\""),
        Err(failure) => error!("stopped: {}", failure.text),
    }
    outcome
}

fn start_log(filter: &str) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(filter)
        .map_err(|error| Failure::new(Failure::USAGE, format!("--log {filter:?}: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
    Ok(())
}
