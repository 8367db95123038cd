//! The two processes of the gateway and their shared segments: start, supervision, restart, stop.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use program::Failure;
use sa_table::{Capacities, CreateError, Locking, PULSE_NAME, PULSE_PERIOD, Role, Segments};
use tracing::{info, warn};

use crate::arguments::Arguments;
use crate::children::{Child, Death};
use crate::guard;
use crate::notify;
use crate::signals::Signals;

/// How long a process may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Both processes and their shared segments.
pub(crate) struct Gateway {
    segments: Segments,
    run_dir: PathBuf,
    config: PathBuf,
    /// When the segments were created.
    segments_made: Instant,
    control: Child,
    data: Child,
    /// Maximum time without progress of a process.
    hung_after: Duration,
    /// Whether both processes have worked at the same time once.
    ready: bool,
}

impl Gateway {
    /// Creates the segments and locates both programs; starts nothing yet.
    pub fn new(arguments: &Arguments, capacities: Capacities) -> Result<Self, Failure> {
        let control = Child::new("tohub-controlplane", arguments.of_control_plane(), &arguments.log)?;
        let data = Child::new("tohub-dataplane", arguments.of_data_plane(), &arguments.log)?;
        let segments = make_segments(capacities)?;
        let (run_dir, config) = (arguments.run_dir.clone(), arguments.config.clone());
        let hung_after = Duration::from_secs(u64::from(arguments.hung_after));
        let segments_made = Instant::now();
        Ok(Self { segments, run_dir, config, segments_made, control, data, hung_after, ready: false })
    }

    /// Starts and restarts the processes until a signal arrives. An error is permanent.
    pub fn serve(&mut self, signals: &Signals) -> Result<(), Failure> {
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

    /// Checks both processes; the service manager is notified only while both make progress.
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

    /// Handles the exit of a process.
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

    /// The segments are unusable: restarts both processes with new ones.
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
        // The configuration file may need larger segments than before.
        self.segments = make_segments(guard::close(&self.run_dir, &self.config)?)?;
        self.segments_made = Instant::now();
        Ok(())
    }

    /// Stops the control plane first: it sends its Delete messages while the data plane still runs.
    pub fn stop(&mut self) {
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
