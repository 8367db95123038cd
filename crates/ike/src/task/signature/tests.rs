//! Schemes, their identifiers, and signatures by each kind of key.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// RFC 4055 §3.1, §5; RFC 5758 §3.2
#[test]
fn identifiers_are_those_of_rfc_7427_appendix_a() {
    let vectors = [
        (SignatureScheme::RsaPkcs1(Sha256), "300d 0609 2a86 4886 f70d 0101 0b05 00"),
        (SignatureScheme::RsaPkcs1(Sha384), "300d 0609 2a86 4886 f70d 0101 0c05 00"),
        (SignatureScheme::RsaPkcs1(Sha512), "300d 0609 2a86 4886 f70d 0101 0d05 00"),
        (SignatureScheme::Ecdsa(SignatureCurve::P256, Sha256), "300a 0608 2a86 48ce 3d04 0302"),
        (SignatureScheme::Ecdsa(SignatureCurve::P384, Sha384), "300a 0608 2a86 48ce 3d04 0303"),
        (SignatureScheme::Ecdsa(SignatureCurve::P521, Sha512), "300a 0608 2a86 48ce 3d04 0304"),
        (
            SignatureScheme::RsaPss(Sha256),
            "3041 0609 2a86 4886 f70d 0101 0a30 34a0 0f30 0d06 0960 8648 0165 0304 0201 0500 a11c 301a \
             0609 2a86 4886 f70d 0101 0830 0d06 0960 8648 0165 0304 0201 0500 a203 0201 20",
        ),
        // RFC 8420 appendix A.
        (SignatureScheme::Ed25519, "3005 0603 2b65 70"),
    ];
    for (scheme, expected) in vectors {
        assert_eq!(algorithm_identifier(scheme), Some(hex(expected)), "{scheme:?}");
        let kind = match scheme {
            SignatureScheme::Ecdsa(curve, _) => KeyKind::Ecdsa(curve),
            SignatureScheme::Ed25519 => KeyKind::Ed25519,
            _ => KeyKind::Rsa,
        };
        assert_eq!(scheme_of(&hex(expected), kind), Some(scheme));
    }
}

#[test]
fn other_encodings_of_pss_are_read() {
    // As OpenSSL writes it: no parameters of the hashes.
    let short = "303d 0609 2a86 4886 f70d 0101 0a30 30a0 0d30 0b06 0960 8648 0165 0304 0201 a11a 3018 \
                 0609 2a86 4886 f70d 0101 0830 0b06 0960 8648 0165 0304 0201 a203 0201 20";
    assert_eq!(scheme_of(&hex(short), KeyKind::Rsa), Some(SignatureScheme::RsaPss(Sha256)));
}

/// RFC 8247 §3.2, RFC 7427 §4: SHA-1 is not announced.
#[test]
fn sha_1_and_another_kind_of_key_mean_nothing() {
    // RFC 7427 A.1.1, A.3.1 and A.4.2 (default parameters, spelled out).
    let refused = [
        ("300d 0609 2a86 4886 f70d 0101 0505 00", KeyKind::Rsa),
        ("3009 0607 2a86 48ce 3d04 01", KeyKind::Ecdsa(SignatureCurve::P256)),
        ("300d 0609 2a86 4886 f70d 0101 0a30 00", KeyKind::Rsa),
        (
            "303e 0609 2a86 4886 f70d 0101 0a30 31a0 0b30 0906 052b 0e03 021a 0500 a118 3016 \
             0609 2a86 4886 f70d 0101 0830 0906 052b 0e03 021a 0500 a203 0201 14a3 0302 0101",
            KeyKind::Rsa,
        ),
        ("300d 0609 2a86 4886 f70d 0101 0b05 00", KeyKind::Ed25519),
        ("3005 0603 2b65 70", KeyKind::Rsa),
        ("", KeyKind::Rsa),
    ];
    for (identifier, kind) in refused {
        assert_eq!(scheme_of(&hex(identifier), kind), None, "{identifier}");
    }
}

/// RFC 7427 §4, §7: two octets for each hash.
#[test]
fn only_known_hashes_of_an_announcement_count() {
    assert_eq!(announcement(), [0, 2, 0, 3, 0, 4, 0, 5]);
    assert_eq!(announced(&[0, 1, 0, 2, 0, 99, 0, 5, 7]), [2, IDENTITY]);
    assert_eq!(announced(&announcement()), ANNOUNCED);
}

use crate::certificate::pki::{Authority, Kind};
use crate::provider::DEFAULT;
use crate::secret::Secret;

const ALL: Option<&[u16]> = Some(&ANNOUNCED);

fn credential(kind: Kind) -> Credential {
    let ca = Authority::root("ca");
    let issued = ca.issue("gateway", kind, |_| {});
    let key = Secret::from(&issued.private_key[..]);
    Credential::new(&DEFAULT, &issued.certificate, &[], &key).unwrap()
}

