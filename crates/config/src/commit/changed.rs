//! The rules of [`super::settle`] and the notes about filters, evaluated only where a line changed
//! something.
//!
//! The time depends on the size of the change, not of the configuration. The limits of
//! [`crate::sizes`] are not included: they require counting the whole configuration, and are
//! checked at the commit.

use std::collections::HashSet;

use super::{crypto_lists, drop_idle_timers, filters, is_global_idle_timer, no_crypto_list, settle_rules};
use crate::Configuration;
use crate::diff::{Action, Change, Object};
use crate::edit::EditError;
use crate::model::{AccessGroups, DynamicMap, EntryBody};

/// The names of referenced access lists, by use. It may still contain names that are no longer
/// referenced.
#[derive(Debug, Default)]
pub(crate) struct NamedLists(Option<Names>);

#[derive(Debug, Default)]
struct Names {
    crypto: HashSet<String>,
    filters: HashSet<String>,
}

impl NamedLists {
    /// All names of `configuration`, collected at the first call; later calls rely on
    /// [`NamedLists::take_up`].
    fn of(&mut self, configuration: &Configuration) -> &Names {
        self.0.get_or_insert_with(|| {
            let mut names = Names::default();
            configuration.interfaces.values().for_each(|one| names.add_groups(&one.access_groups));
            let entries = configuration.crypto_maps.values().flat_map(|map| map.entries.values());
            entries.for_each(|entry| names.add_body(&entry.body));
            configuration.dynamic_maps.values().for_each(|map| names.add_templates(map));
            names
        })
    }

    /// Adds the names that a line refers to.
    fn take_up(&mut self, candidate: &Configuration, changes: &[Change]) {
        let Some(names) = &mut self.0 else { return };
        for change in changes {
            match &change.object {
                Object::Interface(name) => {
                    let interface = candidate.interfaces.get(name);
                    interface.into_iter().for_each(|one| names.add_groups(&one.access_groups));
                }
                Object::CryptoMapEntry { map, seq, .. } => {
                    let entry = candidate.entry(map, *seq);
                    entry.into_iter().for_each(|entry| names.add_body(&entry.body));
                }
                Object::DynamicMap(name) => {
                    let map = candidate.dynamic_maps.get(name);
                    map.into_iter().for_each(|map| names.add_templates(map));
                }
                _ => {}
            }
        }
    }
}

impl Names {
    fn add_groups(&mut self, groups: &AccessGroups) {
        self.filters.extend(groups.iter().map(|(list, _)| list.to_owned()));
    }

    fn add_body(&mut self, body: &EntryBody) {
        self.crypto.extend(body.match_address.clone());
        self.add_groups(&body.access_groups);
    }

    fn add_templates(&mut self, map: &DynamicMap) {
        map.entries.values().for_each(|body| self.add_body(body));
    }
}

/// Applies [`super::settle`] to a candidate, except for the limits, on the condition that `before`
/// was settled and `changes` are the only differences. Returns the notes to print, including new
/// ones about filters.
pub(crate) fn settle_changes(
    before: &Configuration,
    candidate: &mut Configuration,
    changes: &[Change],
    named: &mut NamedLists,
) -> Result<Vec<String>, EditError> {
    named.take_up(candidate, changes);
    if changes.iter().any(|change| change.object == Object::IpsecGlobals) {
        let mut notes = settle_rules(candidate)?;
        notes.extend(new_notes(filters::filter_notes(before), filters::filter_notes(candidate)));
        return Ok(notes);
    }
    let mut notes = settle_idle_timers(candidate, changes);
    if changes.iter().any(|change| may_break_crypto_list(before, candidate, change, named)) {
        crypto_lists(candidate)?;
    }
    if changes.iter().any(|change| matches!(change.object, Object::Interface(_))) {
        filters::check(candidate)?;
    }
    notes.extend(notes_on_filters(before, candidate, changes, named));
    Ok(notes)
}

fn settle_idle_timers(candidate: &mut Configuration, changes: &[Change]) -> Vec<String> {
    let (mut maps, mut templates) = (Vec::new(), Vec::new());
    for change in changes {
        match &change.object {
            Object::CryptoMapEntry { map, seq, .. } => {
                let entry = candidate.entry(map, *seq);
                if entry.is_some_and(|entry| is_global_idle_timer(candidate, &entry.body)) {
                    maps.push((map.clone(), *seq));
                }
            }
            Object::DynamicMap(name) => {
                let bodies = candidate.dynamic_maps.get(name).into_iter().flat_map(|map| &map.entries);
                let equal = bodies.filter(|(_, body)| is_global_idle_timer(candidate, body));
                templates.extend(equal.map(|(seq, _)| (name.clone(), *seq)));
            }
            _ => {}
        }
    }
    drop_idle_timers(candidate, maps, templates)
}

