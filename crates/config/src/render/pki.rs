//! `crypto pki trustpoint` and `crypto pki certificate chain`.

use super::Writer;
use crate::Configuration;
use crate::model::{PkiCertificate, RevocationCheck};

pub(super) fn trustpoints(out: &mut Writer, configuration: &Configuration) {
    for (name, trustpoint) in &configuration.trustpoints {
        out.line(format_args!("crypto pki trustpoint {name}"));
        out.lines(" ", &trustpoint.kept);
        // Always printed, because a wrong assumption about the default is a security risk.
        out.line(match trustpoint.revocation {
            RevocationCheck::Crl => " revocation-check crl",
            RevocationCheck::CrlNone => " revocation-check crl none",
            RevocationCheck::None => " revocation-check none",
        });
        for file in &trustpoint.crl_files {
            out.line(format_args!(" crl file {file}"));
        }
        if let Some(pair) = &trustpoint.key_pair {
            let keyword = if pair.elliptic { "eckeypair" } else { "rsakeypair" };
            let bits = pair.bits.map(|bits| format!(" {bits}")).unwrap_or_default();
            out.line(format_args!(" {keyword} {}{bits}", pair.label));
        }
        out.line("!");
    }
    for (name, trustpoint) in &configuration.trustpoints {
        if trustpoint.certificate.is_none() && trustpoint.authorities.is_empty() {
            continue;
        }
        out.line(format_args!("crypto pki certificate chain {name}"));
        if let Some(own) = &trustpoint.certificate {
            certificate(out, "", own);
        }
        for authority in &trustpoint.authorities {
            certificate(out, "ca ", authority);
        }
    }
    out.section();
}

/// Eight groups of eight digits per line, as in IOS.
fn certificate(out: &mut Writer, kind: &str, certificate: &PkiCertificate) {
    out.line(format_args!(" certificate {kind}{}", certificate.serial));
    for line in certificate.der.chunks(32) {
        let groups: Vec<String> = line
            .chunks(4)
            .map(|group| group.iter().map(|octet| format!("{octet:02X}")).collect::<String>())
            .collect();
        out.line(format_args!("  {}", groups.join(" ")));
    }
    out.line("  \tquit");
}
