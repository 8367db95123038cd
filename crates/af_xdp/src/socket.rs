//! One AF_XDP socket: the traffic of one (interface, queue).

use crate::bind::Mode;
use crate::error::Error;
use crate::frame::Frame;
use crate::pool::FramePool;
use crate::ring::{Consumer, Descriptor, Producer};
use crate::umem::{Direction, FRAME_SIZE, Handle, Reclaim, SocketId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// `XDP_RING_NEED_WAKEUP` (include/uapi/linux/if_xdp.h).
pub(crate) const RING_NEED_WAKEUP: u32 = 1;

/// Rounds of `sendto` before the rest is left for the next burst: enough for a full ring of 4096 at
/// 32 descriptors a call.
const MAX_SEND_CALLS: u32 = 128;

/// Interface and queue of a socket.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) interface: String,
    pub(crate) queue: u32,
}

/// The other end of the rings.
#[derive(Debug)]
pub(crate) enum Backend {
    /// A bound AF_XDP socket. The fields drop in this order: the descriptor is closed before its
    /// frames are collected.
    Kernel { fd: OwnedFd, _reclaim: Reclaim },
    /// A [`crate::memory::MemoryKernel`], which shares the duty to collect the frames.
    Memory { _reclaim: std::sync::Arc<Reclaim> },
}

/// Counters of a socket since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub received: u64,
    /// Packets handed to the TX ring.
    pub sent: u64,
    /// Transmissions completed by the kernel.
    pub completed: u64,
    /// System calls made to wake the kernel.
    pub wakeups: u64,
    /// Descriptors from the kernel that named a frame it did not hold, or reached past its frame.
    pub refused_descriptors: u64,
    /// Packets not sent because they were empty or of another UMEM.
    pub refused_frames: u64,
    /// Times the fill ring could not be topped up because no frame was free.
    pub frame_shortages: u64,
}

/// The kernel's counters of a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStatistics {
    /// Packets dropped for other reasons than a full ring.
    pub rx_dropped: u64,
    /// Packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Packets dropped because the fill ring was empty.
    pub rx_fill_ring_empty: u64,
    /// Fill descriptors that the kernel refused.
    pub rx_invalid_descriptors: u64,
    /// TX descriptors that the kernel refused.
    pub tx_invalid_descriptors: u64,
    /// Times the kernel found the TX ring empty.
    pub tx_ring_empty: u64,
}

/// A bound socket. Owned by one worker at a time; it may move between threads.
#[derive(Debug)]
pub struct Socket {
    label: Label,
    mode: Mode,
    id: SocketId,
    fill: Producer<u64>,
    rx: Consumer<Descriptor>,
    tx: Producer<Descriptor>,
    completion: Consumer<u64>,
    /// Frames that the kernel holds for reception.
    lent: u32,
    fill_target: u32,
    counters: Counters,
    umem: Handle,
    /// Last: the rings above are unmapped before the descriptor is closed.
    backend: Backend,
}

/// The four rings of a socket.
pub(crate) struct Rings {
    pub(crate) fill: Producer<u64>,
    pub(crate) rx: Consumer<Descriptor>,
    pub(crate) tx: Producer<Descriptor>,
    pub(crate) completion: Consumer<u64>,
    /// Entries of the fill ring, which is how many frames are lent for reception.
    pub(crate) fill_size: u32,
}

impl Socket {
    pub(crate) fn new(
        label: Label,
        mode: Mode,
        id: SocketId,
        rings: Rings,
        umem: Handle,
        backend: Backend,
    ) -> Socket {
        let Rings { fill, rx, tx, completion, fill_size } = rings;
        let counters = Counters::default();
        Socket {
            label,
            mode,
            id,
            fill,
            rx,
            tx,
            completion,
            lent: 0,
            fill_target: fill_size,
            counters,
            umem,
            backend,
        }
    }

    /// Linux device name.
    pub fn interface(&self) -> &str {
        &self.label.interface
    }

    /// Queue number.
    pub fn queue(&self) -> u32 {
        self.label.queue
    }

