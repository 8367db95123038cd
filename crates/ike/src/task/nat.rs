//! NAT detection (RFC 7296 §2.23).

use std::net::{IpAddr, SocketAddr};

use crate::message::{Payload, notify_type};
use crate::provider::Provider;
use crate::random::Random;
use crate::sa::Nat;

use super::parts::Parts;

/// The two notifies of an IKE_SA_INIT message. With `pretend` the source does not match on purpose,
/// so that the peer detects a NAT in front of us and uses ESP in UDP.
pub(crate) fn payloads(
    provider: &Provider,
    random: &mut dyn Random,
    spis: (u64, u64),
    (from, to): (SocketAddr, SocketAddr),
    pretend: bool,
) -> [Payload; 2] {
    let mut source = hash(provider, spis, from);
    if pretend {
        random.fill(&mut source);
    }
    [
        Payload::notify(notify_type::NAT_DETECTION_SOURCE_IP, source.to_vec()),
        Payload::notify(notify_type::NAT_DETECTION_DESTINATION_IP, hash(provider, spis, to).to_vec()),
    ]
}

/// Detects NATs from a received IKE_SA_INIT message; `None` if the peer does not support NAT
/// traversal.
pub(crate) fn detect(
    provider: &Provider,
    spis: (u64, u64),
    (from, to): (SocketAddr, SocketAddr),
    parts: &Parts,
) -> Option<Nat> {
    let of = |kind: u16| parts.notifies.iter().filter(move |notify| notify.kind == kind);
    let sources = || of(notify_type::NAT_DETECTION_SOURCE_IP);
    let destination = parts.notify(notify_type::NAT_DETECTION_DESTINATION_IP)?;
    sources().next()?;
    let peer = hash(provider, spis, from);
    // A peer with several addresses sends several source hashes; one match is enough.
    let remote = !sources().any(|notify| notify.data == peer);
    let local = destination.data != hash(provider, spis, to);
    Some(Nat { local, remote })
}

/// SHA-1(SPIi | SPIr | address | port).
fn hash(provider: &Provider, (spi_i, spi_r): (u64, u64), endpoint: SocketAddr) -> [u8; 20] {
    let address = match endpoint.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    (provider.sha1)(&[&spi_i.to_be_bytes(), &spi_r.to_be_bytes(), &address, &endpoint.port().to_be_bytes()])
}
