//! Signal handling, and sleeping until a signal arrives.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

/// The signal handlers of this process.
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Signals {
    /// SIGTERM and SIGINT request a stop; SIGCHLD ends the sleep; SIGHUP is ignored, since the
    /// supervisor outlives its terminal.
    pub fn install() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (wake, write_end) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        for signal in [SIGTERM, SIGINT, SIGCHLD, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, write_end.try_clone()?)?;
        }
        Ok(Self { stop, wake })
    }

    /// Whether a stop was requested.
    pub fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps until a signal, or for at most `limit`.
    pub fn wait(&self, limit: Option<Duration>) {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut descriptors = [PollFd::new(&self.wake, PollFlags::IN)];
        // An interrupted sleep means a signal, which the caller checks for in any case.
        let _ = poll(&mut descriptors, limit.as_ref());
        let mut drain = [0u8; 64];
        while matches!((&self.wake).read(&mut drain), Ok(count) if count > 0) {}
    }
}
