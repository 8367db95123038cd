//! The codec: round trips, arbitrary bytes, and hand-written messages.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::identity::Identity;
use crate::selector::TrafficSelector;

fn transform() -> impl Strategy<Value = Transform> {
    (1u8..=5, any::<u16>(), any::<Option<u16>>())
        .prop_map(|(kind, id, bits)| Transform::with_key_bits(kind, id, bits))
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (any::<u8>(), 1u8..4, vec(any::<u8>(), 0..9), vec(transform(), 0..6))
        .prop_map(|(number, protocol, spi, transforms)| Proposal { number, protocol, spi, transforms })
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a.min(b)), IpAddr::from(a.max(b))));
    let v6 =
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a.min(b)), IpAddr::from(a.max(b))));
    (any::<u8>(), any::<(u16, u16)>(), prop_oneof![v4, v6]).prop_map(|(protocol, (p, q), (start, end))| {
        TrafficSelector { protocol, start_port: p.min(q), end_port: p.max(q), start, end }
    })
}

fn identity() -> impl Strategy<Value = Identity> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Identity::Address(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Identity::Address(octets.into())),
        "[a-z.]{1,20}".prop_map(Identity::Fqdn),
        "[a-z.@]{1,20}".prop_map(Identity::Email),
        vec(any::<u8>(), 0..20).prop_map(Identity::KeyId),
    ]
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(proposal(), 1..4).prop_map(Payload::Sa),
        (any::<u16>(), vec(any::<u8>(), 0..300)).prop_map(|(group, data)| Payload::KeyExchange(group, data)),
        identity().prop_map(Payload::IdI),
        identity().prop_map(Payload::IdR),
        (any::<u8>(), vec(any::<u8>(), 0..64)).prop_map(|(method, data)| Payload::Auth(method, data)),
        vec(any::<u8>(), 16..=256).prop_map(Payload::Nonce),
        (any::<u8>(), vec(any::<u8>(), 0..9), any::<u16>(), vec(any::<u8>(), 0..40))
            .prop_map(|(protocol, spi, kind, data)| Payload::Notify(Notify { protocol, spi, kind, data })),
        Just(Payload::Delete(DeletePayload::Ike)),
        vec(any::<u32>(), 0..5).prop_map(|spis| Payload::Delete(DeletePayload::Esp(spis))),
        vec(selector(), 0..5).prop_map(Payload::TsI),
        vec(selector(), 0..5).prop_map(Payload::TsR),
        vec(any::<u8>(), 0..40).prop_map(Payload::VendorId),
    ]
}

