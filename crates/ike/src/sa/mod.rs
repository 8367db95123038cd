//! One IKE SA: its state and its queue of tasks.

pub(crate) mod child;
mod children;
mod dispatch;
mod ending;
pub(crate) mod frame;
mod timers;
pub(crate) mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{Action, IkeDownReason, IkeId, IkeInfo, LogLevel, ProofMethod, Transmit};
use crate::config::{Connection, Retransmission};
use crate::identity::Identity;
use crate::message::{Exchange, Payload};
use crate::task::auth::{AuthState, HalfOpen};
use crate::task::followup::{self, Promise, Promised};
use crate::task::init::InitState;
use crate::task::intermediate::IntermediateState;
use crate::task::proof::Proved;
use crate::task::redirect::Redirects;
use crate::task::{Ctx, Queued, Task};
use crate::time::Time;
use child::ChildSa;
use frame::Framer;
use window::{InFlight, Receiver, Sender};

/// An IKE SA from its first message until it stops repeating its last answer.
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
    /// The peer, as the original initiator, may announce new addresses (RFC 4555).
    pub(crate) mobike: bool,
    pub(crate) redirects: Redirects,
    /// The IKE SA to close when this one is up: the peer redirected us (RFC 5685).
    pub(crate) supersedes: Option<IkeId>,
    pub(crate) phase: Phase,
    /// `None` until the shared secret is there.
    pub(crate) framer: Option<Framer>,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) queue: VecDeque<Queued>,
    /// The task whose request is in flight.
    pub(crate) active: Option<Task>,
    pub(crate) children: Vec<ChildSa>,
    /// What the peer may still complete by IKE_FOLLOWUP_KE.
    pub(crate) promise: Option<Box<Promise>>,
    pub(crate) local_identity: Option<Identity>,
    /// How the ends authenticated themselves.
    pub(crate) local_method: Option<ProofMethod>,
    pub(crate) remote_method: Option<ProofMethod>,
    pub(crate) remote_identity: Option<Identity>,
    /// When it was begun.
    pub(crate) born: Time,
    pub(crate) established_at: Option<Time>,
    /// It was reported up to the caller.
    pub(crate) reported_up: bool,
    pub(crate) rekey_at: Option<Time>,
    pub(crate) hard_at: Option<Time>,
    pub(crate) keepalive_at: Option<Time>,
    /// Set on an SA from the peer's side of a simultaneous rekey (§2.8.1): it inherits the
    /// children if it wins, or is dropped at this time.
    pub(crate) orphan_until: Option<Time>,
    /// The lower of its two nonces; decides which of two simultaneous initiations stays.
    pub(crate) low_nonce: Vec<u8>,
    /// The initiation that it descends from, if it was created by rekeying.
    pub(crate) origin: Option<Box<Origin>>,
}

/// What two simultaneous initiations are compared by. Kept across rekeying: one of the two may be
/// rekeyed before the other is established.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) initiator: bool,
    pub(crate) low_nonce: Vec<u8>,
    pub(crate) established_at: Option<Time>,
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

/// The phase of an IKE SA.
pub(crate) enum Phase {
    /// We sent IKE_SA_INIT.
    Init(Box<InitState>),
    /// The peer sent IKE_SA_INIT and has our answer.
    HalfOpen(Box<HalfOpen>),
    /// We sent IKE_INTERMEDIATE.
    Intermediate(Box<IntermediateState>),
    /// We sent IKE_AUTH.
    Auth(Box<AuthState>),
    Established,
    /// Its children have moved to its successor; one end will delete it.
    Replaced,
    /// Our Delete is outstanding.
    Closing,
    /// Closed; kept for a while to repeat the last answer.
    Closed {
        until: Time,
    },
    /// To be dropped now.
    Dead,
}

impl IkeSa {
    /// A new IKE SA, without keys yet.
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
            mobike: false,
            redirects: Redirects::default(),
            supersedes: None,
            phase,
            framer: None,
            sender: Sender::default(),
            receiver: Receiver::default(),
            queue: VecDeque::new(),
            active: None,
            children: Vec::new(),
            promise: None,
            local_identity: None,
            local_method: None,
            remote_method: None,
            remote_identity: None,
            born: now,
            established_at: None,
            reported_up: false,
            rekey_at: None,
            hard_at: None,
            keepalive_at: None,
            orphan_until: None,
            low_nonce: Vec::new(),
            origin: None,
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
            local_method: self.local_method,
            remote_method: self.remote_method,
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

