//! Departure: what the list of the device protects and comes down the kernel's own path, forwarded or local, is dropped.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use ebpf_abi::{CLASS_OWN, Counter, FragmentKey};

use super::rules::{Facts, protects};
use super::{Entry, drop, ifindex, pass};
use crate::address::{PORT_IKE, PORT_NAT_T, class, mirrored, outbound};
use crate::maps::{ELSEWHERE, IKE_FRAGMENTS};
use crate::packet::Packet;
use crate::summary::{PROTOCOL_UDP, Parsed, Part, Summary, is_neighbour_discovery, parse, quoted_addresses};

/// How long the later parts of an IKE message may follow the first one. The kernel sends them back to back.
const FRAGMENT_LIFETIME_NS: u64 = 1_000_000_000;

#[inline(always)]
pub fn decide(context: &TcContext) -> i32 {
    let ifindex = ifindex(context);
    let entry = Entry::of(ifindex);
    let (closed, watching) = (entry.is_closed(), entry.0.watch_count > 0);
    if !closed && !watching {
        return pass(Counter::DeparturePass);
    }
    let mut summary = Summary::EMPTY;
    match parse(context, entry.is_raw_ip(), &mut summary) {
        Parsed::Ip => {}
        Parsed::Malformed if closed => return drop(Counter::DepartureMalformed),
        Parsed::Malformed | Parsed::NotIp => return pass(Counter::DeparturePass),
    }
    let source = class(summary.version, &summary.source);
    if source & CLASS_OWN != 0 && is_ike(&summary) {
        return pass(Counter::DepartureIke);
    }
    // First: a redirect is a message of neighbour discovery.
    if closed && quotes_protected(context, &summary) {
        return drop(Counter::DepartureQuote);
    }
    if is_neighbour_discovery(&summary) {
        return pass(Counter::DeparturePass);
    }
    if !outbound(source, class(summary.version, &summary.destination)) {
        return pass(Counter::DeparturePass);
    }
    if entry.is_coarse() {
        return drop(Counter::DepartureProtected);
    }
    let (first, count) = if closed {
        (entry.0.rule_first, entry.0.rule_count)
    } else {
        (entry.0.watch_first, entry.0.watch_count)
    };
    let zero = context.unknown_zero();
    let facts = Facts::of(&summary, zero);
    // Hidden from the verifier, or it would walk the rules once for each value.
    let closed = u32::from(closed) ^ zero;
    if !protects(&facts, first, count) {
        return pass(Counter::DeparturePass);
    }
    if closed != 0 {
        return drop(Counter::DepartureProtected);
    }
    remember(&facts, ifindex);
    pass(Counter::DepartureElsewhere)
}

/// An ICMP error or redirect of this host about a packet of a protected flow carries a part of it, up to half a kilobyte, from an address that
/// no permit need match. Judged by the address classes of the quoted packet, in either direction.
#[inline(never)]
fn quotes_protected(context: &TcContext, summary: &Summary) -> bool {
    let Some((source, destination)) = quoted_addresses(context, summary) else { return false };
    let (source, destination) = (class(summary.version, &source), class(summary.version, &destination));
    mirrored(source, destination) || outbound(source, destination)
}

/// IKE from an address of ours. A later fragment has no ports: it passes only behind a first one that passed, or a large
/// datagram of some other program would leave in clear from its second fragment on.
#[inline(never)]
fn is_ike(summary: &Summary) -> bool {
    if summary.is_opaque() || summary.protocol != PROTOCOL_UDP {
        return false;
    }
    let key = FragmentKey {
        source: summary.source,
        destination: summary.destination,
        identification: summary.identification,
    };
    if summary.part == Part::Later {
        // SAFETY: an 8-byte value is read whole; the map's memory outlives the program run.
        let begun = unsafe { IKE_FRAGMENTS.get(key) };
        return begun.is_some_and(|begun| now().wrapping_sub(*begun) < FRAGMENT_LIFETIME_NS);
    }
    let ike = summary.shows_ports() && matches!(summary.source_port, PORT_IKE | PORT_NAT_T);
    if ike && summary.part == Part::First {
        // A full table evicts its oldest entry; a failed insert costs a retransmission, not secrecy.
        let _ = IKE_FRAGMENTS.insert(key, now(), 0);
    }
    ike
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Counts a packet of a flow that leaves in clear here. Two CPUs at once may count one packet between them: the flow and the
/// magnitude matter.
#[inline(never)]
fn remember(facts: &Facts, ifindex: u32) {
    let flow = facts.flow(ifindex);
    match ELSEWHERE.get_ptr_mut(&flow) {
        Some(packets) => {
            // SAFETY: the pointer is aligned and points into the map's element, which stays memory of the map even when
            // the element is evicted.
            unsafe { *packets += 1 };
        }
        None => {
            let _ = ELSEWHERE.insert(&flow, 1, u64::from(BPF_NOEXIST));
        }
    }
}
