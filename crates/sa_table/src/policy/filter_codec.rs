//! Filters as words.

use super::codec::{EntryError, name, put_name};
use super::filter::{
    FilterBinding, FilterList, FilterLog, FilterPoint, FilterRule, Filters, IcmpCondition, MAX_FILTER_NAME,
    Masked, PortCondition,
};
use super::{PolicyError, arena::Directory};
use crate::events::Direction;
use crate::ids::PolicyId;
use crate::layout::{FilterHeadWords, FilterWords};
use crate::record::PortRange;

pub(super) const KIND_FILTERS: u32 = 3;
pub(super) const KIND_BINDINGS: u32 = 4;

/// The blobs of the filters.
#[derive(Debug, Default)]
pub(crate) struct EncodedFilters {
    pub(super) lists: Vec<Vec<u64>>,
    pub(super) bindings: Vec<u64>,
}

/// Encodes filters; `policies` is the number of policies.
pub(crate) fn encode_filters(filters: &Filters, policies: usize) -> Result<EncodedFilters, PolicyError> {
    let mut encoded = EncodedFilters::default();
    for (list, filter) in filters.lists.iter().enumerate() {
        let at_rule = |rule| move |source| PolicyError::Filter { list, rule, source };
        encoded.lists.push(encode_list(filter, at_rule)?);
    }
    for (binding, filter) in filters.bindings.iter().enumerate() {
        let word = encode_binding(filter, filters.lists.len(), policies);
        encoded.bindings.push(word.map_err(|source| PolicyError::Binding { binding, source })?);
    }
    Ok(encoded)
}

/// Reads the filters of an arena, with the same checks as [`encode_filters`].
pub(super) fn decode_filters(directory: &Directory<'_>, policies: usize) -> Result<Filters, PolicyError> {
    let mut filters = Filters::default();
    for list in 0..directory.count(KIND_FILTERS) {
        let (_, words) = directory.blob(KIND_FILTERS, list)?;
        let at_rule = |rule| move |source| PolicyError::Filter { list, rule, source };
        filters.lists.push(decode_list(words, at_rule)?);
    }
    if directory.count(KIND_BINDINGS) > 0 {
        let (_, words) = directory.blob(KIND_BINDINGS, 0)?;
        for (binding, word) in words.iter().enumerate() {
            let decoded = decode_binding(*word, filters.lists.len(), policies);
            filters.bindings.push(decoded.map_err(|source| PolicyError::Binding { binding, source })?);
        }
    }
    Ok(filters)
}

fn encode_list<E: FnOnce(EntryError) -> PolicyError>(
    list: &FilterList,
    at_rule: impl Fn(usize) -> E,
) -> Result<Vec<u64>, PolicyError> {
    let mut words = vec![0; FilterHeadWords::WORDS + list.rules.len() * FilterWords::WORDS];
    let (head, rules) = words.split_at_mut(FilterHeadWords::WORDS);
    head[FilterHeadWords::bits] = list.name.len() as u64;
    put_name(&mut head[FilterHeadWords::name..], &list.name, "name of the access list", MAX_FILTER_NAME)
        .map_err(at_rule(0))?;
    for (index, (words, rule)) in rules.chunks_exact_mut(FilterWords::WORDS).zip(&list.rules).enumerate() {
        encode_rule(words, rule).map_err(at_rule(index))?;
    }
    Ok(words)
}

fn decode_list<E: FnOnce(EntryError) -> PolicyError>(
    words: &[u64],
    at_rule: impl Fn(usize) -> E,
) -> Result<FilterList, PolicyError> {
    let Some((head, rules)) = words.split_at_checked(FilterHeadWords::WORDS) else {
        return Err(at_rule(0)(EntryError::Malformed));
    };
    let name = name(&head[FilterHeadWords::name..], head[FilterHeadWords::bits], MAX_FILTER_NAME)
        .map_err(at_rule(0))?;
    // A partial line would be ignored silently.
    if rules.len() % FilterWords::WORDS != 0 {
        return Err(at_rule(rules.len() / FilterWords::WORDS)(EntryError::Malformed));
    }
    let rules = rules
        .chunks_exact(FilterWords::WORDS)
        .enumerate()
        .map(|(index, words)| decode_rule(words).map_err(at_rule(index)))
        .collect::<Result<_, _>>()?;
    Ok(FilterList { name, rules })
}

const PERMIT: u64 = 1;
const ANY_PROTOCOL: u64 = 1 << 1;
const ICMP: u64 = 1 << 2;
const ICMP_CODE: u64 = 1 << 3;
const ESTABLISHED: u64 = 1 << 4;
const FRAGMENTS: u64 = 1 << 5;
const SOURCE_INVERTED: u64 = 1 << 6;
const DESTINATION_INVERTED: u64 = 1 << 7;
const LOG: u64 = 1 << 8;
const LOG_PORT: u64 = 1 << 9;
const PROTOCOL_SHIFT: u32 = 16;
const ICMP_KIND_SHIFT: u32 = 24;
const ICMP_CODE_SHIFT: u32 = 32;
const SERVICE_VALUE_SHIFT: u32 = 40;
const SERVICE_MASK_SHIFT: u32 = 48;

