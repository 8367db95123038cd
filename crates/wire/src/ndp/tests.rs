use proptest::prelude::*;

use super::*;

const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0x1234, 0x5678, 0x9abc, 0xdef0);

fn body(packet: &[u8]) -> &[u8] {
    &packet[ipv6::HEADER_LEN..]
}

#[test]
fn solicited_node_and_multicast_mac_follow_the_target() {
    let group = solicited_node(TARGET);
    assert_eq!(group, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xffbc, 0xdef0));
    assert_eq!(multicast_mac(group), MacAddress([0x33, 0x33, 0xff, 0xbc, 0xde, 0xf0]));
}

#[test]
fn a_solicitation_has_hop_limit_255_and_a_good_checksum() {
    let message = Message::Solicitation { target: TARGET, source_link_layer: Some(MacAddress([2; 6])) };
    let mut bytes = [0; 72];
    let group = solicited_node(TARGET);
    assert_eq!(message.emit(&mut bytes, HOST, group), Ok(72));
    let packet = ipv6::Packet::new_checked(&bytes[..]).unwrap();
    assert_eq!((packet.hop_limit(), packet.next_header()), (255, protocol::ICMPV6));
    assert!(icmpv6::Packet::new_checked(packet.payload()).unwrap().checksum_ok(HOST, group));
    assert_eq!(body(&bytes)[24..32], [1, 1, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn messages_that_rfc_4861_forbids_are_refused() {
    let message = Message::Solicitation { target: TARGET, source_link_layer: Some(MacAddress([2; 6])) };
    let mut bytes = [0; 72];
    message.emit(&mut bytes, HOST, TARGET).unwrap();
    let with = |offset: usize, value: u8| {
        let mut bytes = bytes;
        bytes[40 + offset] = value;
        Message::parse(body(&bytes))
    };
    assert_eq!(with(0, 133), Err(WireError::Malformed), "another type");
    assert_eq!(with(1, 1), Err(WireError::Malformed), "a code");
    assert_eq!(with(8, 0xff), Err(WireError::Malformed), "a multicast target");
    assert_eq!(with(25, 0), Err(WireError::Malformed), "an option of length 0");
    assert_eq!(with(25, 2), Err(WireError::Truncated), "an option beyond the end");
    assert_eq!(with(24, 200), Ok(Message::Solicitation { target: TARGET, source_link_layer: None }));
    assert_eq!(Message::parse(&body(&bytes)[..23]), Err(WireError::Truncated));
    assert_eq!(Message::parse(&body(&bytes)[..25]), Err(WireError::Truncated));
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(
        solicitation: bool,
        target in any::<[u8; 16]>().prop_map(Ipv6Addr::from).prop_filter("unicast", |target| !target.is_multicast()),
        flags: [bool; 3],
        link_layer in proptest::option::of(any::<[u8; 6]>()),
    ) {
        let link_layer = link_layer.map(MacAddress);
        let message = if solicitation {
            Message::Solicitation { target, source_link_layer: link_layer }
        } else {
            let [router, solicited, override_entry] = flags;
            Message::Advertisement { target, router, solicited, override_entry, target_link_layer: link_layer }
        };
        let mut bytes = [0xee; 72];
        let len = message.emit(&mut bytes, HOST, TARGET).unwrap();
        prop_assert_eq!(Message::parse(body(&bytes[..len])), Ok(message));
        prop_assert_eq!(message.emit(&mut bytes[..len - 1], HOST, TARGET), Err(WireError::NoRoom));
    }

    #[test]
    fn no_bytes_make_parse_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), advertisement: bool) {
        if bytes.len() > 1 {
            bytes[0] = NEIGHBOUR_SOLICITATION + u8::from(advertisement);
            bytes[1] = 0;
        }
        let _ = Message::parse(&bytes);
    }
}
