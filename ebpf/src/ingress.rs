//! Ingress: which received packets go to a worker (the table of `docs/ebpf.md`). What no worker can take goes to the
//! kernel, where the guard decides.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::programs::XdpContext;
use ebpf_abi::{CLASS_OWN, Counter, PORT_CRYPTO_MAP, PORT_FILTERED, PORT_RAW_IP, PORT_STEER, PortConfig};

use crate::address::{Owner, class, for_own_address, mirrored, outbound};
use crate::count::count;
use crate::maps::{PORTS, XSKS};
use crate::packet::Packet;
use crate::summary::{Parsed, Summary, is_neighbour_discovery, is_tag, parse};

#[inline(always)]
pub fn decide(context: &XdpContext) -> u32 {
    let port = port(context);
    let mut summary = Summary::EMPTY;
    match parse(context, port.flags & PORT_RAW_IP != 0, &mut summary) {
        Parsed::Ip => {}
        Parsed::NotIp => return pass(Counter::IngressPass),
        Parsed::Malformed => return drop(Counter::IngressMalformed),
    }
    let filtered = is_for_a_filter(context, &port, &summary);
    let destination = class(summary.version, &summary.destination);
    if destination & CLASS_OWN != 0 {
        match for_own_address(context, &summary) {
            Owner::Worker => return to_worker(context, &port, Counter::IngressEsp),
            Owner::Ike if filtered => {}
            Owner::Ike => return pass(Counter::IngressIke),
            Owner::Undecided => {}
        }
    }
    if filtered {
        return to_worker(context, &port, Counter::IngressFiltered);
    }
    if is_neighbour_discovery(&summary) {
        return pass(Counter::IngressPass);
    }
    let crypto_map = port.flags & PORT_CRYPTO_MAP != 0;
    // The kernel never forwards what is meant for the link: a routing protocol on an inside port keeps running even if
    // a permit says `any`. Where a crypto map is applied, the mirrored permit decides.
    if !crypto_map && is_for_the_link(&summary) {
        return pass(Counter::IngressPass);
    }
    let source = class(summary.version, &summary.source);
    if !outbound(source, destination) && !(crypto_map && mirrored(source, destination)) {
        return pass(Counter::IngressPass);
    }
    if port.flags & PORT_STEER == 0 {
        return pass(Counter::IngressUnsteered);
    }
    match redirect(context, &port, XDP_PASS) {
        XDP_REDIRECT => counted(Counter::IngressProtected, XDP_REDIRECT),
        _ => pass(Counter::IngressUnsteered),
    }
}

/// IPv4 224.0.0.0/24 and the limited broadcast, IPv6 ff02::/16 and its interface-local sister.
#[inline(always)]
fn is_for_the_link(summary: &Summary) -> bool {
    let [a, b, c, d] = summary.destination[0].to_ne_bytes();
    match summary.version {
        4 => (a, b, c) == (224, 0, 0) || (a, b, c, d) == (255, 255, 255, 255),
        _ => a == 0xff && (b & 0x0f == 1 || b & 0x0f == 2),
    }
}

/// Whether a filter has to see the packet, whomever it is for. A frame to a group of stations is none that a worker takes
/// or that the kernel forwards, and one of another VLAN is that VLAN device's.
#[inline(always)]
fn is_for_a_filter(context: &XdpContext, port: &PortConfig, summary: &Summary) -> bool {
    let of_port = || port.flags & PORT_RAW_IP != 0 || !(is_for_a_group(context) || is_of_a_vlan(context));
    port.flags & PORT_FILTERED != 0 && summary.version == 4 && of_port()
}

/// VLAN 0 is a priority tag, not a network (IEEE 802.1Q clause 6.9), and the kernel takes its tag away.
#[inline(always)]
fn is_of_a_vlan(context: &XdpContext) -> bool {
    let tagged = |at| match context.load::<[u8; 4]>(at) {
        Some([a, b, c, d]) => is_tag(u16::from_be_bytes([a, b])).then(|| u16::from_be_bytes([c & 0x0f, d])),
        None => None,
    };
    match tagged(12) {
        Some(0) => tagged(16).is_some_and(|vlan| vlan != 0),
        outer => outer.is_some(),
    }
}

/// The group bit of the destination's hardware address (IEEE 802.3 clause 3.2.3).
#[inline(always)]
fn is_for_a_group(context: &XdpContext) -> bool {
    context.load::<[u8; 2]>(0).is_some_and(|[first, _]| first & 1 != 0)
}

/// A device without entry is no data-plane port.
#[inline(always)]
fn port(context: &XdpContext) -> PortConfig {
    let ifindex = context.ingress_ifindex() as u32;
    // SAFETY: the value is copied at once; a concurrent update replaces the whole element.
    unsafe { PORTS.get(ifindex) }.copied().unwrap_or_default()
}

/// Gives the packet to a worker or to nobody: the kernel would answer ESP, and pass what a filter has to see.
#[inline(always)]
fn to_worker(context: &XdpContext, port: &PortConfig, counter: Counter) -> u32 {
    match redirect(context, port, XDP_DROP) {
        XDP_REDIRECT => counted(counter, XDP_REDIRECT),
        _ => drop(Counter::IngressNoSocket),
    }
}

/// Gives the packet to the socket of (port, queue); `otherwise` when there is none.
#[inline(always)]
fn redirect(context: &XdpContext, port: &PortConfig, otherwise: u32) -> u32 {
    let queue = context.rx_queue_index();
    if queue >= port.xsk_count {
        return otherwise;
    }
    XSKS.redirect(port.xsk_first + queue, u64::from(otherwise)).unwrap_or(otherwise)
}

#[inline(always)]
fn pass(counter: Counter) -> u32 {
    counted(counter, XDP_PASS)
}

#[inline(always)]
fn drop(counter: Counter) -> u32 {
    counted(counter, XDP_DROP)
}

#[inline(always)]
fn counted(counter: Counter, action: u32) -> u32 {
    count(counter);
    action
}
