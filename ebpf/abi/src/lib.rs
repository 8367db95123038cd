//! What the eBPF programs and the data plane agree on: the values in the maps, and the names of the counters.
//!
//! Both sides are built from this one source; [`ABI`] stands in a pinned map, so that a data plane notices the pins of
//! another version instead of misreading them. Addresses and address masks are in network byte order, as they stand in
//! the packet; an IPv4 address is the first of the four words. Everything else is native.
#![no_std]

/// Raised whenever a map changes its layout or meaning.
pub const ABI: u32 = 4;

/// Sockets per port that the socket map has room for.
pub const MAX_QUEUES: u32 = 64;
/// Ports that the socket map has room for.
pub const MAX_PORTS: u32 = 64;
/// The guard's rules of all lists. The table is written in halves: one in use, one being filled.
pub const MAX_RULES: u32 = 16_384;
/// Rules of one list that the guard compares in order. A longer list is matched by address class only (see [`PORT_COARSE`]).
pub const MAX_RULES_PER_PORT: u32 = MAX_RULES / 2;
/// Devices that may have an entry in `PORTS`. The others share the entry of [`DEFAULT_PORT`].
pub const MAX_ENTRIES: u32 = 4096;
/// Flows that `ELSEWHERE` remembers.
pub const MAX_ELSEWHERE: u32 = 1024;
/// Prefixes of each IP version.
pub const MAX_PREFIXES: u32 = 262_144;

/// Address class: a destination of some permit (outbound).
pub const CLASS_DESTINATION: u32 = 1;
/// Address class: a source of some permit (outbound).
pub const CLASS_SOURCE: u32 = 2;
/// Address class: an address of ours that peers send ESP and IKE to. Always a host prefix.
pub const CLASS_OWN: u32 = 4;

/// Key of `PORTS` whose entry holds for every ifindex without an entry of its own: the list of everywhere. If this
/// entry is missing too, everything between a protected source and a protected destination is dropped.
pub const DEFAULT_PORT: u32 = 0;

/// Port flag: a crypto map is applied to the interface, so XDP gives workers what can match the mirror of a permit too.
pub const PORT_CRYPTO_MAP: u32 = 1;
/// Port flag: the rules cannot be walked (too many, or missing). The guard drops whatever goes from a protected source
/// to a protected destination, and on arrival the other way round.
pub const PORT_COARSE: u32 = 2;
/// Port flag: frames begin with the IP header (TUN, PPP, raw IP), there is no Ethernet header.
pub const PORT_RAW_IP: u32 = 4;
/// Port flag: a data-plane port. XDP gives workers what a permit can match; without the flag the kernel gets it.
pub const PORT_STEER: u32 = 8;
/// Port flag: a filter (an access group) is asked about the IPv4 packets that arrive here. Workers ask it, so XDP gives
/// them all of these packets, and drops what no socket takes: the kernel would let it pass unasked.
pub const PORT_FILTERED: u32 = 16;

/// What the programs know of a device; map `PORTS`, key is the ifindex, or [`DEFAULT_PORT`]. A hash map, because
/// replacing an element of a hash map is atomic for the reader.
///
/// With `rule_count` 0 and without [`PORT_COARSE`] the guard drops nothing on the device but ESP for an own address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// `PORT_…` bits.
    pub flags: u32,
    /// Place of the socket of queue 0 in `XSKS`; the others follow.
    pub xsk_first: u32,
    /// Number of places.
    pub xsk_count: u32,
    /// First rule in `RULES` of the list that the device is closed by: as written on departure, mirrored on arrival.
    pub rule_first: u32,
    /// Number of its rules, at most [`MAX_RULES_PER_PORT`].
    pub rule_count: u32,
    /// First rule in `RULES` of the list of what crypto maps of other devices protect. A packet that it protects may
    /// leave here in clear; it is counted, and its flow is put into `ELSEWHERE`.
    pub watch_first: u32,
    /// Number of its rules, at most [`MAX_RULES_PER_PORT`].
    pub watch_count: u32,
}

/// A condition as a mask: all bits, or none. The guard's loop adds conditions up without branching, because the
/// verifier bounds the number of branches on a path.
pub const YES: u32 = u32::MAX;
/// See [`YES`].
pub const NO: u32 = 0;

/// One rule of a crypto-map set as the guard walks it; map `RULES`.
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

