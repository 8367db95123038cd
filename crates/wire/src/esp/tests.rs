use proptest::prelude::*;

use super::*;

#[test]
fn payloads_of_port_4500_are_told_apart() {
    let cases = [
        (&[0xff][..], UdpPayload::Keepalive),
        (&[0, 0, 0, 0, 9], UdpPayload::Ike),
        (&[0, 0, 1, 0, 0, 0, 0, 1], UdpPayload::Esp),
        (&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 2], UdpPayload::Esp),
        (&[0, 0, 1, 0, 0, 0, 0], UdpPayload::Unknown),
        (&[0xfe], UdpPayload::Unknown),
        (&[], UdpPayload::Unknown),
    ];
    for (payload, expected) in cases {
        assert_eq!(UdpPayload::classify(payload), expected, "{payload:?}");
    }
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(spi: u32, sequence: u32) {
        let header = Header { spi, sequence };
        let mut bytes = [0; 11];
        prop_assert_eq!(header.emit(&mut bytes), Ok(HEADER_LEN));
        prop_assert_eq!(Header::parse(&bytes), Ok(header));
        prop_assert_eq!(Packet::new_checked(&bytes[..]).unwrap().payload().len(), 3);
        prop_assert_eq!(Header::parse(&bytes[..7]), Err(WireError::Truncated));
        prop_assert_eq!(header.emit(&mut bytes[..7]), Err(WireError::NoRoom));
    }
}
