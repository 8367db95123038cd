use std::format;

use proptest::prelude::*;

use super::*;

#[test]
fn a_mac_address_prints_in_the_usual_form() {
    assert_eq!(format!("{}", MacAddress([0x02, 0, 0xab, 0, 0, 0x0f])), "02:00:ab:00:00:0f");
    assert!(MacAddress::BROADCAST.is_multicast());
    assert!(!MacAddress([2, 0, 0, 0, 0, 1]).is_multicast());
}

#[test]
fn rewriting_addresses_leaves_the_rest_alone() {
    let header = Header {
        destination: MacAddress([1; 6]),
        source: MacAddress([2; 6]),
        tags: [Some(Tag::vlan(9)), None],
        ethertype: ETHERTYPE_IPV4,
    };
    let mut bytes = [0xcc; 20];
    assert_eq!(header.emit(&mut bytes), Ok(18));
    let mut frame = Frame::new_checked(&mut bytes[..]).unwrap();
    frame.set_destination(MacAddress([3; 6]));
    frame.set_source(MacAddress([4; 6]));
    frame.payload_mut()[0] = 0xdd;
    let expected = Header { destination: MacAddress([3; 6]), source: MacAddress([4; 6]), ..header };
    assert_eq!(Header::parse(&bytes), Ok(expected));
    assert_eq!(bytes[18..], [0xdd, 0xcc]);
}

#[test]
fn a_header_without_room_is_refused() {
    let header = Header {
        destination: MacAddress([1; 6]),
        source: MacAddress([2; 6]),
        tags: [None; 2],
        ethertype: ETHERTYPE_ARP,
    };
    assert_eq!(header.emit(&mut [0; 13]), Err(WireError::NoRoom));
}

fn tag() -> impl Strategy<Value = Tag> {
    (prop_oneof![Just(ETHERTYPE_VLAN), Just(ETHERTYPE_SERVICE_VLAN)], any::<u16>())
        .prop_map(|(ethertype, control)| Tag { ethertype, control })
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(
        destination: [u8; 6],
        source: [u8; 6],
        outer in proptest::option::of(tag()),
        inner in tag(),
        second: bool,
        ethertype in any::<u16>().prop_filter("a tag is not a payload", |ethertype| !is_tag(*ethertype)),
    ) {
        let tags = [outer, outer.filter(|_| second).map(|_| inner)];
        let header = Header { destination: MacAddress(destination), source: MacAddress(source), tags, ethertype };
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = header.emit(&mut bytes).unwrap();
        prop_assert_eq!(len, header.len());
        prop_assert_eq!(Header::parse(&bytes[..len]), Ok(header));
        prop_assert_eq!(Header::parse(&bytes[..len - 1]), Err(WireError::Truncated));
    }

    #[test]
    fn no_bytes_make_the_view_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(mut frame) = Frame::new_checked(&mut bytes[..]) {
            let _ = (frame.destination(), frame.source(), frame.ethertype(), frame.payload().len());
            frame.set_source(MacAddress::BROADCAST);
            frame.payload_mut().fill(0);
        }
    }
}
