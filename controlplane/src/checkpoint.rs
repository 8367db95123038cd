//! The checkpoint: the state that survives a restart of the control plane. It holds the policy IDs,
//! what each SA pair carries, and the peer cursors. It holds no keys: ESP keys stay in the shared
//! table, and IKE SAs are negotiated again when they are needed.
//!
//! The checkpoint is written to its segment before a datagram that depends on it is sent, and read
//! once, at start-up. Each item is validated against the table and the configuration; an item that
//! does not match is discarded and its slots are retired.

mod schedule;

use std::net::IpAddr;
use std::time::Duration;

use config::model::InterfaceName;
use ike::{Encryption, EspSuite, Integrity};
use sa_table::SlotWord;
use serde::{Deserialize, Serialize};

use crate::peers::select::Selection;
use crate::plan::{Derived, EntryKey, HostFlow, Peer, PolicyKey, TemplateKey, Temporary};

pub use schedule::Schedule;

/// Format version of the stored value; any other version is ignored.
const FORM: u32 = 1;

/// The contents of a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    form: u32,
    /// Policies and their IDs.
    pub policies: Vec<StoredPolicy>,
    /// SA pairs in service.
    pub pairs: Vec<StoredPair>,
    /// The peer cursor of each entry.
    pub cursors: Vec<(StoredEntry, Selection<Peer>)>,
    /// Temporary entries of dynamic maps.
    #[serde(default)]
    pub temporaries: Vec<StoredTemporary>,
    /// Host pairs of `level per-host` entries.
    #[serde(default)]
    pub hosts: Vec<StoredHosts>,
}

/// Stored form of a [`TemplateKey`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredTemplate {
    interface: String,
    map: String,
    seq: u16,
    dynamic: String,
    dynamic_seq: u16,
}

impl StoredTemplate {
    /// Converts to the stored form.
    pub fn of(key: &TemplateKey) -> Self {
        let TemplateKey { interface, map, seq, dynamic, dynamic_seq } = key.clone();
        StoredTemplate { interface: interface.to_string(), map, seq, dynamic, dynamic_seq }
    }

    /// Converts back; `None` if the interface name is invalid.
    pub fn key(&self) -> Option<TemplateKey> {
        let StoredTemplate { map, seq, dynamic, dynamic_seq, .. } = self.clone();
        Some(TemplateKey {
            interface: InterfaceName::parse(&self.interface)?,
            map,
            seq,
            dynamic,
            dynamic_seq,
        })
    }
}

/// A temporary entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredTemporary {
    seq: u32,
    template: StoredTemplate,
    peer: IpAddr,
    local: Vec<StoredSelector>,
    remote: Vec<StoredSelector>,
}

/// A host pair of a `level per-host` entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredHosts {
    entry: StoredEntry,
    local: Vec<StoredSelector>,
    remote: Vec<StoredSelector>,
}

/// Stored form of an [`EntryKey`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredEntry {
    interface: String,
    map: String,
    seq: u32,
}

/// A policy and its number.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// The number.
    pub number: u32,
    entry: StoredEntry,
    local: Vec<StoredSelector>,
    remote: Vec<StoredSelector>,
}

/// A traffic selector.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StoredSelector {
    protocol: u8,
    ports: (u16, u16),
    addresses: (IpAddr, IpAddr),
}

/// An SA pair: its slots, and what `show` prints of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredPair {
    /// The entry it belongs to.
    pub entry: StoredEntry,
    /// The number of its policy.
    pub policy: u32,
    /// The peer of the pair.
    pub peer: Peer,
    /// Whether the flow is sent through this pair.
    pub carries: bool,
    /// Slot words of the inbound and of the outbound half.
    pub slots: (u64, u64),
    /// SPIs, inbound and outbound.
    pub spis: (u32, u32),
    /// Our address and the peer's.
    pub addresses: (IpAddr, IpAddr),
    /// Ports of ESP in UDP.
    pub udp: Option<(u16, u16)>,
    /// Transport mode.
    pub transport: bool,
    /// When it was installed, on the control plane's clock.
    pub installed: Duration,
    /// When it ends.
    pub hard_limit: Option<Duration>,
    suite: (u16, Option<u16>, Option<u16>, bool),
    local: Vec<StoredSelector>,
    remote: Vec<StoredSelector>,
}

