//! The header of a segment: kind, layout, boot, set and size.

use std::io;
use std::sync::OnceLock;

use thiserror::Error;

use crate::layout::{
    Capacities, CapacityError, CheckpointLayout, EventsLayout, Header, LAYOUT_HASH, RuntimeLayout,
    TableLayout,
};
use crate::mapping::MapError;
use crate::word::{View, Word};

/// The number of the segment layout; raised with each change that does not change the layout hash.
pub const ABI: u64 = 2;

/// One of the four segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// SPI index, SA records, policies; written by the control plane.
    Table,
    /// Sequence numbers, replay windows, counters; written by the data plane.
    Runtime,
    /// Event rings, from the data plane to the control plane.
    Events,
    /// Stored IKE state; never mapped by the data plane.
    Checkpoint,
}

impl SegmentKind {
    /// All segments in the order in which they are handed over.
    pub const ALL: [Self; 4] = [Self::Table, Self::Runtime, Self::Events, Self::Checkpoint];

    /// The name in LISTEN_FDNAMES.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Runtime => "runtime",
            Self::Events => "events",
            Self::Checkpoint => "checkpoint",
        }
    }

    const fn magic(self) -> u64 {
        u64::from_be_bytes(match self {
            Self::Table => *b"tohubTAB",
            Self::Runtime => *b"tohubRUN",
            Self::Events => *b"tohubEVT",
            Self::Checkpoint => *b"tohubCHK",
        })
    }

    /// Octets of the segment.
    pub(crate) fn bytes(self, capacities: &Capacities) -> u64 {
        let words = match self {
            Self::Table => TableLayout::new(capacities).words,
            Self::Runtime => RuntimeLayout::new(capacities).words,
            Self::Events => EventsLayout::new(capacities).words,
            Self::Checkpoint => CheckpointLayout::new(capacities).words,
        };
        words as u64 * 8
    }
}

impl core::fmt::Display for SegmentKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A segment that this program cannot use. It was not changed; the old processes may keep using it.
#[derive(Debug, Error)]
pub enum AttachError {
    /// It could not be mapped.
    #[error("segment {segment}: {source}")]
    Map {
        /// The segment.
        segment: SegmentKind,
        /// Why.
        source: MapError,
    },
    /// Not a segment, or another of the four segments.
    #[error(
        "segment {segment}: magic is {found:#018x}, expected {expected:#018x}; the descriptor is not that segment, check the order in LISTEN_FDNAMES"
    )]
    Magic {
        /// The segment.
        segment: SegmentKind,
        /// The magic found.
        found: u64,
        /// The magic expected.
        expected: u64,
    },
    /// Made by a program with another ABI.
    #[error(
        "segment {segment}: ABI is {found}, this program has {expected}; start both processes and the supervisor from one release"
    )]
    Abi {
        /// The segment.
        segment: SegmentKind,
        /// The segment's ABI number.
        found: u64,
        /// Ours.
        expected: u64,
    },
    /// Made by a build with another layout.
    #[error(
        "segment {segment}: layout hash is {found:#018x}, this program has {expected:#018x}; start both processes and the supervisor from one build"
    )]
    LayoutHash {
        /// The segment.
        segment: SegmentKind,
        /// The segment's hash.
        found: u64,
        /// Our layout hash.
        expected: u64,
    },
    /// Created before the last boot of the machine.
    #[error(
        "segment {segment}: boot id is {found:032x}, this boot is {expected:032x}; restart tohub supervise, which makes new segments"
    )]
    BootId {
        /// The segment.
        segment: SegmentKind,
        /// The segment's boot id.
        found: u128,
        /// The id of this boot.
        expected: u128,
    },
    /// A capacity is out of bounds.
    #[error("segment {segment}: {source}; restart tohub supervise, which makes new segments")]
    Capacity {
        /// The segment.
        segment: SegmentKind,
        /// Which.
        source: CapacityError,
    },
    /// The header does not match the size of the memory.
    #[error(
        "segment {segment}: size is {found} octets, its capacities need {expected}; restart tohub supervise, which makes new segments"
    )]
    Size {
        /// The segment.
        segment: SegmentKind,
        /// The real size.
        found: u64,
        /// The size computed from the header and its capacities.
        expected: u64,
    },
    /// Two segments of different sets.
    #[error(
        "segment {segment}: instance is {found:032x}, the other segments have {expected:032x}; hand over descriptors of one set"
    )]
    Instance {
        /// The segment.
        segment: SegmentKind,
        /// Its instance id.
        found: u128,
        /// The instance id of the first segment.
        expected: u128,
    },
    /// A descriptor that the role needs was not handed over.
    #[error("no descriptor named {name} was handed over; start this program by tohub supervise")]
    Missing {
        /// The name in LISTEN_FDNAMES.
        name: &'static str,
    },
    /// A descriptor that must be read-only for this role.
    #[error("descriptor {name} can write; hand a read-only descriptor to this role")]
    NotReadOnly {
        /// The name in LISTEN_FDNAMES.
        name: &'static str,
    },
    /// No such worker in these segments.
    #[error(
        "worker {worker} does not exist, the segments have room for {workers}; raise the capacity workers"
    )]
    Worker {
        /// The number asked for.
        worker: u16,
        /// The capacity.
        workers: u32,
    },
    /// A descriptor cannot be used at all.
    #[error("a descriptor cannot be duplicated or asked for its mode: {0}; raise the limit of open files")]
    Duplicate(io::Error),
    /// The boot id of this machine cannot be read.
    #[error("cannot read /proc/sys/kernel/random/boot_id: {0}; mount /proc")]
    BootIdUnreadable(io::Error),
}

