//! AUTH by signature: which scheme an end takes (RFC 7427, RFC 8420, RFC 4754), and its form on the wire.

use crate::certificate::{Certificate, Credential};
use crate::provider::{CryptoError, KeyKind, Provider, SignatureCurve, SignatureHash, SignatureScheme};

/// Authentication methods (RFC 7296 §3.8, RFC 4754 §4, RFC 7427 §3).
const RSA: u8 = 1;
const ECDSA_256: u8 = 9;
const ECDSA_384: u8 = 10;
const ECDSA_521: u8 = 11;
const DIGITAL_SIGNATURE: u8 = 14;

/// The "hash" of a scheme that hashes by itself (RFC 8420 §2).
const IDENTITY: u16 = 5;

use SignatureHash::{Sha1, Sha256, Sha384, Sha512};

/// What we announce: no SHA-1 (RFC 8247 §3.2).
const ANNOUNCED: [u16; 4] = [2, 3, 4, IDENTITY];

/// Data of our SIGNATURE_HASH_ALGORITHMS notify (RFC 7427 §4).
pub(crate) fn announcement() -> Vec<u8> {
    ANNOUNCED.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// The numbers in the peer's notify, those only that mean something here.
pub(crate) fn announced(data: &[u8]) -> Vec<u16> {
    let numbers = data.as_chunks().0.iter().map(|number| u16::from_be_bytes(*number));
    ANNOUNCED.into_iter().filter(|known| numbers.clone().any(|number| number == *known)).collect()
}

/// Is it a method that proves by signature?
pub(crate) fn is_signature(method: u8) -> bool {
    matches!(method, RSA | ECDSA_256 | ECDSA_384 | ECDSA_521 | DIGITAL_SIGNATURE)
}

/// Signs, in the form that the peer can check: (method, authentication data). `announced` is what the peer announced, `None` if
/// it does not speak RFC 7427; `mirrored` is the scheme of the peer's own AUTH, if it came first.
///
/// # Errors
/// If there is no scheme that both ends have, or the backend fails.
pub(crate) fn sign(
    credential: &Credential,
    announced: Option<&[u16]>,
    mirrored: Option<SignatureScheme>,
    octets: &[u8],
) -> Result<(u8, Vec<u8>), CryptoError> {
    let Some(announced) = announced else {
        let (method, scheme) = without_announcement(credential.kind()).ok_or(CryptoError)?;
        return Ok((method, credential.sign(scheme, octets)?));
    };
    let can = |hash: SignatureHash| announced.contains(&number(hash));
    let scheme = match credential.kind() {
        KeyKind::Rsa => {
            // RFC 7427 §4: only what the peer announced; of that, SHA2-256 is what everybody has (RFC 8247 §3.2).
            let hash = [Sha256, Sha384, Sha512].into_iter().find(|hash| can(*hash)).ok_or(CryptoError)?;
            match mirrored {
                Some(SignatureScheme::RsaPkcs1(_)) => SignatureScheme::RsaPkcs1(hash),
                // RFC 8247 §3.2: RSASSA-PSS with SHA2-256 MUST be there.
                _ => SignatureScheme::RsaPss(hash),
            }
        }
        KeyKind::Ecdsa(curve) if can(hash_of(curve)) => SignatureScheme::Ecdsa(curve, hash_of(curve)),
        // RFC 7427 §3: methods 9 to 11, which need no announcement, are not for peers that speak it.
        KeyKind::Ecdsa(_) => return Err(CryptoError),
        // RFC 8420 §2: Ed25519 is for peers that announced the identity hash.
        KeyKind::Ed25519 if announced.contains(&IDENTITY) => SignatureScheme::Ed25519,
        KeyKind::Ed25519 => return Err(CryptoError),
    };
    let identifier = algorithm_identifier(scheme).ok_or(CryptoError)?;
    // RFC 7427 §3: one octet of length, the AlgorithmIdentifier, the signature.
    let length = u8::try_from(identifier.len()).map_err(|_| CryptoError)?;
    let signature = credential.sign(scheme, octets)?;
    Ok((DIGITAL_SIGNATURE, [&[length][..], &identifier, &signature].concat()))
}

/// Checks the peer's AUTH with the key of its certificate; returns the scheme that it used. `speaks_7427`: both ends announced it.
///
/// # Errors
/// If the signature is wrong, or made in a way that is not accepted.
pub(crate) fn verify(
    provider: &Provider,
    certificate: &Certificate,
    (method, data): (u8, &[u8]),
    speaks_7427: bool,
    octets: &[u8],
) -> Result<SignatureScheme, CryptoError> {
    let kind = certificate.key_kind().ok_or(CryptoError)?;
    let check = |scheme, signature: &[u8]| {
        provider.signatures.verify(scheme, certificate.public_key(), octets, signature).map(|()| scheme)
    };
    match (method, kind) {
        (RSA, KeyKind::Rsa) => {
            // RFC 7296 §3.8: the hash is named inside of the signature. SHA-1 only where the peer has nothing better.
            let hashes = [Sha256, Sha384, Sha512].into_iter().chain((!speaks_7427).then_some(Sha1));
            let schemes = hashes.map(SignatureScheme::RsaPkcs1);
            schemes.map(|scheme| check(scheme, data)).find(Result::is_ok).unwrap_or(Err(CryptoError))
        }
        (ECDSA_256, KeyKind::Ecdsa(curve @ SignatureCurve::P256))
        | (ECDSA_384, KeyKind::Ecdsa(curve @ SignatureCurve::P384))
        | (ECDSA_521, KeyKind::Ecdsa(curve @ SignatureCurve::P521)) => {
            check(SignatureScheme::EcdsaFixed(curve), data)
        }
        (DIGITAL_SIGNATURE, kind) => {
            let (length, rest) = data.split_first().ok_or(CryptoError)?;
            let (identifier, signature) = rest.split_at_checked((*length).into()).ok_or(CryptoError)?;
            // RFC 7427 §4: MUST be one of the hashes that we announced; no other is in the table.
            let scheme = scheme_of(identifier, kind).ok_or(CryptoError)?;
            check(scheme, signature)
        }
        _ => Err(CryptoError),
    }
}

/// How a peer without RFC 7427 is convinced.
fn without_announcement(kind: KeyKind) -> Option<(u8, SignatureScheme)> {
    match kind {
        // RFC 7296 §3.8 allows other hashes than SHA-1 here, and RFC 8247 §3.2 forbids to make signatures with it.
        KeyKind::Rsa => Some((RSA, SignatureScheme::RsaPkcs1(Sha256))),
        KeyKind::Ecdsa(curve) => {
            let method = match curve {
                SignatureCurve::P256 => ECDSA_256,
                SignatureCurve::P384 => ECDSA_384,
                SignatureCurve::P521 => ECDSA_521,
            };
            Some((method, SignatureScheme::EcdsaFixed(curve)))
        }
        KeyKind::Ed25519 => None,
    }
}

/// Its number in SIGNATURE_HASH_ALGORITHMS.
fn number(hash: SignatureHash) -> u16 {
    match hash {
        Sha1 => 1,
        Sha256 => 2,
        Sha384 => 3,
        Sha512 => 4,
    }
}

/// The hash that goes with a curve (RFC 4754 §3, RFC 8247 §3.2).
fn hash_of(curve: SignatureCurve) -> SignatureHash {
    match curve {
        SignatureCurve::P256 => Sha256,
        SignatureCurve::P384 => Sha384,
        SignatureCurve::P521 => Sha512,
    }
}

/// The AlgorithmIdentifier that we send with a scheme (RFC 7427 appendix A, RFC 8420 appendix A).
fn algorithm_identifier(scheme: SignatureScheme) -> Option<Vec<u8>> {
    match scheme {
        SignatureScheme::RsaPkcs1(hash) => rsa_pkcs1(hash).map(|oid| sequence(&[&oid, NULL])),
        SignatureScheme::RsaPss(hash) => rsa_pss(hash, NULL, NULL, &[]),
        SignatureScheme::Ecdsa(_, hash) => ecdsa(hash).map(|oid| sequence(&[&oid])),
        SignatureScheme::Ed25519 => Some(sequence(&[&ED25519])),
        SignatureScheme::EcdsaFixed(_) => None,
    }
}

/// What an AlgorithmIdentifier means for a key of this kind. DER leaves a few forms for each scheme (parameters NULL or absent, a
/// default spelled out), and they are compared as a whole: nothing is parsed.
fn scheme_of(identifier: &[u8], kind: KeyKind) -> Option<SignatureScheme> {
    let hashes = [Sha256, Sha384, Sha512];
    match kind {
        KeyKind::Rsa => hashes.into_iter().find_map(|hash| {
            let pkcs1 = rsa_pkcs1(hash)?;
            if [sequence(&[&pkcs1, NULL]), sequence(&[&pkcs1])].iter().any(|form| form == identifier) {
                return Some(SignatureScheme::RsaPkcs1(hash));
            }
            let forms = [(NULL, NULL), (NULL, NONE), (NONE, NULL), (NONE, NONE)];
            let mut forms =
                forms.iter().flat_map(|(a, b)| [rsa_pss(hash, a, b, &[]), rsa_pss(hash, a, b, &TRAILER)]);
            forms.any(|form| form.as_deref() == Some(identifier)).then_some(SignatureScheme::RsaPss(hash))
        }),
        KeyKind::Ecdsa(curve) => hashes.into_iter().find_map(|hash| {
            let oid = ecdsa(hash)?;
            let forms = [sequence(&[&oid]), sequence(&[&oid, NULL])];
            forms.iter().any(|form| form == identifier).then_some(SignatureScheme::Ecdsa(curve, hash))
        }),
        KeyKind::Ed25519 => (identifier == sequence(&[&ED25519])).then_some(SignatureScheme::Ed25519),
    }
}

// DER, of contents shorter than 128 octets.

const NULL: &[u8] = &[0x05, 0x00];
const NONE: &[u8] = &[];
/// trailerField [3] with its default.
const TRAILER: [u8; 5] = [0xa3, 0x03, 0x02, 0x01, 0x01];
/// 1.3.101.112
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[tag, content.len() as u8][..], &content].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, parts)
}

