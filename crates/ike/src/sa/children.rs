//! The children of an IKE SA: lookup, closing, removal, and the actions that report this to the
//! caller.

use super::IkeSa;
use super::child::ChildSa;
use crate::action::{Action, ChildId, FailReason, LogLevel, RemoveReason};
use crate::config::ChildTag;
use crate::task::{Ctx, Task};

impl IkeSa {
    pub(crate) fn child(&self, id: ChildId) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.id == id)
    }

    pub(crate) fn child_mut(&mut self, id: ChildId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// The child of this outbound SPI: Delete and REKEY_SA of the peer name the SPI it receives on
    /// (RFC 7296 §1.4.1, §2.8).
    pub(crate) fn child_by_outbound_spi(&mut self, spi: u32) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.outbound_spi == spi)
    }

    /// Removes a child, reports it unless already reported, and frees its SPI. A successor that
    /// waited for the peer to give up this one may carry traffic from now on.
    pub(crate) fn remove_child(&mut self, ctx: &mut Ctx<'_>, id: ChildId, reason: RemoveReason) {
        let Some(position) = self.children.iter().position(|child| child.id == id) else { return };
        let child = self.children.remove(position);
        if let Some(successor) = child.replaced_by {
            self.outbound_ready(ctx, successor);
        }
        if !child.reported {
            self.report_removal(ctx, &child, child.fate.unwrap_or(reason));
        }
        ctx.spis.release(child.inbound_spi);
        self.queue.retain(|queued| queued.task.rekeys() != Some(id));
        // A child whose replacement is gone is current again.
        for other in self.children.iter_mut().filter(|other| other.replaced_by == Some(id)) {
            other.replaced_by = None;
        }
    }

    pub(crate) fn report_removal(&self, ctx: &mut Ctx<'_>, child: &ChildSa, reason: RemoveReason) {
        ctx.act(Action::RemoveChild {
            ike: self.id,
            child: child.id,
            tag: child.tag,
            inbound_spi: child.inbound_spi,
            outbound_spi: child.outbound_spi,
            reason,
        });
    }

    pub(crate) fn outbound_ready(&mut self, ctx: &mut Ctx<'_>, id: ChildId) {
        // Once its removal is reported the caller has no more interest in it, although the Delete
        // is still outstanding.
        if let Some(child) = self.child_mut(id).filter(|child| !child.outbound_ready && !child.reported) {
            child.outbound_ready = true;
            ctx.act(Action::OutboundReady { child: id });
        }
    }

    /// Begins to close a child with a Delete to the peer. With `report` the removal is reported at
    /// once, otherwise after the peer's answer, so that inbound packets on the way are still
    /// decrypted.
    pub(crate) fn close_child(&mut self, ctx: &mut Ctx<'_>, id: ChildId, reason: RemoveReason, report: bool) {
        let Some(position) = self.children.iter().position(|child| child.id == id && !child.deleting) else {
            return;
        };
        let Some(child) = self.children.get_mut(position) else { return };
        child.deleting = true;
        child.fate.get_or_insert(reason);
        if report && !std::mem::replace(&mut child.reported, true) {
            let fate = child.fate.unwrap_or(reason);
            if let Some(child) = self.children.get(position) {
                self.report_removal(ctx, child, fate);
            }
        }
        self.queue.retain(|queued| queued.task.rekeys() != Some(id));
        self.enqueue(Task::DeleteChild { children: vec![id] }, ctx.now);
    }

    /// Reports that a child was not created.
    pub(crate) fn child_failed(
        &self,
        ctx: &mut Ctx<'_>,
        tag: ChildTag,
        rekeying: Option<ChildId>,
        reason: FailReason,
    ) {
        let what = if rekeying.is_some() { "rekeying" } else { "creating" };
        self.log(ctx, LogLevel::Warning, format!("{what} the child SA failed: {reason}"));
        ctx.act(Action::ChildFailed { ike: self.id, tag, rekeying, reason });
    }
}
