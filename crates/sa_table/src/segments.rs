//! Creating the four segments: for the supervisor, and for tests that connect both sides.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, ftruncate, memfd_create, open,
};
use thiserror::Error;

use crate::descriptors::{Descriptors, WAKE_NAME};
use crate::header::{AttachError, Identity, SegmentKind, boot_id, new_instance_id};
use crate::ids::WorkerId;
use crate::layout::{Capacities, CapacityError, RuntimeLayout};
use crate::mapping::{Locking, MapError, WritableMapping, spawn};
use crate::runtime::send_workers_off;
use crate::{Checkpoint, EventReceiver, EventSender, RuntimeReader, RuntimeWriter, TableReader, TableWriter};

/// The process that gets descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Table, events and checkpoint for writing, runtime for reading.
    ControlPlane,
    /// Runtime and events for writing, table for reading; no checkpoint.
    DataPlane,
}

/// The segments could not be created. Exit code 7 applies to all but an illegal capacity.
#[derive(Debug, Error)]
pub enum CreateError {
    /// A capacity is out of bounds.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// A system call failed.
    #[error("{operation} failed for segment {segment}: {source}; is there enough memory?")]
    System {
        /// Name of the system call.
        operation: &'static str,
        /// The segment.
        segment: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// A segment could not be mapped or locked.
    #[error("segment {segment}: {source}")]
    Map {
        /// The segment.
        segment: SegmentKind,
        /// The error.
        source: MapError,
    },
    /// Boot id or instance id cannot be read.
    #[error(transparent)]
    Identity(#[from] AttachError),
}

/// The four segments and the eventfd, owned by the supervisor while the gateway runs.
pub struct Segments {
    table: OwnedFd,
    table_read_only: OwnedFd,
    runtime: OwnedFd,
    runtime_read_only: OwnedFd,
    events: OwnedFd,
    checkpoint: OwnedFd,
    wake: OwnedFd,
    /// Keeps the pages locked while neither process has them mapped.
    mappings: [WritableMapping; 4],
    capacities: Capacities,
    locking: Locking,
}

impl Segments {
    /// Creates new, empty segments: sealed in size, excluded from core dumps, not inherited by
    /// forks, locked in memory.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn create(capacities: Capacities, locking: Locking) -> Result<Self, CreateError> {
        capacities.check()?;
        let system = |operation, segment| {
            move |error: rustix::io::Errno| CreateError::System { operation, segment, source: error.into() }
        };
        let instance = new_instance_id().map_err(|source| CreateError::System {
            operation: "reading /proc/sys/kernel/random/uuid",
            segment: "instance",
            source,
        })?;
        let identity = Identity { instance, boot: boot_id()?, created_ms: monotonic_ms(), capacities };
        let make = |kind: SegmentKind| -> Result<(OwnedFd, WritableMapping), CreateError> {
            let descriptor = sealed_memfd(kind, &capacities)?;
            let mapping = WritableMapping::new_resident(descriptor.as_fd(), locking)
                .map_err(|source| CreateError::Map { segment: kind, source })?;
            identity.write(kind, mapping.words());
            Ok((descriptor, mapping))
        };
        let (table, table_mapping) = make(SegmentKind::Table)?;
        let (runtime, runtime_mapping) = make(SegmentKind::Runtime)?;
        // The control plane may start first, and must not wait for workers that do not exist.
        send_workers_off(runtime_mapping.words(), &RuntimeLayout::new(&capacities));
        let (events, events_mapping) = make(SegmentKind::Events)?;
        let (checkpoint, checkpoint_mapping) = make(SegmentKind::Checkpoint)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(system("eventfd", WAKE_NAME))?;
        Ok(Self {
            table_read_only: reopen_read_only(&table).map_err(system("open", "table"))?,
            runtime_read_only: reopen_read_only(&runtime).map_err(system("open", "runtime"))?,
            table,
            runtime,
            events,
            checkpoint,
            wake,
            mappings: [table_mapping, runtime_mapping, events_mapping, checkpoint_mapping],
            capacities,
            locking,
        })
    }

    /// Segments for tests and benches within one process: small, locked only if the limits allow
    /// it.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn in_memory() -> Result<Self, CreateError> {
        Self::create(Capacities::small(), Locking::BestEffort)
    }

    /// Whether every segment is locked in memory. If not, keys can reach a swap device: warn.
    pub fn is_locked(&self) -> bool {
        self.mappings.iter().all(WritableMapping::is_locked)
    }

