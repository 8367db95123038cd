//! Queues by which threads pass packets to a worker, and the means to wake it.

use crate::path::handoff::Handoff;
use af_xdp::Frame;
use crossbeam::queue::ArrayQueue;
use rustix::event::EventfdFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// A descriptor that wakes a sleeper, written only while the sleeper sleeps.
#[derive(Debug)]
pub struct Wake {
    fd: OwnedFd,
    sleeping: AtomicBool,
}

impl Wake {
    /// A new eventfd.
    ///
    /// # Errors
    /// The kernel has no more descriptors for this process.
    pub fn new() -> Result<Wake, rustix::io::Errno> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { fd, sleeping: AtomicBool::new(false) })
    }

    /// Call after putting something into a queue that the sleeper checks.
    #[inline]
    pub fn wake(&self) {
        // Orders the caller's put before the read of the flag; the sleeper sets the flag before it
        // reads the queues.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            // The write fails only if the counter is full, which means that a wake-up is pending
            // already.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// Announces sleep. The sleeper must check its queues once more before it sleeps on
    /// [`fd`](Self::fd).
    pub fn about_to_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Ends sleep.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
    }

    /// Readable after a call of [`wake`](Self::wake).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The mailbox of one worker.
#[derive(Debug)]
pub struct Mailbox {
    /// IP packets of this host's own stack, without link header.
    from_host: ArrayQueue<Frame>,
    handoffs: ArrayQueue<Handoff>,
    wake: Wake,
}

/// Packets that each queue holds.
const QUEUE: usize = 1024;

impl Mailbox {
    /// An empty mailbox.
    ///
    /// # Errors
    /// The kernel has no more descriptors for this process.
    pub fn new() -> Result<Mailbox, rustix::io::Errno> {
        Ok(Mailbox {
            from_host: ArrayQueue::new(QUEUE),
            handoffs: ArrayQueue::new(QUEUE),
            wake: Wake::new()?,
        })
    }

    /// Passes an IP packet of this host's own stack. Returned if the queue is full.
    pub fn deliver_from_host(&self, frame: Frame) -> Result<(), Frame> {
        self.from_host.push(frame)?;
        self.wake.wake();
        Ok(())
    }

    /// Passes a packet to the owner of its SA. Returned if the queue is full.
    #[allow(clippy::result_large_err, reason = "the packet has to come back somehow")]
    pub(crate) fn hand_over(&self, handoff: Handoff) -> Result<(), Handoff> {
        self.handoffs.push(handoff)?;
        self.wake.wake();
        Ok(())
    }

    pub(crate) fn next_from_host(&self) -> Option<Frame> {
        self.from_host.pop()
    }

    pub(crate) fn next_handoff(&self) -> Option<Handoff> {
        self.handoffs.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from_host.is_empty() && self.handoffs.is_empty()
    }

    pub(crate) fn waker(&self) -> &Wake {
        &self.wake
    }
}

/// Packets for this host's own stack, taken by the thread that owns the punt port.
#[derive(Debug)]
pub struct PuntQueue {
    frames: ArrayQueue<Frame>,
    wake: Wake,
}

impl PuntQueue {
    /// An empty queue.
    ///
    /// # Errors
    /// The kernel has no more descriptors for this process.
    pub fn new() -> Result<PuntQueue, rustix::io::Errno> {
        Ok(PuntQueue { frames: ArrayQueue::new(QUEUE), wake: Wake::new()? })
    }

    /// Queues an IP packet (no link header). Returned if the queue is full.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Frame> {
        self.frames.push(frame)?;
        self.wake.wake();
        Ok(())
    }

    /// Takes the next packet to write to the punt port. Dropping the frame, or putting it into a
    /// pool, frees it.
    pub fn pop(&self) -> Option<Frame> {
        self.frames.pop()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Wakes the punt thread, which sleeps by [`Wake::about_to_sleep`], a second check of the
    /// queue, poll, and [`Wake::awake`].
    pub fn waker(&self) -> &Wake {
        &self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::sync::atomic::AtomicU32;

    fn readable(wake: &Wake) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(wake.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn only_a_sleeper_is_woken_and_once() {
        let wake = Wake::new().unwrap();
        wake.wake();
        assert!(!readable(&wake));
        wake.about_to_sleep();
        wake.wake();
        wake.wake();
        assert!(readable(&wake));
        wake.awake();
        assert!(!readable(&wake));
    }

    #[test]
    fn no_letter_is_slept_over() {
        let wake = Wake::new().unwrap();
        let letters = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    letters.fetch_add(1, Ordering::Relaxed);
                    wake.wake();
                }
            });
            let mut seen = 0;
            while seen < 20_000 {
                wake.about_to_sleep();
                if letters.load(Ordering::Relaxed) == seen {
                    let mut fds = [PollFd::from_borrowed_fd(wake.fd(), PollFlags::IN)];
                    let woken = poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
                    assert_eq!(woken, 1, "slept over a letter");
                }
                wake.awake();
                seen = letters.load(Ordering::Relaxed);
            }
        });
    }
}
