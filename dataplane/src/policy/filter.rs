//! Filters (IOS access groups) for IPv4 packets: at a port in clear, and into and out of tunnels.
//!
//! The lines of a list are compared in order, using an address index like that of a crypto map's
//! rules. Verdicts of longer lists are cached ([`Verdicts`]). Without filters there is no look-up.

mod facts;
mod list;
mod log;
mod verdicts;

use crate::host::kernel::PortId;
use sa_table::policy::{self, FilterPoint};
use sa_table::{Direction, FilterLog, PolicyVersion, WorkerId};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wire::IpSummary;

use facts::Facts;
use list::FilterList;
pub use log::MatchLog;
pub use verdicts::Verdicts;

/// All filters of a policy, compiled.
#[derive(Debug, Default)]
pub struct Filters {
    lists: Vec<Arc<FilterList>>,
    ports: Vec<Places>,
    policies: Vec<Places>,
    /// The record number of each port in the publication.
    records: Vec<(PortId, u16)>,
}

/// The lists of one port or policy.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    inbound: Option<u32>,
    outbound: Option<u32>,
}

/// The verdict of a list about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub(crate) list: u32,
    /// The matching line; `None` if no line matched.
    line: Option<u32>,
    pub(crate) permit: bool,
}

impl Filters {
    /// Compiles published filters for `workers` workers. `records` maps each port to its record of
    /// the publication. A line that existed before keeps its counter. Allocates; not for workers.
    pub fn compile(
        published: &policy::Filters,
        records: &[(PortId, u16)],
        workers: usize,
        before: &Filters,
    ) -> Filters {
        let port_of = |record: u16| records.iter().find(|(_, of)| *of == record).map(|(port, _)| *port);
        let compile = |list: &policy::FilterList| {
            let before = before.lists.iter().find(|before| before.definition.name == list.name);
            match before {
                Some(same) if same.definition == *list && same.matches.len() == workers + 1 => {
                    Arc::clone(same)
                }
                _ => Arc::new(FilterList::compile(list, workers, before.map(|list| &**list))),
            }
        };
        let mut filters =
            Filters { lists: published.lists.iter().map(compile).collect(), ..Filters::default() };
        filters.records = records.to_vec();
        for binding in &published.bindings {
            let (places, index) = match binding.point {
                FilterPoint::Port(record) => match port_of(record) {
                    Some(port) => (&mut filters.ports, usize::from(port)),
                    None => continue,
                },
                FilterPoint::Policy(policy) => (&mut filters.policies, policy.0 as usize),
            };
            if places.len() <= index {
                places.resize(index + 1, Places::default());
            }
            if let Some(place) = places.get_mut(index) {
                match binding.direction {
                    Direction::Inbound => place.inbound = Some(binding.list),
                    Direction::Outbound => place.outbound = Some(binding.list),
                }
            }
        }
        filters
    }

    /// Whether there is no filter.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The list at a point and direction.
    #[inline]
    pub fn at(&self, point: FilterPoint, direction: Direction) -> Option<u32> {
        let places = match point {
            FilterPoint::Port(port) => self.ports.get(usize::from(port)),
            FilterPoint::Policy(policy) => self.policies.get(policy.0 as usize),
        }?;
        match direction {
            Direction::Inbound => places.inbound,
            Direction::Outbound => places.outbound,
        }
    }

    /// The verdict of a list about a packet. IPv6 passes, as IPv4 access lists do not apply to it;
    /// a list that does not exist denies.
    #[inline]
    pub fn ruling(&self, list: u32, ip: &IpSummary, packet: &[u8]) -> Ruling {
        match Facts::of(ip, packet) {
            Some(facts) => self.compare(list, &facts),
            None => Ruling { list, line: None, permit: true },
        }
    }

    /// The same with a cache for lists that are not short. `version` is that of the policy that
    /// these filters belong to.
    #[inline]
    pub fn remembered_ruling(
        &self,
        list: u32,
        ip: &IpSummary,
        packet: &[u8],
        version: PolicyVersion,
        verdicts: &mut Verdicts,
    ) -> Ruling {
        let Some(facts) = Facts::of(ip, packet) else { return Ruling { list, line: None, permit: true } };
        if self.lists.get(list as usize).is_none_or(|filter| filter.is_short()) {
            return self.compare(list, &facts);
        }
        if let Some(ruling) = verdicts.get(version, list, &facts) {
            return ruling;
        }
        let ruling = self.compare(list, &facts);
        verdicts.insert(version, facts, ruling);
        ruling
    }

    fn compare(&self, list: u32, facts: &Facts) -> Ruling {
        let found = self.lists.get(list as usize).and_then(|filter| filter.find(facts));
        match found {
            Some((line, rule)) => Ruling { list, line: Some(line), permit: rule.permit },
            None => Ruling { list, line: None, permit: false },
        }
    }

    /// The record of a port in the publication that these filters came with.
    pub fn record(&self, port: PortId) -> Option<u16> {
        self.records.iter().find(|(known, _)| *known == port).map(|(_, record)| *record)
    }

    /// Matches of each line: list, number of the line, packets. Lines without a match are left out.
    pub fn matches(&self) -> impl Iterator<Item = (&str, u32, u64)> {
        self.lists
            .iter()
            .flat_map(|list| {
                let lines = list.definition.rules.iter().enumerate();
                lines.map(|(line, rule)| (list.definition.name.as_str(), rule.sequence, list.matched(line)))
            })
            .filter(|(.., matches)| *matches != 0)
    }

    /// Counts a match for a worker. Returns the log setting of the line.
    pub(crate) fn count(&self, ruling: Ruling, worker: WorkerId) -> Option<FilterLog> {
        let list = self.lists.get(ruling.list as usize)?;
        let line = ruling.line? as usize;
        let counter = list.matches.get(usize::from(worker.0))?.get(line)?;
        // Only this worker writes the counter, so a relaxed load and store are enough.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        list.definition.rules.get(line)?.log
    }
}

#[cfg(test)]
mod tests;
