//! Compiles the access groups of interfaces and crypto map entries into data-plane filters.
//!
//! Unlike IOS, which permits everything in this case, a missing or empty access list denies
//! everything and produces a note.

use std::collections::BTreeMap;

use config::Configuration;
use config::model::{AccessGroups, AclAction, AclAddress, AclRule, PortMatch, ServiceMatch};
use protection::carriers;
use sa_table::{
    Direction, FilterBinding, FilterList, FilterLog, FilterPoint, FilterRule, Filters, IcmpCondition, Masked,
    PolicyId, PortCondition, PortRange,
};

use super::{EntryKey, Plan};

/// The filters of a plan whose ports and policies are complete, with notes about access groups.
pub(super) fn compile(configuration: &Configuration, plan: &mut Plan) {
    let mut compiler = Compiler { configuration, filters: Filters::default(), indices: BTreeMap::new() };
    for carrier in carriers(configuration) {
        let name = carrier.record_name();
        if let Some(port) = plan.ports.iter().find(|port| port.ios_name == name) {
            compiler.apply(FilterPoint::Port(port.id), &carrier.interface.access_groups);
        }
    }
    for (policy, key) in &plan.policies {
        compiler.apply(FilterPoint::Policy(*policy), &of_entry(configuration, plan, &key.entry));
    }
    plan.filters = compiler.filters;
    let notes = config::commit::filter_notes(configuration);
    plan.notes.extend(notes.into_iter().map(|note| note.trim_start_matches("%NOTE: ").to_owned()));
}

/// Copies the filters of a policy from `old` when the plan retains the policy.
pub(super) fn carry_over(filters: &mut Filters, old: &Filters, policy: PolicyId) {
    let point = FilterPoint::Policy(policy);
    for binding in old.bindings.iter().filter(|binding| binding.point == point) {
        let Some(list) = old.lists.get(binding.list as usize) else { continue };
        let place = filters.lists.iter().position(|known| known.name == list.name).unwrap_or_else(|| {
            filters.lists.push(list.clone());
            filters.lists.len() - 1
        });
        filters.bindings.push(FilterBinding { list: u32::try_from(place).unwrap_or(u32::MAX), ..*binding });
    }
}

/// The access groups of an entry. A temporary entry uses those of its template; where the template
/// has none, those of the crypto map entry that refers to the dynamic map.
fn of_entry(configuration: &Configuration, plan: &Plan, key: &EntryKey) -> AccessGroups {
    let configured =
        |seq| Some(&configuration.crypto_maps.get(&key.map)?.entries.get(&seq)?.body.access_groups);
    if let Some(seq) = key.configured() {
        return configured(seq).cloned().unwrap_or_default();
    }
    let template = plan.entries.get(key).and_then(|entry| entry.template.as_ref());
    let Some(template) = template else { return AccessGroups::default() };
    let dynamic = configuration.dynamic_maps.get(&template.dynamic);
    let own = dynamic
        .and_then(|map| map.entries.get(&template.dynamic_seq))
        .map(|body| body.access_groups.clone())
        .unwrap_or_default();
    let outer = configured(template.seq).cloned().unwrap_or_default();
    AccessGroups { inbound: own.inbound.or(outer.inbound), outbound: own.outbound.or(outer.outbound) }
}

struct Compiler<'a> {
    configuration: &'a Configuration,
    filters: Filters,
    indices: BTreeMap<String, u32>,
}

impl Compiler<'_> {
    fn apply(&mut self, point: FilterPoint, groups: &AccessGroups) {
        for (list, direction) in
            [(&groups.inbound, Direction::Inbound), (&groups.outbound, Direction::Outbound)]
        {
            if let Some(list) = list {
                let list = self.list(list);
                self.filters.bindings.push(FilterBinding { point, direction, list });
            }
        }
    }

    /// The index of a list. Each list is stored once, however often it is applied.
    fn list(&mut self, name: &str) -> u32 {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        let lines = self.configuration.access_lists.get(name);
        let rules =
            lines.into_iter().flat_map(|list| list.rules()).map(|(sequence, line)| rule(sequence, line));
        self.filters.lists.push(FilterList { name: name.to_owned(), rules: rules.collect() });
        let index = u32::try_from(self.filters.lists.len() - 1).unwrap_or(u32::MAX);
        self.indices.insert(name.to_owned(), index);
        index
    }
}

