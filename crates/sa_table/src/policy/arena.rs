//! A policy arena: blobs behind a directory of (kind, number, version, offset, length). Kinds that
//! a reader does not know are skipped, so that later versions can add kinds.

use thiserror::Error;

use super::codec::{EntryError, decode_port, decode_rule, encode_port, encode_rule};
use super::filter_codec::{EncodedFilters, KIND_BINDINGS, KIND_FILTERS, decode_filters};
use super::{Filters, PortRecord, Rule};
use crate::ids::PolicyVersion;
use crate::layout::{ArenaHead, BlobEntry, PortWords, RuleWords};

const KIND_PORTS: u32 = 1;
const KIND_RULES: u32 = 2;

/// The rules of one crypto-map set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleList {
    /// The policy version in which these rules were last changed: unchanged lists need not be
    /// compiled again.
    pub version: PolicyVersion,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// The published ports and rules, copied out of the current arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySnapshot {
    /// The policy version.
    pub version: PolicyVersion,
    /// All data-plane interfaces.
    pub ports: Vec<PortRecord>,
    /// The rule lists, by the index that ports name.
    pub rule_lists: Vec<RuleList>,
    /// The filters of clear packets, and of packets into and out of tunnels.
    pub filters: Filters,
}

/// Ports or rules that cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A port that does not fit its record.
    #[error("port {port}: {source}")]
    Port {
        /// Position in the list.
        port: usize,
        /// The error.
        source: EntryError,
    },
    /// An invalid rule.
    #[error("rule list {list}, rule {rule}: {source}")]
    Rule {
        /// Position of the list.
        list: usize,
        /// Position in the list.
        rule: usize,
        /// The error.
        source: EntryError,
    },
    /// An invalid line of a filter.
    #[error("access list {list}, line {rule}: {source}")]
    Filter {
        /// Position of the list.
        list: usize,
        /// Position in the list.
        rule: usize,
        /// The error.
        source: EntryError,
    },
    /// A filter for a port or policy that does not exist.
    #[error("filter {binding}: {source}")]
    Binding {
        /// Position in the list.
        binding: usize,
        /// The error.
        source: EntryError,
    },
    /// The arena is too small.
    #[error(
        "the ports and rules need {needed} words, the shared segments hold {capacity}; save the configuration and restart tohub, which makes them anew for it"
    )]
    TooLarge {
        /// Words that are needed.
        needed: usize,
        /// Words of an arena.
        capacity: usize,
    },
    /// The stored words do not follow the layout of an arena.
    #[error("the policy arena is malformed at {0}")]
    Malformed(&'static str),
}

/// The encoded rule lists of the previous publication, with the version of each.
pub(crate) type EncodedLists = Vec<(PolicyVersion, Vec<u64>)>;

/// Encodes every rule list; a list that is unchanged from `previous` keeps its version.
pub(crate) fn encode_lists<L: AsRef<[Rule]>>(
    lists: &[L],
    version: PolicyVersion,
    policies: usize,
    previous: &EncodedLists,
) -> Result<EncodedLists, PolicyError> {
    let encode =
        |(list, rules): (usize, &L)| {
            let rules = rules.as_ref();
            let mut words = vec![0; rules.len() * RuleWords::WORDS];
            for (index, (field, rule)) in words.chunks_exact_mut(RuleWords::WORDS).zip(rules).enumerate() {
                encode_rule(field, rule, index, rules.len(), policies)
                    .map_err(|source| PolicyError::Rule { list, rule: index, source })?;
            }
            let since =
                previous.get(list).filter(|(_, old)| *old == words).map_or(version, |(since, _)| *since);
            Ok((since, words))
        };
    lists.iter().enumerate().map(encode).collect()
}

