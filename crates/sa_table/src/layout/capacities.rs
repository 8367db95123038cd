//! Capacities of the segments, chosen once by the supervisor and stored in every header.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Largest number of slots of one direction.
pub(super) const MAX_SLOTS: u32 = 1 << 20;
/// Largest number of policies.
pub(super) const MAX_POLICIES: u32 = 1 << 20;
/// Largest size of a policy arena in words.
pub(super) const MAX_ARENA_WORDS: u32 = 1 << 26;
/// Largest size of a checkpoint buffer in words.
pub(super) const MAX_CHECKPOINT_WORDS: u32 = 1 << 26;

/// Capacities of the segments. They cannot change during the life of the segments.
///
/// As JSON an object of these fields, by which a program that reads the configuration passes them
/// to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacities {
    /// Inbound SAs, 1 to 2^20. Twice the number of tunnels, because old and new overlap while
    /// rekeying.
    pub inbound_slots: u32,
    /// Outbound SAs, 1 to 2^20.
    pub outbound_slots: u32,
    /// Policies, 1 to 2^20.
    pub policies: u32,
    /// Words of eight octets of each of the two policy arenas, 64 to 2^26. A rule takes 6 words, a
    /// port 45.
    pub arena_words: u32,
    /// Workers, the housekeeping thread of the data plane included, 1 to 1024.
    pub workers: u32,
    /// Words of the replay bitmap of an inbound SA, a power of two, 1 to 1024; 64 words are 4096
    /// packets.
    pub replay_words: u32,
    /// Entries of the event ring of each worker, a power of two, 2 to 65536.
    pub ring_entries: u32,
    /// Words of eight octets of each of the two checkpoint buffers, 1 to 2^26.
    pub checkpoint_words: u32,
}

impl Default for Capacities {
    /// 2000 tunnels that rekey at the same time, 20 000 rules, 64 workers: about 40 MiB of address
    /// space.
    fn default() -> Self {
        Self {
            inbound_slots: 4096,
            outbound_slots: 4096,
            policies: 4096,
            arena_words: 1 << 17,
            workers: 64,
            replay_words: 128,
            ring_entries: 256,
            checkpoint_words: 1 << 20,
        }
    }
}

/// A capacity outside of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("capacity {name} is {given}, it must be {low} to {high}{}", if *.power_of_two { " and a power of two" } else { "" })]
pub struct CapacityError {
    /// Name of the capacity.
    pub name: &'static str,
    /// The value requested, or found in the header of a segment.
    pub given: u64,
    /// Smallest legal value.
    pub low: u32,
    /// Largest legal value.
    pub high: u32,
    /// Whether it must be a power of two.
    pub power_of_two: bool,
}

/// A line of text that cannot be parsed as capacities.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CapacitiesTextError {
    /// Not capacities, or those of another release.
    #[error("the capacities cannot be read ({0}); install all programs from one release")]
    Form(String),
    /// A capacity is out of bounds.
    #[error(transparent)]
    Bounds(#[from] CapacityError),
}

/// Name, lower bound, upper bound and power of two, in the order of [`Capacities::to_words`].
const BOUNDS: [(&str, u32, u32, bool); 8] = [
    ("inbound_slots", 1, MAX_SLOTS, false),
    ("outbound_slots", 1, MAX_SLOTS, false),
    ("policies", 1, MAX_POLICIES, false),
    ("arena_words", 64, MAX_ARENA_WORDS, false),
    ("workers", 1, 1024, false),
    ("replay_words", 1, 1024, true),
    ("ring_entries", 2, 1 << 16, true),
    ("checkpoint_words", 1, MAX_CHECKPOINT_WORDS, false),
];

impl Capacities {
    /// Small segments for tests.
    pub fn small() -> Self {
        Self {
            inbound_slots: 16,
            outbound_slots: 16,
            policies: 16,
            arena_words: 2048,
            workers: 4,
            replay_words: 64,
            ring_entries: 8,
            checkpoint_words: 512,
        }
    }

    /// Checks every capacity against its bounds.
    ///
    /// # Errors
    /// The first capacity that is out of bounds.
    pub fn check(&self) -> Result<(), CapacityError> {
        Self::from_words(self.to_words()).map(drop)
    }

    /// One line of JSON, for [`Capacities::from_json`].
    pub fn to_json(&self) -> String {
        // Numbers under fixed names: serialisation cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads and checks what [`Capacities::to_json`] wrote.
    ///
    /// # Errors
    /// Another form, which a program of another release writes, or a capacity that is out of
    /// bounds.
    pub fn from_json(text: &str) -> Result<Self, CapacitiesTextError> {
        let capacities: Self =
            serde_json::from_str(text).map_err(|error| CapacitiesTextError::Form(error.to_string()))?;
        capacities.check()?;
        Ok(capacities)
    }

    /// In the order of the header.
    pub(crate) fn to_words(self) -> [u64; 8] {
        [
            self.inbound_slots,
            self.outbound_slots,
            self.policies,
            self.arena_words,
            self.workers,
            self.replay_words,
            self.ring_entries,
            self.checkpoint_words,
        ]
        .map(u64::from)
    }

    pub(crate) fn from_words(words: [u64; 8]) -> Result<Self, CapacityError> {
        let mut values = [0u32; 8];
        for ((value, given), (name, low, high, power_of_two)) in values.iter_mut().zip(words).zip(BOUNDS) {
            *value = u32::try_from(given)
                .ok()
                .filter(|v| (low..=high).contains(v) && (!power_of_two || v.is_power_of_two()))
                .ok_or(CapacityError { name, given, low, high, power_of_two })?;
        }
        let [
            inbound_slots,
            outbound_slots,
            policies,
            arena_words,
            workers,
            replay_words,
            ring_entries,
            checkpoint_words,
        ] = values;
        Ok(Self {
            inbound_slots,
            outbound_slots,
            policies,
            arena_words,
            workers,
            replay_words,
            ring_entries,
            checkpoint_words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_carry_every_capacity() {
        for capacities in [Capacities::default(), Capacities::small()] {
            assert_eq!(Capacities::from_words(capacities.to_words()), Ok(capacities));
            assert_eq!(Capacities::from_json(&capacities.to_json()), Ok(capacities));
        }
    }

    #[test]
    fn an_illegal_capacity_is_named() {
        let error = Capacities { replay_words: 65, ..Capacities::small() }.check().unwrap_err();
        assert_eq!((error.name, error.given, error.power_of_two), ("replay_words", 65, true));
        assert!(Capacities { inbound_slots: 0, ..Capacities::small() }.check().is_err());
        let mut words = Capacities::small().to_words();
        words[3] = u64::MAX;
        assert_eq!(Capacities::from_words(words).unwrap_err().name, "arena_words");
    }

    #[test]
    fn a_line_of_another_form_or_out_of_bounds_is_refused() {
        let line = Capacities::small().to_json();
        assert!(!line.contains('\n'), "one line");
        for other in
            [String::new(), "ready".into(), line.replace("workers", "cores"), line.replace('}', ",\"x\":1}")]
        {
            assert!(matches!(Capacities::from_json(&other), Err(CapacitiesTextError::Form(_))), "{other}");
        }
        let large = Capacities { policies: MAX_POLICIES + 1, ..Capacities::small() }.to_json();
        assert!(matches!(Capacities::from_json(&large), Err(CapacitiesTextError::Bounds(_))));
    }
}
