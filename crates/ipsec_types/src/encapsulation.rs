//! How ESP encloses a packet, and how the outer header is filled.

/// ESP mode (RFC 4301 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// A whole IP packet inside a new outer header.
    #[default]
    Tunnel,
    /// The upper-layer packet behind the original IP header.
    Transport,
}

/// The DF bit of an outer IPv4 header (RFC 4301 §8.1). An outer IPv6 header has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DfPolicy {
    /// Taken from an inner IPv4 header; set for an inner IPv6 packet, which no router may fragment.
    #[default]
    Copy,
    /// Always set.
    Set,
    /// Always clear.
    Clear,
}

/// The DSCP of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DscpPolicy {
    /// Taken from the inner header.
    #[default]
    Copy,
    /// Always this code point, 0..=63.
    Fixed(u8),
}

/// The ECN field of the outer header (RFC 6040 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum EcnPolicy {
    /// Normal mode: copied. The mode of all tunnels that IKEv2 negotiates (RFC 4301 §5.1.2.1).
    #[default]
    Copy,
    /// Compatibility mode: Not-ECT, for a peer that would lose congestion marks.
    NotCapable,
}

/// Encapsulation of ESP for NAT traversal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Encapsulation {
    /// ESP directly in IP.
    #[default]
    None,
    /// ESP in UDP (RFC 3948), ports as they stand in packets that we send, native byte order.
    Udp {
        /// Our port, 4500 as a rule.
        local_port: u16,
        /// The peer's port as its NAT shows it.
        remote_port: u16,
    },
}

impl Encapsulation {
    /// ESP in UDP between the usual NAT traversal ports.
    pub const UDP_4500: Self = Self::Udp { local_port: 4500, remote_port: 4500 };
}
