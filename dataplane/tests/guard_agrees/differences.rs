//! The expected decision of the guard, derived from that of the workers: equal except for the
//! differences listed here.

use std::collections::HashSet;
use std::net::IpAddr;

use dataplane::path::nat_t::Carried;
use dataplane::policy::flow::{Flow, Ports};
use wire::{Upper, protocol};

use crate::lists::Role;
use crate::workers::{Direction, Judged, Judgement, Workers, octets};

/// Where the guard deliberately decides differently from a worker. `docs/ebpf.md` has the same
/// list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    NotIp,
    Ike,
    NeighbourDiscovery,
    NotForwarded,
    Contradictory,
    OpenDevice,
    SealedTraffic,
    Quotation,
    Coarse,
}

impl Difference {
    pub const ALL: [Self; 9] = [
        Self::NotIp,
        Self::Ike,
        Self::NeighbourDiscovery,
        Self::NotForwarded,
        Self::Contradictory,
        Self::OpenDevice,
        Self::SealedTraffic,
        Self::Quotation,
        Self::Coarse,
    ];

    pub fn reason(self) -> &'static str {
        match self {
            Self::NotIp => "passes: no permit selects ARP, LLDP and their like, workers have no use for them",
            Self::Ike => "passes: it makes the SAs (RFC 7296 §2), and the kernel reassembles it",
            Self::NeighbourDiscovery => {
                "passes: never forwarded, and without it nothing reaches the link (RFC 4861 §7.1)"
            }
            Self::NotForwarded => {
                "passes: no permit selects it, a worker drops it because routers do not forward it"
            }
            Self::Contradictory => {
                "passes: no permit can select its addresses, a worker drops what it cannot read to the end"
            }
            Self::OpenDevice => {
                "passes: nothing is protected on the device, a worker drops what it cannot read"
            }
            Self::SealedTraffic => "dropped: a worker opens it, the kernel would answer it",
            Self::Quotation => {
                "dropped: it quotes a packet of a protected flow from an address that no permit selects"
            }
            Self::Coarse => "dropped: the rules do not fit into the guard, addresses decide",
        }
    }
}

/// The expected decision of the guard about a frame.
#[derive(Debug)]
pub struct Expectation {
    /// `None`: either, depending on time.
    pub passes: Option<bool>,
    pub difference: Option<Difference>,
}

/// Tracks IKE messages that began in fragments.
#[derive(Default)]
pub struct Expectations {
    begun: HashSet<(IpAddr, IpAddr, u32)>,
}

impl Expectations {
    pub fn of(
        &mut self,
        role: Role,
        workers: &Workers,
        frame: &[u8],
        direction: Direction,
        judgement: &Judgement,
    ) -> Expectation {
        match judgement {
            Judgement::NotIp => differs(true, Difference::NotIp),
            Judgement::Malformed(_) if !workers.is_closed => differs(true, Difference::OpenDevice),
            Judgement::Malformed(None) => alike(false),
            Judgement::Malformed(Some(flow)) => {
                match by_rules(role, workers, flow, workers.is_closed_for(flow, direction), direction) {
                    Expectation { passes: Some(true), .. } => differs(true, Difference::Contradictory),
                    // A worker drops it too.
                    _ => alike(false),
                }
            }
            Judgement::Packet(judged) => self
                .special(workers, frame, direction, judged)
                .unwrap_or_else(|| ordinary(role, workers, direction, judged)),
        }
    }

    /// Cases that the rules do not decide.
    fn special(
        &mut self,
        workers: &Workers,
        frame: &[u8],
        direction: Direction,
        judged: &Judged,
    ) -> Option<Expectation> {
        let passing = |difference| Some(if judged.closed { differs(true, difference) } else { alike(true) });
        match direction {
            Direction::Arrival => match &judged.carried {
                Some(carried) if is_sealed(frame, judged, carried) => {
                    return Some(if judged.closed {
                        alike(false)
                    } else {
                        differs(false, Difference::SealedTraffic)
                    });
                }
                Some(_) if is_ike_for_us(judged) => return passing(Difference::Ike),
                _ => {}
            },
            Direction::Departure if workers.is_own(judged.ip.source) => {
                if let Some(begun) = self.is_ike_of_ours(judged) {
                    let either = Expectation { passes: None, difference: Some(Difference::Ike) };
                    return if begun { Some(either) } else { passing(Difference::Ike) };
                }
            }
            Direction::Departure => {}
        }
        let quotes = direction == Direction::Departure && workers.is_closed && quotes(workers, frame, judged);
        if is_neighbour_discovery(judged) && !(quotes && icmp_kind(judged) == Some(REDIRECT)) {
            return passing(Difference::NeighbourDiscovery);
        }
        quotes.then(|| if judged.closed { alike(false) } else { differs(false, Difference::Quotation) })
    }

