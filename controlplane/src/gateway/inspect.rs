//! Read-only access to the gateway's state, for simulations and for resource counts.

use std::net::IpAddr;

use ike::ChildId;
use sa_table::{PolicyId, PolicyVersion, SlotWord};

use super::Gateway;
use crate::peers::session::Session;
use crate::plan::{EntryKey, PolicyKey};
use crate::tables::Occupancy;

/// Resource usage. All values except the configured ones return to zero when nothing is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Configured connections.
    pub connections: usize,
    /// IKE SAs, including those being negotiated.
    pub ike_sas: usize,
    /// SA pairs.
    pub pairs: usize,
    /// Initiations without a result.
    pub attempts: usize,
    /// Flows that wait for name resolution.
    pub resolving: usize,
    /// Events not yet processed; zero between two calls.
    pub unsettled: usize,
    /// Whether the IKE endpoint has a timer running: false without any IKE SA, half-open ones
    /// included.
    pub endpoint_waits: bool,
    /// Slots and policies of the table.
    pub table: Occupancy,
}

impl Gateway {
    /// Every session with its entry.
    pub fn sessions(&self) -> impl Iterator<Item = (&EntryKey, &Session)> {
        self.peers.sessions()
    }

    /// Every policy in use with its key.
    pub fn policies(&self) -> impl Iterator<Item = (PolicyId, &PolicyKey)> {
        self.plan.policies.iter().map(|(id, key)| (*id, key))
    }

    /// The slots of an SA pair, inbound and outbound.
    pub fn slots(&self, pair: ChildId) -> Option<(SlotWord, SlotWord)> {
        self.tables.slots(pair)
    }

    /// Fingerprint of the reverse routes that the data plane uses.
    pub fn forwarded_reverse_routes(&self) -> u64 {
        self.tables.forwarded_reverse_routes()
    }

    /// Counts a change of addresses, links or routes in the kernel; returns its number.
    pub fn count_kernel_change(&mut self) -> u64 {
        self.tables.count_kernel_change()
    }

    /// Whether the data plane uses the kernel state as of this change.
    pub fn forwards_by(&self, change: u64) -> bool {
        self.tables.forwards_by(change)
    }

    /// Whether the published policy is in force in the guard and in every worker.
    pub fn policy_in_force(&self) -> bool {
        self.tables.policy_in_force()
    }

    /// The version of the published policy.
    pub fn policy_version(&self) -> PolicyVersion {
        self.tables.policy_version()
    }

    /// Whether the guard covers each configured interface that has a device, under the policy in
    /// force.
    pub fn guard_covers_interfaces(&self) -> bool {
        self.tables.guard_covers(self.plan.ports.iter().map(|port| port.ifindex))
    }

    /// Whether there is an IKE SA with this address, including one being negotiated.
    pub fn has_ike_with(&self, remote: IpAddr) -> bool {
        self.tunnels.ikes().any(|(_, sa)| sa.remote().ip() == remote)
    }

    /// Resource usage of the IKE endpoint.
    pub fn ike_tables(&self) -> ike::Tables {
        self.endpoint.tables()
    }

    /// Current resource usage.
    pub fn load(&self) -> Load {
        Load {
            connections: self.connections.len(),
            ike_sas: self.tunnels.ike_count(),
            pairs: self.tunnels.pair_count(),
            attempts: self.tunnels.attempts().len(),
            resolving: self.names.waiting().len(),
            unsettled: self.failed.len() + self.report.waiting() + self.outputs.len(),
            endpoint_waits: self.endpoint.poll_timeout().is_some(),
            table: self.tables.occupancy(),
        }
    }
}
