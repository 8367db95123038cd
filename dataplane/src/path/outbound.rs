//! Outbound: packets that a permit protects are encrypted (RFC 4301 §5.1).
//!
//! A burst is sorted by SA, so that route, MTU, lifetime and sequence numbers are handled once per
//! group; all groups are encrypted together.

use crate::count::counter::Counter;
use crate::count::drop_reason::DropReason;
use crate::host::kernel::{PortId, Route};
use crate::path::context::{Context, Env};
use crate::path::filter;
use crate::path::forward::Forwarder;
use crate::path::fragment::{self, CannotFragment};
use crate::path::handoff::{Handoff, OutboundItem};
use crate::path::hop::{egress_mtu, take_hop, too_big};
use crate::path::packet::{Origin, Packet};
use crate::policy::flow::{Flow, Ports};
use crate::sa::{Absent, OutboundState, SaCache};
use af_xdp::Frame;
use arrayvec::ArrayVec;
use esp::{BURST, Mode, SealError, SealJob, Sealed, SequenceNumber};
use sa_table::{SaErrorKind, SlotWord, WorkerId};
use std::net::IpAddr;

/// The outbound stage of one worker.
#[derive(Debug)]
pub struct Outbound {
    states: SaCache<OutboundState>,
    queue: Vec<OutboundItem>,
    ready: Vec<Ready>,
    pieces: Vec<Frame>,
}

/// A packet ready to be encrypted.
#[derive(Debug)]
struct Ready {
    word: SlotWord,
    frame: Frame,
    sequence: Option<SequenceNumber>,
    path: Path,
    outcome: Result<Sealed, SealError>,
}

/// The route of a group's outer packets.
#[derive(Clone, Copy, Debug)]
struct Path {
    port: PortId,
    next_hop: IpAddr,
    /// Largest outer packet, in octets.
    mtu: usize,
}

/// State common to all packets of one SA in a burst.
#[derive(Clone, Copy, Debug)]
enum Group {
    Open { path: Path, max_inner: usize },
    Foreign(WorkerId),
    Closed(DropReason),
}

/// Holds the fragments of one packet at the minimum MTU, or those of a burst of packets with a few
/// fragments each.
const PIECES: usize = 128;

impl Outbound {
    /// A stage for an arena of `slots` outbound SAs.
    pub fn new(slots: u32) -> Outbound {
        Outbound {
            states: SaCache::new(slots),
            queue: Vec::with_capacity(2 * BURST),
            ready: Vec::with_capacity(8 * BURST),
            pieces: Vec::with_capacity(PIECES),
        }
    }

    /// Queues a packet for the SA of a slot word. Returns whether the stage is full and must be
    /// flushed.
    #[inline]
    pub fn push(&mut self, word: SlotWord, packet: Packet) -> bool {
        let order = self.queue.len() as u32;
        self.queue.push(OutboundItem { word, packet, order });
        self.queue.len() >= BURST
    }

    /// Queues a packet that another worker handed over.
    pub fn push_handoff(&mut self, item: OutboundItem) -> bool {
        self.push(item.word, item.packet)
    }

    /// Drops the state of retired SAs.
    pub fn forget_retired(&mut self, env: &Env<'_>) {
        self.states.retain(|word| env.shared.table.is_live_outbound(word));
    }

