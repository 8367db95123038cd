//! The descriptors passed to a process, and the objects that it attaches with them.

use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl};
use thiserror::Error;

use crate::header::{AttachError, Identity, SegmentKind, boot_id};
use crate::ids::WorkerId;
use crate::layout::{Capacities, EventsLayout};
use crate::mapping::{FIRST_LISTEN_FD, Locking, ReadOnlyMapping, WritableMapping, own_descriptor};
use crate::pulse::{PULSE_NAME, Pulse};
use crate::{Checkpoint, EventReceiver, EventSender, RuntimeReader, RuntimeWriter, TableReader, TableWriter};

/// The name of the eventfd in LISTEN_FDNAMES.
pub(crate) const WAKE_NAME: &str = "events-wake";

/// More descriptors than any service gets.
const MAX_LISTEN_FDS: usize = 64;

/// The descriptors could not be taken.
#[derive(Debug, Error)]
pub enum ListenFdsError {
    /// The environment has no LISTEN_FDS.
    #[error("LISTEN_FDS is not set; start this program by tohub supervise")]
    NotHandedOver,
    /// LISTEN_FDS was meant for another process.
    #[error(
        "LISTEN_PID is {listen_pid}, this process is {pid}; the descriptors were handed to another process"
    )]
    OtherProcess {
        /// LISTEN_PID.
        listen_pid: String,
        /// Our PID.
        pid: u32,
    },
    /// LISTEN_FDS and LISTEN_FDNAMES do not fit together.
    #[error(
        "LISTEN_FDS is {count:?} and LISTEN_FDNAMES is {names:?}; the number must be that of the names, at most 64"
    )]
    Malformed {
        /// LISTEN_FDS.
        count: String,
        /// LISTEN_FDNAMES.
        names: String,
    },
    /// A descriptor is not open.
    #[error("descriptor {number} ({name}) is not open: {source}")]
    NotOpen {
        /// Its number.
        number: i32,
        /// Its name.
        name: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// Called twice.
    #[error("the descriptors were taken already; take them once, first thing in main")]
    AlreadyTaken,
}

/// Takes the descriptors that the parent handed over, as the environment names them. Call it once,
/// first in `main`, before anything else opens or closes descriptors. They are not inherited
/// further.
///
/// # Errors
/// See [`ListenFdsError`].
pub fn take_listen_fds(locking: Locking) -> Result<Descriptors, ListenFdsError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| std::env::var(name).ok();
    let names = listen_names(
        variable("LISTEN_FDS"),
        variable("LISTEN_FDNAMES"),
        variable("LISTEN_PID"),
        std::process::id(),
    )?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(ListenFdsError::AlreadyTaken);
    }
    let take = |(number, name): (i32, String)| match own_descriptor(number) {
        Ok(descriptor) => Ok((name, descriptor)),
        Err(source) => Err(ListenFdsError::NotOpen { number, name, source }),
    };
    let named = (FIRST_LISTEN_FD..).zip(names).map(take).collect::<Result<_, _>>()?;
    Ok(Descriptors::new(named, locking))
}

fn listen_names(
    count: Option<String>,
    names: Option<String>,
    listen_pid: Option<String>,
    pid: u32,
) -> Result<Vec<String>, ListenFdsError> {
    let count = count.ok_or(ListenFdsError::NotHandedOver)?;
    if let Some(listen_pid) = listen_pid.filter(|listen_pid| *listen_pid != pid.to_string()) {
        return Err(ListenFdsError::OtherProcess { listen_pid, pid });
    }
    let names = names.unwrap_or_default();
    let list: Vec<String> = names.split(':').map(str::to_owned).collect();
    match count.parse::<usize>() {
        Ok(number) if number == list.len() && number <= MAX_LISTEN_FDS => Ok(list),
        _ => Err(ListenFdsError::Malformed { count, names }),
    }
}

/// Named descriptors. Each of the constructors checks what it attaches and leaves the descriptors
/// in place.
pub struct Descriptors {
    named: Vec<(String, OwnedFd)>,
    locking: Locking,
}

impl Descriptors {
    pub(crate) fn new(named: Vec<(String, OwnedFd)>, locking: Locking) -> Self {
        Self { named, locking }
    }

