//! Words for states and algorithms, as IOS prints them.

use ike::provider::KeyKind;
use ike::{Encryption, EspSuite, Integrity, Prf, ProofMethod};

use crate::session::State;

pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Initiating => "initiating",
        State::Up => "up",
        State::Exhausted => "exhausted",
    }
}

/// `Auth sign` and `Auth verify`.
pub(super) fn authentication(method: Option<ProofMethod>) -> &'static str {
    match method {
        None | Some(ProofMethod::PreShared) => "PSK",
        Some(ProofMethod::Signature(KeyKind::Rsa)) => "RSA",
        Some(ProofMethod::Signature(KeyKind::Ecdsa(_))) => "ECDSA",
        Some(ProofMethod::Signature(KeyKind::Ed25519)) => "EDDSA",
    }
}

/// `esp-gcm 256`, `esp-256-aes esp-sha256-hmac`.
pub(super) fn transform(suite: &EspSuite) -> String {
    let cipher = match suite.encryption {
        Encryption::AesGcm128 => "esp-gcm",
        Encryption::AesGcm192 => "esp-gcm 192",
        Encryption::AesGcm256 => "esp-gcm 256",
        Encryption::AesGmac128 => "esp-gmac",
        Encryption::AesGmac192 => "esp-gmac 192",
        Encryption::AesGmac256 => "esp-gmac 256",
        Encryption::ChaCha20Poly1305 => "esp-chacha20-poly1305",
        Encryption::AesCbc128 => "esp-aes",
        Encryption::AesCbc192 => "esp-192-aes",
        Encryption::AesCbc256 => "esp-256-aes",
        Encryption::Null => "esp-null",
    };
    let mac = match suite.integrity {
        None => return cipher.to_owned(),
        Some(Integrity::HmacSha1_96) => "esp-sha-hmac",
        Some(Integrity::HmacSha256_128) => "esp-sha256-hmac",
        Some(Integrity::HmacSha384_192) => "esp-sha384-hmac",
        Some(Integrity::HmacSha512_256) => "esp-sha512-hmac",
    };
    format!("{cipher} {mac}")
}

/// `AES-CBC` or `AES-GCM`, and the key length in bits.
pub(super) fn ike_cipher(encryption: Encryption) -> (&'static str, u16) {
    let name = if encryption.is_aead() { "AES-GCM" } else { "AES-CBC" };
    (name, u16::try_from(encryption.key_len() * 8).unwrap_or(0))
}

pub(super) fn hash(prf: Prf) -> &'static str {
    match prf {
        Prf::HmacSha1 => "SHA96",
        Prf::HmacSha256 => "SHA256",
        Prf::HmacSha384 => "SHA384",
        Prf::HmacSha512 => "SHA512",
    }
}
