//! Path validation to the CA of a trustpoint (RFC 5280 §6).

use std::fmt;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeId,
    KeyPurposeIdIter, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath, anchor_from_trusted_cert,
};

use super::{Certificate, CertificateError};
use crate::provider::Provider;

/// Largest number of certificates accepted in one message: a leaf and a chain of intermediates.
const MAX_SENT: usize = 8;

/// `revocation-check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// Not checked.
    Ignored,
    /// Every certificate below the CA must be covered by a CRL that is not out of date.
    #[default]
    Required,
    /// A certificate that a CRL revokes is refused; without a CRL it is accepted.
    IfKnown,
}

/// The CAs of a trustpoint with their CRLs.
pub struct TrustStore {
    anchors: Vec<Anchor>,
    intermediates: Vec<CertificateDer<'static>>,
    crls: Vec<CertRevocationList<'static>>,
    revocation: Revocation,
}

struct Anchor {
    certificate: Certificate,
    trusted: TrustAnchor<'static>,
    key_hash: [u8; 20],
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anchors: Vec<_> = self.anchors.iter().map(|anchor| &anchor.certificate).collect();
        write!(f, "TrustStore({anchors:?}, {} CRLs, {:?})", self.crls.len(), self.revocation)
    }
}

impl TrustStore {
    /// Trusts `authorities` (DER): the roots among them, or all where none is a root. `crls` are
    /// DER.
    ///
    /// # Errors
    /// If a certificate is malformed or no CA, or a CRL cannot be read.
    pub fn new(
        provider: &Provider,
        authorities: &[Vec<u8>],
        crls: &[Vec<u8>],
        revocation: Revocation,
    ) -> Result<Self, CertificateError> {
        let certificates: Vec<Certificate> =
            authorities.iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>()?;
        // RFC 5280 §4.2.1.9, §4.2.1.3.
        for certificate in &certificates {
            let may_sign = certificate.key_usage().is_none_or(|usage| usage.certificates);
            if !certificate.is_ca() || !may_sign {
                return Err(CertificateError::Usage(
                    certificate.subject_text(),
                    "it is not the certificate of a CA",
                ));
            }
        }
        let has_root = certificates.iter().any(Certificate::is_self_issued);
        let (roots, others): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(|certificate| !has_root || certificate.is_self_issued());
        let anchors = roots.into_iter().map(|certificate| {
            let der = CertificateDer::from(certificate.der());
            let trusted = anchor_from_trusted_cert(&der).map_err(|_| CertificateError::Malformed)?.to_owned();
            let key_hash = (provider.sha1)(&[certificate.public_key_info()]);
            Ok(Anchor { certificate, trusted, key_hash })
        });
        let crls = crls.iter().map(|der| {
            let crl = OwnedCertRevocationList::from_der(der);
            crl.map(CertRevocationList::Owned).map_err(|error| CertificateError::Crl(format!("{error:?}")))
        });
        Ok(TrustStore {
            anchors: anchors.collect::<Result<_, CertificateError>>()?,
            intermediates: others.iter().map(|certificate| certificate.der().to_vec().into()).collect(),
            crls: crls.collect::<Result<_, _>>()?,
            revocation,
        })
    }

