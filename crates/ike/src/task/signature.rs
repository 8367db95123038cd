//! AUTH by signature: choice of the scheme (RFC 7427, RFC 8420, RFC 4754), and its form on the
//! wire.

use crate::certificate::{Certificate, Credential};
use crate::provider::{CryptoError, KeyKind, Provider, SignatureCurve, SignatureHash, SignatureScheme};

/// Authentication methods (RFC 7296 §3.8, RFC 4754 §4, RFC 7427 §3).
const RSA: u8 = 1;
const ECDSA_256: u8 = 9;
const ECDSA_384: u8 = 10;
const ECDSA_521: u8 = 11;
const DIGITAL_SIGNATURE: u8 = 14;

/// The "hash" of a scheme with a built-in hash (RFC 8420 §2).
const IDENTITY: u16 = 5;

use SignatureHash::{Sha1, Sha256, Sha384, Sha512};

/// The hashes that we announce: no SHA-1 (RFC 8247 §3.2).
const ANNOUNCED: [u16; 4] = [2, 3, 4, IDENTITY];

/// Data of our SIGNATURE_HASH_ALGORITHMS notify (RFC 7427 §4).
pub(crate) fn announcement() -> Vec<u8> {
    ANNOUNCED.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// The numbers in the peer's notify, only those that are implemented.
pub(crate) fn announced(data: &[u8]) -> Vec<u16> {
    let numbers = data.as_chunks().0.iter().map(|number| u16::from_be_bytes(*number));
    ANNOUNCED.into_iter().filter(|known| numbers.clone().any(|number| number == *known)).collect()
}

/// Is it a method that proves by signature?
pub(crate) fn is_signature(method: u8) -> bool {
    matches!(method, RSA | ECDSA_256 | ECDSA_384 | ECDSA_521 | DIGITAL_SIGNATURE)
}

/// Signs, in the form that the peer can check: (method, authentication data). `announced` is what
/// the peer announced, `None` if it does not support RFC 7427; `mirrored` is the scheme of the
/// peer's own AUTH, if it came first.
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
            // RFC 7427 §4: only what the peer announced; SHA2-256 is preferred, as it is mandatory
            // to implement (RFC 8247 §3.2).
            let hash = [Sha256, Sha384, Sha512].into_iter().find(|hash| can(*hash)).ok_or(CryptoError)?;
            match mirrored {
                Some(SignatureScheme::RsaPkcs1(_)) => SignatureScheme::RsaPkcs1(hash),
                // RFC 8247 §3.2: RSASSA-PSS with SHA2-256 MUST be there.
                _ => SignatureScheme::RsaPss(hash),
            }
        }
        KeyKind::Ecdsa(curve) if can(hash_of(curve)) => SignatureScheme::Ecdsa(curve, hash_of(curve)),
        // RFC 7427 §3: methods 9 to 11, which need no announcement, are not used with peers that
        // support it.
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

/// Checks the peer's AUTH with the key of its certificate; returns the scheme that it used.
/// `speaks_7427`: both ends announced it.
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
            // RFC 7296 §3.8: the signature contains the hash identifier. SHA-1 only from peers
            // without RFC 7427.
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

/// The method and scheme for a peer without RFC 7427.
fn without_announcement(kind: KeyKind) -> Option<(u8, SignatureScheme)> {
    match kind {
        // RFC 7296 §3.8 allows other hashes than SHA-1 here, and RFC 8247 §3.2 forbids creating
        // signatures with SHA-1.
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

/// The scheme of an AlgorithmIdentifier for a key of this kind. DER allows a few encodings for each
/// scheme (parameters NULL or absent, a default spelled out), which are compared as a whole:
/// nothing is parsed.
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

/// id-RSASSA-PSS with its parameters (RFC 4055 §3.1): hash, MGF1 with the same hash, salt as long
/// as the hash.
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
mod tests;
