//! `crypto pki …`: trustpoints with their certificates. Private keys are not part of the
//! configuration, which refers to them by label.

use std::fmt;

/// `revocation-check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevocationCheck {
    /// `crl`: each certificate must be covered by a valid CRL (the IOS default).
    #[default]
    Crl,
    /// `crl none`: CRLs are checked if present.
    CrlNone,
    /// `none`.
    None,
}

/// `rsakeypair L [bits]` or `eckeypair L`: the private key of a trustpoint's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// True for `eckeypair`.
    pub elliptic: bool,
    /// The label under which the key is stored.
    pub label: String,
    /// `bits`, stored without an effect.
    pub bits: Option<u16>,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct PkiCertificate {
    /// Its serial number in upper-case hexadecimal digits, as IOS prints it.
    pub serial: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
}

impl fmt::Debug for PkiCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PkiCertificate({}, {} octets)", self.serial, self.der.len())
    }
}

/// `crypto pki trustpoint N` and `crypto pki certificate chain N`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trustpoint {
    /// `revocation-check`.
    pub revocation: RevocationCheck,
    /// `crl file F`, in configuration order.
    pub crl_files: Vec<String>,
    /// `rsakeypair`, `eckeypair`; if absent, a key pair with the name of the trustpoint.
    pub key_pair: Option<KeyPair>,
    /// The certificate of this gateway.
    pub certificate: Option<PkiCertificate>,
    /// The certificates of its CA, and of superior CAs.
    pub authorities: Vec<PkiCertificate>,
    /// Lines about enrolment, which is not supported, stored as entered.
    pub kept: Vec<String>,
}

impl Trustpoint {
    /// The label of the key pair of a trustpoint of this name.
    pub fn key_label<'a>(&'a self, name: &'a str) -> &'a str {
        self.key_pair.as_ref().map_or(name, |pair| &pair.label)
    }
}

/// `pki trustpoint T [sign | verify]` of an IKEv2 profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileTrustpoint {
    /// The trustpoint.
    pub name: String,
    /// Whether its certificate is used for local authentication.
    pub sign: bool,
    /// Whether its CA is trusted for the peer's certificate.
    pub verify: bool,
}
