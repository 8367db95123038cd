//! A crypto-map set's rule list: ordered, first match decides, read outbound as written and inbound
//! mirrored.
//!
//! A list of a few rules is scanned. For a longer one the address space of one field (destination
//! or source, whichever separates better) is split where any rule's prefix begins or ends, and each
//! piece lists, in order, the few rules that can match there.

pub(crate) mod index;

use crate::policy::address_bits::AddressBits;
use crate::policy::flow::{Fit, Flow};
use index::Index;
use sa_table::PolicyId;
use sa_table::policy::{Action, Prefix, Rule};
use sa_table::record::PortRange;
use std::net::IpAddr;

/// The result of a rule list for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The SA of this policy protects it.
    Protect(PolicyId),
    /// Protected, but this side may not initiate: dropped.
    Drop,
    /// No rule matches: not protected.
    Clear,
    /// A rule might match, but the packet does not show the ports or the protocol that it compares.
    /// Such a packet must not pass in clear.
    Undecided,
}

/// A compiled rule list. Immutable; shared by the workers.
#[derive(Debug, Default)]
pub struct RuleList {
    v4: Family<u32>,
    v6: Family<u128>,
}

impl RuleList {
    /// Compiles the rules of one list. A rule whose prefixes are of two families matches nothing.
    /// Allocates; not for workers.
    pub fn compile(rules: &[Rule]) -> RuleList {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (position, rule) in rules.iter().enumerate() {
            match (rule.source.address, rule.destination.address) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    v4.push(Compiled::new(position, rule, source.into(), destination.into()));
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    v6.push(Compiled::new(position, rule, source.into(), destination.into()));
                }
                _ => {}
            }
        }
        RuleList { v4: Family::new(v4), v6: Family::new(v6) }
    }

    /// The verdict on a packet that is about to leave.
    #[inline]
    pub fn outbound(&self, flow: &Flow) -> Verdict {
        match (flow.source, flow.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.v4.decide(source.into(), destination.into(), flow)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.v6.decide(source.into(), destination.into(), flow)
            }
            // Addresses of two families are impossible in one packet; fail closed.
            _ => Verdict::Undecided,
        }
    }

    /// What holds for a clear packet that arrived: anything but [`Verdict::Clear`] means that it
    /// should have been protected.
    #[inline]
    pub fn inbound(&self, flow: &Flow) -> Verdict {
        self.outbound(&flow.mirrored())
    }

    /// Whether the list has no rule.
    pub fn is_empty(&self) -> bool {
        self.v4.rules.is_empty() && self.v6.rules.is_empty()
    }
}

/// One rule, ready to compare.
#[derive(Clone, Copy, Debug)]
struct Compiled<K> {
    source: (K, K),
    destination: (K, K),
    protocol: Option<u8>,
    source_ports: PortRange,
    destination_ports: PortRange,
    /// Position in the published list, which jumps refer to.
    position: u32,
    action: Action,
}

impl<K: AddressBits> Compiled<K> {
    fn new(position: usize, rule: &Rule, source: K, destination: K) -> Compiled<K> {
        let range = |address: K, prefix: &Prefix| address.range(prefix.length);
        Compiled {
            source: range(source, &rule.source),
            destination: range(destination, &rule.destination),
            protocol: rule.protocol,
            source_ports: rule.source_ports,
            destination_ports: rule.destination_ports,
            position: position as u32,
            action: rule.action,
        }
    }

    #[inline]
    fn fits(&self, source: K, destination: K, flow: &Flow) -> Fit {
        let inside = self.destination.0 <= destination
            && destination <= self.destination.1
            && self.source.0 <= source
            && source <= self.source.1;
        if inside { flow.fits(self.protocol, self.source_ports, self.destination_ports) } else { Fit::No }
    }
}

/// The rules of one IP version.
#[derive(Debug)]
struct Family<K> {
    rules: Vec<Compiled<K>>,
    index: Index<K>,
}

impl<K> Default for Family<K> {
    fn default() -> Family<K> {
        Family { rules: Vec::new(), index: Index::Scan }
    }
}

impl<K: AddressBits> Family<K> {
    fn new(rules: Vec<Compiled<K>>) -> Family<K> {
        let index = Index::build(rules.iter().map(|rule| (rule.source, rule.destination)));
        Family { rules, index }
    }

    #[inline]
    fn decide(&self, source: K, destination: K, flow: &Flow) -> Verdict {
        match self.index.candidates(source, destination) {
            None => walk(self.rules.iter(), source, destination, flow),
            Some(candidates) => {
                let rules = candidates.iter().filter_map(|place| self.rules.get(*place as usize));
                walk(rules, source, destination, flow)
            }
        }
    }
}

/// First match decides; a jump skips to its target, which is always a later rule. If a packet lacks
/// the fields to decide whether a jump applies, the rules that the jump would skip are checked too,
/// further jumps included: if one of them can match, the verdict is undecided, otherwise the walk
/// continues.
#[inline]
fn walk<'r, K: AddressBits + 'r>(
    rules: impl Iterator<Item = &'r Compiled<K>>,
    source: K,
    destination: K,
    flow: &Flow,
) -> Verdict {
    let (mut next, mut doubtful_until) = (0, 0);
    for rule in rules {
        if rule.position < next {
            continue;
        }
        match rule.fits(source, destination, flow) {
            Fit::No => {}
            fit if fit == Fit::Unknown || rule.position < doubtful_until => match rule.action {
                Action::Jump(target) => doubtful_until = doubtful_until.max(target),
                // The fields that decide between this rule and a later one are in another fragment.
                Action::Protect(_) | Action::Drop => return Verdict::Undecided,
            },
            _ => match rule.action {
                Action::Protect(policy) => return Verdict::Protect(policy),
                Action::Drop => return Verdict::Drop,
                // A valid jump target is after the rule. For an invalid one continue with the next
                // rule, which fails safe.
                Action::Jump(target) => next = target.max(rule.position),
            },
        }
    }
    Verdict::Clear
}

#[cfg(test)]
mod tests;
