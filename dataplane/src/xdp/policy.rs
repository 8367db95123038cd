//! What the kernel programs have to know of a policy: address classes, and one entry with its rules for each port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ebpf_abi::{
    CLASS_DESTINATION, CLASS_OWN, CLASS_SOURCE, GuardRule, MAX_QUEUES, MAX_RULES, PORT_COARSE,
    PORT_CRYPTO_MAP, PORT_STEER, PortConfig,
};
use sa_table::policy::{Action, PortRecord, Prefix, Rule};

use super::classes::PrefixClass;
use super::rules::translate;

/// Half of the rule table: the other half is in use while this one is written.
pub(super) const HALF: u32 = MAX_RULES / 2;

/// A policy, ready for the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelPolicy {
    pub(super) classes: Vec<PrefixClass>,
    /// Rules, from the start of a half on.
    pub(super) rules: Vec<GuardRule>,
    /// Entries by ifindex; `rule_first` counts from the start of the half.
    pub(super) ports: BTreeMap<u32, PortConfig>,
    /// Destination and source of each rule.
    flows: Vec<(Prefix, Prefix)>,
}

impl KernelPolicy {
    /// Compiles ports and rule lists. `place` gives a port's place in the socket map (`None`: it gets no sockets, so
    /// what would go to a worker is dropped). Ports without device are left out.
    #[must_use]
    pub fn compile<L: AsRef<[Rule]>>(
        ports: &[PortRecord],
        lists: &[L],
        place: impl Fn(&PortRecord) -> Option<u32>,
    ) -> Self {
        let mut policy = Self::default();
        let mut placed: BTreeMap<u32, Option<(u32, u32)>> = BTreeMap::new();
        for port in ports.iter().filter(|port| port.ifindex != 0) {
            let mut config = PortConfig::default();
            if let Some(place) = place(port) {
                config.xsk_first = place * MAX_QUEUES;
                config.xsk_count = MAX_QUEUES;
                config.flags |= PORT_STEER;
            }
            if port.has_crypto_map {
                config.flags |= PORT_CRYPTO_MAP;
            }
            match port.rule_list.and_then(|at| Some((at, lists.get(at as usize)?))) {
                Some((index, list)) => {
                    match *placed.entry(index).or_insert_with(|| policy.add_list(list.as_ref())) {
                        Some((first, count)) => (config.rule_first, config.rule_count) = (first, count),
                        None => config.flags |= PORT_COARSE,
                    }
                }
                // A crypto map whose rules are missing protects everything: workers drop it.
                None if port.has_crypto_map => {
                    config.flags |= PORT_COARSE;
                    policy.protect_everything();
                }
                None => {}
            }
            for address in &port.crypto_addresses {
                let length = if address.is_ipv4() { 32 } else { 128 };
                policy.classes.push((*address, length, CLASS_OWN));
            }
            policy.ports.insert(port.ifindex, config);
        }
        policy
    }

    /// The prefixes that locally originated packets must not reach by the kernel's main table.
    pub fn protected_destinations(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        self.classes.iter().filter(|(.., class)| class & CLASS_DESTINATION != 0).map(|(a, l, _)| (*a, *l))
    }

    /// Destination and source of each rule that protects.
    pub fn flows(&self) -> &[(Prefix, Prefix)] {
        &self.flows
    }

    fn protect_everything(&mut self) {
        for unspecified in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            self.classes.push((unspecified, 0, CLASS_SOURCE | CLASS_DESTINATION));
        }
    }

    /// Adds a list's classes, and its rules if there is room: first index and number.
    fn add_list(&mut self, list: &[Rule]) -> Option<(u32, u32)> {
        for rule in list.iter().filter(|rule| !matches!(rule.action, Action::Jump(_))) {
            self.classes.push((rule.source.address, rule.source.length, CLASS_SOURCE));
            self.classes.push((rule.destination.address, rule.destination.length, CLASS_DESTINATION));
            self.flows.push((rule.destination, rule.source));
        }
        let first = u32::try_from(self.rules.len()).ok()?;
        let translated = translate(list, first)?;
        let count = u32::try_from(translated.len()).ok().filter(|count| first + count <= HALF)?;
        self.rules.extend(translated);
        Some((first, count))
    }
}

