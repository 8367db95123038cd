use super::*;
use crate::Encapsulation;
use crate::testing::{inbound, key, outbound, outer_v4, outer_v6};
use crate::{DscpPolicy, OuterParameters};

const ALGORITHM: EspAlgorithm = EspAlgorithm::AesGcm256;

fn outbound_with(change: impl Fn(&mut OutboundParameters<'_>)) -> Result<OutboundSa, SaError> {
    let key = key(ALGORITHM);
    let mut parameters = OutboundParameters {
        spi: 256,
        algorithm: ALGORITHM,
        key: &key,
        salt: [1; 4],
        extended_sequence: true,
        mode: Mode::Tunnel,
        iv_key: [0x17; 16],
        outer: outer_v4(),
    };
    change(&mut parameters);
    OutboundSa::new(AeadBackend::AesGcm, &parameters)
}

#[test]
fn impossible_outbound_parameters_are_refused_by_name() {
    assert!(outbound_with(|_| ()).is_ok());
    assert_eq!(outbound_with(|parameters| parameters.spi = 255).unwrap_err(), SaError::ReservedSpi(255));
    assert!(matches!(outbound_with(|parameters| parameters.key = &[0; 16]).unwrap_err(), SaError::Key(_)));
    assert_eq!(
        outbound_with(|parameters| parameters.outer.source = outer_v6().source).unwrap_err(),
        SaError::MixedVersions
    );
    assert_eq!(
        outbound_with(|parameters| parameters.outer.dscp = DscpPolicy::Fixed(64)).unwrap_err(),
        SaError::Dscp(64)
    );
}

#[test]
fn a_window_of_an_odd_size_is_refused() {
    let key = key(ALGORITHM);
    for (replay_window, extended_sequence) in [(63, false), (8192, false), (100, true), (0, true)] {
        let parameters = InboundParameters {
            spi: 256,
            algorithm: ALGORITHM,
            key: &key,
            salt: [1; 4],
            extended_sequence,
            replay_window,
            mode: Mode::Tunnel,
        };
        assert_eq!(
            InboundSa::new(AeadBackend::AesGcm, &parameters).unwrap_err(),
            SaError::ReplayWindow(replay_window)
        );
    }
}

#[test]
fn the_sequence_limit_depends_on_extension() {
    let sa = |extended| outbound(AeadBackend::AesGcm, ALGORITHM, extended, outer_v4());
    assert_eq!((sa(false).sequence_limit(), sa(true).sequence_limit()), (u64::from(u32::MAX), u64::MAX));
}

#[test]
fn lengths_add_up_for_every_outer_header() {
    let udp = |outer| OuterParameters { encapsulation: Encapsulation::UDP_4500, ..outer };
    for (outer, headroom) in
        [(outer_v4(), 36), (udp(outer_v4()), 44), (outer_v6(), 56), (udp(outer_v6()), 64)]
    {
        let sa = outbound(AeadBackend::AesGcm, ALGORITHM, true, outer);
        assert_eq!(sa.headroom(), headroom);
        // 2 bytes of trailer round 100 up to 104.
        assert_eq!(sa.sealed_len(100), headroom + 104 + 16);
    }
}

#[test]
fn the_inner_mtu_is_the_longest_packet_that_fits() {
    for outer in [outer_v4(), outer_v6()] {
        let sa = outbound(AeadBackend::AesGcm, ALGORITHM, true, outer);
        for mtu in 100..3000 {
            let inner = sa.max_inner_len(mtu);
            assert!(sa.sealed_len(inner) <= mtu);
            assert!(sa.sealed_len(inner + 1) > mtu);
        }
        assert_eq!(sa.max_inner_len(sa.headroom() + 16 + 3), 0);
        assert_eq!(sa.max_inner_len(0), 0);
    }
}

#[test]
fn the_outer_header_can_be_replaced() {
    let mut sa = outbound(AeadBackend::AesGcm, ALGORITHM, true, outer_v4());
    let moved = OuterParameters { encapsulation: Encapsulation::UDP_4500, ..outer_v4() };
    sa.set_outer(moved).unwrap();
    assert_eq!((*sa.outer(), sa.headroom()), (moved, 44));
    let mixed = OuterParameters { source: outer_v6().source, ..moved };
    assert_eq!(sa.set_outer(mixed), Err(SaError::MixedVersions));
    assert_eq!(*sa.outer(), moved);
}

#[test]
fn debug_output_shows_neither_key_nor_salt() {
    let outbound = format!("{:?}", outbound(AeadBackend::AesGcm, ALGORITHM, true, outer_v4()));
    let inbound = format!("{:?}", inbound(AeadBackend::AesGcm, ALGORITHM, true, 64));
    for text in [outbound, inbound] {
        assert!(text.contains("0xc0de1234"), "{text}");
        assert!(
            !text.contains("salt") && !text.contains("64, 65, 66") && !text.contains("9, 8, 7"),
            "{text}"
        );
    }
}
