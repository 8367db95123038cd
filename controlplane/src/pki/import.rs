//! `crypto pki import` and `crypto pki authenticate`: parses PEM and PKCS#12 and stores the private
//! key.

use std::fs;
use std::io::{self, Read};

use config::edit::{Import, ImportError, ImportSource, Imported};
use config::model::PkiCertificate;
use ike::provider::{DEFAULT, KeyKind};
use ike::{Certificate, Credential, Secret};
use p12_keystore::Pkcs12Archive;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Decode;
use zeroize::Zeroizing;

use super::KeyStore;

/// Maximum size of a key or certificate file, in octets.
const MAX_FILE: u64 = 1 << 20;

/// The contents of the imported data.
#[derive(Default)]
struct Found {
    certificates: Vec<Certificate>,
    keys: Vec<Secret>,
}

/// Carries out an import. The private key is stored last, after certificate, key and CA have been
/// checked against each other.
///
/// # Errors
/// Messages that name the file and the remedy.
pub fn import(request: &Import, store: &KeyStore) -> Result<Imported, ImportError> {
    let password = request.password.as_ref().map(config::model::Secret::expose);
    let found = match &request.source {
        ImportSource::Pasted(text) => from_pem(text.expose().as_bytes(), "what was pasted", password)?,
        ImportSource::Pem(file) => from_files(file, password)?,
        ImportSource::Pkcs12(file) => from_pkcs12(file, password)?,
    };
    let place = match &request.source {
        ImportSource::Pasted(_) => "what was pasted",
        ImportSource::Pem(file) | ImportSource::Pkcs12(file) => file,
    };
    let (authorities, others): (Vec<Certificate>, Vec<Certificate>) =
        found.certificates.into_iter().partition(Certificate::is_ca);
    if authorities.is_empty() && !request.has_authorities {
        return Err(ImportError::Incomplete("certificate of the CA"));
    }
    let listed = authorities.iter().map(listed).collect();
    if request.authorities_only {
        return Ok(Imported { certificate: None, elliptic: false, authorities: listed });
    }
    let key = match &found.keys[..] {
        [key] => key,
        [] => return Err(ImportError::Incomplete("private key")),
        _ => {
            return Err(refused(
                place,
                "it holds more than one private key; leave the one that belongs to the certificate",
            ));
        }
    };
    let with_key = |own: &Certificate| Credential::new(&DEFAULT, own.der(), &[], key).ok();
    let credential = others.iter().find_map(with_key);
    // RFC 5280 §4.2.1.9: peers that validate the path reject such a certificate for a gateway.
    if credential.is_none() && authorities.iter().any(|authority| with_key(authority).is_some()) {
        return Err(refused(
            place,
            "the certificate of the private key is that of a CA; have one issued with basicConstraints CA:FALSE",
        ));
    }
    if others.is_empty() {
        return Err(ImportError::Incomplete("certificate of this gateway"));
    }
    let Some(credential) = credential else {
        let kind = DEFAULT.signatures.load(key.expose()).map(|key| key.kind());
        return Err(match kind {
            Ok(_) => refused(
                place,
                "the private key is not the one of the certificate; give the key with which the certificate was requested",
            ),
            Err(_) => refused(place, &ike::CertificateError::Key.to_string()),
        });
    };
    store.save(&request.label, key).map_err(|error| ImportError::Refused(format!("%ERROR: {error}")))?;
    Ok(Imported {
        certificate: Some(self::listed(credential.certificate())),
        elliptic: credential.kind() != KeyKind::Rsa,
        authorities: listed,
    })
}

fn listed(certificate: &Certificate) -> PkiCertificate {
    let serial = certificate.serial().iter().map(|octet| format!("{octet:02X}")).collect();
    PkiCertificate { serial, der: certificate.der().to_vec() }
}

fn refused(place: &str, reason: &str) -> ImportError {
    ImportError::Refused(format!("%ERROR: {place}: {reason}"))
}

/// Reads the file itself, or the three files that IOS derives from a name.
fn from_files(name: &str, password: Option<&str>) -> Result<Found, ImportError> {
    let mut found = Found::default();
    let parts = [name.to_owned(), format!("{name}.ca"), format!("{name}.prv"), format!("{name}.crt")];
    let mut any = false;
    for file in parts {
        let text = match read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read
                .map_err(|error| refused(&file, &format!("{error}; give the path of a file in PEM form")))?,
        };
        any = true;
        let part = from_pem(&text, &file, password)?;
        found.certificates.extend(part.certificates);
        found.keys.extend(part.keys);
    }
    match any {
        true => Ok(found),
        false => Err(refused(
            name,
            "neither this file nor .ca, .prv and .crt files of this name exist; give the path of a file in PEM form",
        )),
    }
}

fn read(file: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = fs::File::open(file)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn from_pem(text: &[u8], place: &str, password: Option<&str>) -> Result<Found, ImportError> {
    let mut found = Found::default();
    let blocks = pem::parse_many(text).map_err(|error| {
        refused(place, &format!("not PEM ({error}); give everything from -----BEGIN to -----END"))
    })?;
    for block in blocks {
        let legacy = block.headers().get("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED"));
        let tag = block.tag().to_owned();
        let contents = Zeroizing::new(block.into_contents());
        match tag.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => found
                .certificates
                .push(Certificate::from_der(&contents).map_err(|error| refused(place, &error.to_string()))?),
            _ if legacy => {
                return Err(refused(
                    place,
                    "the private key is encrypted in the old form of OpenSSL; convert it with \"openssl pkcs8 -topk8 -in OLD -out NEW\"",
                ));
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                found.keys.push(Secret::from(&contents[..]))
            }
            "ENCRYPTED PRIVATE KEY" => found.keys.push(decrypt(&contents, place, password)?),
            _ => {}
        }
    }
    Ok(found)
}

fn decrypt(der: &[u8], place: &str, password: Option<&str>) -> Result<Secret, ImportError> {
    let password = password
        .ok_or_else(|| refused(place, "the private key is encrypted; add \"password P\" to the command"))?;
    let wrong = "the private key cannot be decrypted: wrong password, or an encryption other than PBES2";
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| refused(place, wrong))?;
    let key = encrypted.decrypt(password).map_err(|_| refused(place, wrong))?;
    Ok(Secret::from(key.as_bytes()))
}

fn from_pkcs12(file: &str, password: Option<&str>) -> Result<Found, ImportError> {
    let bytes =
        read(file).map_err(|error| refused(file, &format!("{error}; give the path of a PKCS#12 file")))?;
    let archive = Pkcs12Archive::from_pkcs12(&bytes, password.unwrap_or_default()).map_err(|_| {
        refused(file, "not a PKCS#12 file, or a wrong password; type \"… pkcs12 FILE password P\"")
    })?;
    let certificates = archive.certs.iter().map(|bag| {
        Certificate::from_der(bag.cert.as_der()).map_err(|error| refused(file, &error.to_string()))
    });
    Ok(Found {
        certificates: certificates.collect::<Result<_, _>>()?,
        keys: archive.keys.iter().map(|bag| Secret::from(bag.key.as_der())).collect(),
    })
}