/// The words of a whole arena.
pub(crate) fn encode_arena(
    version: PolicyVersion,
    ports: &[PortRecord],
    lists: &EncodedLists,
    filters: &EncodedFilters,
    capacity: usize,
) -> Result<Vec<u64>, PolicyError> {
    let mut port_words = vec![0; ports.len() * PortWords::WORDS];
    for (port, (field, record)) in port_words.chunks_exact_mut(PortWords::WORDS).zip(ports).enumerate() {
        encode_port(field, record, lists.len()).map_err(|source| PolicyError::Port { port, source })?;
    }
    let kind = |kind: u32, number: usize| u64::from(kind) << 32 | number as u64;
    let ports_blob = (kind(KIND_PORTS, 0), version, &port_words);
    let list_blobs = lists.iter().enumerate().map(|(n, (since, words))| (kind(KIND_RULES, n), *since, words));
    let filter_blobs =
        filters.lists.iter().enumerate().map(|(n, words)| (kind(KIND_FILTERS, n), version, words));
    let bindings = (!filters.bindings.is_empty()).then_some(&filters.bindings);
    let binding_blob = bindings.map(|words| (kind(KIND_BINDINGS, 0), version, words));
    let blobs: Vec<_> =
        core::iter::once(ports_blob).chain(list_blobs).chain(filter_blobs).chain(binding_blob).collect();

    let directory_end = ArenaHead::WORDS + blobs.len() * BlobEntry::WORDS;
    let needed = directory_end + blobs.iter().map(|(_, _, words)| words.len()).sum::<usize>();
    if needed > capacity {
        return Err(PolicyError::TooLarge { needed, capacity });
    }
    let mut arena = Vec::with_capacity(needed);
    arena.resize(ArenaHead::WORDS, 0);
    arena[ArenaHead::version] = version.0;
    arena[ArenaHead::entries] = blobs.len() as u64;
    arena[ArenaHead::length] = needed as u64;
    let mut offset = directory_end;
    for (kind, since, words) in &blobs {
        arena.extend([*kind, since.0, offset as u64, words.len() as u64]);
        offset += words.len();
    }
    for (_, _, words) in &blobs {
        arena.extend_from_slice(words);
    }
    Ok(arena)
}

/// Reads an arena that was copied out of shared memory; any content gives a policy or an error.
pub(crate) fn decode_arena(arena: &[u64], policies: usize) -> Result<PolicySnapshot, PolicyError> {
    let directory = Directory::new(arena)?;
    let lists = directory.count(KIND_RULES);
    let mut rule_lists = Vec::with_capacity(lists);
    for list in 0..lists {
        let (version, words) = directory.blob(KIND_RULES, list)?;
        let rules = words.len() / RuleWords::WORDS;
        let decode = |(rule, words)| {
            decode_rule(words, rule, rules, policies).map_err(|source| PolicyError::Rule {
                list,
                rule,
                source,
            })
        };
        let rules = words.chunks_exact(RuleWords::WORDS).enumerate().map(decode).collect::<Result<_, _>>()?;
        rule_lists.push(RuleList { version, rules });
    }
    let (_, words) = directory.blob(KIND_PORTS, 0)?;
    let decode =
        |(port, words)| decode_port(words, lists).map_err(|source| PolicyError::Port { port, source });
    let ports = words.chunks_exact(PortWords::WORDS).enumerate().map(decode).collect::<Result<_, _>>()?;
    let filters = decode_filters(&directory, policies)?;
    Ok(PolicySnapshot { version: PolicyVersion(arena[ArenaHead::version]), ports, rule_lists, filters })
}

/// The directory of an arena, its length checked.
pub(super) struct Directory<'a> {
    arena: &'a [u64],
    entries: &'a [u64],
}

impl<'a> Directory<'a> {
    fn new(arena: &'a [u64]) -> Result<Self, PolicyError> {
        let malformed = PolicyError::Malformed("its head");
        let entries =
            arena.get(ArenaHead::entries).and_then(|n| usize::try_from(*n).ok()).ok_or(malformed.clone())?;
        let words = entries.checked_mul(BlobEntry::WORDS).ok_or(malformed.clone())?;
        let entries = arena.get(ArenaHead::WORDS..).and_then(|rest| rest.get(..words)).ok_or(malformed)?;
        Ok(Self { arena, entries })
    }

