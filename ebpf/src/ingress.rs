//! Ingress: kernel, worker or nobody (the table of `docs/ebpf.md`).

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::XdpContext;
use ebpf_abi::{CLASS_DESTINATION, CLASS_OWN, CLASS_SOURCE, Counter, PORT_CRYPTO_MAP, PortConfig};

use crate::count::count;
use crate::maps::{CLASSES_V4, CLASSES_V6, PORTS, XSKS};
use crate::packet::Packet;
use crate::summary::{PROTOCOL_ESP, PROTOCOL_UDP, Parsed, Part, Summary, is_neighbour_discovery, parse};

pub const PORT_IKE: u16 = 500;
pub const PORT_NAT_T: u16 = 4500;
const UDP_LENGTH: usize = 8;

#[inline(always)]
pub fn decide(context: &XdpContext) -> u32 {
    let summary = match parse(context) {
        Parsed::Ip(summary) => summary,
        Parsed::NotIp => return pass(Counter::IngressPass),
        Parsed::Malformed => {
            count(Counter::IngressMalformed);
            return XDP_DROP;
        }
    };
    let destination = class(summary.version, &summary.destination);
    if destination & CLASS_OWN != 0 {
        match for_own_address(context, &summary) {
            Owner::Worker => return to_worker(context, Counter::IngressEsp),
            Owner::Ike => return pass(Counter::IngressIke),
            Owner::Undecided => {}
        }
    }
    if is_neighbour_discovery(context, &summary) {
        return pass(Counter::IngressPass);
    }
    let crypto_map = port(context).is_some_and(|port| port.flags & PORT_CRYPTO_MAP != 0);
    // The kernel never forwards what is meant for the link: a routing protocol on an inside port keeps running even if
    // a permit says `any`. Where a crypto map is applied, the mirrored permit decides.
    if !crypto_map && is_for_the_link(&summary) {
        return pass(Counter::IngressPass);
    }
    let source = class(summary.version, &summary.source);
    let outbound = source & CLASS_SOURCE != 0 && destination & CLASS_DESTINATION != 0;
    let mirrored = source & CLASS_DESTINATION != 0 && destination & CLASS_SOURCE != 0;
    if outbound || (crypto_map && mirrored) {
        return to_worker(context, Counter::IngressProtected);
    }
    pass(Counter::IngressPass)
}

enum Owner {
    Worker,
    Ike,
    Undecided,
}

/// What a peer sends to one of our crypto addresses.
#[inline(always)]
fn for_own_address(context: &XdpContext, summary: &Summary) -> Owner {
    if summary.opaque {
        return Owner::Undecided;
    }
    match summary.protocol {
        PROTOCOL_ESP => Owner::Worker,
        // The kernel reassembles for the IKE socket. Later parts come to nothing without a first one.
        PROTOCOL_UDP if summary.part == Part::Later => Owner::Ike,
        PROTOCOL_UDP => match summary.ports {
            Some((_, PORT_IKE)) => Owner::Ike,
            Some((_, PORT_NAT_T)) if summary.part == Part::First => Owner::Ike,
            Some((_, PORT_NAT_T)) => match context.load::<[u8; 4]>(summary.payload + UDP_LENGTH) {
                // RFC 3948 §2.2 and §2.3: the non-ESP marker, and the keepalive of one octet.
                Some([0, 0, 0, 0]) | None => Owner::Ike,
                Some(_) => Owner::Worker,
            },
            _ => Owner::Undecided,
        },
        _ => Owner::Undecided,
    }
}

/// IPv4 224.0.0.0/24 and the limited broadcast, IPv6 ff02::/16 and its wider-scoped interface-local sister.
#[inline(always)]
fn is_for_the_link(summary: &Summary) -> bool {
    let [a, b, c, d] = summary.destination[0].to_ne_bytes();
    match summary.version {
        4 => (a, b, c) == (224, 0, 0) || (a, b, c, d) == (255, 255, 255, 255),
        _ => a == 0xff && (b & 0x0f == 1 || b & 0x0f == 2),
    }
}

#[inline(always)]
pub fn class(version: u8, address: &[u32; 4]) -> u32 {
    let found = match version {
        4 => CLASSES_V4.get(Key::new(32, [address[0]])),
        _ => CLASSES_V6.get(Key::new(128, *address)),
    };
    found.copied().unwrap_or(0)
}

#[inline(always)]
fn port(context: &XdpContext) -> Option<PortConfig> {
    let ifindex = context.ingress_ifindex() as u32;
    // SAFETY: the value is copied at once; a concurrent update replaces the whole element.
    unsafe { PORTS.get(ifindex) }.copied()
}

/// A queue without socket drops: a dead data plane is a closed door, not an open one.
#[inline(always)]
fn to_worker(context: &XdpContext, counter: Counter) -> u32 {
    let queue = context.rx_queue_index();
    let sent = match port(context) {
        Some(port) if queue < port.xsk_count => {
            XSKS.redirect(port.xsk_first + queue, u64::from(XDP_DROP)).unwrap_or(XDP_DROP)
        }
        _ => XDP_DROP,
    };
    count(if sent == XDP_REDIRECT { counter } else { Counter::IngressNoSocket });
    sent
}

#[inline(always)]
fn pass(counter: Counter) -> u32 {
    count(counter);
    XDP_PASS
}