    /// Drops all state and releases the claims when the worker ends.
    pub fn give_up(&mut self) {
        self.states.retain(|_| false);
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Encrypts and sends all queued packets.
    pub fn flush(&mut self, env: &Env<'_>, forwarder: &mut Forwarder, context: &mut Context) {
        let mut queue = std::mem::take(&mut self.queue);
        if !queue.is_sorted_by_key(|item| item.word) {
            queue.sort_unstable_by_key(|item| (item.word, item.order));
        }
        let mut current: Option<(SlotWord, Group)> = None;
        let mut numbered = 0;
        for item in queue.drain(..) {
            let group = match current {
                Some((word, group)) if word == item.word => group,
                _ => {
                    self.number(numbered, context);
                    numbered = self.ready.len();
                    self.open_group(item.word, env, context)
                }
            };
            current = Some((item.word, group));
            match group {
                Group::Open { path, max_inner } => self.admit(item, path, max_inner, env, context),
                Group::Foreign(worker) => env.hand_over(worker, Handoff::Outbound(item), context),
                Group::Closed(reason) => context.drop(item.packet.frame, reason),
            }
        }
        self.number(numbered, context);
        self.queue = queue;
        self.seal(env);
        self.finish(env, forwarder, context);
    }

    /// Prepares a group: ownership, lifetime and route of its SA.
    fn open_group(&mut self, word: SlotWord, env: &Env<'_>, context: &mut Context) -> Group {
        let make = || OutboundState::claim(word, env.worker, env.shared);
        let state = match self.states.find(word, make) {
            Ok(state) => state,
            Err(Absent::Foreign(worker)) => return Group::Foreign(worker),
            Err(Absent::Stale) => return Group::Closed(DropReason::StaleSa),
            Err(Absent::Unusable) => return Group::Closed(DropReason::UnusableSa),
        };
        state.follow_peer(word, env.shared);
        if !state.check_lifetime(context.now_ms, &mut context.events) {
            state.failed(SaErrorKind::Lifetime);
            return Group::Closed(DropReason::LifetimeExceeded);
        }
        let (port, next_hop) = match env.views.kernel.lookup_route(state.destination()) {
            Route::Via { port, next_hop } => (port, next_hop),
            Route::OnLink { port } => (port, state.destination()),
            Route::Unreachable => return Group::Closed(DropReason::Unreachable),
            Route::Local | Route::ToKernel | Route::None => return Group::Closed(DropReason::NoRoute),
        };
        let egress = egress_mtu(port, env.views);
        let mtu = state.path_mtu().map_or(egress, |path| path.min(egress));
        Group::Open { path: Path { port, next_hop, mtu }, max_inner: state.sa().max_inner_len(mtu) }
    }

    /// Checks one packet against its SA and prepares it, fragmented if necessary.
    fn admit(
        &mut self,
        item: OutboundItem,
        path: Path,
        max_inner: usize,
        env: &Env<'_>,
        context: &mut Context,
    ) {
        let OutboundItem { word, mut packet, .. } = item;
        let Some(state) = self.states.owned(word) else {
            context.drop(packet.frame, DropReason::StaleSa);
            return;
        };
        let flow = Flow::of(&packet.ip);
        if !state.carries(&flow) {
            state.failed(SaErrorKind::Selectors);
            context.drop(packet.frame, DropReason::OutboundSelector);
            return;
        }
        if !take_hop(&mut packet, env.views, context) {
            context.drop(packet.frame, DropReason::TtlExpired);
            return;
        }
        let ready = |frame| Ready { word, frame, sequence: None, path, outcome: Err(SealError::BadInner) };
        let fits = packet.frame.len() <= max_inner;
        // Fragment first only if the SA's selectors accept fragments, which show no ports. In
        // transport mode the outer packet is fragmented (RFC 4303 §3.3.4).
        let by_pieces = !packet.ip.dont_fragment
            && state.sa().mode() == Mode::Tunnel
            && state.carries(&Flow { ports: Ports::Hidden, ..flow });
        if fits || (!by_pieces && state.may_fragment_outer(packet.ip.dont_fragment)) {
            self.ready.push(ready(packet.frame));
            return;
        }
        if !by_pieces {
            state.failed(SaErrorKind::TooBig);
            too_big(packet, max_inner, env.views, context);
            return;
        }
        let split =
            fragment::split(&packet.frame, &packet.ip, max_inner, &mut context.pool, &mut self.pieces);
        match split {
            Ok(()) => {
                context.counts.add(Counter::PreFragmented, 1);
                context.pool.put(packet.frame);
                self.ready.extend(self.pieces.drain(..).map(ready));
            }
            Err(CannotFragment::NoFrame) => context.drop(packet.frame, DropReason::NoFrame),
            Err(CannotFragment::NotAllowed) => {
                state.failed(SaErrorKind::TooBig);
                too_big(packet, max_inner, env.views, context);
            }
        }
    }

    /// Draws sequence numbers for the packets of one SA, from index `start` to the end.
    fn number(&mut self, start: usize, context: &mut Context) {
        let Some(group) = self.ready.get_mut(start..) else { return };
        let Some(word) = group.first().map(|ready| ready.word) else { return };
        let Some(state) = self.states.owned_mut(word) else { return };
        if let Ok(range) = state.draw(group.len() as u32, &mut context.events) {
            for (ready, number) in group.iter_mut().zip(range) {
                ready.sequence = Some(number);
            }
            return;
        }
        // Fewer are left than the group needs: the first packets get them.
        for ready in group {
            let Ok(mut range) = state.draw(1, &mut context.events) else { break };
            ready.sequence = range.next();
        }
    }

    fn seal(&mut self, env: &Env<'_>) {
        for burst in self.ready.chunks_mut(BURST) {
            let mut jobs = ArrayVec::<SealJob<'_>, BURST>::new();
            let mut outcomes = ArrayVec::<&mut Result<Sealed, SealError>, BURST>::new();
            for ready in burst {
                // Packets without a number are counted as exhausted below.
                let Some(sequence) = ready.sequence.take() else {
                    ready.outcome = Err(SealError::SequenceExhausted);
                    continue;
                };
                let Some(state) = self.states.owned(ready.word) else { continue };
                let (offset, len) = (ready.frame.headroom(), ready.frame.len());
                jobs.push(SealJob::new(state.sa(), sequence, ready.frame.buffer_mut(), offset, len));
                outcomes.push(&mut ready.outcome);
            }
            esp::seal(env.shared.backend, &mut jobs);
            for (job, outcome) in jobs.iter().zip(outcomes) {
                *outcome = job.outcome();
            }
        }
    }

    fn finish(&mut self, env: &Env<'_>, forwarder: &mut Forwarder, context: &mut Context) {
        for Ready { word, mut frame, path, outcome, .. } in self.ready.drain(..) {
            let Some(state) = self.states.owned(word) else {
                context.drop(frame, DropReason::StaleSa);
                continue;
            };
            let inner_len = frame.len() as u64;
            let placed = outcome.and_then(|sealed| {
                frame.set_bounds(sealed.offset, sealed.len).map_err(|_| SealError::NoTailroom)
            });
            if let Err(error) = placed {
                let (reason, kind) = seal_failure(error);
                state.failed(kind);
                context.drop(frame, reason);
                continue;
            }
            state.sent(1, inner_len, context.now_ms);
            context.counts.add(Counter::Sealed, 1);
            let Some(frame) = filter::let_out_sealed(frame, path.port, env, context) else { continue };
            if frame.len() <= path.mtu {
                forwarder.send(frame, path.port, path.next_hop, env.views, context);
                continue;
            }
            match Packet::from_ip(frame, Origin::Own { quotes_secret: false }) {
                Ok(packet) => {
                    forwarder.send_in_pieces(packet, path.mtu, path.port, path.next_hop, env.views, context);
                }
                Err(frame) => context.drop(frame, DropReason::SealFailed),
            }
        }
    }
}

fn seal_failure(error: SealError) -> (DropReason, SaErrorKind) {
    match error {
        SealError::BadInner | SealError::Fragment => (DropReason::BadInner, SaErrorKind::Malformed),
        SealError::NoHeadroom | SealError::NoTailroom => (DropReason::NoRoom, SaErrorKind::Other),
        SealError::TooLong => (DropReason::TooBig, SaErrorKind::TooBig),
        SealError::SequenceExhausted => (DropReason::SequenceExhausted, SaErrorKind::SequenceExhausted),
        SealError::Cipher => (DropReason::SealFailed, SaErrorKind::Other),
    }
}