proptest! {
    /// RFC 7296 §3, §3.10
    #[test]
    fn payload_chains_round_trip(payloads in vec(payload(), 0..8)) {
        let (first, bytes) = encode(&payloads);
        prop_assert_eq!(parse(first, &bytes), Ok(payloads));
    }

    #[test]
    fn headers_round_trip(spi_i in 1u64.., spi_r in any::<u64>(), next in any::<u8>(), exchange in any::<u8>(),
                          initiator in any::<bool>(), response in any::<bool>(), id in any::<u32>()) {
        let mut bytes = [0; HEADER_LEN];
        bytes[18] = exchange;
        let header = Header {
            spi_i, spi_r, next_payload: next, major: 2,
            exchange: Header::parse(&{ let mut b = bytes; b[0] = 1; b[27] = 28; b }).unwrap().exchange,
            flags: Flags { initiator, response }, message_id: id,
        };
        prop_assert_eq!(Header::parse(&header.encode(HEADER_LEN)), Ok(header));
    }

    #[test]
    fn arbitrary_bytes_never_panic(first in any::<u8>(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = Header::parse(&bytes);
        let _ = parse(first, &bytes);
    }

    #[test]
    fn damaged_chains_never_panic(payloads in vec(payload(), 1..5), at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let (first, mut bytes) = encode(&payloads);
        let position = at.index(bytes.len());
        bytes[position] = value;
        let _ = parse(first, &bytes);
        let _ = parse(first, &bytes[..cut.index(bytes.len())]);
    }
}

/// RFC 7296 §3.3, §3.3.1
#[test]
fn an_sa_payload_matches_its_bytes_in_the_rfc_layout() {
    let transforms = vec![
        Transform::with_key_bits(transform_type::ENCRYPTION, 20, Some(256)),
        Transform::new(transform_type::PRF, 5),
        Transform::new(transform_type::KEY_EXCHANGE, 19),
    ];
    let payload = Payload::Sa(vec![Proposal { number: 1, protocol: protocol::IKE, spi: vec![], transforms }]);
    #[rustfmt::skip]
    let expected = [
        0, 0, 0, 40,            // no next payload, length
        0, 0, 0, 36, 1, 1, 0, 3,  // last proposal, length, number 1, IKE, no SPI, 3 transforms
        3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0, // ENCR AES-GCM-16, key length 256
        3, 0, 0, 8, 2, 0, 0, 5, // PRF HMAC-SHA-256
        0, 0, 0, 8, 4, 0, 0, 19, // group 19
    ];
    assert_eq!(encode(&[payload]), (payload_type::SA, expected.to_vec()));
}

/// RFC 7296 §3.1
#[test]
fn a_header_matches_its_bytes_in_the_rfc_layout() {
    let header = Header {
        spi_i: 0x0102_0304_0506_0708,
        spi_r: 0,
        next_payload: payload_type::SA,
        major: 2,
        exchange: Exchange::IkeSaInit,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    let expected =
        [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 28];
    assert_eq!(header.encode(HEADER_LEN), expected);
}

/// RFC 7296 §3.9, and the length of our own nonces by RFC 7296 §2.10
#[test]
fn nonces_of_16_to_256_octets_are_taken() {
    let nonce = |length: usize| {
        let total = (length as u16 + 4).to_be_bytes();
        [&[0, 0, total[0], total[1]][..], &vec![7; length]].concat()
    };
    for (length, taken) in [(15, false), (16, true), (256, true), (257, false)] {
        assert_eq!(parse(payload_type::NONCE, &nonce(length)).is_ok(), taken, "{length} octets");
    }
    let longest_prf_key = crate::algorithm::Prf::ALL.iter().map(|prf| prf.output_len()).max();
    assert!(crate::task::NONCE_LEN * 2 >= longest_prf_key.unwrap());
}

/// RFC 7296 §2.5, §3.2
#[test]
fn unknown_payloads_are_skipped_unless_critical() {
    let chain = |critical: u8| {
        vec![
            payload_type::NONCE,
            critical,
            0,
            4,
            0,
            0,
            0,
            20,
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            9,
            10,
            11,
            12,
            13,
            14,
            15,
            16,
        ]
    };
    assert_eq!(parse(200, &chain(0)).unwrap().len(), 1);
    assert_eq!(parse(200, &chain(0x80)), Err(ParseError::UnsupportedCritical(200)));
}

#[test]
fn a_chain_must_fill_the_message_exactly() {
    let (first, mut bytes) = encode(&[Payload::VendorId(vec![1])]);
    bytes.push(0);
    assert_eq!(parse(first, &bytes), Err(ParseError::Length("the payload chain")));
}

/// RFC 7296 §3.3.6
#[test]
fn a_transform_with_an_unknown_attribute_is_marked() {
    let (first, bytes) = encode(&[Payload::Sa(vec![Proposal {
        number: 1,
        protocol: protocol::IKE,
        spi: vec![],
        transforms: vec![Transform::with_key_bits(transform_type::ENCRYPTION, 20, Some(128))],
    }])]);
    let mut damaged = bytes.clone();
    let attribute = bytes.len() - 3;
    damaged[attribute] = 99;
    let parsed = parse(first, &damaged).unwrap();
    assert!(matches!(&parsed[..], [Payload::Sa(proposals)] if proposals[0].transforms[0].not_understood));
}
