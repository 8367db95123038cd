//! From what IKE agreed to what the records of the table say.

use std::time::Duration;

use ike::InstallChild;
use sa_table::{AddressRange, Algorithm, Lifetime, PortRange, SelectorPair, Selectors, TrafficSelector};

use super::PairParameters;
use crate::clock::{Scale, from_ike_time};

/// Packets that are sent before a rekey is asked for when sequence numbers have 32 bits: 7/8 of what there is.
const SOFT_PACKETS: u64 = (u32::MAX as u64) / 8 * 7;

/// The limits that the data plane keeps by itself, also while no control plane runs.
pub(super) fn lifetime(
    child: &InstallChild,
    parameters: &PairParameters,
    scale: Scale,
    now: Duration,
) -> Lifetime {
    let stamp = |at: Option<ike::Time>| at.map_or(0, |at| scale.stamp(from_ike_time(at).max(now)));
    let packets = if child.suite.esn { 0 } else { SOFT_PACKETS };
    Lifetime {
        soft_packets: packets,
        hard_packets: 0,
        // The margin differs from SA to SA, so that the two ends seldom rekey at once.
        soft_bytes: parameters.bytes / 100 * (85 + u64::from(child.inbound.spi % 10)),
        hard_bytes: parameters.bytes,
        // The endpoint watches the soft limit by time and asks whether there was traffic.
        soft_deadline_ms: 0,
        hard_deadline_ms: stamp(child.hard_limit),
    }
}

pub(super) fn algorithm(suite: &ike::EspSuite) -> Option<Algorithm> {
    use ike::{Encryption as E, Integrity as I};
    Some(match (suite.encryption, suite.integrity) {
        (E::AesGcm128, None) => Algorithm::AesGcm128,
        (E::AesGcm192, None) => Algorithm::AesGcm192,
        (E::AesGcm256, None) => Algorithm::AesGcm256,
        (E::ChaCha20Poly1305, None) => Algorithm::ChaCha20Poly1305,
        (E::AesGmac128, None) => Algorithm::AesGmac128,
        (E::AesGmac192, None) => Algorithm::AesGmac192,
        (E::AesGmac256, None) => Algorithm::AesGmac256,
        (E::Null, Some(I::HmacSha1_96)) => Algorithm::NullHmacSha1,
        (E::Null, Some(I::HmacSha256_128)) => Algorithm::NullHmacSha256,
        (E::Null, Some(I::HmacSha384_192)) => Algorithm::NullHmacSha384,
        (E::Null, Some(I::HmacSha512_256)) => Algorithm::NullHmacSha512,
        (E::AesCbc128, Some(I::HmacSha1_96)) => Algorithm::AesCbc128HmacSha1,
        (E::AesCbc128, Some(I::HmacSha256_128)) => Algorithm::AesCbc128HmacSha256,
        (E::AesCbc128, Some(I::HmacSha384_192)) => Algorithm::AesCbc128HmacSha384,
        (E::AesCbc128, Some(I::HmacSha512_256)) => Algorithm::AesCbc128HmacSha512,
        (E::AesCbc192, Some(I::HmacSha1_96)) => Algorithm::AesCbc192HmacSha1,
        (E::AesCbc192, Some(I::HmacSha256_128)) => Algorithm::AesCbc192HmacSha256,
        (E::AesCbc192, Some(I::HmacSha384_192)) => Algorithm::AesCbc192HmacSha384,
        (E::AesCbc192, Some(I::HmacSha512_256)) => Algorithm::AesCbc192HmacSha512,
        (E::AesCbc256, Some(I::HmacSha1_96)) => Algorithm::AesCbc256HmacSha1,
        (E::AesCbc256, Some(I::HmacSha256_128)) => Algorithm::AesCbc256HmacSha256,
        (E::AesCbc256, Some(I::HmacSha384_192)) => Algorithm::AesCbc256HmacSha384,
        (E::AesCbc256, Some(I::HmacSha512_256)) => Algorithm::AesCbc256HmacSha512,
        _ => return None,
    })
}

/// Every combination of a local and a remote selector of one family and compatible protocol.
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
    // OPAQUE (start above end) stands for packets whose ports cannot be seen; the table has port 0 for those.
    let opaque = from.start_port > from.end_port;
    let ports =
        if opaque { PortRange::single(0) } else { PortRange { first: from.start_port, last: from.end_port } };
    TrafficSelector { addresses: AddressRange { first: from.start, last: from.end }, ports }
}
