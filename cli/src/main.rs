//! The `tohub` command: the CLI of a running gateway, and the parent of its two processes.
//!
//! ```text
//! tohub                          interactive: ?, TAB, history, pager
//! tohub -c "show crypto map"     one command (or several -c); piped input works too
//! tohub check FILE               a configuration file, without a gateway
//! tohub simulate --config FILE   what a configuration would do when peers go and come
//! tohub guard --config FILE      closes this machine for what the file protects, with nothing else running
//! tohub guard --watch            does so for devices that appear while no gateway runs
//! tohub supervise --config FILE  runs the gateway
//! tohub release                  removes what a stopped gateway keeps in the kernel
//! ```
//!
//! It holds no state of the gateway: modes, parsing and pipes run behind the control socket.
#![forbid(unsafe_code)]

mod check;
mod client;
mod failure;
mod guard;
mod interactive;
mod one_shot;
mod pager;
mod release;
mod simulate;
mod supervise;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use one_shot::Input;

/// Bytes of piped input that are looked at together.
const INPUT: usize = 1 << 16;

/// The control command line of tohub.
#[derive(Debug, Parser)]
#[command(name = "tohub", version, args_conflicts_with_subcommands = false)]
struct Arguments {
    /// Run directory of the gateway.
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/tohub", env = "TOHUB_RUN_DIR")]
    run_dir: PathBuf,
    /// Executes this line and ends; may be repeated. The first error ends it, with the exit code of that error.
    #[arg(short = 'c', long = "command", value_name = "LINE")]
    commands: Vec<String>,
    /// Privilege level of the session: 1 begins in user exec.
    #[arg(long, value_name = "LEVEL", default_value_t = 15, value_parser = clap::value_parser!(u8).range(0..=15))]
    privilege: u8,
    /// Prints the JSON form of show commands and predictions.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    subcommand: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads a configuration file and prints its errors and notes. Starts nothing.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Predicts what a gateway with this configuration does when peers go and come. Starts nothing.
    Simulate(simulate::Arguments),
    /// Closes this machine for what the saved configuration protects, and ends; nothing else has to run. Before the network comes up.
    Guard {
        /// The saved configuration.
        #[arg(long, value_name = "FILE", required_unless_present = "watch")]
        config: Option<PathBuf>,
        /// Stays, and attaches the guard to devices that appear while no gateway runs.
        #[arg(long)]
        watch: bool,
    },
    /// Runs the gateway: both processes and the memory that they share, until SIGTERM or SIGINT.
    Supervise(supervise::Arguments),
    /// Removes the pinned programs, policy routing and files of a stopped gateway. From then on the kernel forwards in
    /// clear what it has routes for.
    Release,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.subcommand {
        Some(Command::Check { file }) => check::check(file),
        Some(Command::Simulate(simulate)) => simulate::simulate(simulate, arguments.json),
        Some(Command::Guard { config: Some(config), watch: false }) => {
            guard::run(&arguments.run_dir, config).map(drop)
        }
        Some(Command::Guard { config, .. }) => Err(guard::watch(&arguments.run_dir, config.as_deref())),
        Some(Command::Supervise(supervise)) => supervise::run(&arguments.run_dir, supervise),
        Some(Command::Release) => release::release(&arguments.run_dir),
        None => session(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                eprintln!("tohub: {}", failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn session(arguments: &Arguments) -> Result<(), Failure> {
    let (width, height) = pager::terminal_size();
    let client = client::Client::connect(&arguments.run_dir, width, arguments.privilege)?;
    let format = if arguments.json { config::control::Format::Json } else { config::control::Format::Text };
    if !arguments.commands.is_empty() {
        let lines = arguments.commands.iter().cloned().collect();
        return one_shot::run(client, Input::<std::io::Stdin>::Arguments(lines), format);
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return interactive::run(client, height);
    }
    let input = std::io::BufReader::with_capacity(INPUT, std::io::stdin());
    one_shot::run(client, Input::Stream(input), format)
}
