//! Removes everything that an instance leaves on the machine: `tohub release`.

use std::fs;
use std::path::Path;

use thiserror::Error;

use crate::host::kernel::{Forwarding, Netlink, NetlinkError, ReversePath};
use crate::process::instance::{Instance, InstanceError};
use crate::xdp::{self, XdpError};

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Name of the instance.
    pub instance: String,
    /// Programs that were detached.
    pub links: usize,
    /// Maps and other pins that were removed.
    pub maps: usize,
}

/// Something could not be removed.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// A data plane is running, or the run directory is not accessible.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// A pin could not be removed.
    #[error(transparent)]
    Pins(#[from] XdpError),
    /// A rule, a route or a sysctl could not be restored.
    #[error(transparent)]
    Kernel(#[from] NetlinkError),
}

impl ReleaseError {
    /// The exit code of the map in ARCHITECTURE.md.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Instance(InstanceError::Running { .. }) => 9,
            Self::Instance(InstanceError::BadName(_)) => 2,
            Self::Pins(XdpError::NoPermission { .. }) => 4,
            Self::Kernel(error) if error.errno() == Some(libc::EPERM) => 4,
            _ => 1,
        }
    }
}

/// Detaches the programs, frees the maps, removes the policy routing and restores the kernel's
/// sysctls, for the instance of `run_dir` and the calling thread's network namespace. Afterwards
/// the kernel forwards in clear by its routes. Refused while a data plane runs. Call it from no
/// asynchronous context.
///
/// # Errors
/// See [`ReleaseError`]; what was removed before stays removed, and a second call continues.
pub fn release(run_dir: &Path, name: Option<&str>) -> Result<Released, ReleaseError> {
    let instance = Instance::of(run_dir, name)?;
    let lock = instance.lock()?;
    let netlink = Netlink::open()?;
    let pins = xdp::release(instance.name())?;
    instance.local_traffic().release(&netlink)?;
    Forwarding::new(run_dir).restore()?;
    ReversePath::new(run_dir).restore()?;
    for file in ["dataplane.sock", "pins", "dataplane.lock"] {
        // A missing file needs no removal.
        let _ = fs::remove_file(run_dir.join(file));
    }
    drop(lock);
    Ok(Released { instance: instance.name().to_owned(), links: pins.links, maps: pins.maps })
}
