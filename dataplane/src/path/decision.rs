//! The classifier's decision about a packet.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::PortId;
use sa_table::PolicyId;
use std::net::IpAddr;

/// The classifier's decision about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Encrypt with the SA of this policy.
    Protect(PolicyId),
    /// Forward in clear.
    Forward {
        /// Egress port.
        port: PortId,
        /// The neighbour to send it to.
        next_hop: IpAddr,
        /// The crypto map of another interface protects it.
        elsewhere: bool,
    },
    /// It is for this host, or the kernel has a route that does not lead through our ports.
    Punt,
    /// Drop it.
    Drop(DropReason),
}