fn rule(sequence: u32, line: &AclRule) -> FilterRule {
    let options = &line.options;
    FilterRule {
        sequence,
        permit: line.action == AclAction::Permit,
        protocol: line.protocol,
        source: addresses(line.source),
        destination: addresses(line.destination),
        source_ports: line.source_port.map_or(PortCondition::ANY, ports),
        destination_ports: line.destination_port.map_or(PortCondition::ANY, ports),
        icmp: line.icmp.map(|icmp| IcmpCondition { kind: icmp.kind, code: icmp.code }),
        established: options.established,
        fragments: options.fragments,
        service: match options.service {
            Some(ServiceMatch::Dscp(dscp)) => Masked { value: dscp << 2, mask: 0xfc },
            Some(ServiceMatch::Precedence(precedence)) => Masked { value: precedence << 5, mask: 0xe0 },
            None => Masked::default(),
        },
        log: match (options.log_input, options.log) {
            (true, _) => Some(FilterLog::FlowAndPort),
            (false, true) => Some(FilterLog::Flow),
            (false, false) => None,
        },
    }
}

fn addresses(address: AclAddress) -> Masked<u32> {
    match address {
        AclAddress::Any => Masked::default(),
        AclAddress::Host(host) => Masked { value: host.to_bits(), mask: u32::MAX },
        AclAddress::Wildcard(network, wildcard) => {
            Masked { value: network.to_bits(), mask: !wildcard.to_bits() }
        }
    }
}

fn ports(condition: PortMatch) -> PortCondition {
    let range = |first, last| PortCondition { range: PortRange { first, last }, inverted: false };
    let none = PortCondition { inverted: true, ..PortCondition::ANY };
    match condition {
        PortMatch::Equal(port) => range(port, port),
        PortMatch::NotEqual(port) => PortCondition { inverted: true, ..range(port, port) },
        PortMatch::Greater(port) => port.checked_add(1).map_or(none, |first| range(first, u16::MAX)),
        PortMatch::Less(port) => port.checked_sub(1).map_or(none, |last| range(0, last)),
        PortMatch::Range(first, last) => range(first, last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_conditions_keep_their_meaning_at_the_ends() {
        for condition in [
            PortMatch::Equal(80),
            PortMatch::NotEqual(0),
            PortMatch::NotEqual(80),
            PortMatch::Greater(1023),
            PortMatch::Greater(u16::MAX),
            PortMatch::Less(0),
            PortMatch::Less(1024),
            PortMatch::Range(20, 21),
        ] {
            let compiled = ports(condition);
            for port in [0, 1, 20, 21, 22, 79, 80, 81, 1023, 1024, 65534, 65535] {
                let expected =
                    condition.ranges().iter().any(|(first, last)| (*first..=*last).contains(&port));
                assert_eq!(compiled.accepts(port), expected, "{condition:?} {port}");
            }
        }
    }

    #[test]
    fn a_line_keeps_every_condition() {
        let text = "ip access-list extended F\n 15 deny tcp 10.0.1.0 0.255.0.255 eq 22 host 192.0.2.1 gt 1023 established dscp ef \
                    log-input\n permit icmp any any 3 4 precedence 5 log\n";
        let loaded = config::file::parse("t", text, &mut config::edit::Offline).unwrap();
        let list = &loaded.configuration.access_lists["F"];
        let rules: Vec<FilterRule> = list.rules().map(|(sequence, line)| rule(sequence, line)).collect();
        let any = FilterRule::PERMIT_ANY;
        assert_eq!(
            rules,
            [
                FilterRule {
                    sequence: 15,
                    permit: false,
                    protocol: Some(6),
                    source: Masked { value: 0x0a00_0100, mask: 0xff00_ff00 },
                    destination: Masked { value: 0xc000_0201, mask: u32::MAX },
                    source_ports: PortCondition { range: PortRange::single(22), inverted: false },
                    destination_ports: PortCondition {
                        range: PortRange { first: 1024, last: u16::MAX },
                        inverted: false
                    },
                    established: true,
                    service: Masked { value: 46 << 2, mask: 0xfc },
                    log: Some(FilterLog::FlowAndPort),
                    ..any
                },
                FilterRule {
                    sequence: 20,
                    protocol: Some(1),
                    icmp: Some(IcmpCondition { kind: 3, code: Some(4) }),
                    service: Masked { value: 5 << 5, mask: 0xe0 },
                    log: Some(FilterLog::Flow),
                    ..any
                },
            ]
        );
    }
}
