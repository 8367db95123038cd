//! The data plane's access to the runtime segment, shared by its workers.

use core::sync::atomic::AtomicU64;

use thiserror::Error;

use super::owner::{InboundOwner, OutboundOwner};
use super::{DROP_COUNTERS, WORKER_COUNTERS};
use crate::flow::FiveTuple;
use crate::guard::InForce;
use crate::ids::{Generation, PolicyId, PolicyVersion, SlotWord, WorkerId};
use crate::layout::{Capacities, InboundState, OutboundState, RuntimeControl, RuntimeLayout, WorkerState};
use crate::mapping::WritableMapping;
use crate::protocol::claim::{self, Claimant, Outcome};
use crate::protocol::{acquire, grace};
use crate::word::{Word, erase};

/// Write access to the runtime segment. Clone it for each worker; one process at a time, see
/// [`RuntimeWriter::is_current`]. A [`WorkerId`] beyond the capacity is ignored.
#[derive(Clone)]
pub struct RuntimeWriter {
    mapping: WritableMapping,
    layout: RuntimeLayout,
    capacities: Capacities,
    incarnation: u64,
}

/// Why a worker does not get ownership of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Another worker owns it: hand the packet over.
    #[error("worker {0} owns the slot")]
    Other(WorkerId),
    /// The caller owns it already.
    #[error("this worker owns the slot already; keep the owner instead of claiming again")]
    Already,
    /// The slot is used by a newer SA: drop the state of this one.
    #[error("the slot word is stale")]
    Stale,
    /// No such slot or worker.
    #[error("slot or worker is beyond the capacity of the segments")]
    OutOfRange,
    /// A newer data plane attached: this process must stop.
    #[error("another data plane attached to the runtime segment; this process must stop")]
    Superseded,
}

/// Result of requesting an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireOutcome {
    /// The request is new: send the event.
    Raised,
    /// The request is pending and its time was updated, at most once a second: sending the event
    /// again is harmless.
    Renewed,
    /// The request is pending; nothing to do.
    Standing,
}

impl RuntimeWriter {
    /// Becomes the data plane: from now on an older process is stale. No worker is running yet.
    pub(crate) fn new(mapping: WritableMapping, capacities: Capacities) -> Self {
        let layout = RuntimeLayout::new(&capacities);
        let words = mapping.words();
        let incarnation_word = &layout.control.all(words)[RuntimeControl::incarnation];
        let incarnation = incarnation_word.load_acquire().wrapping_add(1);
        incarnation_word.store_release(incarnation);
        // This process has not read the kernel's tables yet.
        layout.control.all(words)[RuntimeControl::kernel_changes].store_release(0);
        AtomicU64::fence_full();
        send_workers_off(words, &layout);
        for policy in 0..layout.acquires.items() {
            acquire::mend(layout.acquires.item(words, policy).unwrap_or_default());
        }
        Self { mapping, layout, capacities, incarnation }
    }

    /// The capacities of the segments.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// Whether the mapping is locked in memory.
    pub fn is_locked(&self) -> bool {
        self.mapping.is_locked()
    }

    /// Number of the data plane process since the segments were created, counted from 1.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether no newer data plane attached. Workers check it with each tick and stop when it is
    /// false.
    pub fn is_current(&self) -> bool {
        self.layout.control.all(self.mapping.words())[RuntimeControl::incarnation].load_acquire()
            == self.incarnation
    }

    /// Reports which reverse routes are used from now on, by their
    /// [`fingerprint`](crate::routes::fingerprint).
    pub fn set_reverse_routes(&self, fingerprint: u64) {
        self.layout.control.all(self.mapping.words())[RuntimeControl::reverse_routes]
            .store_release(fingerprint);
    }

    /// Reports that forwarding includes the control plane's kernel change of this number
    /// ([`TableReader::kernel_changes`](crate::TableReader::kernel_changes), loaded before the
    /// kernel was read).
    pub fn set_kernel_changes(&self, count: u64) {
        self.layout.control.all(self.mapping.words())[RuntimeControl::kernel_changes].store_release(count);
    }

