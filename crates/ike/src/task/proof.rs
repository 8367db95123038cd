//! Authentication in IKE_AUTH (RFC 7296 §2.15): by pre-shared key, or by signature and certificate.

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::action::ProofMethod;
use crate::certificate::{Certificate, CertificateError, Credential};
use crate::config::{Authentication, CertificatePolicy, Connection, Proof};
use crate::identity::Identity;
use crate::keys::prf;
use crate::message::Payload;
use crate::provider::{KeyKind, Provider, SignatureScheme};
use crate::sa::IkeSa;
use crate::secret::Secret;

use super::Ctx;
use super::auth::Init;
use super::parts::{Parts, X509_SIGNATURE};
use super::signature;

/// Shared Key Message Integrity Code, RFC 7296 §3.8.
const SHARED_KEY: u8 = 2;
/// CAs that we name in one CERTREQ.
const MAX_AUTHORITIES: usize = 8;

/// Evidence that the peer is authenticated. Only [`verify`] creates it, so a function that takes it
/// cannot be called without authentication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proved {
    /// The authentication method.
    pub(crate) method: ProofMethod,
    /// The signature scheme, if the peer signed.
    pub(crate) scheme: Option<SignatureScheme>,
}

/// What the peer sent to authenticate itself.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) identity: &'a Identity,
    /// (method, authentication data)
    pub(crate) auth: (u8, &'a [u8]),
    pub(crate) certificates: &'a [Vec<u8>],
    pub(crate) by_initiator: bool,
}

/// Why authentication failed, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disproof {
    #[error("its AUTH payload is wrong: different pre-shared keys?")]
    Key,
    #[error("its signature is wrong or made in a way that is not accepted")]
    Signature,
    #[error("it uses authentication method {0}, which the configuration does not allow")]
    Method(u8),
    #[error("its certificate has a key of another kind than the configuration allows")]
    Kind,
    #[error("the ends have no post-quantum pre-shared key in common, and one of them insists")]
    Ppk,
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Our AUTH payload, with the certificates that belong to it.
pub(crate) struct Own {
    pub(crate) method: ProofMethod,
    pub(crate) certificates: Vec<Payload>,
    pub(crate) auth: Payload,
}

impl Own {
    /// The authentication data alone, for NO_PPK_AUTH (RFC 8784 §3).
    pub(crate) fn data(self) -> Vec<u8> {
        match self.auth {
            Payload::Auth(_, data) => data,
            _ => Vec::new(),
        }
    }
}

/// CERTREQ for the CAs that `connections` trust (RFC 7296 §3.7); `None` if they trust none.
pub(crate) fn certificate_request<'a>(connections: impl Iterator<Item = &'a Connection>) -> Option<Payload> {
    let mut hashes: Vec<[u8; 20]> = Vec::new();
    for hash in connections.flat_map(|connection| connection.authentication.authorities()) {
        if hashes.len() < MAX_AUTHORITIES && !hashes.contains(&hash) {
            hashes.push(hash);
        }
    }
    (!hashes.is_empty()).then(|| Payload::CertificateRequest(X509_SIGNATURE, hashes.concat()))
}

/// The credential that matches the peer's CERTREQ best: RFC 7296 §3.7 allows a certificate of
/// another CA than those named, since the peer may know a path to it.
pub(crate) fn credential<'a>(
    authentication: &'a Authentication,
    authorities: Option<&[[u8; 20]]>,
) -> Option<&'a Arc<Credential>> {
    let Proof::Certificate(credentials) = &authentication.local else { return None };
    let named = authorities.unwrap_or_default();
    credentials.iter().find(|credential| credential.is_issued_by(named)).or(credentials.first())
}

/// Our identity where none is configured: the address in use. A certificate must name the identity
/// (RFC 4945 §3.1), so its subject is used if it does not name the address.
pub(crate) fn default_identity(sa: &IkeSa, credential: Option<&Arc<Credential>>) -> Identity {
    let address = Identity::Address(sa.local.ip());
    match credential {
        Some(credential) if !credential.certificate().names(&address) => credential.certificate().subject(),
        _ => address,
    }
}

/// Authenticates us as `own`. `None` if that is not possible: no key, or none that the peer can
/// verify.
pub(crate) fn prove(
    sa: &IkeSa,
    provider: &Provider,
    init: &Init,
    own: &Identity,
    credential: Option<&Arc<Credential>>,
    mirrored: Option<SignatureScheme>,
) -> Option<Own> {
    let by_initiator = sa.initiator;
    if let Proof::PreShared(key) = &sa.connection.authentication.local {
        let code = shared_key_code(sa, provider, key, init, own, by_initiator)?;
        let auth = Payload::Auth(SHARED_KEY, code.expose().to_vec());
        return Some(Own { method: ProofMethod::PreShared, certificates: vec![], auth });
    }
    let credential = credential?;
    let octets = signed_octets(sa, provider, init, own, by_initiator)?;
    let announced = init.signature_hashes.as_deref();
    let (method, data) = signature::sign(credential, announced, mirrored, &octets).ok()?;
    // RFC 7296 §3.6: the certificate whose key signed comes first.
    let certificates =
        credential.chain().map(|der| Payload::Certificate(X509_SIGNATURE, der.to_vec())).collect();
    Some(Own {
        method: ProofMethod::Signature(credential.kind()),
        certificates,
        auth: Payload::Auth(method, data),
    })
}

