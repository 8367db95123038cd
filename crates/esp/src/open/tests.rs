use super::*;
use crate::testing::{
    ROOM, forge, frame, inbound, inner_v4, inner_v6, number, open_one, outbound, outer_v4, outer_v6,
};
use crate::{BURST, EspAlgorithm, LocalReplayStore, OutboundSa, SealJob, seal};

fn sa(extended: bool) -> InboundSa {
    inbound(AeadBackend::AesGcm, EspAlgorithm::AesGcm128, extended, 64)
}

/// An inner packet with padding 1, 2, ..., pad length and next header behind it.
fn with_trailer(inner: &[u8], pad_len: u8, next_header: u8) -> Vec<u8> {
    let mut plaintext = inner.to_vec();
    plaintext.extend(1..=pad_len);
    plaintext.extend([pad_len, next_header]);
    plaintext
}

/// The ESP packet that `sa` makes of `inner`.
fn sealed(sa: &OutboundSa, sequence: u64, inner: &[u8]) -> Vec<u8> {
    let mut frame = frame(inner);
    let mut jobs = [SealJob::new(sa, number(sequence), &mut frame, ROOM, inner.len())];
    seal(AeadBackend::AesGcm, &mut jobs);
    let place = jobs[0].outcome().unwrap();
    frame[place.offset..place.offset + place.len][sa.outer.len()..].to_vec()
}

#[test]
fn before_opening_a_job_reports_failure() {
    let (sa, replay) = (sa(false), LocalReplayStore::new());
    let mut frame = forge(1, false, &with_trailer(&inner_v4(0, 2), 0, 4));
    let len = frame.len();
    assert!(OpenJob::new(&sa, &replay, &mut frame, 0, len, 0).outcome().is_err());
}

#[test]
fn a_packet_opens_once() {
    let (sa, replay) = (sa(false), LocalReplayStore::new());
    let inner = inner_v4(0xb8, 10);
    let packet = forge(7, false, &with_trailer(&inner, 0, 4));
    let (opened, bytes) = open_one(&sa, &replay, &packet, 0).unwrap();
    assert_eq!((opened.next_header, opened.sequence, bytes), (protocol::IPV4, 7, inner));
    assert_eq!(open_one(&sa, &replay, &packet, 0), Err(OpenError::Replayed));
}

#[test]
fn truncated_packets_are_refused_before_anything_else() {
    let (sa, replay) = (sa(false), LocalReplayStore::new());
    let packet = forge(1, false, &with_trailer(&[], 0, 59));
    assert_eq!(packet.len(), 34);
    for len in 0..packet.len() {
        assert_eq!(open_one(&sa, &replay, &packet[..len], 0), Err(OpenError::Truncated), "{len}");
    }
    assert_eq!(open_one(&sa, &replay, &packet, 0), Err(OpenError::Dummy));

    let mut frame = packet.clone();
    for (offset, len) in [(1, packet.len()), (usize::MAX, 34), (0, usize::MAX), (100, 34)] {
        let mut jobs = [OpenJob::new(&sa, &replay, &mut frame, offset, len, 0)];
        open(AeadBackend::AesGcm, &mut jobs);
        assert_eq!(jobs[0].outcome(), &Err(OpenError::Truncated));
    }
}

#[test]
fn another_spi_and_impossible_numbers_are_refused() {
    let plaintext = with_trailer(&inner_v4(0, 2), 0, 4);
    let replay = LocalReplayStore::new();
    let mut foreign = forge(1, false, &plaintext);
    foreign[0] ^= 1;
    assert_eq!(open_one(&sa(false), &replay, &foreign, 0), Err(OpenError::WrongSpi));
    assert_eq!(open_one(&sa(false), &replay, &forge(0, false, &plaintext), 0), Err(OpenError::BadSequence));
    assert_eq!(open_one(&sa(true), &replay, &forge(0, true, &plaintext), 0), Err(OpenError::BadSequence));
    // With an empty window a number this large could only be before the first one.
    let wrapped = forge(u64::from(u32::MAX), true, &plaintext);
    assert_eq!(open_one(&sa(true), &replay, &wrapped, 0), Err(OpenError::BadSequence));
    assert_eq!(replay.top(), 0);
}

#[test]
fn old_packets_are_refused() {
    let (sa, replay) = (sa(false), LocalReplayStore::new());
    let packet = |sequence| forge(sequence, false, &with_trailer(&inner_v4(0, 2), 0, 4));
    assert!(open_one(&sa, &replay, &packet(100), 0).is_ok());
    assert!(open_one(&sa, &replay, &packet(37), 0).is_ok());
    assert_eq!(open_one(&sa, &replay, &packet(36), 0), Err(OpenError::TooOld));
}

