//! Imports of certificates and keys, up to the credentials that IKE uses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use config::Configuration;
use config::edit::{Import, ImportError, ImportSource, Imported};
use config::model::{RevocationCheck, Secret, Trustpoint};
use controlplane::pki::{KeyStore, Material, Pki, import, show};

const CERTIFICATES: &str = include_str!("fixtures/pki/certificates.pem");
const GATEWAY_AS_CA: &str = include_str!("fixtures/pki/gateway-as-ca.pem");
const KEY: &str = include_str!("fixtures/pki/key.pem");
const SEC1_KEY: &str = include_str!("fixtures/pki/sec1-key.pem");
const ENCRYPTED_KEY: &str = include_str!("fixtures/pki/encrypted-key.pem");
const OLD_KEY: &str = include_str!("fixtures/pki/old-encrypted-key.pem");

fn request(source: ImportSource, password: Option<&str>) -> Import {
    Import {
        label: "T".into(),
        source,
        password: password.map(Secret::new),
        has_authorities: false,
        authorities_only: false,
    }
}

fn pasted(text: &str, password: Option<&str>) -> Import {
    request(ImportSource::Pasted(Secret::new(text)), password)
}

/// A configuration with the imported certificates.
fn configuration(imported: &Imported) -> Configuration {
    let mut configuration = Configuration::default();
    let trustpoint = Trustpoint {
        revocation: RevocationCheck::None,
        certificate: imported.certificate.clone(),
        authorities: imported.authorities.clone(),
        ..Trustpoint::default()
    };
    configuration.trustpoints.insert("T".into(), trustpoint);
    configuration
}

fn assert_usable(imported: &Imported, store: &KeyStore) {
    let configuration = configuration(imported);
    let pki = Pki::new(&configuration, &Material::read(&configuration, store));
    assert_eq!(pki.troubles, Vec::<String>::new());
    let names = ["T".to_owned()];
    assert_eq!((pki.credentials(&names).len(), pki.trust(&names).len()), (1, 1));
}

