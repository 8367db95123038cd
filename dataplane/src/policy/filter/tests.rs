use super::facts::Facts;
use super::*;
use crate::path::packet::{Origin, Packet};
use crate::policy::flow::Ports;
use af_xdp::{Backing, FramePool, MIN_HEADROOM, Umem, UmemConfig};
use proptest::collection::vec;
use proptest::prelude::*;
use sa_table::PolicyId;
use sa_table::policy::{FilterBinding, FilterRule, IcmpCondition, Masked, PortCondition};
use sa_table::record::PortRange;
use std::net::Ipv4Addr;
use wire::{ipv4, protocol};

/// The description of a test packet.
#[derive(Clone, Copy, Debug)]
struct Sample {
    source: u32,
    destination: u32,
    protocol: u8,
    /// Ports; of ICMP the first one is type and code.
    ports: (u16, u16),
    flags: u8,
    tos: u8,
    /// Offset in units of eight octets.
    offset: u16,
    /// Octets after the IP header; 20 include all fields.
    shown: usize,
}

const SAMPLE: Sample = Sample {
    source: 0x0a01_0005,
    destination: 0x0a02_0006,
    protocol: protocol::TCP,
    ports: (4000, 80),
    flags: 0x02,
    tos: 0,
    offset: 0,
    shown: 20,
};

fn bytes(sample: &Sample) -> Vec<u8> {
    let mut upper = vec![0; 20];
    upper[..2].copy_from_slice(&sample.ports.0.to_be_bytes());
    if sample.protocol != protocol::ICMP {
        upper[2..4].copy_from_slice(&sample.ports.1.to_be_bytes());
    }
    upper[12] = 0x50;
    upper[13] = sample.flags;
    if sample.protocol == protocol::UDP {
        upper[4..6].copy_from_slice(&20u16.to_be_bytes());
    }
    upper.truncate(sample.shown);
    let header = ipv4::Header {
        tos: sample.tos,
        dont_fragment: false,
        fragment_offset: sample.offset * 8,
        ..ipv4::Header::new(
            Ipv4Addr::from_bits(sample.source),
            Ipv4Addr::from_bits(sample.destination),
            sample.protocol,
            upper.len(),
        )
    };
    let mut bytes = vec![0; 20];
    header.emit(&mut bytes).unwrap();
    bytes.extend(upper);
    bytes
}