/// Signs, and has it checked: the method and the scheme.
fn round_trip(kind: Kind, announced: Option<&[u16]>) -> Option<(u8, SignatureScheme)> {
    let credential = credential(kind);
    let (method, data) = sign(&credential, announced, None, b"octets").ok()?;
    let check = |data: &[u8], octets: &[u8]| {
        verify(&DEFAULT, credential.certificate(), (method, data), announced.is_some(), octets)
    };
    assert_eq!(check(&data, b"other octets"), Err(CryptoError));
    for position in [0, data.len() / 2, data.len() - 1] {
        let mut tampered = data.clone();
        tampered[position] ^= 1;
        assert_eq!(check(&tampered, b"octets"), Err(CryptoError), "{kind:?} {position}");
    }
    for length in [0, 1, data.len() - 1] {
        assert_eq!(check(&data[..length], b"octets"), Err(CryptoError), "{kind:?} {length}");
    }
    Some((method, check(&data, b"octets").unwrap()))
}

/// RFC 7427 §3; RFC 4754 §3, §4; RFC 8247 §3.2: RSASSA-PSS with SHA2-256.
#[test]
fn each_kind_of_key_signs_for_a_peer_with_rfc_7427_and_for_one_without() {
    use SignatureCurve::{P256, P384, P521};
    use SignatureScheme::{Ecdsa, EcdsaFixed, RsaPkcs1, RsaPss};
    let expected = [
        (Kind::Rsa, RsaPss(Sha256), Some((1, RsaPkcs1(Sha256)))),
        (Kind::P256, Ecdsa(P256, Sha256), Some((9, EcdsaFixed(P256)))),
        (Kind::P384, Ecdsa(P384, Sha384), Some((10, EcdsaFixed(P384)))),
        (Kind::P521, Ecdsa(P521, Sha512), Some((11, EcdsaFixed(P521)))),
        (Kind::Ed25519, SignatureScheme::Ed25519, None),
    ];
    for (kind, new, old) in expected {
        assert_eq!(round_trip(kind, ALL), Some((14, new)), "{kind:?}");
        assert_eq!(round_trip(kind, None), old, "{kind:?}");
    }
}

/// RFC 7427 §4; RFC 8420 §2
#[test]
fn only_hashes_that_the_peer_announced_are_used() {
    assert_eq!(round_trip(Kind::Rsa, Some(&[4])), Some((14, SignatureScheme::RsaPss(Sha512))));
    // No common hash.
    assert_eq!(round_trip(Kind::Rsa, Some(&[])), None);
    assert_eq!(round_trip(Kind::Ed25519, Some(&[2])), None);
}

/// RFC 7427 §3: where both ends announced hashes, the older methods are not used any more.
#[test]
fn a_peer_that_announced_other_hashes_gets_no_older_method() {
    assert_eq!(round_trip(Kind::P384, Some(&[2])), None);
    assert_eq!(round_trip(Kind::P256, Some(&[])), None);
}

/// RFC 7427 §3: octets of the identifier, the identifier, the signature; ECDSA in DER. RFC 4754 §7:
/// r and s, one behind the other.
#[test]
fn authentication_data_have_the_form_of_their_method() {
    for (kind, announced, form) in [
        (Kind::P256, ALL, "0c 300a 0608 2a86 48ce 3d04 0302 30"),
        (Kind::Ed25519, ALL, "07 3005 0603 2b65 70"),
    ] {
        let (_, data) = sign(&credential(kind), announced, None, b"octets").unwrap();
        assert!(data.starts_with(&hex(form)), "{data:02x?}");
    }
    for (kind, octets) in [(Kind::P256, 64), (Kind::P384, 96), (Kind::P521, 132)] {
        let (_, data) = sign(&credential(kind), None, None, b"octets").unwrap();
        assert_eq!(data.len(), octets, "{kind:?}");
    }
}

#[test]
fn a_responder_answers_pkcs_1_by_pkcs_1() {
    let credential = credential(Kind::Rsa);
    let theirs = SignatureScheme::RsaPkcs1(Sha512);
    let auth = sign(&credential, ALL, Some(theirs), b"octets").unwrap();
    let ours = verify(&DEFAULT, credential.certificate(), (auth.0, &auth.1), true, b"octets");
    assert_eq!(ours, Ok(SignatureScheme::RsaPkcs1(Sha256)));
}

/// RFC 8247 §3.2
#[test]
fn sha_1_is_for_peers_without_rfc_7427() {
    // Made by OpenSSL: the message "octets" signed by this certificate's key with SHA-1.
    let certificate = Certificate::from_der(include_bytes!("../sha1/certificate.der")).unwrap();
    let auth = (RSA, &include_bytes!("../sha1/signature")[..]);
    let scheme = SignatureScheme::RsaPkcs1(Sha1);
    assert_eq!(verify(&DEFAULT, &certificate, auth, false, b"octets"), Ok(scheme));
    assert_eq!(verify(&DEFAULT, &certificate, auth, true, b"octets"), Err(CryptoError));
}

#[test]
fn a_signature_by_another_kind_of_key_is_refused() {
    let rsa = credential(Kind::Rsa);
    let (method, data) = sign(&credential(Kind::P256), None, None, b"octets").unwrap();
    assert_eq!(verify(&DEFAULT, rsa.certificate(), (method, &data), true, b"octets"), Err(CryptoError));
    assert_eq!(verify(&DEFAULT, rsa.certificate(), (2, &data), true, b"octets"), Err(CryptoError));
}