/// pkcs-1 and a number.
fn pkcs1(number: u8) -> Vec<u8> {
    tagged(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, number]])
}

/// shaNNNWithRSAEncryption (RFC 4055 §5).
fn rsa_pkcs1(hash: SignatureHash) -> Option<Vec<u8>> {
    Some(pkcs1(match hash {
        Sha1 => return None,
        Sha256 => 11,
        Sha384 => 12,
        Sha512 => 13,
    }))
}

/// ecdsa-with-SHANNN (RFC 5758 §3.2).
fn ecdsa(hash: SignatureHash) -> Option<Vec<u8>> {
    let number = match hash {
        Sha1 => return None,
        Sha256 => 2,
        Sha384 => 3,
        Sha512 => 4,
    };
    Some(tagged(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, number]]))
}

/// id-RSASSA-PSS with its parameters (RFC 4055 §3.1): hash, MGF1 with the same hash, salt as long as the hash.
fn rsa_pss(hash: SignatureHash, hash_null: &[u8], mask_null: &[u8], trailer: &[u8]) -> Option<Vec<u8>> {
    let (number, salt) = match hash {
        Sha1 => return None,
        Sha256 => (1, 32),
        Sha384 => (2, 48),
        Sha512 => (3, 64),
    };
    let oid = tagged(0x06, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, number]]);
    let mask = sequence(&[&pkcs1(8), &sequence(&[&oid, mask_null])]);
    let parameters = sequence(&[
        &tagged(0xa0, &[&sequence(&[&oid, hash_null])]),
        &tagged(0xa1, &[&mask]),
        &tagged(0xa2, &[&[0x02, 0x01, salt]]),
        trailer,
    ]);
    Some(sequence(&[&pkcs1(10), &parameters]))
}

#[cfg(test)]
mod tests {
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

    /// RFC 7427 §3: octets of the identifier, the identifier, the signature; ECDSA in DER. RFC 4754 §7: r and s, one behind the other.
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
        let certificate = Certificate::from_der(include_bytes!("sha1/certificate.der")).unwrap();
        let auth = (RSA, &include_bytes!("sha1/signature")[..]);
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
}
