//! The watchdog pulse of a process: shows the supervisor that the process makes progress, which a
//! living process may not do.
//!
//! An eventfd that the supervisor creates for each start of a process and passes to it under the
//! name `pulse`. The process adds to it from its main loop; the supervisor reads and resets the
//! counter. A process that is hung, stopped or dead adds nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

/// The name of the eventfd in LISTEN_FDNAMES.
pub const PULSE_NAME: &str = "pulse";

/// The process adds at most once in this time, and must run its loop at least as often.
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

    /// Signals progress. May be called at any rate; without a supervisor it does nothing.
    pub fn beat(&mut self) {
        let Some(descriptor) = &self.descriptor else { return };
        if self.beaten.is_some_and(|beaten| beaten.elapsed() < PULSE_PERIOD) {
            return;
        }
        self.beaten = Some(Instant::now());
        // The write fails only if the supervisor does not read for 2^64 beats; a lost beat is
        // harmless.
        let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub struct PulseMonitor(OwnedFd);

impl PulseMonitor {
    /// Creates one for one start of a process.
    ///
    /// # Errors
    /// No descriptors or no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// The descriptor to pass to the process, under the name [`PULSE_NAME`].
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether the process signalled progress since the last call.
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
