//! What the eBPF programs and the data plane agree on: the values in the maps, and the names of the counters.
//!
//! Both sides are built from this one source; [`ABI`] stands in a pinned map, so that a data plane notices the pins of
//! another version instead of misreading them. Addresses and address masks are in network byte order, as they stand in
//! the packet; an IPv4 address is the first of the four words. Everything else is native.
#![no_std]

/// Raised whenever a map changes its layout or meaning.
pub const ABI: u32 = 2;

/// Sockets per port that the socket map has room for.
pub const MAX_QUEUES: u32 = 64;
/// Ports that the socket map has room for.
pub const MAX_PORTS: u32 = 64;
/// The guard's rules of all ports. The table is written in halves: one in use, one being filled.
pub const MAX_RULES: u32 = 16_384;
/// Rules of one port that the guard compares in order. The verifier walks every step of the loop, which bounds it.
/// A longer list is matched by address class only (see [`PORT_COARSE`]).
pub const MAX_RULES_PER_PORT: u32 = 1024;
/// Prefixes of each IP version.
pub const MAX_PREFIXES: u32 = 262_144;

/// Address class: a destination of some permit (outbound).
pub const CLASS_DESTINATION: u32 = 1;
/// Address class: a source of some permit (outbound).
pub const CLASS_SOURCE: u32 = 2;
/// Address class: an address of ours that peers send ESP and IKE to. Always a host prefix.
pub const CLASS_OWN: u32 = 4;

/// Port flag: a crypto map is applied to the interface.
pub const PORT_CRYPTO_MAP: u32 = 1;
/// Port flag: the egress guard drops whatever goes from a protected source to a protected destination, without looking
/// at the rules (there are too many).
pub const PORT_COARSE: u32 = 2;

/// What the programs know of an interface; map `PORTS`, key is the ifindex. A hash map, because replacing an element of a
/// hash map is atomic for the reader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// `PORT_…` bits.
    pub flags: u32,
    /// Place of the socket of queue 0 in `XSKS`; the others follow.
    pub xsk_first: u32,
    /// Number of places.
    pub xsk_count: u32,
    /// First rule of the port's crypto-map set in `RULES`.
    pub rule_first: u32,
    /// Number of its rules.
    pub rule_count: u32,
}

/// A condition as a mask: all bits, or none. The guard's loop adds conditions up without branching, because the
/// verifier bounds the number of branches on a path.
pub const YES: u32 = u32::MAX;
/// See [`YES`].
pub const NO: u32 = 0;

/// One rule of a crypto-map set as the egress guard walks it; map `RULES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardRule {
    /// Source network; bits outside the mask are zero.
    pub source: [u32; 4],
    /// Which bits of the source count.
    pub source_mask: [u32; 4],
    /// Destination network; bits outside the mask are zero.
    pub destination: [u32; 4],
    /// Which bits of the destination count.
    pub destination_mask: [u32; 4],
    /// Lowest and highest source port.
    pub source_ports: [u16; 2],
    /// Lowest and highest destination port.
    pub destination_ports: [u16; 2],
    /// IP protocol.
    pub protocol: u32,
    /// [`YES`]: the protocol counts. [`NO`]: any.
    pub protocol_counts: u32,
    /// [`YES`]: not every port is meant.
    pub ports_count: u32,
    /// 4 or 6.
    pub version: u32,
    /// [`YES`]: a match goes on at `jump`. [`NO`]: a match is protected, so it may not leave in clear.
    pub exempts: u32,
    /// Where an exempted packet goes on: an index of `RULES`, always behind this rule.
    pub jump: u32,
}

/// A fragmented datagram whose first part was IKE; key of map `IKE_FRAGMENTS`, the value is the time in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey {
    /// Source address.
    pub source: [u32; 4],
    /// Destination address.
    pub destination: [u32; 4],
    /// IPv4 or IPv6 fragment identification.
    pub identification: u32,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// What the programs count; index of map `COUNTERS` (one value for each CPU).
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Counter {
            /// All counters in the order of their indices.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that `show tohub dataplane` prints.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Ingress: ESP, plain or in UDP, given to a worker.
    IngressEsp = "ingress-esp",
    /// Ingress: clear traffic that a permit can match, given to a worker.
    IngressProtected = "ingress-protected",
    /// Ingress: IKE, given to the kernel.
    IngressIke = "ingress-ike",
    /// Ingress: none of our business, given to the kernel.
    IngressPass = "ingress-pass",
    /// Ingress: no socket is there to take what was meant for a worker: dropped.
    IngressNoSocket = "ingress-drop-no-socket",
    /// Ingress: an IP header that cannot be read: dropped.
    IngressMalformed = "ingress-drop-malformed",
    /// Egress: clear packets of the kernel's own path that a crypto map protects: dropped.
    EgressProtected = "egress-drop-protected",
    /// Egress: ICMP errors of this host that quote a packet of a protected flow: dropped.
    EgressQuote = "egress-drop-quoted",
    /// Egress: an IP header that cannot be read: dropped.
    EgressMalformed = "egress-drop-malformed",
    /// Egress: IKE of this host, sent.
    EgressIke = "egress-ike",
    /// Egress: anything else, sent.
    EgressPass = "egress-pass",
}

/// Names of the maps, which are also the names of their pins.
pub mod map {
    /// `u32` → [`crate::ABI`].
    pub const META: &str = "META";
    /// AF_XDP sockets, index is port base + queue.
    pub const XSKS: &str = "XSKS";
    /// ifindex → [`crate::PortConfig`].
    pub const PORTS: &str = "PORTS";
    /// IPv4 prefix → `CLASS_…` bits.
    pub const CLASSES_V4: &str = "CLASSES_V4";
    /// IPv6 prefix → `CLASS_…` bits.
    pub const CLASSES_V6: &str = "CLASSES_V6";
    /// Index → [`crate::GuardRule`].
    pub const RULES: &str = "RULES";
    /// [`crate::Counter`] → `u64` for each CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`crate::FragmentKey`] → time.
    pub const IKE_FRAGMENTS: &str = "IKE_FRAGMENTS";
    /// All of them.
    pub const ALL: [&str; 8] = [META, XSKS, PORTS, CLASSES_V4, CLASSES_V6, RULES, COUNTERS, IKE_FRAGMENTS];
}

/// Name of the XDP program.
pub const INGRESS_PROGRAM: &str = "tohub_ingress";
/// Name of the tcx program.
pub const EGRESS_PROGRAM: &str = "tohub_egress";

#[cfg(feature = "user")]
mod user {
    use super::{GuardRule, PortConfig};

    // SAFETY: repr(C), integers only, no padding (20 bytes of u32), so every bit pattern is valid and initialised.
    unsafe impl aya::Pod for PortConfig {}
    // SAFETY: repr(C), integers only; 64 + 8 + 6 * 4 = 96 bytes without padding.
    unsafe impl aya::Pod for GuardRule {}

    const _: () = assert!(size_of::<PortConfig>() == 20 && size_of::<GuardRule>() == 96);
}
