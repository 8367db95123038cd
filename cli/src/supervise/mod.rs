//! `tohub supervise`: the small parent of both processes.
//!
//! It owns the shared segments, starts the control plane and the data plane with their descriptors, restarts what dies or hangs
//! (only after it was reaped) and stops both in order. Before all that it runs the boot guard, which closes the machine for what the saved
//! configuration protects. It reads no configuration and opens no socket.

mod children;
mod notify;
mod signals;
mod watch;

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::FlockOperation;
use sa_table::{Capacities, CreateError, Locking, PULSE_NAME, PULSE_PERIOD, Role, Segments};
use tracing::{error, info, warn};

use crate::failure::Failure;
pub(crate) use children::find;
use children::{Child, Death};
use signals::Signals;

/// Name of the lock in the run directory.
pub(crate) const LOCK_NAME: &str = "supervise.lock";

/// How long a process may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The arguments of `tohub supervise`. What concerns the data plane is handed on as it is.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The configuration file; also where `write memory` writes.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Runs every timer of the control plane N times as fast: for drills and tests only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    time_scale: u32,
    /// Cores for the data plane's workers, such as 1,2,3.
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// Frames of packet memory.
    #[arg(long, value_name = "N")]
    frames: Option<u32>,
    /// Entries of each ring.
    #[arg(long, value_name = "N")]
    ring: Option<u32>,
    /// Packet memory on huge pages.
    #[arg(long)]
    huge_pages: bool,
    /// `auto`, `zero-copy` or `copy`.
    #[arg(long, value_name = "MODE")]
    copy_mode: Option<String>,
    /// Busy-poll for this many microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    busy_poll: Option<u32>,
    /// Seconds without progress after which a process is killed and started again.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, env = "TOHUB_HUNG_AFTER", value_parser = clap::value_parser!(u32).range(3..=3600))]
    hung_after: u32,
    /// AEAD back end by name.
    #[arg(long, value_name = "NAME")]
    aead: Option<String>,
    /// Of earlier releases, refused.
    #[arg(long, hide = true)]
    large_rule_lists: bool,
    /// Log filter of all processes, such as info or debug.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "TOHUB_LOG")]
    log: String,
}

