//! The state of a Child SA that the IKE SA keeps.

use crate::action::{ChildId, RemoveReason};
use crate::config::ChildTag;
use crate::random::draw_below;
use crate::selector::TrafficSelector;
use crate::suite::EspSuite;
use crate::task::Ctx;
use crate::time::Time;

/// A Child SA. Its keys are not kept here: the caller got them with the install action.
#[derive(Debug)]
pub(crate) struct ChildSa {
    pub(crate) id: ChildId,
    pub(crate) tag: ChildTag,
    pub(crate) inbound_spi: u32,
    pub(crate) outbound_spi: u32,
    pub(crate) suite: EspSuite,
    pub(crate) local_selectors: Vec<TrafficSelector>,
    pub(crate) remote_selectors: Vec<TrafficSelector>,
    /// Our request to replace it is queued or in flight.
    pub(crate) rekeying: bool,
    /// The peer made this one in its place and will delete it.
    pub(crate) replaced_by: Option<ChildId>,
    /// Our Delete is queued or in flight.
    pub(crate) deleting: bool,
    /// Its removal was already reported to the caller; only the Delete to the peer is outstanding.
    pub(crate) reported: bool,
    /// The caller was allowed to use the outbound half.
    pub(crate) outbound_ready: bool,
    /// The reason of its removal, if already decided.
    pub(crate) fate: Option<RemoveReason>,
    pub(crate) soft_at: Option<Time>,
    pub(crate) hard_at: Option<Time>,
}

impl ChildSa {
    /// May still be used and rekeyed: neither end is closing or replacing it.
    pub(crate) fn is_current(&self) -> bool {
        !self.deleting && self.replaced_by.is_none() && self.fate.is_none()
    }

    /// The caller deleted it and wants no successor.
    pub(crate) fn is_closed_by_caller(&self) -> bool {
        self.reported && self.fate == Some(RemoveReason::Local)
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        if self.deleting { None } else { earliest([self.soft_at, self.hard_at]) }
    }
}

/// (soft, hard) deadlines counted from now, jitter subtracted from the soft one.
pub(crate) fn limits(
    ctx: &mut Ctx<'_>,
    soft: Option<std::time::Duration>,
    jitter: std::time::Duration,
    hard: Option<std::time::Duration>,
) -> (Option<Time>, Option<Time>) {
    let soft = soft.map(|soft| {
        let bound = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let taken = std::time::Duration::from_millis(draw_below(ctx.random, bound));
        ctx.now + soft.saturating_sub(taken)
    });
    (soft, hard.map(|hard| ctx.now + hard))
}

/// The earliest of several deadlines.
pub(crate) fn earliest(deadlines: impl IntoIterator<Item = Option<Time>>) -> Option<Time> {
    deadlines.into_iter().flatten().min()
}
