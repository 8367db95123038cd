//! Packets sealed by one side are opened by the other, for every length, IP version, algorithm,
//! backend and encapsulation.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use std::net::{Ipv4Addr, Ipv6Addr};

use esp::{
    AeadBackend, Encapsulation, EspAlgorithm, InboundParameters, InboundSa, LocalReplayStore, Mode, OpenJob,
    OutboundParameters, OutboundSa, OuterParameters, SealJob, SequenceCounter, SequenceSource, open, seal,
};
use proptest::prelude::*;
use wire::{esp as esp_header, ipv4, ipv6, parse, protocol, udp};

const SPI: u32 = 0x8000_0001;

struct Tunnel {
    backend: AeadBackend,
    outbound: OutboundSa,
    inbound: InboundSa,
    replay: LocalReplayStore,
    counter: SequenceCounter,
}

impl Tunnel {
    fn new(
        backend: AeadBackend,
        algorithm: EspAlgorithm,
        extended: bool,
        outer: OuterParameters,
        last: u64,
        mode: Mode,
    ) -> Self {
        let key: Vec<u8> = (7..).take(algorithm.key_len()).collect();
        let outbound = OutboundSa::new(
            backend,
            &OutboundParameters {
                spi: SPI,
                algorithm,
                key: &key,
                salt: [1, 2, 3, 4],
                extended_sequence: extended,
                mode,
                iv_key: [0x17; 16],
                outer,
            },
        )
        .unwrap();
        let inbound = InboundSa::new(
            backend,
            &InboundParameters {
                spi: SPI,
                algorithm,
                key: &key,
                salt: [1, 2, 3, 4],
                extended_sequence: extended,
                replay_window: 64,
                mode,
            },
        )
        .unwrap();
        let replay = LocalReplayStore::new();
        esp::ReplayStore::set_top(&replay, last);
        Self { backend, outbound, inbound, replay, counter: SequenceCounter::resume_after(last) }
    }

    /// Seals a packet, finds the ESP packet in it as a receiver does, opens that.
    fn carry(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; esp::MAX_HEADROOM + inner.len() + esp::MAX_TAILROOM];
        frame[esp::MAX_HEADROOM..esp::MAX_HEADROOM + inner.len()].copy_from_slice(inner);
        let number = self.counter.draw(1, self.outbound.sequence_limit()).unwrap().next().unwrap();
        let mut jobs = [SealJob::new(&self.outbound, number, &mut frame, esp::MAX_HEADROOM, inner.len())];
        seal(self.backend, &mut jobs);
        let sealed = jobs[0].outcome().unwrap();
        assert_eq!(sealed.len, self.outbound.sealed_len(inner.len()));

        let outer = parse::ip_at(&frame[..sealed.offset + sealed.len], sealed.offset).unwrap();
        assert_eq!(outer.total_len as usize, sealed.len);
        assert_eq!(
            (outer.source, outer.destination),
            (self.outbound.outer().source, self.outbound.outer().destination)
        );
        let mut offset = sealed.offset + usize::from(outer.header_len);
        if self.outbound.outer().encapsulation == Encapsulation::None {
            assert_eq!(outer.protocol, protocol::ESP);
        } else {
            let datagram = udp::Packet::new_checked(&frame[offset..sealed.offset + sealed.len]).unwrap();
            assert!(datagram.checksum_ok(outer.source, outer.destination));
            assert_eq!(esp_header::UdpPayload::classify(datagram.payload()), esp_header::UdpPayload::Esp);
            offset += udp::HEADER_LEN;
        }
        let len = sealed.offset + sealed.len - offset;
        assert_eq!(len % 4, 0);
        let job = OpenJob::new(&self.inbound, &self.replay, &mut frame, offset, len, outer.ecn());
        let mut jobs = [job.behind_header_at(sealed.offset)];
        open(self.backend, &mut jobs);
        let opened = jobs[0].outcome().clone().unwrap();
        assert_eq!(opened.sequence, self.counter.last());
        frame[opened.inner].to_vec()
    }
}

fn inner(v6: bool, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    let header_len = if v6 {
        let header = ipv6::Header {
            traffic_class,
            ..ipv6::Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, protocol::UDP, payload.len())
        };
        header.emit(&mut packet).unwrap()
    } else {
        let header = ipv4::Header {
            tos: traffic_class,
            ..ipv4::Header::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, protocol::UDP, payload.len())
        };
        header.emit(&mut packet).unwrap()
    };
    packet.truncate(header_len);
    packet.extend_from_slice(payload);
    packet
}