/// Verifies AUTH of the peer as `connection` demands. The caller has already checked that the
/// connection accepts the identity.
///
/// # Errors
/// The reason of the failure.
pub(crate) fn verify(
    sa: &IkeSa,
    ctx: &Ctx<'_>,
    connection: &Connection,
    init: &Init,
    claim: &Claim<'_>,
) -> Result<Proved, Disproof> {
    let accepted = &connection.authentication.remote;
    let (method, data) = claim.auth;
    match (method, &accepted.pre_shared, &accepted.certificates) {
        (SHARED_KEY, Some(key), _) => {
            let expected = shared_key_code(sa, ctx.provider(), key, init, claim.identity, claim.by_initiator)
                .ok_or(Disproof::Key)?;
            match bool::from(expected.expose().ct_eq(data)) {
                true => Ok(Proved { method: ProofMethod::PreShared, scheme: None }),
                false => Err(Disproof::Key),
            }
        }
        (method, _, Some(policy)) if signature::is_signature(method) => {
            by_signature(sa, ctx, policy, init, claim)
        }
        _ => Err(Disproof::Method(method)),
    }
}

fn by_signature(
    sa: &IkeSa,
    ctx: &Ctx<'_>,
    policy: &CertificatePolicy,
    init: &Init,
    claim: &Claim<'_>,
) -> Result<Proved, Disproof> {
    let first = claim.certificates.first().ok_or(CertificateError::Missing)?;
    let certificate = Certificate::from_der(first)?;
    let allowed = |kind: &KeyKind| match kind {
        KeyKind::Rsa => policy.rsa,
        KeyKind::Ecdsa(_) | KeyKind::Ed25519 => policy.elliptic,
    };
    let kind = certificate.key_kind().filter(allowed).ok_or(Disproof::Kind)?;
    // The signature is checked first: it is cheaper than path validation, and a peer without the
    // private key fails here.
    let octets = signed_octets(sa, ctx.provider(), init, claim.identity, claim.by_initiator)
        .ok_or(Disproof::Signature)?;
    let speaks_7427 = init.signature_hashes.is_some();
    let scheme = signature::verify(ctx.provider(), &certificate, claim.auth, speaks_7427, &octets)
        .map_err(|_| Disproof::Signature)?;
    validate(ctx.provider(), policy, claim.certificates, ctx.unix_time)?;
    // RFC 4945 §3.1: the identity MUST be one that the certificate names.
    if !certificate.names(claim.identity) {
        let (subject, identity) = (certificate.subject_text(), claim.identity.to_string());
        return Err(CertificateError::Identity { subject, identity }.into());
    }
    Ok(Proved { method: ProofMethod::Signature(kind), scheme: Some(scheme) })
}

/// One trusted CA is enough; the error of the last one is reported.
fn validate(
    provider: &Provider,
    policy: &CertificatePolicy,
    chain: &[Vec<u8>],
    now: Option<Duration>,
) -> Result<(), CertificateError> {
    let now = now.ok_or(CertificateError::NoClock)?;
    let mut verdict = Err(CertificateError::Missing);
    for trust in &policy.trust {
        verdict = trust.validate(provider, chain, now).map(|_| ());
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), signed octets).
fn shared_key_code(
    sa: &IkeSa,
    provider: &Provider,
    key: &Secret,
    init: &Init,
    identity: &Identity,
    by_initiator: bool,
) -> Option<Secret> {
    let octets = signed_octets(sa, provider, init, identity, by_initiator)?;
    let suite = sa.framer.as_ref()?.suite;
    let key = prf(provider, suite.prf, key, &[b"Key Pad for IKEv2"]).ok()?;
    prf(provider, suite.prf, &key, &[&octets]).ok()
}

/// What either kind of AUTH covers: the end's own IKE_SA_INIT message | the nonce of the other end
/// | prf(SK_p, RestOfIDPayload)
/// | IntAuth (RFC 9242 §3.3.2).
fn signed_octets(
    sa: &IkeSa,
    provider: &Provider,
    init: &Init,
    identity: &Identity,
    by_initiator: bool,
) -> Option<Vec<u8>> {
    let framer = sa.framer.as_ref()?;
    let (message, nonce, p) = if by_initiator {
        (&init.request, &init.nonce_r, &framer.keys.p_initiator)
    } else {
        (&init.response, &init.nonce_i, &framer.keys.p_responder)
    };
    let id_body = Payload::IdI(identity.clone()).body();
    let maced_id = prf(provider, framer.suite.prf, p, &[&id_body]).ok()?;
    Some([&message[..], nonce, maced_id.expose(), &init.int_auth].concat())
}

/// What a peer's message contains besides its identity.
pub(crate) fn claim<'a>(parts: &'a Parts, identity: &'a Identity, by_initiator: bool) -> Option<Claim<'a>> {
    let (method, data) = parts.auth.as_ref()?;
    Some(Claim { identity, auth: (*method, data), certificates: &parts.certificates, by_initiator })
}
