//! A worker's private copies of the SAs it uses: expanded keys, negotiated selectors, ownership of
//! the shared state.
//!
//! The first worker that touches a slot owns its sequence numbers or replay window; the others read
//! the owner and hand packets over. A copy lives as long as the slot word: when the control plane
//! retires a slot, the next check of the generation drops the copy, which erases its keys.

mod inbound;
mod outbound;

pub use inbound::InboundState;
pub use outbound::OutboundState;

use sa_table::record::KeyMaterial;
use sa_table::{ClaimError, Direction, Event, EventSender, Level, SlotWord, WorkerId};

/// Why a worker has no state for a slot word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The slot was retired.
    Stale,
    /// The record needs something that this build lacks.
    Unusable,
    /// Another worker owns it.
    Foreign(WorkerId),
}

impl From<ClaimError> for Absent {
    fn from(error: ClaimError) -> Absent {
        match error {
            ClaimError::Other(worker) => Absent::Foreign(worker),
            ClaimError::Stale => Absent::Stale,
            ClaimError::Already | ClaimError::OutOfRange | ClaimError::Superseded => Absent::Unusable,
        }
    }
}

/// SA states by slot.
#[derive(Debug)]
pub struct SaCache<T> {
    entries: Box<[Entry<T>]>,
    /// Slots whose entry is not empty.
    used: Vec<u32>,
}

#[derive(Debug)]
enum Entry<T> {
    Empty,
    Owned(SlotWord, Box<T>),
    Absent(SlotWord, Absent),
}

impl<T> Entry<T> {
    fn word(&self) -> Option<SlotWord> {
        match self {
            Entry::Empty => None,
            Entry::Owned(word, _) | Entry::Absent(word, _) => Some(*word),
        }
    }
}

impl<T> SaCache<T> {
    /// Room for every slot of an arena.
    pub fn new(slots: u32) -> SaCache<T> {
        let entries = (0..slots).map(|_| Entry::Empty).collect();
        SaCache { entries, used: Vec::with_capacity(slots as usize) }
    }

    /// The state of a slot word, created by `make` when the word is first used. This expands keys
    /// and allocates, once per SA.
    #[inline]
    pub fn find(
        &mut self,
        word: SlotWord,
        make: impl FnOnce() -> Result<T, Absent>,
    ) -> Result<&mut T, Absent> {
        let slot = word.slot();
        let entry = self.entries.get_mut(slot as usize).ok_or(Absent::Unusable)?;
        if entry.word() != Some(word) {
            if entry.word().is_none() {
                self.used.push(slot);
            }
            // Drop the old state first: it releases its claim.
            *entry = Entry::Empty;
            *entry = match make() {
                Ok(state) => Entry::Owned(word, Box::new(state)),
                Err(absent) => Entry::Absent(word, absent),
            };
        }
        match entry {
            Entry::Owned(_, state) => Ok(state),
            Entry::Absent(_, absent) => Err(*absent),
            Entry::Empty => Err(Absent::Stale),
        }
    }

    /// The state of a slot word, if this worker owns it.
    #[inline]
    pub fn owned(&self, word: SlotWord) -> Option<&T> {
        match self.entries.get(word.slot() as usize)? {
            Entry::Owned(of, state) if *of == word => Some(state),
            _ => None,
        }
    }

    /// The state of a slot word, to change it, if this worker owns it.
    #[inline]
    pub fn owned_mut(&mut self, word: SlotWord) -> Option<&mut T> {
        match self.entries.get_mut(word.slot() as usize)? {
            Entry::Owned(of, state) if *of == word => Some(state),
            _ => None,
        }
    }

    /// Drops the state of slot words that are not live any more, and retries entries that were
    /// unusable.
    pub fn retain(&mut self, is_live: impl Fn(SlotWord) -> bool) {
        let entries = &mut self.entries;
        self.used.retain(|slot| {
            let Some(entry) = entries.get_mut(*slot as usize) else { return false };
            let keep = matches!(entry, Entry::Owned(word, _) | Entry::Absent(word, Absent::Foreign(_)) if is_live(*word));
            if !keep {
                *entry = Entry::Empty;
            }
            keep
        });
    }
}