    /// Reports which policy the guard and every worker use from now on, and which devices the guard
    /// covers.
    pub fn set_in_force(&self, in_force: InForce) {
        let control = self.layout.control.all(self.mapping.words());
        control[RuntimeControl::guard_devices].store_release(in_force.devices);
        control[RuntimeControl::guard_version].store_release(in_force.version.0);
    }

    /// Announces that the worker no longer uses anything that it looked up before `generation` was
    /// loaded. Call it between bursts; it costs one load when nothing changed. After sleeping,
    /// announce before the first look-up.
    pub fn announce(&self, worker: WorkerId, generation: Generation) {
        if let Some(state) = self.worker(worker) {
            grace::announce(&state[WorkerState::announced], generation.0);
        }
    }

    /// Announces that the worker uses nothing and will not look anything up before the next
    /// [`RuntimeWriter::announce`]: before it sleeps or ends.
    pub fn announce_offline(&self, worker: WorkerId) {
        if let Some(state) = self.worker(worker) {
            grace::announce_offline(&state[WorkerState::announced]);
        }
    }

    /// Announces the policy version that the worker uses. A worker must announce it before it
    /// handles packets, and sleeping workers are waited for: policy numbers are not reused while an
    /// older classifier may refer to them.
    pub fn announce_policy(&self, worker: WorkerId, version: PolicyVersion) {
        if let Some(state) = self.worker(worker) {
            state[WorkerState::policy_version].store_release(version.0);
        }
    }

    /// Announces that the worker no longer exists.
    pub fn remove_worker(&self, worker: WorkerId) {
        if let Some(state) = self.worker(worker) {
            state[WorkerState::policy_version].store_release(u64::MAX);
            grace::announce_offline(&state[WorkerState::announced]);
        }
    }

    /// Updates the worker's heartbeat, with each tick.
    pub fn heartbeat(&self, worker: WorkerId, now_ms: u64) {
        if let Some(state) = self.worker(worker) {
            state[WorkerState::heartbeat_ms].store_release(now_ms);
        }
    }

    /// Adds to a drop counter below [`DROP_COUNTERS`]. Only the worker itself calls it.
    pub fn add_drops(&self, worker: WorkerId, reason: usize, n: u64) {
        self.add(worker, WorkerState::drops, reason, DROP_COUNTERS, n);
    }

    /// Adds to another counter below [`WORKER_COUNTERS`]. Only the worker itself calls it.
    pub fn add_counter(&self, worker: WorkerId, index: usize, n: u64) {
        self.add(worker, WorkerState::counters, index, WORKER_COUNTERS, n);
    }

