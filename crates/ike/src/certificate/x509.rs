//! One certificate: its names, its key, its validity.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

use super::{CertificateError, same_name, text};
use crate::identity::Identity;
use crate::provider::{KeyKind, SignatureCurve};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The largest certificate that is accepted, octets.
const MAX_DER: usize = 16 * 1024;

/// Largest number of names of a certificate that are used.
const MAX_NAMES: usize = 64;

/// Bits of the key usage extension that matter here; `None` where the certificate has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// digitalSignature or nonRepudiation (contentCommitment).
    pub signature: bool,
    /// keyCertSign.
    pub certificates: bool,
}

/// A certificate that was read. It is not validated yet; [`TrustStore`](super::TrustStore) checks
/// signatures and the path.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    serial: Vec<u8>,
    not_before: u64,
    not_after: u64,
    names: Vec<Identity>,
    key_kind: Option<KeyKind>,
    public_key: Vec<u8>,
    public_key_info: Vec<u8>,
    is_ca: bool,
    key_usage: Option<KeyUsage>,
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] if it is not a certificate, has an extension that it must
    /// not have twice, or is larger than any certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER {
            return Err(CertificateError::Malformed);
        }
        read(der).ok_or(CertificateError::Malformed)
    }

    /// The certificate as it is.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject as text (RFC 4514).
    pub fn subject_text(&self) -> String {
        text(&self.subject).unwrap_or_else(|| "(unreadable)".into())
    }

    /// The issuer as text (RFC 4514).
    pub fn issuer_text(&self) -> String {
        text(&self.issuer).unwrap_or_else(|| "(unreadable)".into())
    }

    /// The subject as an identity of type ID_DER_ASN1_DN.
    pub fn subject(&self) -> Identity {
        Identity::Dn(self.subject.clone())
    }

    /// Serial number, big-endian.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Validity: first and last second, since 1970.
    pub fn validity(&self) -> (u64, u64) {
        (self.not_before, self.not_after)
    }

    /// The names of the subjectAltName extension.
    pub fn alternative_names(&self) -> &[Identity] {
        &self.names
    }

    /// What kind of key it holds; `None`: one that cannot be used here.
    pub fn key_kind(&self) -> Option<KeyKind> {
        self.key_kind
    }

    /// The content of subjectPublicKey.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// subjectPublicKeyInfo in DER: what CERTREQ names by its hash (RFC 7296 §3.7).
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }

    /// It may issue certificates (basicConstraints).
    pub fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// The key usage extension.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    /// Issuer and subject are equal: a root.
    pub fn is_self_issued(&self) -> bool {
        same_name(&self.subject, &self.issuer)
    }

    /// Is the subject of `other` this certificate's issuer? Does not check the signature.
    pub fn names_issuer(&self, other: &Certificate) -> bool {
        same_name(&self.issuer, &other.subject)
    }

    /// Does it name `identity`? RFC 4945 §3.1: an address is in an iPAddress, a host name in a
    /// dNSName, an e-mail address in an rfc822Name of subjectAltName; a distinguished name is the
    /// subject. Wildcards and the common name do not count.
    pub fn names(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Dn(name) => {
                same_name(name, &self.subject)
                    || self.names.iter().any(|own| matches!(own, Identity::Dn(own) if same_name(own, name)))
            }
            Identity::Email(wanted) => self.names.iter().any(|own| match own {
                Identity::Email(own) => same_mailbox(own, wanted),
                _ => false,
            }),
            Identity::Address(_) | Identity::Fqdn(_) => self.names.iter().any(|own| own.same_as(identity)),
            // RFC 4945 §3.1: no certificate names a key ID.
            Identity::KeyId(_) | Identity::Other(..) => false,
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.subject_text())
    }
}

fn read(der: &[u8]) -> Option<Certificate> {
    let parsed = x509_cert::Certificate::from_der(der).ok()?;
    let tbs = parsed.tbs_certificate();
    let info = tbs.subject_public_key_info();
    let constraints = tbs.get_extension::<BasicConstraints>().ok()?;
    let usage = tbs.get_extension::<x509_cert::ext::pkix::KeyUsage>().ok()?;
    let names = match tbs.get_extension::<SubjectAltName>().ok()? {
        Some((_, names)) => names.0.iter().take(MAX_NAMES).filter_map(identity).collect(),
        None => Vec::new(),
    };
    Some(Certificate {
        der: der.to_vec(),
        subject: tbs.subject().to_der().ok()?,
        issuer: tbs.issuer().to_der().ok()?,
        serial: tbs.serial_number().as_bytes().to_vec(),
        not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
        not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
        names,
        key_kind: key_kind(info),
        public_key: info.subject_public_key.as_bytes()?.to_vec(),
        public_key_info: info.to_der().ok()?,
        is_ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
        key_usage: usage.map(|(_, usage)| KeyUsage {
            signature: usage.digital_signature() || usage.non_repudiation(),
            certificates: usage.key_cert_sign(),
        }),
    })
}

fn key_kind(info: &x509_cert::SubjectPublicKeyInfo) -> Option<KeyKind> {
    let oid = info.algorithm.oid;
    if oid == EC {
        let curve: ObjectIdentifier = info.algorithm.parameters.as_ref()?.decode_as().ok()?;
        let curves =
            [(P256, SignatureCurve::P256), (P384, SignatureCurve::P384), (P521, SignatureCurve::P521)];
        return curves.into_iter().find(|(name, _)| *name == curve).map(|(_, curve)| KeyKind::Ecdsa(curve));
    }
    [(RSA, KeyKind::Rsa), (ED25519, KeyKind::Ed25519)]
        .into_iter()
        .find(|(name, _)| *name == oid)
        .map(|(_, kind)| kind)
}

fn identity(name: &GeneralName) -> Option<Identity> {
    match name {
        GeneralName::DnsName(name) => Some(Identity::Fqdn(name.as_str().to_owned())),
        GeneralName::Rfc822Name(name) => Some(Identity::Email(name.as_str().to_owned())),
        GeneralName::DirectoryName(name) => name.to_der().ok().map(Identity::Dn),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let v6 = <[u8; 16]>::try_from(octets).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            v4.or(v6).ok().map(Identity::Address)
        }
        _ => None,
    }
}

/// RFC 5280 §7.5: the part before the `@` counts as it is, the host name without regard to case.
fn same_mailbox(a: &str, b: &str) -> bool {
    match (a.rsplit_once('@'), b.rsplit_once('@')) {
        (Some((a_local, a_host)), Some((b_local, b_host))) => {
            a_local == b_local && a_host.eq_ignore_ascii_case(b_host)
        }
        _ => false,
    }
}