/// A checked header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) instance: u128,
    pub(crate) boot: u128,
    pub(crate) created_ms: u64,
    pub(crate) capacities: Capacities,
}

impl Identity {
    /// Writes the header of a new segment, the magic last.
    pub(crate) fn write<W: Word>(&self, kind: SegmentKind, words: &[W]) {
        let put = |index: usize, value: u64| {
            if let Some(word) = words.get(index) {
                word.store_relaxed(value);
            }
        };
        put(Header::abi, ABI);
        put(Header::layout_hash, LAYOUT_HASH);
        put(Header::instance, (self.instance >> 64) as u64);
        put(Header::instance + 1, self.instance as u64);
        put(Header::boot, (self.boot >> 64) as u64);
        put(Header::boot + 1, self.boot as u64);
        put(Header::bytes, kind.bytes(&self.capacities));
        put(Header::created_ms, self.created_ms);
        for (index, capacity) in self.capacities.to_words().into_iter().enumerate() {
            put(Header::inbound_slots + index, capacity);
        }
        if let Some(magic) = words.get(Header::magic) {
            magic.store_release(kind.magic());
        }
    }

    /// Reads and checks the header of a segment created by another process.
    pub(crate) fn read<W: Word>(
        kind: SegmentKind,
        words: View<'_, W>,
        boot: u128,
    ) -> Result<Self, AttachError> {
        let segment = kind;
        let wide = |index| u128::from(words.relaxed(index)) << 64 | u128::from(words.relaxed(index + 1));
        let found = words.acquire(Header::magic);
        if found != kind.magic() {
            return Err(AttachError::Magic { segment, found, expected: kind.magic() });
        }
        let found = words.relaxed(Header::abi);
        if found != ABI {
            return Err(AttachError::Abi { segment, found, expected: ABI });
        }
        let found = words.relaxed(Header::layout_hash);
        if found != LAYOUT_HASH {
            return Err(AttachError::LayoutHash { segment, found, expected: LAYOUT_HASH });
        }
        let found = wide(Header::boot);
        if found != boot {
            return Err(AttachError::BootId { segment, found, expected: boot });
        }
        let mut capacity_words = [0; 8];
        words.part(Header::inbound_slots, 8).copy_to(&mut capacity_words);
        let capacities = Capacities::from_words(capacity_words)
            .map_err(|source| AttachError::Capacity { segment, source })?;
        let size = words.len() as u64 * 8;
        let stated = words.relaxed(Header::bytes);
        for expected in [stated, kind.bytes(&capacities)] {
            if size != expected {
                return Err(AttachError::Size { segment, found: size, expected });
            }
        }
        Ok(Self {
            instance: wide(Header::instance),
            boot: found,
            created_ms: words.relaxed(Header::created_ms),
            capacities,
        })
    }
}

