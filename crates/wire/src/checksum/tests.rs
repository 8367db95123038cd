use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Straight from the definition: 16-bit words, end-around carry after each.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn the_example_of_rfc_1071_sums_to_ddf2() {
    assert_eq!(Sum::new().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
}

#[test]
fn the_example_of_rfc_1624_does_not_become_minus_zero() {
    // RFC 1624 §4: checksum 0xdd2f, a word changes from 0x5555 to 0x3285, the result is 0x0000 and
    // not 0xffff.
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn a_real_ipv4_header_verifies_to_zero() {
    let header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7,
    ];
    assert_eq!(internet(&header), 0);
    let mut without = header;
    without[10..12].fill(0);
    assert_eq!(internet(&without), 0xb861);
}

#[test]
fn a_long_run_of_ones_loses_no_carry() {
    let bytes = [0xff; 65535];
    assert_eq!(internet(&bytes), naive(&bytes));
}

#[test]
fn pseudo_headers_want_one_version() {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    assert_eq!(pseudo_header(v4, v6, 17, 8), None);
    assert_eq!(pseudo_header(v4, v4, 17, 65536), None);
    assert!(pseudo_header(v6, v6, 17, 65536).is_some());
}

proptest! {
    #[test]
    fn the_sum_equals_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(internet(&bytes), naive(&bytes));
    }

    #[test]
    fn pieces_sum_to_the_whole(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cut in any::<proptest::sample::Index>(),
    ) {
        let cut = cut.index(bytes.len() + 1) & !1;
        let pieces = Sum::new().bytes(&bytes[..cut]).bytes(&bytes[cut..]);
        prop_assert_eq!(pieces.checksum(), internet(&bytes));
    }

    /// The representations of zero differ only for an all-zero header, which no packet has;
    /// RFC 1624 §3.
    #[test]
    fn an_incremental_update_equals_the_full_computation(
        mut words in proptest::collection::vec(any::<u16>(), 4..40),
        place in any::<proptest::sample::Index>(),
        new in any::<u16>(),
    ) {
        words[0] |= 0x4000;
        let place = 1 + place.index(words.len() - 1);
        let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let before = internet(&bytes(&words));
        let old = words[place];
        words[place] = new;
        prop_assert_eq!(update(before, old, new), internet(&bytes(&words)));
    }

    #[test]
    fn an_incremental_update_of_32_bits_equals_the_full_computation(
        mut words in proptest::collection::vec(any::<u32>(), 4..20),
        place in any::<proptest::sample::Index>(),
        new in any::<u32>(),
    ) {
        words[0] |= 0x4000_0000;
        let place = 1 + place.index(words.len() - 1);
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let before = internet(&bytes(&words));
        let old = words[place];
        words[place] = new;
        prop_assert_eq!(update_u32(before, old, new), internet(&bytes(&words)));
    }

    #[test]
    fn pseudo_headers_equal_their_bytes(source: [u8; 16], destination: [u8; 16], protocol: u8, length: u32) {
        let mut bytes = [source, destination].concat();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, protocol]);
        let sum = pseudo_header_v6(source.into(), destination.into(), protocol, length);
        prop_assert_eq!(sum.checksum(), naive(&bytes));

        let (source, destination) = ([source[0], source[1], source[2], source[3]], [destination[0]; 4]);
        let mut bytes = [source, destination].concat();
        bytes.extend_from_slice(&[0, protocol]);
        bytes.extend_from_slice(&(length as u16).to_be_bytes());
        let sum = pseudo_header_v4(source.into(), destination.into(), protocol, length as u16);
        prop_assert_eq!(sum.checksum(), naive(&bytes));
    }
}
