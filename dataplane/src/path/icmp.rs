//! ICMP errors of the data plane: rate-limited, built from the packet that caused them, and sent
//! back through classification like any other packet, so that an error toward a protected network
//! is protected.

use crate::host::kernel::{KernelSnapshot, PortId};
use crate::path::packet::{Origin, Packet};
use af_xdp::FramePool;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::{icmpv4, icmpv6};

/// Type of an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// The packet is too big and must not be fragmented; `mtu` octets would pass.
    TooBig {
        /// Largest IP packet that passes.
        mtu: usize,
    },
    /// TTL or hop limit ran out.
    TimeExceeded,
    /// No route.
    NoRoute,
    /// A route prohibits it.
    Prohibited,
}

/// Errors that wait to be sent, and their rate limit (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f).
#[derive(Debug)]
pub struct IcmpErrors {
    waiting: Vec<Packet>,
    /// Rate-limit credit, in thousandths of an error.
    credit: u64,
    credited_at_ms: u64,
}

/// Errors per second and worker.
const RATE: u64 = 200;
/// Errors that may be sent at once after an idle time.
const BURST: u64 = 50;
/// Largest number of waiting errors; the queue is emptied each round.
const WAITING: usize = 64;

impl Default for IcmpErrors {
    fn default() -> IcmpErrors {
        IcmpErrors { waiting: Vec::with_capacity(WAITING), credit: BURST * 1000, credited_at_ms: 0 }
    }
}

impl IcmpErrors {
    /// Prepares an error about `offender`, unless none may be sent about it or the rate limit is
    /// reached.
    pub fn report(
        &mut self,
        error: IcmpError,
        offender: &Packet,
        kernel: &KernelSnapshot,
        pool: &mut FramePool,
        now_ms: u64,
    ) {
        let answerable = match offender.ip.source {
            IpAddr::V4(_) => icmpv4::may_answer(&offender.ip),
            IpAddr::V6(_) => icmpv6::may_answer(&offender.ip, v6_error(error)),
        };
        if !answerable || matches!(offender.origin, Origin::Own { .. }) || self.waiting.len() >= WAITING {
            return;
        }
        let Some(source) = source_address(offender, kernel) else { return };
        if !self.spend(now_ms) {
            return;
        }
        let Some(mut frame) = pool.take() else { return };
        let start = frame.headroom();
        let built = frame.buffer_mut().get_mut(start..).map(|buffer| match source {
            IpAddr::V4(source) => {
                icmpv4::build_error(buffer, source, v4_error(error), offender.frame.bytes())
            }
            IpAddr::V6(source) => {
                icmpv6::build_error(buffer, source, v6_error(error), offender.frame.bytes())
            }
        });
        let quotes_secret = matches!(offender.origin, Origin::Tunnel(_));
        let bounded = matches!(built, Some(Ok(len)) if frame.set_bounds(start, len).is_ok());
        let packet = if bounded { Packet::from_ip(frame, Origin::Own { quotes_secret }) } else { Err(frame) };
        match packet {
            Ok(packet) => self.waiting.push(packet),
            Err(frame) => pool.put(frame),
        }
    }

    /// Takes an error to send.
    pub fn pop(&mut self) -> Option<Packet> {
        self.waiting.pop()
    }

    /// Whether errors wait.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn spend(&mut self, now_ms: u64) -> bool {
        let elapsed = now_ms.saturating_sub(self.credited_at_ms);
        self.credited_at_ms = now_ms;
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(RATE)).min(BURST * 1000);
        match self.credit.checked_sub(1000) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }
}

/// The source address of an error, one of ours of the offender's family. For a clear packet: an
/// address of the port where it arrived. For a decrypted packet: an address of a port other than
/// the tunnel's, because the error goes back into the tunnel, which protects our networks and not
/// the link between the gateways. Else any. For a packet of this host: the packet's destination,
/// because the host's stack drops packets that arrive by a device from one of its own addresses
/// (martian source).
fn source_address(offender: &Packet, kernel: &KernelSnapshot) -> Option<IpAddr> {
    let usable = |address: &IpAddr| {
        address.is_ipv4() == offender.ip.is_ipv4()
            && !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
    };
    let any = |wanted: &dyn Fn(PortId) -> bool| {
        let ports = kernel.ports().map(|(port, _)| port).filter(|port| wanted(*port));
        ports.flat_map(|port| kernel.addresses(port)).find(usable)
    };
    let preferred = match offender.origin {
        Origin::Port(port) => any(&|other| other == port),
        Origin::Tunnel(port) => any(&|other| other != port),
        Origin::Punt => Some(offender.ip.destination),
        Origin::Own { .. } => None,
    };
    preferred.or_else(|| any(&|_| true))
}

