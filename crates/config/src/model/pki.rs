//! `crypto pki …`: trustpoints with their certificates. Private keys are not part of a
//! configuration: it names them.

use std::fmt;

/// `revocation-check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevocationCheck {
    /// `crl`: each certificate must be covered by a CRL that is not out of date (the IOS default).
    #[default]
    Crl,
    /// `crl none`: by a CRL where there is one.
    CrlNone,
    /// `none`.
    None,
}

/// `rsakeypair L [bits]` or `eckeypair L`: the private key that belongs to a trustpoint's
/// certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// True for `eckeypair`.
    pub elliptic: bool,
    /// Its label: the name under which it is stored.
    pub label: String,
    /// `bits` as typed, kept.
    pub bits: Option<u16>,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct PkiCertificate {
    /// Its serial number in upper-case hexadecimal digits, as IOS writes it.
    pub serial: String,
    /// The certificate, DER.
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
    /// `crl file F`, in the order typed.
    pub crl_files: Vec<String>,
    /// `rsakeypair`, `eckeypair`; absent means a key pair of the trustpoint's name.
    pub key_pair: Option<KeyPair>,
    /// The certificate of this gateway.
    pub certificate: Option<PkiCertificate>,
    /// The certificates of its CA, and of CAs above that.
    pub authorities: Vec<PkiCertificate>,
    /// Lines about enrolment, which is done elsewhere, kept as typed.
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
    /// Its certificate may prove us.
    pub sign: bool,
    /// Its CA may prove the peer.
    pub verify: bool,
}
