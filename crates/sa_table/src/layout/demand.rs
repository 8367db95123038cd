//! Computes the capacities of the segments from the needs of a configuration.

use thiserror::Error;

use super::capacities::{MAX_ARENA_WORDS, MAX_CHECKPOINT_WORDS, MAX_POLICIES, MAX_SLOTS};
use super::{ArenaHead, BlobEntry, Capacities, FilterHeadWords, FilterWords, PortWords, RuleWords};
use crate::header::SegmentKind;

/// SA pairs that may exist in addition to those in use, because they replace one another (rekeying,
/// change of peer): a quarter of all, and at least this many.
const LEAST_OVERLAP: u64 = 2048;

/// Octets that the control plane stores of a policy, with its selectors, in the checkpoint.
const STORED_POLICY: u64 = 320;
/// The same of each rule: one more range on both sides.
const STORED_RULE: u64 = 224;
/// The same of an SA pair.
const STORED_TUNNEL: u64 = 768;

/// The needs of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Ports.
    pub ports: u64,
    /// Rule lists.
    pub rule_lists: u64,
    /// Rules of all lists.
    pub rules: u64,
    /// Access lists that filter.
    pub filter_lists: u64,
    /// Their lines.
    pub filter_lines: u64,
    /// Places and directions where they are applied: ports and policies.
    pub filter_bindings: u64,
    /// Policies.
    pub policies: u64,
    /// SA pairs at one time, without those that replace one another.
    pub tunnels: u64,
}

/// A need that exceeds the capacities of the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the shared segments are made for {capacity} {what}, {needed} are needed")]
pub struct Shortage {
    /// The kind of object.
    pub what: &'static str,
    /// The number needed.
    pub needed: u64,
    /// The number available.
    pub capacity: u64,
}

impl Demand {
    /// Words that ports, rules and filters take in a policy arena.
    fn arena_words(&self) -> u64 {
        let words = |items: u64, each: usize| items.saturating_mul(each as u64);
        let bindings = u64::from(self.filter_bindings > 0);
        let blobs = self.rule_lists.saturating_add(self.filter_lists).saturating_add(1 + bindings);
        words(1, ArenaHead::WORDS)
            .saturating_add(words(blobs, BlobEntry::WORDS))
            .saturating_add(words(self.ports, PortWords::WORDS))
            .saturating_add(words(self.rules, RuleWords::WORDS))
            .saturating_add(words(self.filter_lists, FilterHeadWords::WORDS))
            .saturating_add(words(self.filter_lines, FilterWords::WORDS))
            .saturating_add(self.filter_bindings)
    }

    fn checkpoint_words(&self) -> u64 {
        let octets = |items: u64, each: u64| items.saturating_mul(each);
        octets(self.policies, STORED_POLICY)
            .saturating_add(octets(self.rules, STORED_RULE))
            .saturating_add(octets(self.tunnels, STORED_TUNNEL))
            / 8
    }
}

impl Capacities {
    /// Capacities for a configuration, with a quarter of spare room for growth while the gateway
    /// runs. Never below the default, never above the limits of the format:
    /// [`Capacities::check_room`] checks whether that is enough.
    pub fn for_demand(demand: &Demand) -> Self {
        let least = Self::default();
        let grown = |needed: u64| needed.saturating_add(needed / 4);
        let slots = demand.tunnels.saturating_add(LEAST_OVERLAP.max(demand.tunnels / 4));
        Self {
            inbound_slots: within(slots, least.inbound_slots, MAX_SLOTS),
            outbound_slots: within(slots, least.outbound_slots, MAX_SLOTS),
            policies: within(grown(demand.policies), least.policies, MAX_POLICIES),
            arena_words: within(grown(demand.arena_words()), least.arena_words, MAX_ARENA_WORDS),
            checkpoint_words: within(
                grown(demand.checkpoint_words()),
                least.checkpoint_words,
                MAX_CHECKPOINT_WORDS,
            ),
            ..least
        }
    }

    /// Whether a configuration fits: its policies, its ports and rules. SA slots are not counted; a
    /// tunnel without a free slot is refused when it is negotiated, and its packets are held.
    ///
    /// # Errors
    /// The first need that exceeds the capacities.
    pub fn check_room(&self, demand: &Demand) -> Result<(), Shortage> {
        let checks = [
            ("policies", demand.policies, self.policies),
            ("words of ports, rules and filters", demand.arena_words(), self.arena_words),
        ];
        match checks.into_iter().find(|(_, needed, capacity)| *needed > u64::from(*capacity)) {
            Some((what, needed, capacity)) => Err(Shortage { what, needed, capacity: capacity.into() }),
            None => Ok(()),
        }
    }

