//! Names of states and algorithms as IOS prints them.

use ike::provider::KeyKind;
use ike::{Encryption, EspSuite, Integrity, Prf, ProofMethod};

use crate::peers::session::State;
use crate::routes::prefixes;

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

/// The negotiated selectors as lines of an access list: `ip 192.168.1.0 0.0.0.255 host 10.0.0.1`.
pub(super) fn permits(local: &[ike::TrafficSelector], remote: &[ike::TrafficSelector]) -> Vec<String> {
    let side = |selector: &ike::TrafficSelector| -> Vec<String> {
        let ports = match (selector.start_port, selector.end_port) {
            (0, u16::MAX) => String::new(),
            (first, last) if first == last => format!(" eq {first}"),
            (first, last) => format!(" range {first} {last}"),
        };
        prefixes(selector.start, selector.end).iter().map(|prefix| text_of(prefix) + &ports).collect()
    };
    let mut lines = Vec::new();
    for ours in local {
        for theirs in remote {
            let protocol = match ours.protocol.max(theirs.protocol) {
                0 => "ip".to_owned(),
                1 => "icmp".to_owned(),
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                other => other.to_string(),
            };
            for from in side(ours) {
                lines.extend(side(theirs).into_iter().map(|to| format!("{protocol} {from} {to}")));
            }
        }
    }
    lines
}

fn text_of(prefix: &config::model::Prefix) -> String {
    match prefix.address {
        _ if prefix.length == 0 => "any".to_owned(),
        std::net::IpAddr::V4(address) if prefix.length == 32 => format!("host {address}"),
        std::net::IpAddr::V4(address) => {
            let wildcard = std::net::Ipv4Addr::from(u32::MAX.checked_shr(prefix.length.into()).unwrap_or(0));
            format!("{address} {wildcard}")
        }
        std::net::IpAddr::V6(address) => format!("{address}/{}", prefix.length),
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
