//! What happens to a packet.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::PortId;
use sa_table::PolicyId;
use std::net::IpAddr;

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The SA of this policy carries it.
    Protect(PolicyId),
    /// It leaves in clear.
    Forward {
        /// Egress port.
        port: PortId,
        /// The neighbour to send it to.
        next_hop: IpAddr,
        /// The crypto map of another interface protects it.
        elsewhere: bool,
    },
    /// It is for this host, or the kernel knows a way that does not lead through our ports.
    Punt,
    /// It ends here.
    Drop(DropReason),
}