    /// Octets of all segments together: what is locked in memory.
    pub fn octets(&self) -> u64 {
        SegmentKind::ALL.iter().map(|kind| kind.bytes(self)).sum()
    }
}

fn within(needed: u64, least: u32, most: u32) -> u32 {
    u32::try_from(needed).unwrap_or(u32::MAX).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{encode_arena, encode_filters, encode_lists};
    use crate::{
        Direction, FilterBinding, FilterList, FilterPoint, FilterRule, Filters, PolicyVersion, PortRecord,
        Rule,
    };

    fn demand() -> impl Strategy<Value = Demand> {
        let number = || prop_oneof![0..5000_u64, 0..3_000_000_u64, any::<u64>()];
        (0..100_u64, 0..100_u64, number(), number(), number()).prop_map(
            |(ports, rule_lists, rules, policies, tunnels)| Demand {
                ports,
                rule_lists,
                rules,
                policies,
                tunnels,
                filter_lines: rules / 3,
                ..Demand::default()
            },
        )
    }

    proptest! {
        #[test]
        fn capacities_are_legal_at_least_the_default_and_suffice_unless_the_format_ends(demand in demand()) {
            let (made, least) = (Capacities::for_demand(&demand), Capacities::default());
            prop_assert_eq!(made.check(), Ok(()));
            prop_assert!(made.to_words().iter().zip(least.to_words()).all(|(made, least)| *made >= least));
            let beyond = demand.policies > MAX_POLICIES.into() || demand.arena_words() > MAX_ARENA_WORDS.into();
            prop_assert_eq!(made.check_room(&demand).is_err(), beyond);
        }
    }

    #[test]
    fn a_small_configuration_gets_the_default() {
        let small =
            Demand { ports: 4, rule_lists: 2, rules: 100, policies: 100, tunnels: 2000, ..Demand::default() };
        assert_eq!(Capacities::for_demand(&small), Capacities::default());
        assert_eq!(Capacities::for_demand(&Demand::default()), Capacities::default());
    }

    #[test]
    fn a_hundred_thousand_permits_have_room_to_grow() {
        let large = Demand {
            ports: 2,
            rule_lists: 1,
            rules: 100_000,
            policies: 100_000,
            tunnels: 100_000,
            ..Demand::default()
        };
        let made = Capacities::for_demand(&large);
        assert_eq!((made.policies, made.inbound_slots), (125_000, 125_000));
        let grown = Demand { rules: 124_000, policies: 124_000, ..large };
        assert_eq!(made.check_room(&grown), Ok(()));
        let beyond = made.check_room(&Demand { policies: 125_001, ..large }).unwrap_err();
        assert_eq!((beyond.what, beyond.needed, beyond.capacity), ("policies", 125_001, 125_000));
    }

    #[test]
    fn the_words_of_a_demand_are_those_of_the_arena() {
        let port = |id| PortRecord { id, device: "eth0".into(), ..PortRecord::default() };
        let rules: Vec<Rule> = Vec::new();
        let lists = encode_lists(&[rules.clone(), rules], PolicyVersion(1), 1, &Vec::new()).unwrap();
        let words = |filters: &Filters| {
            let filters = encode_filters(filters, 1).unwrap();
            let ports = [port(0), port(1)];
            encode_arena(PolicyVersion(1), &ports, &lists, &filters, 1 << 16).unwrap().len() as u64
        };
        let demand = Demand { ports: 2, rule_lists: 2, ..Demand::default() };
        assert_eq!(demand.arena_words(), words(&Filters::default()));
        let list = |lines| FilterList { name: "F".into(), rules: vec![FilterRule::PERMIT_ANY; lines] };
        let binding = |direction| FilterBinding { point: FilterPoint::Port(1), direction, list: 1 };
        let filters = Filters {
            lists: vec![list(3), list(0)],
            bindings: vec![binding(Direction::Inbound), binding(Direction::Outbound)],
        };
        let demand = Demand { filter_lists: 2, filter_lines: 3, filter_bindings: 2, ..demand };
        assert_eq!(demand.arena_words(), words(&filters));
    }

    #[test]
    fn the_octets_are_those_of_the_segments() {
        let capacities = Capacities::small();
        let all: u64 = SegmentKind::ALL.iter().map(|kind| kind.bytes(&capacities)).sum();
        assert_eq!(capacities.octets(), all);
        assert!(Capacities::for_demand(&Demand { tunnels: 100_000, ..Demand::default() }).octets() > all);
    }
}
