//! The fields of every structure in the segments: names, offsets and sizes in words, and the hash
//! over them.

/// A field as input of the layout hash.
pub(crate) struct Field {
    name: &'static str,
    offset: usize,
    words: usize,
}

/// Declares a structure of words: the offset of each field, the size, and the list for the layout
/// hash. The Rust structure exists for its offsets only; it is never mapped onto shared memory.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $count:expr,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        pub(crate) struct $name { $($field: [u64; $count],)* }

        #[allow(non_upper_case_globals, reason = "offsets carry the names of their fields")]
        #[allow(dead_code, reason = "reserved words are named, too")]
        impl $name {
            $($(#[$field_doc])* pub(crate) const $field: usize = core::mem::offset_of!($name, $field) / 8;)*
            pub(crate) const WORDS: usize = size_of::<$name>() / 8;
            pub(crate) const FIELDS: &'static [Field] = &[$(Field {
                name: concat!(stringify!($name), ".", stringify!($field)),
                offset: $name::$field,
                words: $count,
            },)*];
        }
    };
}

words! {
    /// First words of every segment.
    Header {
        magic: 1,
        abi: 1,
        layout_hash: 1,
        /// Random, the same in all four segments.
        instance: 2,
        boot: 2,
        /// Size of the segment in octets.
        bytes: 1,
        /// CLOCK_MONOTONIC milliseconds.
        created_ms: 1,
        inbound_slots: 1,
        outbound_slots: 1,
        policies: 1,
        arena_words: 1,
        workers: 1,
        replay_words: 1,
        ring_entries: 1,
        checkpoint_words: 1,
        reserved: 47,
    }
}

words! {
    /// Words that every worker reads once a burst: one cache line.
    TableControl {
        generation: 1,
        /// `policy version << 1 | index of the current arena`.
        arena: 1,
        /// Incarnation of the control plane.
        writer: 1,
        /// Counter of the control plane's changes of kernel routes and addresses, see
        /// `RuntimeControl`.
        kernel_changes: 1,
        reserved: 4,
    }
}

words! {
    /// The mutable words of a slot: one cache line.
    SlotLine {
        /// `generation << 32 | state`.
        state: 1,
        /// Slot word of the other direction.
        peer: 1,
        /// Slot word of the next SA of the same policy.
        next: 1,
        /// Seqlock over the words of the peer endpoint.
        endpoint_sequence: 1,
        endpoint: 3,
        reserved: 1,
    }
}

words! {
    /// An SA record of either direction.
    SaRecord {
        /// `SPI << 32 | policy`.
        spi_policy: 1,
        /// Algorithm, mode, encapsulation, families and policies of the outer header as bits.
        bits: 1,
        /// UDP ports.
        ports: 1,
        /// Path MTU (outbound) or replay window (inbound).
        size: 1,
        /// Ours: outer source (outbound), outer destination (inbound).
        local: 2,
        remote: 2,
        peer: 1,
        lifetime: 6,
        keys: 12,
        salt: 1,
        /// Number of pairs.
        selector_count: 1,
        selectors: 80,
        reserved: 19,
    }
}

words! {
    /// One selector pair.
    SelectorWords {
        /// Family and protocol.
        bits: 1,
        /// Local range, remote range.
        ports: 1,
        local: 4,
        remote: 4,
    }
}

words! {
    /// The beginning of a policy arena.
    ArenaHead {
        version: 1,
        entries: 1,
        /// Words in use.
        length: 1,
        reserved: 5,
    }
}

words! {
    /// One blob of a policy arena.
    BlobEntry {
        /// `kind << 32 | number`.
        kind: 1,
        version: 1,
        /// From the beginning of the arena.
        offset: 1,
        length: 1,
    }
}

words! {
    /// One rule of a rule list.
    RuleWords {
        source: 2,
        destination: 2,
        ports: 1,
        bits: 1,
    }
}

words! {
    /// The beginning of a filter list; its lines follow.
    FilterHeadWords {
        /// Length of the name in octets.
        bits: 1,
        name: 16,
    }
}

words! {
    /// One line of a filter list.
    FilterWords {
        /// `address << 32 | mask`.
        source: 1,
        destination: 1,
        ports: 1,
        sequence: 1,
        bits: 1,
    }
}

words! {
    /// One port.
    PortWords {
        /// `ifindex << 32 | id`.
        id: 1,
        /// `MTU << 32 | rule list + 1`.
        mtu_rules: 1,
        /// Flags, number and families of the addresses, lengths of the names.
        bits: 1,
        device: 2,
        ios_name: 8,
        addresses: 32,
    }
}

words! {
    /// The data plane as a process.
    RuntimeControl {
        incarnation: 1,
        /// Fingerprint of the reverse routes that packets are forwarded by, see `routes`.
        reverse_routes: 1,
        /// Policy version that the guard and every worker use, see `guard`.
        guard_version: 1,
        /// Fingerprint of the devices that the guard covers under that version.
        guard_devices: 1,
        /// The latest kernel change of the control plane that forwarding uses.
        kernel_changes: 1,
        reserved: 3,
    }
}

