//! Shared by the unit tests: SAs, inner packets, frames, and a peer that seals arbitrary plaintext.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{ipv4, ipv6, protocol};

use crate::aead::{Aad, AeadBurst, AeadJob};
use crate::{
    AeadBackend, EspAlgorithm, InboundParameters, InboundSa, LocalReplayStore, Mode, OpenError, OpenJob,
    Opened, OutboundParameters, OutboundSa, OuterParameters, SequenceNumber, SequenceRange, open,
};

pub(crate) const SPI: u32 = 0xc0de_1234;
pub(crate) const SALT: [u8; 4] = [9, 8, 7, 6];
/// Bytes in front of and behind a packet in a test frame.
pub(crate) const ROOM: usize = 96;

pub(crate) fn key(algorithm: EspAlgorithm) -> Vec<u8> {
    (0x40..).take(algorithm.key_len()).collect()
}

pub(crate) fn outer_v4() -> OuterParameters {
    OuterParameters::new(Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(198, 51, 100, 2).into())
}

pub(crate) fn outer_v6() -> OuterParameters {
    OuterParameters::new(
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
    )
}

pub(crate) fn outbound(
    backend: AeadBackend,
    algorithm: EspAlgorithm,
    extended: bool,
    outer: OuterParameters,
) -> OutboundSa {
    OutboundSa::new(
        backend,
        &OutboundParameters {
            spi: SPI,
            algorithm,
            key: &key(algorithm),
            salt: SALT,
            extended_sequence: extended,
            mode: Mode::Tunnel,
            iv_key: [0x17; 16],
            outer,
        },
    )
    .unwrap()
}

pub(crate) fn inbound(
    backend: AeadBackend,
    algorithm: EspAlgorithm,
    extended: bool,
    window: u32,
) -> InboundSa {
    InboundSa::new(
        backend,
        &InboundParameters {
            spi: SPI,
            algorithm,
            key: &key(algorithm),
            salt: SALT,
            extended_sequence: extended,
            replay_window: window,
            mode: Mode::Tunnel,
        },
    )
    .unwrap()
}

pub(crate) fn number(value: u64) -> SequenceNumber {
    SequenceRange::from_reserved(value, 1).unwrap().next().unwrap()
}

/// An IPv4 packet with this TOS byte, `payload_len` bytes behind its header.
pub(crate) fn inner_v4(tos: u8, payload_len: usize) -> Vec<u8> {
    let header = ipv4::Header {
        tos,
        ..ipv4::Header::new(Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 2), 253, payload_len)
    };
    let mut packet: Vec<u8> = (0..20 + payload_len).map(|byte| byte as u8).collect();
    header.emit(&mut packet).unwrap();
    packet
}

/// An IPv6 packet with this traffic class, `payload_len` bytes behind its header.
pub(crate) fn inner_v6(traffic_class: u8, payload_len: usize) -> Vec<u8> {
    let header = ipv6::Header {
        traffic_class,
        ..ipv6::Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, protocol::NO_NEXT_HEADER, payload_len)
    };
    let mut packet: Vec<u8> = (0..40 + payload_len).map(|byte| byte as u8).collect();
    header.emit(&mut packet).unwrap();
    packet
}

/// A frame with `packet` at [`ROOM`].
pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; packet.len() + 2 * ROOM];
    frame[ROOM..ROOM + packet.len()].copy_from_slice(packet);
    frame
}

/// An authentic ESP packet around any plaintext (payload, padding, pad length, next header),
/// including ones that no valid sender builds.
pub(crate) fn forge(sequence: u64, extended: bool, plaintext: &[u8]) -> Vec<u8> {
    let backend = AeadBackend::AesGcm;
    let key = backend.expand(EspAlgorithm::AesGcm128, &key(EspAlgorithm::AesGcm128)).unwrap();
    let iv = sequence.to_be_bytes();
    let aad = if extended { Aad::new_extended(SPI, sequence) } else { Aad::new(SPI, sequence as u32) };
    let mut data = plaintext.to_vec();
    let mut tag = [0; 16];
    let mut burst = AeadBurst::new();
    let nonce = crate::sa::nonce(&SALT, iv);
    let ticket = burst.push(AeadJob { key: &key, nonce, aad: &aad, data: &mut data, tag: &mut tag }).unwrap();
    assert!(burst.seal(backend).is_good(ticket));
    [&SPI.to_be_bytes()[..], &(sequence as u32).to_be_bytes(), &iv, &data, &tag].concat()
}

/// Opens one ESP packet; on success also gives the inner packet's bytes.
pub(crate) fn open_one(
    sa: &InboundSa,
    replay: &LocalReplayStore,
    packet: &[u8],
    outer_ecn: u8,
) -> Result<(Opened, Vec<u8>), OpenError> {
    let mut frame = frame(packet);
    let mut jobs = [OpenJob::new(sa, replay, &mut frame, ROOM, packet.len(), outer_ecn)];
    open(AeadBackend::AesGcm, &mut jobs);
    let opened = jobs[0].outcome().clone()?;
    let inner = frame[opened.inner.clone()].to_vec();
    Ok((opened, inner))
}
