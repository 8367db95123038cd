use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ethernet::{Header as EthernetHeader, MacAddress, Tag};
use crate::{ipv4, ipv6, udp};

const V4_SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V4_DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const V6_SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const V6_DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7);

fn ethernet(tags: [Option<Tag>; 2], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let header = EthernetHeader {
        destination: MacAddress([2, 0, 0, 0, 0, 1]),
        source: MacAddress([2, 0, 0, 0, 0, 2]),
        tags,
        ethertype,
    };
    let mut frame = vec![0; header.len() + payload.len()];
    let len = header.emit(&mut frame).unwrap();
    frame[len..].copy_from_slice(payload);
    frame
}

fn udp_in_ipv4(header: ipv4::Header<'_>, payload: &[u8]) -> Vec<u8> {
    let udp = udp::Header { source_port: 4660, destination_port: 22136, payload_len: payload.len() };
    let header = ipv4::Header { payload_len: 8 + payload.len(), ..header };
    let mut packet = vec![0; header.header_len() + header.payload_len];
    let at = header.emit(&mut packet).unwrap();
    udp.emit(&mut packet[at..]).unwrap();
    packet[at + 8..].copy_from_slice(payload);
    packet
}

fn plain_v4() -> ipv4::Header<'static> {
    ipv4::Header::new(V4_SOURCE, V4_DESTINATION, protocol::UDP, 0)
}

/// An IPv6 packet with these bytes behind the fixed header.
fn ipv6_packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header::new(V6_SOURCE, V6_DESTINATION, next_header, payload.len());
    let mut packet = vec![0; 40 + payload.len()];
    header.emit(&mut packet).unwrap();
    packet[40..].copy_from_slice(payload);
    packet
}

const PORTS: Upper = Upper::Ports { source: 4660, destination: 22136 };
const UDP_BYTES: [u8; 8] = [0x12, 0x34, 0x56, 0x78, 0, 8, 0, 0];

#[test]
fn an_untagged_udp_frame_gives_every_field() {
    let packet = udp_in_ipv4(ipv4::Header { tos: 0xb9, ttl: 17, identification: 99, ..plain_v4() }, b"hello");
    let mut bytes = ethernet([None; 2], ETHERTYPE_IPV4, &packet);
    bytes.extend_from_slice(&[0xaa; 13]); // link padding
    let summary = frame(&bytes[..]).unwrap();
    assert_eq!(
        summary.link,
        LinkSummary { len: 14, ethertype: ETHERTYPE_IPV4, vlan: None, inner_vlan: None }
    );
    let ip = summary.ip.unwrap();
    assert_eq!(
        ip,
        IpSummary {
            source: V4_SOURCE.into(),
            destination: V4_DESTINATION.into(),
            total_len: 33,
            header_len: 20,
            protocol: protocol::UDP,
            ttl: 17,
            traffic_class: 0xb9,
            dont_fragment: true,
            has_options: false,
            fragment: FragmentSummary { id: 99, ..FragmentSummary::default() },
            upper: PORTS,
        }
    );
    assert_eq!((ip.dscp(), ip.ecn(), ip.payload_len(), ip.ports()), (46, 1, 13, Some((4660, 22136))));
    assert_eq!((summary.l3_offset(), summary.l4_offset(), summary.l3_end()), (14, Some(34), Some(47)));
}

#[test]
fn one_and_two_vlan_tags_move_the_network_header() {
    let packet = udp_in_ipv4(plain_v4(), b"");
    let one = ethernet([Some(Tag::vlan(7)), None], ETHERTYPE_IPV4, &packet);
    let summary = frame(&one[..]).unwrap();
    assert_eq!((summary.link.len, summary.link.vlan, summary.link.inner_vlan), (18, Some(7), None));
    assert_eq!(summary.ip.unwrap().upper, PORTS);

    let outer = Tag { ethertype: ethernet::ETHERTYPE_SERVICE_VLAN, control: 0xe064 };
    let two = ethernet([Some(outer), Some(Tag::vlan(4095))], ETHERTYPE_IPV4, &packet);
    let summary = frame(&two[..]).unwrap();
    assert_eq!((summary.link.len, summary.link.vlan, summary.link.inner_vlan), (22, Some(100), Some(4095)));
    assert_eq!(summary.l4_offset(), Some(42));

    for cut in 0..22 {
        assert_eq!(frame(&two[..cut]), Err(ParseError::TruncatedLink), "cut at {cut}");
    }
}

