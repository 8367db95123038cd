//! A packet in the pipeline of a worker.

use crate::host::kernel::PortId;
use af_xdp::Frame;
use wire::IpSummary;

/// Origin of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In clear, from this port.
    Port(PortId),
    /// From this host's own stack.
    Punt,
    /// Decrypted and authenticated, from this port.
    Tunnel(PortId),
    /// Made by the data plane itself: an ICMP error.
    Own {
        /// It quotes a decrypted packet.
        quotes_secret: bool,
    },
}

impl Origin {
    /// Whether this gateway is a hop of the packet, so that its TTL is decremented.
    pub fn is_forwarded(self) -> bool {
        matches!(self, Origin::Port(_) | Origin::Tunnel(_))
    }
}

/// An IP packet. The frame holds exactly the packet: no link header before and no padding after it.
#[derive(Debug)]
pub struct Packet {
    /// The bytes.
    pub frame: Frame,
    /// Result of the parser.
    pub ip: IpSummary,
    /// Origin.
    pub origin: Origin,
}

impl Packet {
    /// Parses an IP packet without link header: from the punt port, or built here. Returns the
    /// frame if it is not an IP packet.
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