/// The salt of a record; zeros, which are not used, if the algorithm has none.
fn salt(keys: &KeyMaterial) -> [u8; 4] {
    keys.salt().try_into().unwrap_or_default()
}

/// Which limit of an SA's lifetime was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    None,
    Soft,
    Hard,
}

/// Compares what an SA carried with its lifetime; a limit of 0 is none.
fn limit(lifetime: &sa_table::record::Lifetime, (packets, bytes): (u64, u64), now_ms: u64) -> Limit {
    let reached = |limit: u64, value: u64| limit != 0 && value >= limit;
    if reached(lifetime.hard_packets, packets)
        || reached(lifetime.hard_bytes, bytes)
        || reached(lifetime.hard_deadline_ms, now_ms)
    {
        Limit::Hard
    } else if reached(lifetime.soft_packets, packets)
        || reached(lifetime.soft_bytes, bytes)
        || reached(lifetime.soft_deadline_ms, now_ms)
    {
        Limit::Soft
    } else {
        Limit::None
    }
}

/// Whether an SA may still be used at this limit. A reached limit is set as a flag, and reported if
/// the flag was not set before.
fn may_go_on(
    reached: Limit,
    direction: Direction,
    slot: SlotWord,
    raise: impl Fn(Level) -> bool,
    events: &mut EventSender,
) -> bool {
    match reached {
        Limit::None => true,
        Limit::Soft => {
            if raise(Level::SoftLimit) {
                events.send(&Event::SoftLimit { direction, slot });
            }
            true
        }
        Limit::Hard => {
            if raise(Level::HardLimit) {
                events.send(&Event::HardLimit { direction, slot });
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(generation: u32) -> SlotWord {
        SlotWord::new(generation, 3).unwrap()
    }

    #[test]
    fn a_state_is_made_once_and_replaced_by_that_of_the_next_generation() {
        let mut cache = SaCache::new(8);
        assert_eq!(cache.find(word(1), || Ok(10)), Ok(&mut 10));
        assert_eq!(cache.find(word(1), || panic!("made twice")), Ok(&mut 10));
        assert_eq!(cache.owned(word(2)), None);
        assert_eq!(cache.find(word(2), || Ok(20)), Ok(&mut 20));
        assert_eq!(cache.owned(word(1)), None);
        assert_eq!(cache.used, [3]);
    }

    #[test]
    fn retired_slots_are_forgotten_and_unusable_ones_looked_at_again() {
        let mut cache = SaCache::new(8);
        cache.find(word(1), || Ok(1)).unwrap();
        let foreign = SlotWord::new(1, 4).unwrap();
        let unusable = SlotWord::new(1, 5).unwrap();
        assert_eq!(
            cache.find(foreign, || Err(Absent::Foreign(WorkerId(1)))),
            Err(Absent::Foreign(WorkerId(1)))
        );
        assert_eq!(cache.find(unusable, || Err(Absent::Unusable)), Err(Absent::Unusable));
        cache.retain(|_| true);
        assert_eq!(cache.find(unusable, || Ok(5)), Ok(&mut 5));
        assert_eq!(cache.find(foreign, || Ok(4)), Err(Absent::Foreign(WorkerId(1))));
        cache.retain(|live| live == foreign);
        assert_eq!(cache.owned(word(1)), None);
        assert_eq!(cache.used, [4]);
    }

    #[test]
    fn a_slot_beyond_the_arena_has_no_state() {
        let mut cache: SaCache<()> = SaCache::new(2);
        assert_eq!(cache.find(word(1), || Ok(())), Err(Absent::Unusable));
    }

    #[test]
    fn the_lifetime_ends_at_the_first_hard_limit() {
        let lifetime = sa_table::record::Lifetime {
            soft_packets: 10,
            hard_packets: 20,
            soft_deadline_ms: 1000,
            hard_deadline_ms: 2000,
            ..Default::default()
        };
        assert_eq!(limit(&lifetime, (9, u64::MAX), 999), Limit::None);
        assert_eq!(limit(&lifetime, (10, 0), 0), Limit::Soft);
        assert_eq!(limit(&lifetime, (0, 0), 1000), Limit::Soft);
        assert_eq!(limit(&lifetime, (20, 0), 0), Limit::Hard);
        assert_eq!(limit(&lifetime, (0, 0), 2000), Limit::Hard);
    }
}
