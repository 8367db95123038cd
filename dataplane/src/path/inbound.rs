//! Inbound: ESP packets are decrypted (RFC 4301 §5.2).
//!
//! SPI and destination → slot → replay pre-check → decryption → replay commit (all three in
//! `esp::open`) → selectors → filter. The inner packet is classified again like a packet from a
//! port.

use crate::count::counter::Counter;
use crate::count::drop_reason::DropReason;
use crate::host::kernel::PortId;
use crate::path::context::{Context, Env};
use crate::path::filter::admit_decrypted;
use crate::path::handoff::{Handoff, InboundItem};
use crate::path::packet::{Origin, Packet};
use crate::policy::flow::Flow;
use crate::sa::{Absent, InboundState, SaCache};
use arrayvec::ArrayVec;
use esp::{BURST, OpenError, OpenJob, Opened};
use sa_table::{Event, SaErrorKind};
use std::ops::Range;
use wire::ipv4;

/// The inbound stage of one worker.
#[derive(Debug)]
pub struct Inbound {
    states: SaCache<InboundState>,
    queue: Vec<Pending>,
    /// When an unknown SPI was last reported, CLOCK_MONOTONIC milliseconds.
    unknown_reported_ms: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    item: InboundItem,
    outcome: Result<Opened, OpenError>,
}

/// Unknown SPIs are reported at most this often, in milliseconds: they can be sent without
/// authentication.
const UNKNOWN_REPORT_MS: u64 = 100;

impl Inbound {
    /// A stage for an arena of `slots` inbound SAs.
    pub fn new(slots: u32) -> Inbound {
        Inbound {
            states: SaCache::new(slots),
            queue: Vec::with_capacity(2 * BURST),
            unknown_reported_ms: None,
        }
    }

    /// Looks up the SA of an ESP packet and queues it. Returns whether the stage is full and must
    /// be flushed.
    #[inline]
    pub fn push(
        &mut self,
        packet: Packet,
        esp: Range<usize>,
        spi: u32,
        peer_port: u16,
        env: &Env<'_>,
        context: &mut Context,
    ) -> bool {
        for word in env.shared.table.lookup_spi_all(spi) {
            match self.states.find(word, || InboundState::claim(word, env.worker, env.shared)) {
                Ok(state) if state.local() != packet.ip.destination => {}
                Ok(_) => {
                    return self.enqueue(InboundItem { word, packet, esp, peer_port }, context);
                }
                Err(Absent::Foreign(worker)) => {
                    let item = InboundItem { word, packet, esp, peer_port };
                    env.hand_over(worker, Handoff::Inbound(item), context);
                    return false;
                }
                Err(Absent::Unusable) => {
                    context.drop(packet.frame, DropReason::UnusableSa);
                    return false;
                }
                Err(Absent::Stale) => {}
            }
        }
        self.report_unknown(spi, &packet, context);
        context.drop(packet.frame, DropReason::UnknownSpi);
        false
    }

    /// Queues a packet that another worker handed over, if its SA is still there and ours.
    pub fn push_handoff(&mut self, item: InboundItem, env: &Env<'_>, context: &mut Context) -> bool {
        let word = item.word;
        match self.states.find(word, || InboundState::claim(word, env.worker, env.shared)) {
            Ok(state) if state.local() == item.packet.ip.destination => self.enqueue(item, context),
            Ok(_) => {
                context.drop(item.packet.frame, DropReason::UnknownSpi);
                false
            }
            Err(_) => {
                context.drop(item.packet.frame, DropReason::StaleSa);
                false
            }
        }
    }

    /// Drops the state of retired SAs.
    pub fn forget_retired(&mut self, env: &Env<'_>) {
        self.states.retain(|word| env.shared.table.is_live_inbound(word));
    }