#[test]
fn a_frame_that_is_not_ip_has_only_a_link_summary() {
    let summary = frame(&ethernet([None; 2], crate::ethernet::ETHERTYPE_ARP, &[0; 28])[..]).unwrap();
    assert_eq!((summary.link.ethertype, summary.ip), (0x0806, None));
    assert_eq!((summary.l4_offset(), summary.l3_end()), (None, None));
}

#[test]
fn ipv4_options_are_counted_into_the_header() {
    let options = [7, 7, 4, 0, 0, 0, 0, 0];
    let packet = udp_in_ipv4(ipv4::Header { options: &options, ..plain_v4() }, b"x");
    let ip = ip_at(&packet[..], 0).unwrap();
    assert_eq!((ip.header_len, ip.has_options, ip.upper), (28, true, PORTS));
}

#[test]
fn ipv4_lengths_that_lie_are_refused() {
    let good = udp_in_ipv4(plain_v4(), b"abcd");
    let with = |offset: usize, value: u8| {
        let mut packet = good.clone();
        packet[offset] = value;
        ip_at(&packet[..], 0)
    };
    assert_eq!(with(0, 0x44), Err(ParseError::BadHeaderLength));
    assert_eq!(with(0, 0x4f), Err(ParseError::BadHeaderLength));
    assert_eq!(with(0, 0x55), Err(ParseError::BadVersion));
    assert_eq!(with(3, 33), Err(ParseError::BadTotalLength));
    assert_eq!(with(3, 19), Err(ParseError::BadHeaderLength));
    assert_eq!(ip_at(&good[..19], 0), Err(ParseError::TruncatedIp));
    assert_eq!(ip_at(&good[..31], 0), Err(ParseError::BadTotalLength));
    assert_eq!(ip_at(&good[..0], 0), Err(ParseError::TruncatedIp));
}

#[test]
fn the_ethertype_must_agree_with_the_version() {
    let v4 = udp_in_ipv4(plain_v4(), &[0; 40]);
    let v6 = ipv6_packet(protocol::UDP, &UDP_BYTES);
    assert_eq!(frame(&ethernet([None; 2], ETHERTYPE_IPV6, &v4)[..]), Err(ParseError::BadVersion));
    assert_eq!(frame(&ethernet([None; 2], ETHERTYPE_IPV4, &v6)[..]), Err(ParseError::BadVersion));
}

#[test]
fn ports_are_reported_only_when_they_are_inside_the_packet() {
    for (payload_len, expected) in [(0, Upper::Truncated), (3, Upper::Truncated), (4, PORTS)] {
        let header = ipv4::Header { payload_len, ..plain_v4() };
        let mut packet = vec![0; 28];
        header.emit(&mut packet).unwrap();
        packet[20..].copy_from_slice(&UDP_BYTES);
        assert_eq!(ip_at(&packet[..], 0).unwrap().upper, expected, "{payload_len} bytes");
    }
}

#[test]
fn upper_headers_are_told_apart_by_protocol() {
    let cases = [
        (protocol::ICMP, Upper::Icmp { kind: 0x12, code: 0x34 }),
        (protocol::ICMPV6, Upper::Icmp { kind: 0x12, code: 0x34 }),
        (protocol::ESP, Upper::Esp { spi: 0x1234_5678 }),
        (protocol::TCP, PORTS),
        (protocol::SCTP, PORTS),
        (protocol::AH, Upper::Other),
        (protocol::NO_NEXT_HEADER, Upper::Other),
        (47, Upper::Other),
    ];
    for (number, expected) in cases {
        let ip = ip_at(&ipv6_packet(number, &UDP_BYTES)[..], 0).unwrap();
        assert_eq!((ip.protocol, ip.upper), (number, expected));
    }
}

