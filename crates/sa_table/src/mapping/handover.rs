//! Passing descriptors across fork and exec: the two operations on raw descriptor numbers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// The first descriptor number that is handed over (SD_LISTEN_FDS_START).
pub(crate) const FIRST_LISTEN_FD: RawFd = 3;

/// Starts `command` with `descriptors` at the numbers 3, 4, ... in their order, inherited across
/// exec.
pub(crate) fn spawn(command: &mut Command, descriptors: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let end = FIRST_LISTEN_FD + descriptors.len() as RawFd;
    // Occupies every free number below `end` until the child runs: neither the duplicates below nor
    // the pipe by which the standard library reports a failed exec may use a number at which the
    // child places the descriptors.
    let mut placeholders = Vec::new();
    let mut sources = Vec::new();
    for descriptor in descriptors {
        loop {
            let duplicate = fcntl_dupfd_cloexec(descriptor, FIRST_LISTEN_FD)?;
            if duplicate.as_raw_fd() >= end {
                sources.push(duplicate);
                break;
            }
            placeholders.push(duplicate);
        }
    }
    let numbers: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
    let install = move || {
        for (target, source) in (FIRST_LISTEN_FD..).zip(&numbers) {
            // SAFETY: dup2 on plain numbers is async-signal-safe; targets lie below every source,
            // so none is overwritten before its turn, and no object in this child owns a target.
            if unsafe { libc::dup2(*source, target) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(install) };
    let child = command.spawn();
    drop((placeholders, sources));
    child
}

/// Takes ownership of an inherited descriptor and sets close-on-exec.
///
/// The caller must take each number only once; [`crate::take_listen_fds`] is the only one.
pub(crate) fn own_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_GETFD only asks whether the number is open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, was handed over by the parent for us to own, and is taken only
    // once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}
