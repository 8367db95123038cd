//! A model of the data plane: packets without payload, on the real shared segments.
//!
//! It does what the control plane can observe: classifies by the published rules, follows the
//! policy word, allocates sequence numbers, holds packets in a bounded queue and requests an SA,
//! accepts packets by SPI and key, stores when a peer was heard, and announces generations so that
//! slots can be reused. A packet that cannot be protected is not sent.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use sa_table::{
    AcquireOutcome, Action, Event, EventSender, FiveTuple, InboundOwner, InboundSaRecord, OutboundOwner,
    OutboundSaRecord, PolicyId, PolicySnapshot, RuntimeWriter, Segments, SlotWord, TableReader, WorkerId,
};

use crate::network::Sabotage;

/// Maximum number of packets held for one policy; the oldest is dropped.
pub const HOLD_LIMIT: usize = 16;

const WORKER: WorkerId = WorkerId(0);
const PACKET_BYTES: u64 = 100;

/// A packet of a simulated application.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The flow that it belongs to.
    pub flow: usize,
    /// Its number within the flow.
    pub number: u64,
    /// Set for a reply, which is not replied to again.
    pub answer: bool,
    /// Addresses, protocol and ports at this end.
    pub tuple: FiveTuple,
}

impl Packet {
    /// The reply of the other end.
    pub fn reversed(&self) -> Packet {
        let FiveTuple { source, destination, source_port, destination_port, .. } = self.tuple;
        let tuple = FiveTuple {
            source: destination,
            destination: source,
            source_port: destination_port,
            destination_port: source_port,
            ..self.tuple
        };
        Packet { answer: true, tuple, ..self.clone() }
    }
}

/// A packet inside ESP: the record stands for the keys that encrypted it.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The SA that encrypted it.
    pub sa: Rc<OutboundSaRecord>,
    /// Its sequence number.
    pub sequence: u64,
    /// The inner packet.
    pub packet: Packet,
}

/// The result for an outbound packet.
#[derive(Debug)]
pub enum Outbound {
    /// It is sent encrypted.
    Sealed(Sealed),
    /// It is held for an SA.
    Held,
    /// It is dropped by a rule, or because there are no rules.
    Dropped,
    /// No rule matches: it is sent in clear.
    Clear,
}

/// The result for an inbound ESP packet.
#[derive(Debug)]
pub enum Inbound {
    /// Authentic and within the selectors of the SA.
    Accepted(Packet),
    /// The SPI is unknown.
    UnknownSpi,
    /// Encrypted with other keys than those of the SPI, or from another address.
    NotAuthentic,
    /// A replayed packet.
    Replayed,
    /// Authentic, but outside the selectors of the SA.
    WrongSelector,
}

struct OutboundSa {
    owner: OutboundOwner,
    record: Rc<OutboundSaRecord>,
}

struct InboundSa {
    owner: InboundOwner,
    record: InboundSaRecord,
    seen: Seen,
}

/// A replay window of 64 packets, equivalent to that in the segment.
#[derive(Default)]
struct Seen {
    top: u64,
    bits: u64,
}

impl Seen {
    fn first_time(&mut self, sequence: u64) -> bool {
        if sequence > self.top {
            let shift = sequence - self.top;
            self.bits = if shift < 64 { self.bits << shift } else { 0 } | 1;
            self.top = sequence;
            return true;
        }
        let bit = self.top - sequence;
        let fresh = bit < 64 && self.bits >> bit & 1 == 0;
        if fresh {
            self.bits |= 1 << bit;
        }
        fresh
    }
}

/// The data plane, see the module documentation.
pub struct DataPlane {
    reader: TableReader,
    runtime: RuntimeWriter,
    sender: EventSender,
    rules: Option<PolicySnapshot>,
    outbound: BTreeMap<SlotWord, OutboundSa>,
    inbound: BTreeMap<SlotWord, InboundSa>,
    held: BTreeMap<PolicyId, VecDeque<Packet>>,
    /// The highest sequence number under each key, to detect reuse, also across restarts.
    numbers: BTreeMap<(u32, IpAddr), (u64, Rc<OutboundSaRecord>)>,
    /// Whether a sequence number was used twice under one key.
    pub reused_nonce: bool,
    /// The last packet through any SA, in either direction, and through those with each peer.
    last_packet: Option<u64>,
    last_packets: BTreeMap<IpAddr, u64>,
    /// The time of the last request for an SA, and of the last packet before it.
    last_request: Option<(u64, Option<u64>)>,
    sabotage: Sabotage,
}

