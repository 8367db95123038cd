//! Shared state of the mirror (one writer) and the workers (readers): the published snapshot, and
//! the workers' requests for neighbours.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use crossbeam::queue::ArrayQueue;
use sa_table::RuntimeWriter;
use tokio::sync::Notify;

use super::snapshot::{KernelSnapshot, PortId};

/// A worker's request for the hardware address of `address` on `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResolveRequest {
    /// The port.
    pub port: PortId,
    /// The neighbour's address.
    pub address: IpAddr,
}

/// Shared by the mirror task and all workers behind one `Arc`.
pub struct KernelView {
    snapshot: ArcSwap<KernelSnapshot>,
    requests: ArrayQueue<ResolveRequest>,
    wake: Notify,
    /// Fingerprint of the reverse routes in the snapshot, and where the control plane reads it.
    reverse_routes: AtomicU64,
    /// Number of the control plane's latest kernel change that the snapshot includes.
    changes: AtomicU64,
    control_plane: OnceLock<RuntimeWriter>,
}

impl std::fmt::Debug for KernelView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelView").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Default for KernelView {
    fn default() -> Self {
        Self::new(KernelSnapshot::default())
    }
}

impl KernelView {
    /// A view that begins with `snapshot`; tests build theirs by [`super::SnapshotBuilder`].
    #[must_use]
    pub fn new(snapshot: KernelSnapshot) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            requests: ArrayQueue::new(REQUEST_CAPACITY),
            wake: Notify::new(),
            reverse_routes: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            control_plane: OnceLock::new(),
        }
    }

    /// The newest snapshot. Wait-free; workers load once a burst and keep the guard no longer.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Guard<Arc<KernelSnapshot>> {
        self.snapshot.load()
    }

    /// Asks the mirror to have the kernel resolve a neighbour. Call it when
    /// [`KernelSnapshot::neighbour`] returned `None`, and repeat it while a packet waits: the
    /// mirror asks the kernel at most once a second for each neighbour, and a full queue drops the
    /// request. Never blocks.
    #[inline]
    pub fn resolve(&self, port: PortId, address: IpAddr) {
        let was_empty = self.requests.is_empty();
        if self.requests.push(ResolveRequest { port, address }).is_ok() && was_empty {
            self.wake.notify_one();
        }
    }

    /// Publishes a new snapshot; called by the mirror, and by tests.
    pub fn publish(&self, snapshot: KernelSnapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Reports to the control plane the state that packets are forwarded by: the reverse routes of
    /// the newest snapshot, and the last of its kernel changes that the snapshot shows. Called by
    /// the mirror.
    pub(super) fn report(&self, reverse_routes: u64, changes: u64) {
        self.reverse_routes.store(reverse_routes, Ordering::SeqCst);
        self.changes.store(changes, Ordering::SeqCst);
        if let Some(runtime) = self.control_plane.get() {
            runtime.set_reverse_routes(reverse_routes);
            runtime.set_kernel_changes(changes);
        }
    }

    /// Sets where reports to the control plane are written; called once, when the workers start. A
    /// second call has no effect.
    pub fn report_to(&self, runtime: RuntimeWriter) {
        let runtime = self.control_plane.get_or_init(|| runtime);
        runtime.set_reverse_routes(self.reverse_routes.load(Ordering::SeqCst));
        runtime.set_kernel_changes(self.changes.load(Ordering::SeqCst));
    }

    /// Takes the oldest request; for the mirror and for tests.
    pub fn next_request(&self) -> Option<ResolveRequest> {
        self.requests.pop()
    }

    /// Waits until a worker has requested something.
    pub(super) async fn requested(&self) {
        self.wake.notified().await;
    }
}

/// Distinct next hops are few, so 256 requests hold every burst of first packets.
const REQUEST_CAPACITY: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::kernel::SnapshotBuilder;

    #[test]
    fn a_published_snapshot_is_what_the_next_load_sees() {
        let view = KernelView::default();
        assert_eq!(view.load().generation(), 0);
        view.publish(SnapshotBuilder::new().generation(9).build());
        assert_eq!(view.load().generation(), 9);
    }

    #[test]
    fn wishes_come_out_in_order_and_overflow_is_silent() {
        let view = KernelView::default();
        let address = |index: usize| IpAddr::from((index as u128).to_be_bytes());
        for index in 0..REQUEST_CAPACITY + 10 {
            view.resolve(3, address(index));
        }
        assert_eq!(view.next_request(), Some(ResolveRequest { port: 3, address: address(0) }));
        assert_eq!(std::iter::from_fn(|| view.next_request()).count(), REQUEST_CAPACITY - 1);
    }
}
