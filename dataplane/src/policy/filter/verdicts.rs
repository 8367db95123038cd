//! A cache of filter verdicts by packet fields.
//!
//! The key holds all fields that a line can compare, so a cached verdict equals that of a
//! comparison. An entry is valid for one publication of the policy: an edit of a list applies to
//! the next packet of a running flow.

use super::Ruling;
use super::facts::Facts;
use crate::policy::flow::Ports;
use sa_table::PolicyVersion;

/// The cache of one worker; newer entries overwrite older ones.
#[derive(Debug)]
pub struct Verdicts {
    entries: Box<[Option<Entry>]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    version: PolicyVersion,
    facts: Facts,
    ruling: Ruling,
}

impl Verdicts {
    /// Room for `flows` entries, rounded up to a power of two. Allocates; called when a worker
    /// starts.
    pub fn new(flows: usize) -> Verdicts {
        Verdicts { entries: vec![None; flows.max(1).next_power_of_two()].into_boxed_slice() }
    }

    #[inline]
    pub(super) fn get(&self, version: PolicyVersion, list: u32, facts: &Facts) -> Option<Ruling> {
        let entry = self.entries.get(self.place(list, facts))?.as_ref()?;
        let is_it = entry.version == version && entry.ruling.list == list && entry.facts == *facts;
        is_it.then_some(entry.ruling)
    }

    #[inline]
    pub(super) fn insert(&mut self, version: PolicyVersion, facts: Facts, ruling: Ruling) {
        let place = self.place(ruling.list, &facts);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Some(Entry { version, facts, ruling });
        }
    }

    /// A multiplicative hash. A sender that provokes collisions only slows down its own packets.
    #[inline]
    fn place(&self, list: u32, facts: &Facts) -> usize {
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let ports = match facts.ports {
            Ports::Known { source, destination } => u64::from(source) << 16 | u64::from(destination),
            Ports::Hidden => 1 << 32,
        };
        let rest = u64::from(facts.protocol) << 34
            | u64::from(facts.service) << 42
            | u64::from(facts.later_fragment) << 50
            | facts.established.map_or(0, |established| 1 + u64::from(established)) << 51;
        let addresses = u64::from(facts.source) << 32 | u64::from(facts.destination);
        let mut hash = (addresses ^ K).wrapping_mul(K);
        hash = (hash.rotate_left(29) ^ ports ^ rest ^ u64::from(list) << 54).wrapping_mul(K);
        (hash ^ hash >> 32) as usize & (self.entries.len() - 1)
    }
}
