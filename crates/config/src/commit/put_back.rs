//! Restores objects that an applied crypto map requires and that a session deleted, each
//! independently.

use super::protected::{Applied, applied, bodies, judged, lines, lost};
use crate::Configuration;
use crate::model::{AccessList, AclAction, EntryBody, Keying};

const OR_TAKE_OFF: &str = "or take the map off the interface first";

/// Restores deleted objects of `before` in `now` and reports them. A deletion that does not reduce
/// the protected traffic is kept.
pub(super) fn put_back(
    before: &Configuration,
    now: &mut Configuration,
    others: &[&Configuration],
) -> Vec<String> {
    let mut refused = Vec::new();
    for place in applied(before) {
        let still = |other: &crate::model::Interface, name| {
            other.device_name(name) == place.device && other.crypto_map.as_deref() == Some(place.map)
        };
        if now.interfaces.iter().any(|(name, interface)| still(interface, name)) {
            Restorer { before, others, place, now, refused: &mut refused }.map();
        }
    }
    refused
}

/// Location of an entry's lines.
#[derive(Clone, Debug)]
enum Body {
    Entry(u16),
    Template(String, u16),
}

/// A crypto map on an interface.
struct Restorer<'a> {
    before: &'a Configuration,
    others: &'a [&'a Configuration],
    place: Applied<'a>,
    now: &'a mut Configuration,
    refused: &'a mut Vec<String>,
}

impl<'a> Restorer<'a> {
    fn map(&mut self) {
        let (before, map, interface) = (self.before, self.place.map, self.place.interface);
        let Some(set) = before.crypto_maps.get(map) else { return };
        if !self.now.crypto_maps.contains_key(map) && self.loses(|_| true) {
            self.now.crypto_maps.insert(map.to_owned(), set.clone());
            self.refuse(format!(
                "crypto map {map} is in use by {interface}: not removed. Take it off the interface first"
            ));
        }
        for seq in set.entries.keys() {
            let selects = |body: &&EntryBody| has_permit(before, body.match_address.as_deref());
            if bodies(before, map, *seq).iter().any(selects) {
                self.entry(*seq);
            }
        }
    }

    fn entry(&mut self, seq: u16) {
        let (before, map, interface) = (self.before, self.place.map, self.place.interface);
        let Some(entry) = before.entry(map, seq) else { return };
        let kind = |keying: &Keying| std::mem::discriminant(keying);
        let made = self.now.entry(map, seq).filter(|now| kind(&now.keying) == kind(&entry.keying));
        let named = made.map(|now| now.keying.clone());
        let Some(keying) = named else {
            if !self.loses(|line| line == seq) {
                return;
            }
            self.now.crypto_maps.entry(map.to_owned()).or_default().entries.insert(seq, entry.clone());
            self.refuse(format!(
                "crypto map {map} {seq} is in force on {interface}: not removed. Replace it in one go (make it again before \
                 \"end\"), {OR_TAKE_OFF}"
            ));
            return self.lines_of(seq, &entry.keying);
        };
        if keying == entry.keying || !matches!(keying, Keying::Dynamic { .. }) {
            self.lines_of(seq, &keying);
        }
    }

    /// Restores the parts of an existing entry.
    fn lines_of(&mut self, seq: u16, keying: &Keying) {
        let Keying::Dynamic { map: dynamic, .. } = keying else { return self.body(seq, &Body::Entry(seq)) };
        let before = self.before;
        let Some(templates) = before.dynamic_maps.get(dynamic) else { return };
        for (number, body) in &templates.entries {
            let there = |now: &Configuration| {
                now.dynamic_maps.get(dynamic).is_some_and(|now| now.entries.contains_key(number))
            };
            if !there(self.now)
                && has_permit(before, body.match_address.as_deref())
                && self.loses(|line| line == seq)
            {
                let map = self.now.dynamic_maps.entry(dynamic.clone()).or_default();
                map.entries.insert(*number, body.clone());
                self.refuse(format!(
                    "dynamic map {dynamic} {number} is used by {}: not removed. Replace it in one go (make it again \
                     before \"end\"), {OR_TAKE_OFF}",
                    self.user(seq)
                ));
            }
            if there(self.now) {
                self.body(seq, &Body::Template(dynamic.clone(), *number));
            }
        }
    }

