//! `tohub-guard`: drops the traffic that the saved configuration protects, before anything else
//! runs.
//!
//! It reads the file, loads the guard programs, attaches them to every device and exits; the
//! programs stay attached. It needs no other process, address or link. `tohub-supervise` runs it
//! first, and `tohub guard` executes it. It prints one line of JSON on standard output: the sizes
//! of the shared segments that the configuration needs. With `--release` (`tohub release`) it
//! removes what a stopped gateway leaves in the kernel.
#![forbid(unsafe_code)]

mod release;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use config::edit::Offline;
use config::file::{self, FileError};
use config::sizes::Sizes;
use dataplane::failure::Failure;
use dataplane::process::closing::{self, Closing, Former};
use dataplane::process::watch::watch;
use program::{DEFAULT_RUN_DIR, conclude};
use protection::{Closed, closed, demand, salvage};
use sa_table::Capacities;

/// Drops the traffic that the saved configuration protects.
#[derive(Debug, Parser)]
#[command(name = "tohub-guard", version)]
struct Arguments {
    /// The saved configuration.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["watch", "release"])]
    config: Option<PathBuf>,
    /// Keeps running, and attaches the guard to devices that appear while no gateway runs.
    #[arg(long)]
    watch: bool,
    /// Removes the pinned programs, policy routing and files of a stopped gateway. The kernel then
    /// forwards in clear whatever it has routes for.
    #[arg(long, conflicts_with_all = ["config", "watch"])]
    release: bool,
    /// Run directory of the gateway.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, env = "TOHUB_RUN_DIR")]
    run_dir: PathBuf,
    /// Name of the instance; derived from the run directory by default.
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.release {
        let released = release::release(&arguments.run_dir, arguments.instance.as_deref());
        return conclude("tohub-guard", released);
    }
    let failed = |(code, text): Refusal| {
        eprintln!("tohub-guard: {text}");
        ExitCode::from(code)
    };
    let closed = arguments.config.as_deref().map_or(Ok(()), |config| run(&arguments, config));
    if !arguments.watch {
        return closed.map_or_else(failed, |()| ExitCode::SUCCESS);
    }
    // After an error, everything that could be closed stays closed, on every device.
    let _ = closed.map_err(failed);
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let Err(failure) = watch(&arguments.run_dir, arguments.instance.as_deref());
    failed(refusal(failure))
}

/// Exit codes of ARCHITECTURE.md.
const REFUSED: u8 = 3;
const PERMISSION: u8 = 4;
const NO_DEVICE: u8 = 6;

type Refusal = (u8, String);

fn run(arguments: &Arguments, config: &Path) -> Result<(), Refusal> {
    match file::load(config, &mut Offline) {
        Ok(loaded) => {
            let done = close(arguments, &closed(&loaded.configuration), Former::Replaced)?;
            eprintln!("tohub-guard: {} devices are guarded for {}", done.guarded, config.display());
            // The supervisor does not parse the configuration; it reads the segment sizes from this
            // output.
            let sizes = Sizes::of(&loaded.configuration);
            println!("{}", Capacities::for_demand(&demand(&sizes)).to_json());
            match missing_device(&loaded.configuration) {
                Some(remedy) => Err((NO_DEVICE, remedy)),
                None => Ok(()),
            }
        }
        Err(error) => {
            let outcome = close_without_configuration(arguments, config, &error);
            let code = match &error {
                FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                    PERMISSION
                }
                _ => REFUSED,
            };
            let state = match outcome {
                Ok(done) => format!(
                    "this machine is closed for what its access lists permit, on {} devices; correct the file and start again, or open \
                     it with \"tohub release\"",
                    done.guarded
                ),
                Err((_, text)) => text,
            };
            Err((code, format!("{error}\n{state}")))
        }
    }
}

/// For a rejected file, drops all traffic that it could protect. If the file cannot be read its
/// contents are unknown, so nothing is forwarded.
fn close_without_configuration(
    arguments: &Arguments,
    config: &Path,
    error: &FileError,
) -> Result<Closing, Refusal> {
    let text = match error {
        FileError::Line(_) => std::fs::read_to_string(config).ok(),
        _ => None,
    };
    let stopped = closing::stop_forwarding(&arguments.run_dir, arguments.instance.as_deref());
    let closed = match text {
        Some(text) => close(arguments, &salvage(&text), Former::Kept)?,
        None => Closing::default(),
    };
    stopped.map_err(refusal)?;
    if closed.guarded == 0 {
        let text = "nothing is known of what is to be protected: no interface forwards, and what a former run closed stays closed; correct the \
                    file and start again, or open this machine with \"tohub release\"";
        return Err((REFUSED, text.to_owned()));
    }
    Ok(closed)
}

fn close(arguments: &Arguments, closed: &Closed, former: Former) -> Result<Closing, Refusal> {
    let name = arguments.instance.as_deref();
    let Closed { ports, lists, filtered } = closed;
    let done = closing::close(&arguments.run_dir, name, ports, lists, filtered, former).map_err(refusal)?;
    for note in &done.notes {
        eprintln!("tohub-guard: {note}");
    }
    for interface in &done.without_device {
        eprintln!(
            "tohub-guard: {interface} has no device: what its crypto map protects is dropped on every device"
        );
    }
    Ok(done)
}

/// The error for a crypto map on an interface that cannot have a device, with the remedy.
fn missing_device(configuration: &config::Configuration) -> Option<String> {
    protection::carriers(configuration).find(|carrier| carrier.device.is_none() && !carrier.interface.shutdown).and_then(
        |carrier| {
            let (map, _) = carrier.map?;
            Some(format!(
                "interface {}: crypto map {map} has no device that could carry its packets; type \"device NAME\" there, with one that \"ip link\" \
                 lists, or take the map off. What it protects is dropped on every device until then",
                carrier.name
            ))
        },
    )
}

fn refusal(failure: Failure) -> Refusal {
    (failure.exit_code(), failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/branch.cfg"))
    }

    #[test]
    fn an_example_configuration_has_a_device_for_its_crypto_map() {
        let loaded = file::load(example(), &mut Offline).unwrap();
        assert_eq!(missing_device(&loaded.configuration), None);
        assert_eq!(closed(&loaded.configuration).lists.len(), 1);
    }

    #[test]
    fn a_crypto_map_without_device_is_named_with_its_remedy() {
        let text = std::fs::read_to_string(example()).unwrap().replace(" device outside\n", "");
        let loaded = file::parse("file", &text, &mut Offline).unwrap();
        assert!(
            missing_device(&loaded.configuration).unwrap().contains("GigabitEthernet0/1: crypto map tohub")
        );
    }
}