fn outer(v6: bool, encapsulation: Encapsulation) -> OuterParameters {
    let (source, destination) = if v6 {
        (
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
        )
    } else {
        (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into())
    };
    OuterParameters { encapsulation, ..OuterParameters::new(source, destination) }
}

#[test]
fn every_payload_length_survives_every_backend() {
    let payload: Vec<u8> = (0..9000).map(|byte| byte as u8).collect();
    for backend in AeadBackend::available() {
        for algorithm in EspAlgorithm::ALL {
            let mut tunnel =
                Tunnel::new(backend, algorithm, true, outer(false, Encapsulation::None), 0, Mode::Tunnel);
            for len in (0..300).chain([511, 512, 1399, 1400, 1500, 8960]) {
                let packet = inner(len % 2 == 0, 0, &payload[..len]);
                assert_eq!(tunnel.carry(&packet), packet, "{} {algorithm:?} {len}", backend.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_sealed_is_opened(
        algorithm in prop::sample::select(&EspAlgorithm::ALL[..]),
        backend in any::<prop::sample::Index>(),
        inner_v6: bool,
        outer_v6: bool,
        extended: bool,
        encapsulation in prop_oneof![
            Just(Encapsulation::None),
            any::<(u16, u16)>().prop_map(|(local_port, remote_port)| Encapsulation::Udp { local_port, remote_port }),
        ],
        traffic_class: u8,
        last in prop_oneof![Just(0u64), (1u64 << 32) - 3..(1 << 32) + 3, any::<u64>().prop_map(|last| last >> 1)],
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1500), 1..6),
    ) {
        let backends: Vec<_> = AeadBackend::available().collect();
        let last = if extended { last } else { last % (1 << 31) };
        let mut tunnel = Tunnel::new(
            backends[backend.index(backends.len())],
            algorithm,
            extended,
            outer(outer_v6, encapsulation),
            last,
            Mode::Tunnel,
        );
        for payload in payloads {
            let packet = inner(inner_v6, traffic_class, &payload);
            prop_assert_eq!(tunnel.carry(&packet), packet);
        }
    }

    #[test]
    fn what_is_sealed_in_transport_mode_is_opened(
        algorithm in prop::sample::select(&EspAlgorithm::ALL[..]),
        backend in any::<prop::sample::Index>(),
        v6: bool,
        extended: bool,
        udp: bool,
        traffic_class: u8,
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1500), 1..6),
    ) {
        let backends: Vec<_> = AeadBackend::available().collect();
        let encapsulation = if udp { Encapsulation::UDP_4500 } else { Encapsulation::None };
        let outer = outer(v6, encapsulation);
        let backend = backends[backend.index(backends.len())];
        let mut tunnel = Tunnel::new(backend, algorithm, extended, outer, 0, Mode::Transport);
        for payload in payloads {
            let packet = between(outer, traffic_class, &payload);
            prop_assert_eq!(tunnel.carry(&packet), packet);
        }
    }
}

/// A UDP packet between the endpoints of an SA in transport mode, checksum and all.
fn between(outer: OuterParameters, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; udp::HEADER_LEN];
    datagram.extend_from_slice(payload);
    let header = udp::Header { source_port: 1000, destination_port: 2000, payload_len: payload.len() };
    header.emit_with_checksum(&mut datagram, outer.source, outer.destination).unwrap();
    let mut packet = vec![0; 40];
    let header_len = match (outer.source, outer.destination) {
        (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => {
            let plain = ipv4::Header::new(source, destination, protocol::UDP, datagram.len());
            ipv4::Header { tos: traffic_class, ..plain }.emit(&mut packet).unwrap()
        }
        (std::net::IpAddr::V6(source), std::net::IpAddr::V6(destination)) => {
            let plain = ipv6::Header::new(source, destination, protocol::UDP, datagram.len());
            ipv6::Header { traffic_class, ..plain }.emit(&mut packet).unwrap()
        }
        _ => panic!("addresses of two families"),
    };
    packet.truncate(header_len);
    packet.extend_from_slice(&datagram);
    packet
}
