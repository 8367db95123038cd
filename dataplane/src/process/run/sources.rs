//! Keeps the source addresses of this host's own packets up to date with the policy and with the
//! kernel's routes and addresses.

use std::time::Instant;

use crate::host::kernel::{Flow, LocalTraffic, Netlink, NetlinkError, SourceRoutes};

/// The applied state, and the time of the next refresh.
#[derive(Debug)]
pub(super) struct Sources {
    traffic: LocalTraffic,
    punt_ifindex: u32,
    flows: Vec<Flow>,
    routes: SourceRoutes,
    /// Generation of the kernel's tables when it was applied.
    generation: u64,
    due: Option<Instant>,
}

/// The pause before the next refresh, as a multiple of the duration of the last one: a large policy
/// and frequent route changes must not keep the main thread busy.
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

    /// Applies the flows of a new policy.
    pub(super) fn set(&mut self, netlink: &Netlink, flows: &[Flow]) -> Result<(), NetlinkError> {
        self.flows = flows.to_vec();
        self.apply(netlink)
    }

    /// Applies the flows again if the kernel's tables have another generation.
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