/// Whether a change may cause a crypto map to match an unsuitable list.
fn may_break_crypto_list(
    before: &Configuration,
    candidate: &Configuration,
    change: &Change,
    named: &mut NamedLists,
) -> bool {
    let is_none = |list: &str| candidate.access_lists.get(list).and_then(no_crypto_list).is_some();
    match &change.object {
        Object::AccessList(name) => is_none(name) && named.of(candidate).crypto.contains(name),
        Object::CryptoMapEntry { map, seq, .. } => {
            let list =
                |of: &Configuration| of.entry(map, *seq).and_then(|one| one.body.match_address.clone());
            let now = list(candidate);
            now != list(before) && now.is_some_and(|now| is_none(&now))
        }
        Object::DynamicMap(name) => {
            let bodies = candidate.dynamic_maps.get(name).into_iter().flat_map(|map| map.entries.values());
            bodies.filter_map(|body| body.match_address.as_deref()).any(is_none)
        }
        _ => false,
    }
}

fn notes_on_filters(
    before: &Configuration,
    candidate: &Configuration,
    changes: &[Change],
    named: &mut NamedLists,
) -> Vec<String> {
    let filters_by = |list: &String, named: &mut NamedLists| named.of(candidate).filters.contains(list);
    let lists: Vec<&String> = changes
        .iter()
        .filter_map(|change| match &change.object {
            Object::AccessList(list) if filters_by(list, named) => Some(list),
            _ => None,
        })
        .collect();
    let is_empty = |of: &Configuration, list: &str| filters::lines_of(of, list).map(|lines| lines == 0);
    let mut notes = if lists.iter().any(|list| is_empty(before, list) != is_empty(candidate, list)) {
        new_notes(filters::empty_lists(before), filters::empty_lists(candidate))
    } else {
        new_notes(at_places(before, changes), at_places(candidate, changes))
    };
    let interfaces = changes.iter().any(|change| matches!(change.object, Object::Interface(_)));
    if interfaces || !lists.is_empty() {
        let stopped = |of| filters::stopped_tunnels(of).collect::<Vec<_>>();
        notes.extend(new_notes(stopped(before), stopped(candidate)));
    }
    notes
}

/// The notes about empty lists at the changed places.
fn at_places(configuration: &Configuration, changes: &[Change]) -> Vec<String> {
    let mut notes = Vec::new();
    for change in changes.iter().filter(|change| change.action != Action::Remove) {
        match &change.object {
            Object::Interface(name) => {
                if let Some(interface) = configuration.interfaces.get(name) {
                    let place = filters::place_of_interface(name);
                    notes.extend(filters::empty_lists_at(configuration, &place, &interface.access_groups));
                }
            }
            Object::CryptoMapEntry { map, seq, .. } => {
                if let Some(entry) = configuration.entry(map, *seq) {
                    let place = filters::place_of_entry(map, *seq);
                    notes.extend(filters::empty_lists_at(configuration, &place, &entry.body.access_groups));
                }
            }
            Object::DynamicMap(name) => {
                let bodies = configuration.dynamic_maps.get(name).into_iter().flat_map(|map| &map.entries);
                for (seq, body) in bodies {
                    let place = filters::place_of_template(name, *seq);
                    notes.extend(filters::empty_lists_at(configuration, &place, &body.access_groups));
                }
            }
            _ => {}
        }
    }
    notes
}

fn new_notes(known: Vec<String>, notes: Vec<String>) -> Vec<String> {
    notes.into_iter().filter(|note| !known.contains(note)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diff::diff;
    use crate::edit::{self, Editor, KnownRules, Mode, Offline};
    use crate::shell::tests::lines::lines;
    use crate::tree::tokens;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn rules_looked_at_where_something_changed_say_what_rules_on_everything_say(lines in lines()) {
            let (mut before, mut mode) = (Configuration::default(), Mode::Global);
            let (mut known_rules, mut named) = (KnownRules::default(), NamedLists::default());
            for line in lines {
                let Ok(step) = edit::parse(&mode, &line, &tokens(&line)) else { continue };
                let mut candidate = before.clone();
                let mut editor = Editor::new(&mut candidate, mode.clone(), false, &mut known_rules);
                let applied = step.apply_with(&mut editor, &mut Offline);
                let next = editor.mode;
                if applied.is_err() {
                    known_rules = KnownRules::default();
                    continue;
                }
                let mut whole = candidate.clone();
                let expected = settle_rules(&mut whole).map(|mut notes| {
                    notes.extend(new_notes(filters::filter_notes(&before), filters::filter_notes(&whole)));
                    notes
                });
                let changes = diff(&before, &candidate);
                let notes = settle_changes(&before, &mut candidate, &changes, &mut named);
                prop_assert_eq!(&notes, &expected, "{}", line);
                if notes.is_ok() {
                    prop_assert_eq!(&candidate, &whole, "{}", line);
                    (before, mode) = (candidate, next);
                } else {
                    known_rules = KnownRules::default();
                }
            }
        }
    }
}