#[test]
fn every_single_bit_flip_is_rejected_and_changes_no_replay_state() {
    let backends =
        [(false, AeadBackend::AesGcm), (true, AeadBackend::AesGcm), (true, AeadBackend::preferred())];
    for (algorithm, (extended, backend)) in
        EspAlgorithm::ALL.into_iter().flat_map(|of| backends.map(|with| (of, with)))
    {
        let sa = inbound(backend, algorithm, extended, 64);
        let sender = outbound(backend, algorithm, extended, outer_v4());
        let packet = sealed(&sender, 9, &inner_v4(0, 10));
        for bit in 0..packet.len() * 8 {
            let replay = LocalReplayStore::new();
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut jobs = [OpenJob::new(&sa, &replay, &mut flipped, 0, packet.len(), 0)];
            open(backend, &mut jobs);
            let expected = if bit < 32 { OpenError::WrongSpi } else { OpenError::AuthenticationFailed };
            assert_eq!(jobs[0].outcome(), &Err(expected), "{algorithm:?} bit {bit}");
            assert!(!expected.is_authenticated());
            assert_eq!((replay.top(), replay.word(0)), (0, 0));
        }
        let replay = LocalReplayStore::new();
        let mut intact = packet.clone();
        let mut jobs = [OpenJob::new(&sa, &replay, &mut intact, 0, packet.len(), 0)];
        open(backend, &mut jobs);
        assert!(jobs[0].outcome().is_ok());
    }
}

#[test]
fn the_wrong_upper_half_of_an_extended_number_fails_authentication() {
    let (sa, replay) = (sa(true), LocalReplayStore::new());
    replay.set_top(5 << 32);
    let plaintext = with_trailer(&inner_v4(0, 2), 0, 4);
    // Sent in the fourth epoch, far outside the window: the receiver assumes the fifth.
    let stale = forge((4 << 32) + 1000, true, &plaintext);
    assert_eq!(open_one(&sa, &replay, &stale, 0), Err(OpenError::AuthenticationFailed));
    let current = forge((5 << 32) + 1000, true, &plaintext);
    assert_eq!(open_one(&sa, &replay, &current, 0).unwrap().0.sequence, (5 << 32) + 1000);
}

#[test]
fn malformed_padding_is_refused_behind_authentication() {
    let inner = inner_v4(0, 4);
    let zeros = [&inner[..], &[0, 0, 0, 3, 4]].concat();
    let swapped = [&inner[..], &[2, 1, 2, 4]].concat();
    let too_long = [&inner[..], &[255, 4]].concat();
    let by_one = [&[0xaa][..], &[2, 4]].concat();
    for (sequence, plaintext) in (1..).zip([zeros, swapped, too_long, by_one]) {
        let (sa, replay) = (sa(false), LocalReplayStore::new());
        let packet = forge(sequence, false, &plaintext);
        assert_eq!(open_one(&sa, &replay, &packet, 0), Err(OpenError::BadPadding));
        // It was authentic, so its number is used up (RFC 4303 §3.4.3).
        assert!(OpenError::BadPadding.is_authenticated());
        assert_eq!(open_one(&sa, &replay, &packet, 0), Err(OpenError::Replayed));
    }
}

#[test]
fn padding_of_every_length_is_accepted() {
    let (sa, replay) = (sa(false), LocalReplayStore::new());
    let inner = inner_v4(0, 4);
    for pad_len in 0..=255u8 {
        let packet = forge(u64::from(pad_len) + 1, false, &with_trailer(&inner, pad_len, 4));
        assert_eq!(open_one(&sa, &replay, &packet, 0).unwrap().1, inner);
    }
}

#[test]
fn traffic_flow_padding_behind_the_inner_packet_is_cut_off() {
    for (inner, next_header) in [(inner_v4(0, 4), 4), (inner_v6(0, 4), 41)] {
        let padded = [&inner[..], &[0x77; 500]].concat();
        let packet = forge(1, false, &with_trailer(&padded, 2, next_header));
        assert_eq!(open_one(&sa(false), &LocalReplayStore::new(), &packet, 0).unwrap().1, inner);
    }
}

#[test]
fn the_next_header_must_fit_what_is_inside() {
    let (v4, v6) = (inner_v4(0, 20), inner_v6(0, 0));
    for (inner, next_header, expected) in [
        (&v4, 41, OpenError::BadNextHeader),
        (&v6, 4, OpenError::BadNextHeader),
        (&v4, 6, OpenError::BadNextHeader),
        (&v4, 0, OpenError::BadNextHeader),
        (&v4, 59, OpenError::Dummy),
    ] {
        let packet = forge(1, false, &with_trailer(inner, 0, next_header));
        let replay = LocalReplayStore::new();
        assert_eq!(open_one(&sa(false), &replay, &packet, 0), Err(expected));
        assert!(expected.is_authenticated());
        assert_eq!(replay.top(), 1);
    }
}

