//! Descriptors: seals, access modes, and passing to a child process.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fstat, ftruncate, memfd_create};

use super::*;
use crate::mapping::WritableMapping;

fn take(segments: &Segments, role: Role, name: &str) -> OwnedFd {
    segments.descriptors(role).unwrap().take(name).unwrap()
}

fn descriptors(named: Vec<(&str, OwnedFd)>) -> Descriptors {
    let named = named.into_iter().map(|(name, descriptor)| (name.to_owned(), descriptor)).collect();
    Descriptors::new(named, Locking::BestEffort)
}

#[test]
fn segments_have_a_fixed_size_and_a_private_mode() {
    let segments = Segments::in_memory().unwrap();
    for name in ["table", "runtime", "events", "checkpoint"] {
        let descriptor = take(&segments, Role::ControlPlane, name);
        let stat = fstat(&descriptor).unwrap();
        assert_eq!(stat.st_mode & 0o777, 0o600, "{name}");
        for size in [0, stat.st_size as u64 + 4096] {
            assert!(ftruncate(&descriptor, size).is_err(), "{name} cannot change its size");
        }
    }
}

#[test]
fn each_role_gets_what_it_may_use() {
    let segments = Segments::in_memory().unwrap();
    let is_read_only =
        |role, name| fcntl_getfl(take(&segments, role, name)).unwrap() & OFlags::RWMODE == OFlags::RDONLY;
    assert!(is_read_only(Role::DataPlane, "table") && !is_read_only(Role::ControlPlane, "table"));
    assert!(is_read_only(Role::ControlPlane, "runtime") && !is_read_only(Role::DataPlane, "runtime"));
    assert!(segments.descriptors(Role::DataPlane).unwrap().take("checkpoint").is_none());
    let read_only = take(&segments, Role::DataPlane, "table");
    assert!(WritableMapping::new(read_only.as_fd(), Locking::BestEffort).is_err());
    let writable = descriptors(vec![("table", take(&segments, Role::ControlPlane, "table"))]);
    assert!(matches!(writable.table_reader(), Err(AttachError::NotReadOnly { name: "table" })));
}

#[test]
fn foreign_memory_is_refused() {
    let segments = Segments::in_memory().unwrap();
    let unsealed = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&unsealed, 4096).unwrap();
    let with_runtime =
        |runtime| descriptors(vec![("runtime", runtime)]).runtime_reader().map(drop).unwrap_err();
    assert!(matches!(with_runtime(unsealed), AttachError::Map { source: MapError::NotSealed, .. }));
    let table = take(&segments, Role::DataPlane, "table");
    assert!(matches!(with_runtime(table), AttachError::Magic { segment: SegmentKind::Runtime, .. }));
    assert!(matches!(descriptors(vec![]).event_receiver(), Err(AttachError::Missing { name: "events" })));
}

#[test]
fn segments_of_two_sets_are_not_mixed() {
    let (one, other) = (Segments::in_memory().unwrap(), Segments::in_memory().unwrap());
    let mixed = descriptors(vec![
        ("table", take(&one, Role::ControlPlane, "table")),
        ("runtime", take(&other, Role::ControlPlane, "runtime")),
    ]);
    assert!(matches!(mixed.table_writer(), Err(AttachError::Instance { segment: SegmentKind::Runtime, .. })));
}

#[test]
fn locking_is_either_done_or_told() {
    match Segments::create(Capacities::small(), Locking::Required) {
        Ok(segments) => assert!(segments.is_locked() && segments.table_reader().unwrap().is_locked()),
        Err(error) => assert!(
            matches!(&error, CreateError::Map { source: MapError::Locked { .. }, .. })
                && error.to_string().contains("RLIMIT_MEMLOCK")
        ),
    }
}

const CHILD: &str = "SA_TABLE_TEST_CHILD";

/// Run as the child of the next test; does nothing otherwise.
#[test]
fn child_of_the_handover_test() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut descriptors = take_listen_fds(Locking::BestEffort).unwrap();
    assert!(matches!(take_listen_fds(Locking::BestEffort), Err(ListenFdsError::AlreadyTaken)));
    assert!(descriptors.take("extra").is_some() && descriptors.take("checkpoint").is_none());
    let reader = descriptors.table_reader().unwrap();
    let slot = reader.lookup_spi(300).unwrap();
    assert_eq!(reader.inbound(slot), Some(inbound(300, PolicyId(0))));
    descriptors.runtime_writer().unwrap().heartbeat(WORKER, 4711);
    descriptors.event_sender(WORKER).unwrap().send(&Event::PeerEndpoint { slot });
}

#[test]
fn a_child_attaches_to_what_it_was_handed() {
    let segments = Segments::in_memory().unwrap();
    let mut receiver = segments.event_receiver().unwrap();
    let slot = segments.table_writer().unwrap().install_inbound(&inbound(300, PolicyId(0))).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tests::handover::child_of_the_handover_test", "--nocapture"]).env(CHILD, "1");
    let extra = memfd_create("extra", MemfdFlags::CLOEXEC).unwrap();
    assert_eq!(receiver.arm(), None);
    let mut child = segments.spawn(Role::DataPlane, &mut command, &[("extra", extra.as_fd())]).unwrap();
    assert!(child.wait().unwrap().success());
    let reader = segments.runtime_reader().unwrap();
    assert_eq!((reader.incarnation(), reader.worker(WORKER).unwrap().heartbeat_ms), (1, 4711));
    assert_eq!(receiver.receive(), Some((WORKER, Event::PeerEndpoint { slot })));
}

#[test]
fn a_child_that_cannot_be_started_is_reported() {
    let segments = Segments::in_memory().unwrap();
    let error = segments.spawn(Role::DataPlane, &mut Command::new("/nonexistent/program"), &[]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