    /// SHA-1 of each CA's public key, as CERTREQ names them (RFC 7296 §3.7).
    pub fn key_hashes(&self) -> impl Iterator<Item = [u8; 20]> + '_ {
        self.anchors.iter().map(|anchor| anchor.key_hash)
    }

    /// Is `chain` (the certificate itself first, as sent) valid at `now` (since 1970) for proving
    /// an identity in IKE?
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn validate(
        &self,
        provider: &Provider,
        chain: &[Vec<u8>],
        now: Duration,
    ) -> Result<Certificate, CertificateError> {
        if chain.len() > MAX_SENT {
            return Err(CertificateError::TooMany);
        }
        let (first, others) = chain.split_first().ok_or(CertificateError::Missing)?;
        let certificate = Certificate::from_der(first)?;
        let subject = || certificate.subject_text();
        // RFC 4945 §5.1.3.2: a key usage extension must allow signatures.
        if certificate.key_usage().is_some_and(|usage| !usage.signature) {
            return Err(CertificateError::Usage(subject(), "its key usage does not allow signatures"));
        }
        let valid = |anchor: &&Anchor| {
            let (from, to) = anchor.certificate.validity();
            (from..=to).contains(&now.as_secs())
        };
        let anchors: Vec<TrustAnchor<'_>> =
            self.anchors.iter().filter(valid).map(|anchor| anchor.trusted.clone()).collect();
        if anchors.is_empty() && !self.anchors.is_empty() {
            return Err(CertificateError::Expired(subject()));
        }
        let intermediates: Vec<CertificateDer<'_>> = others
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .chain(self.intermediates.iter().map(|der| CertificateDer::from(der.as_ref())))
            .collect();
        let der = CertificateDer::from(first.as_slice());
        let leaf = EndEntityCert::try_from(&der).map_err(|error| named(&error, subject()))?;
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let revocation = self.revocation_options(&crls, subject())?;
        leaf.verify_for_usage(
            provider.signatures.certificate_algorithms(),
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(now),
            IkeUsage,
            revocation,
            Some(&issuers_may_issue),
        )
        .map_err(|error| named(&error, subject()))?;
        Ok(certificate)
    }

    fn revocation_options<'a>(
        &self,
        crls: &'a [&'a CertRevocationList<'a>],
        subject: String,
    ) -> Result<Option<webpki::RevocationOptions<'a>>, CertificateError> {
        let (unknown, expiration) = match self.revocation {
            Revocation::Ignored => return Ok(None),
            Revocation::Required => (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce),
            Revocation::IfKnown => (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore),
        };
        let Ok(builder) = RevocationOptionsBuilder::new(crls) else {
            return match self.revocation {
                Revocation::Required => Err(CertificateError::NoCrl(subject)),
                _ => Ok(None),
            };
        };
        let depth = RevocationCheckDepth::Chain;
        Ok(Some(
            builder.with_depth(depth).with_status_policy(unknown).with_expiration_policy(expiration).build(),
        ))
    }
}

/// RFC 5280 §6.1.4 (n): each issuer on the path must be allowed to sign certificates.
fn issuers_may_issue(path: &VerifiedPath<'_>) -> Result<(), Error> {
    for issuer in path.intermediate_certificates() {
        let issuer = Certificate::from_der(&issuer.der()).map_err(|_| Error::BadDer)?;
        if issuer.key_usage().is_some_and(|usage| !usage.certificates) {
            return Err(Error::EndEntityUsedAsCa);
        }
    }
    Ok(())
}

/// Extended key usages with which a certificate may be used. RFC 4945 §5.1.3.12 names the first
/// two; the others occur in most certificates of gateways, and no other IKE implementation refuses
/// them.
const USAGES: [KeyPurposeId<'static>; 8] = [
    // anyExtendedKeyUsage, id-kp-ipsecIKE
    KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0x00]),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x11]),
    // iKEIntermediate; id-kp-ipsecEndSystem, -Tunnel, -User; serverAuth, clientAuth
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x08, 0x02, 0x02]),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x05]),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x06]),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x07]),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01]),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02]),
];

struct IkeUsage;

impl ExtendedKeyUsageValidator for IkeUsage {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut any = false;
        for usage in usages {
            any = true;
            if USAGES.contains(&usage?) {
                return Ok(());
            }
        }
        // Without the extension there is nothing to refuse.
        if any { Err(Error::EmptyEkuExtension) } else { Ok(()) }
    }
}

fn named(error: &Error, subject: String) -> CertificateError {
    match error {
        Error::CertExpired { .. } => CertificateError::Expired(subject),
        Error::CertNotValidYet { .. } => CertificateError::NotYetValid(subject),
        Error::CertRevoked => CertificateError::Revoked(subject),
        Error::UnknownRevocationStatus => CertificateError::NoCrl(subject),
        Error::CrlExpired { .. } => CertificateError::CrlExpired(subject),
        Error::UnknownIssuer => CertificateError::UnknownIssuer(subject),
        Error::InvalidSignatureForPublicKey | Error::InvalidCrlSignatureForPublicKey => {
            CertificateError::Signature(subject)
        }
        Error::CaUsedAsEndEntity => CertificateError::Usage(subject, "it is the certificate of a CA"),
        Error::EndEntityUsedAsCa => {
            CertificateError::Usage(subject, "an issuer of it is not allowed to issue certificates")
        }
        Error::EmptyEkuExtension => {
            CertificateError::Usage(subject, "its extended key usage does not allow IKE")
        }
        other => CertificateError::Invalid(subject, format!("{other:?}")),
    }
}
