//! What a session's edits take out of protection, when it leaves configuration mode.
//!
//! A deletion that leaves an applied crypto map without something that it needs is a mistake or
//! half of a replacement: it is refused, and put back. A change of what is protected (other lines
//! in a list, another list, a map that is taken off) is accepted and named.

use std::collections::BTreeSet;

use super::protected::{Applied, applied, judged, lines, lost};
use super::put_back;
use crate::Configuration;

/// Permits that are named one by one.
const NAMED: usize = 8;

/// The answer to a session that leaves configuration mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Deletions that were put back: place and remedy, with their `%ERROR: `.
    pub refused: Vec<String>,
    /// What is not protected any more, one text for each permit, at most some.
    pub lost: Vec<String>,
    /// What else the user has to know, with its `%NOTE: `.
    pub notes: Vec<String>,
}

impl Review {
    /// Everything as it is printed.
    pub fn text(&self) -> String {
        let lost = self.lost.iter().map(|lost| format!("%NOTE: no longer protected: {lost}\n"));
        let others = self.refused.iter().chain(&self.notes).map(|line| format!("{line}\n"));
        others.chain(lost).collect()
    }
}

/// Compares what was configured when the session entered configuration mode (and when those did
/// that were cut off) with what is configured now, and puts back into `now` what must not be gone.
/// What `others`, sessions that are still open, began with is protected in any case.
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

/// What is protected by the crypto map of an interface, one text for each permit, at most some.
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

/// Where an access list is in use by a crypto map on an interface: `crypto map M S on I`.
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
