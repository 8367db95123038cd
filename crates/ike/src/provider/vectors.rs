//! Published vectors for every primitive of the default backend.

use super::DEFAULT;
use crate::algorithm::{Encryption, Group, Prf};
use crate::random::Random;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// "Random" bytes that are a vector's private key.
struct Fixed(Vec<u8>);

impl Random for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0[..bytes.len()]);
    }
}

/// Both private keys give their public values (where the vector has them) and the same secret.
fn check_exchange(group: Group, private: [&str; 2], public: Option<[&str; 2]>, secret: &str) {
    let method = DEFAULT.group(group).unwrap();
    let [(a, public_a), (b, public_b)] = private.map(|key| method.generate(&mut Fixed(hex(key))).unwrap());
    if let Some(public) = public {
        assert_eq!([&public_a, &public_b], [&hex(public[0]), &hex(public[1])], "{group:?}");
    }
    assert_eq!(a.agree(&public_b).unwrap().expose(), hex(secret), "{group:?}");
    assert_eq!(b.agree(&public_a).unwrap().expose(), hex(secret), "{group:?}");
}

#[test]
fn ecp_256_of_rfc_5903_section_8_1() {
    check_exchange(
        Group::Ecp256,
        [
            "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
            "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        ],
        Some([
            "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180
             5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
            "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63
             56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        ]),
        "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    );
}

#[test]
fn ecp_384_of_rfc_5903_section_8_2() {
    check_exchange(
        Group::Ecp384,
        [
            "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
            "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
        ],
        Some([
            "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA
             9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
            "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571
             DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
        ]),
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
    );
}

#[test]
fn ecp_521_of_rfc_5903_section_8_3() {
    check_exchange(
        Group::Ecp521,
        [
            "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA85A30FE1C2952C6771D937BA9777
             F5957B2639BAB072462F68C27A57382D4A52",
            "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C677D600B343757A3BDBF2A3163E4C2
             F869CCA7458AA4A4EFFC311F5CB151685EB9",
        ],
        None,
        "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D1427E73CA4BAA240A34786859810C06
         B3C715A3A8CC3151F2BEE417996D19F3DDEA",
    );
}

#[test]
fn curve25519_of_rfc_7748_section_6_1() {
    check_exchange(
        Group::Curve25519,
        [
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ],
        Some([
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ]),
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    );
}

/// RFC 5903 §7; RFC 8031 §3.1
#[test]
fn a_point_off_the_curve_and_a_zero_secret_are_refused() {
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        let method = DEFAULT.group(group).unwrap();
        let (key, public) = method.generate(&mut crate::random::SystemRandom).unwrap();
        let mut off = public.clone();
        *off.last_mut().unwrap() ^= 1;
        assert!(key.agree(&off).is_err(), "{group:?}");
        assert!(key.agree(&public[1..]).is_err(), "{group:?}");
        assert!(key.agree(&vec![0; public.len()]).is_err(), "{group:?}");
    }
    let (key, _) =
        DEFAULT.group(Group::Curve25519).unwrap().generate(&mut crate::random::SystemRandom).unwrap();
    assert!(key.agree(&[0; 32]).is_err(), "RFC 8031 §2: an all-zero secret");
}

#[test]
fn hmac_of_rfc_2202_and_rfc_4231() {
    let cases = [
        (Prf::HmacSha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (Prf::HmacSha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            Prf::HmacSha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Prf::HmacSha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd
             caeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (prf, expected) in cases {
        let mut output = vec![0; prf.output_len()];
        DEFAULT.prf(prf).unwrap().mac(b"Jefe", &[b"what do ya want ", b"for nothing?"], &mut output);
        assert_eq!(output, hex(expected), "{prf:?}");
    }
}

#[test]
fn sha_1_of_rfc_3174() {
    assert_eq!((DEFAULT.sha1)(&[b"a", b"bc"]).to_vec(), hex("A9993E364706816ABA3E25717850C26C9CD0D89D"));
}

#[test]
fn aes_cbc_of_rfc_3602_and_sp_800_38a() {
    let cases = [
        (
            Encryption::AesCbc128,
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            "53696e676c6520626c6f636b206d7367",
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            Encryption::AesCbc192,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "000102030405060708090a0b0c0d0e0f",
            "6bc1bee22e409f96e93d7e117393172a",
            "4f021db243bc633d7178183a9fa071e8",
        ),
        (
            Encryption::AesCbc256,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "000102030405060708090a0b0c0d0e0f",
            "6bc1bee22e409f96e93d7e117393172a",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd6",
        ),
    ];
    for (encryption, key, iv, plain, cipher) in cases {
        let mode = DEFAULT.cbc(encryption).unwrap();
        let iv = <[u8; 16]>::try_from(hex(iv)).unwrap();
        let mut text = hex(plain);
        mode.encrypt(&hex(key), &iv, &mut text).unwrap();
        assert_eq!(text, hex(cipher), "{encryption:?}");
        mode.decrypt(&hex(key), &iv, &mut text).unwrap();
        assert_eq!(text, hex(plain), "{encryption:?}");
        assert!(mode.encrypt(&hex(key), &iv, &mut text[1..]).is_err());
        assert!(mode.encrypt(&hex(key)[1..], &iv, &mut text).is_err());
    }
}

#[test]
fn aes_gcm_of_the_gcm_specification() {
    let cases = [
        (Encryption::AesGcm128, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"),
        (Encryption::AesGcm192, "98e7247c07f0fe411c267e4384b0f600", "2ff58d80033927ab8ef4d4587514f0fb"),
        (Encryption::AesGcm256, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    ];
    for (encryption, cipher, tag) in cases {
        let (aead, key) = (DEFAULT.aead(encryption).unwrap(), vec![0; encryption.key_len()]);
        let mut text = vec![0; 16];
        aead.seal(&key, [0; 12], &[], &mut text).unwrap();
        assert_eq!(text, [hex(cipher), hex(tag)].concat(), "{encryption:?}");
        aead.open(&key, [0; 12], &[], &mut text).unwrap();
        assert_eq!(text, [0; 16]);
    }
}
