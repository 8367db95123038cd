//! Private keys and CRLs, and the resulting credentials and trust anchors of the trustpoints.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::sync::Arc;
use std::time::SystemTime;

use config::Configuration;
use config::model::{RevocationCheck, Trustpoint};
use ike::provider::DEFAULT;
use ike::{Credential, Revocation, Secret, TrustStore};

use super::KeyStore;

/// Maximum size of a CRL file, in octets.
const MAX_CRL: u64 = 16 << 20;

/// Data outside the configuration, as last read: private keys by label and CRLs by file.
#[derive(Debug, Default)]
pub struct Material {
    keys: BTreeMap<String, Result<Option<Secret>, String>>,
    crls: BTreeMap<String, Result<Vec<Vec<u8>>, String>>,
    /// Modification times of the CRL files.
    changed: BTreeMap<String, Option<SystemTime>>,
}

impl Material {
    /// Reads what `configuration` names.
    pub fn read(configuration: &Configuration, store: &KeyStore) -> Self {
        let mut material = Material::default();
        for (name, trustpoint) in &configuration.trustpoints {
            if trustpoint.certificate.is_some() {
                let label = trustpoint.key_label(name);
                material.keys.insert(label.into(), store.load(label).map_err(|error| error.to_string()));
            }
            for file in &trustpoint.crl_files {
                material.changed.insert(file.clone(), modified(file));
                material.crls.insert(file.clone(), crl(file));
            }
        }
        material
    }

    /// Whether the private key of this label is present.
    pub fn has_key(&self, label: &str) -> bool {
        matches!(self.keys.get(label), Some(Ok(Some(_))))
    }

    /// The number of CRLs in a file.
    pub fn crls_of(&self, file: &str) -> usize {
        self.crls.get(file).and_then(|crls| crls.as_ref().ok()).map_or(0, Vec::len)
    }

    /// Whether a CRL file has changed since it was read.
    pub fn is_stale(&self) -> bool {
        self.changed.iter().any(|(file, changed)| modified(file) != *changed)
    }
}

/// The trustpoints in the types of `ike`.
#[derive(Clone, Debug, Default)]
pub struct Pki {
    trustpoints: BTreeMap<String, Ready>,
    /// Errors of trustpoints.
    pub troubles: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Ready {
    credential: Option<Arc<Credential>>,
    trust: Option<Arc<TrustStore>>,
}

impl Pki {
    /// Combines configuration and material. Unusable trustpoints are left out and listed in
    /// [`Pki::troubles`].
    pub fn new(configuration: &Configuration, material: &Material) -> Self {
        let mut pki = Pki::default();
        for (name, trustpoint) in &configuration.trustpoints {
            let credential = pki.note(name, credential(name, trustpoint, material));
            let trust = pki.note(name, trust(trustpoint, material));
            pki.trustpoints.insert(name.clone(), Ready { credential, trust });
        }
        pki
    }

    /// The usable local certificates of these trustpoints.
    pub fn credentials(&self, names: &[String]) -> Vec<Arc<Credential>> {
        names.iter().filter_map(|name| self.trustpoints.get(name)?.credential.clone()).collect()
    }

    /// The usable CAs of these trustpoints.
    pub fn trust(&self, names: &[String]) -> Vec<Arc<TrustStore>> {
        names.iter().filter_map(|name| self.trustpoints.get(name)?.trust.clone()).collect()
    }

    fn note<T>(&mut self, name: &str, result: Result<Option<T>, String>) -> Option<Arc<T>> {
        match result {
            Ok(value) => value.map(Arc::new),
            Err(reason) => {
                self.troubles.push(format!("trustpoint {name}: {reason}"));
                None
            }
        }
    }
}

fn credential(
    name: &str,
    trustpoint: &Trustpoint,
    material: &Material,
) -> Result<Option<Credential>, String> {
    let Some(certificate) = &trustpoint.certificate else { return Ok(None) };
    let label = trustpoint.key_label(name);
    let key = match material.keys.get(label) {
        Some(Ok(Some(key))) => key,
        Some(Err(reason)) => return Err(reason.clone()),
        _ => {
            return Err(format!(
                "there is no private key {label}; type \"crypto pki import {name} pem terminal\" (a pasted configuration \
                 holds no keys)"
            ));
        }
    };
    let credential = Credential::new(&DEFAULT, &certificate.der, &authorities(trustpoint), key);
    credential.map(Some).map_err(|error| error.to_string())
}

fn trust(trustpoint: &Trustpoint, material: &Material) -> Result<Option<TrustStore>, String> {
    if trustpoint.authorities.is_empty() {
        return Ok(None);
    }
    let revocation = match trustpoint.revocation {
        RevocationCheck::Crl => Revocation::Required,
        RevocationCheck::CrlNone => Revocation::IfKnown,
        RevocationCheck::None => Revocation::Ignored,
    };
    let mut crls = Vec::new();
    for file in trustpoint.crl_files.iter().filter(|_| revocation != Revocation::Ignored) {
        match material.crls.get(file) {
            Some(Ok(found)) => crls.extend_from_slice(found),
            Some(Err(reason)) => return Err(reason.clone()),
            None => {}
        }
    }
    TrustStore::new(&DEFAULT, &authorities(trustpoint), &crls, revocation)
        .map(Some)
        .map_err(|error| error.to_string())
}

fn authorities(trustpoint: &Trustpoint) -> Vec<Vec<u8>> {
    trustpoint.authorities.iter().map(|authority| authority.der.clone()).collect()
}

fn modified(file: &str) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The CRLs of a file, in DER or PEM.
fn crl(file: &str) -> Result<Vec<Vec<u8>>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(file)?.take(MAX_CRL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("CRL {file}: {error}; put the CRL of the CA there"))?;
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes]);
    }
    let blocks = pem::parse_many(&bytes).unwrap_or_default();
    let crls: Vec<Vec<u8>> =
        blocks.into_iter().filter(|block| block.tag() == "X509 CRL").map(pem::Pem::into_contents).collect();
    match crls.is_empty() {
        true => Err(format!("CRL {file}: no CRL in DER or PEM form is in it; put the CRL of the CA there")),
        false => Ok(crls),
    }
}
