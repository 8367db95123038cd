use proptest::prelude::*;

use super::*;

#[test]
fn a_request_is_answered_with_sides_exchanged() {
    let request = Packet {
        operation: Operation::Request,
        sender_hardware: MacAddress([2, 0, 0, 0, 0, 1]),
        sender_protocol: Ipv4Addr::new(192, 0, 2, 1),
        target_hardware: MacAddress([0; 6]),
        target_protocol: Ipv4Addr::new(192, 0, 2, 2),
    };
    let ours = MacAddress([2, 0, 0, 0, 0, 2]);
    let mut bytes = [0; LEN];
    request.reply(ours).emit(&mut bytes).unwrap();
    assert_eq!(
        bytes,
        [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 2, 192, 0, 2, 2, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1]
    );
}

#[test]
fn other_hardware_protocols_and_operations_are_refused() {
    let mut good = [0; LEN];
    Packet {
        operation: Operation::Reply,
        sender_hardware: MacAddress([2; 6]),
        sender_protocol: Ipv4Addr::new(192, 0, 2, 1),
        target_hardware: MacAddress([4; 6]),
        target_protocol: Ipv4Addr::new(192, 0, 2, 2),
    }
    .emit(&mut good)
    .unwrap();
    for (offset, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3), (7, 0)] {
        let mut bad = good;
        bad[offset] = value;
        assert_eq!(Packet::parse(&bad), Err(WireError::Malformed), "offset {offset}");
    }
    assert_eq!(Packet::parse(&good[..27]), Err(WireError::Truncated));
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(
        request: bool,
        sender: ([u8; 6], [u8; 4]),
        target: ([u8; 6], [u8; 4]),
    ) {
        let packet = Packet {
            operation: if request { Operation::Request } else { Operation::Reply },
            sender_hardware: MacAddress(sender.0),
            sender_protocol: sender.1.into(),
            target_hardware: MacAddress(target.0),
            target_protocol: target.1.into(),
        };
        let mut bytes = [0xff; 46];
        prop_assert_eq!(packet.emit(&mut bytes), Ok(LEN));
        prop_assert_eq!(Packet::parse(&bytes), Ok(packet));
    }

    #[test]
    fn no_bytes_make_parse_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Packet::parse(&bytes);
    }
}