    /// Drops all state and releases the claims when the worker ends.
    pub fn give_up(&mut self) {
        self.states.retain(|_| false);
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Decrypts all queued packets and appends the inner packets to `opened`.
    pub fn flush(&mut self, env: &Env<'_>, context: &mut Context, opened: &mut Vec<Packet>) {
        for burst in self.queue.chunks_mut(BURST) {
            let mut jobs = ArrayVec::<_, BURST>::new();
            let mut outcomes = ArrayVec::<&mut Result<Opened, OpenError>, BURST>::new();
            for pending in burst {
                let InboundItem { word, packet, esp, .. } = &mut pending.item;
                let Some(state) = self.states.owned(*word) else { continue };
                let header = packet.frame.headroom();
                let offset = header + esp.start;
                let ecn = packet.ip.ecn();
                let buffer = packet.frame.buffer_mut();
                let job = OpenJob::new(state.sa(), state.replay(), buffer, offset, esp.len(), ecn);
                jobs.push(job.behind_header_at(header));
                outcomes.push(&mut pending.outcome);
            }
            esp::open(env.shared.backend, &mut jobs);
            for (job, outcome) in jobs.iter().zip(outcomes) {
                *outcome = job.outcome().clone();
            }
        }
        for Pending { item, outcome } in self.queue.drain(..) {
            let Some(state) = self.states.owned_mut(item.word) else {
                context.drop(item.packet.frame, DropReason::StaleSa);
                continue;
            };
            match outcome {
                Ok(inner) => {
                    let policy = state.policy();
                    let accepted = accept(state, item, &inner, context);
                    opened.extend(accepted.and_then(|packet| admit_decrypted(packet, policy, env, context)));
                }
                Err(error) => {
                    if error.is_authenticated() {
                        state.heard(0, context.now_ms);
                    }
                    let (reason, kind) = open_failure(error);
                    if let Some(kind) = kind {
                        state.failed(kind);
                    }
                    context.drop(item.packet.frame, reason);
                }
            }
        }
    }

    fn enqueue(&mut self, item: InboundItem, context: &mut Context) -> bool {
        let Some(state) = self.states.owned(item.word) else {
            context.drop(item.packet.frame, DropReason::StaleSa);
            return false;
        };
        if !state.check_lifetime(context.now_ms, &mut context.events) {
            state.failed(SaErrorKind::Lifetime);
            context.drop(item.packet.frame, DropReason::LifetimeExceeded);
            return false;
        }
        self.queue.push(Pending { item, outcome: Err(OpenError::Truncated) });
        self.queue.len() >= BURST
    }

    fn report_unknown(&mut self, spi: u32, packet: &Packet, context: &mut Context) {
        let due = self
            .unknown_reported_ms
            .is_none_or(|reported| context.now_ms.saturating_sub(reported) >= UNKNOWN_REPORT_MS);
        if due {
            self.unknown_reported_ms = Some(context.now_ms);
            let (source, destination) = (packet.ip.source, packet.ip.destination);
            context.events.send(&Event::UnknownSpi { spi, source, destination });
        }
    }
}

/// Checks an authentic packet against the negotiated selectors.
fn accept(
    state: &mut InboundState,
    item: InboundItem,
    inner: &Opened,
    context: &mut Context,
) -> Option<Packet> {
    let InboundItem { packet: outer, peer_port, .. } = item;
    let peer = outer.ip.source;
    let port: PortId = match outer.origin {
        Origin::Port(port) => port,
        Origin::Punt | Origin::Tunnel(_) | Origin::Own { .. } => PortId::MAX,
    };
    state.heard(inner.inner.len() as u64, context.now_ms);
    state.heard_from(peer, peer_port, inner.sequence, &mut context.events);
    let mut frame = outer.frame;
    if frame.set_bounds(inner.inner.start, inner.inner.len()).is_err() {
        context.drop(frame, DropReason::BadInner);
        return None;
    }
    let packet = match Packet::from_ip(frame, Origin::Tunnel(port)) {
        Ok(packet) => packet,
        Err(frame) => {
            state.failed(SaErrorKind::Malformed);
            context.drop(frame, DropReason::BadInner);
            return None;
        }
    };
    if !state.carries(&Flow::of(&packet.ip)) {
        state.failed(SaErrorKind::Selectors);
        context.drop(packet.frame, DropReason::InboundSelector);
        return None;
    }
    if !header_is_intact(&packet) {
        state.failed(SaErrorKind::Malformed);
        context.drop(packet.frame, DropReason::BadInner);
        return None;
    }
    context.counts.add(Counter::Opened, 1);
    Some(packet)
}

/// Whether the IPv4 header checksum is right; IPv6 has none.
#[inline]
pub(crate) fn header_is_intact(packet: &Packet) -> bool {
    !packet.ip.is_ipv4()
        || ipv4::Packet::new_checked(packet.frame.bytes()).is_ok_and(|view| view.checksum_ok())
}

/// The drop reason and, except for dummy packets, the SA's error counter.
fn open_failure(error: OpenError) -> (DropReason, Option<SaErrorKind>) {
    match error {
        OpenError::Truncated | OpenError::WrongSpi => {
            (DropReason::EspTruncated, Some(SaErrorKind::Malformed))
        }
        OpenError::BadSequence => (DropReason::BadSequence, Some(SaErrorKind::Replay)),
        OpenError::TooOld => (DropReason::ReplayTooOld, Some(SaErrorKind::Replay)),
        OpenError::Replayed => (DropReason::Replayed, Some(SaErrorKind::Replay)),
        OpenError::AuthenticationFailed => (DropReason::AuthenticationFailed, Some(SaErrorKind::Integrity)),
        OpenError::BadPadding | OpenError::BadNextHeader => {
            (DropReason::BadPadding, Some(SaErrorKind::Malformed))
        }
        OpenError::BadInner => (DropReason::BadInner, Some(SaErrorKind::Malformed)),
        OpenError::Dummy => (DropReason::Dummy, None),
        OpenError::EcnBroken => (DropReason::EcnBroken, Some(SaErrorKind::Other)),
    }
}
