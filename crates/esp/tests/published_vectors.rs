//! The published test cases for GCM in ESP (D. McGrew, "Test Cases for the Use of GCM in IPsec
//! ESP", draft-mcgrew-gcm-test-01), sealed and opened by every backend, and opened as whole ESP
//! packets. Their IVs are not sequence numbers, so that direction of `esp::seal` is pinned by
//! packets of its own at the end, which an independent implementation (OpenSSL's AES-GCM) has
//! computed.

#![allow(clippy::unwrap_used, reason = "a test that cannot get on has failed")]

use std::net::IpAddr;

use esp::aead::{Aad, AeadBurst, AeadJob};
use esp::{
    AeadBackend, DfPolicy, DscpPolicy, Encapsulation, EspAlgorithm, InboundParameters, InboundSa,
    LocalReplayStore, Mode, OpenError, OpenJob, OutboundParameters, OutboundSa, OuterParameters, ReplayStore,
    SealJob, Sealed, SequenceCounter, SequenceSource, open, seal,
};

struct Vector {
    key: &'static str,
    /// Salt and IV.
    nonce: &'static str,
    /// SPI and sequence number, 32 or 64 bits.
    aad: &'static str,
    /// Payload, padding, pad length and next header.
    plaintext: &'static str,
    ciphertext: &'static str,
    tag: &'static str,
}

