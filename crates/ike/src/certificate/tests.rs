//! Certificates, paths and CRLs.

use std::time::Duration;

use proptest::prelude::*;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd};

use super::pki::{Authority, Issued, Kind, NOW, address, host, mailbox};
use super::*;
use crate::identity::Identity;
use crate::provider::DEFAULT;
use crate::secret::Secret;

const AT: Duration = Duration::from_secs(NOW);

fn trust(ca: &Authority, crls: &[Vec<u8>], revocation: Revocation) -> TrustStore {
    TrustStore::new(&DEFAULT, std::slice::from_ref(&ca.der), crls, revocation).unwrap()
}

/// The verdict on a chain without revocation.
fn verdict(ca: &Authority, chain: &[&[u8]]) -> Result<Certificate, CertificateError> {
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    trust(ca, &[], Revocation::Ignored).validate(&DEFAULT, &chain, AT)
}

/// RFC 4945 §3.1
#[test]
fn a_certificate_names_what_stands_in_it_and_nothing_else() {
    let issued = Authority::root("ca").issue("gateway", Kind::P256, |params| {
        params.subject_alt_names = vec![
            address("192.0.2.1"),
            address("2001:db8::1"),
            host("gw.example.com"),
            host("*.example.org"),
            mailbox("Admin@Example.com"),
        ];
    });
    let certificate = Certificate::from_der(&issued.certificate).unwrap();
    let named = [
        Identity::Address("192.0.2.1".parse().unwrap()),
        Identity::Address("2001:db8::1".parse().unwrap()),
        Identity::Fqdn("GW.example.com".into()),
        Identity::Email("Admin@example.COM".into()),
        certificate.subject(),
    ];
    for identity in named {
        assert!(certificate.names(&identity), "{identity}");
    }
    let strange = [
        Identity::Address("192.0.2.2".parse().unwrap()),
        Identity::Fqdn("host.example.org".into()), // RFC 4945 §3.1.2: no wildcards
        Identity::Fqdn("gateway".into()),          // nor the common name
        Identity::Fqdn("192.0.2.1".into()),
        Identity::Email("admin@example.com".into()), // RFC 5280 §7.5: case counts before the @
        Identity::KeyId(b"gw.example.com".to_vec()),
        Identity::Dn(vec![0x30, 0x00]),
    ];
    for identity in strange {
        assert!(!certificate.names(&identity), "{identity}");
    }
    assert_eq!(certificate.subject_text(), "CN=gateway,O=Example");
    assert_eq!(certificate.issuer_text(), "CN=ca,O=Example");
}

/// RFC 5280 §6
#[test]
fn a_chain_to_the_ca_is_valid_whoever_has_the_intermediate() {
    let root = Authority::root("root");
    let middle = root.intermediate("middle", |_| {});
    let leaf = middle.issue("gateway", Kind::Ed25519, |_| {});
    assert!(verdict(&root, &[&leaf.certificate, &middle.der]).is_ok());
    assert!(matches!(verdict(&root, &[&leaf.certificate]), Err(CertificateError::UnknownIssuer(_))));
    let both =
        TrustStore::new(&DEFAULT, &[middle.der.clone(), root.der.clone()], &[], Revocation::Ignored).unwrap();
    assert!(both.validate(&DEFAULT, std::slice::from_ref(&leaf.certificate), AT).is_ok());
    // An intermediate alone is trusted as it is.
    assert!(verdict(&middle, &[&leaf.certificate]).is_ok());
}

