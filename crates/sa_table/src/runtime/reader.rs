//! The control plane's read-only access to the runtime segment.

use core::sync::atomic::AtomicU64;

use super::{DROP_COUNTERS, Levels, SaErrorKind, WORKER_COUNTERS};
use crate::flow::FiveTuple;
use crate::guard::InForce;
use crate::ids::{Generation, PolicyId, PolicyVersion, SlotWord, WorkerId};
use crate::layout::{
    Capacities, InboundState, OutboundState, Region, RuntimeControl, RuntimeLayout, WorkerState,
};
use crate::mapping::ReadOnlyMapping;
use crate::protocol::{acquire, claim, grace, seqlock};
use crate::record::PeerEndpoint;
use crate::word::View;

/// Read access to the runtime segment.
#[derive(Clone)]
pub struct RuntimeReader {
    mapping: ReadOnlyMapping,
    layout: RuntimeLayout,
    capacities: Capacities,
}

/// Statistics of an outbound SA. All zero while no worker has used it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundStats {
    /// The owner, `None` if no worker has used the SA.
    pub owner: Option<WorkerId>,
    /// Sequence numbers below this one may have been used.
    pub reserved_until: u64,
    /// The next sequence number, as of the last group of packets.
    pub next_sequence: u64,
    /// Octets sent, as counted for the lifetime.
    pub packets: u64,
    /// Time of the last sent packet, CLOCK_MONOTONIC milliseconds; 0 for never.
    pub bytes: u64,
    /// Levels that are set.
    pub last_sent_ms: u64,
    /// Levels that stand.
    pub levels: Levels,
    /// Learned path MTU in octets.
    pub path_mtu: Option<u32>,
    errors: [u64; 8],
}

/// Statistics of an inbound SA. All zero while no worker has used it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundStats {
    /// The owner, `None` if no worker has used the SA.
    pub owner: Option<WorkerId>,
    /// Highest authenticated sequence number.
    pub replay_top: u64,
    /// Octets received, as counted for the lifetime.
    pub packets: u64,
    /// Time of the last authenticated packet, CLOCK_MONOTONIC milliseconds; 0 for never.
    pub bytes: u64,
    /// Levels that are set.
    pub last_heard_ms: u64,
    /// Levels that stand.
    pub levels: Levels,
    /// Another source address than expected, if one was reported.
    pub new_endpoint: Option<NewEndpoint>,
    errors: [u64; 8],
}

/// A reported endpoint and the number of the report, which increases with each report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEndpoint {
    /// The source of an authenticated packet.
    pub endpoint: PeerEndpoint,
    /// Number of the report.
    pub version: u64,
}

/// A policy that has traffic and no SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireRequest {
    /// The policy.
    pub policy: PolicyId,
    /// Number of requests of this policy, this one included.
    pub count: u64,
    /// The packet that raised it.
    pub flow: FiveTuple,
    /// Time of the last packet that needed the SA, accurate to a second; CLOCK_MONOTONIC
    /// milliseconds.
    pub raised_ms: u64,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Last announced generation, `None` while it sleeps or does not exist.
    pub announced: Option<Generation>,
    /// The policy version that it uses, `None` while it does not exist.
    pub policy_version: Option<PolicyVersion>,
    /// Last heartbeat, CLOCK_MONOTONIC milliseconds.
    pub heartbeat_ms: u64,
}

impl OutboundStats {
    /// Packets that could not be sent, by kind.
    pub fn errors(&self, kind: SaErrorKind) -> u64 {
        self.errors[kind as usize]
    }
}

impl InboundStats {
    /// Packets that were dropped, by kind.
    pub fn errors(&self, kind: SaErrorKind) -> u64 {
        self.errors[kind as usize]
    }
}

impl RuntimeReader {
    pub(crate) fn new(mapping: ReadOnlyMapping, capacities: Capacities) -> Self {
        Self { mapping, layout: RuntimeLayout::new(&capacities), capacities }
    }

