//! The policy in the form that the guard uses: address classes, and for each device the rule list
//! that applies.
//!
//! Only this module decides what is closed on which device. A device that the configuration does
//! not name is closed for all that any crypto map protects. An interface with a crypto map is
//! closed for what that map protects, and every interface for what the maps protect that no device
//! carries, or that have `fail-close`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ebpf_abi::{
    CLASS_DESTINATION, CLASS_OWN, CLASS_SOURCE, DEFAULT_PORT, GuardRule, MAX_QUEUES, MAX_RULES,
    MAX_RULES_PER_PORT, PORT_COARSE, PORT_CRYPTO_MAP, PORT_FILTERED, PORT_RAW_IP, PORT_STEER, PortConfig,
};
use sa_table::Direction;
use sa_table::policy::{Action, PortRecord, Prefix, Rule, union};

use super::classes::PrefixClass;
use super::rules::translate;
use super::standing::moved;
use crate::host::kernel::Device;

/// Half of the rule table: the other half is in use while this one is written.
pub(super) const HALF: u32 = MAX_RULES / 2;

/// A policy, ready for the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelPolicy {
    pub(super) classes: Vec<PrefixClass>,
    /// Rules, from the start of a half on.
    pub(super) rules: Vec<GuardRule>,
    /// Entries by ifindex, that of [`DEFAULT_PORT`] included; rule numbers count from the start of
    /// the half.
    pub(super) ports: BTreeMap<u32, PortConfig>,
    /// Destination and source of each protecting rule.
    flows: Vec<(Prefix, Prefix)>,
    /// The rules of all crypto maps, whatever the egress device.
    protected: Vec<Rule>,
    /// What is closed more coarsely than by the rules, and why.
    notes: Vec<String>,
}

impl KernelPolicy {
    /// Compiles ports and rule lists. The ifindex of a record is 0 if its device is missing.
    /// `place` gives a port's index in the socket map; a port without one is guarded and gets no
    /// packets. `devices` are all devices of the namespace.
    #[must_use]
    pub fn compile<L: AsRef<[Rule]>>(
        ports: &[PortRecord],
        lists: &[L],
        devices: &[Device],
        place: impl Fn(&PortRecord) -> Option<u32>,
    ) -> Self {
        let mut policy = Self::default();
        let list_of = |port: &PortRecord| lists.get(port.rule_list? as usize).map(AsRef::as_ref);
        let mapped = || ports.iter().filter(|port| port.has_crypto_map);
        for port in mapped() {
            match list_of(port) {
                Some(list) => policy.classify(list),
                // A crypto map whose rules are missing protects everything: workers drop it.
                None => policy.protect_everything(),
            }
        }
        // Several interfaces may have the same crypto map.
        let numbers: BTreeSet<u32> = mapped().filter_map(|port| port.rule_list).collect();
        policy.protected =
            union(numbers.iter().filter_map(|list| lists.get(*list as usize)).map(AsRef::as_ref));
        let unknown = policy.unknown_device(mapped().any(|port| list_of(port).is_none()));
        let everywhere = everywhere(ports, lists);
        let lost = mapped().any(|port| is_everywhere(port) && list_of(port).is_none());
        let (rule_first, rule_count, coarse) = policy.place_list("every interface", &everywhere);
        let open = PortConfig {
            flags: if lost { PORT_COARSE } else { coarse },
            rule_first,
            rule_count,
            // The list of unknown devices is also used to detect packets that leave by an interface
            // without the crypto map that protects them.
            watch_first: unknown.rule_first,
            watch_count: unknown.rule_count,
            ..PortConfig::default()
        };
        policy.ports.insert(DEFAULT_PORT, unknown);
        let raw = |ifindex: u32| {
            let is_raw = devices.iter().any(|device| device.ifindex == ifindex && device.is_raw_ip());
            if is_raw { PORT_RAW_IP } else { 0 }
        };
        for device in devices.iter().filter(|device| device.is_raw_ip()) {
            policy.ports.insert(device.ifindex, PortConfig { flags: unknown.flags | PORT_RAW_IP, ..unknown });
        }
        for port in ports.iter().filter(|port| port.ifindex != 0) {
            let mut config = PortConfig { flags: open.flags | raw(port.ifindex), ..open };
            if let Some(place) = place(port) {
                config.flags |= PORT_STEER;
                config.xsk_first = place * MAX_QUEUES;
                config.xsk_count = MAX_QUEUES;
            }
            if port.has_crypto_map {
                config.flags |= PORT_CRYPTO_MAP;
                let coarse = match list_of(port) {
                    Some(list) => {
                        let whole = union([list, &everywhere]);
                        let (first, count, coarse) = policy.place_list(&port.ios_name, &whole);
                        (config.rule_first, config.rule_count) = (first, count);
                        coarse
                    }
                    None => PORT_COARSE,
                };
                config.flags |= coarse;
            }
            for address in &port.crypto_addresses {
                let length = if address.is_ipv4() { 32 } else { 128 };
                policy.classes.push((*address, length, CLASS_OWN));
            }
            policy.ports.insert(port.ifindex, config);
        }
        policy
    }