impl DataPlane {
    /// Attaches to the segments, as a started or restarted process does.
    pub fn attach(segments: &Segments, sabotage: Sabotage) -> Result<Self, sa_table::AttachError> {
        let plane = DataPlane {
            reader: segments.table_reader()?,
            runtime: segments.runtime_writer()?,
            sender: segments.event_sender(WORKER)?,
            rules: None,
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            held: BTreeMap::new(),
            numbers: BTreeMap::new(),
            reused_nonce: false,
            last_packet: None,
            last_packets: BTreeMap::new(),
            last_request: None,
            sabotage,
        };
        plane.runtime.announce_policy(WORKER, plane.reader.policy_version());
        plane.runtime.announce(WORKER, plane.reader.generation());
        Ok(plane)
    }

    /// Takes over the record of used sequence numbers, which only this model keeps across a
    /// restart.
    pub fn inherit(&mut self, before: DataPlane) {
        self.numbers = before.numbers;
        self.reused_nonce = before.reused_nonce;
        self.last_packet = before.last_packet;
        self.last_packets = before.last_packets;
    }

    /// The work of a worker between bursts: takes over new rules, releases removed SAs, announces
    /// that, and sends held packets.
    pub fn tick(&mut self, now_ms: u64, sealed: &mut Vec<Sealed>) {
        if self.sabotage == Sabotage::WorkerHangs {
            return;
        }
        let generation = self.reader.generation();
        let mut ready = Vec::new();
        if self.rules.as_ref().map(|rules| rules.version) != Some(self.reader.policy_version())
            && let Ok(rules) = self.reader.load_policy()
        {
            self.runtime.announce_policy(WORKER, rules.version);
            self.rules = Some(rules);
            // The new rules may assign held packets to another policy.
            ready.extend(std::mem::take(&mut self.held).into_values().flatten());
        }
        let (reader, runtime) = (&self.reader, &self.runtime);
        self.outbound.retain(|slot, _| reader.is_live_outbound(*slot));
        self.inbound.retain(|slot, _| reader.is_live_inbound(*slot));
        runtime.announce(WORKER, generation);
        self.held.retain(|policy, packets| {
            if reader.policy_word(*policy).is_none() {
                return true;
            }
            runtime.clear_acquire(*policy);
            ready.extend(packets.drain(..));
            false
        });
        for packet in ready {
            if let Outbound::Sealed(packet) = self.send(now_ms, packet) {
                sealed.push(packet);
            }
        }
    }

    /// A packet from the host behind this gateway to the other side.
    pub fn send(&mut self, now_ms: u64, packet: Packet) -> Outbound {
        if self.sabotage == Sabotage::Clear {
            return Outbound::Clear;
        }
        match self.classify(&packet.tuple) {
            Verdict::Protect(policy) => self.protect(now_ms, policy, packet),
            Verdict::Drop => Outbound::Dropped,
            Verdict::Pass => Outbound::Clear,
        }
    }

