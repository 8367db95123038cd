//! Converts the result of an IKE negotiation to table records.

use std::time::Duration;

use ike::InstallChild;
use sa_table::{
    AddressRange, EspAlgorithm, Hmac, Lifetime, PortRange, SelectorPair, Selectors, TrafficSelector,
};

use super::PairParameters;
use crate::clock::{Scale, from_ike_time};

/// Number of packets after which a rekey is requested with 32-bit sequence numbers: 7/8 of the
/// sequence number space.
const SOFT_PACKETS: u64 = (u32::MAX as u64) / 8 * 7;

/// The limits that the data plane enforces itself, also while no control plane runs.
pub(super) fn lifetime(
    child: &InstallChild,
    parameters: &PairParameters,
    scale: Scale,
    now: Duration,
) -> Lifetime {
    let stamp = |at: Option<ike::Time>| at.map_or(0, |at| scale.stamp(from_ike_time(at).max(now)));
    let own = cipher_limit(child.suite.encryption);
    let bytes = smaller(parameters.bytes, own.bytes);
    // The margin depends on the SPI, so that the two ends seldom rekey at the same time.
    let margin = |limit: u64| limit / 100 * (85 + u64::from(child.inbound.spi % 10));
    let packets = if child.suite.esn { 0 } else { SOFT_PACKETS };
    Lifetime {
        soft_packets: smaller(packets, margin(own.packets)),
        hard_packets: own.packets,
        soft_bytes: margin(bytes),
        hard_bytes: bytes,
        // The endpoint watches the soft limit by time, since the gateway rekeys only SAs with
        // traffic.
        soft_deadline_ms: 0,
        hard_deadline_ms: stamp(child.hard_limit),
    }
}

/// Maximum amount of data under one key, independent of the configuration; 0 for no limit.
struct CipherLimit {
    bytes: u64,
    packets: u64,
}

/// Maximum number of AES blocks under one key. After B blocks, a cipher with 128-bit blocks can be
/// distinguished from a random function with probability B^2 / 2^129. With 2^36 blocks this stays
/// below 2^-57, the bound of TLS and QUIC (RFC 8446 §5.5, RFC 9001 §6.6 and appendix B).
const AES_BLOCKS: u64 = 1 << 36;

/// AES-CBC and AES-GCM use one block for 16 octets (RFC 3602 §2.3 and RFC 4106 §9 set no fixed
/// limit), GMAC one for each packet. ChaCha20 is not a permutation and has no such limit (RFC 7634
/// §5). NULL does not encrypt, and the limit of its HMAC key is far beyond any number of packets.
fn cipher_limit(encryption: ike::Encryption) -> CipherLimit {
    use ike::Encryption as E;
    match encryption {
        E::AesCbc128 | E::AesCbc192 | E::AesCbc256 | E::AesGcm128 | E::AesGcm192 | E::AesGcm256 => {
            CipherLimit { bytes: AES_BLOCKS * 16, packets: 0 }
        }
        E::AesGmac128 | E::AesGmac192 | E::AesGmac256 => CipherLimit { bytes: 0, packets: AES_BLOCKS },
        E::ChaCha20Poly1305 | E::Null => CipherLimit { bytes: 0, packets: 0 },
    }
}

/// The smaller of two limits, where 0 means no limit.
fn smaller(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

/// The algorithm of a negotiated suite; `None` for a combination that ESP does not support.
pub(super) fn algorithm(suite: &ike::EspSuite) -> Option<EspAlgorithm> {
    use ike::{Encryption as E, Integrity as I};
    let hmac = match suite.integrity {
        None => None,
        Some(I::HmacSha1_96) => Some(Hmac::Sha1_96),
        Some(I::HmacSha256_128) => Some(Hmac::Sha256_128),
        Some(I::HmacSha384_192) => Some(Hmac::Sha384_192),
        Some(I::HmacSha512_256) => Some(Hmac::Sha512_256),
    };
    Some(match (suite.encryption, hmac) {
        (E::AesGcm128, None) => EspAlgorithm::AesGcm128,
        (E::AesGcm192, None) => EspAlgorithm::AesGcm192,
        (E::AesGcm256, None) => EspAlgorithm::AesGcm256,
        (E::ChaCha20Poly1305, None) => EspAlgorithm::ChaCha20Poly1305,
        (E::AesGmac128, None) => EspAlgorithm::AesGmac128,
        (E::AesGmac192, None) => EspAlgorithm::AesGmac192,
        (E::AesGmac256, None) => EspAlgorithm::AesGmac256,
        (E::Null, Some(hmac)) => EspAlgorithm::Null(hmac),
        (E::AesCbc128, Some(hmac)) => EspAlgorithm::AesCbc128(hmac),
        (E::AesCbc192, Some(hmac)) => EspAlgorithm::AesCbc192(hmac),
        (E::AesCbc256, Some(hmac)) => EspAlgorithm::AesCbc256(hmac),
        _ => return None,
    })
}

/// All combinations of a local and a remote selector with the same family and compatible protocols.
pub(super) fn selectors(
    local: &[ike::TrafficSelector],
    remote: &[ike::TrafficSelector],
) -> Option<Selectors> {
    let mut pairs = Vec::new();
    for ours in local {
        for theirs in remote.iter().filter(|theirs| theirs.start.is_ipv4() == ours.start.is_ipv4()) {
            let protocol = match (ours.protocol, theirs.protocol) {
                (0, protocol) | (protocol, 0) => protocol,
                (a, b) if a == b => a,
                _ => continue,
            };
            pairs.push(SelectorPair {
                protocol: (protocol != 0).then_some(protocol),
                local: selector(ours),
                remote: selector(theirs),
            });
        }
    }
    Selectors::new(&pairs)
}

fn selector(from: &ike::TrafficSelector) -> TrafficSelector {
    // OPAQUE (start port above end port) stands for packets whose ports are not visible; the table
    // uses port 0 for them.
    let opaque = from.start_port > from.end_port;
    let ports =
        if opaque { PortRange::single(0) } else { PortRange { first: from.start_port, last: from.end_port } };
    TrafficSelector { addresses: AddressRange { first: from.start, last: from.end }, ports }
}
