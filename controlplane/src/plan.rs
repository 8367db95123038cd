//! What a configuration means: the data that `compile` makes and everybody else reads.

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

/// What the kernel knows about the device behind an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Linux interface index; 0 while it does not exist.
    pub ifindex: u32,
    /// Largest IP packet.
    pub mtu: u32,
    /// Its addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Whether it carries packets.
    pub up: bool,
}

/// The devices by configured interface.
pub type Devices = BTreeMap<InterfaceName, Device>;

/// One crypto-map entry on one interface: the name of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// Where the map is applied.
    pub interface: InterfaceName,
    /// The map set.
    pub map: String,
    /// The entry; from [`FIRST_TEMPORARY`] on one that a dynamic map made.
    pub seq: u32,
}

impl EntryKey {
    /// The number in the configuration; none for a temporary entry.
    pub fn configured(&self) -> Option<u16> {
        u16::try_from(self.seq).ok().filter(|_| self.seq < FIRST_TEMPORARY)
    }
}

impl std::fmt::Display for EntryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "crypto map {} {}", self.map, self.seq)
    }
}

/// What makes a policy the same across edits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The entry it belongs to.
    pub entry: EntryKey,
    /// Our side of the permit.
    pub local: Vec<ike::TrafficSelector>,
    /// The peer's side of the permit.
    pub remote: Vec<ike::TrafficSelector>,
}

/// A usable entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub key: EntryKey,
    /// Its peers in order.
    pub peers: Vec<Peer>,
    /// Whether the first peer is the default.
    pub default_first: bool,
    /// The idle rule in force.
    pub idle: IdleRule,
    /// Our address toward its peers.
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
    /// Largest packet toward the peer, as far as the device says.
    pub mtu: u32,
    /// `set security-association level per-host`.
    pub per_host: bool,
    /// Where a temporary entry comes from; we never initiate for it.
    pub template: Option<TemplateKey>,
}

/// A usable entry of a dynamic map.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its name.
    pub key: TemplateKey,
    /// What its temporary entries are made like.
    pub entry: Entry,
    /// What peers may propose: our side and theirs, in the order of the access list.
    pub permits: Vec<(Vec<ike::TrafficSelector>, Vec<ike::TrafficSelector>)>,
}

/// A usable hand-keyed entry.
#[derive(Clone, Debug)]
pub struct ManualEntry {
    /// Its name.
    pub key: EntryKey,
    /// Our address toward its peer.
    pub local: IpAddr,
    /// Peer, algorithms and keys.
    pub parameters: ManualParameters,
    /// Its one permit.
    pub policy: PolicyId,
    /// Largest packet toward the peer, as far as the device says.
    pub mtu: u32,
}

/// The compiled configuration.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Data-plane interfaces.
    pub ports: Vec<PortRecord>,
    /// Rule lists; a port names its own by index.
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
    /// Why entries are not usable, for the log and for `show`.
    pub notes: Vec<String>,
    /// Permits that are dropped because the table has no number for them.
    pub unnumbered: usize,
}

impl Plan {
    /// A permit gets no number: its packets are dropped.
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
