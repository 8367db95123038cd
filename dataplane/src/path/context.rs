//! State that the stages of a worker share while they handle packets.

use crate::count::counter::{Counter, Counts};
use crate::count::drop_reason::{DropReason, Drops};
use crate::host::kernel::KernelSnapshot;
use crate::path::handoff::Handoff;
use crate::path::icmp::IcmpErrors;
use crate::path::shared::Shared;
use crate::policy::Policy;
use crate::policy::filter::{MatchLog, Verdicts};
use af_xdp::{Frame, FramePool};
use sa_table::{EventSender, WorkerId};
use std::sync::Arc;

/// The kernel snapshot and the policy used for one burst.
#[derive(Clone, Debug)]
pub struct Views {
    /// Routes, neighbours, links.
    pub kernel: Arc<KernelSnapshot>,
    /// Ports and rules.
    pub policy: Arc<Policy>,
}

/// What every stage of one worker only reads.
pub struct Env<'a> {
    /// Tables and queues.
    pub shared: &'a Shared,
    /// Kernel snapshot and policy, for this burst.
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

/// What every stage of one worker changes.
pub struct Context {
    /// Free frames.
    pub pool: FramePool,
    /// Drop counters.
    pub drops: Drops,
    /// Other counters.
    pub counts: Counts,
    /// Hints to the control plane.
    pub events: EventSender,
    /// Rate limit of filter match reports.
    pub matches: MatchLog,
    /// Cache of filter verdicts.
    pub verdicts: Verdicts,
    /// ICMP errors to be sent.
    pub icmp: IcmpErrors,
    /// CLOCK_MONOTONIC in milliseconds, read once a burst.
    pub now_ms: u64,
}

impl Context {
    /// Counts the reason and returns the frame to the pool.
    #[inline]
    pub fn drop(&mut self, frame: Frame, reason: DropReason) {
        self.drops.count(reason);
        self.pool.put(frame);
    }
}