    /// IKE of this host; `Some(true)`: a later fragment within a second after its first one.
    fn is_ike_of_ours(&mut self, judged: &Judged) -> Option<bool> {
        let ip = &judged.ip;
        if ip.protocol != protocol::UDP {
            return None;
        }
        let key = (ip.source, ip.destination, ip.fragment.id);
        if ip.fragment.is_later() {
            return self.begun.contains(&key).then_some(true);
        }
        let ike = matches!(judged.flow.ports, Ports::Known { source: 500 | 4500, .. });
        if ike && ip.fragment.is_first() {
            self.begun.insert(key);
        }
        ike.then_some(false)
    }
}

fn ordinary(role: Role, workers: &Workers, direction: Direction, judged: &Judged) -> Expectation {
    let expected = by_rules(role, workers, &judged.flow, judged.closed, direction);
    if judged.not_forwarded && expected.passes == Some(true) {
        return differs(true, Difference::NotForwarded);
    }
    expected
}

fn by_rules(role: Role, workers: &Workers, flow: &Flow, closed: bool, direction: Direction) -> Expectation {
    let can_match = match direction {
        Direction::Departure => workers.can_match(flow.source, flow.destination),
        Direction::Arrival => workers.can_match(flow.destination, flow.source),
    };
    if role == Role::Coarse && can_match && !closed {
        return differs(false, Difference::Coarse);
    }
    alike(!closed)
}

fn alike(passes: bool) -> Expectation {
    Expectation { passes: Some(passes), difference: None }
}

fn differs(passes: bool, difference: Difference) -> Expectation {
    Expectation { passes: Some(passes), difference: Some(difference) }
}

/// ESP, plain or in UDP (RFC 3948 §2.1): which workers decrypt or drop.
fn is_sealed(frame: &[u8], judged: &Judged, carried: &Carried) -> bool {
    let (start, end) = judged.payload;
    let sealed = match judged.ip.protocol {
        protocol::ESP => true,
        protocol::UDP if !judged.ip.fragment.is_fragment() => {
            let to_nat_t = matches!(judged.flow.ports, Ports::Known { destination: 4500, .. });
            to_nat_t && octets::<4>(&frame[start..end], 8).is_some_and(|first| first != [0; 4])
        }
        _ => false,
    };
    match carried {
        Carried::Esp { .. } | Carried::EspFragment => assert!(sealed, "a worker opens {judged:?}"),
        Carried::Ike | Carried::Other => assert!(!sealed, "a worker does not open {judged:?}"),
        Carried::Malformed | Carried::Keepalive => {}
    }
    sealed
}

/// IKE, keepalives, and fragments of either.
fn is_ike_for_us(judged: &Judged) -> bool {
    judged.ip.protocol == protocol::UDP
        && (judged.ip.fragment.is_later()
            || matches!(judged.flow.ports, Ports::Known { destination: 500 | 4500, .. }))
}

const REDIRECT: u8 = 137;

fn icmp_kind(judged: &Judged) -> Option<u8> {
    match judged.ip.upper {
        Upper::Icmp { kind, .. } => Some(kind),
        _ => None,
    }
}

fn is_neighbour_discovery(judged: &Judged) -> bool {
    let ip = &judged.ip;
    if ip.is_ipv4() || ip.protocol != protocol::ICMPV6 || ip.fragment.is_fragment() {
        return false;
    }
    match icmp_kind(judged) {
        Some(133..=137) => ip.ttl == 255,
        Some(130..=132 | 143) => ip.ttl == 1,
        _ => false,
    }
}

/// An ICMP error, or a redirect, about a packet that can match a permit in either direction.
fn quotes(workers: &Workers, frame: &[u8], judged: &Judged) -> bool {
    let (start, end) = judged.payload;
    let message = &frame[start..end];
    let v4 = judged.ip.is_ipv4();
    let addresses: Option<(IpAddr, IpAddr)> = match (v4, judged.ip.protocol, icmp_kind(judged)) {
        (true, protocol::ICMP, Some(3..=5 | 11 | 12)) => octets::<20>(message, 8)
            .map(|_| (octets::<4>(message, 20).unwrap().into(), octets::<4>(message, 24).unwrap().into())),
        (false, protocol::ICMPV6, Some(1..=4)) => octets::<40>(message, 8)
            .map(|_| (octets::<16>(message, 16).unwrap().into(), octets::<16>(message, 32).unwrap().into())),
        // RFC 4861 §4.5: the packet went from the receiver of the message to the address behind the
        // target.
        (false, protocol::ICMPV6, Some(REDIRECT)) => {
            octets::<16>(message, 24).map(|destination| (judged.ip.destination, destination.into()))
        }
        _ => None,
    };
    addresses.is_some_and(|(source, destination)| {
        workers.can_match(source, destination) || workers.can_match(destination, source)
    })
}
