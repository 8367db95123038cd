//! The UMEM: packet memory in frames of 4096 bytes, shared by all sockets and workers.
//!
//! The shared part counts references: one for each [`Umem`], pool and socket, and one for each
//! frame that is not in the home queue. Frames move between pools, handles and rings without
//! touching that count; only exchanges with the home queue, which are batched, change it. The
//! reference that is dropped last frees the memory.

use crate::error::Error;
use crate::mapping::Mapping;
use crate::pool::FramePool;
use crossbeam::queue::ArrayQueue;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

/// Size of a frame in bytes.
pub const FRAME_SIZE: usize = 4096;

/// Headroom before a received packet when none is configured: the minimum that the kernel always
/// reserves (`XDP_PACKET_HEADROOM`, include/uapi/linux/bpf.h).
pub const MIN_HEADROOM: usize = 256;

const HUGE_PAGE: usize = 2 << 20;

/// What the UMEM's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// An anonymous file in ordinary pages.
    Memfd,
    /// An anonymous file in huge pages of 2 MiB.
    HugePages,
    /// Memory of the heap: makes no system call; for tests and benchmarks.
    Heap,
}

/// Size and place of a UMEM.
#[derive(Clone, Copy, Debug)]
pub struct UmemConfig {
    /// Number of frames. All rings of all sockets can hold frames at the same time: allow for ring
    /// size × (RX + TX) for each socket, and a pool for each worker.
    pub frames: u32,
    /// Bytes in front of a received packet, at least [`MIN_HEADROOM`].
    pub headroom: usize,
    /// Memory to use.
    pub backing: Backing,
}

impl Default for UmemConfig {
    /// 16384 frames (64 MiB), the least headroom, ordinary pages.
    fn default() -> UmemConfig {
        UmemConfig { frames: 16384, headroom: MIN_HEADROOM, backing: Backing::Memfd }
    }
}

/// The packet memory. Cheap to clone; every clone means the same memory.
#[derive(Clone, Debug)]
pub struct Umem {
    pub(crate) handle: Handle,
}

impl Umem {
    /// Allocates the memory. All frames are in the home queue.
    ///
    /// # Errors
    /// [`Error::BadSize`] for a configuration that the kernel would refuse, [`Error::NoMemory`].
    pub fn new(config: UmemConfig) -> Result<Umem, Error> {
        if config.frames == 0 || config.frames > 1 << 20 {
            return Err(Error::BadSize {
                what: "number of UMEM frames",
                value: config.frames.into(),
                must: "between 1 and 1048576",
            });
        }
        if config.headroom < MIN_HEADROOM || config.headroom > FRAME_SIZE / 2 {
            return Err(Error::BadSize {
                what: "UMEM headroom",
                value: config.headroom as u64,
                must: "between 256 and 2048",
            });
        }
        let bytes = config.frames as usize * FRAME_SIZE;
        let memory = match config.backing {
            Backing::Memfd => Mapping::memfd(bytes, false)?,
            Backing::HugePages => Mapping::memfd(bytes.next_multiple_of(HUGE_PAGE), true)?,
            Backing::Heap => Mapping::heap(bytes)?,
        };
        let home = ArrayQueue::new(config.frames as usize);
        for index in 0..config.frames {
            // The queue holds as many as there are frames.
            let _ = home.push(index);
        }
        let shared = Box::new(Shared {
            memory,
            frames: config.frames,
            headroom: config.headroom as u16,
            holders: (0..config.frames).map(|_| AtomicU16::new(USER_SPACE)).collect(),
            home,
            references: AtomicUsize::new(1),
            sockets: AtomicU16::new(0),
            lost: AtomicUsize::new(0),
        });
        Ok(Umem { handle: Handle(NonNull::from(Box::leak(shared))) })
    }

    /// A worker's own supply of frames. `batch` frames are exchanged with the home queue at a time,
    /// and at most `limit` stay in the pool.
    pub fn pool(&self, batch: usize, limit: usize) -> FramePool {
        FramePool::new(self.handle.clone(), batch, limit)
    }

    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.handle.shared().frames
    }

    /// Bytes in front of a received packet.
    pub fn headroom(&self) -> usize {
        self.handle.shared().headroom.into()
    }

    /// Frames in the home queue: in no pool, handle or ring.
    pub fn frames_home(&self) -> usize {
        self.handle.shared().home.len()
    }

    /// Frames given up because a socket was closed while the kernel could still read them.
    pub fn frames_lost(&self) -> usize {
        self.handle.shared().lost.load(Ordering::Relaxed)
    }
}

