//! The `tohub-controlplane` process: arguments, inherited descriptors, process hardening.
//! Everything else is in the library.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use config::edit::Offline;
use controlplane::checkpoint::Memory;
use controlplane::clock::Scale;
use controlplane::gateway::Gateway;
use controlplane::service::{Service, run};
use controlplane::tables::Tables;
use ike::{Endpoint, EndpointConfig, RandomSpis, SystemRandom};

/// An allocator that returns unused pages to the system, so that an idle gateway uses little memory
/// after many tunnels have closed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The control plane of tohub: IKE, dead peer detection, preferred peer. Started by
/// `tohub supervise` or a service manager, which passes the shared segments as LISTEN_FDS.
#[derive(Debug, Parser)]
#[command(name = "tohub-controlplane", version)]
struct Arguments {
    /// The configuration file; also where `write memory` writes.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The run directory of this instance.
    #[arg(long, value_name = "DIR", default_value = "/run/tohub")]
    run_dir: PathBuf,
    /// Runs every timer N times as fast: for tests only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    time_scale: u32,
}

/// A fatal error with its exit code (ARCHITECTURE.md).
struct Failure(u8, String);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, text)) => {
            tracing::error!("{text}");
            ExitCode::from(code)
        }
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TOHUB_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
}

fn serve(arguments: Arguments) -> Result<(), Failure> {
    // This process holds keys in memory: no core dumps, no ptrace by other users.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| Failure(1, format!("switching core dumps off: {error}")))?;
    if arguments.time_scale != 1 {
        tracing::warn!("timers run {} times as fast (--time-scale); never in service", arguments.time_scale);
    }
    let configuration = read(&arguments.config)?;
    let segments = |error: &dyn std::fmt::Display| Failure(10, format!("shared segments: {error}"));
    let mut descriptors = sa_table::take_listen_fds(sa_table::Locking::BestEffort).map_err(|error| {
        Failure(2, format!("{error}; start this program through \"tohub supervise\" or its service"))
    })?;
    let scale = Scale::new(arguments.time_scale);
    let table = descriptors.table_writer().map_err(|error| segments(&error))?;
    let runtime = descriptors.runtime_reader().map_err(|error| segments(&error))?;
    let checkpoint = descriptors.checkpoint().map_err(|error| segments(&error))?;
    let memory = checkpoint.load().and_then(|(_, bytes)| Memory::decode(&bytes)).unwrap_or_default();
    let events = descriptors.event_receiver().map_err(|error| segments(&error))?;
    let endpoint =
        Endpoint::new(EndpointConfig::default(), Box::new(SystemRandom), Box::new(RandomSpis::default()));
    let service = Service {
        gateway: Gateway::new(endpoint, Tables::new(table, runtime, &memory), scale, memory),
        scale,
        events,
        pulse: descriptors.pulse(),
        checkpoint,
        configuration,
        run_dir: arguments.run_dir,
        config_file: arguments.config,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(|error| Failure(1, format!("starting the runtime: {error}")))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, run(service)).map_err(|error| Failure(error.exit_code(), error.to_string()))
}

fn read(path: &std::path::Path) -> Result<config::Configuration, Failure> {
    let loaded = config::file::load(path, &mut Offline).map_err(|error| Failure(3, error.to_string()))?;
    for note in &loaded.notes {
        tracing::info!("{note}");
    }
    Ok(loaded.configuration)
}