const VECTORS: [Vector; 14] = [
    Vector {
        key: "4c80cdefbb5d10da906ac73c3613a634",
        nonce: "2e443b684956ed7e3b244cfe",
        aad: "000043218765432100000000",
        plaintext: "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f7564700373\
            69700963796265726369747902646b000021000101020201",
        ciphertext: "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d\
            15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732",
        tag: "459018148f6cbe722fd04796562dfdb4",
    },
    Vector {
        key: "feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "0000a5f80000000a",
        plaintext: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000000373697009637962\
            65726369747902646b00000100010001",
        ciphertext: "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642\
            cfbb85a5b47e48a4ec3b9ba95d918bd1",
        tag: "83b70d3aa8bc6ee4c309e9d85a41ad4a",
    },
    Vector {
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
        nonce: "112233440102030405060708",
        aad: "4a2cbfe300000002",
        plaintext: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401010402\
            01020201",
        ciphertext: "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99d\
            ef842d8e",
        tag: "b335f4eecfdbf831824b4c4915956c96",
    },
    Vector {
        key: "00000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "0000000000000001",
        plaintext: "4500003c99c500008001cb7a40679318010101010800075c020044006162636465666768696a6b6c6d6e6f7071727374\
            75767761626364656667686901020201",
        ciphertext: "4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284456476492719ffb64de7d9dca1e1d894\
            bc3bd57873ed4d181d19d4d5c8c18af3",
        tag: "f821d496eeb096e98ad2b69e4799c71d",
    },
    Vector {
        key: "3de09874b388e6491988d0c3607eae1f",
        nonce: "57690e434e280000a2fca1a3",
        aad: "42f67e3f1010101010101010",
        plaintext: "4500003c99c300008001cb7c40679318010101010800085c020043006162636465666768696a6b6c6d6e6f7071727374\
            75767761626364656667686901020201",
        ciphertext: "fba2caa4853cf9f0f22cb10d86dd83b0fec75691cf1a04b00d1138ec9c35791765acbd8701ad79845bf9fe3fba487bc9\
            1755e6662b4c8d0d1f5e22739530320a",
        tag: "e0d731cc978ecafaeae88f00e80d6e48",
    },
    Vector {
        key: "3de09874b388e6491988d0c3607eae1f",
        nonce: "57690e434e280000a2fca1a3",
        aad: "42f67e3f1010101010101010",
        plaintext: "4500001c42a200008001441f406793b6e00000020a00f5ff01020201",
        ciphertext: "fba2ca845e5df9f0f22c3e6e86dd831e1fc65792cd1af9130e1379ed",
        tag: "369f071f35e034be95f112e4e7d05d35",
    },
    Vector {
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c",
        nonce: "cafebabefacedbaddecaf888",
        aad: "0000a5f80000000a",
        plaintext: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001",
        ciphertext: "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77",
        tag: "95457b9652037f5318027b5b4cd7a636",
    },
    Vector {
        key: "abbccddef00112233445566778899aab",
        nonce: "decaf888cafedebaceface74",
        aad: "000001000000000000000001",
        plaintext: "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20001e8c18d75b81dc91baa047\
            6b91b924b280389d92c963bac046ec959b6266c04722b14923010101",
        ciphertext: "18a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1c349c1d2fbec168f9190feebaf2cb01984e65863965d7472\
            b79da345e0e780191f0d2f0e0f496c226f2127b27db35724e7845d68",
        tag: "651f57e65f354f75ff17015769623436",
    },
    Vector {
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
        nonce: "73616c74616e640169766563",
        aad: "17405e67156f3126dd0db99b",
        plaintext: "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb71260250101f646d540001",
        ciphertext: "f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57ff4d3a31ce673119e",
        tag: "451626c2415771e3b7eebca614c89b35",
    },
    Vector {
        key: "3de09874b388e6491988d0c3607eae1f",
        nonce: "57690e434e280000a2fca1a3",
        aad: "42f67e3f1010101010101010",
        plaintext: "45000049333e00007f119182c3fb1d10c2b1d326c02831ce0035cb458003025b000001e0001e8c18d65759d52284a035\
            2c71475c8880391c764d6e5ee0496b325ae270c03899493915010101",
        ciphertext: "fba2cad12fc1f9f00d3cebf305410db83d7784b607323d220f24b0a97d54182800cadb0f68d99ef0e0c0c89ae9bea888\
            4e52d65bc1afd0740f742444747b5b39ab533163aad4550ee5160975",
        tag: "cdb608c5769189609763b8e18caa81e2",
    },
    Vector {
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
        nonce: "73616c74616e640169766563",
        aad: "17405e67156f3126dd0db99b",
        plaintext: "636973636f0172756c657301746865016e6574776501646566696e6501746865746563686e6f6c6f6769657301746861\
            7477696c6c01646566696e65746f6d6f72726f7701020201",
        ciphertext: "d4b7ed86a1777f2ea13d6973d324c69e7b43f826fb56831226508bebd2dceb18d0a6df10e5487df074113e14c641024e\
            3e6773d91a62ee429b043a10e3efe6b012a49363412364f8",
        tag: "c0cac587f249e56b11e24f30e44ccc76",
    },
    Vector {
        key: "7d773d00c144c525ac619d18c84a3f47",
        nonce: "d966426743457e9182443bc6",
        aad: "335467aeffffffff",
        plaintext: "01020201",
        ciphertext: "437f866b",
        tag: "cb3f699fe9b0822bac961c4504bef270",
    },
    Vector {
        key: "abbccddef00112233445566778899aab",
        nonce: "decaf888cafedebaceface74",
        aad: "000001000000000000000001",
        plaintext: "746f016265016f72016e6f7401746f0162650001",
        ciphertext: "29c9fc69a197d038ccdd14e2ddfcaa0543332164",
        tag: "412503524303ed3c6c5f283843af8c3e",
    },
    Vector {
        key: "6c6567616c697a656d6172696a75616e61616e64646f69746265666f72656961",
        nonce: "7475726e333021696765746d",
        aad: "796b6963ffffffffffffffff",
        plaintext: "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071727374\
            01020201",
        ciphertext: "f97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe82\
            1dcc63b9",
        tag: "d0937ba2945f669368661a329fb4c053",
    },
];

