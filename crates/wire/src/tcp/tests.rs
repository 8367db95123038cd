use core::net::Ipv4Addr;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::protocol;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn sum(segment: &[u8]) -> u16 {
    checksum::pseudo_header_v4(ADDRESS, ADDRESS, protocol::TCP, segment.len() as u16)
        .bytes(segment)
        .checksum()
}

/// A segment with a correct checksum; `options` is padded with zeros.
fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
    let header_len = (MIN_HEADER_LEN + options.len()).next_multiple_of(4);
    let mut bytes = vec![0; header_len + 3];
    bytes[..12].copy_from_slice(&[0x30, 0x39, 0x00, 0x50, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes[12] = (header_len as u8 / 4) << 4;
    bytes[13] = flags;
    bytes[20..20 + options.len()].copy_from_slice(options);
    let checksum = sum(&bytes);
    write_u16(&mut bytes, 16, checksum);
    bytes
}

#[test]
fn ports_flags_and_lengths_are_read() {
    let bytes = segment(0x12, &[2, 4, 0x05, 0xb4]);
    let view = Packet::new_checked(&bytes[..]).unwrap();
    assert_eq!((view.source_port(), view.destination_port(), view.sequence()), (12345, 80, 0x0102_0304));
    assert_eq!((view.flags(), view.is_syn(), view.header_len(), view.payload().len()), (0x12, true, 24, 3));
    assert_eq!(view.maximum_segment_size(), Some(1460));
}

#[test]
fn the_segment_size_is_lowered_at_even_and_odd_offsets_and_the_checksum_stays_right() {
    for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 0, 0, 0]] {
        let mut bytes = segment(FLAG_SYN, options);
        let mut view = Packet::new_checked(&mut bytes[..]).unwrap();
        assert!(view.clamp_maximum_segment_size(1382));
        assert_eq!(view.maximum_segment_size(), Some(1382));
        assert!(!view.clamp_maximum_segment_size(1400));
        assert_eq!(sum(&bytes), 0);
    }
}

#[test]
fn only_a_syn_is_clamped() {
    let mut bytes = segment(0x10, &[2, 4, 0x05, 0xb4]);
    let before = bytes.clone();
    assert!(!Packet::new_checked(&mut bytes[..]).unwrap().clamp_maximum_segment_size(500));
    assert_eq!(bytes, before);
}

#[test]
fn damaged_options_have_no_segment_size() {
    for options in
        [&[2, 0, 0, 0][..], &[2, 9, 5, 5], &[8, 4, 1, 1], &[0, 2, 4, 9], &[1, 1, 1, 2], &[2, 3, 1, 0]]
    {
        let bytes = segment(FLAG_SYN, options);
        assert_eq!(Packet::new_checked(&bytes[..]).unwrap().maximum_segment_size(), None, "{options:?}");
    }
}

#[test]
fn header_lengths_that_lie_are_refused() {
    let mut bytes = segment(0, &[]);
    assert_eq!(Packet::new_checked(&bytes[..19]).err(), Some(WireError::Truncated));
    bytes[12] = 0x40;
    assert_eq!(Packet::new_checked(&bytes[..]).err(), Some(WireError::Malformed));
    bytes[12] = 0x60;
    assert_eq!(Packet::new_checked(&bytes[..]).err(), Some(WireError::Truncated));
}

proptest! {
    #[test]
    fn no_bytes_make_the_view_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), limit: u16) {
        if bytes.len() > 13 {
            bytes[13] |= FLAG_SYN;
        }
        if let Ok(mut view) = Packet::new_checked(&mut bytes[..]) {
            let _ = (view.payload().len(), view.maximum_segment_size());
            view.clamp_maximum_segment_size(limit);
        }
    }
}
