//! Flow → decision, so that only the first packet of a flow needs a route look-up and a rule walk.
//!
//! Two ways per set, the most recent first. An entry is valid as long as neither the configuration
//! nor the kernel's routes change; both changes start a new epoch, which makes all entries stale
//! without touching them.

use crate::host::kernel::PortId;
use crate::path::decision::Decision;
use crate::path::packet::Origin;
use crate::policy::flow::{Flow, Ports, Protocol};
use sa_table::PolicyVersion;
use std::net::IpAddr;

/// The cache of one worker.
#[derive(Debug)]
pub struct FlowCache {
    sets: Box<[[Option<Entry>; 2]]>,
    epoch: u64,
    seen: Option<(PolicyVersion, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    epoch: u64,
    flow: Flow,
    origin: Origin,
    decision: Decision,
}

impl FlowCache {
    /// Room for `flows` flows, rounded up to a power of two.
    pub fn new(flows: usize) -> FlowCache {
        let sets = (flows / 2).max(1).next_power_of_two();
        FlowCache { sets: vec![[None; 2]; sets].into_boxed_slice(), epoch: 0, seen: None }
    }

    /// Invalidates all entries if the configuration or the kernel's routes differ from those seen
    /// before.
    #[inline]
    pub fn observe(&mut self, policy: PolicyVersion, kernel_generation: u64) {
        if self.seen != Some((policy, kernel_generation)) {
            self.seen = Some((policy, kernel_generation));
            self.epoch += 1;
        }
    }

    /// The cached decision.
    #[inline]
    pub fn get(&mut self, flow: &Flow, origin: Origin) -> Option<Decision> {
        let epoch = self.epoch;
        let set = self.set(flow, origin)?;
        set.iter()
            .flatten()
            .find(|entry| entry.epoch == epoch && entry.flow == *flow && entry.origin == origin)
            .map(|entry| entry.decision)
    }

    /// Caches a decision.
    #[inline]
    pub fn insert(&mut self, flow: &Flow, origin: Origin, decision: Decision) {
        let entry = Entry { epoch: self.epoch, flow: *flow, origin, decision };
        if let Some(set) = self.set(flow, origin) {
            set[1] = set[0];
            set[0] = Some(entry);
        }
    }

    #[inline]
    fn set(&mut self, flow: &Flow, origin: Origin) -> Option<&mut [Option<Entry>; 2]> {
        let index = hash(flow, origin) as usize & (self.sets.len() - 1);
        self.sets.get_mut(index)
    }
}

/// A multiplicative hash. A sender that provokes collisions only slows down its own packets.
#[inline]
fn hash(flow: &Flow, origin: Origin) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let address = |address: IpAddr| match address {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            (bits as u64) ^ ((bits >> 64) as u64).rotate_left(17)
        }
    };
    let ports = match flow.ports {
        Ports::Known { source, destination } => u64::from(source) << 16 | u64::from(destination),
        Ports::Hidden => 1 << 32,
    };
    let protocol = match flow.protocol {
        Protocol::Known(protocol) => u64::from(protocol),
        Protocol::Hidden => 256,
    };
    let origin = match origin {
        Origin::Port(port) => PortId::into(port),
        Origin::Punt => 1 << 16,
        Origin::Tunnel(port) => 1 << 17 | u64::from(port),
        Origin::Own { quotes_secret } => 1 << 18 | u64::from(quotes_secret),
    };
    let mut hash = (address(flow.source) ^ K).wrapping_mul(K);
    hash = (hash.rotate_left(29) ^ address(flow.destination)).wrapping_mul(K);
    hash = (hash.rotate_left(29) ^ ports ^ protocol << 34 ^ origin << 44).wrapping_mul(K);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(number: u32) -> Flow {
        Flow {
            source: IpAddr::from(number.to_be_bytes()),
            destination: IpAddr::from([10, 0, 0, 1]),
            protocol: Protocol::Known(17),
            ports: Ports::Known { source: 1, destination: 2 },
        }
    }

    fn decision(number: u32) -> Decision {
        Decision::Protect(sa_table::PolicyId(number))
    }

    #[test]
    fn what_is_found_is_what_was_stored_for_that_flow() {
        let mut cache = FlowCache::new(16);
        cache.observe(PolicyVersion(1), 1);
        for number in 0..200 {
            cache.insert(&flow(number), Origin::Port(0), decision(number));
            assert_eq!(cache.get(&flow(number), Origin::Port(0)), Some(decision(number)));
        }
        let kept = (0..200).filter(|number| match cache.get(&flow(*number), Origin::Port(0)) {
            Some(found) => found == decision(*number),
            None => false,
        });
        assert!(kept.count() >= 8);
        assert_eq!(cache.get(&flow(199), Origin::Punt), None, "the origin is part of the key");
    }

    #[test]
    fn a_new_policy_or_new_routes_make_everything_stale() {
        let mut cache = FlowCache::new(16);
        cache.observe(PolicyVersion(1), 1);
        cache.insert(&flow(1), Origin::Punt, decision(1));
        cache.observe(PolicyVersion(1), 1);
        assert!(cache.get(&flow(1), Origin::Punt).is_some());
        cache.observe(PolicyVersion(1), 2);
        assert!(cache.get(&flow(1), Origin::Punt).is_none());
        cache.insert(&flow(1), Origin::Punt, decision(2));
        cache.observe(PolicyVersion(2), 2);
        assert!(cache.get(&flow(1), Origin::Punt).is_none());
    }
}