    /// Makes the worker the owner of an outbound SA. A new SA begins at sequence number 1, one
    /// released by another process or worker continues after all numbers that may have been used.
    /// Keep the owner; dropping it costs up to 2^16 numbers.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn claim_outbound(
        &self,
        worker: WorkerId,
        slot: SlotWord,
        esn: bool,
    ) -> Result<OutboundOwner, ClaimError> {
        let words = self.layout.outbound.item(self.mapping.words(), slot.slot() as usize);
        let words = words.ok_or(ClaimError::OutOfRange)?;
        let claimant = self.claimant(worker, slot)?;
        let clear = || erase(&words[OutboundState::claim + 1..]);
        accept(claim::claim(&words[OutboundState::claim], claimant, clear))?;
        let (mapping, control) = (self.mapping.clone(), self.layout.control);
        Ok(OutboundOwner::new(mapping, self.layout.outbound, control, slot, claimant, esn))
    }

    /// Makes the worker the owner of an inbound SA, with its existing replay window.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn claim_inbound(&self, worker: WorkerId, slot: SlotWord) -> Result<InboundOwner, ClaimError> {
        let all = self.mapping.words();
        let words = self.layout.inbound.item(all, slot.slot() as usize).ok_or(ClaimError::OutOfRange)?;
        let replay = self.layout.replay.item(all, slot.slot() as usize).ok_or(ClaimError::OutOfRange)?;
        let claimant = self.claimant(worker, slot)?;
        let clear = || {
            // Versions of the reported endpoint continue, so that a report is never mistaken for an
            // older one.
            erase(&words[InboundState::claim + 1..InboundState::endpoint_sequence]);
            erase(&words[InboundState::errors..]);
            erase(replay);
        };
        accept(claim::claim(&words[InboundState::claim], claimant, clear))?;
        let (mapping, control) = (self.mapping.clone(), self.layout.control);
        Ok(InboundOwner::new(mapping, self.layout.inbound, self.layout.replay, control, slot, claimant))
    }

    /// The worker that owns an outbound slot, if one does.
    pub fn outbound_owner(&self, slot: SlotWord) -> Option<WorkerId> {
        let words = self.layout.outbound.item(self.mapping.words(), slot.slot() as usize)?;
        claim::owner(words[OutboundState::claim].load_acquire(), slot.generation()).map(WorkerId)
    }

    /// The worker that owns an inbound slot, if one does.
    pub fn inbound_owner(&self, slot: SlotWord) -> Option<WorkerId> {
        let words = self.layout.inbound.item(self.mapping.words(), slot.slot() as usize)?;
        claim::owner(words[InboundState::claim].load_acquire(), slot.generation()).map(WorkerId)
    }

    /// Requests an SA for a policy that has none. The flow of the first packet is kept.
    pub fn raise_acquire(&self, policy: PolicyId, flow: &FiveTuple, now_ms: u64) -> AcquireOutcome {
        let Some(words) = self.layout.acquires.item(self.mapping.words(), policy.0 as usize) else {
            return AcquireOutcome::Standing;
        };
        match acquire::raise(words, &flow.encode(), now_ms) {
            acquire::Raised::New => AcquireOutcome::Raised,
            acquire::Raised::Renewed => AcquireOutcome::Renewed,
            acquire::Raised::Standing => AcquireOutcome::Standing,
        }
    }

    /// Withdraws the request of a policy: its SA is installed, no packet is waiting, or the policy
    /// was removed.
    pub fn clear_acquire(&self, policy: PolicyId) {
        if let Some(words) = self.layout.acquires.item(self.mapping.words(), policy.0 as usize) {
            acquire::clear(words);
        }
    }

    fn worker(&self, worker: WorkerId) -> Option<&[AtomicU64]> {
        self.layout.workers.item(self.mapping.words(), usize::from(worker.0))
    }

    fn add(&self, worker: WorkerId, start: usize, index: usize, count: usize, n: u64) {
        let Some(state) = self.worker(worker) else { return };
        if let Some(word) = state[start..start + count].get(index) {
            word.store_relaxed(word.load_relaxed().wrapping_add(n));
        }
    }

    fn claimant(&self, worker: WorkerId, slot: SlotWord) -> Result<Claimant, ClaimError> {
        if u32::from(worker.0) >= self.capacities.workers {
            return Err(ClaimError::OutOfRange);
        }
        if !self.is_current() {
            return Err(ClaimError::Superseded);
        }
        Ok(Claimant { generation: slot.generation(), incarnation: self.incarnation, worker: worker.0 })
    }
}

/// Marks all workers as not existing: for a new segment, and for each new data plane.
pub(crate) fn send_workers_off(words: &[AtomicU64], layout: &RuntimeLayout) {
    for state in (0..layout.workers.items()).filter_map(|worker| layout.workers.item(words, worker)) {
        state[WorkerState::policy_version].store_relaxed(u64::MAX);
        grace::announce_offline(&state[WorkerState::announced]);
    }
}

fn accept(outcome: Outcome) -> Result<(), ClaimError> {
    match outcome {
        Outcome::Fresh | Outcome::Kept => Ok(()),
        Outcome::Already => Err(ClaimError::Already),
        Outcome::Other(worker) => Err(ClaimError::Other(WorkerId(worker))),
        Outcome::Stale => Err(ClaimError::Stale),
    }
}