/// [`Shared::holders`] value of a frame that the kernel does not hold.
const USER_SPACE: u16 = 0;

/// The direction in which a frame was given to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Submitted to the fill ring.
    Receive,
    /// Submitted to the TX ring.
    Transmit,
}

/// A socket's number in its UMEM, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(u16);

impl SocketId {
    fn holder(self, direction: Direction) -> u16 {
        self.0 << 1 | u16::from(direction == Direction::Transmit)
    }
}

/// What all references to one UMEM share.
#[derive(Debug)]
pub(crate) struct Shared {
    memory: Mapping,
    frames: u32,
    headroom: u16,
    /// Per frame: [`USER_SPACE`], or which socket gave it to the kernel and in which direction.
    /// Written by the owner of the frame.
    holders: Box<[AtomicU16]>,
    home: ArrayQueue<u32>,
    references: AtomicUsize,
    sockets: AtomicU16,
    lost: AtomicUsize,
}

/// A counted reference to [`Shared`].
#[derive(Debug)]
pub(crate) struct Handle(NonNull<Shared>);

// SAFETY: `Shared` is made of atomics, a lock-free queue and a region whose bytes are reached
// through owned frames only.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: this handle is counted in `references`, so the allocation is alive.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn pointer(&self) -> NonNull<Shared> {
        self.0
    }

    /// Takes up to `count` frames from the home queue into `out`.
    pub(crate) fn take_home(&self, count: usize, out: &mut Vec<u32>) {
        let shared = self.shared();
        let before = out.len();
        while out.len() - before < count {
            let Some(index) = shared.home.pop() else { break };
            out.push(index);
        }
        // Relaxed: this handle keeps the count above zero meanwhile.
        shared.references.fetch_add(out.len() - before, Ordering::Relaxed);
    }

    /// Returns frames to the home queue that were taken by [`take_home`](Self::take_home) and are
    /// owned by the caller.
    pub(crate) fn send_home(&self, indices: impl ExactSizeIterator<Item = u32>) {
        let shared = self.shared();
        let count = indices.len();
        for index in indices {
            // Never full: it has room for every frame, and each is in it at most once.
            let _ = shared.home.push(index);
        }
        // Cannot reach zero: this handle is counted.
        shared.references.fetch_sub(count, Ordering::Release);
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        self.shared().references.fetch_add(1, Ordering::Relaxed);
        Handle(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop_reference(self.0);
    }
}

/// Returns one frame to the home queue and drops its reference.
///
/// `shared` comes from a frame that was not in the home queue and that the caller owned; it must
/// not be used again.
pub(crate) fn send_frame_home(shared: NonNull<Shared>, index: u32) {
    // SAFETY: the frame counts as a reference until the call below, so the allocation is alive.
    let _ = unsafe { shared.as_ref() }.home.push(index);
    drop_reference(shared);
}

/// Drops one counted reference; the last one frees the memory.
fn drop_reference(shared: NonNull<Shared>) {
    // SAFETY: the caller's reference keeps the allocation alive up to this decrement.
    let references = &unsafe { shared.as_ref() }.references;
    if references.fetch_sub(1, Ordering::Release) == 1 {
        std::sync::atomic::fence(Ordering::Acquire);
        // SAFETY: made by `Box::leak` in `Umem::new`; the count shows that no other reference
        // exists.
        drop(unsafe { Box::from_raw(shared.as_ptr()) });
    }
}

impl Shared {
    /// First byte of a frame. The index must be below [`Shared::frames`], which holds for every
    /// index from the home queue.
    pub(crate) fn frame_base(&self, index: u32) -> NonNull<u8> {
        debug_assert!(index < self.frames);
        // SAFETY: the region has `frames` × FRAME_SIZE bytes.
        unsafe { self.memory.base().add(index as usize * FRAME_SIZE) }
    }

    pub(crate) fn headroom(&self) -> u16 {
        self.headroom
    }

    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }

    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Allocates the number of a new socket. `None` after 32767 sockets of one UMEM.
    pub(crate) fn new_socket(&self) -> Option<SocketId> {
        let id = self.sockets.fetch_add(1, Ordering::Relaxed).checked_add(1)?;
        (id < 1 << 15).then_some(SocketId(id))
    }

    /// Records that the owner of `index` gives it to the kernel.
    pub(crate) fn lend(&self, index: u32, socket: SocketId, direction: Direction) {
        if let Some(holder) = self.holders.get(index as usize) {
            holder.store(socket.holder(direction), Ordering::Relaxed);
        }
    }

    /// Takes back the frame in which `addr` lies, if the kernel had it from this socket in this
    /// direction; otherwise `None` and nothing changes.
    pub(crate) fn take_back(&self, addr: u64, socket: SocketId, direction: Direction) -> Option<u32> {
        let index = u32::try_from(addr / FRAME_SIZE as u64).ok()?;
        let holder = self.holders.get(index as usize)?;
        if holder.load(Ordering::Relaxed) != socket.holder(direction) {
            return None;
        }
        holder.store(USER_SPACE, Ordering::Relaxed);
        Some(index)
    }
}

