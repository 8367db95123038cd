//! The resources of the shared segments and kernel maps that a configuration needs, and limits that
//! no gateway can exceed.
//!
//! The counts depend on the configuration alone, not on devices, addresses or peers: a
//! configuration that fits once always fits. For tunnels of derived entries (dynamic maps, host
//! pairs) a fixed number is counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::Configuration;
use crate::edit::EditError;
use crate::model::{AccessList, AclAction, AclRule, CryptoMap, Interface, InterfaceName, Keying, Prefix};

/// Interfaces that can carry packets: entries of the kernel's socket map.
pub const MAX_PORTS: u64 = 64;
/// Rules of one interface that the guard evaluates in order.
pub const MAX_GUARD_RULES: u64 = 8192;
/// Capacity of the guard for the rules of all interfaces.
pub const MAX_GUARD_RULES_OF_ALL: u64 = 8192;
/// Capacity for prefixes of each IP version that the kernel classifies packets by.
pub const MAX_PREFIXES: u64 = 131_072;
/// Permits of all interfaces.
pub const MAX_PERMITS: u64 = 1 << 20;
/// Capacity of the shared segments for the rules of all interfaces.
pub const MAX_RULES: u64 = 8_000_000;
/// Maximum number of concurrent tunnels of dynamic-map peers.
pub const MAX_TEMPORARIES: u64 = 4096;
/// Host pairs that are counted, for all entries with `level per-host` together.
pub const ROOM_FOR_HOSTS: u64 = 4096;
/// Host pairs that are counted for one entry, which is also its maximum.
pub const MAX_HOSTS_OF_ENTRY: u64 = 1024;

/// The number of rules of a crypto map on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSize {
    /// The interface.
    pub interface: InterfaceName,
    /// The crypto map.
    pub map: String,
    /// Rules: an access-list line becomes one for each combination of its port ranges.
    pub rules: u64,
}

/// The resources that a configuration needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All interfaces.
    pub interfaces: u64,
    /// Interfaces that carry packets.
    pub ports: u64,
    /// The rule list of each interface with a crypto map.
    pub lists: Vec<ListSize>,
    /// Permits of all lists: each becomes a policy.
    pub permits: u64,
    /// Maximum number of SA pairs with configured peers at one time: each permit with each peer of
    /// its entry.
    pub tunnels: u64,
    /// Flows of derived entries that are reserved: each needs a policy, a rule and an SA pair.
    pub derived: u64,
    /// Access groups.
    pub filters: FilterSizes,
}

/// The resources of access groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterSizes {
    /// Access lists in access groups.
    pub lists: u64,
    /// Their lines.
    pub lines: u64,
    /// Access groups of interfaces.
    pub of_interfaces: u64,
    /// Directions in which an entry of a crypto map or of a dynamic map has an access group: each
    /// policy may have one there.
    pub of_policies: u64,
}

impl FilterSizes {
    fn of(configuration: &Configuration) -> Self {
        let interfaces = || configuration.interfaces.values().flat_map(|one| one.access_groups.iter());
        let entries = || {
            let maps = configuration.crypto_maps.values().flat_map(|map| map.entries.values());
            let templates = configuration.dynamic_maps.values().flat_map(|map| map.entries.values());
            maps.map(|entry| &entry.body).chain(templates).flat_map(|body| body.access_groups.iter())
        };
        let names: BTreeSet<&str> = interfaces().chain(entries()).map(|(list, _)| list).collect();
        let lists = names.iter().filter_map(|name| configuration.access_lists.get(*name));
        Self {
            lists: names.len() as u64,
            lines: lists.map(|list| list.rules().count() as u64).sum(),
            of_interfaces: interfaces().count() as u64,
            of_policies: entries().map(|(_, direction)| direction).collect::<BTreeSet<_>>().len() as u64,
        }
    }

    /// Places and directions to which lists are applied, with this number of policies.
    pub fn bindings(&self, policies: u64) -> u64 {
        self.of_interfaces.saturating_add(self.of_policies.saturating_mul(policies))
    }
}

