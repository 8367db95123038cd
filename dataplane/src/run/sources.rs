//! Keeps the source addresses of this host's own packets those of the policy, and of the kernel's routes and addresses as they change.

use std::time::{Duration, Instant};

use crate::kernel::{Flow, LocalTraffic, Netlink, NetlinkError, SourceRoutes};

/// What was applied, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Sources {
    flows: Vec<Flow>,
    routes: SourceRoutes,
    /// Of the kernel's tables when it was applied.
    generation: u64,
    due: Option<Instant>,
}

/// After it took that long, the next look waits so many times as long: a large policy and a restless routing table must not keep the
/// main thread busy.
const PAUSE: u32 = 4;

impl Sources {
    /// Takes up the flows of a new policy.
    pub(super) fn set(
        &mut self,
        traffic: LocalTraffic,
        netlink: &Netlink,
        punt_ifindex: u32,
        flows: &[Flow],
    ) -> Result<(), NetlinkError> {
        self.flows = flows.to_vec();
        self.apply(traffic, netlink, punt_ifindex)
    }

    /// Looks again if the kernel's tables changed, that is, have another generation.
    pub(super) fn refresh(
        &mut self,
        traffic: LocalTraffic,
        netlink: &Netlink,
        punt_ifindex: u32,
        generation: u64,
    ) -> Result<(), NetlinkError> {
        if generation == self.generation || self.due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        self.generation = generation;
        self.apply(traffic, netlink, punt_ifindex)
    }

    fn apply(
        &mut self,
        traffic: LocalTraffic,
        netlink: &Netlink,
        punt_ifindex: u32,
    ) -> Result<(), NetlinkError> {
        let started = Instant::now();
        traffic.set_sources(netlink, punt_ifindex, &self.flows, &mut self.routes)?;
        let took: Duration = started.elapsed();
        self.due = Some(Instant::now() + took * PAUSE);
        Ok(())
    }
}
