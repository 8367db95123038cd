//! One IKE SA: its state is small, and its work is a queue of tasks.

pub(crate) mod child;
mod dispatch;
pub(crate) mod frame;
mod timers;
pub(crate) mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{
    Action, ChildId, FailReason, IkeDownReason, IkeId, IkeInfo, LogLevel, RemoveReason, Transmit,
};
use crate::config::{ChildTag, Connection, Retransmission};
use crate::identity::Identity;
use crate::message::{Exchange, Payload};
use crate::task::auth::{AuthState, HalfOpen};
use crate::task::init::InitState;
use crate::task::{Ctx, Queued, Task};
use crate::time::Time;
use child::ChildSa;
use frame::Framer;
use window::{InFlight, Receiver, Sender};

/// An IKE SA from its first message to the last repetition of its last answer.
pub(crate) struct IkeSa {
    pub(crate) id: IkeId,
    pub(crate) connection: Arc<Connection>,
    /// We are the original initiator of this IKE SA, or of the rekeying that made it.
    pub(crate) initiator: bool,
    pub(crate) local_spi: u64,
    pub(crate) remote_spi: u64,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) nat: Nat,
    pub(crate) phase: Phase,
    /// `None` until the shared secret is there.
    pub(crate) framer: Option<Framer>,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) queue: VecDeque<Queued>,
    /// The task whose request is in flight.
    pub(crate) active: Option<Task>,
    pub(crate) children: Vec<ChildSa>,
    pub(crate) local_identity: Option<Identity>,
    pub(crate) remote_identity: Option<Identity>,
    /// When it was begun.
    pub(crate) born: Time,
    pub(crate) established_at: Option<Time>,
    /// The caller was told that it is up.
    pub(crate) reported_up: bool,
    pub(crate) rekey_at: Option<Time>,
    pub(crate) hard_at: Option<Time>,
    pub(crate) keepalive_at: Option<Time>,
    /// Made by the peer's half of crossing rekeyings; gets the children once that is decided, or is dropped then.
    pub(crate) orphan_until: Option<Time>,
    /// The lower of its two nonces; decides which of two crossing initiations stays.
    pub(crate) low_nonce: Vec<u8>,
}

/// Where NATs are (RFC 7296 §2.23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// In front of us.
    pub(crate) local: bool,
    /// In front of the peer.
    pub(crate) remote: bool,
}

impl Nat {
    pub(crate) fn any(self) -> bool {
        self.local || self.remote
    }
}

/// Where an IKE SA stands.
pub(crate) enum Phase {
    /// We sent IKE_SA_INIT.
    Init(Box<InitState>),
    /// The peer sent IKE_SA_INIT and has our answer.
    HalfOpen(Box<HalfOpen>),
    /// We sent IKE_AUTH.
    Auth(Box<AuthState>),
    Established,
    /// Its children are with its successor; one end will delete it.
    Replaced,
    /// We are telling the peer that it is over.
    Closing,
    /// Over; kept for a while to repeat the last answer.
    Closed {
        until: Time,
    },
    /// To be dropped now.
    Dead,
}

/// How long a closed IKE SA repeats its last answer.
const LINGER: std::time::Duration = std::time::Duration::from_secs(30);

impl IkeSa {
    /// An IKE SA without keys at its very beginning.
    pub(crate) fn new(
        id: IkeId,
        connection: Arc<Connection>,
        initiator: bool,
        local_spi: u64,
        (local, remote): (SocketAddr, SocketAddr),
        phase: Phase,
        now: Time,
    ) -> Self {
        IkeSa {
            id,
            connection,
            initiator,
            local_spi,
            remote_spi: 0,
            local,
            remote,
            nat: Nat::default(),
            phase,
            framer: None,
            sender: Sender::default(),
            receiver: Receiver::default(),
            queue: VecDeque::new(),
            active: None,
            children: Vec::new(),
            local_identity: None,
            remote_identity: None,
            born: now,
            established_at: None,
            reported_up: false,
            rekey_at: None,
            hard_at: None,
            keepalive_at: None,
            orphan_until: None,
            low_nonce: Vec::new(),
        }
    }

