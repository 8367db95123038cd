//! Opening all sockets of a UMEM: one mode for all ports, zero-copy if every one of them can.

use crate::error::Error;
use crate::mapping::Mapping;
use crate::ring::{Consumer, Entry, Offsets, Producer};
use crate::socket::{Backend, Label, Rings, Socket};
use crate::umem::{FRAME_SIZE, MIN_HEADROOM, Reclaim, SocketId, Umem};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XdpRingOffset, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One socket to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortQueue {
    /// Linux device name.
    pub interface: String,
    /// Queue number of that device.
    pub queue: u32,
}

/// How packets get between the device and the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The device reads and writes the UMEM.
    ZeroCopy,
    /// The kernel copies each packet.
    Copy,
    /// No kernel: rings in ordinary memory.
    Memory,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::ZeroCopy => "zero-copy",
            Mode::Copy => "copy",
            Mode::Memory => "memory",
        })
    }
}

/// The configured mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModePreference {
    /// Zero-copy if all ports can, else copy.
    #[default]
    Auto,
    /// Zero-copy or an error.
    ZeroCopy,
    /// Copy, without a probe.
    Copy,
}

/// Lets the socket's own system calls run the device's receive path (`SO_PREFER_BUSY_POLL`). Useful
/// together with `napi_defer_hard_irqs` and `gro_flush_timeout` of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long one call may poll, in microseconds.
    pub microseconds: u32,
    /// How many packets one call may take.
    pub budget: u32,
}

/// Settings for all sockets.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Entries of the RX and of the TX ring; a power of two.
    pub ring_size: u32,
    /// Entries of the fill and of the completion ring; a power of two, at least `ring_size`.
    pub fill_size: u32,
    /// Zero-copy or copy.
    pub mode: ModePreference,
    /// Busy polling, or interrupts when `None`.
    pub busy_poll: Option<BusyPoll>,
    /// How long binding is retried while the queue is busy: after a process died its queue stays
    /// taken for a moment.
    pub busy_patience: Duration,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            ring_size: 2048,
            fill_size: 2048,
            mode: ModePreference::Auto,
            busy_poll: None,
            busy_patience: Duration::from_secs(3),
        }
    }
}

/// Why all ports run in copy mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyReason {
    /// Copy mode is configured.
    Configured,
    /// This port cannot do zero-copy, and all sockets of one UMEM share one mode.
    Port(PortQueue, Errno),
}

impl std::fmt::Display for CopyReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CopyReason::Configured => f.write_str("copy mode was configured"),
            CopyReason::Port(port, errno) => {
                write!(f, "interface {} queue {} cannot do zero-copy ({errno})", port.interface, port.queue)
            }
        }
    }
}

/// The sockets, in the order of the request.
#[derive(Debug)]
pub struct Opened {
    /// One for each requested (interface, queue).
    pub sockets: Vec<Socket>,
    /// The mode that all of them run in.
    pub mode: Mode,
    /// Set in copy mode.
    pub copy_reason: Option<CopyReason>,
}

/// Opens and binds one socket for each of `ports` over one UMEM. Attach the XDP programs first:
/// some drivers give zero-copy queues only to an interface that has one.
///
/// # Errors
/// Names interface, queue and remedy; see [`Error`]. Nothing stays bound.
pub fn open(umem: &Umem, ports: &[PortQueue], options: &SocketOptions) -> Result<Opened, Error> {
    check_sizes(options)?;
    let copy_reason = if options.mode == ModePreference::Copy {
        CopyReason::Configured
    } else {
        match open_all(umem, ports, options, Mode::ZeroCopy) {
            Ok(sockets) => return Ok(Opened { sockets, mode: Mode::ZeroCopy, copy_reason: None }),
            Err(Refusal::Mode(PortQueue { interface, queue }, errno)) => {
                if options.mode == ModePreference::ZeroCopy {
                    return Err(Error::NoZeroCopy { interface, queue, errno });
                }
                CopyReason::Port(PortQueue { interface, queue }, errno)
            }
            Err(Refusal::Other(error)) => return Err(error),
        }
    };
    match open_all(umem, ports, options, Mode::Copy) {
        Ok(sockets) => Ok(Opened { sockets, mode: Mode::Copy, copy_reason: Some(copy_reason) }),
        Err(Refusal::Other(error)) => Err(error),
        Err(Refusal::Mode(PortQueue { interface, queue }, errno)) => {
            Err(Error::Unusable { operation: "bind in copy mode", interface, queue, errno })
        }
    }
}

