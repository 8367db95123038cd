//! A packet on its way through a worker, and what every stage shares while it handles one.

use crate::counter::{Counter, Counts};
use crate::drop_reason::{DropReason, Drops};
use crate::filter::{MatchLog, Verdicts};
use crate::icmp::IcmpErrors;
use crate::kernel::{KernelSnapshot, PortId};
use crate::mailbox::Handoff;
use crate::policy::Policy;
use crate::shared::Shared;
use af_xdp::{Frame, FramePool};
use sa_table::{EventSender, WorkerId};
use std::sync::Arc;
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
    /// Parses an IP packet that is not on an Ethernet link: from the punt port, or made here. The frame comes back if it is none.
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

/// The pictures of the outside world that hold for one burst.
#[derive(Clone, Debug)]
pub struct Views {
    /// Routes, neighbours, links.
    pub kernel: Arc<KernelSnapshot>,
    /// Ports and rules.
    pub policy: Arc<Policy>,
}

/// What every stage of one worker only looks at.
pub struct Env<'a> {
    /// Tables and queues.
    pub shared: &'a Shared,
    /// The outside world, for this burst.
    pub views: &'a Views,
    /// Which worker this is.
    pub worker: WorkerId,
}

impl Env<'_> {
    /// Passes a packet to the worker that owns its SA.
    pub(crate) fn hand_over(&self, owner: WorkerId, handoff: Handoff, context: &mut Context) {
        let handed = match self.shared.mailboxes.get(usize::from(owner.0)) {
            Some(mailbox) => mailbox.hand_over(handoff),
            None => Err(handoff),
        };
        match handed {
            Ok(()) => context.counts.add(Counter::HandedOver, 1),
            Err(handoff) => context.drop(handoff.into_frame(), DropReason::HandoffFull),
        }
    }
}

/// What every stage of one worker uses.
pub struct Context {
    /// Free frames.
    pub pool: FramePool,
    /// Drop counters.
    pub drops: Drops,
    /// Other counters.
    pub counts: Counts,
    /// Hints to the control plane.
    pub events: EventSender,
    /// Which matches of filters are reported.
    pub matches: MatchLog,
    /// What filters said.
    pub verdicts: Verdicts,
    /// ICMP errors that we owe.
    pub icmp: IcmpErrors,
    /// CLOCK_MONOTONIC in milliseconds, read once a burst.
    pub now_ms: u64,
}

impl Context {
    /// Ends a packet's way.
    #[inline]
    pub fn drop(&mut self, frame: Frame, reason: DropReason) {
        self.drops.count(reason);
        self.pool.put(frame);
    }
}
