//! Review of a session's edits when it leaves configuration mode: which traffic is no longer
//! protected.
//!
//! A deletion that leaves an applied crypto map without a required object is a mistake or an
//! incomplete replacement: it is rejected and the object is restored. Any other change of the
//! protected traffic (lines of a list, another list, a map that is removed from an interface) is
//! accepted and reported.

use std::collections::BTreeSet;

use super::protected::{Applied, applied, judged, lines, lost};
use super::put_back;
use crate::Configuration;

/// Maximum number of permits that are listed.
const NAMED: usize = 8;

/// The result of the review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Rejected deletions that were reverted: place and remedy, with their `%ERROR: `.
    pub refused: Vec<String>,
    /// Traffic that is no longer protected, one text for each permit, up to a maximum.
    pub lost: Vec<String>,
    /// Further notes for the user, with their `%NOTE: `.
    pub notes: Vec<String>,
}

impl Review {
    /// The complete text to print.
    pub fn text(&self) -> String {
        let lost = self.lost.iter().map(|lost| format!("%NOTE: no longer protected: {lost}\n"));
        let others = self.refused.iter().chain(&self.notes).map(|line| format!("{line}\n"));
        others.chain(lost).collect()
    }
}

/// Compares the configurations `before` (at the time the session entered configuration mode, and
/// those of disconnected sessions) with the current one, and restores required objects in `now`.
/// Traffic that `others`, the baselines of open sessions, protect stays protected in any case.
pub fn review_edits(before: &[&Configuration], now: &mut Configuration, others: &[&Configuration]) -> Review {
    let mut review = Review::default();
    for before in before {
        for refused in put_back::put_back(before, now, others) {
            if !review.refused.contains(&refused) {
                review.refused.push(refused);
            }
        }
    }
    let mut lost = BTreeSet::new();
    let mut held = false;
    for before in before {
        for place in applied(before) {
            lost.extend(losses(before, now, others, place));
            held |= !others.is_empty() && !losses(before, now, &[], place).is_empty();
        }
    }
    if held {
        review.notes.push(
            "%NOTE: another session is in configuration mode: what it began with stays protected until it leaves that mode"
                .into(),
        );
    }
    review.lost = bounded(lost.into_iter().collect());
    review
}

/// The traffic that the crypto map of an interface protects, one text for each permit, up to a
/// maximum.
pub fn protected_by(configuration: &Configuration, interface: &crate::model::InterfaceName) -> Vec<String> {
    let Some(place) = applied(configuration).find(|place| place.interface == interface) else {
        return Vec::new();
    };
    let permits = lines(configuration, place.device).into_iter().filter(|line| line.is_permit());
    bounded(
        permits
            .map(|line| {
                format!("{} (access list {}, crypto map {} {})", line.text(), line.list, place.map, line.seq)
            })
            .collect(),
    )
}

/// The crypto map entry and interface that use an access list: `crypto map M S on I`.
pub fn user_of_list(configuration: &Configuration, list: &str) -> Option<String> {
    applied(configuration).find_map(|place| {
        let set = configuration.crypto_maps.get(place.map)?;
        let seq = set.entries.keys().find(|seq| {
            let bodies = super::protected::bodies(configuration, place.map, **seq);
            bodies.iter().any(|body| body.match_address.as_deref() == Some(list))
        })?;
        Some(format!("crypto map {} {seq} on {}", place.map, place.interface))
    })
}

fn losses(
    before: &Configuration,
    now: &Configuration,
    others: &[&Configuration],
    place: Applied<'_>,
) -> Vec<String> {
    let old = lines(before, place.device);
    let after: Vec<_> =
        std::iter::once(now).chain(others.iter().copied()).map(|other| judged(other, place.device)).collect();
    let text = |index: usize| {
        let line = &old[index];
        format!(
            "\"{}\" of access list {} (crypto map {} {}) leaves in clear by {}",
            line.text(),
            line.list,
            place.map,
            line.seq,
            place.interface
        )
    };
    lost(&old, &after, |_| true).into_iter().map(text).collect()
}

fn bounded(mut texts: Vec<String>) -> Vec<String> {
    let more = texts.len().saturating_sub(NAMED);
    texts.truncate(NAMED);
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts
}

#[cfg(test)]
mod tests;