/// Runs the gateway until a signal or a permanent failure.
pub(crate) fn run(run_dir: &Path, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.large_rule_lists {
        let text = "--large-rule-lists: leave it out; the shared segments are made for what the configuration file needs";
        return Err(Failure::new(2, text));
    }
    start_log(&arguments.log)?;
    make_run_dir(run_dir)?;
    let _lock = lock(run_dir)?;
    if arguments.time_scale != 1 {
        println!("tohub: timers run {} times as fast (--time-scale); never in service", arguments.time_scale);
    }
    let signals =
        Signals::install().map_err(|error| Failure::system("installing signal handlers", &error))?;
    // Closed first: whatever fails from here on, at whatever line, leaves the machine closed.
    let capacities = crate::guard::run(run_dir, &arguments.config)?;
    let mut gateway = Gateway::new(run_dir, arguments, capacities)?;
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
        .map_err(|error| Failure::new(2, format!("--log {filter:?}: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
    Ok(())
}

fn make_run_dir(run_dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir);
    made.map_err(|error| Failure::system(&format!("making the run directory {}", run_dir.display()), &error))
}

/// The lock of a gateway, held as long as the file is open.
pub(crate) fn lock(run_dir: &Path) -> Result<File, Failure> {
    let path = run_dir.join(LOCK_NAME);
    let open = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(|error| Failure::system(&format!("opening {}", path.display()), &error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::new(
            Failure::RUNNING,
            format!(
                "a gateway is running in {}; stop it first, or choose another --run-dir",
                run_dir.display()
            ),
        )),
        Err(error) => Err(Failure::system(&format!("locking {}", path.display()), &error.into())),
    }
}

/// Both processes and what they share.
struct Gateway {
    segments: Segments,
    run_dir: PathBuf,
    config: PathBuf,
    /// When the segments were made.
    segments_made: Instant,
    control: Child,
    data: Child,
    /// How long a process may show no progress.
    hung_after: Duration,
    /// Both processes worked once.
    ready: bool,
}

impl Gateway {
    fn new(run_dir: &Path, arguments: &Arguments, capacities: Capacities) -> Result<Self, Failure> {
        let control =
            Child::new("tohub-controlplane", control_arguments(run_dir, arguments), &arguments.log)?;
        let data = Child::new("tohub-dataplane", data_arguments(run_dir, arguments), &arguments.log)?;
        let segments = make_segments(capacities)?;
        let (run_dir, config) = (run_dir.to_owned(), arguments.config.clone());
        let hung_after = Duration::from_secs(u64::from(arguments.hung_after));
        let segments_made = Instant::now();
        Ok(Self { segments, run_dir, config, segments_made, control, data, hung_after, ready: false })
    }

    /// Starts and restarts until a signal. An error is permanent.
    fn serve(&mut self, signals: &Signals) -> Result<(), Failure> {
        loop {
            if signals.stop_requested() {
                info!("stopping");
                return Ok(());
            }
            let deaths = [self.control.reap()?, self.data.reap()?];
            for death in deaths.iter().flatten() {
                self.judge(death)?;
            }
            let now = Instant::now();
            for (role, child) in [(Role::ControlPlane, &mut self.control), (Role::DataPlane, &mut self.data)]
            {
                if child.is_due(now) {
                    let segments = &self.segments;
                    child.start(|command: &mut Command, pulse| {
                        segments.spawn(role, command, &[(PULSE_NAME, pulse.descriptor())])
                    })?;
                }
            }
            self.watch();
            let due = [self.control.next_start(), self.data.next_start()].into_iter().flatten().min();
            let due = due.map(|due| due.saturating_duration_since(Instant::now()));
            signals.wait(Some(due.unwrap_or(PULSE_PERIOD).min(PULSE_PERIOD)));
        }
    }

    /// Looks after both processes, and notifies the service manager only of what both prove.
    fn watch(&mut self) {
        let work = [self.control.look(self.hung_after), self.data.look(self.hung_after)];
        if work != [true, true] {
            return;
        }
        if !self.ready {
            self.ready = true;
            info!("both processes work");
            notify::ready();
        }
        notify::alive();
    }

    /// What a death means for the gateway.
    fn judge(&mut self, death: &Death) -> Result<(), Failure> {
        if death.code == Some(i32::from(Failure::SEGMENTS)) {
            return self.renew_segments(death);
        }
        if death.is_permanent() {
            let code = death.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Failure::FAILED);
            let text = format!("{} cannot start: its reason is above (exit code {code})", death.name);
            return Err(Failure::new(code, text));
        }
        Ok(())
    }

    /// The segments are of no use any more: both processes start over with new ones.
    fn renew_segments(&mut self, death: &Death) -> Result<(), Failure> {
        if death.young && self.segments_made.elapsed() < Duration::from_secs(2) {
            let text = format!(
                "{} cannot work with the shared segments, and new ones do not help: its reason is above",
                death.name
            );
            return Err(Failure::new(Failure::SEGMENTS, text));
        }
        warn!("{} cannot work with the shared segments; both processes restart with new ones", death.name);
        self.control.stop(PATIENCE);
        self.data.stop(PATIENCE);
        // The file may ask for more than it did.
        self.segments = make_segments(crate::guard::run(&self.run_dir, &self.config)?)?;
        self.segments_made = Instant::now();
        Ok(())
    }

    /// The control plane first: it says goodbye to its peers while the data plane still works.
    fn stop(&mut self) {
        self.control.stop(PATIENCE);
        self.data.stop(PATIENCE);
    }
}

fn make_segments(capacities: Capacities) -> Result<Segments, Failure> {
    let segments = Segments::create(capacities, Locking::BestEffort).map_err(|error| match &error {
        CreateError::System { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::new(Failure::PERMISSION, format!("shared segments: {error}; run it as root"))
        }
        _ => Failure::new(Failure::MEMORY, format!("shared segments: {error}")),
    })?;
    if !segments.is_locked() {
        warn!(
            "the shared segments are not locked in memory: keys could reach a swap device; raise LimitMEMLOCK"
        );
    }
    Ok(segments)
}

fn control_arguments(run_dir: &Path, arguments: &Arguments) -> Vec<String> {
    let mut list = vec!["--config".into(), text(&arguments.config), "--run-dir".into(), text(run_dir)];
    if arguments.time_scale != 1 {
        list.extend(["--time-scale".into(), arguments.time_scale.to_string()]);
    }
    list
}

fn data_arguments(run_dir: &Path, arguments: &Arguments) -> Vec<String> {
    let mut list = vec!["--run-dir".into(), text(run_dir)];
    let mut option = |name: &str, value: Option<String>| {
        list.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    };
    option("--cores", arguments.cores.clone());
    option("--frames", arguments.frames.map(|n| n.to_string()));
    option("--ring", arguments.ring.map(|n| n.to_string()));
    option("--copy-mode", arguments.copy_mode.clone());
    option("--busy-poll", arguments.busy_poll.map(|n| n.to_string()));
    option("--aead", arguments.aead.clone());
    if arguments.huge_pages {
        list.push("--huge-pages".into());
    }
    list
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