#[test]
fn a_path_is_refused_for_the_reason_that_is_named() {
    use CertificateError as E;
    let root = Authority::root("root");
    let leaf =
        |change: fn(&mut rcgen::CertificateParams)| root.issue("gateway", Kind::P256, change).certificate;
    assert!(matches!(
        verdict(&Authority::root("root"), &[&leaf(|_| {})]),
        Err(E::UnknownIssuer(_) | E::Signature(_))
    ));
    assert!(matches!(verdict(&Authority::root("other"), &[&leaf(|_| {})]), Err(E::UnknownIssuer(_))));
    let old = leaf(|params| params.not_after = date_time_ymd(2026, 1, 1));
    assert!(matches!(verdict(&root, &[&old]), Err(E::Expired(_))));
    let young = leaf(|params| params.not_before = date_time_ymd(2027, 1, 1));
    assert!(matches!(verdict(&root, &[&young]), Err(E::NotYetValid(_))));
    let ca = leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(matches!(verdict(&root, &[&ca]), Err(E::Usage(..))));
    // RFC 4945 §5.1.3.2
    let keys_only = leaf(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert!(matches!(verdict(&root, &[&keys_only]), Err(E::Usage(..))));
    let commits = leaf(|params| params.key_usages = vec![KeyUsagePurpose::ContentCommitment]);
    assert!(verdict(&root, &[&commits]).is_ok());
    // RFC 4945 §5.1.3.12
    let code = leaf(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    assert!(matches!(verdict(&root, &[&code]), Err(E::Usage(..))));
    for usage in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]),
    ] {
        let certificate =
            root.issue("gateway", Kind::P256, |params| params.extended_key_usages = vec![usage]);
        assert!(verdict(&root, &[&certificate.certificate]).is_ok());
    }
    assert_eq!(verdict(&root, &[]), Err(E::Missing));
    let leaf = leaf(|_| {});
    assert_eq!(verdict(&root, &[&leaf[..]; 9]), Err(E::TooMany));
}

