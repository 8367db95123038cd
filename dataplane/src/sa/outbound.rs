//! The state of an outbound SA in the worker that owns it.

use super::{Absent, limit, may_go_on, salt};
use crate::path::shared::Shared;
use crate::policy::flow::Flow;
use esp::{
    EcnPolicy, Exhausted, OutboundParameters, OutboundSa, OuterParameters, SequenceRange, SequenceSource,
};
use sa_table::record::{DfPolicy, Encapsulation, Lifetime, PeerEndpoint, Selectors};
use sa_table::{
    Direction, EndpointRead, EndpointVersion, Event, EventSender, Level, OutboundOwner, SaErrorKind,
    SlotWord, WorkerId,
};
use std::net::IpAddr;

/// TTL of outer headers (RFC 4301 §5.1.2.1 leaves the choice).
const OUTER_TTL: u8 = 64;

/// Keys, selectors and sequence numbers of an outbound SA.
pub struct OutboundState {
    sa: OutboundSa,
    owner: OutboundOwner,
    selectors: Selectors,
    path_mtu: u32,
    df: DfPolicy,
    lifetime: Lifetime,
    endpoint: EndpointVersion,
}

impl OutboundState {
    /// Copies the record, expands the key and claims the sequence numbers.
    pub fn claim(word: SlotWord, worker: WorkerId, shared: &Shared) -> Result<OutboundState, Absent> {
        let record = shared.table.outbound(word).ok_or(Absent::Stale)?;
        let keys = &record.keys;
        let outer = OuterParameters {
            source: record.source,
            destination: record.destination,
            encapsulation: record.encapsulation,
            ttl: OUTER_TTL,
            dscp: record.dscp,
            ecn: EcnPolicy::Copy,
            df: record.df,
        };
        let algorithm = keys.algorithm();
        let mut iv_key = [0; 16];
        if algorithm.needs_random_iv() {
            // Once per SA, not per packet. Without random bytes the SA is unusable.
            getrandom::fill(&mut iv_key).map_err(|_| Absent::Unusable)?;
        }
        let parameters = OutboundParameters {
            spi: record.spi,
            algorithm,
            key: keys.both_keys(),
            salt: salt(keys),
            extended_sequence: record.esn,
            mode: record.mode,
            iv_key,
            outer,
        };
        let sa = OutboundSa::new(shared.backend, &parameters).map_err(|_| Absent::Unusable)?;
        let owner = shared.runtime.claim_outbound(worker, word, record.esn)?;
        Ok(OutboundState {
            sa,
            owner,
            selectors: record.selectors,
            path_mtu: record.path_mtu,
            df: record.df,
            lifetime: record.lifetime,
            endpoint: EndpointVersion::default(),
        })
    }

    /// The SA for `esp::seal`.
    #[inline]
    pub fn sa(&self) -> &OutboundSa {
        &self.sa
    }

    /// Outer destination address.
    #[inline]
    pub fn destination(&self) -> IpAddr {
        self.sa.outer().destination
    }

    /// Largest outer packet toward the peer as far as known, in octets; `None` if only the MTU of
    /// the egress port applies.
    pub fn path_mtu(&self) -> Option<usize> {
        let negotiated = Some(self.path_mtu).filter(|mtu| *mtu != 0);
        let learned = self.owner.learned_path_mtu();
        negotiated.into_iter().chain(learned).min().map(|mtu| mtu as usize)
    }

    /// Whether the selectors of the SA accept this packet.
    #[inline]
    pub fn carries(&self, flow: &Flow) -> bool {
        flow.within_outbound(&self.selectors)
    }

    /// Whether the outer packet of an inner packet may be fragmented on its way.
    pub fn may_fragment_outer(&self, inner_dont_fragment: bool) -> bool {
        let clear = match self.df {
            // In transport mode the header is the packet's own.
            _ if self.sa.mode() == esp::Mode::Transport => !inner_dont_fragment,
            DfPolicy::Copy => !inner_dont_fragment,
            DfPolicy::Set => false,
            DfPolicy::Clear => true,
        };
        clear && self.destination().is_ipv4()
    }

    /// Updates the peer endpoint from the record. Costs one load when nothing changed.
    #[inline]
    pub fn follow_peer(&mut self, word: SlotWord, shared: &Shared) {
        let EndpointRead::New(endpoint, version) = shared.table.peer_endpoint(word, self.endpoint) else {
            return;
        };
        self.endpoint = version;
        let outer = moved(*self.sa.outer(), endpoint);
        // Fails only for an address of the other family, which a record of this SA never has: the
        // old one stays.
        let _ = self.sa.set_outer(outer);
    }

    /// Whether a limit forbids sending. Reports limits that are reached, each once.
    #[inline]
    pub fn check_lifetime(&self, now_ms: u64, events: &mut EventSender) -> bool {
        let reached = limit(&self.lifetime, self.owner.sent(), now_ms);
        may_go_on(reached, Direction::Outbound, self.owner.slot(), |level| self.owner.raise(level), events)
    }

    /// Draws sequence numbers for a group of packets. Exhaustion is reported.
    pub fn draw(&mut self, count: u32, events: &mut EventSender) -> Result<SequenceRange, Exhausted> {
        let limit = self.sa.sequence_limit();
        let range = Numbers(&mut self.owner).draw(count, limit);
        if range.is_err() && self.owner.raise(Level::SequenceExhausted) {
            events.send(&Event::HardLimit { direction: Direction::Outbound, slot: self.owner.slot() });
        }
        range
    }

    /// Counts encrypted packets.
    pub fn sent(&self, packets: u64, bytes: u64, now_ms: u64) {
        self.owner.add_sent(packets, bytes);
        self.owner.set_last_sent(now_ms);
    }

    /// Counts a packet that could not be encrypted.
    pub fn failed(&self, kind: SaErrorKind) {
        self.owner.add_errors(kind, 1);
    }
}

impl std::fmt::Debug for OutboundState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundState")
            .field("slot", &self.owner.slot())
            .field("sa", &self.sa)
            .finish_non_exhaustive()
    }
}

/// Sequence numbers from the blocks that are reserved in shared memory.
struct Numbers<'a>(&'a mut OutboundOwner);

impl SequenceSource for Numbers<'_> {
    fn draw(&mut self, count: u32, limit: u64) -> Result<SequenceRange, Exhausted> {
        let first = self.0.take_sequence(count).map_err(|_| Exhausted)?;
        // The owner of the block keeps the same limit; a number beyond it is discarded, never used.
        if count > 0 && first.checked_add(u64::from(count) - 1).is_none_or(|last| last > limit) {
            return Err(Exhausted);
        }
        SequenceRange::from_reserved(first, count).ok_or(Exhausted)
    }
}

fn moved(outer: OuterParameters, endpoint: PeerEndpoint) -> OuterParameters {
    let encapsulation = match outer.encapsulation {
        Encapsulation::Udp { local_port, .. } if endpoint.port != 0 => {
            Encapsulation::Udp { local_port, remote_port: endpoint.port }
        }
        unchanged => unchanged,
    };
    OuterParameters { destination: endpoint.address, encapsulation, ..outer }
}
