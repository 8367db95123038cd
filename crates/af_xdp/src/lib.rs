//! AF_XDP sockets over one UMEM that is shared by ports, queues and workers.
//!
//! **Purpose.** Maps the UMEM, hands out its 4096-byte frames as owned [`Frame`] handles, binds one
//! [`Socket`] per (interface, queue) to it, and moves frames between user space and the four rings
//! of each socket. A frame received on one port can be changed in place, headroom and tailroom
//! included, and sent on another port without a copy.
//!
//! **Not in scope.** It does not interpret packets, loads no eBPF program, starts no thread, and
//! allocates nothing after set-up.
//!
//! **Caller.** The data plane's main thread opens the sockets ([`open`]) after the XDP program is
//! attached (some drivers need that order); each worker then owns its sockets and its
//! [`FramePool`].
//!
//! **Ownership.** Every frame is at any moment in exactly one place: *home* (the UMEM's own queue),
//! a pool, a [`Frame`] handle, or the kernel (between a ring's submission and its return). A handle
//! is neither `Copy` nor `Clone`; handing it to a ring consumes it. A dropped handle returns its
//! frame to the home queue. The memory is unmapped when the last handle, pool and socket are gone
//! and not before, so nothing outlives it.
//!
//! **Invariants.** Data from the kernel is checked: a descriptor of a frame that this socket did
//! not give to the kernel, or reaches past a frame's end, is counted
//! ([`Counters::refused_descriptors`]) and not turned into a handle. All index arithmetic is in
//! `cursor.rs`, which runs under loom in the unit tests.
//!
//! [`memory`] simulates the kernel in memory: the same sockets over rings in ordinary memory, for
//! tests and benchmarks without root.

mod bind;
mod cursor;
pub mod device;
mod error;
mod frame;
mod mapping;
pub mod memory;
mod pool;
mod ring;
mod socket;
mod umem;

pub use bind::{BusyPoll, CopyReason, Mode, ModePreference, Opened, PortQueue, SocketOptions, open};
pub use error::Error;
pub use frame::{Frame, NoRoom};
pub use pool::FramePool;
pub use socket::{Counters, KernelStatistics, Socket};
pub use umem::{Backing, FRAME_SIZE, MIN_HEADROOM, Umem, UmemConfig};