#[test]
fn first_and_later_ipv4_fragments_differ() {
    let first =
        udp_in_ipv4(ipv4::Header { more_fragments: true, dont_fragment: false, ..plain_v4() }, &[0; 8]);
    let ip = ip_at(&first[..], 0).unwrap();
    assert!(ip.fragment.is_fragment() && ip.fragment.is_first() && !ip.fragment.is_later());
    assert_eq!(ip.upper, PORTS);

    let later = udp_in_ipv4(ipv4::Header { fragment_offset: 16, ..plain_v4() }, &[0; 3]);
    let ip = ip_at(&later[..], 0).unwrap();
    assert!(ip.fragment.is_later() && !ip.fragment.more);
    assert_eq!((ip.fragment.offset, ip.upper, ip.ports()), (16, Upper::LaterFragment, None));
}

#[test]
fn impossible_fragments_are_refused() {
    let odd = udp_in_ipv4(ipv4::Header { more_fragments: true, ..plain_v4() }, &[0; 3]);
    assert_eq!(ip_at(&odd[..], 0), Err(ParseError::BadFragment));
    // Header, offset and UDP header leave 11 bytes up to 65535.
    let last = ipv4::Header { fragment_offset: 65496, ..plain_v4() };
    assert!(ip_at(&udp_in_ipv4(last, &[0; 11])[..], 0).is_ok());
    assert_eq!(ip_at(&udp_in_ipv4(last, &[0; 12])[..], 0), Err(ParseError::BadFragment));
}

#[test]
fn ipv6_extension_headers_are_walked_to_the_upper_header() {
    let mut payload = Vec::new();
    payload.extend_from_slice(&[protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0]); // hop-by-hop
    payload.extend_from_slice(&[protocol::ROUTING, 1, 1, 12]); // destination options, 16 bytes
    payload.extend_from_slice(&[0; 12]);
    payload.extend_from_slice(&[protocol::FRAGMENT, 0, 0, 0, 0, 0, 0, 0]); // routing
    payload.extend_from_slice(&[protocol::UDP, 0, 0, 1, 0, 0, 0, 9]); // first fragment, more follow
    payload.extend_from_slice(&UDP_BYTES);
    let ip = ip_at(&ipv6_packet(protocol::HOP_BY_HOP, &payload)[..], 0).unwrap();
    assert_eq!((ip.header_len, ip.protocol, ip.upper), (80, protocol::UDP, PORTS));
    assert!(ip.has_options && ip.fragment.is_first() && ip.fragment.has_header);
    assert_eq!(ip.fragment.id, 9);
}

