use super::*;
use crate::testing::{ROOM, frame, inner_v4, inner_v6, number, outbound, outer_v4, outer_v6};
use crate::{BURST, EspAlgorithm, OuterParameters};

fn sa() -> OutboundSa {
    outbound(AeadBackend::AesGcm, EspAlgorithm::AesGcm128, false, outer_v4())
}

fn seal_one(
    sa: &OutboundSa,
    sequence: u64,
    frame: &mut [u8],
    offset: usize,
    len: usize,
) -> Result<Sealed, SealError> {
    let mut jobs = [SealJob::new(sa, number(sequence), frame, offset, len)];
    seal(AeadBackend::AesGcm, &mut jobs);
    jobs[0].outcome()
}

#[test]
fn before_sealing_a_job_reports_failure() {
    let sa = sa();
    let mut frame = frame(&inner_v4(0, 0));
    assert!(SealJob::new(&sa, number(1), &mut frame, ROOM, 20).outcome().is_err());
}

#[test]
fn the_packet_grows_exactly_into_head_and_tailroom() {
    let sa = sa();
    let inner = inner_v4(0, 29);
    // 49 bytes, one of padding, two of trailer.
    let mut exact = vec![0xee; sa.headroom()];
    exact.extend_from_slice(&inner);
    exact.resize(sa.headroom() + 52 + 16, 0xee);
    let sealed = seal_one(&sa, 1, &mut exact, sa.headroom(), inner.len());
    assert_eq!(sealed, Ok(Sealed { offset: 0, len: exact.len() }));
    assert_eq!(exact.len(), sa.sealed_len(inner.len()));
}

#[test]
fn a_frame_without_room_is_refused_and_left_alone() {
    let sa = sa();
    let inner = inner_v4(0, 29);
    let headroom = sa.headroom();
    for (front, back, expected) in [
        (headroom - 1, 64, SealError::NoHeadroom),
        (0, 64, SealError::NoHeadroom),
        (headroom, 18, SealError::NoTailroom),
        (headroom, 0, SealError::NoTailroom),
    ] {
        let mut frame = vec![0xee; front];
        frame.extend_from_slice(&inner);
        frame.resize(front + inner.len() + back, 0xee);
        let before = frame.clone();
        assert_eq!(seal_one(&sa, 1, &mut frame, front, inner.len()), Err(expected));
        assert_eq!(frame, before);
    }
}

#[test]
fn what_is_no_ip_packet_is_refused() {
    let sa = sa();
    let mut frame = frame(&inner_v4(0, 0));
    for (offset, len) in
        [(ROOM, 19), (ROOM, 0), (ROOM + 1, 19), (usize::MAX, 20), (ROOM, usize::MAX), (ROOM, 4000)]
    {
        assert_eq!(seal_one(&sa, 1, &mut frame, offset, len), Err(SealError::BadInner), "{offset} {len}");
    }
}

#[test]
fn a_number_beyond_the_limit_is_never_sent() {
    let sa = sa();
    let inner = inner_v4(0, 0);
    let last = u64::from(u32::MAX);
    assert!(seal_one(&sa, last, &mut frame(&inner), ROOM, 20).is_ok());
    let mut refused = frame(&inner);
    assert_eq!(seal_one(&sa, last + 1, &mut refused, ROOM, 20), Err(SealError::SequenceExhausted));
    assert_eq!(refused, frame(&inner));
}

#[test]
fn an_outer_packet_beyond_65535_bytes_is_refused() {
    let sa = sa();
    let longest = sa.max_inner_len(65535);
    let mut bytes = vec![0x45; longest + 1 + 2 * ROOM];
    assert!(seal_one(&sa, 1, &mut bytes, ROOM, longest).is_ok());
    let mut bytes = vec![0x45; longest + 1 + 2 * ROOM];
    assert_eq!(seal_one(&sa, 2, &mut bytes, ROOM, longest + 1), Err(SealError::TooLong));
}

/// Packets of several SAs and with several faults, more than one piece long.
#[test]
fn each_job_of_a_long_mixed_burst_gets_its_own_outcome() {
    for backend in AeadBackend::available() {
        let sas = [
            outbound(backend, EspAlgorithm::AesGcm128, false, outer_v4()),
            outbound(backend, EspAlgorithm::AesGcm192, true, outer_v6()),
            outbound(
                backend,
                EspAlgorithm::AesGcm256,
                true,
                OuterParameters { encapsulation: crate::Encapsulation::UDP_4500, ..outer_v6() },
            ),
        ];
        let inner = [inner_v4(0, 40), inner_v6(0, 7)];
        let count = 3 * BURST + 5;
        let mut frames: Vec<_> = (0..count).map(|place| frame(&inner[place % 2])).collect();
        let mut alone = frames.clone();
        let mut jobs: Vec<_> = frames
            .iter_mut()
            .enumerate()
            .map(|(place, frame)| {
                let len = if place % 7 == 3 { 5 } else { inner[place % 2].len() };
                SealJob::new(&sas[place % 3], number(place as u64 + 1), frame, ROOM, len)
            })
            .collect();
        seal(backend, &mut jobs);
        let outcomes: Vec<_> = jobs.iter().map(SealJob::outcome).collect();
        for (place, outcome) in outcomes.iter().enumerate() {
            if place % 7 == 3 {
                assert_eq!(*outcome, Err(SealError::BadInner));
                continue;
            }
            let len = inner[place % 2].len();
            let expected = seal_one(&sas[place % 3], place as u64 + 1, &mut alone[place], ROOM, len);
            assert_eq!(*outcome, expected);
            assert!(outcome.is_ok());
            assert_eq!(frames[place], alone[place], "{} job {place}", backend.name());
        }
    }
}