#[test]
fn an_inner_packet_longer_than_the_payload_is_refused() {
    for (inner, next_header) in [(inner_v4(0, 20), 4), (inner_v6(0, 20), 41)] {
        for cut in 0..inner.len() {
            let packet = forge(1, false, &with_trailer(&inner[..cut], 0, next_header));
            let outcome = open_one(&sa(false), &LocalReplayStore::new(), &packet, 0);
            assert_eq!(outcome, Err(OpenError::BadInner), "{cut}");
        }
    }
}

/// RFC 6040 figure 4: rows are the inner field, columns the outer one, in the order Not-ECT,
/// ECT(1), ECT(0), CE.
#[test]
fn ecn_is_decapsulated_as_rfc_6040_says() {
    let table = [
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    for (inner_ecn, row) in (0u8..).zip(table) {
        for (outer_ecn, expected) in (0u8..).zip(row) {
            for (inner, next_header) in
                [(inner_v4(0xb8 | inner_ecn, 2), 4), (inner_v6(0xb8 | inner_ecn, 2), 41)]
            {
                let packet = forge(1, false, &with_trailer(&inner, 0, next_header));
                let outcome = open_one(&sa(false), &LocalReplayStore::new(), &packet, outer_ecn);
                match expected {
                    None => assert_eq!(outcome, Err(OpenError::EcnBroken)),
                    Some(ecn) => {
                        let bytes = outcome.unwrap().1;
                        assert_eq!(parse::ip_at(&bytes[..], 0).unwrap().traffic_class, 0xb8 | ecn);
                        if next_header == 4 {
                            assert!(ipv4::Packet::new_checked(&bytes[..]).unwrap().checksum_ok());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn of_two_copies_in_one_burst_the_first_wins() {
    for backend in AeadBackend::available() {
        let sa = inbound(backend, EspAlgorithm::AesGcm128, true, 64);
        let replay = LocalReplayStore::new();
        let packet = forge(3, true, &with_trailer(&inner_v4(0, 2), 0, 4));
        let len = packet.len();
        let mut copies = [packet.clone(), packet.clone(), packet];
        let mut jobs: Vec<_> =
            copies.iter_mut().map(|copy| OpenJob::new(&sa, &replay, copy, 0, len, 0)).collect();
        open(backend, &mut jobs);
        let outcomes: Vec<_> = jobs.iter().map(|job| job.outcome().as_ref().err().copied()).collect();
        assert_eq!(outcomes, [None, Some(OpenError::Replayed), Some(OpenError::Replayed)]);
    }
}

/// A peer's packets in a long burst, some corrupted, some of another SA.
#[test]
fn each_job_of_a_long_mixed_burst_gets_its_own_outcome() {
    for backend in AeadBackend::available() {
        let algorithms = [EspAlgorithm::AesGcm256, EspAlgorithm::AesGcm192];
        let senders = algorithms.map(|algorithm| outbound(backend, algorithm, true, outer_v6()));
        let receivers = algorithms.map(|algorithm| inbound(backend, algorithm, true, 256));
        let replay = [LocalReplayStore::new(), LocalReplayStore::new()];
        let inner = inner_v6(0, 33);
        let mut packets: Vec<_> = (0..2 * BURST + 9)
            .map(|place| {
                let mut packet = sealed(&senders[place % 2], place as u64 + 1, &inner);
                match place % 5 {
                    1 => packet[20] ^= 0x10,
                    2 => packet[3] ^= 0x10,
                    _ => {}
                }
                packet
            })
            .collect();
        let mut jobs: Vec<_> = packets
            .iter_mut()
            .enumerate()
            .map(|(place, packet)| {
                let len = packet.len();
                OpenJob::new(&receivers[place % 2], &replay[place % 2], packet, 0, len, 0)
            })
            .collect();
        open(backend, &mut jobs);
        for (place, job) in jobs.iter().enumerate() {
            match place % 5 {
                1 => assert_eq!(job.outcome(), &Err(OpenError::AuthenticationFailed)),
                2 => assert_eq!(job.outcome(), &Err(OpenError::WrongSpi)),
                _ => {
                    let expected =
                        Opened { inner: 16..16 + inner.len(), next_header: 41, sequence: place as u64 + 1 };
                    assert_eq!(job.outcome(), &Ok(expected), "{}", backend.name());
                }
            }
        }
    }
}

#[test]
fn numbers_go_on_across_the_32_bit_boundary() {
    let sender = outbound(AeadBackend::AesGcm, EspAlgorithm::AesGcm128, true, outer_v4());
    let (receiver, replay) = (sa(true), LocalReplayStore::new());
    let boundary = 1u64 << 32;
    replay.set_top(boundary - 40);
    let inner = inner_v4(0, 5);
    for sequence in [boundary - 3, boundary + 2, boundary - 1, boundary, boundary + 1, boundary - 2] {
        let packet = sealed(&sender, sequence, &inner);
        assert_eq!(open_one(&receiver, &replay, &packet, 0).unwrap().0.sequence, sequence);
        assert_eq!(open_one(&receiver, &replay, &packet, 0), Err(OpenError::Replayed));
    }
    assert_eq!(replay.top(), boundary + 2);
}
