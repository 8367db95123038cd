//! Rules that hold on a whole model, however it was typed, and what a session's edits mean for protection.

mod filters;
mod protected;
mod protection;
mod put_back;
mod region;

pub use filters::filter_notes;
pub use protection::{Review, protected_by, review_edits, user_of_list};

use crate::Configuration;
use crate::edit::EditError;
use crate::effective_ike::{effective_ike, effective_ipsec, effective_manual};
use crate::model::{AclRule, Keying, Profile};
use crate::sizes::{self, Sizes};

/// Printed when a default peer is configured and nothing would notice its death.
pub const NO_DPD_NOTE: &str = "%NOTE: default peer configured but DPD is disabled";

/// The note of an entry that speaks IKEv2 where IOS would speak IKEv1.
pub fn no_profile_note(map: &str, seq: u16) -> String {
    format!("%NOTE: crypto map {map} {seq} has no ikev2-profile: IKEv2 is used where IOS uses IKEv1")
}

/// Brings a candidate into the form that may run, or refuses it. Returns the notes to print.
///
/// An idle timer of an entry that equals the global one is not added (the specification's restriction); the rule holds
/// on the model and not on the order of typing, so it also acts when it is the global timer that changed.
pub fn settle(candidate: &mut Configuration) -> Result<Vec<String>, EditError> {
    let mut notes = Vec::new();
    let global = candidate.ipsec.idle_seconds;
    let maps = candidate
        .crypto_maps
        .iter_mut()
        .flat_map(|(name, map)| map.entries.iter_mut().map(move |(seq, entry)| (name, seq, &mut entry.body)));
    let templates = candidate
        .dynamic_maps
        .iter_mut()
        .flat_map(|(name, map)| map.entries.iter_mut().map(move |(seq, body)| (name, seq, body)));
    for (name, seq, body) in maps.chain(templates) {
        if body.idle.is_some_and(|idle| Some(idle.seconds) == global) {
            body.idle = None;
            notes.push(format!(
                "%NOTE: idle-time equals the global value; not added to crypto map {name} {seq}"
            ));
        }
    }
    crypto_lists(candidate)?;
    filters::check(candidate)?;
    Sizes::of(candidate).check()?;
    Ok(notes)
}

/// Access lists that crypto maps use must be expressible as traffic selectors.
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
        for (_, rule) in list.rules() {
            if let Some(problem) = not_expressible(rule) {
                return Err(EditError(format!("%ERROR: {problem} in crypto access list {name}")));
            }
        }
    }
    Ok(())
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

/// What an engineer should know about a configuration that is legal: entries that cannot be used and why, references
/// that lead nowhere, default peers without DPD, more than the kernel's maps hold. For `tohub check` and for the log at start.
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
