//! The punt port: a TUN device between this host's own stack and the workers. One thread moves
//! packets both ways.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use af_xdp::{FRAME_SIZE, FramePool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::path::shared::Shared;
use af_xdp::device::open_tun;

/// The device. It exists as long as this value or a clone of its file.
#[derive(Debug)]
pub struct PuntPort {
    file: File,
    name: String,
}

/// Packet counters since the port was created.
#[derive(Debug, Default)]
pub struct PuntCounters {
    /// Packets written to the host's stack.
    pub to_host: AtomicU64,
    /// Packets read from it.
    pub from_host: AtomicU64,
    /// Packets that the device refused.
    pub refused: AtomicU64,
    /// Packets for which there was no frame, or no room in a worker's queue.
    pub overflow: AtomicU64,
}

impl PuntPort {
    /// Creates the device `tohub0`
    ///
    /// # Errors
    /// No TUN driver or no capability.
    pub fn open() -> io::Result<Self> {
        let (file, name) = open_tun("tohub%d")?;
        Ok(Self { file, name })
    }

    /// Name of the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another handle to the same device, for a thread.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, name: self.name.clone() })
    }

    /// Moves packets until `stop` is set (wake the queue's waker after setting it) or the device is
    /// removed.
    ///
    /// # Errors
    /// The device was removed, or polling failed.
    pub fn run(
        &self,
        shared: &Arc<Shared>,
        mut pool: FramePool,
        counters: &PuntCounters,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        while !stop.load(Ordering::Acquire) {
            let mut moved = self.write_out(shared, &mut pool, counters);
            moved |= self.read_in(shared, &mut pool, counters)?;
            if moved {
                continue;
            }
            let waker = shared.punt.waker();
            waker.about_to_sleep();
            if shared.punt.is_empty() && !stop.load(Ordering::Acquire) {
                let mut fds = [
                    PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(waker.fd(), PollFlags::IN),
                ];
                match poll(&mut fds, Some(&LONGEST_SLEEP)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            waker.awake();
        }
        Ok(())
    }

    /// From workers to the host, a burst at most.
    fn write_out(&self, shared: &Shared, pool: &mut FramePool, counters: &PuntCounters) -> bool {
        let mut moved = false;
        for _ in 0..BURST {
            let Some(frame) = shared.punt.pop() else { break };
            moved = true;
            let counter = match (&self.file).write(frame.bytes()) {
                Ok(_) => &counters.to_host,
                // The device is down, its queue is full, or the stack rejects the packet.
                Err(_) => &counters.refused,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            pool.put(frame);
        }
        moved
    }

    /// From the host to workers, a burst at most.
    fn read_in(&self, shared: &Shared, pool: &mut FramePool, counters: &PuntCounters) -> io::Result<bool> {
        let mut moved = false;
        for _ in 0..BURST {
            let Some(mut frame) = pool.take() else {
                counters.overflow.fetch_add(1, Ordering::Relaxed);
                break;
            };
            let room = FRAME_SIZE - frame.headroom();
            let start = frame.headroom();
            if frame.set_bounds(start, room).is_err() {
                break;
            }
            let length = match (&self.file).read(frame.bytes_mut()) {
                Ok(length) => length,
                Err(error) => {
                    pool.put(frame);
                    return match error.kind() {
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(moved),
                        // The device is down.
                        _ if error.raw_os_error() == Some(libc::EIO) => Ok(moved),
                        _ => Err(error),
                    };
                }
            };
            moved = true;
            frame.truncate(length);
            counters.from_host.fetch_add(1, Ordering::Relaxed);
            if let Err(frame) = shared.deliver_from_host(frame) {
                counters.overflow.fetch_add(1, Ordering::Relaxed);
                pool.put(frame);
            }
        }
        Ok(moved)
    }
}

/// Largest number of packets moved in one direction before the other direction is served.
const BURST: usize = 64;
const LONGEST_SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
