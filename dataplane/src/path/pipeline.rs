//! The packet path of one worker, without sockets: input are frames, output are transmit lists.
//!
//! ```text
//! receive ─► ingest ─► steer ─┬─► inbound ─► opened ─► steer ...
//!                             ├─► outbound ─► forwarder ─► outputs
//!                             ├─► forwarder (clear)
//!                             ├─► hold (no SA yet) ─► steer ...
//!                             └─► punt queue
//! ```

use crate::count::counter::{Counter, Counts};
use crate::count::drop_reason::{DropReason, Drops};
use crate::host::kernel::PortId;
use crate::path::classify::Classifier;
use crate::path::context::{Context, Env, Views};
use crate::path::decision::Decision;
use crate::path::filter;
use crate::path::forward::{Forwarder, PortOut};
use crate::path::handoff::Handoff;
use crate::path::hold::{Hold, HoldLimits};
use crate::path::icmp::{IcmpError, IcmpErrors};
use crate::path::inbound::{Inbound, header_is_intact};
use crate::path::nat_t::{Carried, carried};
use crate::path::outbound::Outbound;
use crate::path::packet::{Origin, Packet};
use crate::path::reassembly::Reassembly;
use crate::path::shared::Shared;
use crate::policy::filter::{MatchLog, Verdicts};
use crate::policy::flow::Flow;
use af_xdp::{Frame, FramePool};
use sa_table::{Direction, EventSender, FilterPoint, Generation, WorkerId};
use std::sync::Arc;
use wire::ParseError;

/// Sizes of one worker's tables.
#[derive(Clone, Copy, Debug)]
pub struct PipelineOptions {
    /// Flows that the classifier caches.
    pub flows: usize,
    /// Limits of the hold queues.
    pub hold: HoldLimits,
}

impl Default for PipelineOptions {
    fn default() -> PipelineOptions {
        PipelineOptions { flows: 4096, hold: HoldLimits::default() }
    }
}

/// One worker's packet path.
pub struct Pipeline {
    shared: Arc<Shared>,
    worker: WorkerId,
    views: Views,
    /// The generation announced last; `None` before the first burst and after sleep.
    announced: Option<Generation>,
    stages: Stages,
}

/// Maximum steer/flush passes per burst: decapsulate, re-encapsulate, ICMP error, and one spare.
/// What is left waits for the next burst.
const ROUNDS: usize = 4;

impl Pipeline {
    /// A pipeline for the worker of this number,
    pub fn new(
        shared: Arc<Shared>,
        worker: WorkerId,
        events: EventSender,
        pool: FramePool,
        ports: &[PortId],
        options: &PipelineOptions,
    ) -> Pipeline {
        let views =
            Views { kernel: Arc::clone(&shared.kernel.load()), policy: Arc::clone(&shared.policy.load()) };
        let capacities = *shared.table.capacities();
        let stages = Stages {
            classifier: Classifier::new(options.flows),
            outbound: Outbound::new(capacities.outbound_slots),
            inbound: Inbound::new(capacities.inbound_slots),
            forwarder: Forwarder::new(Arc::clone(&shared.kernel), ports),
            hold: Hold::new(options.hold),
            reassembly: Reassembly::default(),
            opened: Vec::with_capacity(options.hold.packets as usize),
            context: Context {
                pool,
                drops: Drops::default(),
                counts: Counts::default(),
                events,
                matches: MatchLog::default(),
                verdicts: Verdicts::new(options.flows),
                icmp: IcmpErrors::default(),
                now_ms: 0,
            },
        };
        Pipeline { shared, worker, views, announced: None, stages }
    }

    /// Begins a burst: loads the latest published state and announces its generation, so that older
    /// slots can be reused.
    #[inline]
    pub fn begin(&mut self, now_ms: u64) {
        self.stages.context.now_ms = now_ms;
        let generation = self.shared.table.generation();
        if self.announced != Some(generation) {
            let env = Env { shared: &self.shared, views: &self.views, worker: self.worker };
            self.stages.outbound.forget_retired(&env);
            self.stages.inbound.forget_retired(&env);
            self.shared.runtime.announce(self.worker, generation);
            self.announced = Some(generation);
        }
        let kernel = self.shared.kernel.load();
        if !Arc::ptr_eq(&kernel, &self.views.kernel) {
            self.views.kernel = Arc::clone(&kernel);
        }
        let policy = self.shared.policy.load();
        if !Arc::ptr_eq(&policy, &self.views.policy) {
            self.views.policy = Arc::clone(&policy);
        }
        self.shared.runtime.announce_policy(self.worker, self.views.policy.version());
    }

