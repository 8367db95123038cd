//! State that all workers of the process share with each other and with the housekeeping thread.

use crate::host::kernel::{KernelView, PortId};
use crate::path::mailbox::{Mailbox, PuntQueue};
use crate::policy::filter::Filters;
use crate::policy::flow::Flow;
use crate::policy::{Policy, PolicyView};
use af_xdp::Frame;
use crossbeam::queue::ArrayQueue;
use esp::AeadBackend;
use sa_table::policy::Rule;
use sa_table::{PolicyReadError, RuntimeWriter, TableReader};
use std::sync::Arc;

/// Built once by `main`, then shared behind an `Arc`.
pub struct Shared {
    /// SAs and policy words, written by the control plane.
    pub table: TableReader,
    /// The runtime segment, which this process writes.
    pub runtime: RuntimeWriter,
    /// Routes and neighbours.
    pub kernel: Arc<KernelView>,
    /// Ports and rules.
    pub policy: PolicyView,
    /// Packets for this host's own stack.
    pub punt: PuntQueue,
    /// One mailbox per worker, indexed by `WorkerId`.
    pub mailboxes: Vec<Mailbox>,
    /// The AEAD implementation.
    pub backend: AeadBackend,
    /// A flow that left in clear by a port without the crypto map that protects it, for the log.
    elsewhere: ArrayQueue<(Flow, PortId)>,
}

impl Shared {
    /// For `workers` workers, with no policy yet.
    ///
    /// # Errors
    /// The kernel has no more descriptors for this process.
    pub fn new(
        table: TableReader,
        runtime: RuntimeWriter,
        kernel: Arc<KernelView>,
        backend: AeadBackend,
        workers: usize,
    ) -> Result<Shared, rustix::io::Errno> {
        let mailboxes = (0..workers).map(|_| Mailbox::new()).collect::<Result<_, _>>()?;
        Ok(Shared {
            table,
            runtime,
            kernel,
            policy: PolicyView::default(),
            punt: PuntQueue::new()?,
            mailboxes,
            backend,
            elsewhere: ArrayQueue::new(1),
        })
    }

    /// Records a flow that leaves in clear although a crypto map of another port protects it, for
    /// the log of the housekeeping thread. Only a sample is kept; the counter has every packet.
    #[inline]
    pub fn note_elsewhere(&self, flow: &Flow, port: PortId) {
        if self.elsewhere.is_empty() {
            // Another worker may have recorded one at the same time.
            let _ = self.elsewhere.push((*flow, port));
        }
    }

    /// Takes the recorded flow.
    pub fn take_elsewhere(&self) -> Option<(Flow, PortId)> {
        self.elsewhere.pop()
    }

    /// Compiles and publishes the newest policy of the table if it is not the published one. Called
    /// by the housekeeping thread on each turn; allocates. Returns whether the policy changed.
    ///
    /// # Errors
    /// The published policy stays in force; see [`PolicyReadError`].
    pub fn refresh_policy(&self) -> Result<bool, PolicyReadError> {
        if self.table.policy_version() == self.policy.load().version() {
            return Ok(false);
        }
        let snapshot = self.table.load_policy()?;
        let rules: Vec<&[Rule]> = snapshot.rule_lists.iter().map(|list| list.rules.as_slice()).collect();
        let before = Arc::clone(self.policy.load().filters());
        let records: Vec<_> = snapshot.ports.iter().map(|port| (port.id, port.id)).collect();
        let filters = Arc::new(Filters::compile(&snapshot.filters, &records, self.mailboxes.len(), &before));
        let policy = Policy::compile(snapshot.version, &snapshot.ports, &rules);
        self.policy.publish(policy.with_filters(filters));
        for mailbox in &self.mailboxes {
            mailbox.waker().wake();
        }
        Ok(true)
    }

    /// Passes an IP packet of this host's own stack to a worker; packets of one flow go to one
    /// worker. The frame is returned if that worker's queue is full.
    ///
    /// # Errors
    /// The frame itself.
    pub fn deliver_from_host(&self, frame: Frame) -> Result<(), Frame> {
        let worker = match self.mailboxes.len() {
            0 => return Err(frame),
            1 => 0,
            workers => address_hash(frame.bytes()) % workers,
        };
        match self.mailboxes.get(worker) {
            Some(mailbox) => mailbox.deliver_from_host(frame),
            None => Err(frame),
        }
    }
}

/// A hash over the addresses of an IP packet.
fn address_hash(packet: &[u8]) -> usize {
    let addresses = match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.get(12..20),
        _ => packet.get(8..40),
    };
    let hash = addresses.unwrap_or_default().iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) as usize
}