/// The id of this boot of the machine.
pub(crate) fn boot_id() -> Result<u128, AttachError> {
    // It does not change during the life of a process.
    static KNOWN: OnceLock<u128> = OnceLock::new();
    if let Some(id) = KNOWN.get() {
        return Ok(*id);
    }
    let text =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(AttachError::BootIdUnreadable)?;
    let id =
        parse_uuid(&text).ok_or_else(|| AttachError::BootIdUnreadable(io::ErrorKind::InvalidData.into()))?;
    Ok(*KNOWN.get_or_init(|| id))
}

/// A number that no other set of segments has.
pub(crate) fn new_instance_id() -> io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    parse_uuid(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_uuid(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    const IDENTITY: fn() -> Identity =
        || Identity { instance: 7 << 64 | 9, boot: 5, created_ms: 3, capacities: Capacities::small() };

    fn segment(kind: SegmentKind) -> Vec<AtomicU64> {
        let words = kind.bytes(&Capacities::small()) as usize / 8;
        let words: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
        IDENTITY().write(kind, &words);
        words
    }

    fn read(kind: SegmentKind, words: &[AtomicU64]) -> Result<Identity, AttachError> {
        Identity::read(kind, View::new(words), 5)
    }

    #[test]
    fn a_written_header_reads_back() {
        for kind in SegmentKind::ALL {
            assert_eq!(read(kind, &segment(kind)).unwrap(), IDENTITY());
        }
    }

    #[test]
    fn each_mismatch_is_refused_with_both_values() {
        let spoil = |field: usize, value: u64| {
            let words = segment(SegmentKind::Table);
            words[field].store_relaxed(value);
            read(SegmentKind::Table, &words).unwrap_err()
        };
        assert!(matches!(spoil(Header::magic, 0), AttachError::Magic { found: 0, .. }));
        assert!(
            matches!(spoil(Header::abi, ABI + 1), AttachError::Abi { found, expected: ABI, .. } if found == ABI + 1)
        );
        assert!(matches!(
            spoil(Header::layout_hash, 1),
            AttachError::LayoutHash { found: 1, expected: LAYOUT_HASH, .. }
        ));
        assert!(matches!(spoil(Header::boot + 1, 6), AttachError::BootId { found: 6, expected: 5, .. }));
        assert!(matches!(spoil(Header::inbound_slots, 0), AttachError::Capacity { .. }));
        assert!(matches!(spoil(Header::inbound_slots, 17), AttachError::Size { .. }));
        assert!(matches!(spoil(Header::bytes, 4096), AttachError::Size { expected: 4096, .. }));
    }

    #[test]
    fn a_segment_of_another_kind_is_refused() {
        let error = read(SegmentKind::Runtime, &segment(SegmentKind::Table)).unwrap_err();
        assert!(matches!(error, AttachError::Magic { segment: SegmentKind::Runtime, .. }));
    }

    #[test]
    fn only_whole_uuids_are_ids() {
        assert_eq!(parse_uuid("00000000-0000-0000-0000-0000000000ff\n"), Some(255));
        assert_eq!(parse_uuid("ff"), None);
        assert!(boot_id().is_ok_and(|id| id != 0));
    }
}
