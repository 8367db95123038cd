use proptest::prelude::*;

use super::*;

#[test]
fn a_hop_limit_of_one_does_not_travel_on() {
    let mut bytes = [0; 40];
    let header = Header { hop_limit: 2, ..Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 59, 0) };
    header.emit(&mut bytes).unwrap();
    let mut packet = Packet::new_checked(&mut bytes[..]).unwrap();
    assert!(packet.decrement_hop_limit());
    assert!(!packet.decrement_hop_limit());
    assert_eq!(packet.hop_limit(), 1);
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let plain = Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 59, 0);
    let mut buffer = [0; 40];
    assert_eq!(Header { payload_len: 65536, ..plain }.emit(&mut buffer), Err(WireError::OutOfRange));
    assert_eq!(Header { flow_label: 1 << 20, ..plain }.emit(&mut buffer), Err(WireError::OutOfRange));
    assert_eq!(plain.emit(&mut buffer[..39]), Err(WireError::NoRoom));
    let fragment = FragmentHeader { next_header: 17, offset: 4, more: true, identification: 1 };
    assert_eq!(fragment.emit(&mut buffer), Err(WireError::OutOfRange));
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(
        traffic_class: u8,
        flow_label in 0u32..1 << 20,
        next_header: u8,
        hop_limit: u8,
        source: [u8; 16],
        destination: [u8; 16],
        payload_len in 0usize..24,
        new_class: u8,
    ) {
        let header = Header {
            traffic_class, flow_label, next_header, hop_limit, payload_len,
            source: source.into(), destination: destination.into(),
        };
        let mut bytes = [0xa5; 64];
        header.emit(&mut bytes).unwrap();
        let len = HEADER_LEN + payload_len;
        prop_assert_eq!(Header::parse(&bytes[..len]), Ok(header));
        prop_assert_eq!(Header::parse(&bytes[..len - 1]), Err(WireError::Truncated));
        let mut packet = Packet::new_checked(&mut bytes[..]).unwrap();
        prop_assert_eq!(packet.payload().len(), payload_len);
        packet.set_traffic_class(new_class);
        prop_assert_eq!(Header::parse(&bytes), Ok(Header { traffic_class: new_class, ..header }));
    }

    #[test]
    fn a_fragment_header_is_parsed_back(next_header: u8, offset: u16, more: bool, identification: u32) {
        let header = FragmentHeader { next_header, offset: offset & 0xfff8, more, identification };
        let mut bytes = [0xff; 8];
        prop_assert_eq!(header.emit(&mut bytes), Ok(8));
        prop_assert_eq!(FragmentHeader::parse(&bytes), Ok(header));
        prop_assert_eq!(FragmentHeader::parse(&bytes[..7]), Err(WireError::Truncated));
    }

    #[test]
    fn no_bytes_make_the_view_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if bytes.len() > 5 {
            bytes[0] = 0x60;
            bytes[4] = 0;
        }
        if let Ok(mut packet) = Packet::new_checked(&mut bytes[..]) {
            let _ = (packet.source(), packet.destination(), packet.flow_label(), packet.next_header());
            packet.decrement_hop_limit();
            packet.payload_mut().fill(0);
        }
    }
}