/// A vector in the types of this crate.
struct Case {
    algorithm: EspAlgorithm,
    key: Vec<u8>,
    salt: [u8; 4],
    nonce: [u8; 12],
    spi: u32,
    sequence: u64,
    extended: bool,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl Case {
    fn new(vector: &Vector) -> Self {
        let key = hex(vector.key);
        let algorithm =
            EspAlgorithm::ALL.into_iter().find(|algorithm| algorithm.key_len() == key.len()).unwrap();
        let nonce: [u8; 12] = hex(vector.nonce).try_into().unwrap();
        let aad = hex(vector.aad);
        let extended = aad.len() == 12;
        let sequence = if extended {
            u64::from_be_bytes(aad[4..].try_into().unwrap())
        } else {
            u64::from(u32::from_be_bytes(aad[4..].try_into().unwrap()))
        };
        Self {
            algorithm,
            key,
            salt: nonce[..4].try_into().unwrap(),
            nonce,
            spi: u32::from_be_bytes(aad[..4].try_into().unwrap()),
            sequence,
            extended,
            plaintext: hex(vector.plaintext),
            ciphertext: hex(vector.ciphertext),
            tag: hex(vector.tag),
        }
    }

    fn aad(&self) -> Aad {
        if self.extended {
            Aad::new_extended(self.spi, self.sequence)
        } else {
            Aad::new(self.spi, self.sequence as u32)
        }
    }

    /// SPI, low half of the sequence number, IV, ciphertext, ICV.
    fn packet(&self) -> Vec<u8> {
        [
            &self.spi.to_be_bytes()[..],
            &(self.sequence as u32).to_be_bytes(),
            &self.nonce[4..],
            &self.ciphertext,
            &self.tag,
        ]
        .concat()
    }
}

#[test]
fn every_backend_seals_and_opens_the_published_messages() {
    for backend in AeadBackend::available() {
        for (index, vector) in VECTORS.iter().enumerate() {
            let case = Case::new(vector);
            let key = backend.expand(case.algorithm, &case.key).unwrap();
            let aad = case.aad();
            assert_eq!(aad.as_slice(), hex(vector.aad), "case {index}");
            let (mut data, mut tag) = (case.plaintext.clone(), vec![0; 16]);

            let mut burst = AeadBurst::new();
            let job = AeadJob { key: &key, nonce: case.nonce, aad: &aad, data: &mut data, tag: &mut tag };
            let ticket = burst.push(job).unwrap();
            assert!(burst.seal(backend).is_good(ticket));
            assert_eq!((&data, &tag), (&case.ciphertext, &case.tag), "{} case {index}", backend.name());

            let mut burst = AeadBurst::new();
            let job = AeadJob { key: &key, nonce: case.nonce, aad: &aad, data: &mut data, tag: &mut tag };
            let ticket = burst.push(job).unwrap();
            assert!(burst.open(backend).is_good(ticket));
            assert_eq!(data, case.plaintext, "{} case {index}", backend.name());
        }
    }
}

/// The published packets have next header 1 (ICMP) or are not IP packets, so tunnel mode refuses
/// them, but only after they were authenticated and were decrypted in place.
#[test]
fn every_backend_authenticates_and_decrypts_the_published_packets() {
    let usable = VECTORS.iter().map(Case::new).filter(|case| case.spi > 255);
    let mut opened = 0;
    for case in usable {
        for backend in AeadBackend::available() {
            let sa = InboundSa::new(
                backend,
                &InboundParameters {
                    spi: case.spi,
                    algorithm: case.algorithm,
                    key: &case.key,
                    salt: case.salt,
                    extended_sequence: case.extended,
                    replay_window: 64,
                    mode: Mode::Tunnel,
                },
            )
            .unwrap();
            let replay = LocalReplayStore::new();
            replay.set_top(case.sequence - 1);
            let mut frame = case.packet();
            let len = frame.len();
            let mut jobs = [OpenJob::new(&sa, &replay, &mut frame, 0, len, 0)];
            open(backend, &mut jobs);
            assert_eq!(jobs[0].outcome(), &Err(OpenError::BadNextHeader), "{}", backend.name());
            assert_eq!(replay.top(), case.sequence);
            assert_eq!(frame[16..len - 16], case.plaintext);
            opened += 1;
        }
    }
    // One of the fourteen has the reserved SPI 0.
    assert_eq!(opened, 13 * AeadBackend::available().count());
}

/// Key bytes 0, 1, 2, ... and a salt that no test vector shares.
fn golden_sa(
    backend: AeadBackend,
    spi: u32,
    algorithm: EspAlgorithm,
    extended: bool,
    outer: OuterParameters,
) -> OutboundSa {
    let key: Vec<u8> = (0..algorithm.key_len() as u8).collect();
    OutboundSa::new(
        backend,
        &OutboundParameters {
            spi,
            algorithm,
            key: &key,
            salt: [0xa0, 0xa1, 0xa2, 0xa3],
            extended_sequence: extended,
            mode: Mode::Tunnel,
            iv_key: [0x17; 16],
            outer,
        },
    )
    .unwrap()
}

fn outer(source: &str, destination: &str) -> OuterParameters {
    OuterParameters::new(source.parse::<IpAddr>().unwrap(), destination.parse().unwrap())
}

fn assert_sealed(backend: AeadBackend, sa: &OutboundSa, sequence: u64, inner: &str, expected: &str) {
    let inner = hex(inner);
    let mut frame = vec![0xee; 256];
    frame[100..100 + inner.len()].copy_from_slice(&inner);
    let number =
        SequenceCounter::resume_after(sequence - 1).draw(1, sa.sequence_limit()).unwrap().next().unwrap();
    let mut jobs = [SealJob::new(sa, number, &mut frame, 100, inner.len())];
    seal(backend, &mut jobs);
    let Sealed { offset, len } = jobs[0].outcome().unwrap();
    assert_eq!(frame[offset..offset + len], hex(expected), "{}", backend.name());
    assert!(frame[..offset].iter().chain(&frame[offset + len..]).all(|byte| *byte == 0xee));
}

#[test]
fn ipv4_in_ipv4_is_sealed_as_computed_independently() {
    for backend in AeadBackend::available() {
        let sa = golden_sa(
            backend,
            0x1122_3344,
            EspAlgorithm::AesGcm128,
            false,
            outer("192.0.2.1", "198.51.100.2"),
        );
        assert_sealed(
            backend,
            &sa,
            1,
            "45b9002100074000211145070a0100010a02000203e807d0000d000068656c6c6f",
            "45b900580000400040324d84c0000201c6336402\
             11223344000000010000000000000001\
             03c81cd36c833750a67d0310d10594671bf01981951d87726dfc8b1074c3337e84facfaf\
             243a5488500c8a93ef4575a501fc7a01",
        );
    }
}

#[test]
fn ipv6_in_udp_over_ipv4_with_extended_numbers_is_sealed_as_computed_independently() {
    for backend in AeadBackend::available() {
        let outer = OuterParameters {
            encapsulation: Encapsulation::Udp { local_port: 4500, remote_port: 61000 },
            ttl: 255,
            dscp: DscpPolicy::Fixed(46),
            df: DfPolicy::Clear,
            ..outer("192.0.2.1", "198.51.100.2")
        };
        let sa = golden_sa(backend, 0xdead_beef, EspAlgorithm::AesGcm256, true, outer);
        assert_sealed(
            backend,
            &sa,
            (1 << 32) + 5,
            "6020000000003b4020010db800000000000000000000000120010db8000100000000000000000002",
            "45ba006800050000ff11ce8ec0000201c6336402\
             1194ee4800540000\
             deadbeef000000050000000100000005\
             b3e6366c690c6970e450797d04fd75e3bf142f7327ac7b818f76398a14f36d761a95cc5572841a8420aea787\
             48465753c5742b5edb4c37cd94b5e6b4",
        );
    }
}

#[test]
fn ipv4_in_udp_over_ipv6_is_sealed_as_computed_independently() {
    for backend in AeadBackend::available() {
        let outer = OuterParameters {
            encapsulation: Encapsulation::UDP_4500,
            ttl: 63,
            ..outer("2001:db8::a", "2001:db8::b")
        };
        let sa = golden_sa(backend, 0x100, EspAlgorithm::AesGcm192, false, outer);
        assert_sealed(
            backend,
            &sa,
            u64::from(u32::MAX),
            "4500001d00630000400166780a0100010a02000208007061796c6f6164",
            "600000000048113f20010db800000000000000000000000a20010db800000000000000000000000b\
             119411940048c567\
             00000100ffffffff00000000ffffffff\
             1b97ed75e0a82840200c3d96e899828800d9f73cf49a00e47f9fe632a698c3ff\
             3e6e6320d9b8366bb942de291b7fbcee",
        );
    }
}

/// Bytes from hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "an odd number of digits");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
