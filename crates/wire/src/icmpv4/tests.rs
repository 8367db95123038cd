use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{parse, udp};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

fn datagram(header: ipv4::Header<'_>, payload_len: usize) -> Vec<u8> {
    let header = ipv4::Header { payload_len: 8 + payload_len, ..header };
    let mut packet = vec![0x5a; header.header_len() + 8 + payload_len];
    let at = header.emit(&mut packet).unwrap();
    udp::Header { source_port: 1000, destination_port: 2000, payload_len }.emit(&mut packet[at..]).unwrap();
    packet
}

fn plain() -> ipv4::Header<'static> {
    ipv4::Header::new(SENDER, RECEIVER, protocol::UDP, 0)
}

#[test]
fn fragmentation_needed_goes_to_the_sender_and_quotes_it() {
    let offender = datagram(plain(), 1400);
    let mut buffer = [0; 600];
    let len = build_error(&mut buffer, GATEWAY, Error::FragmentationNeeded { mtu: 1382 }, &offender).unwrap();
    assert_eq!(len, MAX_ERROR_LEN);
    let packet = ipv4::Packet::new_checked(&buffer[..len]).unwrap();
    assert!(packet.checksum_ok());
    assert_eq!((packet.source(), packet.destination(), packet.tos()), (GATEWAY, SENDER, 0xc0));
    let message = Packet::new_checked(packet.payload()).unwrap();
    assert!(message.checksum_ok());
    assert_eq!((message.kind(), message.code(), message.next_hop_mtu()), (3, 4, Some(1382)));
    assert_eq!(message.payload(), &offender[..548]);
}

#[test]
fn each_error_has_its_type_and_code() {
    let offender = datagram(plain(), 3);
    let cases = [
        (Error::FragmentationNeeded { mtu: 68 }, (3, 4, 68)),
        (Error::Unreachable(unreachable::HOST), (3, 1, 0)),
        (Error::Unreachable(unreachable::ADMINISTRATIVELY_PROHIBITED), (3, 13, 0)),
        (Error::TimeExceeded, (11, 0, 0)),
    ];
    for (error, expected) in cases {
        let mut buffer = [0; 100];
        let len = build_error(&mut buffer, GATEWAY, error, &offender).unwrap();
        assert_eq!(len, 28 + offender.len());
        let header = Header::parse(&buffer[20..len]).unwrap();
        assert_eq!((header.kind, header.code, header.rest_of_header), expected);
    }
}

#[test]
fn a_short_buffer_or_offender_is_refused() {
    let offender = datagram(plain(), 3);
    let error = Error::TimeExceeded;
    assert_eq!(build_error(&mut [0; 19], GATEWAY, error, &offender), Err(WireError::NoRoom));
    assert_eq!(build_error(&mut [0; 58], GATEWAY, error, &offender), Err(WireError::NoRoom));
    assert_eq!(build_error(&mut [0; 59], GATEWAY, error, &offender), Ok(59));
    assert_eq!(build_error(&mut [0; 99], GATEWAY, error, &offender[..19]), Err(WireError::Truncated));
}

#[test]
fn errors_are_answered_to_hosts_and_first_fragments_only() {
    let answers = |header: ipv4::Header<'_>| may_answer(&parse::ip_at(&datagram(header, 8)[..], 0).unwrap());
    assert!(answers(plain()));
    assert!(answers(ipv4::Header { more_fragments: true, ..plain() }));
    assert!(!answers(ipv4::Header { fragment_offset: 8, ..plain() }));
    for source in [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [127, 0, 0, 1], [240, 0, 0, 1]] {
        assert!(!answers(ipv4::Header { source: source.into(), ..plain() }), "{source:?}");
    }
    assert!(!answers(ipv4::Header { destination: [224, 0, 0, 5].into(), ..plain() }));
    assert!(!answers(ipv4::Header { destination: Ipv4Addr::BROADCAST, ..plain() }));
}

#[test]
fn errors_about_errors_are_not_sent() {
    for (kind, answered) in
        [(0, true), (8, true), (13, true), (3, false), (5, false), (11, false), (12, false), (42, false)]
    {
        let mut packet = datagram(ipv4::Header { protocol: protocol::ICMP, ..plain() }, 8);
        packet[20] = kind;
        assert_eq!(may_answer(&parse::ip_at(&packet[..], 0).unwrap()), answered, "type {kind}");
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
        let len = header.emit_v4(&mut bytes, payload.len()).unwrap();
        prop_assert_eq!(Header::parse(&bytes[..len]), Ok(header));
        let message = Packet::new_checked(&bytes[..len]).unwrap();
        prop_assert!(message.checksum_ok());
        prop_assert_eq!(message.payload(), &payload[..]);
    }

    #[test]
    fn no_bytes_make_views_or_errors_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700), room in 0usize..700) {
        if let Ok(message) = Packet::new_checked(&bytes[..]) {
            let _ = (message.next_hop_mtu(), message.checksum_ok(), message.payload().len());
        }
        let mut buffer = vec![0; room];
        if let Ok(len) = build_error(&mut buffer, GATEWAY, Error::TimeExceeded, &bytes) {
            prop_assert!(len <= MAX_ERROR_LEN);
        }
    }
}
