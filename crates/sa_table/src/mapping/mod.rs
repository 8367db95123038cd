//! Maps segments as slices of atomic words; the only module that maps memory.
//!
//! Why unsafe: the standard library has no shared mappings. What keeps it sound: the descriptor is
//! a memfd whose size is sealed, so that no access can meet a missing page; the memory is only ever
//! seen as `AtomicU64`, for which any content and any concurrent writer is defined; and a read-only
//! mapping gives out no `AtomicU64` at all.

mod handover;

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU64;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{Advice, MapFlags, MlockFlags, ProtFlags, madvise, mlock, mlock_with, mmap, munmap};
use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use crate::word::View;

pub(crate) use handover::{FIRST_LISTEN_FD, own_descriptor, spawn};

/// What to do when the limit of locked memory (RLIMIT_MEMLOCK) is smaller than the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// Refuse: key material must never reach a swap device.
    Required,
    /// Continue with unlocked memory; the caller checks `is_locked` of the attached object and
    /// warns.
    BestEffort,
    /// Do not lock: for simulations, whose keys protect no traffic and whose segments live for
    /// milliseconds.
    Never,
}

/// A segment that cannot be mapped.
#[derive(Debug, Error)]
pub enum MapError {
    /// A system call failed.
    #[error("{operation} failed on a segment: {source}")]
    System {
        /// Name of the system call.
        operation: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The size is not sealed: a change by another process would cause SIGBUS.
    #[error(
        "the descriptor is not sealed against shrinking and growing; take the descriptors from tohub supervise"
    )]
    NotSealed,
    /// The size is not that of a segment.
    #[error(
        "the descriptor holds {bytes} octets, which is no size of a segment; take the descriptors from tohub supervise"
    )]
    Size {
        /// The size by fstat.
        bytes: u64,
    },
    /// RLIMIT_MEMLOCK is too small and locking was required.
    #[error(
        "cannot lock {needed} octets, RLIMIT_MEMLOCK is {}: {source}; raise LimitMEMLOCK, grant CAP_IPC_LOCK, or choose smaller capacities",
        limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
    )]
    Locked {
        /// Octets of the segment.
        needed: usize,
        /// The limit in octets, `None` if there is none.
        limit: Option<u64>,
        /// The kernel's error.
        source: io::Error,
    },
}

/// The largest segment that is accepted, in octets.
const MAX_BYTES: u64 = 1 << 36;

/// Which pages a mapping locks. A lock holds a page only where the page is mapped.
#[derive(Clone, Copy)]
enum Pages {
    /// All pages, populated at once: for the supervisor, whose lock must outlive both processes. No
    /// later page fault can then fail for lack of memory.
    All,
    /// Only the pages that this process touches.
    Touched,
}

/// A mapped segment.
struct Mapping {
    base: NonNull<AtomicU64>,
    words: usize,
    locked: bool,
}

// SAFETY: the memory is valid for the life of the object and is reached through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above; AtomicU64 may be shared between threads.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(
        descriptor: BorrowedFd<'_>,
        protection: ProtFlags,
        pages: Pages,
        locking: Locking,
    ) -> Result<Self, MapError> {
        let system =
            |operation| move |error: rustix::io::Errno| MapError::System { operation, source: error.into() };
        let seals = fcntl_get_seals(descriptor).map_err(|_| MapError::NotSealed)?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(MapError::NotSealed);
        }
        let size = fstat(descriptor).map_err(system("fstat"))?.st_size;
        let bytes = u64::try_from(size).unwrap_or(0);
        if bytes == 0 || bytes % 4096 != 0 || bytes > MAX_BYTES {
            return Err(MapError::Size { bytes });
        }
        let length = bytes as usize;
        // SAFETY: a new mapping at an address of the kernel's choice; length is the sealed size of
        // the memfd.
        let address = unsafe { mmap(ptr::null_mut(), length, protection, MapFlags::SHARED, descriptor, 0) }
            .map_err(system("mmap"))?;
        let base = NonNull::new(address.cast::<AtomicU64>())
            .ok_or(MapError::System { operation: "mmap", source: io::ErrorKind::OutOfMemory.into() })?;
        let mut mapping = Self { base, words: length / 8, locked: false };
        mapping.protect()?;
        mapping.locked = mapping.lock(pages, locking)?;
        Ok(mapping)
    }

    fn bytes(&self) -> usize {
        self.words * 8
    }

    fn address(&self) -> *mut c_void {
        self.base.as_ptr().cast()
    }

    /// Keys stay out of core dumps (pages of a memfd would be dumped) and out of child processes.
    fn protect(&self) -> Result<(), MapError> {
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: the range is exactly our mapping; neither advice changes its content.
            unsafe { madvise(self.address(), self.bytes(), advice) }
                .map_err(|error| MapError::System { operation: "madvise", source: error.into() })?;
        }
        Ok(())
    }

    fn lock(&self, pages: Pages, locking: Locking) -> Result<bool, MapError> {
        if locking == Locking::Never {
            return Ok(false);
        }
        let result = match pages {
            // SAFETY: the range is exactly our mapping.
            Pages::All => unsafe { mlock(self.address(), self.bytes()) },
            // SAFETY: the range is exactly our mapping.
            Pages::Touched => unsafe { mlock_with(self.address(), self.bytes(), MlockFlags::ONFAULT) },
        };
        match (result, locking) {
            (Ok(()), _) => Ok(true),
            (Err(_), Locking::BestEffort | Locking::Never) => Ok(false),
            (Err(error), Locking::Required) => Err(MapError::Locked {
                needed: self.bytes(),
                limit: getrlimit(Resource::Memlock).current,
                source: error.into(),
            }),
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: base is aligned to a page and valid for `words` words until drop; the memory is
        // initialised (a memfd begins as zeros) and is only accessed as atomics.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping, and no reference outlives the object.
        let unmapped = unsafe { munmap(self.address(), self.bytes()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A segment that this process writes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct WritableMapping(Arc<Mapping>);

impl WritableMapping {
    pub(crate) fn new(descriptor: BorrowedFd<'_>, locking: Locking) -> Result<Self, MapError> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Ok(Self(Arc::new(Mapping::new(descriptor, protection, Pages::Touched, locking)?)))
    }

    /// The owner's mapping: it keeps all pages of the segment in memory, for every process that
    /// maps it.
    pub(crate) fn new_resident(descriptor: BorrowedFd<'_>, locking: Locking) -> Result<Self, MapError> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Ok(Self(Arc::new(Mapping::new(descriptor, protection, Pages::All, locking)?)))
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        self.0.words()
    }

    pub(crate) fn view(&self) -> View<'_, AtomicU64> {
        View::new(self.0.words())
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.0.locked
    }
}

/// A segment that this process only reads; a store would be a segmentation fault, so only a view is
/// given out.
#[derive(Clone)]
pub(crate) struct ReadOnlyMapping(Arc<Mapping>);

impl ReadOnlyMapping {
    pub(crate) fn new(descriptor: BorrowedFd<'_>, locking: Locking) -> Result<Self, MapError> {
        Ok(Self(Arc::new(Mapping::new(descriptor, ProtFlags::READ, Pages::Touched, locking)?)))
    }

    pub(crate) fn view(&self) -> View<'_, AtomicU64> {
        View::new(self.0.words())
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.0.locked
    }
}