    /// The capacities of the segments.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// Starts a process of the gateway with the descriptors of its role, in the LISTEN_FDS form,
    /// followed by the `extra` ones. Call it only after the previous process of the role was
    /// reaped.
    ///
    /// LISTEN_PID is not set, since the PID of the child is not known before the fork.
    ///
    /// # Errors
    /// The child could not be started.
    pub fn spawn(
        &self,
        role: Role,
        command: &mut Command,
        extra: &[(&str, BorrowedFd<'_>)],
    ) -> io::Result<Child> {
        let mut handed = self.handed_over(role);
        handed.extend_from_slice(extra);
        let (names, descriptors): (Vec<_>, Vec<_>) = handed.into_iter().unzip();
        command
            .env("LISTEN_FDS", descriptors.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PID");
        spawn(command, &descriptors)
    }

    /// The descriptors of a role, as a child would get them, within this process.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn descriptors(&self, role: Role) -> io::Result<Descriptors> {
        let handed = self.handed_over(role).into_iter();
        let owned = handed.map(|(name, descriptor)| Ok((name.to_owned(), descriptor.try_clone_to_owned()?)));
        Ok(Descriptors::new(owned.collect::<io::Result<_>>()?, self.locking))
    }

    fn handed_over(&self, role: Role) -> Vec<(&'static str, BorrowedFd<'_>)> {
        let (table, runtime) = match role {
            Role::ControlPlane => (&self.table, &self.runtime_read_only),
            Role::DataPlane => (&self.table_read_only, &self.runtime),
        };
        let mut handed = vec![
            (SegmentKind::Table.name(), table.as_fd()),
            (SegmentKind::Runtime.name(), runtime.as_fd()),
            (SegmentKind::Events.name(), self.events.as_fd()),
            (WAKE_NAME, self.wake.as_fd()),
        ];
        if role == Role::ControlPlane {
            handed.push((SegmentKind::Checkpoint.name(), self.checkpoint.as_fd()));
        }
        handed
    }

    /// The control plane's writer, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn table_writer(&self) -> Result<TableWriter, AttachError> {
        self.attach(Role::ControlPlane)?.table_writer()
    }

    /// The data plane's reader, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn table_reader(&self) -> Result<TableReader, AttachError> {
        self.attach(Role::DataPlane)?.table_reader()
    }

    /// The data plane's writer, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn runtime_writer(&self) -> Result<RuntimeWriter, AttachError> {
        self.attach(Role::DataPlane)?.runtime_writer()
    }

    /// The control plane's reader, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn runtime_reader(&self) -> Result<RuntimeReader, AttachError> {
        self.attach(Role::ControlPlane)?.runtime_reader()
    }

    /// A worker's end of its ring, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn event_sender(&self, worker: WorkerId) -> Result<EventSender, AttachError> {
        self.attach(Role::DataPlane)?.event_sender(worker)
    }

    /// The control plane's end of all rings, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn event_receiver(&self) -> Result<EventReceiver, AttachError> {
        self.attach(Role::ControlPlane)?.event_receiver()
    }

    /// The checkpoint, in this process.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn checkpoint(&self) -> Result<Checkpoint, AttachError> {
        self.attach(Role::ControlPlane)?.checkpoint()
    }

    fn attach(&self, role: Role) -> Result<Descriptors, AttachError> {
        self.descriptors(role).map_err(AttachError::Duplicate)
    }
}

fn sealed_memfd(kind: SegmentKind, capacities: &Capacities) -> Result<OwnedFd, CreateError> {
    let system = |operation| {
        move |error: rustix::io::Errno| CreateError::System {
            operation,
            segment: kind.name(),
            source: error.into(),
        }
    };
    let name = format!("tohub-{kind}");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not support NOEXEC_SEAL.
    let descriptor = memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| memfd_create(&name, flags))
        .map_err(system("memfd_create"))?;
    ftruncate(&descriptor, kind.bytes(capacities)).map_err(system("ftruncate"))?;
    // Not F_SEAL_FUTURE_WRITE: a restarted writer could not map the segment.
    fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(system("fcntl(F_ADD_SEALS)"))?;
    fchmod(&descriptor, Mode::RUSR | Mode::WUSR).map_err(system("fchmod"))?;
    Ok(descriptor)
}

/// A second open file description of the same memory that cannot write. A duplicate would share the
/// first one's mode.
fn reopen_read_only(descriptor: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