    /// The capacities of the segments.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// Number of the data plane process since the segments were created; 0 before the first. A
    /// change means a restart.
    pub fn incarnation(&self) -> u64 {
        self.layout.control.view_all(self.mapping.view()).acquire(RuntimeControl::incarnation)
    }

    /// The [`fingerprint`](crate::routes::fingerprint) of the reverse routes that the data plane
    /// uses.
    pub fn reverse_routes(&self) -> u64 {
        self.layout.control.view_all(self.mapping.view()).acquire(RuntimeControl::reverse_routes)
    }

    /// The latest of the control plane's kernel changes that the data plane uses; 0 if it has read
    /// none of them.
    pub fn kernel_changes(&self) -> u64 {
        self.layout.control.view_all(self.mapping.view()).acquire(RuntimeControl::kernel_changes)
    }

    /// The policy in force as reported by the data plane; version 0 before the first policy of the
    /// segments. It remains valid when the data plane dies, because the guard outlives it.
    pub fn in_force(&self) -> InForce {
        let control = self.layout.control.view_all(self.mapping.view());
        let version = PolicyVersion(control.acquire(RuntimeControl::guard_version));
        InForce { version, devices: control.acquire(RuntimeControl::guard_devices) }
    }

    /// Statistics of an outbound SA; `None` if there is no such slot or it is used by a newer SA.
    pub fn outbound(&self, slot: SlotWord) -> Option<OutboundStats> {
        let words = match self.state::<{ OutboundState::WORDS }>(&self.layout.outbound, slot)? {
            None => return Some(OutboundStats::default()),
            Some(words) => words,
        };
        Some(OutboundStats {
            owner: claim::owner(words[OutboundState::claim], slot.generation()).map(WorkerId),
            reserved_until: words[OutboundState::reserved_until],
            next_sequence: words[OutboundState::next_sequence],
            packets: words[OutboundState::packets],
            bytes: words[OutboundState::bytes],
            last_sent_ms: words[OutboundState::last_sent_ms],
            levels: Levels(words[OutboundState::levels]),
            path_mtu: u32::try_from(words[OutboundState::path_mtu]).ok().filter(|mtu| *mtu != 0),
            errors: errors_at(&words, OutboundState::errors),
        })
    }

    /// Statistics of an inbound SA; `None` if there is no such slot or it is used by a newer SA.
    pub fn inbound(&self, slot: SlotWord) -> Option<InboundStats> {
        let words = match self.state::<{ InboundState::WORDS }>(&self.layout.inbound, slot)? {
            None => return Some(InboundStats::default()),
            Some(words) => words,
        };
        Some(InboundStats {
            owner: claim::owner(words[InboundState::claim], slot.generation()).map(WorkerId),
            replay_top: words[InboundState::replay_top],
            packets: words[InboundState::packets],
            bytes: words[InboundState::bytes],
            last_heard_ms: words[InboundState::last_heard_ms],
            levels: Levels(words[InboundState::levels]),
            new_endpoint: self.new_endpoint(slot),
            errors: errors_at(&words, InboundState::errors),
        })
    }

    /// Time of the last authenticated packet of an inbound SA, CLOCK_MONOTONIC milliseconds; 0 for
    /// never. Costs two loads, for callers that check every SA.
    pub fn last_heard_ms(&self, slot: SlotWord) -> u64 {
        self.timestamp(&self.layout.inbound, slot, InboundState::last_heard_ms)
    }

    /// Time of the last sent packet of an outbound SA, like [`RuntimeReader::last_heard_ms`].
    pub fn last_sent_ms(&self, slot: SlotWord) -> u64 {
        self.timestamp(&self.layout.outbound, slot, OutboundState::last_sent_ms)
    }

    /// The pending request of a policy that has traffic and no SA.
    pub fn acquire(&self, policy: PolicyId) -> Option<AcquireRequest> {
        let words = self.layout.acquires.view(self.mapping.view(), policy.0 as usize)?;
        let (count, flow, raised_ms) = acquire::read(words)?;
        Some(AcquireRequest { policy, count, flow: FiveTuple::decode(flow), raised_ms })
    }

