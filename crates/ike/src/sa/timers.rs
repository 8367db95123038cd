//! Timers of an IKE SA.

use super::child::{earliest, limits};
use super::window::Due;
use super::{IkeSa, Phase, nat_keepalive};
use crate::action::{Action, ChildId, FailReason, IkeDownReason, LogLevel, RemoveReason};
use crate::task::create_child::CreateChild;
use crate::task::followup;
use crate::task::rekey_ike::RekeyIke;
use crate::task::{Ctx, Task};
use crate::time::Time;

impl IkeSa {
    /// When [`IkeSa::on_timeout`] has something to do next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Dead => None,
            Phase::Closed { until } => Some(*until),
            Phase::HalfOpen(half_open) => Some(half_open.expires_at),
            _ => {
                let in_flight = self.sender.in_flight.as_ref().map(|request| request.next_at);
                let waiting = match in_flight {
                    Some(_) => None,
                    None => {
                        let free = self.queue.iter().filter(|queued| !self.is_held_back(&queued.task));
                        free.map(|queued| queued.not_before).min()
                    }
                };
                let requests = earliest([in_flight, waiting]);
                match self.phase {
                    Phase::Established | Phase::Replaced => {
                        let children = earliest(self.children.iter().map(|child| child.next_deadline()));
                        let promise = self.promise.as_ref().map(|promise| promise.until);
                        let own =
                            [self.rekey_at, self.hard_at, self.keepalive_at, self.orphan_until, promise];
                        earliest([requests, children].into_iter().chain(own))
                    }
                    _ => requests,
                }
            }
        }
    }

    /// Does what is due.
    pub(crate) fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        match &self.phase {
            Phase::Closed { until } if *until <= ctx.now => self.phase = Phase::Dead,
            Phase::HalfOpen(half_open) if half_open.expires_at <= ctx.now => {
                ctx.counters.half_open_expired += 1;
                self.phase = Phase::Dead;
            }
            Phase::Closed { .. } | Phase::HalfOpen(_) | Phase::Dead => {}
            _ => {
                if self.promise.as_ref().is_some_and(|promise| promise.until <= ctx.now) {
                    followup::drop_promise(self, ctx);
                }
                self.retransmit(ctx);
                self.keep_nat_alive(ctx);
                self.end_lives(ctx);
            }
        }
    }

    /// Sets rekeying, hard limit and keepalive of an IKE SA that was just established.
    pub(crate) fn start_timers(&mut self, ctx: &mut Ctx<'_>) {
        let lifetime = self.connection.lifetime;
        (self.rekey_at, self.hard_at) = limits(ctx, lifetime.rekey, lifetime.jitter, lifetime.hard);
        self.start_keepalive(ctx);
    }

    /// NAT keepalives go out from now on, if we are behind a NAT.
    pub(crate) fn start_keepalive(&mut self, ctx: &Ctx<'_>) {
        self.keepalive_at = self.keepalive_interval(ctx).map(|interval| ctx.now + interval);
    }

    /// RFC 3948 §4: an end behind a NAT keeps its mapping alive. The current configuration applies.
    fn keepalive_interval(&self, ctx: &Ctx<'_>) -> Option<std::time::Duration> {
        let connection = ctx.connections.get(self.connection.id).unwrap_or(&self.connection);
        connection.nat_keepalive.or(ctx.config.nat_keepalive).filter(|_| self.nat.local)
    }

    /// Queues the rekeying of this IKE SA unless that is under way.
    pub(crate) fn request_rekey(&mut self, now: Time) {
        let pending = self.active.iter().chain(self.queue.iter().map(|queued| &queued.task));
        if self.is_established() && !pending.into_iter().any(|task| matches!(task, Task::RekeyIke(_))) {
            self.enqueue(Task::RekeyIke(Box::new(RekeyIke::new())), now);
        }
    }

    /// Queues the rekeying of a child unless that is under way or the child is being closed.
    pub(crate) fn request_child_rekey(&mut self, id: ChildId, now: Time) {
        let Some(child) = self.child_mut(id).filter(|child| child.is_current() && !child.rekeying) else {
            return;
        };
        child.rekeying = true;
        let task = CreateChild::rekey(child);
        self.enqueue(Task::CreateChild(Box::new(task)), now);
    }

    fn retransmit(&mut self, ctx: &mut Ctx<'_>) {
        let Some(request) = &mut self.sender.in_flight else { return };
        match request.due(ctx.now) {
            Due::Nothing => {}
            Due::Retransmit => {
                ctx.counters.retransmissions += 1;
                self.repeat(ctx);
            }
            Due::GiveUp => self.unanswered(ctx, IkeDownReason::Timeout),
            Due::PeerDead => self.unanswered(ctx, IkeDownReason::PeerDead),
        }
    }

    /// RFC 7296 §2.1, §2.4: an unanswered request ends the IKE SA.
    fn unanswered(&mut self, ctx: &mut Ctx<'_>, reason: IkeDownReason) {
        match &self.phase {
            Phase::Init(state) => {
                let reason = state.hint().unwrap_or(FailReason::Timeout);
                self.fail_initiation(ctx, reason, false);
            }
            Phase::Intermediate(state) => {
                let reason = state.hint.unwrap_or(FailReason::Timeout);
                self.fail_initiation(ctx, reason, false);
            }
            Phase::Auth(state) => {
                let reason = state.hint.unwrap_or(FailReason::Timeout);
                self.fail_initiation(ctx, reason, false);
            }
            _ => self.down(ctx, reason, false),
        }
    }

    fn keep_nat_alive(&mut self, ctx: &mut Ctx<'_>) {
        if self.keepalive_at.is_some_and(|at| at <= ctx.now) {
            let interval = self.keepalive_interval(ctx);
            self.keepalive_at = interval.map(|interval| ctx.now + interval);
            if interval.is_some() {
                ctx.transmits.push_back(nat_keepalive(self.local, self.remote));
            }
        }
    }

    fn end_lives(&mut self, ctx: &mut Ctx<'_>) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= ctx.now);
        let overdue = due(self.orphan_until) || (matches!(self.phase, Phase::Replaced) && due(self.hard_at));
        if overdue {
            // The peer did not send its Delete: for the surplus one of two simultaneously rekeyed
            // IKE SAs, or for a replaced IKE SA.
            self.renounce_succession(ctx);
            self.hard_at = None;
            return self.tell_the_end(ctx);
        }
        if !self.is_established() {
            return;
        }
        if due(self.hard_at) {
            self.log(ctx, LogLevel::Warning, "the IKE SA reached its hard limit");
            return self.close(ctx, IkeDownReason::Expired);
        }
        if due(self.rekey_at) {
            self.rekey_at = None;
            self.request_rekey(ctx.now);
        }
        let ids: Vec<ChildId> =
            self.children.iter().filter(|c| due(c.next_deadline())).map(|c| c.id).collect();
        for id in ids {
            self.end_child_life(ctx, id);
        }
    }

    fn end_child_life(&mut self, ctx: &mut Ctx<'_>, id: ChildId) {
        let (now, ike) = (ctx.now, self.id);
        let Some(child) = self.child_mut(id) else { return };
        if child.hard_at.is_some_and(|at| at <= now) {
            return self.close_child(ctx, id, RemoveReason::Expired, true);
        }
        if child.soft_at.take().is_some_and(|at| at <= now) && child.is_current() && !child.rekeying {
            let tag = child.tag;
            // The connection may have been replaced since; a policy that is gone is not rekeyed.
            match self.connection.child(tag).map(|policy| policy.lifetime.rekey_on_soft) {
                Some(true) => self.request_child_rekey(id, now),
                Some(false) => ctx.act(Action::ChildSoftLimit { ike, child: id, tag }),
                None => {}
            }
        }
    }
}
