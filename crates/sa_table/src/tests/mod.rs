//! Both sides connected over real segments.

mod corruption;
mod handover;
mod policies;
mod runtime;
mod sas;

use core::net::IpAddr;

use ipsec_types::Hmac;

use crate::*;

pub(crate) const WORKER: WorkerId = WorkerId(1);

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn keys(octet: u8) -> KeyMaterial {
    KeyMaterial::new(EspAlgorithm::AesCbc256(Hmac::Sha512_256), &[octet; 32], &[octet; 64], &[]).unwrap()
}

pub(crate) fn selectors() -> Selectors {
    let end = |first, last| TrafficSelector {
        addresses: AddressRange { first: ip(first), last: ip(last) },
        ports: PortRange::ANY,
    };
    Selectors::single(SelectorPair {
        protocol: None,
        local: end("10.0.0.0", "10.0.0.255"),
        remote: end("10.1.0.0", "10.1.0.255"),
    })
}

pub(crate) fn outbound(spi: u32, policy: PolicyId) -> OutboundSaRecord {
    OutboundSaRecord {
        spi,
        source: ip("192.0.2.1"),
        destination: ip("198.51.100.1"),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp { local_port: 4500, remote_port: 4500 },
        keys: keys(0xa5),
        esn: true,
        selectors: selectors(),
        path_mtu: 1500,
        df: DfPolicy::Copy,
        dscp: DscpPolicy::Copy,
        policy,
        peer: None,
        lifetime: Lifetime { hard_packets: 1000, ..Lifetime::default() },
    }
}

pub(crate) fn inbound(spi: u32, policy: PolicyId) -> InboundSaRecord {
    InboundSaRecord {
        spi,
        local: ip("192.0.2.1"),
        peer_address: ip("198.51.100.1"),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::None,
        keys: keys(0x5a),
        esn: false,
        replay_window: 64,
        selectors: selectors(),
        policy,
        peer: None,
        lifetime: Lifetime::default(),
    }
}
