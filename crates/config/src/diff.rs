//! The ordered changes between two configurations.
//!
//! Order: additions, then modifications, then removals, so that nothing that the new configuration
//! needs is missing in between. The changes name objects only; their contents are in the two
//! configurations. The time depends on the differences, as far as the configurations share the
//! rest.

use std::collections::BTreeMap;

use crate::model::{
    Configuration, CryptoMap, CryptoMapEntry, Difference, EntryBody, InterfaceName, Shared, SharedMap,
};

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The object is new.
    Add,
    /// Its contents differ.
    Switch,
    /// It is removed.
    Remove,
}

/// The differences of a crypto map entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryDelta {
    /// The list of peers (order, names, keywords).
    pub peers: bool,
    /// Access list, transform sets, PFS, profile, keying, per-host, session keys: existing SAs no
    /// longer match.
    pub protection: bool,
    /// Idle timer, lifetimes, replay window, DF bit: timers take effect at once, the others on new
    /// SAs.
    pub timers: bool,
    /// Reverse route.
    pub routes: bool,
}

/// A changed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Host name, users, name service, logging.
    System,
    /// An interface.
    Interface(InterfaceName),
    /// The list of static routes.
    Routes,
    /// An access list.
    AccessList(String),
    /// `crypto isakmp` keys, policies or globals, or `crypto ike` lines.
    Isakmp,
    /// Trustpoints and certificates.
    Pki,
    /// Anything of `crypto ikev2`.
    Ikev2,
    /// `crypto ipsec` globals (lifetime, idle time, replay, DF bit).
    IpsecGlobals,
    /// A transform set.
    TransformSet(String),
    /// A dynamic map.
    DynamicMap(String),
    /// The lines of a map set that apply to all its entries (`local-address`, `fail-close`).
    CryptoMap(String),
    /// An entry.
    CryptoMapEntry {
        /// Map set.
        map: String,
        /// Sequence number.
        seq: u16,
        /// The differences; all true for an entry that is added or removed.
        delta: EntryDelta,
    },
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Kind of the change.
    pub action: Action,
    /// The object.
    pub object: Object,
}

/// The changes that turn `running` into `candidate`, in order of execution. Empty if and only if
/// they are equal.
pub fn diff(running: &Configuration, candidate: &Configuration) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut switch = |differs: bool, object: Object| {
        if differs {
            changes.push(Change { action: Action::Switch, object });
        }
    };
    switch(running.system != candidate.system, Object::System);
    switch(
        running.isakmp != candidate.isakmp
            || running.isakmp_policies != candidate.isakmp_policies
            || running.isakmp_keys != candidate.isakmp_keys,
        Object::Isakmp,
    );
    switch(
        running.ikev2 != candidate.ikev2
            || running.ikev2_proposals != candidate.ikev2_proposals
            || running.ikev2_policies != candidate.ikev2_policies
            || running.ikev2_keyrings != candidate.ikev2_keyrings
            || running.ikev2_profiles != candidate.ikev2_profiles,
        Object::Ikev2,
    );
    switch(running.trustpoints != candidate.trustpoints, Object::Pki);
    switch(running.ipsec != candidate.ipsec, Object::IpsecGlobals);
    for difference in running.access_lists.differences(&candidate.access_lists) {
        changes.extend(change(&difference, |name, _, _| Object::AccessList(name.clone())));
    }
    compare(&running.transform_sets, &candidate.transform_sets, &mut changes, |name, _, _| {
        Object::TransformSet(name.clone())
    });
    compare(&running.interfaces, &candidate.interfaces, &mut changes, |name, _, _| {
        Object::Interface(name.clone())
    });
    if running.routes != candidate.routes {
        changes.push(Change { action: Action::Switch, object: Object::Routes });
    }
    compare(&running.dynamic_maps, &candidate.dynamic_maps, &mut changes, |name, _, _| {
        Object::DynamicMap(name.clone())
    });
    crypto_maps(running, candidate, &mut changes);
    changes.sort_by_key(|change| change.action);
    changes
}