    fn entries(&self) -> impl Iterator<Item = &'a [u64]> {
        self.entries.chunks_exact(BlobEntry::WORDS)
    }

    pub(super) fn count(&self, kind: u32) -> usize {
        self.entries().filter(|entry| entry[BlobEntry::kind] >> 32 == u64::from(kind)).count()
    }

    pub(super) fn blob(&self, kind: u32, number: usize) -> Result<(PolicyVersion, &'a [u64]), PolicyError> {
        let wanted = u64::from(kind) << 32 | number as u64;
        // The writer stores the blobs in this order, so the guess is right unless a newer writer
        // added kinds in between.
        let guess = usize::from(kind == KIND_RULES) + number;
        let entry = self
            .entries()
            .nth(guess)
            .filter(|entry| entry[BlobEntry::kind] == wanted)
            .or_else(|| self.entries().find(|entry| entry[BlobEntry::kind] == wanted))
            .ok_or(PolicyError::Malformed("its directory"))?;
        let bounds = |field: usize| usize::try_from(entry[field]).ok();
        let words = bounds(BlobEntry::offset)
            .zip(bounds(BlobEntry::length))
            .and_then(|(offset, length)| self.arena.get(offset..)?.get(..length))
            .ok_or(PolicyError::Malformed("the bounds of a blob"))?;
        Ok((PolicyVersion(entry[BlobEntry::version]), words))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::codec::tests::{POLICIES, arbitrary_port, arbitrary_rule};
    use crate::policy::filter_codec::encode_filters;
    use crate::policy::filter_codec::tests::arbitrary_filters;

    fn arbitrary_lists() -> impl Strategy<Value = Vec<Vec<Rule>>> {
        let list = (0usize..6).prop_flat_map(|n| proptest::collection::vec(arbitrary_rule(n as u32), n));
        proptest::collection::vec(list, 1..5)
    }

    fn encode(
        version: u64,
        ports: &[PortRecord],
        lists: &[Vec<Rule>],
        filters: &Filters,
        previous: &EncodedLists,
    ) -> (Vec<u64>, EncodedLists) {
        let version = PolicyVersion(version);
        let lists = encode_lists(lists, version, POLICIES, previous).unwrap();
        let filters = encode_filters(filters, POLICIES).unwrap();
        (encode_arena(version, ports, &lists, &filters, 1 << 16).unwrap(), lists)
    }

    proptest! {
        #[test]
        fn an_arena_gives_back_what_was_published(
            lists in arbitrary_lists(),
            ports in proptest::collection::vec(arbitrary_port(1), 0..4),
            filters in arbitrary_filters(),
        ) {
            let (arena, _) = encode(3, &ports, &lists, &filters, &Vec::new());
            let snapshot = decode_arena(&arena, POLICIES).unwrap();
            prop_assert_eq!(snapshot.version, PolicyVersion(3));
            prop_assert_eq!(snapshot.ports, ports);
            prop_assert_eq!(snapshot.filters, filters);
            prop_assert!(snapshot.rule_lists.iter().all(|list| list.version == PolicyVersion(3)));
            prop_assert_eq!(snapshot.rule_lists.into_iter().map(|list| list.rules).collect::<Vec<_>>(), lists);
        }

        #[test]
        fn corrupted_arenas_never_panic(
            lists in arbitrary_lists(),
            ports in proptest::collection::vec(arbitrary_port(1), 0..4),
            filters in arbitrary_filters(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u64>(), 0u64..200]), 1..5),
            end in any::<prop::sample::Index>(),
            cut: bool,
        ) {
            let (mut arena, _) = encode(3, &ports, &lists, &filters, &Vec::new());
            for (index, value) in damage {
                let place = index.index(arena.len());
                arena[place] = value;
            }
            if cut {
                arena.truncate(end.index(arena.len()));
            }
            let _ = decode_arena(&arena, POLICIES);
        }

        #[test]
        fn arbitrary_words_are_no_arena_and_no_panic(arena in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..40], 0..80)) {
            let _ = decode_arena(&arena, POLICIES);
        }
    }

    #[test]
    fn an_unchanged_list_keeps_its_version() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut rule =
            || proptest::strategy::ValueTree::current(&arbitrary_rule(1).new_tree(&mut runner).unwrap());
        let (a, b) = (vec![rule()], vec![rule()]);
        let none = Filters::default();
        let (_, first) = encode(1, &[], &[a.clone(), b.clone()], &none, &Vec::new());
        let (arena, _) = encode(2, &[], &[a, vec![]], &none, &first);
        let versions: Vec<_> =
            decode_arena(&arena, POLICIES).unwrap().rule_lists.iter().map(|list| list.version.0).collect();
        assert_eq!(versions, [1, 2]);
    }

    #[test]
    fn a_policy_that_does_not_fit_says_how_much_it_needs() {
        let lists = encode_lists(&[Vec::<Rule>::new()], PolicyVersion(1), POLICIES, &Vec::new()).unwrap();
        let filters = EncodedFilters::default();
        let error = encode_arena(PolicyVersion(1), &[], &lists, &filters, 10).unwrap_err();
        assert_eq!(error, PolicyError::TooLarge { needed: 16, capacity: 10 });
    }
}