impl Memory {
    /// A checkpoint of these policies, pairs and cursors.
    pub fn new(
        policies: Vec<StoredPolicy>,
        pairs: Vec<StoredPair>,
        cursors: Vec<(StoredEntry, Selection<Peer>)>,
    ) -> Memory {
        Memory { form: FORM, policies, pairs, cursors, temporaries: Vec::new(), hosts: Vec::new() }
    }

    /// Adds the derived entries (temporary entries and host pairs).
    #[must_use]
    pub fn with_derived(self, derived: &Derived) -> Memory {
        let temporaries = derived.temporaries.iter().map(|one| StoredTemporary {
            seq: one.seq,
            template: StoredTemplate::of(&one.template),
            peer: one.peer,
            local: stored(&one.local),
            remote: stored(&one.remote),
        });
        let hosts = derived.hosts.iter().map(|one| StoredHosts {
            entry: StoredEntry::of(&one.entry),
            local: stored(&one.local),
            remote: stored(&one.remote),
        });
        Memory { temporaries: temporaries.collect(), hosts: hosts.collect(), ..self }
    }

    /// The derived entries.
    pub fn derived(&self) -> Derived {
        let temporaries = self.temporaries.iter().filter_map(|one| {
            let template = one.template.key()?;
            let (local, remote) = (selectors(&one.local), selectors(&one.remote));
            Some(Temporary { seq: one.seq, template, peer: one.peer, local, remote })
        });
        let hosts = self.hosts.iter().filter_map(|one| {
            Some(HostFlow {
                entry: one.entry.key()?,
                local: selectors(&one.local),
                remote: selectors(&one.remote),
            })
        });
        Derived { temporaries: temporaries.collect(), hosts: hosts.collect() }
    }

    /// Serialises the checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data with string keys: serialisation cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Deserialises a checkpoint; `None` if the version differs or the data is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Memory> {
        serde_json::from_slice::<Memory>(bytes).ok().filter(|memory| memory.form == FORM)
    }
}

impl StoredEntry {
    /// Converts to the stored form.
    pub fn of(key: &EntryKey) -> Self {
        StoredEntry { interface: key.interface.to_string(), map: key.map.clone(), seq: key.seq }
    }

    /// Converts back; `None` if the interface name is invalid.
    pub fn key(&self) -> Option<EntryKey> {
        let interface = InterfaceName::parse(&self.interface)?;
        Some(EntryKey { interface, map: self.map.clone(), seq: self.seq })
    }
}

impl StoredPolicy {
    /// Converts to the stored form.
    pub fn of(key: &PolicyKey, number: u32) -> Self {
        StoredPolicy {
            number,
            entry: StoredEntry::of(&key.entry),
            local: stored(&key.local),
            remote: stored(&key.remote),
        }
    }

    /// Converts back to the policy key.
    pub fn key(&self) -> Option<PolicyKey> {
        Some(PolicyKey {
            entry: self.entry.key()?,
            local: selectors(&self.local),
            remote: selectors(&self.remote),
        })
    }
}

/// The negotiated algorithms and selectors of a pair, in the types of `ike`.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// Algorithms.
    pub suite: EspSuite,
    /// Local traffic selectors.
    pub local: Vec<ike::TrafficSelector>,
    /// Remote traffic selectors.
    pub remote: Vec<ike::TrafficSelector>,
}

