//! What can be wrong with a certificate.

/// Why a certificate, a CRL or a private key cannot be used. The text ends with the remedy where
/// the operator has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is not an X.509 certificate in DER.
    #[error("not an X.509 certificate in DER form")]
    Malformed,
    /// It is no CRL that can be used.
    #[error("not a usable CRL ({0}); a version 2 CRL in DER or PEM form is needed")]
    Crl(String),
    /// The key is none that can sign.
    #[error(
        "not a usable private key; RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519 is needed"
    )]
    Key,
    /// Certificate and private key do not belong together.
    #[error("the private key is not the one of the certificate {0}")]
    KeyMismatch(String),
    /// A certificate was asked for and none was there.
    #[error("no certificate was sent")]
    Missing,
    /// More certificates than are accepted in one message.
    #[error("too many certificates in one message")]
    TooMany,
    /// No path leads from it to a CA of the trustpoint.
    #[error("certificate {0}: its issuer is not the CA of the trustpoint")]
    UnknownIssuer(String),
    /// A signature on the path is wrong.
    #[error("certificate {0}: the signature of its issuer is wrong")]
    Signature(String),
    /// It, or an issuer of it, is past its end.
    #[error("certificate {0} or an issuer of it has expired; renew it and compare the clocks")]
    Expired(String),
    /// It, or an issuer of it, is not valid yet.
    #[error("certificate {0} or an issuer of it is not valid yet; compare the clocks")]
    NotYetValid(String),
    /// It, or an issuer of it, is revoked.
    #[error("certificate {0} or an issuer of it is revoked")]
    Revoked(String),
    /// Revocation checking is required and no CRL covers the certificate.
    #[error(
        "certificate {0}: no CRL of its issuer is loaded; type \"crl file F\" or \"revocation-check none\" in the trustpoint"
    )]
    NoCrl(String),
    /// The CRL is past its next update.
    #[error("certificate {0}: the CRL of its issuer is out of date; put a new one in its place")]
    CrlExpired(String),
    /// It is not meant for this.
    #[error("certificate {0}: {1}")]
    Usage(String, &'static str),
    /// It does not name the identity that the peer claims.
    #[error("certificate {subject} does not name {identity}")]
    Identity {
        /// Its subject.
        subject: String,
        /// The identity that the peer claims.
        identity: String,
    },
    /// The wall-clock time was not set.
    #[error("the time is unknown: validity cannot be checked")]
    NoClock,
    /// Anything else that path validation found.
    #[error("certificate {0}: {1}")]
    Invalid(String, String),
}
