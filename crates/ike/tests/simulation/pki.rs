//! Certificates generated for the tests: a CA, certificates that it issues, and its CRLs. All bytes
//! are DER.

use rcgen::*;

/// The wall-clock time of the tests, seconds since 1970: November 2026.
pub const NOW: u64 = 1_795_000_000;

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Rsa, Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519];

    fn key(self) -> KeyPair {
        match self {
            Kind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Kind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Kind::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Kind::P521 => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512),
            Kind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        }
        .unwrap()
    }
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    pub certificate: Vec<u8>,
    pub private_key: Vec<u8>,
}

/// A CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: Vec<u8>,
}

impl Authority {
    /// A root.
    pub fn root(name: &str) -> Self {
        let (params, key) = (authority(name), Kind::P256.key());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority { issuer: Issuer::new(params, key), der }
    }

    /// A CA below this one, after `change`.
    pub fn intermediate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (authority(name), Kind::P256.key());
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Authority { issuer: Issuer::new(params, key), der }
    }

    /// A certificate of the common name `name`, after `change`.
    pub fn issue(&self, name: &str, kind: Kind, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = kind.key();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Issued { certificate, private_key: key.serialize_der() }
    }

    /// A CRL with these serial numbers, good until the beginning of `until`.
    pub fn crl(&self, revoked: &[u64], until: i32) -> Vec<u8> {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .der()
        .to_vec()
    }
}

/// subjectAltName entries.
pub fn address(text: &str) -> SanType {
    SanType::IpAddress(text.parse().unwrap())
}

pub fn host(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

pub fn mailbox(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Example");
    subject.push(DnType::CommonName, name);
    subject
}
