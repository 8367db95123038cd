//! Reasons for the end of the process, as a message and an exit code (see the table in
//! ARCHITECTURE.md).

use std::io;

use sa_table::{AttachError, ListenFdsError, MapError};
use thiserror::Error;

use crate::host::kernel::NetlinkError;
use crate::process::instance::InstanceError;
use crate::xdp::XdpError;

/// A failure that ends the process.
#[derive(Debug, Error)]
pub enum Failure {
    /// A wrong argument.
    #[error("{0}")]
    Usage(String),
    /// No descriptors were passed by the parent.
    #[error("{0}")]
    Descriptors(#[from] ListenFdsError),
    /// A segment does not fit.
    #[error("{0}")]
    Segment(#[from] AttachError),
    /// The run directory is unusable, or another data plane runs in it.
    #[error("{0}")]
    Instance(#[from] InstanceError),
    /// Programs, maps or pins.
    #[error("{0}")]
    Programs(#[from] XdpError),
    /// Packet memory and sockets.
    #[error("{0}")]
    Sockets(#[from] af_xdp::Error),
    /// Netlink or a forwarding switch.
    #[error("{0}")]
    Netlink(#[from] NetlinkError),
    /// An interface that the configuration names.
    #[error("interface {device} ({ios_name}): {reason}")]
    Interface {
        /// Linux device name.
        device: String,
        /// Name in the configuration.
        ios_name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The punt port.
    #[error("punt port: {0}; it needs /dev/net/tun (CONFIG_TUN) and CAP_NET_ADMIN")]
    Punt(io::Error),
    /// Another data plane attached to the segments.
    #[error("another data plane attached to the segments (incarnation {0} is over); this one stops")]
    Superseded(u64),
    /// A thread ended unexpectedly: its name and the reason.
    #[error("the {0} ended: {1}")]
    Thread(String, String),
    /// Another error of the operating system.
    #[error("{operation}: {source}")]
    System {
        /// The failed operation.
        operation: String,
        /// The error of the system call.
        source: io::Error,
    },
}

impl Failure {
    /// A failed system call.
    pub fn system(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::System { operation, source }
    }

    /// The exit code of the table in ARCHITECTURE.md.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Instance(InstanceError::BadName(_)) => 2,
            Self::Descriptors(ListenFdsError::NotHandedOver) => 2,
            Self::Descriptors(_) => 10,
            Self::Segment(error) => segment_code(error),
            Self::Instance(InstanceError::Running { .. }) | Self::Superseded(_) => 9,
            Self::Instance(InstanceError::File { source, .. }) => io_code(source),
            Self::Programs(error) => programs_code(error),
            Self::Sockets(error) => sockets_code(error),
            Self::Netlink(error) => match error.errno() {
                Some(libc::EPERM | libc::EACCES) => 4,
                _ => 1,
            },
            Self::Interface { .. } => 6,
            Self::Punt(source) | Self::System { source, .. } => io_code(source),
            Self::Thread(..) => 1,
        }
    }
}

fn segment_code(error: &AttachError) -> u8 {
    match error {
        AttachError::Map { source: MapError::System { source, .. }, .. } if io_code(source) != 1 => {
            io_code(source)
        }
        _ => 10,
    }
}

fn programs_code(error: &XdpError) -> u8 {
    match error {
        XdpError::NoPermission { .. } => 4,
        XdpError::NotSupported { .. } | XdpError::ShortLived(_) | XdpError::Object(_) => 5,
        XdpError::Device { .. } => 6,
        XdpError::NoMemory { .. } => 7,
        XdpError::DeviceTaken { .. } => 8,
        XdpError::StalePin { .. } => 10,
        XdpError::TooMany { .. } => 3,
        XdpError::File { source, .. } => io_code(source),
    }
}

fn sockets_code(error: &af_xdp::Error) -> u8 {
    match error {
        af_xdp::Error::NoPermission { .. } => 4,
        af_xdp::Error::NotSupported { .. } => 5,
        af_xdp::Error::NoInterface { .. }
        | af_xdp::Error::Unusable { .. }
        | af_xdp::Error::NoZeroCopy { .. } => 6,
        af_xdp::Error::NoMemory { .. } => 7,
        af_xdp::Error::QueueBusy { .. } => 8,
        af_xdp::Error::BadSize { .. } => 2,
        af_xdp::Error::System { .. } => 1,
    }
}

fn io_code(error: &io::Error) -> u8 {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => 4,
        Some(libc::ENOMEM) => 7,
        Some(libc::EADDRINUSE) => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_code() {
        let permission = XdpError::NoPermission { operation: "load".to_owned() };
        assert_eq!(Failure::from(permission).exit_code(), 4);
        let stale = XdpError::StalePin { path: "/sys/fs/bpf/x".into(), reason: "foreign".to_owned() };
        assert!(stale.to_string().contains("tohub release"));
        assert_eq!(Failure::from(stale).exit_code(), 10);
        let missing = af_xdp::Error::NoInterface { interface: "eth9".to_owned() };
        assert_eq!(Failure::from(missing).exit_code(), 6);
        assert_eq!(Failure::from(ListenFdsError::NotHandedOver).exit_code(), 2);
        let running = InstanceError::Running { run_dir: "/run/tohub".into() };
        assert_eq!(Failure::from(running).exit_code(), 9);
        assert_eq!(Failure::Punt(io::Error::from_raw_os_error(libc::EPERM)).exit_code(), 4);
    }
}