    fn protect(&mut self, now_ms: u64, policy: PolicyId, packet: Packet) -> Outbound {
        let Some(slot) = self.reader.policy_word(policy) else {
            return self.hold(now_ms, policy, packet);
        };
        let sa = match self.outbound.entry(slot) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                let Some(record) = self.reader.outbound(slot) else { return Outbound::Dropped };
                let Ok(owner) = self.runtime.claim_outbound(WORKER, slot, record.esn) else {
                    return Outbound::Dropped;
                };
                free.insert(OutboundSa { owner, record: Rc::new(record) })
            }
        };
        let Ok(sequence) = sa.owner.take_sequence(1) else { return Outbound::Dropped };
        sa.owner.add_sent(1, PACKET_BYTES);
        sa.owner.set_last_sent(now_ms);
        self.last_packet = Some(now_ms);
        self.last_packets.insert(sa.record.destination, now_ms);
        let key = (sa.record.spi, sa.record.destination);
        let used = self.numbers.entry(key).or_insert_with(|| (0, sa.record.clone()));
        if used.1.keys == sa.record.keys && sequence <= used.0 {
            self.reused_nonce = true;
        }
        *used = (sequence, sa.record.clone());
        Outbound::Sealed(Sealed { sa: sa.record.clone(), sequence, packet })
    }

    fn hold(&mut self, now_ms: u64, policy: PolicyId, packet: Packet) -> Outbound {
        if self.sabotage == Sabotage::NeverAsks {
            return Outbound::Dropped;
        }
        let flow = packet.tuple;
        let queue = self.held.entry(policy).or_default();
        if queue.len() == HOLD_LIMIT {
            queue.pop_front();
        }
        queue.push_back(packet);
        if self.runtime.raise_acquire(policy, &flow, now_ms) != AcquireOutcome::Standing {
            self.sender.send(&Event::Acquire { policy, flow });
            self.last_request = Some((now_ms, self.last_packet));
        }
        Outbound::Held
    }

    /// An ESP packet from `from` to this gateway.
    pub fn receive(&mut self, now_ms: u64, from: IpAddr, to: IpAddr, sealed: Sealed) -> Inbound {
        let spi = sealed.sa.spi;
        let Some(slot) = self.reader.lookup_spi(spi) else {
            self.sender.send(&Event::UnknownSpi { spi, source: from, destination: to });
            return Inbound::UnknownSpi;
        };
        let sa = match self.inbound.entry(slot) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                let Some(record) = self.reader.inbound(slot) else { return Inbound::UnknownSpi };
                let Ok(owner) = self.runtime.claim_inbound(WORKER, slot) else { return Inbound::UnknownSpi };
                free.insert(InboundSa { owner, record, seen: Seen::default() })
            }
        };
        if sa.record.keys != sealed.sa.keys || sa.record.peer_address != from || sa.record.local != to {
            return Inbound::NotAuthentic;
        }
        if !sa.seen.first_time(sealed.sequence) {
            return Inbound::Replayed;
        }
        sa.owner.add_received(1, PACKET_BYTES);
        sa.owner.set_last_heard(now_ms);
        self.last_packet = Some(now_ms);
        self.last_packets.insert(from, now_ms);
        let tuple = &sealed.packet.tuple;
        let inside = sa.record.selectors.iter().any(|pair| {
            pair.remote.addresses.contains(tuple.source)
                && pair.local.addresses.contains(tuple.destination)
                && pair.protocol.is_none_or(|protocol| protocol == tuple.protocol)
        });
        if inside { Inbound::Accepted(sealed.packet) } else { Inbound::WrongSelector }
    }

    /// The peer that the flow of this packet is sent to, if it has an SA.
    pub fn destination_of(&self, tuple: &FiveTuple) -> Option<IpAddr> {
        let Verdict::Protect(policy) = self.classify(tuple) else { return None };
        self.outbound_record(policy).map(|record| record.destination)
    }

    /// The outbound SA of a policy.
    pub fn outbound_record(&self, policy: PolicyId) -> Option<OutboundSaRecord> {
        self.reader.outbound(self.policy_word(policy)?)
    }

    /// The policy word of a policy.
    pub fn policy_word(&self, policy: PolicyId) -> Option<SlotWord> {
        self.reader.policy_word(policy)
    }

    /// Whether the slot holds an SA in service.
    pub fn is_live(&self, slot: SlotWord) -> bool {
        self.reader.is_live_outbound(slot)
    }

    /// The number of held packets.
    pub fn waiting(&self) -> usize {
        self.held.values().map(VecDeque::len).sum()
    }

    /// The last packet through any SA, in either direction, on the gateway's clock.
    pub fn last_packet(&self) -> Option<u64> {
        self.last_packet
    }

    /// The last packet through an SA with this peer.
    pub fn last_packet_with(&self, peer: IpAddr) -> Option<u64> {
        self.last_packets.get(&peer).copied()
    }

    /// If an SA is requested at this time, the time without packets before the request; on the
    /// gateway's clock.
    pub fn silence_before_last_request(&self, clock: u64) -> Option<u64> {
        let (at, before) = self.last_request.filter(|(at, _)| *at == clock)?;
        Some(at.saturating_sub(before?))
    }

    /// The SAs in use, inbound and outbound.
    pub fn owned(&self) -> usize {
        self.outbound.len() + self.inbound.len()
    }

    /// Drops held packets, as a data plane does some seconds after the last packet.
    pub fn drop_waiting(&mut self) {
        for policy in std::mem::take(&mut self.held).into_keys() {
            self.runtime.clear_acquire(policy);
        }
    }

    fn classify(&self, tuple: &FiveTuple) -> Verdict {
        // Everything is dropped before the first rules.
        let Some(rules) = &self.rules else { return Verdict::Drop };
        let mut verdict = Verdict::Pass;
        for list in rules.ports.iter().filter_map(|port| port.rule_list) {
            let Some(list) = rules.rule_lists.get(list as usize) else { return Verdict::Drop };
            let mut at = 0;
            while let Some(rule) = list.rules.get(at) {
                at += 1;
                let matches = rule.source.contains(tuple.source)
                    && rule.destination.contains(tuple.destination)
                    && rule.protocol.is_none_or(|protocol| protocol == tuple.protocol)
                    && (rule.source_ports.first..=rule.source_ports.last).contains(&tuple.source_port)
                    && (rule.destination_ports.first..=rule.destination_ports.last)
                        .contains(&tuple.destination_port);
                match rule.action {
                    _ if !matches => {}
                    Action::Jump(target) => at = target as usize,
                    Action::Drop => return Verdict::Drop,
                    Action::Protect(policy) => {
                        verdict = Verdict::Protect(policy);
                        break;
                    }
                }
            }
        }
        verdict
    }
}

enum Verdict {
    Protect(PolicyId),
    Drop,
    Pass,
}
