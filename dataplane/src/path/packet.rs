//! A packet on its way through a worker.

use crate::host::kernel::PortId;
use af_xdp::Frame;
use wire::IpSummary;

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In clear, from this port.
    Port(PortId),
    /// From this host's own stack.
    Punt,
    /// Out of a tunnel, authenticated, from this port.
    Tunnel(PortId),
    /// Made by the data plane itself: an ICMP error.
    Own {
        /// It quotes a packet that came out of a tunnel.
        quotes_secret: bool,
    },
}

impl Origin {
    /// Whether this gateway is a hop on the packet's way and takes its share of the TTL.
    pub fn is_forwarded(self) -> bool {
        matches!(self, Origin::Port(_) | Origin::Tunnel(_))
    }
}

/// An IP packet. The frame holds exactly the packet: no link header in front, no padding behind.
#[derive(Debug)]
pub struct Packet {
    /// The bytes.
    pub frame: Frame,
    /// What the one parse found.
    pub ip: IpSummary,
    /// Where it came from.
    pub origin: Origin,
}

impl Packet {
    /// Parses an IP packet that is not on an Ethernet link: from the punt port, or made here. The
    /// frame comes back if it is none.
    pub fn from_ip(mut frame: Frame, origin: Origin) -> Result<Packet, Frame> {
        match wire::parse::ip_at(frame.bytes(), 0) {
            Ok(ip) => {
                frame.truncate(ip.total_len as usize);
                Ok(Packet { frame, ip, origin })
            }
            Err(_) => Err(frame),
        }
    }
}
