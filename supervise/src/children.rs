//! One process of the gateway: its program, its starts and exits, and when it is restarted.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use program::{Failure, find};
use rustix::process::{Pid, Signal, kill_process};
use sa_table::PulseMonitor;
use tracing::{info, warn};

use crate::notify;
use crate::watch::Watch;

/// Delay of the first restart; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// Maximum delay.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// After this lifetime the delay starts again from the minimum.
const SOUND: Duration = Duration::from_secs(10);
/// A process that exits earlier than this counts as unable to start.
const YOUNG: Duration = Duration::from_secs(5);

/// Exit codes with which a newly started process reports a permanent error, so that a restart is
/// useless.
const PERMANENT: [i32; 8] = [2, 3, 4, 5, 6, 7, 8, 9];

/// The exit of a process.
pub(crate) struct Death {
    /// Its program.
    pub name: &'static str,
    /// Exit code, `None` when a signal killed it.
    pub code: Option<i32>,
    /// Whether it was the first start of this program.
    pub first_life: bool,
    /// Whether it exited shortly after its start.
    pub young: bool,
}

impl Death {
    /// Whether its first start reported a permanent error.
    pub fn is_permanent(&self) -> bool {
        self.first_life && self.young && self.code.is_some_and(|code| PERMANENT.contains(&code))
    }
}

/// A program that is kept running.
pub(crate) struct Child {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    log: String,
    running: Option<(process::Child, Instant)>,
    watch: Watch,
    lives: u32,
    delay: Duration,
    next_start: Option<Instant>,
}

impl Child {
    /// Locates the program in the directory of this one.
    pub fn new(name: &'static str, arguments: Vec<String>, log: &str) -> Result<Self, Failure> {
        let program = find(name)?;
        let next_start = Some(Instant::now());
        let log = log.to_owned();
        let (running, watch) = (None, Watch::default());
        Ok(Self { name, program, arguments, log, running, watch, lives: 0, delay: FIRST_DELAY, next_start })
    }

    /// When it is to be started; `None` while it runs.
    pub fn next_start(&self) -> Option<Instant> {
        self.next_start.filter(|_| self.running.is_none())
    }

    /// Whether it has to be started now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next_start().is_some_and(|due| due <= now)
    }

    /// Starts it; `spawn` adds the inherited descriptors, including that of its pulse.
    pub fn start(
        &mut self,
        spawn: impl FnOnce(&mut Command, &PulseMonitor) -> io::Result<process::Child>,
    ) -> Result<(), Failure> {
        let monitor = PulseMonitor::new().map_err(|error| Failure::system("making an eventfd", &error))?;
        let mut command = Command::new(&self.program);
        // In its own process group: Ctrl-C at the terminal reaches only the supervisor, which stops
        // both processes in order.
        command.args(&self.arguments).env("TOHUB_LOG", &self.log).stdin(Stdio::null()).process_group(0);
        notify::keep_from(&mut command);
        let child = spawn(&mut command, &monitor)
            .map_err(|error| Failure::system(&format!("starting {}", self.program.display()), &error))?;
        info!("{} started, process {}", self.name, child.id());
        self.lives += 1;
        self.running = Some((child, Instant::now()));
        self.watch = Watch::new(monitor);
        Ok(())
    }

    /// Checks whether the process makes progress, and kills it if it has made none for `patience`;
    /// it is then restarted like after any other exit. Returns whether it works.
    pub fn look(&mut self, patience: Duration) -> bool {
        let Some((child, _)) = &mut self.running else { return false };
        match self.watch.look(Instant::now(), patience) {
            Ok(works) => works,
            Err(silent) => {
                warn!("{} makes no progress for {} s and is killed", self.name, silent.as_secs());
                // SIGKILL, since a hung process does not handle SIGTERM. If it has exited
                // meanwhile, the next check finds that.
                let _ = child.kill();
                false
            }
        }
    }

    /// Reaps the process if it has exited, and schedules its restart.
    pub fn reap(&mut self) -> Result<Option<Death>, Failure> {
        let Some((child, started)) = &mut self.running else { return Ok(None) };
        let ended = child
            .try_wait()
            .map_err(|error| Failure::system(&format!("waiting for {}", self.name), &error))?;
        let Some(status) = ended else { return Ok(None) };
        let age = started.elapsed();
        self.running = None;
        if age >= SOUND {
            self.delay = FIRST_DELAY;
        }
        let delay = self.delay;
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        self.next_start = Some(Instant::now() + delay);
        let reason = match (status.code(), status.signal()) {
            (Some(0), _) => "ended by order".to_owned(),
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
        };
        let (first_life, young) = (self.lives == 1, age < YOUNG);
        let death = Death { name: self.name, code: status.code(), first_life, young };
        let next = if death.is_permanent() {
            String::new()
        } else {
            format!("; it starts again in {} ms", delay.as_millis())
        };
        warn!("{} {reason} after {:.1} s{next}", self.name, age.as_secs_f32());
        Ok(Some(death))
    }

    /// Sends SIGTERM, waits, and kills the process if it does not exit. It is then reaped and can
    /// be started at once.
    pub fn stop(&mut self, patience: Duration) {
        self.next_start = Some(Instant::now());
        let Some((mut child, _)) = self.running.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The process may already have exited.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        warn!("{} did not stop in {} s and is killed", self.name, patience.as_secs());
        let _ = child.kill();
        let _ = child.wait();
    }
}