fn memory() -> (Umem, FramePool) {
    let umem = Umem::new(UmemConfig { frames: 64, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
    let pool = umem.pool(8, 64);
    (umem, pool)
}

fn list(name: &str, rules: Vec<FilterRule>) -> policy::FilterList {
    policy::FilterList { name: name.into(), rules }
}

/// The number of the line that decides, and whether it permits.
fn decide(rules: &[FilterRule], sample: &Sample) -> (Option<u32>, bool) {
    let published = policy::Filters { lists: vec![list("120", rules.to_vec())], bindings: Vec::new() };
    let filters = Filters::compile(&published, &[], 1, &Filters::default());
    let (_umem, mut pool) = memory();
    let mut frame = pool.take().unwrap();
    frame.append(&bytes(sample)).unwrap();
    let packet = Packet::from_ip(frame, Origin::Punt).unwrap();
    let ruling = filters.ruling(0, &packet.ip, packet.frame.bytes());
    let sequence = ruling.line.map(|line| rules[line as usize].sequence);
    pool.put(packet.frame);
    (sequence, ruling.permit)
}

fn permit(sequence: u32) -> FilterRule {
    FilterRule { sequence, ..FilterRule::PERMIT_ANY }
}

fn deny_line(sequence: u32) -> FilterRule {
    FilterRule { sequence, permit: false, ..FilterRule::PERMIT_ANY }
}

fn port(number: u16) -> PortCondition {
    PortCondition { range: PortRange::single(number), inverted: false }
}

fn tcp_to(sequence: u32, permit: bool, number: u16) -> FilterRule {
    FilterRule {
        sequence,
        permit,
        protocol: Some(protocol::TCP),
        destination_ports: port(number),
        ..FilterRule::PERMIT_ANY
    }
}

#[test]
fn the_first_match_decides_and_the_end_denies() {
    let rules = [tcp_to(10, false, 80), tcp_to(20, true, 80), tcp_to(30, true, 443)];
    let to = |number| Sample { ports: (4000, number), ..SAMPLE };
    assert_eq!(decide(&rules, &to(80)), (Some(10), false));
    assert_eq!(decide(&rules, &to(443)), (Some(30), true));
    assert_eq!(decide(&rules, &to(25)), (None, false));
    assert_eq!(decide(&[], &SAMPLE), (None, false));
}

#[test]
fn a_wildcard_with_holes_compares_the_bits_of_its_mask() {
    let odd_networks = Masked { value: 0x0a01_0000, mask: 0xff01_ff00 };
    let rules = [FilterRule { source: odd_networks, ..permit(10) }];
    let from = |source| decide(&rules, &Sample { source, ..SAMPLE }).1;
    assert!(from(0x0a01_0005) && from(0x0a07_00ff));
    assert!(!from(0x0a02_0005) && !from(0x0a01_0105) && !from(0x0b01_0005));
}

#[test]
fn established_means_ack_or_rst() {
    let rules =
        [FilterRule { protocol: Some(protocol::TCP), established: true, ..permit(10) }, deny_line(20)];
    let with = |flags| decide(&rules, &Sample { flags, ..SAMPLE });
    assert_eq!((with(0x10), with(0x04), with(0x12)), ((Some(10), true), (Some(10), true), (Some(10), true)));
    assert_eq!((with(0x02), with(0x01)), ((Some(20), false), (Some(20), false)));
}

#[test]
fn icmp_type_code_and_service_class_are_compared() {
    let echo = IcmpCondition { kind: 8, code: None };
    let port_unreachable = IcmpCondition { kind: 3, code: Some(3) };
    let icmp = |sequence, condition| FilterRule {
        protocol: Some(protocol::ICMP),
        icmp: Some(condition),
        ..permit(sequence)
    };
    let rules = [icmp(10, echo), icmp(20, port_unreachable)];
    let message = |kind: u8, code| Sample {
        protocol: protocol::ICMP,
        ports: (u16::from_be_bytes([kind, code]), 0),
        ..SAMPLE
    };
    assert_eq!(decide(&rules, &message(8, 0)), (Some(10), true));
    assert_eq!(decide(&rules, &message(3, 3)), (Some(20), true));
    assert_eq!(decide(&rules, &message(3, 1)), (None, false));
    let expedited = [FilterRule { service: Masked { value: 46 << 2, mask: 0xfc }, ..permit(10) }];
    assert!(decide(&expedited, &Sample { tos: 46 << 2 | 1, ..SAMPLE }).1);
    assert!(!decide(&expedited, &Sample { tos: 45 << 2, ..SAMPLE }).1);
}

#[test]
fn later_fragments_match_permits_by_address_and_pass_denies_by_port() {
    let later = Sample { offset: 100, ..SAMPLE };
    assert_eq!(decide(&[tcp_to(10, true, 443)], &later), (Some(10), true), "a permit of another port");
    assert_eq!(decide(&[tcp_to(10, false, 80), permit(20)], &later), (Some(20), true));
    assert_eq!(decide(&[deny_line(10), permit(20)], &later), (Some(10), false), "a deny without ports");
    let fragments = FilterRule { fragments: true, ..deny_line(10) };
    assert_eq!(decide(&[fragments, permit(20)], &later), (Some(10), false));
    assert_eq!(decide(&[fragments, permit(20)], &SAMPLE), (Some(20), true));
    let other = Sample { protocol: protocol::UDP, ..later };
    assert_eq!(decide(&[tcp_to(10, true, 443)], &other), (None, false), "the protocol counts");
}

#[test]
fn what_a_cut_off_packet_does_not_show_is_not_permitted() {
    let cut = Sample { shown: 2, ..SAMPLE };
    assert_eq!(decide(&[tcp_to(10, true, 80)], &cut), (None, false));
    assert_eq!(decide(&[tcp_to(10, false, 443), permit(20)], &cut), (Some(10), false));
    let without_flags = Sample { shown: 8, flags: 0x10, ..SAMPLE };
    let established = FilterRule { protocol: Some(protocol::TCP), established: true, ..permit(10) };
    assert_eq!(decide(&[established], &without_flags), (None, false));
}

#[test]
fn a_list_that_is_not_there_denies_and_ipv6_is_no_subject() {
    let filters = Filters::default();
    let (_umem, mut pool) = memory();
    let mut packet = |bytes: &[u8]| {
        let mut frame = pool.take().unwrap();
        frame.append(bytes).unwrap();
        Packet::from_ip(frame, Origin::Punt).unwrap()
    };
    let ruling = |packet: Packet| filters.ruling(3, &packet.ip, packet.frame.bytes());
    assert!(!ruling(packet(&bytes(&SAMPLE))).permit);
    let v6 = crate::lab::packet("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), 100);
    assert!(ruling(packet(&v6)).permit);
}

#[test]
fn lists_are_found_by_place_and_direction() {
    let binding = |point, direction, list| FilterBinding { point, direction, list };
    let published = policy::Filters {
        lists: vec![list("120", Vec::new()), list("121", Vec::new())],
        bindings: vec![
            binding(FilterPoint::Port(9), Direction::Inbound, 1),
            binding(FilterPoint::Port(8), Direction::Inbound, 1),
            binding(FilterPoint::Policy(PolicyId(5)), Direction::Outbound, 0),
        ],
    };
    let filters = Filters::compile(&published, &[(3, 9), (8, 7)], 1, &Filters::default());
    assert_eq!(filters.at(FilterPoint::Port(3), Direction::Inbound), Some(1), "the port of record 9");
    assert_eq!(filters.at(FilterPoint::Port(8), Direction::Inbound), None, "record 8 has no port");
    assert_eq!((filters.record(3), filters.record(9)), (Some(9), None));
    assert_eq!(filters.at(FilterPoint::Port(3), Direction::Outbound), None);
    assert_eq!(filters.at(FilterPoint::Port(2), Direction::Inbound), None);
    assert_eq!(filters.at(FilterPoint::Policy(PolicyId(5)), Direction::Outbound), Some(0));
    assert_eq!(filters.at(FilterPoint::Policy(PolicyId(9)), Direction::Outbound), None);
    assert!(!filters.is_empty() && Filters::default().is_empty());
}

#[test]
fn lines_that_stay_go_on_counting_whatever_happens_to_the_others() {
    let one = |rules| policy::Filters { lists: vec![list("120", rules)], bindings: Vec::new() };
    let hit = |filters: &Filters, line, worker| {
        let ruling = Ruling { list: 0, line: Some(line), permit: true };
        filters.count(ruling, WorkerId(worker));
    };
    let matches = |filters: &Filters| -> Vec<(String, u32, u64)> {
        filters.matches().map(|(list, line, count)| (list.to_owned(), line, count)).collect()
    };
    let first = Filters::compile(&one(vec![permit(10), deny_line(20)]), &[], 2, &Filters::default());
    hit(&first, 0, 0);
    hit(&first, 0, 1);
    hit(&first, 1, 1);
    assert_eq!(matches(&first), [("120".into(), 10, 2), ("120".into(), 20, 1)]);
    let second = Filters::compile(&one(vec![tcp_to(5, true, 80), permit(10)]), &[], 2, &first);
    hit(&second, 1, 0);
    assert_eq!(matches(&second), [("120".into(), 10, 3)]);
    let unchanged = Filters::compile(&one(vec![tcp_to(5, true, 80), permit(10)]), &[], 2, &second);
    hit(&second, 1, 0);
    assert_eq!(
        matches(&unchanged),
        [("120".into(), 10, 4)],
        "workers that still use the old policy count here"
    );
    let more_workers = Filters::compile(&one(vec![permit(10)]), &[], 5, &unchanged);
    hit(&more_workers, 0, 4);
    assert_eq!(matches(&more_workers), [("120".into(), 10, 5)]);
}

#[test]
fn a_verdict_holds_for_its_list_its_packets_and_its_publication() {
    let facts = Facts {
        source: 1,
        destination: 2,
        protocol: protocol::TCP,
        ports: Ports::Known { source: 3, destination: 4 },
        service: 0,
        later_fragment: false,
        established: Some(false),
    };
    let ruling = Ruling { list: 7, line: Some(2), permit: true };
    // One cache entry, so that a wrong hit would be found.
    let mut verdicts = Verdicts::new(1);
    verdicts.insert(PolicyVersion(3), facts, ruling);
    assert_eq!(verdicts.get(PolicyVersion(3), 7, &facts), Some(ruling));
    assert_eq!(verdicts.get(PolicyVersion(4), 7, &facts), None);
    assert_eq!(verdicts.get(PolicyVersion(3), 8, &facts), None);
    for other in [
        Facts { source: 9, ..facts },
        Facts { ports: Ports::Hidden, ..facts },
        Facts { service: 4, ..facts },
        Facts { later_fragment: true, ..facts },
        Facts { established: Some(true), ..facts },
        Facts { established: None, ..facts },
    ] {
        assert_eq!(verdicts.get(PolicyVersion(3), 7, &other), None, "{other:?}");
    }
}

fn arbitrary_rule() -> impl Strategy<Value = FilterRule> {
    // Few values, so that lines match often enough.
    let address =
        || (0u32..4, 0u32..4).prop_map(|(value, mask)| Masked { value: value << 8, mask: mask << 8 });
    let ports = || {
        (0u16..4, 0u16..4, any::<bool>(), any::<bool>()).prop_map(|(a, b, inverted, any)| {
            let range = PortRange { first: a.min(b), last: a.max(b) };
            if any { PortCondition::ANY } else { PortCondition { range, inverted } }
        })
    };
    let protocol = prop::option::of(prop_oneof![Just(6u8), Just(17), Just(1), Just(47)]);
    ((any::<bool>(), protocol, any::<bool>(), any::<bool>(), 0u8..3), address(), address(), ports(), ports())
        .prop_map(|(plain, source, destination, source_ports, destination_ports)| {
            let (permit, protocol, established, fragments, service) = plain;
            let has_ports = matches!(protocol, Some(6 | 17));
            FilterRule {
                permit,
                protocol,
                source,
                destination,
                source_ports: if has_ports { source_ports } else { PortCondition::ANY },
                destination_ports: if has_ports { destination_ports } else { PortCondition::ANY },
                icmp: (protocol == Some(1) && established)
                    .then_some(IcmpCondition { kind: 0, code: Some(1) }),
                established: established && protocol == Some(6),
                fragments: fragments && !has_ports && protocol != Some(1),
                service: Masked { value: service << 5, mask: if service == 0 { 0 } else { 0xe0 } },
                ..FilterRule::PERMIT_ANY
            }
        })
}

fn arbitrary_sample() -> impl Strategy<Value = Sample> {
    let protocol = prop_oneof![Just(6u8), Just(17), Just(1), Just(47)];
    let flags = prop_oneof![Just(0x02u8), Just(0x10), Just(0x04)];
    (0u32..4, 0u32..4, protocol, (0u16..4, 0u16..4), flags, 0u8..4, 0u16..2).prop_map(
        |(source, destination, protocol, ports, flags, service, offset)| Sample {
            source: source << 8,
            destination: destination << 8,
            protocol,
            ports,
            flags,
            tos: service << 5,
            offset,
            shown: 20,
        },
    )
}

/// The specification: line by line, without index.
fn reference(rules: &[FilterRule], sample: &Sample) -> (Option<usize>, bool) {
    for (line, rule) in rules.iter().enumerate() {
        let mut network = rule.protocol.is_none_or(|wanted| wanted == sample.protocol);
        for bit in 0..32 {
            let differs = |one: u32, other: u32| (one >> bit) & 1 != (other >> bit) & 1;
            network &= (rule.source.mask >> bit) & 1 == 0 || !differs(rule.source.value, sample.source);
            network &= (rule.destination.mask >> bit) & 1 == 0
                || !differs(rule.destination.value, sample.destination);
        }
        network &= rule.service.mask == 0 || rule.service.value == sample.tos;
        let mut upper = Vec::new();
        if rule.source_ports != PortCondition::ANY {
            let range = rule.source_ports.range.first..=rule.source_ports.range.last;
            upper.push(range.contains(&sample.ports.0) != rule.source_ports.inverted);
        }
        if rule.destination_ports != PortCondition::ANY {
            let range = rule.destination_ports.range.first..=rule.destination_ports.range.last;
            upper.push(range.contains(&sample.ports.1) != rule.destination_ports.inverted);
        }
        if rule.icmp.is_some() {
            upper.push(sample.ports.0 == 1);
        }
        if rule.established {
            upper.push(sample.flags != 0x02);
        }
        let later = sample.offset != 0;
        let matches = match (later, rule.fragments) {
            (false, true) => false,
            (true, true) => network,
            (true, false) if upper.is_empty() => network,
            (true, false) => network && rule.permit,
            (false, false) => network && upper.iter().all(|one| *one),
        };
        if matches {
            return (Some(line), rule.permit);
        }
    }
    (None, false)
}

proptest! {
    #[test]
    fn a_list_of_any_length_decides_like_its_definition(
        rules in vec(arbitrary_rule(), 0..40),
        samples in vec(arbitrary_sample(), 1..20),
    ) {
        let numbered: Vec<FilterRule> =
            (0..).zip(&rules).map(|(sequence, rule)| FilterRule { sequence, ..*rule }).collect();
        let published = policy::Filters { lists: vec![list("120", numbered.clone())], bindings: Vec::new() };
        let filters = Filters::compile(&published, &[], 1, &Filters::default());
        let (_umem, mut pool) = memory();
        let mut verdicts = Verdicts::new(4);
        for sample in samples.iter().chain(&samples) {
            let (line, permit) = reference(&numbered, sample);
            let mut frame = pool.take().unwrap();
            frame.append(&bytes(sample)).unwrap();
            let packet = Packet::from_ip(frame, Origin::Punt).unwrap();
            let expected = Ruling { list: 0, line: line.map(|line| line as u32), permit };
            prop_assert_eq!(filters.ruling(0, &packet.ip, packet.frame.bytes()), expected, "{:?}", sample);
            let remembered = filters.remembered_ruling(0, &packet.ip, packet.frame.bytes(), PolicyVersion(1), &mut verdicts);
            prop_assert_eq!(remembered, expected, "{:?}", sample);
            pool.put(packet.frame);
        }
    }
}
