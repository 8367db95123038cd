//! The traffic that a configuration protects on a device: the access-list lines of its crypto map
//! in the order of evaluation. The permits of an unusable entry count as protected, because their
//! traffic is dropped.

use std::collections::BTreeSet;

use super::region::Region;
use crate::Configuration;
use crate::model::{AclAction, AclRule, EntryBody, InterfaceName, Keying};
use crate::render::acl_rule;

/// Maximum number of regions that one comparison may split a permit into. Beyond it the rest counts
/// as not protected, which is the safe direction.
const PIECES: usize = 4096;

/// The result for a packet that a line matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Protected,
    /// A deny: continue at the line with this index, after the entry.
    GoOn(usize),
}

/// An access-list line as used by one entry of a crypto map.
#[derive(Clone, Debug)]
pub(super) struct Line<'c> {
    /// The entry.
    pub(super) seq: u16,
    /// The access list.
    pub(super) list: &'c str,
    rule: &'c AclRule,
    regions: Vec<Region>,
    verdict: Verdict,
}

impl Line<'_> {
    /// The line as configured.
    pub(super) fn text(&self) -> String {
        acl_rule(self.rule)
    }

    /// Whether a matching packet is protected.
    pub(super) fn is_permit(&self) -> bool {
        self.verdict == Verdict::Protected
    }

    fn does_the_same(&self, other: &Line<'_>) -> bool {
        (&self.regions, self.verdict) == (&other.regions, other.verdict)
    }
}

/// A crypto map on an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied<'c> {
    /// The interface.
    pub(super) interface: &'c InterfaceName,
    /// Its Linux device.
    pub(super) device: &'c str,
    /// The map.
    pub(super) map: &'c str,
}

/// The existing crypto maps with the interfaces that they are applied to, including interfaces that
/// are shut down.
pub(super) fn applied(configuration: &Configuration) -> impl Iterator<Item = Applied<'_>> {
    configuration.interfaces.iter().filter_map(|(name, interface)| {
        let map =
            interface.crypto_map.as_deref().filter(|map| configuration.crypto_maps.contains_key(*map))?;
        Some(Applied { interface: name, device: interface.device_name(name), map })
    })
}

/// The bodies whose access lists an entry uses: its own, or those of the dynamic map that it refers
/// to.
pub(super) fn bodies<'c>(configuration: &'c Configuration, map: &str, seq: u16) -> Vec<&'c EntryBody> {
    let Some(entry) = configuration.entry(map, seq) else { return Vec::new() };
    match &entry.keying {
        Keying::Dynamic { map, .. } => {
            let templates = configuration.dynamic_maps.get(map);
            templates.map_or(Vec::new(), |templates| templates.entries.values().collect())
        }
        Keying::Isakmp | Keying::Manual => vec![&entry.body],
    }
}

/// The lines of the crypto map on `device`; empty without one.
pub(super) fn lines<'c>(configuration: &'c Configuration, device: &str) -> Vec<Line<'c>> {
    let mut lines = Vec::new();
    if let Some(applied) = applied(configuration).find(|applied| applied.device == device) {
        add_map(configuration, applied.map, &mut lines);
    }
    lines
}

/// All lines that apply to packets leaving by `device`: those of its own map, then those of every
/// map with `fail-close`, whose traffic is dropped.
pub(super) fn judged<'c>(configuration: &'c Configuration, device: &str) -> Vec<Line<'c>> {
    let mut lines = lines(configuration, device);
    for (name, _) in configuration.crypto_maps.iter().filter(|(_, map)| map.fail_close) {
        add_map(configuration, name, &mut lines);
    }
    lines
}

fn add_map<'c>(configuration: &'c Configuration, map: &str, lines: &mut Vec<Line<'c>>) {
    let Some(set) = configuration.crypto_maps.get(map) else { return };
    for seq in set.entries.keys() {
        for body in bodies(configuration, map, *seq) {
            let start = lines.len();
            let name = body.match_address.as_deref();
            let Some((name, list)) =
                name.and_then(|name| Some((name, configuration.access_lists.get(name)?)))
            else {
                continue;
            };
            for (_, rule) in list.rules() {
                let verdict = match rule.action {
                    AclAction::Permit => Verdict::Protected,
                    // The end of the entry is not known yet.
                    AclAction::Deny => Verdict::GoOn(usize::MAX),
                };
                lines.push(Line { seq: *seq, list: name, rule, regions: Region::of(rule), verdict });
            }
            let end = lines.len();
            for line in lines.iter_mut().skip(start).filter(|line| !line.is_permit()) {
                line.verdict = Verdict::GoOn(end);
            }
        }
    }
}

/// The indexes of permits of `before` of which at least one flow is not protected by any of
/// `after`. `concerns` selects the permits to check.
pub(super) fn lost(
    before: &[Line<'_>],
    after: &[Vec<Line<'_>>],
    concerns: impl Fn(&Line<'_>) -> bool,
) -> BTreeSet<usize> {
    let same = |after: &Vec<Line<'_>>| {
        after.len() == before.len() && before.iter().zip(after).all(|(a, b)| a.does_the_same(b))
    };
    if after.iter().any(same) {
        return BTreeSet::new();
    }
    let is_lost = |index: &usize| {
        // Only the flows that reach this permit; earlier lines decide about others.
        let mut parts: Vec<Region> =
            before[*index].regions.iter().flat_map(|region| reaching(before, *region, *index)).collect();
        for lines in after {
            parts = parts.into_iter().flat_map(|part| reaching(lines, part, lines.len())).collect();
        }
        !parts.is_empty()
    };
    let asked = (0..before.len()).filter(|index| before[*index].is_permit() && concerns(&before[*index]));
    asked.filter(is_lost).collect()
}

/// The parts of `region` that no line before index `end` decides about.
fn reaching(lines: &[Line<'_>], region: Region, end: usize) -> Vec<Region> {
    let mut undecided = Vec::new();
    let mut work = vec![(region, 0)];
    let mut pieces = 0;
    while let Some((region, from)) = work.pop() {
        pieces += 1;
        let next = lines.iter().enumerate().take(end).skip(from).find_map(|(at, line)| {
            line.regions.iter().find_map(|own| Some((at, line.verdict, region.intersection(own)?)))
        });
        let Some((at, verdict, shared)) = next.filter(|_| pieces <= PIECES) else {
            undecided.push(region);
            continue;
        };
        // The line may have further regions.
        work.extend(region.without(&shared).into_iter().map(|piece| (piece, at)));
        match verdict {
            Verdict::GoOn(target) if target <= end => work.push((shared, target)),
            Verdict::GoOn(_) | Verdict::Protected => {}
        }
    }
    undecided
}

#[cfg(test)]
mod tests;