words! {
    /// A worker: the first cache line has the words that the control plane polls; counters follow.
    WorkerState {
        /// Last generation that the worker announced, all ones while OFFLINE.
        announced: 1,
        /// Policy version that the worker uses, all ones while there is no such worker.
        policy_version: 1,
        heartbeat_ms: 1,
        reserved: 5,
        drops: 64,
        counters: 64,
    }
}

words! {
    /// The waiting request of a policy without SA.
    AcquireState {
        /// `count << 2 | phase`.
        state: 1,
        source: 2,
        destination: 2,
        /// Ports, protocol and family.
        bits: 1,
        raised_ms: 1,
        reserved: 1,
    }
}

words! {
    /// Runtime of an outbound slot, written by its owner.
    OutboundState {
        claim: 1,
        /// First sequence number that was never handed out.
        reserved_until: 1,
        next_sequence: 1,
        packets: 1,
        bytes: 1,
        last_sent_ms: 1,
        levels: 1,
        /// Learned from ICMP, 0 if not.
        path_mtu: 1,
        errors: 8,
    }
}

words! {
    /// Runtime of an inbound slot, written by its owner.
    InboundState {
        claim: 1,
        replay_top: 1,
        packets: 1,
        bytes: 1,
        last_heard_ms: 1,
        levels: 1,
        /// Seqlock over the words of the new peer endpoint.
        endpoint_sequence: 1,
        reserved: 1,
        errors: 8,
        endpoint: 3,
        reserved_end: 5,
    }
}

words! {
    /// The control plane's side of the events segment.
    EventsControl {
        /// 1 while the control plane wants the eventfd to be written.
        armed: 1,
        reserved: 7,
    }
}

words! {
    /// The indices of one ring, each in a cache line of its own.
    RingIndices {
        head: 1,
        reserved_head: 7,
        tail: 1,
        reserved_tail: 7,
    }
}

words! {
    /// One event.
    EventWords {
        bits: 1,
        source: 2,
        destination: 2,
        ports: 1,
        subject: 1,
        time_ms: 1,
    }
}

words! {
    /// The head of one of the two checkpoint buffers.
    CheckpointHead {
        /// 0 while the buffer is being written.
        sequence: 1,
        length: 1,
        checksum: 1,
        reserved: 5,
    }
}

/// Hash over names, offsets and sizes of all fields (FNV-1a, 64 bit). Builds with different hashes
/// cannot use each other's segments, regardless of their ABI numbers.
pub(crate) const LAYOUT_HASH: u64 = {
    let structures: &[&[Field]] = &[
        Header::FIELDS,
        TableControl::FIELDS,
        SlotLine::FIELDS,
        SaRecord::FIELDS,
        SelectorWords::FIELDS,
        ArenaHead::FIELDS,
        BlobEntry::FIELDS,
        RuleWords::FIELDS,
        FilterHeadWords::FIELDS,
        FilterWords::FIELDS,
        PortWords::FIELDS,
        RuntimeControl::FIELDS,
        WorkerState::FIELDS,
        AcquireState::FIELDS,
        OutboundState::FIELDS,
        InboundState::FIELDS,
        EventsControl::FIELDS,
        RingIndices::FIELDS,
        EventWords::FIELDS,
        CheckpointHead::FIELDS,
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut structure = 0;
    while structure < structures.len() {
        let fields = structures[structure];
        let mut field = 0;
        while field < fields.len() {
            hash = hash_field(hash, &fields[field]);
            field += 1;
        }
        structure += 1;
    }
    hash
};

const fn hash_field(mut hash: u64, field: &Field) -> u64 {
    let name = field.name.as_bytes();
    let mut index = 0;
    while index < name.len() {
        hash = hash_byte(hash, name[index]);
        index += 1;
    }
    let numbers = [field.offset as u64, field.words as u64];
    let mut number = 0;
    while number < numbers.len() {
        let bytes = numbers[number].to_le_bytes();
        let mut byte = 0;
        while byte < bytes.len() {
            hash = hash_byte(hash, bytes[byte]);
            byte += 1;
        }
        number += 1;
    }
    hash
}

const fn hash_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

const _: () = {
    assert!(
        TableControl::WORDS == 8
            && SlotLine::WORDS == 8
            && EventWords::WORDS == 8
            && AcquireState::WORDS == 8
    );
    assert!(SaRecord::WORDS == 128 && Header::WORDS == 64 && InboundState::WORDS == 24);
    assert!(OutboundState::WORDS == 16 && WorkerState::WORDS == 136 && CheckpointHead::WORDS == 8);
    assert!(SelectorWords::WORDS * crate::record::MAX_SELECTOR_PAIRS == 80);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_hash_depends_on_name_offset_and_size() {
        let hash = |name, offset, words| hash_field(1, &Field { name, offset, words });
        let reference = hash("a", 0, 1);
        assert!([hash("b", 0, 1), hash("a", 1, 1), hash("a", 0, 2)].iter().all(|other| *other != reference));
    }
}