fn encode_rule(words: &mut [u64], rule: &FilterRule) -> Result<(), EntryError> {
    check_rule(rule)?;
    let address = |masked: Masked<u32>| u64::from(masked.value) << 32 | u64::from(masked.mask);
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    words[FilterWords::source] = address(rule.source);
    words[FilterWords::destination] = address(rule.destination);
    words[FilterWords::ports] = u64::from(rule.source_ports.range.to_bits()) << 32
        | u64::from(rule.destination_ports.range.to_bits());
    words[FilterWords::sequence] = u64::from(rule.sequence);
    words[FilterWords::bits] = flag(rule.permit, PERMIT)
        | rule.protocol.map_or(ANY_PROTOCOL, |protocol| u64::from(protocol) << PROTOCOL_SHIFT)
        | rule.icmp.map_or(0, |icmp| ICMP | u64::from(icmp.kind) << ICMP_KIND_SHIFT)
        | rule
            .icmp
            .and_then(|icmp| icmp.code)
            .map_or(0, |code| ICMP_CODE | u64::from(code) << ICMP_CODE_SHIFT)
        | flag(rule.established, ESTABLISHED)
        | flag(rule.fragments, FRAGMENTS)
        | flag(rule.source_ports.inverted, SOURCE_INVERTED)
        | flag(rule.destination_ports.inverted, DESTINATION_INVERTED)
        | flag(rule.log.is_some(), LOG)
        | flag(rule.log == Some(FilterLog::FlowAndPort), LOG_PORT)
        | u64::from(rule.service.value) << SERVICE_VALUE_SHIFT
        | u64::from(rule.service.mask) << SERVICE_MASK_SHIFT;
    Ok(())
}

fn decode_rule(words: &[u64]) -> Result<FilterRule, EntryError> {
    let words: &[u64; FilterWords::WORDS] = words.try_into().map_err(|_| EntryError::Malformed)?;
    let bits = words[FilterWords::bits];
    let has = |bit: u64| bits & bit != 0;
    let octet = |shift: u32| (bits >> shift) as u8;
    let address = |at: usize| Masked { value: (words[at] >> 32) as u32, mask: words[at] as u32 };
    let ports = |bits: u64, inverted| PortCondition { range: PortRange::from_bits(bits as u32), inverted };
    let rule = FilterRule {
        sequence: words[FilterWords::sequence] as u32,
        permit: has(PERMIT),
        protocol: (!has(ANY_PROTOCOL)).then_some(octet(PROTOCOL_SHIFT)),
        source: address(FilterWords::source),
        destination: address(FilterWords::destination),
        source_ports: ports(words[FilterWords::ports] >> 32, has(SOURCE_INVERTED)),
        destination_ports: ports(words[FilterWords::ports], has(DESTINATION_INVERTED)),
        icmp: has(ICMP).then(|| IcmpCondition {
            kind: octet(ICMP_KIND_SHIFT),
            code: has(ICMP_CODE).then_some(octet(ICMP_CODE_SHIFT)),
        }),
        established: has(ESTABLISHED),
        fragments: has(FRAGMENTS),
        service: Masked { value: octet(SERVICE_VALUE_SHIFT), mask: octet(SERVICE_MASK_SHIFT) },
        log: match (has(LOG), has(LOG_PORT)) {
            (false, _) => None,
            (true, false) => Some(FilterLog::Flow),
            (true, true) => Some(FilterLog::FlowAndPort),
        },
    };
    check_rule(&rule)?;
    Ok(rule)
}

fn check_rule(rule: &FilterRule) -> Result<(), EntryError> {
    let ranges = [rule.source_ports.range, rule.destination_ports.range];
    if ranges.iter().any(|range| range.first > range.last) {
        return Err(EntryError::PortRange);
    }
    Ok(())
}

const OF_POLICY: u64 = 1;
const OUTBOUND: u64 = 1 << 1;
const LIST_SHIFT: u32 = 2;
const LIST_MASK: u64 = (1 << 30) - 1;

fn encode_binding(binding: &FilterBinding, lists: usize, policies: usize) -> Result<u64, EntryError> {
    check_binding(binding, lists, policies)?;
    let (subject, of_policy) = match binding.point {
        FilterPoint::Port(port) => (u32::from(port), 0),
        FilterPoint::Policy(policy) => (policy.0, OF_POLICY),
    };
    let outbound = if binding.direction == Direction::Outbound { OUTBOUND } else { 0 };
    Ok(u64::from(subject) << 32 | u64::from(binding.list) << LIST_SHIFT | outbound | of_policy)
}

