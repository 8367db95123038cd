//! The compiled configuration: built by `compile`, read by all other parts.

mod derived;
mod idle_rule;
mod peer;

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::effective_ike::{IkeParameters, IpsecParameters, ManualParameters};
use config::model::{InterfaceName, ReverseRoute};
use sa_table::{Filters, PolicyId, PortRecord, Rule};

pub use derived::{
    Derived, FIRST_TEMPORARY, HostFlow, MAX_HOST_FLOWS, MAX_TEMPORARIES, TemplateKey, Temporary, is_within,
    rules,
};
pub use idle_rule::IdleRule;
pub use peer::Peer;

/// The kernel's data about the device of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Linux interface index; 0 while it does not exist.
    pub ifindex: u32,
    /// MTU.
    pub mtu: u32,
    /// Addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Whether the link is up.
    pub up: bool,
}

/// The devices by configured interface.
pub type Devices = BTreeMap<InterfaceName, Device>;

/// A crypto map entry on one interface: the key of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// Where the map is applied.
    pub interface: InterfaceName,
    /// The map set.
    pub map: String,
    /// Sequence number; numbers from [`FIRST_TEMPORARY`] on are temporary entries of a dynamic map.
    pub seq: u32,
}

impl EntryKey {
    /// The configured sequence number; `None` for a temporary entry.
    pub fn configured(&self) -> Option<u16> {
        u16::try_from(self.seq).ok().filter(|_| self.seq < FIRST_TEMPORARY)
    }
}

impl std::fmt::Display for EntryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "crypto map {} {}", self.map, self.seq)
    }
}

/// Identity of a policy across edits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The entry it belongs to.
    pub entry: EntryKey,
    /// Local traffic selectors.
    pub local: Vec<ike::TrafficSelector>,
    /// Remote traffic selectors.
    pub remote: Vec<ike::TrafficSelector>,
}

/// A usable entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key.
    pub key: EntryKey,
    /// Its peers in order.
    pub peers: Vec<Peer>,
    /// Whether the first peer is the default.
    pub default_first: bool,
    /// The idle rule in force.
    pub idle: IdleRule,
    /// Local address toward its peers.
    pub local: IpAddr,
    /// IKE parameters.
    pub ike: IkeParameters,
    /// SA parameters.
    pub ipsec: IpsecParameters,
    /// Its permits in order.
    pub policies: Vec<PolicyId>,
    /// `reverse-route`.
    pub reverse_route: Option<ReverseRoute>,
    /// Linux device of the interface.
    pub device: String,
    /// MTU of the device toward the peer.
    pub mtu: u32,
    /// `set security-association level per-host`.
    pub per_host: bool,
    /// The template of a temporary entry, which only responds.
    pub template: Option<TemplateKey>,
}

/// A usable entry of a dynamic map.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its key.
    pub key: TemplateKey,
    /// Model of its temporary entries.
    pub entry: Entry,
    /// What peers may propose, local and remote selectors, in access-list order.
    pub permits: Vec<(Vec<ike::TrafficSelector>, Vec<ike::TrafficSelector>)>,
}

/// A usable hand-keyed entry.
#[derive(Clone, Debug)]
pub struct ManualEntry {
    /// Its key.
    pub key: EntryKey,
    /// Local address toward its peer.
    pub local: IpAddr,
    /// Peer, algorithms and keys.
    pub parameters: ManualParameters,
    /// Its one permit.
    pub policy: PolicyId,
    /// MTU of the device toward the peer.
    pub mtu: u32,
}

/// The compiled configuration.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Data-plane interfaces.
    pub ports: Vec<PortRecord>,
    /// Rule lists; each port refers to its list by index.
    pub rules: Vec<Vec<Rule>>,
    /// Access groups.
    pub filters: Filters,
    /// Usable entries.
    pub entries: BTreeMap<EntryKey, Entry>,
    /// Usable hand-keyed entries.
    pub manual: BTreeMap<EntryKey, ManualEntry>,
    /// Usable entries of dynamic maps, in the order of the crypto maps.
    pub templates: Vec<Template>,
    /// Every policy in use.
    pub policies: BTreeMap<PolicyId, PolicyKey>,
    /// Why entries are unusable, for the log and for `show`.
    pub notes: Vec<String>,
    /// Permits that are dropped because the table has no free policy ID.
    pub unnumbered: usize,
}

impl Plan {
    /// Records a permit without a policy ID: its packets are dropped.
    pub(crate) fn no_number(&mut self, key: &EntryKey) {
        self.unnumbered += 1;
        let note = format!(
            "{key}: a permit finds no free policy; what it selects is dropped until the data plane has left those of former permits"
        );
        if self.notes.last() != Some(&note) {
            self.notes.push(note);
        }
    }
}
