use super::*;
use crate::count::drop_reason::Drops;
use crate::path::icmp::IcmpErrors;
use af_xdp::{Backing, Umem, UmemConfig};
use proptest::prelude::*;
use sa_table::{Segments, WorkerId};

struct Bench {
    umem: Umem,
    context: Context,
    reassembly: Reassembly,
}

impl Bench {
    fn new() -> Bench {
        let umem =
            Umem::new(UmemConfig { frames: 256, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        let segments = Segments::in_memory().unwrap();
        let context = Context {
            pool: umem.pool(64, 256),
            drops: Drops::default(),
            counts: Default::default(),
            events: segments.event_sender(WorkerId(0)).unwrap(),
            matches: crate::policy::filter::MatchLog::default(),
            verdicts: crate::policy::filter::Verdicts::new(1),
            icmp: IcmpErrors::default(),
            now_ms: 0,
        };
        Bench { umem, context, reassembly: Reassembly::default() }
    }

    fn push(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut frame = self.context.pool.take().unwrap();
        frame.append(bytes).unwrap();
        // A fragment whose length is not a multiple of eight octets is rejected by the parser.
        let packet = match Packet::from_ip(frame, Origin::Port(1)) {
            Ok(packet) => packet,
            Err(frame) => {
                self.context.pool.put(frame);
                return None;
            }
        };
        let whole = self.reassembly.push(packet, &mut self.context)?;
        assert_eq!(whole.origin, Origin::Port(1));
        assert!(!whole.ip.fragment.is_fragment());
        let bytes = whole.frame.bytes().to_vec();
        self.context.pool.put(whole.frame);
        Some(bytes)
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.context.drops.of(reason)
    }

    /// Whether every frame was returned to the pool.
    fn close(mut self) -> bool {
        self.reassembly.clear(&mut self.context);
        let home = self.umem.frames_home() + self.context.pool.len();
        home == 256
    }
}

/// A fragment from host `source`, of the packet with this identification.
fn fragment(source: u8, id: u16, offset: usize, payload: &[u8], more: bool) -> Vec<u8> {
    marked(source, id, offset, payload, more, 0)
}

fn marked(source: u8, id: u16, offset: usize, payload: &[u8], more: bool, ecn: u8) -> Vec<u8> {
    let header = ipv4::Header {
        tos: 0x28 << 2 | ecn,
        dont_fragment: false,
        identification: id,
        fragment_offset: offset as u16,
        more_fragments: more,
        ..ipv4::Header::new([192, 0, 2, source].into(), [192, 0, 2, 1].into(), protocol::ESP, payload.len())
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).unwrap();
    bytes.extend_from_slice(payload);
    bytes
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 256) as u8).collect()
}

fn payload_of(packet: &[u8]) -> Vec<u8> {
    let view = ipv4::Packet::new_checked(packet).unwrap();
    assert!(view.checksum_ok() && view.protocol() == protocol::ESP);
    view.payload().to_vec()
}

proptest! {
    #[test]
    fn fragments_in_any_order_with_copies_become_the_packet(
        len in 100usize..3600,
        cut in 32usize..1400,
        order in any::<u64>(),
        copies in any::<u16>(),
    ) {
        let cut = (cut & !7).max(len.div_ceil(FRAGMENTS).next_multiple_of(8));
        let whole = payload(len);
        let mut parts: Vec<Vec<u8>> = whole
            .chunks(cut)
            .enumerate()
            .map(|(index, part)| fragment(9, 7, index * cut, part, (index + 1) * cut < len))
            .collect();
        prop_assume!(parts.len() > 1);
        let mut state = order | 1;
        for index in (1..parts.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            parts.swap(index, (state >> 33) as usize % (index + 1));
        }
        let mut bench = Bench::new();
        let last = parts.pop().unwrap();
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(bench.push(part), None);
            if copies >> (index % 16) & 1 == 1 {
                prop_assert_eq!(bench.push(part), None);
            }
        }
        let packet = bench.push(&last).unwrap();
        prop_assert_eq!(payload_of(&packet), whole);
        prop_assert!(bench.reassembly.is_empty() && bench.close());
    }

    #[test]
    fn arbitrary_fragments_neither_panic_nor_lose_a_frame(
        parts in proptest::collection::vec((0u8..6, 0u16..4, 0u16..600, 0usize..700, any::<bool>(), 0u8..4), 1..200),
    ) {
        let mut bench = Bench::new();
        for (index, (source, id, offset, len, more, ecn)) in parts.into_iter().enumerate() {
            bench.context.now_ms = index as u64 * 40;
            bench.push(&marked(source, id, usize::from(offset) * 8, &payload(len), more, ecn));
        }
        prop_assert!(bench.close());
    }
}

#[test]
fn an_overlap_throws_the_whole_packet_away() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(&fragment(9, 1, 0, &payload(64), true)), None);
    assert_eq!(bench.push(&fragment(9, 1, 56, &payload(64), false)), None);
    assert_eq!(bench.dropped(DropReason::FragmentBroken), 1);
    assert!(bench.reassembly.is_empty() && bench.close());
}

#[test]
fn two_different_ends_and_a_part_behind_the_end_are_contradictions() {
    for second in [fragment(9, 1, 128, &payload(16), false), fragment(9, 1, 256, &payload(16), true)] {
        let mut bench = Bench::new();
        bench.push(&fragment(9, 1, 64, &payload(16), false));
        assert_eq!(bench.push(&second), None);
        assert_eq!(bench.dropped(DropReason::FragmentBroken), 1);
        assert!(bench.close());
    }
}

#[test]
fn a_part_that_ends_beyond_a_frame_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(&fragment(9, 1, 8000, &payload(64), false)), None);
    assert_eq!(bench.dropped(DropReason::FragmentBroken), 1);
    assert!(bench.reassembly.is_empty() && bench.close());
}

#[test]
fn what_stays_incomplete_is_given_up_and_a_flood_costs_its_own_source_first() {
    let mut bench = Bench::new();
    bench.push(&fragment(8, 1, 0, &payload(64), true));
    bench.context.now_ms = 1;
    for id in 0..40 {
        bench.push(&fragment(9, id, 0, &payload(64), true));
    }
    assert_eq!(bench.dropped(DropReason::FragmentOverflow), 40 - PACKETS_OF_SOURCE as u64);
    let packet =
        bench.push(&fragment(8, 1, 64, &payload(8), false)).expect("the quiet source kept its place");
    assert_eq!(payload_of(&packet).len(), 72);
    bench.context.now_ms = 1 + PATIENCE_MS;
    bench.reassembly.expire(&mut bench.context);
    assert_eq!(bench.dropped(DropReason::FragmentExpired), PACKETS_OF_SOURCE as u64);
    assert!(bench.reassembly.is_empty() && bench.close());
}

#[test]
fn congestion_marks_are_merged_as_rfc_3168_says() {
    for (marks, expected) in
        [([2, 3], Some(3)), ([0, 0], Some(0)), ([2, 2], Some(2)), ([1, 2], Some(2)), ([0, 3], None)]
    {
        let mut bench = Bench::new();
        bench.push(&marked(9, 1, 0, &payload(64), true, marks[0]));
        let whole = bench.push(&marked(9, 1, 64, &payload(8), false, marks[1]));
        let tos = whole.map(|packet| ipv4::Packet::new_checked(&packet[..]).unwrap().tos());
        assert_eq!(tos, expected.map(|ecn: u8| 0x28 << 2 | ecn), "{marks:?}");
        assert!(bench.close());
    }
}