/// Why an attempt to open a socket failed.
enum Refusal {
    /// This port does not support the mode.
    Mode(PortQueue, Errno),
    /// Another mode would not help.
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Other(error)
    }
}

fn open_all(
    umem: &Umem,
    ports: &[PortQueue],
    options: &SocketOptions,
    mode: Mode,
) -> Result<Vec<Socket>, Refusal> {
    let mut sockets: Vec<Socket> = Vec::with_capacity(ports.len());
    for port in ports {
        let owner = sockets.first().and_then(Socket::fd);
        let socket = open_one(umem, port, options, mode, owner)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The first socket registers the UMEM; `owner` is its descriptor for all others.
fn open_one(
    umem: &Umem,
    port: &PortQueue,
    options: &SocketOptions,
    mode: Mode,
    owner: Option<BorrowedFd<'_>>,
) -> Result<Socket, Refusal> {
    let fd = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(|errno| match errno {
            Errno::PERM | Errno::ACCESS => {
                Error::NoPermission { operation: "open AF_XDP socket", capability: "CAP_NET_RAW" }
            }
            _ => Error::NotSupported { operation: "open AF_XDP socket", errno },
        })?;
    let system = |operation| {
        move |errno| Error::System {
            operation,
            place: format!("{} queue {}", port.interface, port.queue),
            errno,
        }
    };
    let ifindex = index_of(&port.interface)?;
    if owner.is_none() {
        register(umem, &fd)?;
    }
    sockopt::set_xdp_umem_fill_ring_size(&fd, options.fill_size).map_err(system("create fill ring"))?;
    sockopt::set_xdp_umem_completion_ring_size(&fd, options.fill_size)
        .map_err(system("create completion ring"))?;
    sockopt::set_xdp_rx_ring_size(&fd, options.ring_size).map_err(system("create RX ring"))?;
    sockopt::set_xdp_tx_ring_size(&fd, options.ring_size).map_err(system("create TX ring"))?;
    tune(&fd, options);
    let rings = map_rings(&fd, options).map_err(system("map rings"))?;
    bind(&fd, port, ifindex, options, mode, owner)?;

    let id = new_id(umem)?;
    // All sockets of a UMEM take the first one's mode; read it from the kernel instead of assuming
    // the requested one.
    let mode = match sockopt::xdp_options(&fd) {
        Ok(flags) if flags.contains(rustix::net::xdp::XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY) => {
            Mode::ZeroCopy
        }
        Ok(_) => Mode::Copy,
        Err(errno) => return Err(system("read socket options")(errno).into()),
    };
    let handle = umem.handle.clone();
    let reclaim = Reclaim {
        handle: handle.clone(),
        socket: id,
        reuse_received: mode == Mode::Copy,
        reuse_transmitted: false,
    };
    let label = Label { interface: port.interface.clone(), queue: port.queue };
    Ok(Socket::new(label, mode, id, rings, handle, Backend::Kernel { fd, _reclaim: reclaim }))
}

fn index_of(interface: &str) -> Result<u32, Error> {
    // Not on the AF_XDP socket: that family answers no ioctl (`sock_no_ioctl`).
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::System {
            operation: "open socket to look up",
            place: interface.to_owned(),
            errno,
        })?;
    rustix::net::netdevice::name_to_index(&probe, interface)
        .map_err(|_| Error::NoInterface { interface: interface.to_owned() })
}

pub(crate) fn new_id(umem: &Umem) -> Result<SocketId, Error> {
    umem.handle.shared().new_socket().ok_or(Error::BadSize {
        what: "number of sockets opened on one UMEM",
        value: 1 << 15,
        must: "below 32768; make a new UMEM",
    })
}

fn register(umem: &Umem, fd: &OwnedFd) -> Result<(), Error> {
    let shared = umem.handle.shared();
    let memory = shared.memory();
    let registration = XdpUmemReg {
        addr: memory.base().as_ptr().expose_provenance() as u64,
        len: u64::from(shared.frames()) * FRAME_SIZE as u64,
        chunk_size: FRAME_SIZE as u32,
        // The kernel adds its own XDP_PACKET_HEADROOM in front.
        headroom: u32::from(shared.headroom()) - MIN_HEADROOM as u32,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(fd, registration).map_err(|errno| match errno {
        Errno::PERM => Error::NoPermission { operation: "register UMEM", capability: "CAP_IPC_LOCK" },
        Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN => Error::NoMemory {
            operation: "register UMEM",
            bytes: memory.len(),
            errno,
            remedy: "raise the limit of locked memory (LimitMEMLOCK=infinity) or use fewer frames",
        },
        _ => Error::System { operation: "register UMEM", place: "the first socket".into(), errno },
    })
}

/// Optional settings, which older kernels do not support.
fn tune(fd: &OwnedFd, options: &SocketOptions) {
    /// Packets that one `sendto` sends in copy mode; not in libc yet (include/uapi/linux/if_xdp.h).
    const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
    /// include/uapi/asm-generic/socket.h
    const SO_PREFER_BUSY_POLL: libc::c_int = 69;
    const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

    let _ = set_option(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, options.ring_size);
    if let Some(busy) = options.busy_poll {
        let _ = set_option(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, busy.microseconds);
        let _ = set_option(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, busy.budget);
    }
}

fn set_option(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: u32) -> Result<(), Errno> {
    use rustix::fd::AsRawFd;
    // SAFETY: the value is a live u32 and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

fn map_rings(fd: &OwnedFd, options: &SocketOptions) -> Result<Rings, Errno> {
    let offsets = sockopt::xdp_mmap_offsets(fd)?;
    let (fill_memory, fill) =
        map_ring::<u64>(fd.as_fd(), offsets.fr, options.fill_size, libc::XDP_UMEM_PGOFF_FILL_RING)?;
    let (completion_memory, completion) =
        map_ring::<u64>(fd.as_fd(), offsets.cr, options.fill_size, libc::XDP_UMEM_PGOFF_COMPLETION_RING)?;
    let (rx_memory, rx) = map_ring::<crate::ring::Descriptor>(
        fd.as_fd(),
        offsets.rx,
        options.ring_size,
        libc::XDP_PGOFF_RX_RING as u64,
    )?;
    let (tx_memory, tx) = map_ring::<crate::ring::Descriptor>(
        fd.as_fd(),
        offsets.tx,
        options.ring_size,
        libc::XDP_PGOFF_TX_RING as u64,
    )?;
    Ok(Rings {
        fill: Producer::new(fill_memory, fill, options.fill_size).ok_or(Errno::PROTO)?,
        completion: Consumer::new(completion_memory, completion, options.fill_size).ok_or(Errno::PROTO)?,
        rx: Consumer::new(rx_memory, rx, options.ring_size).ok_or(Errno::PROTO)?,
        tx: Producer::new(tx_memory, tx, options.ring_size).ok_or(Errno::PROTO)?,
        fill_size: options.fill_size,
    })
}

fn map_ring<T: Entry>(
    fd: BorrowedFd<'_>,
    offsets: XdpRingOffset,
    size: u32,
    page_offset: u64,
) -> Result<(Arc<Mapping>, Offsets), Errno> {
    // Kernels before 5.4 have no flags word, and no need-wakeup either.
    let flags = offsets.flags.ok_or(Errno::OPNOTSUPP)?;
    let len = offsets.desc as usize + size as usize * size_of::<T>();
    let memory = Arc::new(Mapping::ring(fd, len, page_offset)?);
    let offsets =
        Offsets { producer: offsets.producer, consumer: offsets.consumer, flags, entries: offsets.desc };
    Ok((memory, offsets))
}

fn bind(
    fd: &OwnedFd,
    port: &PortQueue,
    ifindex: u32,
    options: &SocketOptions,
    mode: Mode,
    owner: Option<BorrowedFd<'_>>,
) -> Result<(), Refusal> {
    let started = Instant::now();
    loop {
        let result = match owner {
            // A shared bind takes mode and wake-up from the owner and accepts no other flag
            // (xsk_bind, net/xdp/xsk.c).
            Some(owner) => rustix::net::bind(
                fd,
                &SocketAddrXdpWithSharedUmem {
                    addr: SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, ifindex, port.queue),
                    shared_umem_fd: owner,
                },
            ),
            None => {
                let mode = match mode {
                    Mode::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
                    Mode::Copy | Mode::Memory => SocketAddrXdpFlags::XDP_COPY,
                };
                let flags = mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
                rustix::net::bind(fd, &SocketAddrXdp::new(flags, ifindex, port.queue))
            }
        };
        let errno = match result {
            Ok(()) => return Ok(()),
            Err(errno) => errno,
        };
        let (interface, queue) = (port.interface.clone(), port.queue);
        match errno {
            Errno::BUSY if started.elapsed() < options.busy_patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Errno::BUSY => {
                let waited_ms = started.elapsed().as_millis() as u64;
                return Err(Error::QueueBusy { interface, queue, waited_ms }.into());
            }
            Errno::NODEV => return Err(Error::NoInterface { interface }.into()),
            Errno::PERM | Errno::ACCESS => {
                return Err(Error::NoPermission {
                    operation: "bind AF_XDP socket",
                    capability: "CAP_NET_ADMIN",
                }
                .into());
            }
            Errno::NOMEM | Errno::NOBUFS => {
                return Err(Error::NoMemory {
                    operation: "bind AF_XDP socket",
                    bytes: 0,
                    errno,
                    remedy: "use fewer queues or free memory",
                }
                .into());
            }
            _ if mode == Mode::ZeroCopy => return Err(Refusal::Mode(port.clone(), errno)),
            _ => return Err(Error::Unusable { operation: "bind", interface, queue, errno }.into()),
        }
    }
}

fn check_sizes(options: &SocketOptions) -> Result<(), Error> {
    let must = "a power of two between 64 and 32768";
    for (what, value) in [("ring size", options.ring_size), ("fill ring size", options.fill_size)] {
        if !value.is_power_of_two() || !(64..=32768).contains(&value) {
            return Err(Error::BadSize { what, value: value.into(), must });
        }
    }
    if options.fill_size < options.ring_size {
        return Err(Error::BadSize {
            what: "fill ring size",
            value: options.fill_size.into(),
            must: "at least the ring size",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umem::{Backing, UmemConfig};

    fn umem() -> Umem {
        Umem::new(UmemConfig { frames: 256, headroom: MIN_HEADROOM, backing: Backing::Memfd }).unwrap()
    }

    #[test]
    fn ring_sizes_that_the_kernel_refuses_are_refused_before_a_socket_is_opened() {
        let port = PortQueue { interface: "none".into(), queue: 0 };
        for (ring_size, fill_size) in [(0, 64), (100, 128), (2048, 1024), (65536, 65536)] {
            let options = SocketOptions { ring_size, fill_size, ..SocketOptions::default() };
            let error = open(&umem(), std::slice::from_ref(&port), &options).unwrap_err();
            assert!(matches!(error, Error::BadSize { .. }), "{error}");
        }
    }

    #[test]
    fn a_missing_interface_is_named() {
        let port = PortQueue { interface: "no-such-if0".into(), queue: 0 };
        match open(&umem(), &[port], &SocketOptions::default()) {
            Err(Error::NoInterface { interface }) => assert_eq!(interface, "no-such-if0"),
            // Without root the socket itself is refused, with its own message.
            Err(error @ (Error::NoPermission { .. } | Error::NotSupported { .. })) => {
                assert!(error.to_string().contains("AF_XDP socket"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}