    /// The initiation that this IKE SA descends from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin.as_deref().cloned().unwrap_or_else(|| Origin {
            initiator: self.initiator,
            low_nonce: self.low_nonce.clone(),
            established_at: self.established_at,
        })
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// Shown to the caller in lists: false once it only repeats its last answer.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(
            self.phase,
            Phase::Init(_)
                | Phase::HalfOpen(_)
                | Phase::Intermediate(_)
                | Phase::Auth(_)
                | Phase::Established
        )
    }

    /// (SPIi, SPIr) as the header has them.
    pub(crate) fn spis(&self) -> (u64, u64) {
        if self.initiator { (self.local_spi, self.remote_spi) } else { (self.remote_spi, self.local_spi) }
    }

    pub(crate) fn log(&self, ctx: &mut Ctx<'_>, level: LogLevel, text: impl Into<String>) {
        ctx.log(level, Some(self.id), self.remote, text.into());
    }

    /// Takes the current configuration, which applies to new children and rekeyings.
    pub(crate) fn refresh_connection(&mut self, ctx: &Ctx<'_>) {
        if let Some(connection) = ctx.connections.get(self.connection.id) {
            self.connection = connection.clone();
        }
    }

    pub(crate) fn enqueue(&mut self, task: Task, not_before: Time) {
        self.queue.push_back(Queued { task, not_before });
    }

    /// Starts the next task that may start, if no request is in flight. To be called after every
    /// change.
    pub(crate) fn pump(&mut self, ctx: &mut Ctx<'_>) {
        while self.sender.in_flight.is_none() && self.active.is_none() {
            let closing = match self.phase {
                Phase::Established => false,
                Phase::Replaced | Phase::Closing => true,
                _ => return,
            };
            let ready = |queued: &Queued| {
                queued.not_before <= ctx.now
                    && (!closing || queued.task.is_last_word())
                    && !self.is_held_back(&queued.task)
            };
            let Some(position) = self.queue.iter().position(ready) else { return };
            let Some(Queued { mut task, .. }) = self.queue.remove(position) else { return };
            if let Some(request) = task.start(self, ctx) {
                self.active = Some(task);
                self.send_request(ctx, request.exchange, &request.payloads, request.schedule);
            }
        }
    }

    /// The task has to wait for what the peer is completing by IKE_FOLLOWUP_KE: a new IKE SA, or
    /// the replacement of the same child.
    pub(crate) fn is_held_back(&self, task: &Task) -> bool {
        if task.is_under_way() {
            return false;
        }
        match self.promise.as_ref().map(|promise| &promise.what) {
            Some(Promised::Ike(_)) => !task.is_last_word(),
            Some(Promised::Child(child)) => child.replaces().is_some() && task.rekeys() == child.replaces(),
            None => false,
        }
    }

    /// Encrypts, stores and sends a request.
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

    /// Seals a message; the IKE SA goes down if that is no longer possible (IVs used up), as no
    /// further message can be protected.
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

    /// Removes the children and waiting tasks for a successor.
    pub(crate) fn hand_over(&mut self, ctx: &mut Ctx<'_>) -> (Vec<ChildSa>, VecDeque<Queued>) {
        followup::drop_promise(self, ctx);
        let keep = |queued: &Queued| !matches!(queued.task, Task::RekeyIke(_) | Task::Liveness { .. });
        let queue = self.queue.drain(..).filter(keep).collect();
        (std::mem::take(&mut self.children), queue)
    }

    /// Takes over from `old` what [`IkeSa::hand_over`] returned, and reports it.
    pub(crate) fn inherit(
        &mut self,
        ctx: &mut Ctx<'_>,
        old: IkeId,
        (children, queue): (Vec<ChildSa>, VecDeque<Queued>),
        was_up: bool,
    ) {
        if self.orphan_until.take().is_some() {
            let hard_limit = self.hard_at;
            self.start_timers(ctx);
            self.hard_at = hard_limit;
        }
        self.children.extend(children);
        self.queue.extend(queue);
        if was_up && !std::mem::replace(&mut self.reported_up, true) {
            ctx.act(Action::IkeRekeyed { old, new: Box::new(self.info()) });
        }
    }

    /// Marks the IKE SA as established; [`Proved`] is the evidence that the peer is authenticated.
    pub(crate) fn established(&mut self, ctx: &mut Ctx<'_>, proved: Proved) {
        self.remote_method = Some(proved.method);
        self.phase = Phase::Established;
        if let Some(framer) = &mut self.framer {
            framer.previous = None;
        }
        self.established_at = Some(ctx.now);
        self.start_timers(ctx);
        self.reported_up = true;
        let peer = self.remote_identity.as_ref().map(ToString::to_string).unwrap_or_default();
        self.log(ctx, LogLevel::Info, format!("IKE SA up with {peer}"));
        ctx.act(Action::IkeUp(Box::new(self.info())));
    }
}

/// The retransmission schedule of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestSchedule {
    Backoff(Retransmission),
    Probe { interval: std::time::Duration, retries: u32 },
}

/// A NAT keepalive (RFC 3948 §2.3).
pub(crate) fn nat_keepalive(from: SocketAddr, to: SocketAddr) -> Transmit {
    Transmit { from, to, bytes: vec![0xff] }
}