/// Collects, when dropped, the frames that a closed socket left with the kernel. Must be dropped
/// after the descriptor.
#[derive(Debug)]
pub(crate) struct Reclaim {
    pub(crate) handle: Handle,
    pub(crate) socket: SocketId,
    /// Whether received frames can be used again at once. Not in zero-copy mode: the driver
    /// releases its buffers in deferred work after close (`xp_release_deferred`,
    /// net/xdp/xsk_buff_pool.c).
    pub(crate) reuse_received: bool,
    /// Whether transmitted frames can be used again at once. Not with a real kernel: an skb may
    /// still refer to them.
    pub(crate) reuse_transmitted: bool,
}

impl Drop for Reclaim {
    fn drop(&mut self) {
        let shared = self.handle.shared();
        for direction in [Direction::Receive, Direction::Transmit] {
            let reuse = match direction {
                Direction::Receive => self.reuse_received,
                Direction::Transmit => self.reuse_transmitted,
            };
            for index in 0..shared.frames {
                if shared.take_back(u64::from(index) * FRAME_SIZE as u64, self.socket, direction).is_none() {
                    continue;
                }
                if reuse {
                    self.handle.send_home(std::iter::once(index));
                } else {
                    // The kernel holds its own reference on the pages: unmapping is safe, using the
                    // frame again is not.
                    shared.lost.fetch_add(1, Ordering::Relaxed);
                    shared.references.fetch_sub(1, Ordering::Release);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn umem(frames: u32) -> Umem {
        Umem::new(UmemConfig { frames, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap()
    }

    #[test]
    fn a_frame_that_outlives_everything_else_is_still_valid_memory() {
        let umem = umem(4);
        let mut pool = umem.pool(2, 4);
        let mut frame = pool.take().unwrap();
        drop(pool);
        drop(umem);
        frame.append(&[7; 100]).unwrap();
        assert_eq!(frame.bytes(), &[7; 100]);
    }

    #[test]
    fn frames_go_home_from_dropped_pools_and_handles() {
        let umem = umem(8);
        let mut pool = umem.pool(4, 8);
        let frame = pool.take().unwrap();
        assert_eq!(umem.frames_home(), 4);
        drop(frame);
        assert_eq!(umem.frames_home(), 5);
        drop(pool);
        assert_eq!(umem.frames_home(), 8);
    }

    #[test]
    fn sizes_that_the_kernel_refuses_are_refused_with_the_rule() {
        let config = UmemConfig { frames: 0, ..UmemConfig::default() };
        assert!(Umem::new(config).unwrap_err().to_string().contains("between 1 and"));
        let config = UmemConfig { headroom: 64, ..UmemConfig::default() };
        assert!(Umem::new(config).unwrap_err().to_string().contains("headroom is 64"));
    }

    #[test]
    fn a_frame_is_taken_back_only_from_the_socket_and_direction_it_was_lent_to() {
        let umem = umem(4);
        let shared = umem.handle.shared();
        let (first, second) = (shared.new_socket().unwrap(), shared.new_socket().unwrap());
        shared.lend(2, first, Direction::Receive);
        let addr = 2 * FRAME_SIZE as u64 + 300;
        assert_eq!(shared.take_back(addr, second, Direction::Receive), None);
        assert_eq!(shared.take_back(addr, first, Direction::Transmit), None);
        assert_eq!(shared.take_back(addr, first, Direction::Receive), Some(2));
        assert_eq!(shared.take_back(addr, first, Direction::Receive), None);
        assert_eq!(shared.take_back(u64::MAX, first, Direction::Receive), None);
    }

    #[test]
    fn memfd_memory_works_like_heap_memory() {
        let umem =
            Umem::new(UmemConfig { frames: 2, headroom: MIN_HEADROOM, backing: Backing::Memfd }).unwrap();
        let mut frame = umem.pool(1, 1).take().unwrap();
        frame.append(b"hello").unwrap();
        assert_eq!(frame.bytes(), b"hello");
    }
}
