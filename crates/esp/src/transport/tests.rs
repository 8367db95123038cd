use std::net::Ipv4Addr;

use super::*;
use crate::testing::{ROOM, SALT, SPI, frame, inner_v4, key, number, outer_v4};
use crate::{
    AeadBackend, Encapsulation, EspAlgorithm, Hmac, InboundParameters, InboundSa, LocalReplayStore, Mode,
    OpenError, OpenJob, OutboundParameters, OutboundSa, OuterParameters, SealError, SealJob, Sealed, open,
    seal,
};

const ALGORITHM: EspAlgorithm = EspAlgorithm::AesCbc128(Hmac::Sha256_128);

fn outbound(outer: OuterParameters) -> OutboundSa {
    let parameters = OutboundParameters {
        spi: SPI,
        algorithm: ALGORITHM,
        key: &key(ALGORITHM),
        salt: SALT,
        extended_sequence: true,
        mode: Mode::Transport,
        iv_key: [3; 16],
        outer,
    };
    OutboundSa::new(AeadBackend::AesGcm, &parameters).unwrap()
}

fn inbound() -> InboundSa {
    let parameters = InboundParameters {
        spi: SPI,
        algorithm: ALGORITHM,
        key: &key(ALGORITHM),
        salt: SALT,
        extended_sequence: true,
        replay_window: 64,
        mode: Mode::Transport,
    };
    InboundSa::new(AeadBackend::AesGcm, &parameters).unwrap()
}

fn sealed(sa: &OutboundSa, packet: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut frame = frame(packet);
    let mut jobs = [SealJob::new(sa, number(1), &mut frame, ROOM, packet.len())];
    seal(AeadBackend::AesGcm, &mut jobs);
    let Sealed { offset, len } = jobs[0].outcome()?;
    Ok(frame[offset..offset + len].to_vec())
}

fn opened(packet: &[u8], esp_at: usize) -> Result<Vec<u8>, OpenError> {
    let (sa, replay) = (inbound(), LocalReplayStore::new());
    let mut frame = frame(packet);
    let job = OpenJob::new(&sa, &replay, &mut frame, ROOM + esp_at, packet.len() - esp_at, 0);
    let mut jobs = [job.behind_header_at(ROOM)];
    open(AeadBackend::AesGcm, &mut jobs);
    let opened = jobs[0].outcome().clone()?;
    Ok(frame[opened.inner].to_vec())
}

#[test]
fn the_ip_header_stays_in_front_and_says_esp() {
    let inner = inner_v4(0xb9, 30);
    let outer = sealed(&outbound(outer_v4()), &inner).unwrap();
    let header = ipv4::Packet::new_checked(&outer[..]).unwrap();
    assert_eq!((header.protocol(), header.total_len(), header.tos()), (protocol::ESP, outer.len(), 0xb9));
    assert!(header.checksum_ok());
    assert_eq!(outer[12..20], inner[12..20], "the addresses are the packet's own");
    assert_eq!(outer[20..24], SPI.to_be_bytes());
    assert_eq!(opened(&outer, 20), Ok(inner));
}

#[test]
fn options_stay_with_the_header() {
    let mut inner = inner_v4(0, 40);
    // Four bytes of padding options: the first of the payload become header.
    inner[0] = 0x46;
    inner[20..24].fill(0);
    inner[10..12].fill(0);
    let sum = checksum::internet(&inner[..24]);
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
    let outer = sealed(&outbound(outer_v4()), &inner).unwrap();
    assert_eq!((outer[0], &outer[20..24]), (0x46, &[0; 4][..]));
    assert_eq!(opened(&outer, 24), Ok(inner));
}

#[test]
fn fragments_and_half_packets_are_refused() {
    let sa = outbound(outer_v4());
    for field in [0x2000u16, 0x0001] {
        let mut fragment = inner_v4(0, 40);
        fragment[6..8].copy_from_slice(&field.to_be_bytes());
        assert_eq!(sealed(&sa, &fragment), Err(SealError::Fragment), "{field:#x}");
    }
    let inner = inner_v4(0, 40);
    assert_eq!(sealed(&sa, &inner[..50]), Err(SealError::BadInner));
    let longer = [&inner[..], &[0; 4]].concat();
    assert_eq!(sealed(&sa, &longer), Err(SealError::BadInner));
}

#[test]
fn without_its_header_a_packet_is_not_opened() {
    let inner = inner_v4(0, 30);
    let packet = sealed(&outbound(outer_v4()), &inner).unwrap();
    let (sa, replay) = (inbound(), LocalReplayStore::new());
    let mut bytes = packet.clone();
    let mut jobs = [OpenJob::new(&sa, &replay, &mut bytes, 20, packet.len() - 20, 0)];
    open(AeadBackend::AesGcm, &mut jobs);
    assert_eq!(jobs[0].outcome(), &Err(OpenError::BadInner));
}

/// RFC 3948 §3.1.2: behind a NAT the addresses are others than those that the sender computed the
/// checksum with.
#[test]
fn checksums_are_right_behind_a_nat() {
    let (source, destination) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 2));
    let nat = Ipv4Addr::new(203, 0, 113, 9);
    let udp_packet = |with_checksum: bool| {
        let mut datagram = vec![7; udp::HEADER_LEN + 21];
        let header = udp::Header { source_port: 1, destination_port: 2, payload_len: 21 };
        header.emit_with_checksum(&mut datagram, source.into(), destination.into()).unwrap();
        if !with_checksum {
            datagram[6..8].fill(0);
        }
        (protocol::UDP, datagram)
    };
    let tcp_packet = || {
        let mut segment: Vec<u8> = (0..47).collect();
        segment[12] = 0x50;
        segment[16..18].fill(0);
        let sum = checksum::pseudo_header_v4(source, destination, protocol::TCP, 47).bytes(&segment);
        segment[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
        (protocol::TCP, segment)
    };
    for (carried, payload) in [udp_packet(true), udp_packet(false), tcp_packet()] {
        let mut inner = vec![0; 20];
        ipv4::Header::new(source, destination, carried, payload.len()).emit(&mut inner).unwrap();
        inner.extend_from_slice(&payload);
        let sa = outbound(OuterParameters { encapsulation: Encapsulation::UDP_4500, ..outer_v4() });
        let mut packet = sealed(&sa, &inner).unwrap();
        assert_eq!((packet[9], &packet[20..24]), (protocol::UDP, &[0x11, 0x94, 0x11, 0x94][..]));
        packet[12..16].copy_from_slice(&nat.octets());
        let opened = opened(&packet, 28).unwrap();
        let ip = ipv4::Packet::new_checked(&opened[..]).unwrap();
        assert!(ip.checksum_ok());
        assert_eq!((ip.source(), ip.protocol()), (nat, carried));
        let none = carried == protocol::UDP && payload[6..8] == [0, 0];
        if none {
            assert_eq!(ip.payload(), payload);
        } else {
            let pseudo = checksum::pseudo_header_v4(nat, destination, carried, payload.len() as u16);
            assert_eq!(pseudo.bytes(ip.payload()).checksum(), 0);
        }
    }
}