fn decode_binding(word: u64, lists: usize, policies: usize) -> Result<FilterBinding, EntryError> {
    let subject = (word >> 32) as u32;
    let binding = FilterBinding {
        point: if word & OF_POLICY != 0 {
            FilterPoint::Policy(PolicyId(subject))
        } else {
            FilterPoint::Port(u16::try_from(subject).map_err(|_| EntryError::Malformed)?)
        },
        direction: if word & OUTBOUND != 0 { Direction::Outbound } else { Direction::Inbound },
        list: (word >> LIST_SHIFT & LIST_MASK) as u32,
    };
    check_binding(&binding, lists, policies)?;
    Ok(binding)
}

fn check_binding(binding: &FilterBinding, lists: usize, policies: usize) -> Result<(), EntryError> {
    if binding.list as usize >= lists || u64::from(binding.list) > LIST_MASK {
        return Err(EntryError::FilterList { list: binding.list, lists });
    }
    match binding.point {
        FilterPoint::Policy(policy) if policy.0 as usize >= policies => Err(EntryError::Policy(policy)),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::codec::tests::POLICIES;

    fn condition() -> impl Strategy<Value = PortCondition> {
        any::<(u16, u16, bool)>().prop_map(|(a, b, inverted)| PortCondition {
            range: PortRange { first: a.min(b), last: a.max(b) },
            inverted,
        })
    }

    fn rule() -> impl Strategy<Value = FilterRule> {
        let address = || any::<(u32, u32)>().prop_map(|(value, mask)| Masked { value, mask });
        let icmp =
            option::of(any::<(u8, Option<u8>)>().prop_map(|(kind, code)| IcmpCondition { kind, code }));
        let log = option::of(prop_oneof![Just(FilterLog::Flow), Just(FilterLog::FlowAndPort)]);
        (
            any::<(u32, bool, Option<u8>, bool, bool, u8, u8)>(),
            address(),
            address(),
            condition(),
            condition(),
            icmp,
            log,
        )
            .prop_map(|(plain, source, destination, source_ports, destination_ports, icmp, log)| {
                let (sequence, permit, protocol, established, fragments, value, mask) = plain;
                FilterRule {
                    sequence,
                    permit,
                    protocol,
                    source,
                    destination,
                    source_ports,
                    destination_ports,
                    icmp,
                    established,
                    fragments,
                    service: Masked { value, mask },
                    log,
                }
            })
    }

    pub(in crate::policy) fn arbitrary_filters() -> impl Strategy<Value = Filters> {
        let list =
            ("[A-Za-zäö0-9_-]{0,40}", vec(rule(), 0..5)).prop_map(|(name, rules)| FilterList { name, rules });
        vec(list, 0..4).prop_flat_map(|lists| {
            let point = prop_oneof![
                any::<u16>().prop_map(FilterPoint::Port),
                (0..POLICIES as u32).prop_map(|policy| FilterPoint::Policy(PolicyId(policy))),
            ];
            let direction = prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)];
            let most = if lists.is_empty() { 0 } else { 5 };
            let list = 0..(lists.len() as u32).max(1);
            let binding = (point, direction, list).prop_map(|(point, direction, list)| FilterBinding {
                point,
                direction,
                list,
            });
            (Just(lists), vec(binding, 0..=most)).prop_map(|(lists, bindings)| Filters { lists, bindings })
        })
    }

    #[test]
    fn filters_that_cannot_be_meant_are_refused() {
        let range = PortRange { first: 2, last: 1 };
        let bad =
            FilterRule { source_ports: PortCondition { range, inverted: false }, ..FilterRule::PERMIT_ANY };
        let list = |name: &str, rules| FilterList { name: name.into(), rules };
        let encode = |filters: &Filters| encode_filters(filters, POLICIES).unwrap_err();
        let filters =
            Filters { lists: vec![list("120", vec![FilterRule::PERMIT_ANY, bad])], bindings: vec![] };
        assert_eq!(encode(&filters), PolicyError::Filter { list: 0, rule: 1, source: EntryError::PortRange });
        let filters = Filters { lists: vec![list(&"x".repeat(129), vec![])], bindings: vec![] };
        assert!(matches!(
            encode(&filters),
            PolicyError::Filter { source: EntryError::NameTooLong { given: 129, most: 128, .. }, .. }
        ));
        let binding = |point, list| FilterBinding { point, direction: Direction::Inbound, list };
        let dangling = |binding| Filters { lists: vec![list("120", vec![])], bindings: vec![binding] };
        assert_eq!(
            encode(&dangling(binding(FilterPoint::Port(0), 1))),
            PolicyError::Binding { binding: 0, source: EntryError::FilterList { list: 1, lists: 1 } }
        );
        let policy = PolicyId(POLICIES as u32);
        assert_eq!(
            encode(&dangling(binding(FilterPoint::Policy(policy), 0))),
            PolicyError::Binding { binding: 0, source: EntryError::Policy(policy) }
        );
    }
}
