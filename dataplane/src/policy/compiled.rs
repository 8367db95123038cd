//! The published configuration as workers use it: ports and compiled rule lists, immutable, swapped
//! as a whole.

use crate::host::kernel::PortId;
use crate::policy::filter::Filters;
use crate::policy::flow::Flow;
use crate::policy::rules::{RuleList, Verdict};
use arc_swap::ArcSwap;
use sa_table::PolicyVersion;
use sa_table::policy::{PortRecord, Rule, union};
use std::net::IpAddr;
use std::sync::Arc;

/// One configuration. The default one has no port, so that nothing is forwarded before the first
/// publication.
#[derive(Debug, Default)]
pub struct Policy {
    version: PolicyVersion,
    ports: Vec<Option<PortPolicy>>,
    /// Crypto addresses of all ports, sorted.
    crypto_addresses: Vec<IpAddr>,
    /// The rules that are closed on every port and toward every other device.
    everywhere: RuleList,
    /// The rules of all crypto maps, whatever the egress port.
    protected: RuleList,
    filters: Arc<Filters>,
}

/// A port as the configuration describes it.
#[derive(Debug)]
pub struct PortPolicy {
    /// Number of the port.
    pub id: PortId,
    /// Linux device name.
    pub device: String,
    /// Largest IP packet in octets; 0 if the device's MTU applies.
    pub mtu: u32,
    /// The port's crypto map.
    pub protection: Protection,
}

/// The effect of a port's crypto map on clear packets.
#[derive(Debug)]
pub enum Protection {
    /// No crypto map.
    None,
    /// The packet is judged by these rules.
    Rules(Arc<RuleList>),
    /// There is a crypto map, but its rules are missing: nothing may pass.
    Closed,
}

impl PortPolicy {
    /// Whether a crypto map is applied to the port.
    pub fn is_protected(&self) -> bool {
        !matches!(self.protection, Protection::None)
    }
}

impl Policy {
    /// Compiles a published configuration. Allocates; called by the housekeeping thread.
    pub fn compile<L: AsRef<[Rule]>>(version: PolicyVersion, ports: &[PortRecord], rules: &[L]) -> Policy {
        let concerned = ports.iter().filter(|port| port.has_crypto_map);
        let mapped = concerned.filter_map(|port| rules.get(port.rule_list? as usize)).map(AsRef::as_ref);
        Policy::compile_closed(version, ports, rules, &[], &union(mapped))
    }

    /// The same with the rules that are closed on every interface, and with those of every crypto
    /// map, which are closed on devices that the configuration does not name.
    pub fn compile_closed<L: AsRef<[Rule]>>(
        version: PolicyVersion,
        ports: &[PortRecord],
        rules: &[L],
        everywhere: &[Rule],
        protected: &[Rule],
    ) -> Policy {
        let lists: Vec<Arc<RuleList>> =
            rules.iter().map(|rules| Arc::new(RuleList::compile(rules.as_ref()))).collect();
        let mut policy = Policy {
            version,
            everywhere: RuleList::compile(everywhere),
            protected: RuleList::compile(protected),
            ..Policy::default()
        };
        for record in ports {
            let list = record.rule_list.and_then(|list| lists.get(list as usize)).cloned();
            let protection = match (record.has_crypto_map, list) {
                (false, _) => Protection::None,
                (true, Some(list)) => Protection::Rules(list),
                (true, None) => Protection::Closed,
            };
            let index = usize::from(record.id);
            if policy.ports.len() <= index {
                policy.ports.resize_with(index + 1, || None);
            }
            let port =
                PortPolicy { id: record.id, device: record.device.clone(), mtu: record.mtu, protection };
            if let Some(place) = policy.ports.get_mut(index) {
                *place = Some(port);
            }
            policy.crypto_addresses.extend(&record.crypto_addresses);
        }
        policy.crypto_addresses.sort_unstable();
        policy.crypto_addresses.dedup();
        policy
    }

    /// Whether a packet may not leave by a device that the configuration does not name.
    pub fn is_protected(&self, flow: &Flow) -> bool {
        self.protected.outbound(flow) != Verdict::Clear
    }

    /// Whether a packet that is about to leave in clear is closed on every interface.
    pub fn is_closed_everywhere(&self, flow: &Flow) -> bool {
        !self.everywhere.is_empty() && self.everywhere.outbound(flow) != Verdict::Clear
    }

    /// Whether a clear packet that arrived at any device is closed on every device.
    pub fn is_refused_everywhere(&self, flow: &Flow) -> bool {
        !self.everywhere.is_empty() && self.everywhere.inbound(flow) != Verdict::Clear
    }

    /// Whether some crypto map protects the packet, if it leaves by the map's interface.
    pub fn is_protected_elsewhere(&self, flow: &Flow) -> bool {
        matches!(self.protected.outbound(flow), Verdict::Protect(_) | Verdict::Drop)
    }

    /// The same with filters.
    #[must_use]
    pub fn with_filters(self, filters: Arc<Filters>) -> Policy {
        Policy { filters, ..self }
    }

    /// The filters of clear packets, and of packets into and out of tunnels.
    #[inline]
    pub fn filters(&self) -> &Arc<Filters> {
        &self.filters
    }

    /// The version of this publication.
    pub fn version(&self) -> PolicyVersion {
        self.version
    }

    /// A port of the configuration.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&PortPolicy> {
        self.ports.get(usize::from(id))?.as_ref()
    }

    /// All ports, by number.
    pub fn ports(&self) -> impl Iterator<Item = &PortPolicy> {
        self.ports.iter().flatten()
    }

    /// Whether peers send ESP to this address of ours.
    #[inline]
    pub fn is_crypto_address(&self, address: IpAddr) -> bool {
        self.crypto_addresses.binary_search(&address).is_ok()
    }
}

/// The published policy: written by the housekeeping thread, read by the workers.
#[derive(Debug, Default)]
pub struct PolicyView(ArcSwap<Policy>);

impl PolicyView {
    /// Publishes a configuration. Workers pick it up at their next burst.
    pub fn publish(&self, policy: Policy) {
        self.0.store(Arc::new(policy));
    }

    /// The newest configuration; wait-free.
    pub fn load(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.0.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u16, has_crypto_map: bool, rule_list: Option<u32>) -> PortRecord {
        PortRecord {
            id,
            ifindex: 0,
            device: format!("eth{id}"),
            ios_name: String::new(),
            mtu: 1500,
            has_crypto_map,
            crypto_addresses: vec![format!("192.0.2.{id}").parse().unwrap()],
            rule_list,
            ..PortRecord::default()
        }
    }

    #[test]
    fn a_crypto_map_without_its_rules_is_closed() {
        let ports = [
            record(0, false, None),
            record(1, true, Some(0)),
            record(3, true, Some(1)),
            record(4, true, None),
        ];
        let policy = Policy::compile(PolicyVersion(7), &ports, &[Vec::new()]);
        let protection = |id| &policy.port(id).unwrap().protection;
        assert!(matches!(protection(0), Protection::None));
        assert!(matches!(protection(1), Protection::Rules(_)));
        assert!(matches!(protection(3), Protection::Closed));
        assert!(matches!(protection(4), Protection::Closed));
        assert!(policy.port(2).is_none());
        assert!(policy.is_crypto_address("192.0.2.3".parse().unwrap()));
        assert!(!policy.is_crypto_address("192.0.2.2".parse().unwrap()));
    }
}