impl Sizes {
    /// Counts the resources of `configuration`.
    pub fn of(configuration: &Configuration) -> Self {
        let lists: BTreeMap<&str, ListCount> = configuration
            .access_lists
            .iter()
            .map(|(name, list)| (name.as_str(), ListCount::of(list)))
            .collect();
        let mut sizes = Self::default();
        let (mut hosts, mut has_templates) = (0, false);
        for (name, interface) in &configuration.interfaces {
            sizes.interfaces += 1;
            sizes.ports += u64::from(carries_packets(name, interface));
            let Some((map, set)) = applied(configuration, interface) else { continue };
            let count = SetCount::of(configuration, set, &lists);
            sizes.permits = sizes.permits.saturating_add(count.permits);
            sizes.tunnels = sizes.tunnels.saturating_add(count.tunnels);
            hosts += count.per_host_entries * MAX_HOSTS_OF_ENTRY;
            has_templates |= count.has_templates;
            sizes.lists.push(ListSize { interface: name.clone(), map: map.to_owned(), rules: count.rules });
        }
        sizes.filters = FilterSizes::of(configuration);
        sizes.derived = hosts.min(ROOM_FOR_HOSTS) + if has_templates { MAX_TEMPORARIES } else { 0 };
        sizes
    }

    /// Rules of all lists.
    pub fn rules(&self) -> u64 {
        self.lists.iter().fold(0, |sum, list| sum.saturating_add(list.rules))
    }

    /// Checks the limits that no gateway can exceed, however large its segments are.
    ///
    /// # Errors
    /// The exceeded limit, with the remedy.
    pub fn check(&self) -> Result<(), EditError> {
        let refuse = |what: &str, given: u64, most: u64, remedy: &str| {
            Err(EditError(format!("%ERROR: {given} {what}, a gateway holds {most}; {remedy}")))
        };
        if self.ports > MAX_PORTS {
            return refuse("interfaces carry packets", self.ports, MAX_PORTS, "shut or remove one");
        }
        if self.permits > MAX_PERMITS {
            let what = "permits of crypto access lists, counted on each interface with their map";
            return refuse(what, self.permits, MAX_PERMITS, "write wider permits");
        }
        if self.rules() > MAX_RULES {
            let what = "rules of crypto access lists, counted for each range of ports";
            return refuse(what, self.rules(), MAX_RULES, "write wider permits");
        }
        Ok(())
    }
}

/// Notes about parts that fit into the segments but not into the kernel's maps: the guard then uses
/// coarser rules.
pub fn notes(configuration: &Configuration) -> Vec<String> {
    let sizes = Sizes::of(configuration);
    let mut notes: Vec<String> = sizes
        .lists
        .iter()
        .filter(|list| list.rules > MAX_GUARD_RULES)
        .map(|list| {
            format!(
                "%NOTE: crypto map {} on interface {} makes {} rules, the kernel's guard compares {MAX_GUARD_RULES}: there it drops what \
                 this host itself sends between protected prefixes, also where a deny exempts it",
                list.map, list.interface, list.rules
            )
        })
        .collect();
    if sizes.rules() > MAX_GUARD_RULES_OF_ALL {
        notes.push(format!(
            "%NOTE: the crypto maps of all interfaces make {} rules, the kernel's guard has room for {MAX_GUARD_RULES_OF_ALL}: on the \
             interfaces whose rules do not fit it drops what this host itself sends between protected prefixes, also where a deny exempts it",
            sizes.rules()
        ));
    }
    for (version, count) in prefixes(configuration) {
        if count > MAX_PREFIXES {
            notes.push(format!(
                "%NOTE: crypto access lists name {count} IPv{version} prefixes, the kernel has room for {MAX_PREFIXES}: neighbouring \
                 ones are joined, so that more packets go through the data plane"
            ));
        }
    }
    notes
}

/// Whether packets pass through the device of an interface.
fn carries_packets(name: &InterfaceName, interface: &Interface) -> bool {
    !interface.shutdown && (interface.device.is_some() || !name.is_virtual())
}