impl StoredPair {
    /// Fills in the negotiated algorithms and selectors.
    #[must_use]
    pub fn with(mut self, agreed: &Agreed) -> Self {
        let (encryption, bits) = agreed.suite.encryption.transform();
        let integrity = agreed.suite.integrity.map(Integrity::transform);
        self.suite = (encryption, bits, integrity, agreed.suite.esn);
        self.local = stored(&agreed.local);
        self.remote = stored(&agreed.remote);
        self
    }

    /// A pair without the negotiated values, see [`StoredPair::with`].
    pub fn new(entry: &EntryKey, policy: u32, peer: Peer, slots: (SlotWord, SlotWord)) -> Self {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        StoredPair {
            entry: StoredEntry::of(entry),
            policy,
            peer,
            carries: false,
            slots: (slots.0.raw(), slots.1.raw()),
            spis: (0, 0),
            addresses: (unspecified, unspecified),
            udp: None,
            transport: false,
            installed: Duration::ZERO,
            hard_limit: None,
            suite: (0, None, None, false),
            local: Vec::new(),
            remote: Vec::new(),
        }
    }

    /// The negotiated values; `None` for an unknown algorithm.
    pub fn agreed(&self) -> Option<Agreed> {
        let (encryption, bits, integrity, esn) = self.suite;
        let integrity = match integrity {
            Some(number) => Some(Integrity::from_transform(number)?),
            None => None,
        };
        Some(Agreed {
            suite: EspSuite {
                encryption: Encryption::from_transform(encryption, bits)?,
                integrity,
                esn,
                group: None,
            },
            local: selectors(&self.local),
            remote: selectors(&self.remote),
        })
    }

    /// The slots; `None` if a word is not a valid slot word.
    pub fn slot_words(&self) -> Option<(SlotWord, SlotWord)> {
        Some((SlotWord::from_raw(self.slots.0)?, SlotWord::from_raw(self.slots.1)?))
    }
}

fn stored(selectors: &[ike::TrafficSelector]) -> Vec<StoredSelector> {
    let one = |selector: &ike::TrafficSelector| StoredSelector {
        protocol: selector.protocol,
        ports: (selector.start_port, selector.end_port),
        addresses: (selector.start, selector.end),
    };
    selectors.iter().map(one).collect()
}

fn selectors(stored: &[StoredSelector]) -> Vec<ike::TrafficSelector> {
    let one = |selector: &StoredSelector| ike::TrafficSelector {
        protocol: selector.protocol,
        start_port: selector.ports.0,
        end_port: selector.ports.1,
        start: selector.addresses.0,
        end: selector.addresses.1,
    };
    stored.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again_and_damage_is_not() {
        let entry =
            EntryKey { interface: InterfaceName::parse("Gi0/1").unwrap(), map: "tohub".into(), seq: 1 };
        let selector = ike::TrafficSelector::prefix("192.168.1.0".parse().unwrap(), 24);
        let key = PolicyKey { entry: entry.clone(), local: vec![selector], remote: vec![selector] };
        let agreed = Agreed {
            suite: EspSuite { encryption: Encryption::AesGcm256, integrity: None, esn: true, group: None },
            local: vec![selector],
            remote: vec![selector],
        };
        let slot = SlotWord::new(7, 3).unwrap();
        let peer = Peer::Address("10.1.1.1".parse().unwrap());
        let pair = StoredPair::new(&entry, 9, peer, (slot, slot)).with(&agreed);
        let memory = Memory::new(vec![StoredPolicy::of(&key, 9)], vec![pair], Vec::new());
        let bytes = memory.encode();
        let read = Memory::decode(&bytes).unwrap();
        assert_eq!(read.policies[0].key().unwrap(), key);
        assert_eq!(read.pairs[0].slot_words(), Some((slot, slot)));
        assert_eq!(read.pairs[0].agreed().unwrap().suite, agreed.suite);
        assert_eq!(read.pairs[0].agreed().unwrap().local, agreed.local);
        assert!(Memory::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Memory::decode(b"").is_none());
    }
}
