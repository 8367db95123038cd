use proptest::prelude::*;

use super::*;
use crate::BURST;

#[test]
fn every_name_gives_a_backend_or_says_why_not() {
    for name in AeadBackend::NAMES {
        match AeadBackend::by_name(name) {
            Ok(backend) if name == "batch" => assert!(matches!(backend, AeadBackend::Batch(_))),
            Ok(backend) => assert_eq!(backend.name(), name),
            Err(error) => assert!(matches!(error, BackendError::Kernel(_)), "{name}: {error}"),
        }
    }
    let error = AeadBackend::by_name("rot13").unwrap_err();
    assert!(error.to_string().contains("rot13") && error.to_string().contains("aes-gcm"), "{error}");
}

#[test]
fn the_library_and_the_portable_code_path_are_always_available() {
    let names: Vec<_> = AeadBackend::available().map(AeadBackend::name).collect();
    for name in ["aes-gcm", "portable"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn keys_of_another_length_are_refused() {
    for backend in AeadBackend::available() {
        for algorithm in EspAlgorithm::ALL {
            for actual in 0..100 {
                let result = backend.expand(algorithm, &[1; 100][..actual]);
                let expected = algorithm.key_len();
                if actual == expected {
                    assert_eq!(result.unwrap().algorithm(), algorithm);
                } else {
                    assert_eq!(result.unwrap_err(), KeyError::Length { algorithm, expected, actual });
                }
            }
        }
    }
}

#[test]
fn debug_output_shows_no_key() {
    for backend in AeadBackend::available() {
        let key = backend.expand(EspAlgorithm::AesGcm128, &[0xa5; 16]).unwrap();
        assert_eq!(format!("{key:?}"), "AeadKey { algorithm: AesGcm128, .. }");
    }
}

#[test]
fn the_additional_data_is_spi_and_sequence_number() {
    assert_eq!(Aad::new(0x0102_0304, 0x0506_0708).as_slice(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let extended = Aad::new_extended(0x0102_0304, 0x0506_0708_090a_0b0c);
    assert_eq!(extended.as_slice(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_tag_of_another_length_is_never_good() {
    for backend in AeadBackend::available() {
        let key = backend.expand(EspAlgorithm::AesGcm128, &[1; 16]).unwrap();
        let aad = Aad::new(1, 1);
        for len in [0, 12, 15, 17] {
            for opening in [false, true] {
                let (mut data, mut tag) = ([0; 8], vec![0; len]);
                let job = AeadJob { key: &key, nonce: [0; 12], aad: &aad, data: &mut data, tag: &mut tag };
                let mut burst = AeadBurst::new();
                let ticket = burst.push(job);
                let verdicts = if opening { burst.open(backend) } else { burst.seal(backend) };
                assert!(!ticket.is_some_and(|ticket| verdicts.is_good(ticket)), "{} {len}", backend.name());
            }
        }
    }
}

#[test]
fn a_full_burst_takes_no_more() {
    let key = AeadBackend::AesGcm.expand(EspAlgorithm::AesGcm128, &[1; 16]).unwrap();
    let aad = Aad::new(1, 1);
    let mut data = [[0u8; 4]; BURST + 1];
    let mut tags = [[0u8; 16]; BURST + 1];
    let mut burst = AeadBurst::new();
    for (place, (data, tag)) in data.iter_mut().zip(&mut tags).enumerate() {
        let pushed = burst.push(AeadJob { key: &key, nonce: [0; 12], aad: &aad, data, tag });
        assert_eq!(pushed.is_some(), place < BURST);
    }
}

/// One message of a random burst.
#[derive(Clone, Debug)]
struct Message {
    algorithm: EspAlgorithm,
    backend: usize,
    key: [u8; 96],
    nonce: [u8; 12],
    aad: Aad,
    data: Vec<u8>,
    corrupt: Option<proptest::sample::Index>,
}

fn message() -> impl Strategy<Value = Message> {
    (
        prop::sample::select(&EspAlgorithm::ALL[..]),
        0usize..6,
        proptest::collection::vec(any::<u8>(), 96).prop_map(|key| key.try_into().unwrap()),
        any::<[u8; 12]>(),
        prop_oneof![
            any::<(u32, u32)>().prop_map(|(spi, sequence)| Aad::new(spi, sequence)),
            any::<(u32, u64)>().prop_map(|(spi, sequence)| Aad::new_extended(spi, sequence)),
        ],
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            proptest::collection::vec(any::<u8>(), 0..1600)
        ],
        proptest::option::of(any::<proptest::sample::Index>()),
    )
        .prop_map(|(algorithm, backend, key, nonce, aad, mut data, corrupt)| {
            if algorithm.needs_random_iv() {
                data.resize((data.len() / 16 + 1) * 16, 0x33);
            }
            Message { algorithm, backend, key, nonce, aad, data, corrupt }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Keys of all backends mixed in one burst: each message is sealed as one library seals it
    /// alone, and opened unless it was corrupted.
    #[test]
    fn a_mixed_burst_equals_its_messages_one_by_one(messages in proptest::collection::vec(message(), 1..=BURST)) {
        let backends: Vec<_> = AeadBackend::available().collect();
        let keys: Vec<_> = messages
            .iter()
            .map(|message| {
                let key = &message.key[..message.algorithm.key_len()];
                backends[message.backend % backends.len()].expand(message.algorithm, key).unwrap()
            })
            .collect();

        for backend in backends {
            let mut buffers: Vec<_> = messages
                .iter()
                .map(|message| (message.data.clone(), vec![0; message.algorithm.icv_len()]))
                .collect();
            let mut burst = AeadBurst::new();
            let mut tickets = Vec::new();
            for ((message, key), (data, tag)) in messages.iter().zip(&keys).zip(&mut buffers) {
                let job = AeadJob { key, nonce: message.nonce, aad: &message.aad, data, tag };
                tickets.push(burst.push(job).unwrap());
            }
            let verdicts = burst.seal(backend);
            for ((message, (data, tag)), ticket) in messages.iter().zip(&mut buffers).zip(&tickets) {
                prop_assert!(verdicts.is_good(*ticket));
                let key = &message.key[..message.algorithm.key_len()];
                let alone = AeadBackend::AesGcm.expand(message.algorithm, key).unwrap();
                let (mut expected, mut expected_tag) = (message.data.clone(), vec![0; tag.len()]);
                let mut job = AeadJob {
                    key: &alone,
                    nonce: message.nonce,
                    aad: &message.aad,
                    data: &mut expected,
                    tag: &mut expected_tag,
                };
                prop_assert!(alone.schedule.seal(&mut job));
                prop_assert_eq!((&*data, &*tag), (&expected, &expected_tag));
                if let Some(bit) = message.corrupt {
                    let bit = bit.index((data.len() + tag.len()) * 8);
                    let byte = data.iter_mut().chain(tag).nth(bit / 8).unwrap();
                    *byte ^= 1 << (bit % 8);
                }
            }

            let mut burst = AeadBurst::new();
            for ((message, key), (data, tag)) in messages.iter().zip(&keys).zip(&mut buffers) {
                burst.push(AeadJob { key, nonce: message.nonce, aad: &message.aad, data, tag }).unwrap();
            }
            let verdicts = burst.open(backend);
            for ((message, (data, _)), ticket) in messages.iter().zip(&buffers).zip(&tickets) {
                prop_assert_eq!(verdicts.is_good(*ticket), message.corrupt.is_none());
                if message.corrupt.is_none() {
                    prop_assert_eq!(data, &message.data);
                }
            }
        }
    }
}
