//! Rules for whole configurations, independent of the order of input, and the effect of a session's
//! edits on protected traffic.

mod changed;
mod filters;
mod protected;
mod protection;
mod put_back;
mod region;

pub(crate) use changed::{NamedLists, settle_changes};
pub use filters::filter_notes;
pub use protection::{Review, protected_by, review_edits, user_of_list};

use crate::Configuration;
use crate::edit::EditError;
use crate::effective_ike::{effective_ike, effective_ipsec, effective_manual};
use crate::model::{AccessList, AclRule, EntryBody, Keying, Profile};
use crate::sizes::{self, Sizes};

/// Printed when a default peer is configured without dead peer detection.
pub const NO_DPD_NOTE: &str = "%NOTE: default peer configured but DPD is disabled";

/// The note for an entry that uses IKEv2 where IOS would use IKEv1.
pub fn no_profile_note(map: &str, seq: u16) -> String {
    format!("%NOTE: crypto map {map} {seq} has no ikev2-profile: IKEv2 is used where IOS uses IKEv1")
}

/// Normalises a candidate configuration, or rejects it. Returns the notes to print.
///
/// An idle timer of an entry that equals the global one is removed (a restriction of the
/// specification). The rule is applied to the model, not to single lines, so it also takes effect
/// when the global timer changes.
pub fn settle(candidate: &mut Configuration) -> Result<Vec<String>, EditError> {
    let notes = settle_rules(candidate)?;
    check_limits(candidate)?;
    Ok(notes)
}

/// Rejects what exceeds the limits of any gateway, however large its segments are.
pub(crate) fn check_limits(candidate: &Configuration) -> Result<(), EditError> {
    Sizes::of(candidate).check()
}

/// [`settle`] without the limits.
fn settle_rules(candidate: &mut Configuration) -> Result<Vec<String>, EditError> {
    let global = |body: &EntryBody| is_global_idle_timer(candidate, body);
    let maps = candidate.crypto_maps.iter().flat_map(|(name, map)| {
        map.entries.iter().filter(|(_, entry)| global(&entry.body)).map(|(seq, _)| (name.clone(), *seq))
    });
    let templates = candidate.dynamic_maps.iter().flat_map(|(name, map)| {
        map.entries.iter().filter(|(_, body)| global(body)).map(|(seq, _)| (name.clone(), *seq))
    });
    let (maps, templates) = (maps.collect::<Vec<_>>(), templates.collect::<Vec<_>>());
    let notes = drop_idle_timers(candidate, maps, templates);
    crypto_lists(candidate)?;
    filters::check(candidate)?;
    Ok(notes)
}

/// Whether the idle timer of an entry equals the global one.
fn is_global_idle_timer(configuration: &Configuration, body: &EntryBody) -> bool {
    body.idle.is_some_and(|idle| Some(idle.seconds) == configuration.ipsec.idle_seconds)
}

/// Removes the idle timers of these entries and templates. Returns the notes to print.
fn drop_idle_timers(
    candidate: &mut Configuration,
    maps: Vec<(String, u16)>,
    templates: Vec<(String, u16)>,
) -> Vec<String> {
    let note = |name: &str, seq: u16| {
        format!("%NOTE: idle-time equals the global value; not added to crypto map {name} {seq}")
    };
    let mut notes = Vec::new();
    for (name, seq) in maps {
        if let Some(entry) = candidate.crypto_maps.get_mut(&name).and_then(|map| map.entries.get_mut(&seq)) {
            entry.body.idle = None;
            notes.push(note(&name, seq));
        }
    }
    for (name, seq) in templates {
        if let Some(body) = candidate.dynamic_maps.get_mut(&name).and_then(|map| map.entries.get_mut(&seq)) {
            body.idle = None;
            notes.push(note(&name, seq));
        }
    }
    notes
}

/// Access lists of crypto maps must be expressible as traffic selectors.
fn crypto_lists(candidate: &Configuration) -> Result<(), EditError> {
    let static_lists = candidate
        .crypto_maps
        .values()
        .flat_map(|map| map.entries.values().filter_map(|entry| entry.body.match_address.as_ref()));
    let dynamic_lists = candidate
        .dynamic_maps
        .values()
        .flat_map(|map| map.entries.values().filter_map(|body| body.match_address.as_ref()));
    for name in static_lists.chain(dynamic_lists) {
        let Some(list) = candidate.access_lists.get(name) else { continue };
        if let Some(problem) = no_crypto_list(list) {
            return Err(EditError(format!("%ERROR: {problem} in crypto access list {name}")));
        }
    }
    Ok(())
}

/// Why a list cannot be used by a crypto map.
fn no_crypto_list(list: &AccessList) -> Option<&'static str> {
    list.rules().find_map(|(_, rule)| not_expressible(rule))
}

fn not_expressible(rule: &AclRule) -> Option<&'static str> {
    if rule.source.prefix().is_none() || rule.destination.prefix().is_none() {
        return Some("non-contiguous wildcard mask");
    }
    let options = &rule.options;
    if options.established || options.fragments || options.service.is_some() {
        return Some(
            "\"established\", \"fragments\", \"dscp\" and \"precedence\" cannot be negotiated: not allowed",
        );
    }
    None
}

/// Notes about a valid configuration: unusable entries with the reason, unresolved references,
/// default peers without DPD, and what exceeds the kernel's maps. For `tohub check` and for the log
/// at start-up.
pub fn review(configuration: &Configuration) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, map) in &configuration.crypto_maps {
        for (seq, entry) in &map.entries {
            let place = format!("crypto map {name} {seq}");
            let body = &entry.body;
            if let Keying::Dynamic { map, .. } = &entry.keying {
                if !configuration.dynamic_maps.contains_key(map) {
                    notes.push(format!("%NOTE: {place} names dynamic map {map}, which is not configured"));
                }
                continue;
            }
            if !entry.is_complete() {
                notes.push(format!(
                    "%NOTE: {place} stays disabled until it has a peer, an access list and a transform set; what its \
                     access list permits is dropped"
                ));
            }
            if let Some(list) =
                body.match_address.as_ref().filter(|l| !configuration.access_lists.contains_key(*l))
            {
                notes.push(format!("%NOTE: {place} names access list {list}, which is not configured"));
            }
            if entry.keying == Keying::Manual {
                if entry.is_complete()
                    && let Err(refusal) = effective_manual(configuration, name, *seq, entry)
                {
                    notes.push(format!("%NOTE: {refusal}"));
                }
                continue;
            }
            match effective_ike(configuration, name, *seq, entry) {
                Ok(parameters) => {
                    if body.default_peer().is_some() && parameters.dpd.is_none() {
                        notes.push(format!("{NO_DPD_NOTE} ({place})"));
                    }
                    if !matches!(body.profile, Some(Profile::Ikev2(_))) {
                        notes.push(no_profile_note(name, *seq));
                    }
                }
                Err(refusal) => notes.push(format!("%NOTE: {refusal}")),
            }
            if let Err(refusal) = effective_ipsec(configuration, name, *seq, entry) {
                notes.push(format!("%NOTE: {refusal}"));
            }
        }
    }
    for (name, interface) in &configuration.interfaces {
        if let Some(map) =
            interface.crypto_map.as_ref().filter(|map| !configuration.crypto_maps.contains_key(*map))
        {
            notes.push(format!("%NOTE: interface {name} uses crypto map {map}, which is not configured"));
        }
    }
    notes.extend(filter_notes(configuration));
    notes.extend(sizes::notes(configuration));
    notes
}