    /// Takes out a descriptor that is not one of the segments, such as a socket of the service
    /// manager.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let position = self.named.iter().position(|(given, _)| given == name)?;
        Some(self.named.swap_remove(position).1)
    }

    /// Takes out the process's end of its pulse, which the supervisor passes.
    pub fn pulse(&mut self) -> Pulse {
        Pulse::new(self.take(PULSE_NAME))
    }

    /// The control plane's writer of the table segment; older writers become stale. Needs `table`
    /// and `runtime`.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn table_writer(&self) -> Result<TableWriter, AttachError> {
        let (table, identity) = self.map_writable(SegmentKind::Table)?;
        let (runtime, runtime_identity) = self.map_read_only(SegmentKind::Runtime)?;
        same_instance(SegmentKind::Runtime, &runtime_identity, &identity)?;
        Ok(TableWriter::new(table, runtime, identity.capacities))
    }

    /// The data plane's reader of the table segment, whose descriptor must be read-only.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn table_reader(&self) -> Result<TableReader, AttachError> {
        let name = SegmentKind::Table.name();
        let flags = fcntl_getfl(self.find(name)?).map_err(|error| AttachError::Duplicate(error.into()))?;
        if flags & OFlags::RWMODE != OFlags::RDONLY {
            return Err(AttachError::NotReadOnly { name });
        }
        let (mapping, identity) = self.map_read_only(SegmentKind::Table)?;
        Ok(TableReader::new(mapping, identity.capacities))
    }

    /// The data plane's writer of the runtime segment; an older data plane becomes stale.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn runtime_writer(&self) -> Result<RuntimeWriter, AttachError> {
        let (mapping, identity) = self.map_writable(SegmentKind::Runtime)?;
        let (_, table) = self.map_read_only(SegmentKind::Table)?;
        same_instance(SegmentKind::Runtime, &identity, &table)?;
        Ok(RuntimeWriter::new(mapping, identity.capacities))
    }

    /// The control plane's reader of the runtime segment.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn runtime_reader(&self) -> Result<RuntimeReader, AttachError> {
        let (mapping, identity) = self.map_read_only(SegmentKind::Runtime)?;
        Ok(RuntimeReader::new(mapping, identity.capacities))
    }

    /// A worker's end of its event ring. One per worker.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn event_sender(&self, worker: WorkerId) -> Result<EventSender, AttachError> {
        let (mapping, capacities) = self.events()?;
        if u32::from(worker.0) >= capacities.workers {
            return Err(AttachError::Worker { worker: worker.0, workers: capacities.workers });
        }
        Ok(EventSender::new(mapping, EventsLayout::new(&capacities), worker, self.wake()?))
    }

    /// The control plane's end of all event rings. One only.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn event_receiver(&self) -> Result<EventReceiver, AttachError> {
        let (mapping, capacities) = self.events()?;
        Ok(EventReceiver::new(mapping, EventsLayout::new(&capacities), self.wake()?))
    }

    /// The control plane's checkpoint. One only.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn checkpoint(&self) -> Result<Checkpoint, AttachError> {
        let (mapping, identity) = self.map_writable(SegmentKind::Checkpoint)?;
        let (_, table) = self.map_read_only(SegmentKind::Table)?;
        same_instance(SegmentKind::Checkpoint, &identity, &table)?;
        Ok(Checkpoint::new(mapping, &identity.capacities))
    }

    fn events(&self) -> Result<(WritableMapping, Capacities), AttachError> {
        let (mapping, identity) = self.map_writable(SegmentKind::Events)?;
        Ok((mapping, identity.capacities))
    }

    fn wake(&self) -> Result<Arc<OwnedFd>, AttachError> {
        Ok(Arc::new(self.find(WAKE_NAME)?.try_clone().map_err(AttachError::Duplicate)?))
    }

    fn find(&self, name: &'static str) -> Result<&OwnedFd, AttachError> {
        let found = self.named.iter().find(|(given, _)| given == name);
        found.map(|(_, descriptor)| descriptor).ok_or(AttachError::Missing { name })
    }

    fn map_writable(&self, kind: SegmentKind) -> Result<(WritableMapping, Identity), AttachError> {
        let mapping = WritableMapping::new(self.find(kind.name())?.as_fd(), self.locking)
            .map_err(|source| AttachError::Map { segment: kind, source })?;
        let identity = Identity::read(kind, mapping.view(), boot_id()?)?;
        Ok((mapping, identity))
    }

    fn map_read_only(&self, kind: SegmentKind) -> Result<(ReadOnlyMapping, Identity), AttachError> {
        let mapping = ReadOnlyMapping::new(self.find(kind.name())?.as_fd(), self.locking)
            .map_err(|source| AttachError::Map { segment: kind, source })?;
        let identity = Identity::read(kind, mapping.view(), boot_id()?)?;
        Ok((mapping, identity))
    }
}

fn same_instance(segment: SegmentKind, given: &Identity, expected: &Identity) -> Result<(), AttachError> {
    if given.instance == expected.instance {
        return Ok(());
    }
    Err(AttachError::Instance { segment, found: given.instance, expected: expected.instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: &str, names: &str, pid: Option<&str>) -> Result<Vec<String>, ListenFdsError> {
        listen_names(Some(count.to_owned()), Some(names.to_owned()), pid.map(str::to_owned), 7)
    }

    #[test]
    fn names_belong_to_their_number_of_descriptors() {
        assert_eq!(names("2", "table:runtime", None).unwrap(), ["table", "runtime"]);
        assert_eq!(names("1", "table", Some("7")).unwrap(), ["table"]);
        assert!(matches!(names("1", "table", Some("8")), Err(ListenFdsError::OtherProcess { pid: 7, .. })));
        for (count, list) in [("1", "table:runtime"), ("x", "table"), ("-1", ""), ("65", &"a:".repeat(64))] {
            assert!(
                matches!(names(count, list, None), Err(ListenFdsError::Malformed { .. })),
                "{count} {list}"
            );
        }
        assert!(matches!(listen_names(None, None, None, 7), Err(ListenFdsError::NotHandedOver)));
    }
}
