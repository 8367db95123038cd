//! The end of an IKE SA: closed by us, gone down, or never established.

use super::{IkeSa, Phase};
use crate::action::{Action, FailReason, IkeDownReason, LogLevel, RemoveReason};
use crate::config::ChildTag;
use crate::endpoint::Effect;
use crate::task::{Ctx, Task, followup};
use crate::time::Time;

/// How long a closed IKE SA repeats its last answer.
const LINGER: std::time::Duration = std::time::Duration::from_secs(30);

impl IkeSa {
    /// Closes an established IKE SA: reported at once, while the Delete is still being sent.
    pub(crate) fn close(&mut self, ctx: &mut Ctx<'_>, reason: IkeDownReason) {
        // RFC 7296 §2.3: the request in flight stays so until it is answered or replaced; the
        // Delete takes the next ID, which a peer with a window of one accepts only after it has
        // seen the one before. So keep retransmitting that one.
        let in_flight = self.sender.in_flight.take();
        // The answer to a rekeying in flight is still needed: the SA that the peer creates has to
        // be closed as well.
        self.close_orphan(ctx);
        let rekeying = self.active.take_if(|task| matches!(task, Task::RekeyIke(_)));
        self.down(ctx, reason, false);
        self.active = rekeying;
        self.sender.in_flight = in_flight;
        (self.rekey_at, self.hard_at, self.keepalive_at) = (None, None, None);
        self.tell_the_end(ctx);
    }

    /// Enters the closing phase: a Delete follows the request in flight.
    pub(super) fn tell_the_end(&mut self, ctx: &Ctx<'_>) {
        self.phase = Phase::Closing;
        if let Some(request) = &mut self.sender.in_flight {
            request.give_up_by(ctx.now + ctx.config.delete_give_up);
        }
        self.enqueue(Task::DeleteIke, ctx.now);
    }

    /// If it might have become the successor of another IKE SA, gives that up.
    pub(super) fn renounce_succession(&mut self, ctx: &mut Ctx<'_>) {
        if self.orphan_until.take().is_some() {
            ctx.effects.push(Effect::OrphanGone(self.id));
        }
    }

    /// Ends this IKE SA: its children, tasks and itself are reported as far as the caller knows
    /// them. With `linger` it stays for a while to repeat its last answer.
    pub(crate) fn down(&mut self, ctx: &mut Ctx<'_>, reason: IkeDownReason, linger: bool) {
        while let Some(child) = self.children.first() {
            let id = child.id;
            self.remove_child(ctx, id, RemoveReason::IkeDown);
        }
        self.close_orphan(ctx);
        self.renounce_succession(ctx);
        self.cancel_tasks(ctx);
        followup::drop_promise(self, ctx);
        match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::Init(state) => {
                self.report_failed_initiation(ctx, state.tag(), FailReason::Cancelled, true)
            }
            Phase::Intermediate(state) => {
                self.report_failed_initiation(ctx, state.tag(), FailReason::Cancelled, true)
            }
            Phase::Auth(state) => {
                state.release(ctx);
                self.report_failed_initiation(ctx, state.tag(), FailReason::Cancelled, true);
            }
            _ => {}
        }
        if std::mem::take(&mut self.reported_up) {
            self.log(ctx, LogLevel::Info, format!("IKE SA down: {reason:?}"));
            ctx.act(Action::IkeDown { ike: self.id, connection: self.connection.id, reason });
        }
        if linger {
            self.linger(ctx.now);
        }
    }

    /// Closes the IKE SA that the peer created in a simultaneous rekey: it has nothing to succeed
    /// any more.
    fn close_orphan(&self, ctx: &mut Ctx<'_>) {
        if let Some(Task::RekeyIke(task)) = &self.active
            && let Some(successor) = task.peer_rekey.as_ref().and_then(|peer| peer.ike)
        {
            ctx.effects.push(Effect::CloseOrphan(successor));
        }
    }

    /// Ends an initiation as failed.
    pub(crate) fn fail_initiation(&mut self, ctx: &mut Ctx<'_>, reason: FailReason, protected: bool) {
        let tag = match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::Init(state) => state.tag(),
            Phase::Intermediate(state) => state.tag(),
            Phase::Auth(state) => {
                state.release(ctx);
                state.tag()
            }
            other => {
                self.phase = other;
                return;
            }
        };
        self.sender.in_flight = None;
        self.queue.clear();
        self.report_failed_initiation(ctx, tag, reason, protected);
    }

    fn report_failed_initiation(
        &self,
        ctx: &mut Ctx<'_>,
        tag: Option<ChildTag>,
        reason: FailReason,
        protected: bool,
    ) {
        self.log(ctx, LogLevel::Warning, format!("initiation failed: {reason}"));
        let connection = self.connection.id;
        ctx.act(Action::InitiationFailed { ike: self.id, connection, tag, reason, protected });
    }

    /// Stays for a while to repeat the last answer.
    pub(crate) fn linger(&mut self, now: Time) {
        self.sender.in_flight = None;
        self.phase = Phase::Closed { until: now + LINGER };
    }

    fn cancel_tasks(&mut self, ctx: &mut Ctx<'_>) {
        let active = self.active.take();
        let queued = std::mem::take(&mut self.queue);
        for task in active.into_iter().chain(queued.into_iter().map(|queued| queued.task)) {
            if let Some((tag, rekeying)) = task.cancel(ctx).filter(|_| self.reported_up) {
                self.child_failed(ctx, tag, rekeying, FailReason::Cancelled);
            }
        }
        self.sender.in_flight = None;
    }
}