#[test]
fn whoever_may_not_issue_certificates_issues_none() {
    let root = Authority::root("root");
    // RFC 5280 §6.1.4 (k): no CA at all; (n): not by its key usage; (l): by the path length of the
    // root's own.
    let no_ca = root.intermediate("middle", |params| params.is_ca = IsCa::ExplicitNoCa);
    let usage = root.intermediate("middle", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let short =
        root.intermediate("middle", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = short.intermediate("below", |_| {});
    let chains = [
        vec![no_ca.issue("gateway", Kind::P256, |_| {}).certificate, no_ca.der.clone()],
        vec![usage.issue("gateway", Kind::P256, |_| {}).certificate, usage.der.clone()],
        vec![below.issue("gateway", Kind::P256, |_| {}).certificate, below.der.clone(), short.der.clone()],
    ];
    for chain in chains {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        assert!(verdict(&root, &chain).is_err());
    }
    // RFC 5280 §4.2.1.9, §4.2.1.3: nor is it the CA of a trustpoint.
    let leaf = root.issue("gateway", Kind::P256, |_| {});
    for der in [leaf.certificate, no_ca.der, usage.der] {
        let refused = TrustStore::new(&DEFAULT, &[der], &[], Revocation::Ignored);
        assert!(matches!(refused, Err(CertificateError::Usage(..))), "{refused:?}");
    }
}

#[test]
fn an_expired_ca_is_trusted_by_nobody() {
    let root = Authority::root("root");
    let old = root.intermediate("old", |params| params.not_after = date_time_ymd(2026, 1, 1));
    let leaf = old.issue("gateway", Kind::P256, |_| {});
    assert!(matches!(verdict(&old, &[&leaf.certificate]), Err(CertificateError::Expired(_))));
}

#[test]
fn revocation_is_checked_as_configured() {
    use CertificateError as E;
    let root = Authority::root("root");
    let issue = |serial: u64| {
        vec![
            root.issue("gateway", Kind::P256, |params| params.serial_number = Some(serial.into()))
                .certificate,
        ]
    };
    let (good, bad) = (issue(7), issue(8));
    let (crl, old) = (root.crl(&[8], 2030), root.crl(&[8], 2026));
    let of_another = Authority::root("other").crl(&[], 2030);
    let check = |crls: &[Vec<u8>], revocation, chain: &[Vec<u8>]| {
        trust(&root, crls, revocation).validate(&DEFAULT, chain, AT).map(|_| ())
    };
    let crl = std::slice::from_ref(&crl);
    assert_eq!(check(crl, Revocation::Required, &good), Ok(()));
    assert!(matches!(check(crl, Revocation::Required, &bad), Err(E::Revoked(_))));
    assert!(matches!(check(crl, Revocation::IfKnown, &bad), Err(E::Revoked(_))));
    assert_eq!(check(crl, Revocation::Ignored, &bad), Ok(()));
    // Without a CRL, with another CA's, with one that is out of date.
    assert!(matches!(check(&[], Revocation::Required, &good), Err(E::NoCrl(_))));
    assert!(matches!(check(&[of_another], Revocation::Required, &good), Err(E::NoCrl(_))));
    assert!(matches!(check(std::slice::from_ref(&old), Revocation::Required, &good), Err(E::CrlExpired(_))));
    assert_eq!(check(&[], Revocation::IfKnown, &good), Ok(()));
    assert_eq!(check(std::slice::from_ref(&old), Revocation::IfKnown, &good), Ok(()));
    assert!(TrustStore::new(&DEFAULT, &[], &[b"rubbish".to_vec()], Revocation::Required).is_err());
}

#[test]
fn a_forged_crl_counts_for_nothing() {
    let (root, forger) = (Authority::root("root"), Authority::root("root"));
    let leaf = vec![root.issue("gateway", Kind::P256, |_| {}).certificate];
    let verdict = trust(&root, &[forger.crl(&[], 2030)], Revocation::Required).validate(&DEFAULT, &leaf, AT);
    assert!(verdict.is_err(), "{verdict:?}");
}

/// RFC 7296 §3.6: the certificate itself comes first.
#[test]
fn a_credential_needs_the_key_of_its_certificate() {
    let root = Authority::root("root");
    let middle = root.intermediate("middle", |_| {});
    for kind in Kind::ALL {
        let Issued { certificate, private_key } = middle.issue("gateway", kind, |_| {});
        let other = middle.issue("gateway", kind, |_| {});
        let authorities = [root.der.clone(), middle.der.clone()];
        let new = |key: &[u8]| Credential::new(&DEFAULT, &certificate, &authorities, &Secret::from(key));
        let credential = new(&private_key).unwrap();
        assert_eq!(Some(credential.kind()), credential.certificate().key_kind(), "{kind:?}");
        // The root is not sent.
        assert_eq!(credential.chain().collect::<Vec<_>>(), [&certificate[..], &middle.der]);
        let root_key = (DEFAULT.sha1)(&[Certificate::from_der(&root.der).unwrap().public_key_info()]);
        assert!(credential.is_issued_by(&[root_key]) && !credential.is_issued_by(&[[0; 20]]));
        assert!(matches!(new(&other.private_key), Err(CertificateError::KeyMismatch(_))), "{kind:?}");
        assert_eq!(new(b"rubbish").unwrap_err(), CertificateError::Key);
        assert!(!format!("{credential:?}").contains("private"), "{credential:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_certificate_with_a_changed_byte_proves_nothing(position: prop::sample::Index, change in 1u8..) {
        static PKI: std::sync::LazyLock<(Authority, Vec<u8>)> = std::sync::LazyLock::new(|| {
            let root = Authority::root("root");
            let leaf = root.issue("gateway", Kind::Ed25519, |params| {
                params.subject_alt_names = vec![address("192.0.2.1"), host("gw.example.com")];
            });
            (root, leaf.certificate)
        });
        let (root, leaf) = &*PKI;
        let mut changed = leaf.clone();
        changed[position.index(leaf.len())] ^= change;
        prop_assert!(verdict(root, &[leaf]).is_ok());
        prop_assert!(verdict(root, &[&changed]).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, cut: prop::sample::Index) {
        let _ = Certificate::from_der(&bytes);
        static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Authority::root("root").der);
        let der = &*DER;
        prop_assert!(Certificate::from_der(&der[..cut.index(der.len())]).is_err());
        let _ = (text(&bytes), same_name(&bytes, der));
    }
}
