//! The identifiers of slots, policies and workers that both processes use.

use core::fmt;
use core::num::NonZeroU64;

/// Generation and slot of one security association in one word: `generation << 32 | slot`.
///
/// The generation of a slot changes each time the slot is used again, so an outdated word is
/// recognised instead of referring to the keys of another SA. A generation is never 0, hence
/// neither is a slot word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotWord(NonZeroU64);

impl SlotWord {
    /// A word of its parts; `None` for generation 0, which no slot has.
    pub const fn new(generation: u32, slot: u32) -> Option<Self> {
        if generation == 0 {
            return None;
        }
        Self::from_raw((generation as u64) << 32 | slot as u64)
    }

    /// The word as stored in shared memory; `None` for 0 and for a word without generation.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        if raw >> 32 == 0 {
            return None;
        }
        match NonZeroU64::new(raw) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// The word as it is stored in shared memory.
    pub const fn raw(self) -> u64 {
        self.0.get()
    }

    /// The generation: counts the uses of the slot.
    pub const fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// The slot number inside its arena (inbound and outbound slots are separate arenas).
    pub const fn slot(self) -> u32 {
        self.0.get() as u32
    }
}

impl fmt::Debug for SlotWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slot(), self.generation())
    }
}

impl fmt::Display for SlotWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One permit entry of one crypto-map entry on one port: the index of its policy word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A data-plane worker, counted from 0. Every other reader of the table segment in that process has
/// a number too (the housekeeping thread has its own), since every reader has to announce the
/// generation that it uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The publication number of the table segment: raised whenever an object was made unreachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// The version of the policy arena (ports and rules): raised with each published configuration, 0
/// before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyVersion(pub u64);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_word_keeps_its_parts() {
        let word = SlotWord::new(7, 3).unwrap();
        assert_eq!((word.generation(), word.slot(), word.raw()), (7, 3, 7 << 32 | 3));
        assert_eq!(SlotWord::from_raw(word.raw()), Some(word));
    }

    #[test]
    fn a_word_without_generation_names_nothing() {
        assert_eq!(SlotWord::new(0, 3), None);
        assert_eq!(SlotWord::from_raw(0), None);
        assert_eq!(SlotWord::from_raw(u64::from(u32::MAX)), None);
    }
}
