//! Errors of programs, maps and pins; each message has the place and the remedy.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use thiserror::Error;

/// An error of the kernel programs.
#[derive(Debug, Error)]
pub enum XdpError {
    /// The kernel refused the program or a map for lack of a capability.
    #[error(
        "{operation}: not permitted; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN (bpffs)"
    )]
    NoPermission {
        /// The operation.
        operation: String,
    },
    /// The kernel lacks something.
    #[error(
        "{operation}: {reason}; needs Linux 6.6 or later with BPF_SYSCALL, BPF_JIT, XDP_SOCKETS and NET_XGRESS"
    )]
    NotSupported {
        /// The operation.
        operation: String,
        /// The kernel's error.
        reason: String,
    },
    /// No room in the kernel.
    #[error("{operation}: no memory")]
    NoMemory {
        /// The operation.
        operation: String,
    },
    /// The pins cannot be used.
    #[error("pin {}: {reason}; stop the data plane and run `tohub release` to remove it", path.display())]
    StalePin {
        /// The file in bpffs.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another XDP program, not of tohub, is on the device.
    #[error(
        "interface {device}: another XDP program is attached ({reason}); detach it with `ip link set dev {device} xdp off`"
    )]
    DeviceTaken {
        /// Device name.
        device: String,
        /// The kernel's error.
        reason: String,
    },
    /// The device disappeared.
    #[error("interface {device} does not exist or cannot carry the program: {reason}")]
    Device {
        /// Device name.
        device: String,
        /// The kernel's error.
        reason: String,
    },
    /// Pins would vanish with this process, and the guard with them.
    #[error(
        "{}: what this process could mount there ends with it, and the guard too, as under `ip netns exec`; run `mount -t bpf bpf {}` on \
         the machine itself, or start by `nsenter --net=/run/netns/NAME`",
        .0.display(), .0.display()
    )]
    ShortLived(PathBuf),
    /// A file of bpffs cannot be made, read or removed.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// More prefixes, rules or ports than the maps hold.
    #[error("the policy has {count} {what}, the kernel maps hold {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// The object in this binary lacks something: a build error.
    #[error("the eBPF object has no {0}")]
    Object(&'static str),
}

impl XdpError {
    /// Classifies a failed system call by what an operator can do about it.
    pub(super) fn from_io(operation: impl Into<String>, error: &io::Error) -> Self {
        let operation = operation.into();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NoPermission { operation },
            Some(libc::ENOMEM) => Self::NoMemory { operation },
            _ => Self::NotSupported { operation, reason: error.to_string() },
        }
    }

    pub(super) fn from_map(name: &str, error: &MapError) -> Self {
        Self::from_source(format!("map {name}"), error)
    }

    pub(super) fn from_program(operation: impl Into<String>, error: &ProgramError) -> Self {
        // The verifier fails with EACCES too; the end of its log distinguishes the two cases.
        if let ProgramError::LoadError { verifier_log, .. } = error
            && let Some(words) = last_lines(&verifier_log.to_string())
        {
            return Self::NotSupported {
                operation: operation.into(),
                reason: format!("the verifier said: {words}"),
            };
        }
        Self::from_source(operation, error)
    }

    pub(super) fn from_ebpf(error: &EbpfError) -> Self {
        Self::from_source("load the eBPF object", error)
    }

    pub(super) fn from_pin(path: PathBuf, error: PinError) -> Self {
        match error {
            PinError::SyscallError(error) => Self::File { operation: "pin", path, source: error.io_error },
            other => Self::StalePin { path, reason: other.to_string() },
        }
    }

    fn from_source(operation: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let operation = operation.into();
        match io_cause(error) {
            Some(io) if is_resource(io) => Self::from_io(operation, io),
            _ => Self::NotSupported { operation, reason: chain(error) },
        }
    }
}

/// The system call's own error at the bottom of a chain of causes.
pub(super) fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = current.source();
    }
    None
}

/// The error number at the bottom of a chain of causes.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    io_cause(error)?.raw_os_error()
}

/// The end of a verifier log, on one line.
fn last_lines(log: &str) -> Option<String> {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..)?;
    (!tail.is_empty()).then(|| tail.join(" | "))
}

const LOG_LINES: usize = 6;

fn is_resource(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOMEM))
}

pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let current_text = current.to_string();
        if !text.contains(&current_text) {
            text.push_str(": ");
            text.push_str(&current_text);
        }
        cause = current.source();
    }
    text
}
