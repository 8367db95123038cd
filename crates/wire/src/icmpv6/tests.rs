use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::parse;

const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe);
const SENDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);
const RECEIVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);

fn packet(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload_len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; 40 + payload_len];
    ipv6::Header::new(source, destination, next_header, payload_len).emit(&mut packet).unwrap();
    packet
}

#[test]
fn packet_too_big_fits_the_minimum_mtu_and_quotes_the_sender() {
    let offender = packet(SENDER, RECEIVER, protocol::UDP, 1400);
    let mut buffer = [0; 1500];
    let len = build_error(&mut buffer, GATEWAY, Error::PacketTooBig { mtu: 1400 }, &offender).unwrap();
    assert_eq!(len, ipv6::MIN_MTU);
    let view = ipv6::Packet::new_checked(&buffer[..len]).unwrap();
    assert_eq!((view.source(), view.destination()), (GATEWAY, SENDER));
    let message = Packet::new_checked(view.payload()).unwrap();
    assert!(message.checksum_ok(GATEWAY, SENDER));
    assert!(!message.checksum_ok(GATEWAY, RECEIVER));
    assert_eq!((message.kind(), message.code(), message.next_hop_mtu()), (2, 0, Some(1400)));
    assert_eq!(message.payload(), &offender[..1232]);
}

#[test]
fn each_error_has_its_type_and_code() {
    let offender = packet(SENDER, RECEIVER, protocol::UDP, 3);
    for (error, expected) in [
        (Error::PacketTooBig { mtu: 1280 }, (2, 0, 1280)),
        (Error::Unreachable(unreachable::ADDRESS), (1, 3, 0)),
        (Error::TimeExceeded, (3, 0, 0)),
    ] {
        let mut buffer = [0; 100];
        let len = build_error(&mut buffer, GATEWAY, error, &offender).unwrap();
        let header = Header::parse(&buffer[40..len]).unwrap();
        assert_eq!((header.kind, header.code, header.rest_of_header), expected);
    }
}

#[test]
fn only_packet_too_big_is_sent_about_multicast() {
    let group = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
    let too_big = Error::PacketTooBig { mtu: 1280 };
    let about = |source, destination, error| {
        may_answer(&parse::ip_at(&packet(source, destination, protocol::UDP, 8)[..], 0).unwrap(), error)
    };
    assert!(about(SENDER, RECEIVER, Error::TimeExceeded));
    assert!(about(SENDER, group, too_big));
    assert!(!about(SENDER, group, Error::TimeExceeded));
    assert!(!about(Ipv6Addr::UNSPECIFIED, RECEIVER, too_big));
    assert!(!about(group, RECEIVER, too_big));
}

#[test]
fn errors_about_errors_and_redirects_are_not_sent() {
    for (kind, answered) in
        [(1, false), (2, false), (127, false), (128, true), (129, true), (135, true), (137, false)]
    {
        let mut bytes = packet(SENDER, RECEIVER, protocol::ICMPV6, 8);
        bytes[40] = kind;
        let summary = parse::ip_at(&bytes[..], 0).unwrap();
        assert_eq!(may_answer(&summary, Error::TimeExceeded), answered, "type {kind}");
    }
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_back(
        kind: u8,
        code: u8,
        rest_of_header: u32,
        payload in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let header = Header { kind, code, rest_of_header };
        let mut bytes = [0; 48];
        bytes[8..8 + payload.len()].copy_from_slice(&payload);
        let len = header.emit_v6(&mut bytes, payload.len(), SENDER, RECEIVER).unwrap();
        prop_assert_eq!(Header::parse(&bytes[..len]), Ok(header));
        prop_assert!(Packet::new_checked(&bytes[..len]).unwrap().checksum_ok(SENDER, RECEIVER));
    }

    #[test]
    fn no_bytes_make_views_or_errors_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1400), room in 0usize..1400) {
        if let Ok(message) = Packet::new_checked(&bytes[..]) {
            let _ = (message.next_hop_mtu(), message.checksum_ok(SENDER, RECEIVER), message.payload().len());
        }
        let mut buffer = vec![0; room];
        if let Ok(len) = build_error(&mut buffer, GATEWAY, Error::TimeExceeded, &bytes) {
            prop_assert!(len <= ipv6::MIN_MTU);
        }
    }
}