    fn body(&mut self, seq: u16, place: &Body) {
        let (before, map) = (self.before, self.place.map);
        let Some(old) = place.of(before, map) else { return };
        self.access_list(seq, place, old);
        let user = self.user(seq);
        let held = |part: fn(&EntryBody) -> bool| {
            self.others.iter().any(|other| place.of(other, map).is_some_and(part))
        };
        let held_peers = held(|body| !body.peers.is_empty());
        let held_sets = held(|body| !body.transform_sets.is_empty());
        let Some(body) = place.of_mut(self.now, map) else { return };
        let mut texts = Vec::new();
        let entry = matches!(place, Body::Entry(_));
        if entry && body.peers.is_empty() && !old.peers.is_empty() && !held_peers {
            body.peers.clone_from(&old.peers);
            texts.push(format!(
                "{user} has no peer left: put back. Replace it in one go (type the new \"set peer\" before \"end\"), {OR_TAKE_OFF}"
            ));
        }
        if body.transform_sets.is_empty() && !old.transform_sets.is_empty() && !held_sets {
            body.transform_sets.clone_from(&old.transform_sets);
            texts.push(format!(
                "{user} has no transform set left: put back. Replace it in one go (type the new \"set transform-set\" before \
                 \"end\"), {OR_TAKE_OFF}"
            ));
        }
        for tag in body.transform_sets.clone() {
            let held = self.others.iter().any(|other| other.transform_sets.contains_key(&tag));
            let Some(set) = before.transform_sets.get(&tag).filter(|_| !held) else { continue };
            self.now.transform_sets.entry(tag).or_insert_with_key(|tag| {
                texts.push(format!(
                    "transform set {tag} is named by {user}: not removed. Change the entry first, {OR_TAKE_OFF}"
                ));
                set.clone()
            });
        }
        texts.into_iter().for_each(|text| self.refuse(text));
    }

    /// Restores the access list of an entry if the entry refers to none, or if the list was deleted
    /// or has no permit left.
    fn access_list(&mut self, seq: u16, place: &Body, old: &EntryBody) {
        let Some(list) = old.match_address.as_ref().filter(|list| has_permit(self.before, Some(list))) else {
            return;
        };
        let user = self.user(seq);
        let Some(named) = place.of(self.now, self.place.map).map(|body| body.match_address.clone()) else {
            return;
        };
        if has_permit(self.now, named.as_deref()) || !self.loses(|line| line == seq) {
            return;
        }
        if named.as_ref() != Some(list) {
            if let Some(body) = place.of_mut(self.now, self.place.map) {
                body.match_address = Some(list.clone());
            }
            let gone = named.map_or("no access list left".to_owned(), |named| {
                format!("access list {named}, which permits nothing")
            });
            self.refuse(format!(
                "{user} has {gone}: \"match address {list}\" is put back. Replace it in one go (type the new list and \"match \
                 address\" before \"end\"), {OR_TAKE_OFF}"
            ));
        }
        if has_permit(self.now, Some(list)) {
            return;
        }
        let was_there = self.now.access_lists.contains_key(list);
        let Some(rules) = self.before.access_lists.get(list) else { return };
        self.now.access_lists.insert(list.clone(), rules.clone());
        let what = if was_there { "its last permit is not removed" } else { "not removed" };
        self.refuse(format!(
            "access list {list} is used by {user}: {what}. Replace it in one go (type the new lines before \"end\"), {OR_TAKE_OFF}"
        ));
    }

    /// Whether traffic that `before` protects on the device, in entries selected by `which`, is no
    /// longer protected.
    fn loses(&self, which: impl Fn(u16) -> bool) -> bool {
        let old = lines(self.before, self.place.device);
        let now: &Configuration = self.now;
        let after: Vec<_> = std::iter::once(now)
            .chain(self.others.iter().copied())
            .map(|other| judged(other, self.place.device))
            .collect();
        !lost(&old, &after, |line| which(line.seq)).is_empty()
    }

    fn user(&self, seq: u16) -> String {
        format!("crypto map {} {seq} on {}", self.place.map, self.place.interface)
    }

    fn refuse(&mut self, text: String) {
        let text = format!("%ERROR: {text}");
        if !self.refused.contains(&text) {
            self.refused.push(text);
        }
    }
}

impl Body {
    fn of<'c>(&self, configuration: &'c Configuration, map: &str) -> Option<&'c EntryBody> {
        match self {
            Body::Entry(seq) => configuration.entry(map, *seq).map(|entry| &entry.body),
            Body::Template(dynamic, number) => configuration.dynamic_maps.get(dynamic)?.entries.get(number),
        }
    }

    fn of_mut<'c>(&self, configuration: &'c mut Configuration, map: &str) -> Option<&'c mut EntryBody> {
        match self {
            Body::Entry(seq) => {
                let entry = configuration.crypto_maps.get_mut(map)?.entries.get_mut(seq)?;
                Some(&mut entry.body)
            }
            Body::Template(dynamic, number) => {
                configuration.dynamic_maps.get_mut(dynamic)?.entries.get_mut(number)
            }
        }
    }
}

fn has_permit(configuration: &Configuration, list: Option<&str>) -> bool {
    let permits = |list: &AccessList| list.rules().any(|(_, rule)| rule.action == AclAction::Permit);
    list.and_then(|list| configuration.access_lists.get(list)).is_some_and(permits)
}