#[cfg(test)]
mod tests {
    use sa_table::PolicyId;
    use sa_table::policy::Prefix;
    use sa_table::record::PortRange;

    use super::*;

    fn port(id: u16, rule_list: Option<u32>) -> PortRecord {
        PortRecord {
            id,
            ifindex: u32::from(id) + 10,
            device: format!("eth{id}"),
            ios_name: String::new(),
            mtu: 1500,
            has_crypto_map: rule_list.is_some(),
            crypto_addresses: vec!["192.0.2.1".parse().unwrap()],
            rule_list,
        }
    }

    fn prefix(text: &str, length: u8) -> Prefix {
        Prefix { address: text.parse::<IpAddr>().unwrap(), length }
    }

    fn rule(action: Action) -> Rule {
        Rule {
            source: prefix("10.1.0.0", 16),
            destination: prefix("10.2.0.0", 16),
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action,
        }
    }

    #[test]
    fn ports_share_a_list_that_stands_once() {
        let lists = [vec![rule(Action::Jump(1)), rule(Action::Protect(PolicyId(0)))]];
        let ports = [port(0, None), port(1, Some(0)), port(2, Some(0))];
        let policy = KernelPolicy::compile(&ports, &lists, |port| Some(u32::from(port.id)));
        assert_eq!(policy.rules.len(), 2);
        assert_eq!(policy.ports[&10].flags, PORT_STEER);
        assert_eq!(policy.ports[&11].rule_count, 2);
        assert_eq!((policy.ports[&11].xsk_first, policy.ports[&12].xsk_first), (MAX_QUEUES, 2 * MAX_QUEUES));
        assert_eq!(policy.ports[&11].rule_first, policy.ports[&12].rule_first);
    }

    #[test]
    fn exempted_prefixes_are_not_protected_by_their_rule() {
        let policy = KernelPolicy::compile(&[port(1, Some(0))], &[vec![rule(Action::Jump(1))]], |_| None);
        assert_eq!(policy.protected_destinations().count(), 0);
        let policy = KernelPolicy::compile(&[port(1, Some(0))], &[vec![rule(Action::Drop)]], |_| None);
        assert_eq!(policy.protected_destinations().collect::<Vec<_>>(), [("10.2.0.0".parse().unwrap(), 16)]);
    }

    #[test]
    fn too_many_rules_make_a_port_coarse_and_keep_its_classes() {
        let long = vec![rule(Action::Protect(PolicyId(0))); ebpf_abi::MAX_RULES_PER_PORT as usize + 1];
        let policy = KernelPolicy::compile(&[port(1, Some(0))], &[long], |_| None);
        assert_eq!(policy.ports[&11].flags, PORT_CRYPTO_MAP | PORT_COARSE);
        assert!(policy.protected_destinations().count() > 0);
        assert_eq!(policy.ports[&11].xsk_count, 0);
    }

    #[test]
    fn a_crypto_map_without_its_rules_protects_everything() {
        let policy = KernelPolicy::compile::<Vec<Rule>>(&[port(1, Some(3))], &[], |_| None);
        assert_eq!(policy.ports[&11].flags, PORT_CRYPTO_MAP | PORT_COARSE);
        assert_eq!(policy.protected_destinations().count(), 2);
    }

    #[test]
    fn a_port_without_device_is_left_out() {
        let absent = PortRecord { ifindex: 0, ..port(1, None) };
        assert!(KernelPolicy::compile::<Vec<Rule>>(&[absent], &[], |_| None).ports.is_empty());
    }
}