/// A flow that left in clear by a device whose list does not protect it, although the crypto map of another device does;
/// key of map `ELSEWHERE`, the value is the number of packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClearFlow {
    /// The device that the packets left by.
    pub ifindex: u32,
    /// 4 or 6.
    pub version: u32,
    /// IP protocol; [`HIDDEN_PROTOCOL`] when the packets do not show it.
    pub protocol: u32,
    /// Source address.
    pub source: [u32; 4],
    /// Destination address.
    pub destination: [u32; 4],
    /// Source and destination port, zero when the protocol has none or the packets do not show them. ICMP: both are
    /// `type << 8 | code`.
    pub ports: [u16; 2],
}

/// Value of [`ClearFlow::protocol`] when the packet does not show its protocol.
pub const HIDDEN_PROTOCOL: u32 = 256;

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
    /// Ingress: other IPv4 traffic that a filter is asked about, given to a worker.
    IngressFiltered = "ingress-filtered",
    /// Ingress: IKE, given to the kernel.
    IngressIke = "ingress-ike",
    /// Ingress: none of our business, given to the kernel.
    IngressPass = "ingress-pass",
    /// Ingress: clear traffic that a permit can match, given to the kernel and its guard for lack of a socket.
    IngressUnsteered = "ingress-pass-no-socket",
    /// Ingress: no socket is there to take ESP, or what a filter has to see: dropped.
    IngressNoSocket = "ingress-drop-no-socket",
    /// Ingress: an IP header that cannot be read: dropped.
    IngressMalformed = "ingress-drop-malformed",
    /// Departure: clear packets of the kernel's own path that the list of the device protects: dropped.
    DepartureProtected = "departure-drop-protected",
    /// Departure: ICMP errors of this host that quote a packet of a protected flow: dropped.
    DepartureQuote = "departure-drop-quoted",
    /// Departure: an IP header that cannot be read: dropped.
    DepartureMalformed = "departure-drop-malformed",
    /// Departure: IKE of this host, sent.
    DepartureIke = "departure-ike",
    /// Departure: clear packets that only the crypto map of another device protects, sent.
    DepartureElsewhere = "departure-elsewhere",
    /// Departure: anything else, sent.
    DeparturePass = "departure-pass",
    /// Arrival: clear packets that should have arrived sealed by the list of the device: dropped.
    ArrivalProtected = "arrival-drop-protected",
    /// Arrival: ESP for this host that no worker took: dropped.
    ArrivalEsp = "arrival-drop-esp",
    /// Arrival: an IP header that cannot be read: dropped.
    ArrivalMalformed = "arrival-drop-malformed",
    /// Arrival: IKE, given to the kernel.
    ArrivalIke = "arrival-ike",
    /// Arrival: anything else, given to the kernel.
    ArrivalPass = "arrival-pass",
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
    /// [`crate::ClearFlow`] → `u64`.
    pub const ELSEWHERE: &str = "ELSEWHERE";
    /// All of them.
    pub const ALL: [&str; 9] =
        [META, XSKS, PORTS, CLASSES_V4, CLASSES_V6, RULES, COUNTERS, IKE_FRAGMENTS, ELSEWHERE];
}

/// Name of the XDP program: steers received packets of data-plane ports to workers.
pub const INGRESS_PROGRAM: &str = "tohub_ingress";
/// Name of the tcx egress program: sees each packet that the kernel transmits by a device.
pub const DEPARTURE_PROGRAM: &str = "tohub_departure";
/// Name of the tcx ingress program: sees each packet that the kernel receives by a device.
pub const ARRIVAL_PROGRAM: &str = "tohub_arrival";

#[cfg(feature = "user")]
mod user {
    use super::{ClearFlow, GuardRule, PortConfig};

    // SAFETY: repr(C), integers only, no padding (28 bytes of u32), so every bit pattern is valid and initialised.
    unsafe impl aya::Pod for PortConfig {}
    // SAFETY: repr(C), integers only; 64 + 8 + 6 * 4 = 96 bytes without padding.
    unsafe impl aya::Pod for GuardRule {}
    // SAFETY: repr(C), integers only; 3 * 4 + 32 + 4 = 48 bytes without padding.
    unsafe impl aya::Pod for ClearFlow {}

    const _: () = assert!(size_of::<PortConfig>() == 28 && size_of::<GuardRule>() == 96);
    const _: () = assert!(size_of::<ClearFlow>() == 48);
}