    /// Whether the kernel copies packets.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The descriptor, for poll(2) and for the XSKMAP; `None` over a kernel in memory.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.backend {
            Backend::Kernel { fd, .. } => Some(fd.as_fd()),
            Backend::Memory { .. } => None,
        }
    }

    /// The counters of user space.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Tops the fill ring up from the pool and wakes the kernel if it waits for that. Returns how
    /// many frames were lent.
    pub fn refill(&mut self, pool: &mut FramePool) -> u32 {
        if !pool.is_of(&self.umem) {
            return 0;
        }
        let missing = self.fill_target - self.lent;
        // Refilling a few frames is not worth the cache line transfer to the kernel's core.
        if missing < (self.fill_target / 8).max(1) {
            return 0;
        }
        let room = self.fill.free(missing);
        let mut lent = 0;
        while lent < room {
            let Some(index) = pool.take_index() else {
                self.counters.frame_shortages += 1;
                break;
            };
            self.umem.shared().lend(index, self.id, Direction::Receive);
            self.fill.write(lent, u64::from(index) * FRAME_SIZE as u64);
            lent += 1;
        }
        if lent > 0 {
            self.fill.publish(lent);
            self.lent += lent;
            if self.fill.needs_wakeup() {
                self.wake_receive();
            }
        }
        lent
    }

    /// Takes up to `limit` received packets. No allocation if `out` has the capacity.
    pub fn receive(&mut self, out: &mut Vec<Frame>, limit: u32) -> u32 {
        let available = self.rx.available(limit);
        if available == 0 {
            return 0;
        }
        let mut received = 0;
        for offset in 0..available {
            let Some(descriptor) = self.rx.read(offset) else { break };
            match self.accept(descriptor) {
                Some(frame) => {
                    out.push(frame);
                    received += 1;
                }
                None => self.counters.refused_descriptors += 1,
            }
        }
        self.rx.release(available);
        self.counters.received += u64::from(received);
        received
    }

    fn accept(&mut self, descriptor: Descriptor) -> Option<Frame> {
        let start = (descriptor.addr % FRAME_SIZE as u64) as u16;
        let len = u16::try_from(descriptor.len).ok()?;
        let index = self.umem.shared().take_back(descriptor.addr, self.id, Direction::Receive)?;
        self.lent = self.lent.saturating_sub(1);
        let fits = usize::from(start) + usize::from(len) <= FRAME_SIZE && descriptor.options == 0;
        // The frame is ours again even if its bounds are invalid: dropping the handle returns it to
        // the home queue.
        let frame = Frame::from_parts(
            self.umem.pointer(),
            index,
            start,
            if fits { len } else { 0 }.min(FRAME_SIZE as u16 - start),
        );
        fits.then_some(frame)
    }

    /// Hands packets to the TX ring, in order from the front; those that do not fit stay in
    /// `frames`. Wake the kernel with [`flush`](Self::flush) after the burst. Returns how many left
    /// `frames`.
    pub fn send(&mut self, frames: &mut Vec<Frame>) -> u32 {
        let wanted = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        let room = self.tx.free(wanted);
        if room == 0 {
            return 0;
        }
        let mut sent = 0;
        for frame in frames.drain(..room as usize) {
            if frame.is_empty() || frame.shared() != self.umem.pointer() {
                self.counters.refused_frames += 1;
                continue;
            }
            let descriptor = Descriptor { addr: frame.address(), len: frame.len() as u32, options: 0 };
            let index = frame.into_index();
            self.umem.shared().lend(index, self.id, Direction::Transmit);
            self.tx.write(sent, descriptor);
            sent += 1;
        }
        self.tx.publish(sent);
        self.counters.sent += u64::from(sent);
        room
    }

    /// Wakes the kernel until the TX ring is empty or it stops taking packets. In copy mode one
    /// call sends 32 descriptors (`TX_BATCH_SIZE`, net/xdp/xsk.c) and answers EAGAIN when more are
    /// left, so the call is repeated while it makes progress.
    pub fn flush(&mut self) {
        for _ in 0..MAX_SEND_CALLS {
            if self.tx.is_drained() || !self.tx.needs_wakeup() {
                return;
            }
            let before = self.tx.consumer_index();
            self.counters.wakeups += 1;
            let Backend::Kernel { fd, .. } = &self.backend else { return };
            match rustix::net::send(fd, &[], SendFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => {}
                // ENETDOWN, ENXIO: the interface is down or gone; its packets stay in the ring
                // until it is back.
                Err(_) => return,
            }
            if self.tx.consumer_index() == before {
                return;
            }
        }
    }

    /// Returns transmitted frames to the pool. Returns how many.
    pub fn complete(&mut self, pool: &mut FramePool) -> u32 {
        if !pool.is_of(&self.umem) {
            return 0;
        }
        let available = self.completion.available(u32::MAX);
        for offset in 0..available {
            let Some(addr) = self.completion.read(offset) else { break };
            match self.umem.shared().take_back(addr, self.id, Direction::Transmit) {
                Some(index) => {
                    pool.put_index(index);
                    self.counters.completed += 1;
                }
                None => self.counters.refused_descriptors += 1,
            }
        }
        if available > 0 {
            self.completion.release(available);
        }
        available
    }

    /// Packets that the TX ring can take now, at most `wanted`.
    pub fn send_room(&mut self, wanted: u32) -> u32 {
        self.tx.free(wanted)
    }

    /// Makes the kernel check the fill ring and, with busy-polling, run the device's receive path
    /// now.
    pub fn wake_receive(&mut self) {
        if let Backend::Kernel { fd, .. } = &self.backend {
            self.counters.wakeups += 1;
            // Only the side effect matters: the call carries no data and its errors are also
            // visible in the rings.
            let _ = rustix::net::recv(fd, &mut [0u8; 0][..], RecvFlags::DONTWAIT);
        }
    }

    /// The kernel's own counters; zeros over a kernel in memory.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses.
    pub fn statistics(&self) -> Result<KernelStatistics, Error> {
        let Backend::Kernel { fd, .. } = &self.backend else { return Ok(KernelStatistics::default()) };
        let raw = rustix::net::sockopt::xdp_statistics(fd).map_err(|errno| Error::System {
            operation: "read XDP statistics",
            place: format!("{} queue {}", self.label.interface, self.label.queue),
            errno,
        })?;
        Ok(KernelStatistics {
            rx_dropped: raw.rx_dropped,
            rx_ring_full: raw.rx_ring_full.unwrap_or(0),
            rx_fill_ring_empty: raw.rx_fill_ring_empty_descs.unwrap_or(0),
            rx_invalid_descriptors: raw.rx_invalid_descs,
            tx_invalid_descriptors: raw.tx_invalid_descs,
            tx_ring_empty: raw.tx_ring_empty_descs.unwrap_or(0),
        })
    }

    /// Frames that the kernel holds for reception now.
    pub fn frames_lent(&self) -> u32 {
        self.lent
    }

    /// Frames handed to the TX ring and not completed yet.
    pub fn frames_in_flight(&self) -> u64 {
        self.counters.sent - self.counters.completed
    }
}
