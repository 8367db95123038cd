//! The pulse of a process: how the supervisor sees that it makes progress, which a living process
//! need not do.
//!
//! An eventfd that the supervisor makes for each life of a process and hands down under the name
//! `pulse`. The process adds to it from the loop that everything depends on; the supervisor takes
//! what came since it last looked. A process that is hung, stopped or dead adds nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

/// The name of the eventfd in LISTEN_FDNAMES.
pub const PULSE_NAME: &str = "pulse";

/// How often a process adds at most, and how often at least it has to pass through its loop.
pub const PULSE_PERIOD: Duration = Duration::from_secs(1);

/// The process's end.
#[derive(Debug)]
pub struct Pulse {
    descriptor: Option<OwnedFd>,
    beaten: Option<Instant>,
}

impl Pulse {
    pub(crate) fn new(descriptor: Option<OwnedFd>) -> Self {
        Self { descriptor, beaten: None }
    }

    /// Proves progress. May be called as often as one likes; without a supervisor it does nothing.
    pub fn beat(&mut self) {
        let Some(descriptor) = &self.descriptor else { return };
        if self.beaten.is_some_and(|beaten| beaten.elapsed() < PULSE_PERIOD) {
            return;
        }
        self.beaten = Some(Instant::now());
        // A supervisor that never looks fills the counter after 2^64 beats; a failed write is a
        // beat less.
        let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub struct PulseMonitor(OwnedFd);

impl PulseMonitor {
    /// A new one, for one life of a process.
    ///
    /// # Errors
    /// No descriptors or no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// What the process gets, under the name [`PULSE_NAME`].
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether the process proved progress since the last call.
    pub fn take(&self) -> bool {
        let mut count = [0; 8];
        matches!(rustix::io::read(&self.0, &mut count), Ok(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_seen_once() {
        let monitor = PulseMonitor::new().unwrap();
        let mut pulse = Pulse::new(Some(monitor.descriptor().try_clone_to_owned().unwrap()));
        assert!(!monitor.take());
        pulse.beat();
        pulse.beat();
        assert!(monitor.take());
        assert!(!monitor.take(), "nothing came since");
        Pulse::new(None).beat();
    }
}