    /// What any crypto map protects: the rules that keep packets off the kernel's main table.
    pub fn fence(&self) -> &[Rule] {
        &self.protected
    }

    /// Sends IPv4 packets to the workers where a filter applies: those that arrive at a device with
    /// an `in` list, and those of all `ports` if a device has an `out` list, because they may leave
    /// there. `filtered`: the ifindex of each device with a list, and its direction; 0 for an
    /// interface without device.
    #[must_use]
    pub fn with_filters(mut self, filtered: &[(u32, Direction)], ports: &[PortRecord]) -> Self {
        let any_outbound = filtered.iter().any(|(_, direction)| *direction == Direction::Outbound);
        let is_filtered =
            |port: &&PortRecord| any_outbound || filtered.iter().any(|(ifindex, _)| *ifindex == port.ifindex);
        for port in ports.iter().filter(|port| port.ifindex != 0).filter(is_filtered) {
            if let Some(config) = self.ports.get_mut(&port.ifindex) {
                config.flags |= PORT_FILTERED;
            }
        }
        self
    }

    /// Destination and source of each protecting rule.
    pub fn flows(&self) -> &[(Prefix, Prefix)] {
        &self.flows
    }

    /// What is closed more coarsely than by the rules, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn protect_everything(&mut self) {
        for unspecified in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            self.classes.push((unspecified, 0, CLASS_SOURCE | CLASS_DESTINATION));
        }
    }

    fn classify(&mut self, list: &[Rule]) {
        for rule in list.iter().filter(|rule| !matches!(rule.action, Action::Jump(_))) {
            self.classes.push((rule.source.address, rule.source.length, CLASS_SOURCE));
            self.classes.push((rule.destination.address, rule.destination.length, CLASS_DESTINATION));
            self.flows.push((rule.destination, rule.source));
        }
    }

    /// Puts a list into the table: its first rule and their number, or [`PORT_COARSE`] when there
    /// is no room.
    fn place_list(&mut self, name: &str, list: &[Rule]) -> (u32, u32, u32) {
        match self.place(list) {
            Some((first, count)) => (first, count, 0),
            None => {
                self.notes.push(format!(
                    "{name}: {} rules do not fit into the guard ({MAX_RULES_PER_PORT} of a list, {HALF} of all): it drops by address prefixes alone",
                    list.len()
                ));
                (0, 0, PORT_COARSE)
            }
        }
    }

    /// The entry of devices that the configuration does not name: closed for all that any crypto
    /// map protects.
    fn unknown_device(&mut self, rules_are_missing: bool) -> PortConfig {
        let (rule_first, rule_count, coarse) =
            self.place_list("devices without an interface", &self.protected.clone());
        let flags = if rules_are_missing { PORT_COARSE } else { coarse };
        PortConfig { flags, rule_first, rule_count, ..PortConfig::default() }
    }

    fn place(&mut self, list: &[Rule]) -> Option<(u32, u32)> {
        let first = u32::try_from(self.rules.len()).ok()?;
        let translated = translate(list, first)?;
        // Several interfaces may have the same crypto map.
        if let Some(at) = standing(&self.rules, &translated, first) {
            return Some((at, u32::try_from(translated.len()).ok()?));
        }
        let count = u32::try_from(translated.len()).ok().filter(|count| first + count <= HALF)?;
        self.rules.extend(translated);
        Some((first, count))
    }
}

/// The rules that are closed on every device: those of crypto maps that no device carries, and of
/// those with `fail-close`.
#[must_use]
pub fn everywhere<L: AsRef<[Rule]>>(ports: &[PortRecord], lists: &[L]) -> Vec<Rule> {
    let concerned = ports.iter().filter(|port| is_everywhere(port));
    union(concerned.filter_map(|port| lists.get(port.rule_list? as usize)).map(AsRef::as_ref))
}

fn is_everywhere(port: &PortRecord) -> bool {
    port.has_crypto_map && (port.ifindex == 0 || port.fail_close)
}

/// The position of a copy of `list` that is already in the table; `list` was translated for the
/// position `at`.
fn standing(rules: &[GuardRule], list: &[GuardRule], at: u32) -> Option<u32> {
    if list.is_empty() {
        return Some(0);
    }
    let starts = 0..=rules.len().checked_sub(list.len())?;
    let fits = |start: &usize| {
        u32::try_from(*start)
            .is_ok_and(|to| rules[*start..].iter().zip(list).all(|(have, rule)| *have == moved(rule, at, to)))
    };
    starts.into_iter().find(fits).and_then(|start| u32::try_from(start).ok())
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
