//! Reasons for dropped packets: one enumeration gives the counter's index and its name.
//!
//! A drop on the packet path is not an error. It is counted per worker and read by name through the
//! runtime segment.

use crate::count::tally::{TALLY, Tally, counters};

counters! {
    /// Why a packet was dropped. The discriminant is the index of the counter; names never change
    /// their meaning.
    pub enum DropReason {
        /// The frame ends inside the Ethernet header, or carries a VLAN tag that is not the port's.
        BadLink = "bad-link-header",
        /// The frame was sent to a link-layer group address or to another station.
        NotForUs = "not-for-us",
        /// Neither IPv4 nor IPv6 on a data-plane socket.
        NotIp = "not-ip",
        /// The IP header is malformed.
        BadIp = "bad-ip-header",
        /// The IPv4 header checksum is wrong (RFC 1812 §5.2.2).
        BadChecksum = "bad-ip-checksum",
        /// A source address that no packet may have: multicast, broadcast, unspecified.
        BadSource = "bad-source-address",
        /// No policy was published yet, or the port is not part of it.
        NoPolicy = "no-policy",
        /// A clear packet that should have been protected (RFC 4301 §5.2).
        ClearOnProtected = "clear-on-protected-flow",
        /// A rule says that this side may not initiate.
        RuleDrop = "rule-drop",
        /// A fragment or truncated packet hides the ports that a rule asks for.
        HiddenPorts = "fragment-hides-ports",
        /// No route to the destination.
        NoRoute = "no-route",
        /// The route says unreachable, prohibited or blackhole.
        Unreachable = "unreachable",
        /// A multicast or broadcast destination, which is not forwarded.
        NotForwardable = "not-forwardable",
        /// The TTL or hop limit ran out.
        TtlExpired = "ttl-expired",
        /// An ICMP error about a decrypted packet that would have left in clear toward an untrusted
        /// network.
        IcmpWouldLeak = "icmp-would-leak",
        /// Longer than the path allows, and not to be fragmented.
        TooBig = "too-big",
        /// No free frame for a packet of our own.
        NoFrame = "no-frame",
        /// No room in the frame for the outer headers.
        NoRoom = "no-headroom",
        /// Held for an SA and pushed out by newer packets.
        HoldOverflow = "hold-overflow",
        /// Held for an SA that was not installed in time.
        HoldExpired = "hold-expired",
        /// Held for a neighbour and pushed out by newer packets.
        NeighbourOverflow = "neighbour-overflow",
        /// Held for a neighbour that did not answer.
        NeighbourExpired = "neighbour-unresolved",
        /// The egress interface is down or gone.
        EgressDown = "egress-down",
        /// The transmit ring was full.
        TxFull = "tx-full",
        /// The punt queue was full.
        PuntFull = "punt-full",
        /// Another worker's hand-off queue was full.
        HandoffFull = "handoff-full",
        /// The SA was retired while the packet waited.
        StaleSa = "stale-sa",
        /// The SA record cannot be used: an algorithm or mode that this build lacks.
        UnusableSa = "unusable-sa",
        /// The packet lies outside what the SA was negotiated for (RFC 4301 §4.4.1).
        OutboundSelector = "outbound-selector-mismatch",
        /// The SA's sequence numbers are used up.
        SequenceExhausted = "sequence-exhausted",
        /// A hard lifetime of the SA was reached.
        LifetimeExceeded = "lifetime-exceeded",
        /// The cipher refused the packet.
        SealFailed = "seal-failed",
        /// No SA has this SPI and destination.
        UnknownSpi = "unknown-spi",
        /// Fragments of ESP that contradict each other, overlap, or make more than a frame.
        FragmentBroken = "esp-fragment-broken",
        /// Fragments of ESP of which others did not come in time.
        FragmentExpired = "esp-fragment-expired",
        /// Fragments of ESP that made room for those of other packets.
        FragmentOverflow = "esp-fragment-overflow",
        /// The ESP packet is too short.
        EspTruncated = "esp-truncated",
        /// Sequence number 0, or one that cannot exist.
        BadSequence = "bad-sequence",
        /// Left of the replay window.
        ReplayTooOld = "replay-too-old",
        /// Received before.
        Replayed = "replayed",
        /// The integrity check failed.
        AuthenticationFailed = "authentication-failed",
        /// Padding or next header are wrong behind authentication.
        BadPadding = "bad-padding",
        /// The inner packet is malformed.
        BadInner = "bad-inner-packet",
        /// A dummy packet (RFC 4303 §2.6): meant to be dropped.
        Dummy = "dummy",
        /// A congestion mark on a packet that does not understand it (RFC 6040).
        EcnBroken = "ecn-broken",
        /// The inner packet lies outside the SA's selectors (RFC 4301 §5.2).
        InboundSelector = "inbound-selector-mismatch",
        /// A NAT keepalive (RFC 3948 §2.3): meant to be dropped.
        NatKeepalive = "nat-keepalive",
        /// It would leave in clear, and its crypto map has no usable device or says `fail-close`.
        ClosedEverywhere = "closed-everywhere",
        /// The access group `in` of the interface where it arrives denies it.
        AccessListIn = "access-list-denied-in",
        /// The access group `out` of the interface where it would leave denies it.
        AccessListOut = "access-list-denied-out",
        /// The access group `in` of the crypto map entry denies what came out of its tunnel.
        CryptoAccessListIn = "crypto-access-list-denied-in",
        /// The access group `out` of the crypto map entry denies it in front of its tunnel.
        CryptoAccessListOut = "crypto-access-list-denied-out",
    }
}

/// How many reasons there are.
pub const REASONS: usize = DropReason::ALL.len();

const _: () = assert!(REASONS <= TALLY && TALLY <= sa_table::DROP_COUNTERS);

/// One worker's drop counters since they were last published.
#[derive(Clone, Debug, Default)]
pub struct Drops(Tally);

impl Drops {
    /// Counts one packet.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.0.add(reason as usize, 1);
    }

    /// The count of one reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0.of(reason as usize)
    }

    /// All drops.
    pub fn total(&self) -> u64 {
        self.0.total()
    }

    /// Passes each non-zero counter with its index to `sink` and resets it to zero.
    pub fn drain(&mut self, sink: impl FnMut(usize, u64)) {
        self.0.drain(sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn indices_are_dense_and_names_are_unique() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let names: HashSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), REASONS);
    }

    #[test]
    fn draining_hands_over_what_was_counted_once() {
        let mut drops = Drops::default();
        drops.count(DropReason::Replayed);
        drops.count(DropReason::NoRoute);
        drops.count(DropReason::NoRoute);
        let mut seen = Vec::new();
        drops.drain(|reason, count| seen.push((reason, count)));
        assert_eq!(seen, [(DropReason::NoRoute as usize, 2), (DropReason::Replayed as usize, 1)]);
        assert_eq!(drops.total(), 0);
    }
}