    /// Accepts frames received by a port, Ethernet header included.
    #[inline]
    pub fn receive(&mut self, port: PortId, frames: &mut Vec<Frame>) {
        let env = Env { shared: &self.shared, views: &self.views, worker: self.worker };
        self.stages.context.counts.add(Counter::Received, frames.len() as u64);
        for frame in frames.drain(..) {
            if let Some(packet) = ingest(frame, port, &env, &mut self.stages.context) {
                self.stages.arrive(packet, port, &env);
            }
        }
    }

    /// Accepts an IP packet of this host's own stack.
    pub fn receive_from_host(&mut self, frame: Frame) {
        let env = Env { shared: &self.shared, views: &self.views, worker: self.worker };
        self.stages.context.counts.add(Counter::FromHost, 1);
        match Packet::from_ip(frame, Origin::Punt) {
            Ok(packet) => self.stages.steer(packet, &env),
            Err(frame) => self.stages.context.drop(frame, DropReason::BadIp),
        }
    }

    /// Accepts a packet that another worker handed over.
    pub fn receive_handoff(&mut self, handoff: Handoff) {
        let env = Env { shared: &self.shared, views: &self.views, worker: self.worker };
        let Stages { inbound, outbound, context, .. } = &mut self.stages;
        let full = match handoff {
            Handoff::Outbound(item) => outbound.push_handoff(item),
            Handoff::Inbound(item) => inbound.push_handoff(item, &env, context),
        };
        if full {
            self.stages.flush(&env);
        }
    }

    /// Ends a burst: every accepted packet is on a transmit list, held in a queue, or dropped.
    #[inline]
    pub fn finish(&mut self) {
        let env = Env { shared: &self.shared, views: &self.views, worker: self.worker };
        self.stages.hold.release(&env, &mut self.stages.context, &mut self.stages.opened);
        for _ in 0..ROUNDS {
            self.stages.flush(&env);
            self.stages.steer_opened(&env);
            while let Some(error) = self.stages.context.icmp.pop() {
                self.stages.context.counts.add(Counter::IcmpErrors, 1);
                self.stages.steer(error, &env);
            }
            if self.stages.is_settled() {
                break;
            }
        }
        let Stages { forwarder, reassembly, context, .. } = &mut self.stages;
        forwarder.retry_unresolved(&self.views, context);
        reassembly.expire(context);
    }

    /// The transmit lists, in the order of the ports given to [`new`](Self::new).
    pub fn outputs(&mut self) -> &mut [PortOut] {
        self.stages.forwarder.outputs()
    }

    /// Free frames.
    pub fn pool(&mut self) -> &mut FramePool {
        &mut self.stages.context.pool
    }

    /// Adds to a counter, for the caller that empties the transmit lists.
    pub fn count(&mut self, counter: Counter, n: u64) {
        self.stages.context.counts.add(counter, n);
    }

    /// Drops since they were last published.
    pub fn drops(&self) -> &Drops {
        &self.stages.context.drops
    }

    /// Counters since they were last published.
    pub fn counts(&self) -> &Counts {
        &self.stages.context.counts
    }

    /// Whether packets wait for an SA or a neighbour, so that work can arise without input.
    pub fn has_waiting(&self) -> bool {
        !self.stages.hold.is_empty()
            || !self.stages.reassembly.is_empty()
            || self.stages.forwarder.waiting() > 0
            || !self.stages.is_settled()
    }

    /// Publishes counters and the worker's heartbeat. `false` if another data plane took over: this
    /// process must stop.
    pub fn publish(&mut self) -> bool {
        let (runtime, worker) = (&self.shared.runtime, self.worker);
        let Context { drops, counts, now_ms, .. } = &mut self.stages.context;
        drops.drain(|index, n| runtime.add_drops(worker, index, n));
        counts.drain(|index, n| runtime.add_counter(worker, index, n));
        runtime.heartbeat(worker, *now_ms);
        runtime.is_current()
    }

    /// Call before sleep: nothing that was looked up is used until the next [`begin`](Self::begin).
    pub fn rest(&mut self) {
        self.announced = None;
        self.shared.runtime.announce_offline(self.worker);
    }

