//! `show crypto pki certificates` and `show crypto pki trustpoints`. No code here reads private
//! keys.

use std::collections::BTreeMap;
use std::fmt::Write;

use config::Configuration;
use config::model::{PkiCertificate, RevocationCheck, Trustpoint};
use ike::{Certificate, Identity};

use super::{Material, Pki};
use crate::operator::utc;

/// Certificates of one trustpoint or of all; one that several trustpoints share is printed once.
pub fn certificates(configuration: &Configuration, name: Option<&str>) -> String {
    let mut own: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    let mut authorities: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for (trustpoint, body) in selected(configuration, name) {
        if let Some(certificate) = &body.certificate {
            own.entry(&certificate.der).or_default().push(trustpoint);
        }
        for certificate in &body.authorities {
            authorities.entry(&certificate.der).or_default().push(trustpoint);
        }
    }
    let mut text = String::new();
    for (title, list) in [("Certificate", own), ("CA Certificate", authorities)] {
        for (der, trustpoints) in list {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            certificate(&mut text, title, der, &trustpoints);
        }
    }
    text
}

/// Each trustpoint with its CA, its key and its errors.
pub fn trustpoints(
    configuration: &Configuration,
    pki: &Pki,
    material: &Material,
    name: Option<&str>,
) -> String {
    let mut text = String::new();
    for (name, body) in selected(configuration, name) {
        let _ = writeln!(text, "Trustpoint {name}:");
        for authority in &body.authorities {
            let subject = read(authority).map_or_else(|| "(unreadable)".into(), |ca| ca.subject_text());
            let _ = writeln!(
                text,
                "    Subject Name: \n    {subject}\n          Serial Number (hex): {}",
                authority.serial
            );
        }
        if body.authorities.is_empty() {
            text.push_str("    No certificate of a CA; type \"crypto pki authenticate\".\n");
        }
        if body.certificate.is_some() {
            let label = body.key_label(name);
            let state = if material.has_key(label) { "stored" } else { "MISSING" };
            let _ = writeln!(text, "    Certificate configured.\n    Private key: {label} ({state})");
        }
        let check = match body.revocation {
            RevocationCheck::Crl => "crl",
            RevocationCheck::CrlNone => "crl none",
            RevocationCheck::None => "none",
        };
        let _ = writeln!(text, "    Revocation check: {check}");
        for file in &body.crl_files {
            let _ = writeln!(text, "    CRL: {file} ({} loaded)", material.crls_of(file));
        }
        let prefix = format!("trustpoint {name}: ");
        for trouble in pki.troubles.iter().filter_map(|trouble| trouble.strip_prefix(&prefix)) {
            let _ = writeln!(text, "    NOT USABLE: {trouble}");
        }
        text.push('\n');
    }
    text
}

fn selected<'a>(
    configuration: &'a Configuration,
    name: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, &'a Trustpoint)> {
    let wanted = move |trustpoint: &str| name.is_none_or(|name| name == trustpoint);
    configuration
        .trustpoints
        .iter()
        .map(|(name, body)| (name.as_str(), body))
        .filter(move |(name, _)| wanted(name))
}

fn read(certificate: &PkiCertificate) -> Option<Certificate> {
    Certificate::from_der(&certificate.der).ok()
}

fn certificate(text: &mut String, title: &str, der: &[u8], trustpoints: &[&str]) {
    let Ok(certificate) = Certificate::from_der(der) else {
        let _ = writeln!(
            text,
            "{title}\n  Status: Unreadable; import it again\n  Associated Trustpoints: {}",
            trustpoints.join(" ")
        );
        return;
    };
    let serial: String = certificate.serial().iter().map(|octet| format!("{octet:02X}")).collect();
    let usage = match (certificate.is_ca(), certificate.key_usage()) {
        (true, Some(usage)) if !usage.signature => "Signature",
        _ => "General Purpose",
    };
    let key = certificate.key_kind().map_or("not usable here".into(), |kind| kind.to_string());
    let (from, to) = certificate.validity();
    let _ = writeln!(
        text,
        "{title}\n  Status: Available\n  Certificate Serial Number (hex): {serial}\n  Certificate Usage: {usage}\n  \
         Issuer: \n    {}\n  Subject:\n    {}\n  Public Key: {key}",
        certificate.issuer_text(),
        certificate.subject_text()
    );
    if !certificate.alternative_names().is_empty() {
        text.push_str("  Subject Alternative Names:\n");
    }
    for name in certificate.alternative_names() {
        let kind = match name {
            Identity::Address(_) => "address",
            Identity::Fqdn(_) => "fqdn",
            Identity::Email(_) => "email",
            _ => "dn",
        };
        let _ = writeln!(text, "    {kind} {name}");
    }
    let _ = writeln!(
        text,
        "  Validity Date: \n    start date: {}\n    end   date: {}\n  Associated Trustpoints: {}",
        utc(from),
        utc(to),
        trustpoints.join(" ")
    );
}
