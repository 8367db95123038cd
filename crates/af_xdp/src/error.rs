//! Errors of the set-up of sockets, with the place and the remedy.

use rustix::io::Errno;

/// A set-up step that failed. The packet path itself has no errors, only counters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not do this.
    #[error("{operation}: permission denied; run as root or give the process {capability}")]
    NoPermission {
        /// The step that was refused.
        operation: &'static str,
        /// The Linux capability that allows it.
        capability: &'static str,
    },
    /// The kernel was built without AF_XDP or lacks a part of it.
    #[error(
        "{operation}: this kernel has no AF_XDP ({errno}); it needs CONFIG_XDP_SOCKETS and Linux 5.10 or later"
    )]
    NotSupported {
        /// The step that failed.
        operation: &'static str,
        /// The kernel's error.
        errno: Errno,
    },
    /// There is no such interface.
    #[error("interface {interface} does not exist; create it or correct the device name")]
    NoInterface {
        /// Linux device name.
        interface: String,
    },
    /// The interface exists but has no such queue, or cannot do AF_XDP now.
    #[error(
        "interface {interface} queue {queue}: {operation} was refused ({errno}); check that the interface is up and has \
         that many queues"
    )]
    Unusable {
        /// The step that failed.
        operation: &'static str,
        /// Linux device name.
        interface: String,
        /// Queue number.
        queue: u32,
        /// The kernel's error.
        errno: Errno,
    },
    /// No memory, or the limit of locked memory is too low.
    #[error("{operation}: no memory for {bytes} bytes ({errno}); {remedy}")]
    NoMemory {
        /// The step that failed.
        operation: &'static str,
        /// The requested size in bytes.
        bytes: usize,
        /// The kernel's error.
        errno: Errno,
        /// What the operator can change.
        remedy: &'static str,
    },
    /// Another socket holds the queue and was not released in time.
    #[error(
        "interface {interface} queue {queue} is in use by another AF_XDP socket; stop the other program \
         (waited {waited_ms} ms)"
    )]
    QueueBusy {
        /// Linux device name.
        interface: String,
        /// Queue number.
        queue: u32,
        /// How long binding was retried, in milliseconds.
        waited_ms: u64,
    },
    /// Zero-copy is configured and one port does not support it.
    #[error("interface {interface} queue {queue} cannot do zero-copy ({errno}); allow copy mode")]
    NoZeroCopy {
        /// Linux device name.
        interface: String,
        /// Queue number.
        queue: u32,
        /// The kernel's error.
        errno: Errno,
    },
    /// A size that the kernel would refuse.
    #[error("{what} is {value}, but must be {must}")]
    BadSize {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The rule it breaks.
        must: &'static str,
    },
    /// Any other failure.
    #[error("{operation} on {place}: {errno}")]
    System {
        /// The step that failed.
        operation: &'static str,
        /// Interface and queue, or the object.
        place: String,
        /// The kernel's error.
        errno: Errno,
    },
}