    /// Ends the worker: returns all frames and releases all SAs.
    pub fn shut_down(&mut self) {
        let env = Env { shared: &self.shared, views: &self.views, worker: self.worker };
        self.stages.shut_down(&env);
        self.publish();
        self.shared.runtime.remove_worker(self.worker);
    }
}

/// The stages and the queues between them.
struct Stages {
    classifier: Classifier,
    outbound: Outbound,
    inbound: Inbound,
    forwarder: Forwarder,
    hold: Hold,
    reassembly: Reassembly,
    /// Decrypted packets and packets released from the hold queues, to be steered.
    opened: Vec<Packet>,
    context: Context,
}

impl Stages {
    /// Handles a packet that arrived at a port: the port's filter is applied to it as received,
    /// including ESP and IKE.
    #[inline]
    fn arrive(&mut self, packet: Packet, port: PortId, env: &Env<'_>) {
        let filters = env.views.policy.filters();
        if !filters.is_empty()
            && let Some(list) = filters.at(FilterPoint::Port(port), Direction::Inbound)
            && !filter::passes(list, &packet, false, env, &mut self.context)
        {
            return filter::deny(packet, DropReason::AccessListIn, env, &mut self.context);
        }
        self.steer(packet, env);
    }

    /// Passes a packet to the stage that it needs.
    #[inline]
    fn steer(&mut self, packet: Packet, env: &Env<'_>) {
        let Some(packet) = self.steer_ipsec(packet, env) else { return };
        let flow = Flow::of(&packet.ip);
        match self.classifier.decide(&flow, packet.origin, env.views) {
            Decision::Protect(policy) => {
                let word = env.shared.table.policy_word(policy);
                let point = FilterPoint::Policy(policy);
                let Some(packet) = self.let_out(packet, point, word.is_none(), env) else { return };
                match word {
                    Some(word) => {
                        if self.outbound.push(word, packet) {
                            self.outbound.flush(env, &mut self.forwarder, &mut self.context);
                        }
                    }
                    None => self.hold.push(policy, packet, env, &mut self.context),
                }
            }
            Decision::Forward { port, next_hop, elsewhere } => {
                let Some(packet) = self.let_out(packet, FilterPoint::Port(port), false, env) else { return };
                if elsewhere {
                    self.context.counts.add(Counter::ClearElsewhere, 1);
                    env.shared.note_elsewhere(&flow, port);
                }
                if matches!(packet.origin, Origin::Port(_)) {
                    self.context.counts.add(Counter::ClearForwarded, 1);
                }
                self.forwarder.forward(packet, port, next_hop, env.views, &mut self.context);
            }
            Decision::Punt => self.punt(packet, env),
            Decision::Drop(reason) => self.refuse(packet, reason, env),
        }
    }

    /// Applies the `out` list of a point to a forwarded packet; packets of this host are not
    /// filtered. `waits`: the packet has no SA yet and comes here again.
    #[inline]
    fn let_out(&mut self, packet: Packet, point: FilterPoint, waits: bool, env: &Env<'_>) -> Option<Packet> {
        let filters = env.views.policy.filters();
        if !filters.is_empty()
            && packet.origin.is_forwarded()
            && let Some(list) = filters.at(point, Direction::Outbound)
            && !filter::passes(list, &packet, waits, env, &mut self.context)
        {
            let reason = match point {
                FilterPoint::Port(_) => DropReason::AccessListOut,
                FilterPoint::Policy(_) => DropReason::CryptoAccessListOut,
            };
            filter::deny(packet, reason, env, &mut self.context);
            return None;
        }
        Some(packet)
    }

    /// Handles IPsec packets to our crypto addresses; returns all other packets.
    #[inline]
    fn steer_ipsec(&mut self, packet: Packet, env: &Env<'_>) -> Option<Packet> {
        let to_us = matches!(packet.origin, Origin::Port(_))
            && env.views.policy.is_crypto_address(packet.ip.destination);
        if !to_us {
            return Some(packet);
        }
        let reason = match carried(&packet) {
            Carried::Esp { range, peer_port, spi } => {
                let full = self.inbound.push(packet, range, spi, peer_port, env, &mut self.context);
                if full {
                    self.inbound.flush(env, &mut self.context, &mut self.opened);
                    self.steer_opened(env);
                }
                return None;
            }
            Carried::Ike => {
                self.punt(packet, env);
                return None;
            }
            Carried::Other => return Some(packet),
            Carried::EspFragment => {
                if let Some(whole) = self.reassembly.push(packet, &mut self.context) {
                    // The reassembled packet is not a fragment, so this recursion ends.
                    return self.steer_ipsec(whole, env);
                }
                return None;
            }
            Carried::Malformed => DropReason::EspTruncated,
            Carried::Keepalive => DropReason::NatKeepalive,
        };
        self.context.drop(packet.frame, reason);
        None
    }

