//! A compiled access list with its counters.

use super::facts::{Facts, fits};
use crate::policy::rules::index::Index;
use sa_table::policy::{self, FilterRule};
use std::sync::atomic::{AtomicU64, Ordering};

/// One access list.
#[derive(Debug)]
pub(super) struct FilterList {
    pub(super) definition: policy::FilterList,
    index: Index<u32>,
    /// Matches by line: a row for each worker, which only that worker writes, and a last row for
    /// matches counted before the list was compiled.
    pub(super) matches: Vec<Box<[AtomicU64]>>,
}

impl FilterList {
    pub(super) fn compile(
        list: &policy::FilterList,
        workers: usize,
        before: Option<&FilterList>,
    ) -> FilterList {
        let rules = &list.rules;
        // The index holds ranges; for a non-contiguous mask the range is a superset, and the
        // comparison decides.
        let range = |masked: policy::Masked<u32>| (masked.value & masked.mask, masked.value | !masked.mask);
        let index = Index::build(rules.iter().map(|rule| (range(rule.source), range(rule.destination))));
        let counted = |rule: &FilterRule| {
            let before = before?;
            let line = before.definition.rules.iter().position(|old| old == rule)?;
            Some(before.matched(line))
        };
        let row = || rules.iter().map(|_| AtomicU64::new(0)).collect();
        let mut matches: Vec<Box<[AtomicU64]>> = (0..workers).map(|_| row()).collect();
        matches.push(rules.iter().map(|rule| AtomicU64::new(counted(rule).unwrap_or(0))).collect());
        FilterList { definition: list.clone(), index, matches }
    }

    /// Matches of a line so far.
    pub(super) fn matched(&self, line: usize) -> u64 {
        self.matches.iter().filter_map(|row| row.get(line)).map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Whether the list is so short that a cache would not be faster than comparing all lines.
    #[inline]
    pub(super) fn is_short(&self) -> bool {
        matches!(self.index, Index::Scan)
    }

    /// The first line that matches.
    #[inline]
    pub(super) fn find(&self, facts: &Facts) -> Option<(u32, &FilterRule)> {
        let rules = &self.definition.rules;
        match self.index.candidates(facts.source, facts.destination) {
            None => (0..).zip(rules).find(|(_, rule)| fits(rule, facts)),
            Some(candidates) => candidates
                .iter()
                .filter_map(|line| Some((*line, rules.get(*line as usize)?)))
                .find(|(_, rule)| fits(rule, facts)),
        }
    }
}
