//! The SA records as plain data: what the control plane writes once and a worker copies once.

use core::net::IpAddr;

use super::{KeyMaterial, Selectors};
use crate::ids::{PolicyId, SlotWord};
use ipsec_types::{DfPolicy, DscpPolicy, Encapsulation, Mode};

/// Limits that the data plane enforces, also while no control plane runs. 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// Packets after which a rekey is asked for.
    pub soft_packets: u64,
    /// Packets after which the SA is not used any more.
    pub hard_packets: u64,
    /// Octets of protected payload after which a rekey is asked for.
    pub soft_bytes: u64,
    /// Octets of protected payload after which the SA is not used any more.
    pub hard_bytes: u64,
    /// CLOCK_MONOTONIC milliseconds at which a rekey is due.
    pub soft_deadline_ms: u64,
    /// CLOCK_MONOTONIC milliseconds after which the SA is not used any more.
    pub hard_deadline_ms: u64,
}

/// An outbound SA. Immutable once published: what can change later (peer endpoint, peer slot, next
/// in the chain) is in separate words, see [`TableReader`](crate::TableReader).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundSaRecord {
    /// SPI chosen by the peer, native byte order.
    pub spi: u32,
    /// Outer source address: our crypto address.
    pub source: IpAddr,
    /// Outer destination address: the peer. The first value of the peer endpoint.
    pub destination: IpAddr,
    /// Tunnel or transport mode.
    pub mode: Mode,
    /// Plain ESP or ESP in UDP.
    pub encapsulation: Encapsulation,
    /// Algorithm, keys and salt.
    pub keys: KeyMaterial,
    /// 64-bit sequence numbers (RFC 4303 §2.2.1); otherwise the SA ends at 2^32 - 1 packets.
    pub esn: bool,
    /// The selectors as negotiated.
    pub selectors: Selectors,
    /// Largest outer packet in octets toward the peer, as far as known at installation.
    pub path_mtu: u32,
    /// DF bit of the outer header.
    pub df: DfPolicy,
    /// DS field of the outer header.
    pub dscp: DscpPolicy,
    /// The policy whose word refers to this SA.
    pub policy: PolicyId,
    /// The inbound SA of the pair, if it was installed first.
    pub peer: Option<SlotWord>,
    /// Limits that the data plane enforces.
    pub lifetime: Lifetime,
}

/// An inbound SA. Immutable once published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundSaRecord {
    /// SPI chosen by us, native byte order, at least [`MIN_SPI`](crate::MIN_SPI).
    pub spi: u32,
    /// The address of ours that ESP is sent to. Several SAs may have one SPI if this differs.
    pub local: IpAddr,
    /// Where the peer is expected. Another source is accepted after authentication and reported as
    /// new endpoint.
    pub peer_address: IpAddr,
    /// Tunnel or transport mode.
    pub mode: Mode,
    /// Plain ESP or ESP in UDP.
    pub encapsulation: Encapsulation,
    /// Algorithm, keys and salt.
    pub keys: KeyMaterial,
    /// 64-bit sequence numbers.
    pub esn: bool,
    /// Replay window in packets, 0 switches the check off, at most the capacity of the runtime
    /// segment.
    pub replay_window: u32,
    /// The selectors as negotiated.
    pub selectors: Selectors,
    /// The policy that this SA belongs to.
    pub policy: PolicyId,
    /// The outbound SA of the pair, if it was installed first.
    pub peer: Option<SlotWord>,
    /// Limits that the data plane enforces.
    pub lifetime: Lifetime,
}

/// The current endpoint of the peer of an outbound SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerEndpoint {
    /// Outer destination address.
    pub address: IpAddr,
    /// UDP destination port for ESP in UDP, native byte order; 0 without UDP.
    pub port: u16,
}
