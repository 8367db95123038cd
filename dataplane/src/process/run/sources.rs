//! Keeps the source addresses of this host's own packets those of the policy, and of the kernel's
//! routes and addresses as they change.

use std::time::Instant;

use crate::host::kernel::{Flow, LocalTraffic, Netlink, NetlinkError, SourceRoutes};

/// What was applied, and when to look again.
#[derive(Debug)]
pub(super) struct Sources {
    traffic: LocalTraffic,
    punt_ifindex: u32,
    flows: Vec<Flow>,
    routes: SourceRoutes,
    /// Of the kernel's tables when it was applied.
    generation: u64,
    due: Option<Instant>,
}

/// After it took that long, the next look waits so many times as long: a large policy and a
/// restless routing table must not keep the main thread busy.
const PAUSE: u32 = 4;

impl Sources {
    /// Nothing is protected yet.
    pub(super) fn new(traffic: LocalTraffic, punt_ifindex: u32) -> Self {
        Self {
            traffic,
            punt_ifindex,
            flows: Vec::new(),
            routes: SourceRoutes::default(),
            generation: 0,
            due: None,
        }
    }

    /// Takes up the flows of a new policy.
    pub(super) fn set(&mut self, netlink: &Netlink, flows: &[Flow]) -> Result<(), NetlinkError> {
        self.flows = flows.to_vec();
        self.apply(netlink)
    }

    /// Looks again if the kernel's tables changed, that is, have another generation.
    pub(super) fn refresh(&mut self, netlink: &Netlink, generation: u64) -> Result<(), NetlinkError> {
        if generation == self.generation || self.due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        self.generation = generation;
        self.apply(netlink)
    }

    fn apply(&mut self, netlink: &Netlink) -> Result<(), NetlinkError> {
        let started = Instant::now();
        self.traffic.set_sources(netlink, self.punt_ifindex, &self.flows, &mut self.routes)?;
        self.due = Some(Instant::now() + started.elapsed() * PAUSE);
        Ok(())
    }
}