#[test]
fn the_walk_stops_at_a_later_ipv6_fragment() {
    // The payload looks like a hop-by-hop header, but it is the middle of the payload.
    let payload = [protocol::HOP_BY_HOP, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
    let ip = ip_at(&ipv6_packet(protocol::FRAGMENT, &payload)[..], 0).unwrap();
    assert_eq!((ip.header_len, ip.fragment.offset, ip.upper), (48, 8, Upper::LaterFragment));
}

#[test]
fn an_atomic_fragment_is_no_fragment_but_shows_its_header() {
    let payload = [&[protocol::UDP, 0, 0, 0, 0, 0, 0, 5][..], &UDP_BYTES].concat();
    let ip = ip_at(&ipv6_packet(protocol::FRAGMENT, &payload)[..], 0).unwrap();
    assert!(!ip.fragment.is_fragment() && ip.fragment.has_header);
    assert_eq!(ip.upper, PORTS);
}

#[test]
fn extension_headers_out_of_order_or_beyond_bounds_are_refused() {
    let late_hop_by_hop =
        [[protocol::HOP_BY_HOP, 0, 0, 0, 0, 0, 0, 0], [protocol::UDP, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(
        ip_at(&ipv6_packet(protocol::DESTINATION_OPTIONS, &late_hop_by_hop)[..], 0),
        Err(ParseError::BadExtension)
    );
    let two_fragment_headers =
        [[protocol::FRAGMENT, 0, 0, 0, 0, 0, 0, 0], [protocol::UDP, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(
        ip_at(&ipv6_packet(protocol::FRAGMENT, &two_fragment_headers)[..], 0),
        Err(ParseError::BadExtension)
    );
    let beyond = [protocol::UDP, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(ip_at(&ipv6_packet(protocol::ROUTING, &beyond)[..], 0), Err(ParseError::TruncatedIp));
    assert_eq!(ip_at(&ipv6_packet(protocol::ROUTING, &[])[..], 0), Err(ParseError::TruncatedIp));

    let chain = |count: usize| {
        let mut payload = [protocol::DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(count);
        payload[(count - 1) * 8] = protocol::UDP;
        payload.extend_from_slice(&UDP_BYTES);
        ip_at(&ipv6_packet(protocol::DESTINATION_OPTIONS, &payload)[..], 0)
    };
    assert_eq!(chain(MAX_EXTENSION_HEADERS).unwrap().upper, PORTS);
    assert_eq!(chain(MAX_EXTENSION_HEADERS + 1), Err(ParseError::BadExtension));
}

#[test]
fn the_traffic_class_and_hop_limit_of_ipv6_are_read() {
    let header = ipv6::Header {
        traffic_class: 0xb9,
        flow_label: 0xf_ffff,
        hop_limit: 3,
        ..ipv6::Header::new(V6_SOURCE, V6_DESTINATION, protocol::NO_NEXT_HEADER, 0)
    };
    let mut packet = [0; 40];
    header.emit(&mut packet).unwrap();
    let ip = ip_at(&packet[..], 0).unwrap();
    assert_eq!((ip.traffic_class, ip.ttl, ip.is_ipv4(), ip.dont_fragment), (0xb9, 3, false, true));
    assert_eq!((ip.source, ip.destination), (V6_SOURCE.into(), V6_DESTINATION.into()));
}

/// Bytes that look like a frame often enough to reach every branch.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let ethertype = prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x8100), Just(0x88a8), any::<u16>()];
    let first = prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()];
    let next = prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6), Just(17), Just(50), any::<u8>()];
    (proptest::collection::vec(any::<u8>(), 0..160), ethertype, first, next, any::<bool>()).prop_map(
        |(mut bytes, ethertype, first, next, plausible)| {
            if plausible && bytes.len() > 54 {
                let payload_len = (bytes.len() - 54) as u16;
                bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
                bytes[14] = first;
                let length_at = if first >> 4 == 4 { 16 } else { 18 };
                bytes[length_at..length_at + 2].copy_from_slice(&payload_len.to_be_bytes());
                bytes[20] = next;
                for extension in bytes[54..].chunks_mut(8) {
                    if extension[0] & 1 == 0 {
                        extension[0] = next;
                        if let Some(len) = extension.get_mut(1) {
                            *len &= 1;
                        }
                    }
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_the_bytes_are_a_summary_stays_inside_the_frame(bytes in frame_like()) {
        if let Ok(summary) = frame(&bytes[..]) {
            prop_assert!(summary.l3_offset() <= bytes.len());
            if let Some(ip) = summary.ip {
                prop_assert!(usize::from(ip.header_len) <= ip.total_len as usize);
                prop_assert!(summary.l3_end().unwrap() <= bytes.len());
                let has_word = ip.payload_len() >= 4;
                match ip.upper {
                    Upper::Ports { .. } | Upper::Icmp { .. } | Upper::Esp { .. } => {
                        prop_assert!(has_word && !ip.fragment.is_later());
                    }
                    Upper::Truncated => prop_assert!(!has_word),
                    Upper::LaterFragment => prop_assert!(ip.fragment.is_later()),
                    Upper::Other => {}
                }
            }
        }
    }

    #[test]
    fn cutting_a_good_packet_anywhere_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
        let v4 = udp_in_ipv4(plain_v4(), &payload);
        for cut in 0..v4.len() {
            prop_assert!(ip_at(&v4[..cut], 0).is_err());
        }
        let v6 = ipv6_packet(protocol::UDP, &payload);
        for cut in 0..v6.len() {
            prop_assert!(ip_at(&v6[..cut], 0).is_err());
        }
    }

    #[test]
    fn a_packet_parses_alike_at_every_offset(bytes in frame_like(), front in 0usize..40) {
        let mut shifted = vec![0xee; front];
        shifted.extend_from_slice(&bytes);
        prop_assert_eq!(ip_at(&shifted[..], front), ip_at(&bytes[..], 0));
    }
}
