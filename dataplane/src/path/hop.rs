//! Checks of a forwarding hop: the MTU of the egress port, and the TTL.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::PortId;
use crate::path::context::{Context, Views};
use crate::path::icmp::IcmpError;
use crate::path::packet::Packet;
use wire::{ipv4, ipv6};

/// Largest IP packet that a port takes, in octets; 0 for a port that does not exist.
pub fn egress_mtu(port: PortId, views: &Views) -> usize {
    let device = views.kernel.port(port).map_or(0, |link| usize::from(link.mtu));
    match views.policy.port(port).map(|port| port.mtu as usize) {
        Some(configured) if configured != 0 => device.min(configured),
        _ => device,
    }
}

/// Decrements the TTL of a packet for which this gateway is a hop. `false` if it expired; an ICMP
/// error was then reported to the sender.
#[inline]
pub fn take_hop(packet: &mut Packet, views: &Views, context: &mut Context) -> bool {
    if !packet.origin.is_forwarded() {
        return true;
    }
    let taken = if packet.ip.is_ipv4() {
        ipv4::Packet::new_checked(packet.frame.bytes_mut()).is_ok_and(|mut view| view.decrement_ttl())
    } else {
        ipv6::Packet::new_checked(packet.frame.bytes_mut()).is_ok_and(|mut view| view.decrement_hop_limit())
    };
    if taken {
        packet.ip.ttl = packet.ip.ttl.saturating_sub(1);
    } else {
        let Context { pool, icmp, now_ms, .. } = context;
        icmp.report(IcmpError::TimeExceeded, packet, &views.kernel, pool, *now_ms);
    }
    taken
}

/// Drops a packet that does not fit and may not be fragmented, and reports the usable size to its
/// sender.
pub fn too_big(packet: Packet, mtu: usize, views: &Views, context: &mut Context) {
    let Context { pool, icmp, now_ms, .. } = context;
    icmp.report(IcmpError::TooBig { mtu }, &packet, &views.kernel, pool, *now_ms);
    context.drop(packet.frame, DropReason::TooBig);
}
