//! The last stage: next hop → hardware address → Ethernet header → transmit list of the egress
//! port.
//!
//! A packet whose next hop has no hardware address yet waits, bounded, while the kernel mirror is
//! asked to resolve it.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::{KernelView, PortId, PortLink};
use crate::path::context::{Context, Views};
use crate::path::fragment::{self, CannotFragment};
use crate::path::hop::{egress_mtu, take_hop, too_big};
use crate::path::packet::Packet;
use crate::path::wait::{Admission, WaitQueues};
use af_xdp::Frame;
use std::net::IpAddr;
use std::sync::Arc;
use wire::{MacAddress, ethernet};

/// Largest number of packets that wait for neighbours, in total and for one neighbour.
const UNRESOLVED: u32 = 256;
const UNRESOLVED_PER_NEIGHBOUR: u32 = 32;
/// How long a packet waits for a neighbour, in milliseconds: the kernel gives up after three probes
/// of one second.
const UNRESOLVED_MS: u64 = 3000;
/// Largest number of fragments of one frame at the minimum MTU.
const FRAGMENTS: usize = 128;

/// The transmit lists of one worker's ports.
#[derive(Debug)]
pub struct Forwarder {
    kernel: Arc<KernelView>,
    out: Vec<PortOut>,
    unresolved: WaitQueues<(PortId, IpAddr), Frame>,
    neighbours: Vec<(PortId, IpAddr)>,
    fragments: Vec<Frame>,
}

/// Frames ready to be sent by one port, Ethernet header included.
#[derive(Debug)]
pub struct PortOut {
    /// The port.
    pub port: PortId,
    /// The frames, in order.
    pub frames: Vec<Frame>,
}

/// Largest number of frames in a transmit list; more are dropped.
const TX_BACKLOG: usize = 1024;

impl Forwarder {
    /// Lists for these ports.
    pub fn new(kernel: Arc<KernelView>, ports: &[PortId]) -> Forwarder {
        let list = |port: &PortId| PortOut { port: *port, frames: Vec::with_capacity(TX_BACKLOG) };
        Forwarder {
            kernel,
            out: ports.iter().map(list).collect(),
            unresolved: WaitQueues::new(UNRESOLVED, UNRESOLVED_PER_NEIGHBOUR),
            neighbours: Vec::with_capacity(UNRESOLVED as usize),
            fragments: Vec::with_capacity(FRAGMENTS),
        }
    }

    /// The transmit lists, in the order of the ports given to [`new`](Self::new).
    pub fn outputs(&mut self) -> &mut [PortOut] {
        &mut self.out
    }

    /// Forwards a clear packet: decrements the TTL, checks the MTU, sends it.
    pub fn forward(
        &mut self,
        mut packet: Packet,
        port: PortId,
        next_hop: IpAddr,
        views: &Views,
        context: &mut Context,
    ) {
        if !take_hop(&mut packet, views, context) {
            context.drop(packet.frame, DropReason::TtlExpired);
            return;
        }
        let mtu = egress_mtu(port, views);
        if packet.frame.len() <= mtu {
            self.send(packet.frame, port, next_hop, views, context);
        } else {
            self.send_in_pieces(packet, mtu, port, next_hop, views, context);
        }
    }

    /// Sends an IP packet that is longer than the MTU as fragments, or reports an ICMP error to its
    /// sender.
    pub fn send_in_pieces(
        &mut self,
        packet: Packet,
        mtu: usize,
        port: PortId,
        next_hop: IpAddr,
        views: &Views,
        context: &mut Context,
    ) {
        let mut fragments = std::mem::take(&mut self.fragments);
        match fragment::split(&packet.frame, &packet.ip, mtu, &mut context.pool, &mut fragments) {
            Ok(()) => {
                context.pool.put(packet.frame);
                for frame in fragments.drain(..) {
                    self.send(frame, port, next_hop, views, context);
                }
            }
            Err(CannotFragment::NoFrame) => context.drop(packet.frame, DropReason::NoFrame),
            Err(CannotFragment::NotAllowed) => too_big(packet, mtu, views, context),
        }
        self.fragments = fragments;
    }

