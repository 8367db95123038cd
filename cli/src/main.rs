//! The `tohub` command: the CLI of a running gateway, and the front end to the other programs.
//!
//! ```text
//! tohub                          interactive: ?, TAB, history, pager
//! tohub -c "show crypto map"     one command (or several -c); piped input works too
//! tohub check FILE               checks a configuration file, without a gateway
//! tohub simulate --config FILE   predicts what a gateway does when peers fail and return
//! tohub guard --config FILE      drops what the file protects, with nothing else running
//! tohub guard --watch            attaches the guard to devices that appear while no gateway runs
//! tohub supervise --config FILE  runs the gateway
//! tohub release                  removes what a stopped gateway leaves in the kernel
//! ```
//!
//! It holds no state of the gateway: modes, parsing and output filters run behind the control
//! socket. For `simulate`, `guard`, `supervise` and `release` it executes other programs (execve),
//! so that it links neither the data plane nor the simulation.
#![forbid(unsafe_code)]

mod check;
mod client;
mod interactive;
mod one_shot;
mod pager;
mod programs;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use program::{DEFAULT_RUN_DIR, Failure, conclude};

use one_shot::Input;
use programs::{PassedOn, become_program, become_silent};

/// Size of one read of piped input, in bytes.
const INPUT: usize = 1 << 16;

/// The command line interface of tohub.
#[derive(Debug, Parser)]
#[command(name = "tohub", version, args_conflicts_with_subcommands = false)]
struct Arguments {
    /// Run directory of the gateway.
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_RUN_DIR, env = "TOHUB_RUN_DIR")]
    run_dir: PathBuf,
    /// Executes this line and exits; may be repeated. Stops at the first error, with its exit code.
    #[arg(short = 'c', long = "command", value_name = "LINE")]
    commands: Vec<String>,
    /// Privilege level of the session: 1 starts in user exec.
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
    /// Checks a configuration file and prints its errors and notes. Starts nothing.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Predicts what a gateway with this configuration does when peers fail and return. Starts
    /// nothing.
    #[command(disable_help_flag = true)]
    Simulate(PassedOn),
    /// Drops the traffic that the saved configuration protects, and exits. For the time before the
    /// network comes up; needs no running gateway.
    Guard {
        /// The saved configuration.
        #[arg(long, value_name = "FILE", required_unless_present = "watch")]
        config: Option<PathBuf>,
        /// Keeps running, and attaches the guard to devices that appear while no gateway runs.
        #[arg(long)]
        watch: bool,
    },
    /// Runs the gateway, its two processes and their shared memory, until SIGTERM or SIGINT.
    #[command(disable_help_flag = true)]
    Supervise(PassedOn),
    /// Removes the pinned programs, policy routing and files of a stopped gateway. The kernel then
    /// forwards in clear whatever it has routes for.
    Release,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.subcommand {
        None => session(&arguments),
        Some(Command::Check { file }) => check::check(file),
        Some(Command::Simulate(simulate)) => {
            let json = arguments.json.then(|| OsString::from("--json"));
            let options: Vec<OsString> = json.into_iter().chain(simulate.options.iter().cloned()).collect();
            Err(become_program("tohub-simulate", &options))
        }
        Some(Command::Guard { config, watch }) => {
            let config = config.iter().flat_map(|config| ["--config".into(), config.into()]);
            let options = of_gateway(&arguments, watch.then(|| "--watch".into()).into_iter().chain(config));
            // The guard prints the segment sizes on standard output, which only the supervisor
            // needs.
            Err(become_silent("tohub-guard", &options))
        }
        Some(Command::Supervise(supervise)) => {
            let options = of_gateway(&arguments, supervise.options.iter().cloned());
            Err(become_program("tohub-supervise", &options))
        }
        Some(Command::Release) => {
            let options = of_gateway(&arguments, ["--release".into()]);
            Err(become_program("tohub-guard", &options))
        }
    };
    conclude("tohub", done)
}

/// Options of a program that acts on the gateway of the run directory.
fn of_gateway(arguments: &Arguments, options: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    ["--run-dir".into(), arguments.run_dir.clone().into()].into_iter().chain(options).collect()
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