fn crypto_maps(running: &Configuration, candidate: &Configuration, changes: &mut Vec<Change>) {
    if running.crypto_maps == candidate.crypto_maps {
        return;
    }
    let names = running.crypto_maps.keys().chain(candidate.crypto_maps.keys());
    let mut names: Vec<&String> = names.collect();
    names.sort();
    names.dedup();
    let none = SharedMap::new();
    for map in names {
        let (old, new) = (running.crypto_maps.get(map), candidate.crypto_maps.get(map));
        let action = match (old, new) {
            (None, Some(_)) => Some(Action::Add),
            (Some(_), None) => Some(Action::Remove),
            (Some(a), Some(b)) if set_lines(a) != set_lines(b) => Some(Action::Switch),
            _ => None,
        };
        changes.extend(action.map(|action| Change { action, object: Object::CryptoMap(map.clone()) }));
        let (old, new) = (old.map_or(&none, |m| &m.entries), new.map_or(&none, |m| &m.entries));
        let object = |seq: &u16, old: Option<&CryptoMapEntry>, new: Option<&CryptoMapEntry>| {
            let all = EntryDelta { peers: true, protection: true, timers: true, routes: true };
            let delta = match (old, new) {
                (Some(a), Some(b)) => {
                    let mut delta = entry_delta(&a.body, &b.body);
                    delta.protection |= a.keying != b.keying || a.template_profile != b.template_profile;
                    delta
                }
                _ => all,
            };
            Object::CryptoMapEntry { map: map.clone(), seq: *seq, delta }
        };
        changes.extend(old.differences(new).iter().filter_map(|difference| change(difference, object)));
    }
}

/// The parts of a map set outside of its entries.
fn set_lines(map: &CryptoMap) -> (&Option<InterfaceName>, bool, &Vec<String>) {
    (&map.local_address, map.fail_close, &map.kept)
}

/// The differences of two entries' bodies.
pub fn entry_delta(a: &EntryBody, b: &EntryBody) -> EntryDelta {
    EntryDelta {
        peers: a.peers != b.peers,
        protection: a.match_address != b.match_address
            || a.transform_sets != b.transform_sets
            || a.pfs != b.pfs
            || a.profile != b.profile
            || a.per_host != b.per_host
            || a.session_keys != b.session_keys,
        timers: a.idle != b.idle || a.lifetime != b.lifetime || a.replay != b.replay || a.df_bit != b.df_bit,
        routes: a.reverse_route != b.reverse_route,
    }
}

/// The change for a difference.
fn change<K, V>(
    difference: &Difference<K, V>,
    object: impl Fn(&K, Option<&V>, Option<&V>) -> Object,
) -> Option<Change> {
    let (action, object) = match (difference.before(), difference.after()) {
        (None, Some((key, new))) => (Action::Add, object(key, None, Some(new))),
        (Some((key, old)), Some((_, new))) => (Action::Switch, object(key, Some(old), Some(new))),
        (Some((key, old)), None) => (Action::Remove, object(key, Some(old), None)),
        (None, None) => return None,
    };
    Some(Change { action, object })
}

fn compare<K: Ord, V: PartialEq>(
    old: &Shared<BTreeMap<K, V>>,
    new: &Shared<BTreeMap<K, V>>,
    changes: &mut Vec<Change>,
    object: impl Fn(&K, Option<&V>, Option<&V>) -> Object,
) {
    if old == new {
        return;
    }
    for (key, value) in &**new {
        let before = old.get(key);
        let action = match before {
            None => Action::Add,
            Some(before) if before != value => Action::Switch,
            Some(_) => continue,
        };
        changes.push(Change { action, object: object(key, before, Some(value)) });
    }
    for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(key)) {
        changes.push(Change { action: Action::Remove, object: object(key, Some(value), None) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CryptoMapEntry, IdleTimer, Keying};

    #[test]
    fn additions_come_first_and_removals_last() {
        let (mut a, mut b) = (Configuration::default(), Configuration::default());
        a.access_lists.insert("100".into(), Default::default());
        b.access_lists.insert("101".into(), Default::default());
        b.system.hostname = "R1".into();
        let changes = diff(&a, &b);
        let actions: Vec<_> = changes.iter().map(|c| c.action).collect();
        assert_eq!(actions, [Action::Add, Action::Switch, Action::Remove]);
        assert!(diff(&b, &b).is_empty());
    }

    #[test]
    fn an_entry_says_what_of_it_differs() {
        let entry =
            CryptoMapEntry { keying: Keying::Isakmp, template_profile: None, body: EntryBody::default() };
        let mut map = CryptoMap::default();
        map.entries.insert(1, entry);
        let (mut a, mut b) = (Configuration::default(), Configuration::default());
        a.crypto_maps.insert("tohub".into(), map.clone());
        map.entries.get_mut(&1).unwrap().body.idle = Some(IdleTimer { seconds: 120, to_default: true });
        b.crypto_maps.insert("tohub".into(), map);
        let delta = EntryDelta { timers: true, ..EntryDelta::default() };
        let object = Object::CryptoMapEntry { map: "tohub".into(), seq: 1, delta };
        assert_eq!(diff(&a, &b), [Change { action: Action::Switch, object }]);
    }
}