fn v4_error(error: IcmpError) -> icmpv4::Error {
    match error {
        IcmpError::TooBig { mtu } => {
            icmpv4::Error::FragmentationNeeded { mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
        }
        IcmpError::TimeExceeded => icmpv4::Error::TimeExceeded,
        IcmpError::NoRoute => icmpv4::Error::Unreachable(icmpv4::unreachable::NETWORK),
        IcmpError::Prohibited => icmpv4::Error::Unreachable(icmpv4::unreachable::ADMINISTRATIVELY_PROHIBITED),
    }
}

fn v6_error(error: IcmpError) -> icmpv6::Error {
    match error {
        // Never report less than the minimum MTU of IPv6 (RFC 8201 §4).
        IcmpError::TooBig { mtu } => icmpv6::Error::PacketTooBig { mtu: mtu.max(wire::ipv6::MIN_MTU) as u32 },
        IcmpError::TimeExceeded => icmpv6::Error::TimeExceeded,
        IcmpError::NoRoute => icmpv6::Error::Unreachable(icmpv6::unreachable::NO_ROUTE),
        IcmpError::Prohibited => icmpv6::Error::Unreachable(icmpv6::unreachable::ADMINISTRATIVELY_PROHIBITED),
    }
}

/// Whether this address is invalid as a source (RFC 1122 §3.2.1.3, RFC 4291).
#[inline]
pub(crate) fn is_bad_source(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_loopback() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_multicast() || v6 == Ipv6Addr::UNSPECIFIED || v6 == Ipv6Addr::LOCALHOST,
    }
}

/// Whether a router never forwards to this destination.
#[inline]
pub(crate) fn is_unforwardable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4 == Ipv4Addr::UNSPECIFIED
        }
        IpAddr::V6(v6) => {
            v6.is_multicast() || v6.is_unicast_link_local() || v6.is_loopback() || v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::kernel::SnapshotBuilder;
    use af_xdp::{Backing, MIN_HEADROOM, Umem, UmemConfig};

    fn offender(pool: &mut FramePool, origin: Origin) -> Packet {
        let mut frame = pool.take().unwrap();
        let header = wire::ipv4::Header::new(
            "10.0.0.9".parse().unwrap(),
            "10.9.0.9".parse().unwrap(),
            wire::protocol::UDP,
            1000,
        );
        let mut bytes = vec![0; 1020];
        header.emit(&mut bytes).unwrap();
        frame.append(&bytes).unwrap();
        Packet::from_ip(frame, origin).unwrap()
    }

    fn kernel() -> KernelSnapshot {
        let link = crate::host::kernel::PortLink {
            ifindex: 1,
            name: "eth0".into(),
            mac: [2; 6],
            mtu: 1500,
            vlan: None,
            up: true,
        };
        SnapshotBuilder::new().port(0, link).address(0, "10.0.0.1".parse().unwrap()).build()
    }

    #[test]
    fn an_error_names_the_mtu_and_marks_what_it_quotes() {
        let umem =
            Umem::new(UmemConfig { frames: 8, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        let mut pool = umem.pool(8, 8);
        let mut errors = IcmpErrors::default();
        let offender = offender(&mut pool, Origin::Tunnel(3));
        errors.report(IcmpError::TooBig { mtu: 1400 }, &offender, &kernel(), &mut pool, 0);
        let packet = errors.pop().unwrap();
        assert_eq!(packet.origin, Origin::Own { quotes_secret: true });
        assert_eq!(packet.ip.source, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(packet.ip.destination, offender.ip.source);
        let message = icmpv4::Packet::new_checked(&packet.frame.bytes()[20..]).unwrap();
        assert_eq!(message.next_hop_mtu(), Some(1400));
        assert!(message.checksum_ok());
    }

    #[test]
    fn an_error_for_this_host_does_not_come_from_an_address_of_its_own() {
        let umem =
            Umem::new(UmemConfig { frames: 8, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        let mut pool = umem.pool(8, 8);
        let mut errors = IcmpErrors::default();
        let offender = offender(&mut pool, Origin::Punt);
        errors.report(IcmpError::TooBig { mtu: 1400 }, &offender, &kernel(), &mut pool, 0);
        let packet = errors.pop().unwrap();
        assert_eq!(packet.ip.source, "10.9.0.9".parse::<IpAddr>().unwrap());
        assert_eq!(packet.ip.destination, offender.ip.source);
    }

    #[test]
    fn errors_are_limited_and_never_answer_our_own() {
        let umem =
            Umem::new(UmemConfig { frames: 256, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        let mut pool = umem.pool(8, 256);
        let mut errors = IcmpErrors::default();
        let own = offender(&mut pool, Origin::Own { quotes_secret: false });
        errors.report(IcmpError::TimeExceeded, &own, &kernel(), &mut pool, 0);
        assert!(errors.is_empty());
        let theirs = offender(&mut pool, Origin::Port(0));
        let mut sent = 0;
        for _ in 0..1000 {
            errors.report(IcmpError::TimeExceeded, &theirs, &kernel(), &mut pool, 5);
            sent += std::iter::from_fn(|| errors.pop()).count();
        }
        assert_eq!(sent, BURST as usize);
        errors.report(IcmpError::TimeExceeded, &theirs, &kernel(), &mut pool, 15);
        assert_eq!(std::iter::from_fn(|| errors.pop()).count(), 1, "two for each ten milliseconds");
    }
}