fn applied<'a>(
    configuration: &'a Configuration,
    interface: &'a Interface,
) -> Option<(&'a str, &'a CryptoMap)> {
    let map = interface.crypto_map.as_ref()?;
    Some((map, configuration.crypto_maps.get(map)?))
}

/// The number of different prefixes in permits of all crypto access lists in use, by IP version.
fn prefixes(configuration: &Configuration) -> [(u8, u64); 2] {
    let mut names = BTreeSet::new();
    for (_, set) in configuration.interfaces.values().filter_map(|one| applied(configuration, one)) {
        for entry in set.entries.values() {
            match &entry.keying {
                Keying::Dynamic { map, .. } => {
                    let templates = configuration.dynamic_maps.get(map);
                    let bodies = templates.into_iter().flat_map(|templates| templates.entries.values());
                    names.extend(bodies.filter_map(|body| body.match_address.as_deref()));
                }
                Keying::Isakmp | Keying::Manual => names.extend(entry.body.match_address.as_deref()),
            }
        }
    }
    let lists = names.into_iter().filter_map(|name| configuration.access_lists.get(name));
    let permits = lists.flat_map(AccessList::rules).filter(|(_, rule)| rule.action == AclAction::Permit);
    let all: BTreeSet<Prefix> =
        permits.flat_map(|(_, rule)| [rule.source.prefix(), rule.destination.prefix()]).flatten().collect();
    let v4 = all.iter().filter(|prefix| prefix.address.is_ipv4()).count() as u64;
    [(4, v4), (6, all.len() as u64 - v4)]
}

/// The counts of an access list.
#[derive(Clone, Copy, Debug, Default)]
struct ListCount {
    rules: u64,
    permits: u64,
}

impl ListCount {
    fn of(list: &AccessList) -> Self {
        let mut count = Self::default();
        for (_, rule) in list.rules() {
            let rules = rules_of(rule);
            count.rules += rules;
            count.permits += u64::from(rule.action == AclAction::Permit && rules > 0);
        }
        count
    }
}

/// One rule for each combination of source and destination ports.
fn rules_of(rule: &AclRule) -> u64 {
    let ranges =
        |ports: Option<crate::model::PortMatch>| ports.map_or(1, |ports| ports.ranges().len() as u64);
    let sources = if rule.icmp.is_some() { 1 } else { ranges(rule.source_port) };
    sources * ranges(rule.destination_port)
}

/// The counts of a crypto map on one interface.
#[derive(Clone, Copy, Debug, Default)]
struct SetCount {
    rules: u64,
    permits: u64,
    tunnels: u64,
    per_host_entries: u64,
    has_templates: bool,
}

impl SetCount {
    fn of(configuration: &Configuration, set: &CryptoMap, lists: &BTreeMap<&str, ListCount>) -> Self {
        let mut count = Self::default();
        let size = |name: Option<&String>| {
            name.and_then(|name| lists.get(name.as_str())).copied().unwrap_or_default()
        };
        for entry in set.entries.values() {
            let list = size(entry.body.match_address.as_ref());
            // On an interface that is shut down, the permits of an incomplete entry are dropped,
            // too.
            let list = if entry.is_complete() { list } else { ListCount { permits: 0, ..list } };
            match &entry.keying {
                Keying::Isakmp => {
                    count.rules += list.rules;
                    count.permits += list.permits;
                    count.tunnels += list.permits * (entry.body.peers.len() as u64).max(1);
                    count.per_host_entries += u64::from(entry.body.per_host);
                }
                Keying::Manual => {
                    count.rules += list.rules;
                    count.permits += list.permits.min(1);
                    count.tunnels += list.permits.min(1);
                }
                Keying::Dynamic { map, .. } => {
                    let templates = configuration.dynamic_maps.get(map);
                    for body in templates.into_iter().flat_map(|templates| templates.entries.values()) {
                        count.rules += size(body.match_address.as_ref()).rules;
                        count.has_templates = true;
                    }
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests;