#[test]
fn pem_in_any_order_and_form_is_imported() {
    let texts = [
        (format!("{CERTIFICATES}{KEY}"), None),
        (format!("{KEY}\n{CERTIFICATES}"), None),
        (format!("{CERTIFICATES}{SEC1_KEY}"), None),
        (format!("{ENCRYPTED_KEY}{CERTIFICATES}"), Some("secret")),
    ];
    for (text, password) in texts {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::beside(&folder.path().join("c"));
        let imported = import(&pasted(&text, password), &store).unwrap();
        assert!(imported.elliptic && imported.authorities.len() == 1);
        assert_usable(&imported, &store);
        assert_eq!(fs::metadata(folder.path().join("c.keys/T.key")).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn pkcs_12_of_both_generations_is_imported() {
    for name in ["modern.p12", "legacy.p12"] {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::beside(&folder.path().join("c"));
        let file = format!("{}/tests/fixtures/pki/{name}", env!("CARGO_MANIFEST_DIR"));
        let imported = import(&request(ImportSource::Pkcs12(file.clone()), Some("secret")), &store).unwrap();
        assert_usable(&imported, &store);
        let Err(ImportError::Refused(text)) =
            import(&request(ImportSource::Pkcs12(file), Some("wrong")), &store)
        else {
            panic!("{name}: a wrong password was taken");
        };
        assert!(text.contains(name) && text.contains("password"), "{text}");
    }
}

#[test]
fn the_three_files_of_ios_are_one_import() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("export");
    let write = |ending: &str, text: &str| fs::write(format!("{}{ending}", base.display()), text).unwrap();
    let (ca, own) = CERTIFICATES.split_at(CERTIFICATES.find("-----END CERTIFICATE-----\n").unwrap() + 26);
    write(".ca", ca);
    write(".prv", ENCRYPTED_KEY);
    write(".crt", own);
    let store = KeyStore::beside(&folder.path().join("c"));
    let source = ImportSource::Pem(base.display().to_string());
    assert_usable(&import(&request(source, Some("secret")), &store).unwrap(), &store);
}

#[test]
fn what_is_missing_is_asked_for_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::beside(&folder.path().join("c"));
    let (ca, own) = CERTIFICATES.split_at(CERTIFICATES.find("-----END CERTIFICATE-----\n").unwrap() + 26);
    let missing = [
        (KEY.to_owned(), "certificate of the CA"),
        (CERTIFICATES.to_owned(), "private key"),
        (format!("{ca}{KEY}"), "certificate of this gateway"),
    ];
    for (text, what) in missing {
        let result = import(&pasted(&text, None), &store);
        assert_eq!(result.unwrap_err(), ImportError::Incomplete(what), "{text}");
    }
    let mut with_ca = pasted(&format!("{own}{KEY}"), None);
    with_ca.has_authorities = true;
    assert!(import(&with_ca, &store).unwrap().authorities.is_empty());
    let mut ca_only = pasted(ca, None);
    ca_only.authorities_only = true;
    assert_eq!(import(&ca_only, &KeyStore::beside(Path::new("/nowhere/c"))).unwrap().authorities.len(), 1);
}

#[test]
fn what_does_not_fit_is_refused_with_place_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::beside(&folder.path().join("c"));
    let (ca, own) = CERTIFICATES.split_at(CERTIFICATES.find("-----END CERTIFICATE-----\n").unwrap() + 26);
    let other = rcgen::KeyPair::generate().unwrap().serialize_der();
    let other = pem::encode(&pem::Pem::new("PRIVATE KEY", other));
    let texts = [
        (format!("{CERTIFICATES}{ENCRYPTED_KEY}"), None, "add \"password P\""),
        (format!("{CERTIFICATES}{ENCRYPTED_KEY}"), Some("wrong"), "wrong password"),
        (format!("{CERTIFICATES}{OLD_KEY}"), Some("secret"), "openssl pkcs8 -topk8"),
        (format!("{CERTIFICATES}{other}"), None, "not the one of the certificate"),
        (format!("{ca}{GATEWAY_AS_CA}{KEY}"), None, "issued with basicConstraints CA:FALSE"),
        (format!("{CERTIFICATES}{KEY}{other}"), None, "more than one private key"),
        (format!("{ca}{own}").replace('M', "!"), None, "not PEM"),
    ];
    for (text, password, expected) in texts {
        let Err(ImportError::Refused(reason)) = import(&pasted(&text, password), &store) else {
            panic!("{expected}: taken");
        };
        assert!(reason.starts_with("%ERROR: what was pasted: ") && reason.contains(expected), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
    let gone = ImportSource::Pem("/nowhere/at/all".into());
    let Err(ImportError::Refused(reason)) = import(&request(gone, None), &store) else { panic!() };
    assert!(reason.contains("/nowhere/at/all") && reason.contains("give the path"), "{reason}");
    assert!(!folder.path().join("c.keys").exists());
}

#[test]
fn a_pasted_configuration_without_its_key_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::beside(&folder.path().join("c"));
    let imported = import(&pasted(&format!("{CERTIFICATES}{KEY}"), None), &store).unwrap();
    let configuration = configuration(&imported);
    let elsewhere = KeyStore::beside(&folder.path().join("other"));
    let pki = Pki::new(&configuration, &Material::read(&configuration, &elsewhere));
    assert_eq!(pki.troubles.len(), 1);
    assert!(pki.troubles[0].contains("crypto pki import T pem"), "{:?}", pki.troubles);
    assert!(pki.credentials(&["T".into()]).is_empty());
}

#[test]
fn a_crl_file_is_noticed_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::beside(&folder.path().join("c"));
    let imported = import(&pasted(&format!("{CERTIFICATES}{KEY}"), None), &store).unwrap();
    let mut configuration = configuration(&imported);
    let file = folder.path().join("ca.crl");
    let trustpoint = configuration.trustpoints.get_mut("T").unwrap();
    trustpoint.revocation = RevocationCheck::Crl;
    trustpoint.crl_files = vec![file.display().to_string()];
    let material = Material::read(&configuration, &store);
    let pki = Pki::new(&configuration, &material);
    assert!(pki.troubles[0].contains("ca.crl") && pki.trust(&["T".into()]).is_empty(), "{:?}", pki.troubles);
    assert!(!material.is_stale());
    fs::write(&file, "not yet a CRL").unwrap();
    assert!(material.is_stale());
}

#[test]
fn shows_print_no_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::beside(&folder.path().join("c"));
    let imported = import(&pasted(&format!("{CERTIFICATES}{KEY}"), None), &store).unwrap();
    let configuration = configuration(&imported);
    let material = Material::read(&configuration, &store);
    let pki = Pki::new(&configuration, &material);
    let text = show::certificates(&configuration, None)
        + &show::trustpoints(&configuration, &pki, &material, None)
        + &config::render::running_config(&configuration, config::render::Secrets::Shown)
        + &format!("{material:?} {pki:?}");
    for expected in
        ["CN=gateway", "CN=Fixture CA", "address 192.0.2.1", "ECDSA P-256", "Private key: T (stored)"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let key = store.load("T").unwrap().unwrap();
    let part: String = key.expose()[40..44].iter().map(|octet| format!("{octet:02X}")).collect();
    assert!(!text.to_uppercase().contains(&part), "{text}");
}