    /// Sends an IP packet that fits the port's MTU to a neighbour.
    #[inline]
    pub fn send(
        &mut self,
        frame: Frame,
        port: PortId,
        next_hop: IpAddr,
        views: &Views,
        context: &mut Context,
    ) {
        let Some(link) = views.kernel.port(port).filter(|link| link.up) else {
            context.drop(frame, DropReason::EgressDown);
            return;
        };
        match views.kernel.neighbour(port, next_hop) {
            Some(mac) => self.transmit(frame, port, link, mac, context),
            None => self.wait(frame, port, next_hop, context),
        }
    }

    /// Retries packets that wait for a neighbour, and drops those that waited too long.
    pub fn retry_unresolved(&mut self, views: &Views, context: &mut Context) {
        if self.unresolved.is_empty() {
            return;
        }
        let mut neighbours = std::mem::take(&mut self.neighbours);
        neighbours.extend(self.unresolved.keys());
        for (port, next_hop) in neighbours.drain(..) {
            let resolved = views.kernel.port(port).zip(views.kernel.neighbour(port, next_hop));
            let Some((link, mac)) = resolved else {
                self.kernel.resolve(port, next_hop);
                continue;
            };
            while let Some(frame) = self.unresolved.pop((port, next_hop)) {
                self.transmit(frame, port, link, mac, context);
            }
        }
        self.neighbours = neighbours;
        let deadline = context.now_ms.saturating_sub(UNRESOLVED_MS);
        while let Some(frame) = self.unresolved.pop_older(deadline) {
            context.drop(frame, DropReason::NeighbourExpired);
        }
    }

    /// Packets that wait for a neighbour.
    pub fn waiting(&self) -> usize {
        self.unresolved.len()
    }

    /// Returns every frame to the pool when the worker ends.
    pub fn clear(&mut self, context: &mut Context) {
        while let Some(frame) = self.unresolved.pop_older(u64::MAX) {
            context.pool.put(frame);
        }
        for out in &mut self.out {
            out.frames.drain(..).for_each(|frame| context.pool.put(frame));
        }
    }

    fn wait(&mut self, frame: Frame, port: PortId, next_hop: IpAddr, context: &mut Context) {
        self.kernel.resolve(port, next_hop);
        match self.unresolved.push((port, next_hop), frame, context.now_ms) {
            Admission::Waiting => {}
            Admission::Replaced(frame) | Admission::Refused(frame) => {
                context.drop(frame, DropReason::NeighbourOverflow);
            }
        }
    }

    #[inline]
    fn transmit(
        &mut self,
        mut frame: Frame,
        port: PortId,
        link: &PortLink,
        mac: [u8; 6],
        context: &mut Context,
    ) {
        let Some(out) = self.out.iter_mut().find(|out| out.port == port) else {
            context.drop(frame, DropReason::EgressDown);
            return;
        };
        if out.frames.len() >= TX_BACKLOG {
            context.drop(frame, DropReason::TxFull);
            return;
        }
        if write_link_header(&mut frame, link, mac) {
            out.frames.push(frame);
        } else {
            context.drop(frame, DropReason::NoRoom);
        }
    }
}

/// Puts the Ethernet header, with the port's VLAN tag if it has one, in front of an IP packet.
#[inline]
fn write_link_header(frame: &mut Frame, link: &PortLink, destination: [u8; 6]) -> bool {
    let ethertype = match frame.bytes().first().map(|byte| byte >> 4) {
        Some(4) => ethernet::ETHERTYPE_IPV4,
        Some(6) => ethernet::ETHERTYPE_IPV6,
        _ => return false,
    };
    let header = ethernet::Header {
        destination: MacAddress(destination),
        source: MacAddress(link.mac),
        tags: [link.vlan.map(ethernet::Tag::vlan), None],
        ethertype,
    };
    frame.grow_front(header.len()).is_ok() && header.emit(frame.bytes_mut()).is_ok()
}

#[cfg(test)]
mod tests;
