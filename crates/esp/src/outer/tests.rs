use proptest::prelude::*;

use super::*;
use crate::testing::{inner_v4, inner_v6, outer_v4, outer_v6};

const UDP: Encapsulation = Encapsulation::Udp { local_port: 4500, remote_port: 61000 };

/// The header in front of an ESP packet of `esp_len` zero bytes.
fn written(parameters: OuterParameters, inner: &[u8], esp_len: usize, sequence: u64) -> Vec<u8> {
    let template = OuterTemplate::new(parameters).unwrap();
    let mut packet = vec![0; template.len() + esp_len];
    let fields = InnerFields::read(inner).unwrap();
    assert!(template.write(&mut packet[..template.len()], &fields, esp_len, sequence));
    if template.needs_udp_checksum() {
        template.write_udp_checksum(&mut packet);
    }
    packet
}

fn v4(packet: &[u8]) -> ipv4::Packet<&[u8]> {
    ipv4::Packet::new_checked(packet).unwrap()
}

#[test]
fn addresses_of_two_versions_make_no_template() {
    let mixed = OuterParameters { destination: outer_v6().destination, ..outer_v4() };
    assert!(OuterTemplate::new(mixed).is_none());
}

#[test]
fn df_follows_the_policy() {
    let mut clear = inner_v4(0, 0);
    clear[6] = 0;
    let set = inner_v4(0, 0);
    let v6 = inner_v6(0, 0);
    for (df, inner, expected) in [
        (DfPolicy::Copy, &clear, false),
        (DfPolicy::Copy, &set, true),
        (DfPolicy::Copy, &v6, true),
        (DfPolicy::Set, &clear, true),
        (DfPolicy::Clear, &set, false),
        (DfPolicy::Clear, &v6, false),
    ] {
        let packet = written(OuterParameters { df, ..outer_v4() }, inner, 40, 0x1_2345_6789);
        assert_eq!(v4(&packet).dont_fragment(), expected, "{df:?}");
        // What may be fragmented needs an identification of its own.
        assert_eq!(v4(&packet).identification(), if expected { 0 } else { 0x6789 });
    }
}

#[test]
fn ecn_follows_the_policy_and_dscp_its_own() {
    let inner = inner_v4(0xb8 | 0b10, 0);
    for (dscp, ecn, expected) in [
        (DscpPolicy::Copy, EcnPolicy::Copy, 0xba),
        (DscpPolicy::Copy, EcnPolicy::NotCapable, 0xb8),
        (DscpPolicy::Fixed(10), EcnPolicy::Copy, 0x2a),
        (DscpPolicy::Fixed(0), EcnPolicy::NotCapable, 0),
    ] {
        let packet = written(OuterParameters { dscp, ecn, ..outer_v4() }, &inner, 40, 1);
        assert_eq!(v4(&packet).tos(), expected);
        let packet = written(OuterParameters { dscp, ecn, ..outer_v6() }, &inner, 40, 1);
        assert_eq!(ipv6::Packet::new_checked(&packet[..]).unwrap().traffic_class(), expected);
    }
}

#[test]
fn inner_fields_are_read_from_complete_headers_only() {
    let v4 = inner_v4(0, 0);
    let v6 = inner_v6(0, 0);
    assert!(InnerFields::read(&v4).is_some() && InnerFields::read(&v4[..19]).is_none());
    assert!(InnerFields::read(&v6).is_some() && InnerFields::read(&v6[..39]).is_none());
    assert!(InnerFields::read(&[0x55; 60]).is_none() && InnerFields::read(&[]).is_none());
}

#[test]
fn a_length_that_does_not_fit_writes_nothing() {
    let fields = InnerFields::read(&inner_v4(0, 0)).unwrap();
    for (parameters, longest) in [
        (outer_v4(), 65535 - 20),
        (OuterParameters { encapsulation: UDP, ..outer_v4() }, 65535 - 28),
        (outer_v6(), 65535),
        (OuterParameters { encapsulation: UDP, ..outer_v6() }, 65535 - 8),
    ] {
        let template = OuterTemplate::new(parameters).unwrap();
        let mut header = vec![0; template.len()];
        assert!(!template.write(&mut header, &fields, longest + 1, 1));
        assert!(header.iter().all(|byte| *byte == 0));
        assert!(template.write(&mut header, &fields, longest, 1));
    }
}

proptest! {
    /// The prepared sum and the words added per packet give the checksum of the whole header.
    #[test]
    fn headers_are_well_formed(
        source: [u8; 4],
        destination: [u8; 4],
        ttl: u8,
        tos: u8,
        esp_len in 32usize..1500,
        sequence: u64,
        df in prop_oneof![Just(DfPolicy::Copy), Just(DfPolicy::Set), Just(DfPolicy::Clear)],
        encapsulation in prop_oneof![Just(Encapsulation::None), Just(UDP)],
    ) {
        let v4_parameters = OuterParameters {
            source: IpAddr::from(source), destination: IpAddr::from(destination), ttl, df, encapsulation, ..outer_v4()
        };
        let udp_len = if encapsulation == UDP { 8 } else { 0 };
        let packet = written(v4_parameters, &inner_v4(tos, 0), esp_len, sequence);
        let header = v4(&packet);
        prop_assert!(header.checksum_ok());
        prop_assert_eq!((header.source(), header.destination()), (source.into(), destination.into()));
        prop_assert_eq!((header.ttl(), header.tos(), header.total_len()), (ttl, tos, 20 + udp_len + esp_len));
        prop_assert_eq!(header.protocol(), if udp_len == 0 { protocol::ESP } else { protocol::UDP });
        if udp_len != 0 {
            let datagram = udp::Packet::new_checked(header.payload()).unwrap();
            prop_assert_eq!((datagram.source_port(), datagram.destination_port()), (4500, 61000));
            prop_assert_eq!((datagram.len(), datagram.checksum()), (8 + esp_len, 0));
        }

        let v6_parameters = OuterParameters { ttl, df, encapsulation, ..outer_v6() };
        let packet = written(v6_parameters, &inner_v6(tos, 0), esp_len, sequence);
        let header = ipv6::Packet::new_checked(&packet[..]).unwrap();
        prop_assert_eq!((header.hop_limit(), header.traffic_class(), header.flow_label()), (ttl, tos, 0));
        prop_assert_eq!(header.total_len(), 40 + udp_len + esp_len);
        if udp_len != 0 {
            let datagram = udp::Packet::new_checked(header.payload()).unwrap();
            prop_assert!(datagram.checksum() != 0);
            prop_assert!(datagram.checksum_ok(header.source().into(), header.destination().into()));
        }
    }
}