    /// All pending requests. To be checked every second and after a restart, since events are
    /// hints.
    pub fn acquires(&self) -> impl Iterator<Item = AcquireRequest> {
        (0..self.capacities.policies).filter_map(|policy| self.acquire(PolicyId(policy)))
    }

    /// The state of a worker; `None` beyond the capacity.
    pub fn worker(&self, worker: WorkerId) -> Option<WorkerStatus> {
        let words = self.worker_words(worker)?;
        let announced = words.acquire(WorkerState::announced);
        let policy_version = words.acquire(WorkerState::policy_version);
        Some(WorkerStatus {
            announced: (announced != grace::OFFLINE).then_some(Generation(announced)),
            policy_version: (policy_version != u64::MAX).then_some(PolicyVersion(policy_version)),
            heartbeat_ms: words.acquire(WorkerState::heartbeat_ms),
        })
    }

    /// The drop counters of a worker, zeros beyond the capacity.
    pub fn drops(&self, worker: WorkerId) -> [u64; DROP_COUNTERS] {
        self.counters_at(worker, WorkerState::drops)
    }

    /// The other counters of a worker, zeros beyond the capacity.
    pub fn counters(&self, worker: WorkerId) -> [u64; WORKER_COUNTERS] {
        self.counters_at(worker, WorkerState::counters)
    }

    /// The words of a slot: outer `None` if it has a newer generation or does not exist, inner
    /// `None` if no worker has used this generation yet.
    fn state<const N: usize>(&self, region: &Region, slot: SlotWord) -> Option<Option<[u64; N]>> {
        let view = region.view(self.mapping.view(), slot.slot() as usize)?;
        let claim_word = view.acquire(0);
        if claim::is_newer(claim_word, slot.generation()) {
            return None;
        }
        if !claim::is_valid(claim_word, slot.generation()) {
            return Some(None);
        }
        let mut words = [0; N];
        view.copy_to(&mut words);
        <AtomicU64 as crate::word::Word>::fence_acquire();
        // A new generation may have cleared the words while they were read.
        claim::is_valid(view.relaxed(0), slot.generation()).then_some(Some(words))
    }

    fn timestamp(&self, region: &Region, slot: SlotWord, field: usize) -> u64 {
        let Some(view) = region.view(self.mapping.view(), slot.slot() as usize) else { return 0 };
        let time = view.acquire(field);
        if claim::is_valid(view.relaxed(0), slot.generation()) { time } else { 0 }
    }

    fn new_endpoint(&self, slot: SlotWord) -> Option<NewEndpoint> {
        let view = self.layout.inbound.view(self.mapping.view(), slot.slot() as usize)?;
        let sequence = view.part(InboundState::endpoint_sequence, 1);
        match seqlock::read(sequence, view.part(InboundState::endpoint, 3), 0) {
            // Zeros are the initial value of a new SA: the sequence number is from an earlier SA of
            // the slot.
            seqlock::Read::New([0, 0, 0], _) | seqlock::Read::Unchanged | seqlock::Read::Busy => None,
            seqlock::Read::New(words, version) => {
                Some(NewEndpoint { endpoint: PeerEndpoint::decode(words), version })
            }
        }
    }

    fn worker_words(&self, worker: WorkerId) -> Option<View<'_, AtomicU64>> {
        self.layout.workers.view(self.mapping.view(), usize::from(worker.0))
    }

    fn counters_at<const N: usize>(&self, worker: WorkerId, start: usize) -> [u64; N] {
        let mut counters = [0; N];
        if let Some(words) = self.worker_words(worker) {
            words.part(start, N).copy_to(&mut counters);
        }
        counters
    }
}

fn errors_at(words: &[u64], start: usize) -> [u64; 8] {
    let mut errors = [0; 8];
    errors.copy_from_slice(&words[start..start + 8]);
    errors
}