    /// Flushes the stages that collect bursts.
    fn flush(&mut self, env: &Env<'_>) {
        if !self.inbound.is_empty() {
            self.inbound.flush(env, &mut self.context, &mut self.opened);
        }
        self.steer_opened(env);
        if !self.outbound.is_empty() {
            self.outbound.flush(env, &mut self.forwarder, &mut self.context);
        }
    }

    fn steer_opened(&mut self, env: &Env<'_>) {
        if self.opened.is_empty() {
            return;
        }
        let mut opened = std::mem::take(&mut self.opened);
        for packet in opened.drain(..) {
            self.steer(packet, env);
        }
        self.opened = opened;
    }

    fn is_settled(&self) -> bool {
        self.opened.is_empty()
            && self.inbound.is_empty()
            && self.outbound.is_empty()
            && self.context.icmp.is_empty()
    }

    fn punt(&mut self, packet: Packet, env: &Env<'_>) {
        match env.shared.punt.push(packet.frame) {
            Ok(()) => self.context.counts.add(Counter::ToHost, 1),
            Err(frame) => self.context.drop(frame, DropReason::PuntFull),
        }
    }

    /// Drops a packet, with an ICMP error where a router has to send one.
    fn refuse(&mut self, packet: Packet, reason: DropReason, env: &Env<'_>) {
        let error = match reason {
            DropReason::NoRoute => Some(IcmpError::NoRoute),
            DropReason::Unreachable => Some(IcmpError::Prohibited),
            _ => None,
        };
        if let Some(error) = error {
            let Context { pool, icmp, now_ms, .. } = &mut self.context;
            icmp.report(error, &packet, &env.views.kernel, pool, *now_ms);
        }
        self.context.drop(packet.frame, reason);
    }

    fn shut_down(&mut self, env: &Env<'_>) {
        self.flush(env);
        for packet in self.opened.drain(..) {
            self.context.pool.put(packet.frame);
        }
        while let Some(packet) = self.context.icmp.pop() {
            self.context.pool.put(packet.frame);
        }
        self.hold.clear(&mut self.context);
        self.reassembly.clear(&mut self.context);
        self.forwarder.clear(&mut self.context);
        self.outbound.give_up();
        self.inbound.give_up();
    }
}

/// Parses a frame, checks that it is addressed to us, and strips it down to its IP packet.
#[inline]
fn ingest(mut frame: Frame, port: PortId, env: &Env<'_>, context: &mut Context) -> Option<Packet> {
    let summary = match wire::parse::frame(frame.bytes()) {
        Ok(summary) => summary,
        Err(error) => {
            let link = matches!(error, ParseError::TruncatedLink);
            context.drop(frame, if link { DropReason::BadLink } else { DropReason::BadIp });
            return None;
        }
    };
    let Some(link) = env.views.kernel.port(port) else {
        context.drop(frame, DropReason::NoPolicy);
        return None;
    };
    // VLAN 0 is a priority tag, not a network (IEEE 802.1Q §6.9).
    if summary.link.vlan.filter(|vlan| *vlan != 0) != link.vlan || summary.link.inner_vlan.is_some() {
        context.drop(frame, DropReason::BadLink);
        return None;
    }
    // A packet that was broadcast on the link must not be forwarded (RFC 1812 §5.3.4).
    if frame.bytes().first_chunk::<6>() != Some(&link.mac) {
        context.drop(frame, DropReason::NotForUs);
        return None;
    }
    let Some(ip) = summary.ip else {
        context.drop(frame, DropReason::NotIp);
        return None;
    };
    if frame.shrink_front(summary.l3_offset()).is_err() {
        context.drop(frame, DropReason::BadLink);
        return None;
    }
    frame.truncate(ip.total_len as usize);
    let packet = Packet { frame, ip, origin: Origin::Port(port) };
    if header_is_intact(&packet) {
        Some(packet)
    } else {
        context.drop(packet.frame, DropReason::BadChecksum);
        None
    }
}

#[cfg(test)]
mod tests;
