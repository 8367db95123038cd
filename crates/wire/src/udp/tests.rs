use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

#[test]
fn an_absent_checksum_passes_over_ipv4_only() {
    let mut bytes = [0; 8];
    Header { source_port: 1, destination_port: 2, payload_len: 0 }.emit(&mut bytes).unwrap();
    let datagram = Packet::new_checked(&bytes[..]).unwrap();
    assert!(datagram.checksum_ok(V4, V4));
    assert!(!datagram.checksum_ok(V6, V6));
}

#[test]
fn a_computed_zero_is_sent_as_ones() {
    assert_eq!(nonzero_checksum(Sum::new().word(0xffff)), 0xffff);
    assert_eq!(nonzero_checksum(Sum::new().word(0x1234)), !0x1234);
}

#[test]
fn addresses_of_two_versions_have_no_checksum() {
    let header = Header { source_port: 1, destination_port: 2, payload_len: 0 };
    assert_eq!(header.emit_with_checksum(&mut [0; 8], V4, V6), Err(WireError::OutOfRange));
    assert_eq!(Header { payload_len: 65528, ..header }.emit(&mut [0; 8]), Err(WireError::OutOfRange));
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back_and_verifies(
        source_port: u16,
        destination_port: u16,
        payload in proptest::collection::vec(any::<u8>(), 0..50),
        v6: bool,
        flip in any::<proptest::sample::Index>(),
    ) {
        let address = if v6 { V6 } else { V4 };
        let header = Header { source_port, destination_port, payload_len: payload.len() };
        let mut bytes = [0; 60];
        bytes[8..8 + payload.len()].copy_from_slice(&payload);
        let len = header.emit_with_checksum(&mut bytes, address, address).unwrap();
        prop_assert_eq!(Header::parse(&bytes[..len]), Ok(header));
        let datagram = Packet::new_checked(&bytes[..]).unwrap();
        prop_assert!(datagram.checksum_ok(address, address));
        prop_assert_eq!((datagram.payload(), datagram.len()), (&payload[..], len));
        prop_assert_eq!(Header::parse(&bytes[..len - 1]), Err(WireError::Truncated));

        let bit = flip.index(len * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(datagram) = Packet::new_checked(&bytes[..]) {
            prop_assert!(!datagram.checksum_ok(address, address) || datagram.checksum() == 0);
        }
    }

    #[test]
    fn no_bytes_make_the_view_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if bytes.len() > 4 {
            bytes[4] = 0;
        }
        if let Ok(datagram) = Packet::new_checked(&bytes[..]) {
            let _ = (datagram.source_port(), datagram.destination_port(), datagram.payload().len());
            let _ = (datagram.checksum_ok(V4, V4), datagram.checksum_ok(V4, V6));
        }
    }
}
