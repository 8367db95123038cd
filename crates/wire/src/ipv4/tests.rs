use proptest::prelude::*;

use super::*;

fn options() -> impl Strategy<Value = std::vec::Vec<u8>> {
    proptest::collection::vec(any::<[u8; 4]>(), 0..=10).prop_map(|words| words.concat())
}

#[test]
fn a_ttl_of_one_does_not_travel_on() {
    let source = Ipv4Addr::new(10, 0, 0, 1);
    for ttl in [0, 1] {
        let mut bytes = [0; 20];
        Header { ttl, ..Header::new(source, source, 17, 0) }.emit(&mut bytes).unwrap();
        let before = bytes;
        assert!(!Packet::new_checked(&mut bytes[..]).unwrap().decrement_ttl());
        assert_eq!(bytes, before);
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let plain = Header::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 17, 0);
    let mut buffer = [0; 80];
    for bad in [
        Header { payload_len: 65516, ..plain },
        Header { options: &[0; 44], ..plain },
        Header { options: &[0; 3], ..plain },
        Header { fragment_offset: 4, ..plain },
    ] {
        assert_eq!(bad.emit(&mut buffer), Err(WireError::OutOfRange));
    }
    assert_eq!(plain.emit(&mut buffer[..19]), Err(WireError::NoRoom));
    assert_eq!(Header { payload_len: 65515, ..plain }.emit(&mut buffer), Ok(20));
}

#[test]
fn a_broken_header_is_noticed_by_its_checksum() {
    let mut bytes = [0; 20];
    Header::new(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), 17, 0).emit(&mut bytes).unwrap();
    for bit in 0..160 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Packet::new_checked(&flipped[..]).map_or(true, |packet| !packet.checksum_ok()), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(
        fields: (u8, u16, bool, bool, u16, u8, u8),
        source: [u8; 4],
        destination: [u8; 4],
        options in options(),
        payload_len in 0usize..64,
    ) {
        let (tos, identification, dont_fragment, more_fragments, offset, ttl, protocol) = fields;
        let header = Header {
            tos, identification, dont_fragment, more_fragments, fragment_offset: offset & 0xfff8, ttl, protocol,
            source: source.into(), destination: destination.into(), options: &options, payload_len,
        };
        let mut bytes = [0xa5; 128];
        let len = header.emit(&mut bytes).unwrap();
        prop_assert_eq!(len, header.header_len());
        let packet = &bytes[..len + payload_len];
        prop_assert_eq!(Header::parse(packet), Ok(header));
        let view = Packet::new_checked(packet).unwrap();
        prop_assert!(view.checksum_ok());
        prop_assert_eq!((view.options(), view.payload().len()), (&options[..], payload_len));
        prop_assert_eq!(Header::parse(&packet[..packet.len() - 1]), Err(WireError::Truncated));
    }

    #[test]
    fn changes_keep_the_checksum_right(tos: u8, new_tos: u8, ttl in 2u8.., protocol: u8, source: [u8; 4]) {
        let mut bytes = [0; 20];
        let header = Header { tos, ttl, ..Header::new(source.into(), Ipv4Addr::new(1, 2, 3, 4), protocol, 0) };
        header.emit(&mut bytes).unwrap();
        let mut packet = Packet::new_checked(&mut bytes[..]).unwrap();
        prop_assert!(packet.decrement_ttl());
        packet.update_tos(new_tos);
        prop_assert!(packet.checksum_ok());
        let incremental = packet.checksum();
        packet.fill_checksum();
        prop_assert_eq!(packet.checksum(), incremental);
        prop_assert_eq!(Header::parse(&bytes), Ok(Header { tos: new_tos, ttl: ttl - 1, ..header }));
    }

    #[test]
    fn no_bytes_make_the_view_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), first in 0x40u8..0x50) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if bytes.len() > 4 {
            bytes[2] = 0;
        }
        if let Ok(mut packet) = Packet::new_checked(&mut bytes[..]) {
            let _ = (packet.source(), packet.destination(), packet.checksum_ok(), packet.options().len());
            let _ = (packet.fragment_offset(), packet.more_fragments(), packet.dont_fragment());
            packet.decrement_ttl();
            packet.update_tos(1);
            packet.fill_checksum();
            packet.payload_mut().fill(0);
        }
    }
}