    pub(crate) fn info(&self) -> IkeInfo {
        IkeInfo {
            ike: self.id,
            connection: self.connection.id,
            initiator: self.initiator,
            local_spi: self.local_spi,
            remote_spi: self.remote_spi,
            local: self.local,
            remote: self.remote,
            local_identity: self.local_identity.clone(),
            remote_identity: self.remote_identity.clone(),
            suite: self.framer.as_ref().map(|framer| framer.suite),
            nat_local: self.nat.local,
            nat_remote: self.nat.remote,
            fragmentation: self.framer.as_ref().is_some_and(|framer| framer.fragment_size.is_some()),
            established: self.is_established(),
            since: self.established_at.unwrap_or(self.born),
            rekey_at: self.rekey_at,
            hard_limit: self.hard_at,
            children: self.children.iter().filter(|child| !child.reported).map(|child| child.id).collect(),
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// Shown to the caller in lists: not one that only lingers.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self.phase, Phase::Init(_) | Phase::HalfOpen(_) | Phase::Auth(_) | Phase::Established)
    }

    /// (SPIi, SPIr) as the header has them.
    pub(crate) fn spis(&self) -> (u64, u64) {
        if self.initiator { (self.local_spi, self.remote_spi) } else { (self.remote_spi, self.local_spi) }
    }

    pub(crate) fn log(&self, ctx: &mut Ctx<'_>, level: LogLevel, text: impl Into<String>) {
        ctx.log(level, Some(self.id), self.remote, text.into());
    }

    /// Children and rekeyings follow the configuration as it is now.
    pub(crate) fn refresh_connection(&mut self, ctx: &Ctx<'_>) {
        if let Some(connection) = ctx.connections.get(&self.connection.id) {
            self.connection = connection.clone();
        }
    }

    // Children.

    pub(crate) fn child(&self, id: ChildId) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.id == id)
    }

    pub(crate) fn child_mut(&mut self, id: ChildId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// The child of this outbound SPI: Delete and REKEY_SA of the peer name the SPI it receives on (RFC 7296 §1.4.1, §2.8).
    pub(crate) fn child_by_outbound_spi(&mut self, spi: u32) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.outbound_spi == spi)
    }

    /// Takes a child out, reports it unless that was done, and frees its SPI. A successor that waited for the peer to
    /// give up this one may carry traffic from now on.
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
        // A child whose replacement is gone is on its own again.
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
        if let Some(child) = self.child_mut(id).filter(|child| !child.outbound_ready) {
            child.outbound_ready = true;
            ctx.act(Action::OutboundReady { child: id });
        }
    }

    /// Begins to close a child: the peer will be told. `report` tells the caller at once, otherwise when the peer
    /// has answered, so that packets on the way still find it.
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

    /// Reports that a child was not made.
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

    // Tasks and messages.

    pub(crate) fn enqueue(&mut self, task: Task, not_before: Time) {
        self.queue.push_back(Queued { task, not_before });
    }

    /// Starts the next task that may start, if no request is in flight. To be called after every change.
    pub(crate) fn pump(&mut self, ctx: &mut Ctx<'_>) {
        while self.sender.in_flight.is_none() && self.active.is_none() {
            let closing = match self.phase {
                Phase::Established => false,
                Phase::Replaced | Phase::Closing => true,
                _ => return,
            };
            let ready =
                |queued: &Queued| queued.not_before <= ctx.now && (!closing || queued.task.is_last_word());
            let Some(position) = self.queue.iter().position(ready) else { return };
            let Some(Queued { mut task, .. }) = self.queue.remove(position) else { return };
            if let Some(request) = task.start(self, ctx) {
                self.active = Some(task);
                self.send_request(ctx, request.exchange, &request.payloads, request.schedule);
            }
        }
    }

    /// Seals, remembers and sends a request.
    pub(crate) fn send_request(
        &mut self,
        ctx: &mut Ctx<'_>,
        exchange: Exchange,
        payloads: &[Payload],
        schedule: RequestSchedule,
    ) {
        let id = self.sender.next_id;
        let Some(packets) = self.seal(ctx, (exchange, id, false), payloads) else { return };
        let Some(next_id) = id.checked_add(1) else { return self.down(ctx, IkeDownReason::Exhausted, false) };
        self.sender.next_id = next_id;
        self.transmit(ctx, &packets, self.remote);
        self.sender.in_flight = Some(match schedule {
            RequestSchedule::Backoff(settings) => InFlight::backoff(id, exchange, packets, ctx.now, settings),
            RequestSchedule::Probe { interval, retries } => {
                InFlight::probe(id, exchange, packets, ctx.now, interval, retries)
            }
        });
    }

    /// Seals a message; the IKE SA goes down if that is no longer possible (IVs used up), as nothing can be said any more.
    pub(crate) fn seal(
        &mut self,
        ctx: &mut Ctx<'_>,
        what: (Exchange, u32, bool),
        payloads: &[Payload],
    ) -> Option<Vec<Vec<u8>>> {
        let reserved = if self.local.port() == ctx.config.natt_port { 4 } else { 0 };
        let sealed = match &mut self.framer {
            Some(framer) => framer.seal(ctx.config.provider, ctx.random, what, payloads, reserved),
            None => return None,
        };
        match sealed {
            Ok(packets) => Some(packets),
            Err(_) => {
                self.down(ctx, IkeDownReason::Exhausted, false);
                None
            }
        }
    }

    /// Hands datagrams to the caller, with the non-ESP marker on the NAT-T port (RFC 3948 §2.2).
    pub(crate) fn transmit(&self, ctx: &mut Ctx<'_>, packets: &[Vec<u8>], to: SocketAddr) {
        for packet in packets {
            ctx.transmit(self.local, to, packet);
        }
    }

    // The end.

    /// Everything about this IKE SA is over: children, tasks and itself are reported as the caller knows them. With
    /// `linger` it stays for a while to repeat its last answer.
    pub(crate) fn down(&mut self, ctx: &mut Ctx<'_>, reason: IkeDownReason, linger: bool) {
        while let Some(child) = self.children.first() {
            let id = child.id;
            self.remove_child(ctx, id, RemoveReason::IkeDown);
        }
        self.cancel_tasks(ctx);
        match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::Init(state) => {
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

    /// The initiation came to nothing.
    pub(crate) fn fail_initiation(&mut self, ctx: &mut Ctx<'_>, reason: FailReason, protected: bool) {
        let tag = match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::Init(state) => state.tag(),
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

    /// The children and waiting tasks leave for a successor.
    pub(crate) fn hand_over(&mut self) -> (Vec<ChildSa>, VecDeque<Queued>) {
        let keep = |queued: &Queued| !matches!(queued.task, Task::RekeyIke(_) | Task::Liveness { .. });
        let queue = self.queue.drain(..).filter(keep).collect();
        (std::mem::take(&mut self.children), queue)
    }

    /// Takes over from `old` what [`IkeSa::hand_over`] gave, and says so.
    pub(crate) fn inherit(
        &mut self,
        ctx: &mut Ctx<'_>,
        old: IkeId,
        (children, queue): (Vec<ChildSa>, VecDeque<Queued>),
        was_up: bool,
    ) {
        self.orphan_until = None;
        self.children.extend(children);
        self.queue.extend(queue);
        if was_up && !std::mem::replace(&mut self.reported_up, true) {
            ctx.act(Action::IkeRekeyed { old, new: Box::new(self.info()) });
        }
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

    /// Milestone: both ends have proved themselves.
    pub(crate) fn established(&mut self, ctx: &mut Ctx<'_>) {
        self.phase = Phase::Established;
        self.established_at = Some(ctx.now);
        self.start_timers(ctx);
        self.reported_up = true;
        let peer = self.remote_identity.as_ref().map(ToString::to_string).unwrap_or_default();
        self.log(ctx, LogLevel::Info, format!("IKE SA up with {peer}"));
        ctx.act(Action::IkeUp(Box::new(self.info())));
    }
}

/// How a request is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestSchedule {
    Backoff(Retransmission),
    Probe { interval: std::time::Duration, retries: u32 },
}

/// A NAT keepalive (RFC 3948 §2.3).
pub(crate) fn nat_keepalive(from: SocketAddr, to: SocketAddr) -> Transmit {
    Transmit { from, to, bytes: vec![0xff] }
}
