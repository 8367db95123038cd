//! Address → the rules that can match it, in order.

use crate::policy::address_bits::AddressBits;
use std::collections::BTreeSet;

/// Lists up to this length are scanned: they fit a few cache lines.
const SCAN: usize = 8;
/// Largest average number of candidates per rule; a list whose rules overlap more is scanned.
const CANDIDATES_PER_RULE: usize = 64;

/// Search method of a list.
#[derive(Debug)]
pub(crate) enum Index<K> {
    /// Scan all rules in order.
    Scan,
    /// By the destination address.
    Destination(Pieces<K>),
    /// By the source address.
    Source(Pieces<K>),
}

impl<K: AddressBits> Index<K> {
    /// `rules` are (source range, destination range) in list order.
    pub(crate) fn build(rules: impl Iterator<Item = ((K, K), (K, K))> + Clone) -> Index<K> {
        let count = rules.clone().count();
        if count <= SCAN {
            return Index::Scan;
        }
        let limit = count * CANDIDATES_PER_RULE;
        let by_destination = Pieces::cut(rules.clone().map(|(_, destination)| destination), limit);
        let by_source = Pieces::cut(rules.map(|(source, _)| source), limit);
        match (by_destination, by_source) {
            (Some(destination), Some(source)) if source.longest() < destination.longest() => {
                Index::Source(source)
            }
            (Some(destination), _) => Index::Destination(destination),
            (None, Some(source)) => Index::Source(source),
            (None, None) => Index::Scan,
        }
    }

    /// Positions of the rules that can match, ascending; `None`: scan all rules.
    #[inline]
    pub(crate) fn candidates(&self, source: K, destination: K) -> Option<&[u32]> {
        match self {
            Index::Scan => None,
            Index::Destination(pieces) => Some(pieces.find(destination)),
            Index::Source(pieces) => Some(pieces.find(source)),
        }
    }
}

/// Disjoint pieces of the address space with the rules of each.
#[derive(Debug)]
pub(crate) struct Pieces<K> {
    /// First addresses, ascending. Addresses below the first one belong to no rule.
    starts: Vec<K>,
    /// End of the candidates of each piece; they begin at the end of the piece before.
    ends: Vec<u32>,
    candidates: Vec<u32>,
}

impl<K: AddressBits> Pieces<K> {
    /// `None` when more than `limit` candidates would be needed.
    fn cut(ranges: impl Iterator<Item = (K, K)>, limit: usize) -> Option<Pieces<K>> {
        // (address, rule, begins): at each address rules begin or have just ended.
        let mut edges = Vec::new();
        for (rule, (first, last)) in ranges.enumerate() {
            edges.push((first, rule as u32, true));
            if let Some(behind) = last.next() {
                edges.push((behind, rule as u32, false));
            }
        }
        edges.sort_unstable();
        let mut pieces = Pieces { starts: Vec::new(), ends: Vec::new(), candidates: Vec::new() };
        let mut open = BTreeSet::new();
        for chunk in edges.chunk_by(|one, other| one.0 == other.0) {
            for (_, rule, begins) in chunk {
                if *begins {
                    open.insert(*rule);
                } else {
                    open.remove(rule);
                }
            }
            let Some((start, ..)) = chunk.first() else { continue };
            if pieces.candidates.len() + open.len() > limit {
                return None;
            }
            pieces.starts.push(*start);
            pieces.candidates.extend(&open);
            pieces.ends.push(pieces.candidates.len() as u32);
        }
        Some(pieces)
    }

    #[inline]
    fn find(&self, address: K) -> &[u32] {
        let Some(piece) = self.starts.partition_point(|start| *start <= address).checked_sub(1) else {
            return &[];
        };
        let begin = piece.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(piece).copied().unwrap_or(begin);
        self.candidates.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// The largest number of candidates of a piece: the worst case of a look-up.
    fn longest(&self) -> u32 {
        let mut begin = 0;
        let mut longest = 0;
        for end in &self.ends {
            longest = longest.max(end - begin);
            begin = *end;
        }
        longest
    }
}
