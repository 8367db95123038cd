//! Memory regions: mapped by the kernel, or (for unit tests and Miri) taken from the heap.

use crate::error::Error;
use rustix::fd::BorrowedFd;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::alloc::Layout;
use std::ptr::NonNull;

/// An owned region of memory, freed when dropped. It only gives out its address; the types above
/// define which bytes may be accessed by whom.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Mapped,
    Heap(Layout),
}

// SAFETY: the region belongs to this value and is not bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference only yields the address and the length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed, page-aligned memory from the heap.
    pub(crate) fn heap(len: usize) -> Result<Mapping, Error> {
        let refused = || Error::NoMemory {
            operation: "allocate UMEM",
            bytes: len,
            errno: Errno::NOMEM,
            remedy: "use fewer frames",
        };
        let layout = Layout::from_size_align(len.max(1), 4096).map_err(|_| refused())?;
        // SAFETY: the layout's size is not zero.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or_else(refused)?;
        Ok(Mapping { base, len, kind: Kind::Heap(layout) })
    }

    /// Zeroed memory of an anonymous file, populated at once; in huge pages of 2 MiB when asked for
    /// (`len` is then a multiple of that).
    pub(crate) fn memfd(len: usize, huge: bool) -> Result<Mapping, Error> {
        let (flags, remedy) = if huge {
            (
                MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
                "reserve 2 MiB huge pages in /proc/sys/vm/nr_hugepages or use ordinary pages",
            )
        } else {
            (MemfdFlags::CLOEXEC, "use fewer frames or free memory")
        };
        let no_memory = |operation| move |errno| Error::NoMemory { operation, bytes: len, errno, remedy };
        let file = rustix::fs::memfd_create(c"tohub-umem", flags).map_err(no_memory("create UMEM file"))?;
        rustix::fs::ftruncate(&file, len as u64).map_err(no_memory("size UMEM file"))?;
        // SAFETY: a fresh shared mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                &file,
                0,
            )
        }
        .map_err(no_memory("map UMEM"))?;
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| no_memory("map UMEM")(Errno::NOMEM))?;
        let mapping = Mapping { base, len, kind: Kind::Mapped };
        // Packets in the UMEM are clear text: keep them out of core files and of children. Advice
        // only, so a refusal is no reason not to start.
        for advice in [rustix::mm::Advice::LinuxDontDump, rustix::mm::Advice::LinuxDontFork] {
            // SAFETY: the range is exactly the mapping that was just made, and the advice does not
            // change its contents.
            let _ = unsafe { rustix::mm::madvise(base.as_ptr().cast(), len, advice) };
        }
        Ok(mapping)
    }

    /// Maps a ring of an AF_XDP socket.
    pub(crate) fn ring(socket: BorrowedFd<'_>, len: usize, page_offset: u64) -> Result<Mapping, Errno> {
        // SAFETY: a fresh shared mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                socket,
                page_offset,
            )
        }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(Errno::NOMEM)?;
        Ok(Mapping { base, len, kind: Kind::Mapped })
    }

    /// First byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        match self.kind {
            Kind::Mapped => {
                // SAFETY: base and length are those of a mapping that this value made and owns. A
                // refusal (it cannot happen for a valid range) would leave the memory mapped, which
                // is harmless.
                let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
            }
            Kind::Heap(layout) => {
                // SAFETY: allocated in `heap` with this very layout.
                unsafe { std::alloc::dealloc(self.base.as_ptr(), layout) }
            }
        }
    }
}
