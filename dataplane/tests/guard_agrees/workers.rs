//! The workers' result for a frame: their own parse, rule walk and decision.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use af_xdp::{Backing, FramePool, MIN_HEADROOM, Umem, UmemConfig};
use dataplane::count::drop_reason::DropReason;
use dataplane::host::kernel::{KernelSnapshot, Route, SnapshotBuilder};
use dataplane::path::classify::decide;
use dataplane::path::decision::Decision;
use dataplane::path::nat_t::{Carried, carried};
use dataplane::path::packet::{Origin, Packet};
use dataplane::policy::flow::{Flow, Ports, Protocol};
use dataplane::policy::rules::{RuleList, Verdict};
use dataplane::policy::{Policy, Protection};
use sa_table::PolicyVersion;
use sa_table::policy::{Action, Rule};
use wire::ethernet::is_tag;
use wire::{IpSummary, ParseError};

use crate::lists::{PORT, Role, Scene};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Departure,
    Arrival,
}

#[derive(Debug)]
pub enum Judgement {
    NotIp,
    /// Dropped by the parser, with the IP header's fields if it can be read.
    Malformed(Option<Flow>),
    Packet(Judged),
}

#[derive(Debug)]
pub struct Judged {
    pub ip: IpSummary,
    pub flow: Flow,
    /// Where in the frame the upper layer begins, and where the packet ends.
    pub payload: (usize, usize),
    /// May not pass in clear: protected, dropped by a rule, or undecided.
    pub closed: bool,
    /// A packet that a router never forwards, whatever the rules.
    pub not_forwarded: bool,
    /// Its IPsec content if it is for one of our addresses.
    pub carried: Option<Carried>,
}

pub struct Workers {
    role: Role,
    raw_ip: bool,
    policy: Policy,
    kernel: KernelSnapshot,
    /// The rules of the device under test.
    list: RuleList,
    /// Whether that list has rules.
    pub is_closed: bool,
    /// The rules of every crypto map, without denies.
    protecting: Vec<Rule>,
    pool: FramePool,
}

impl Workers {
    pub fn new(scene: &Scene) -> Self {
        let (everywhere, protected) = (scene.everywhere(), scene.protected());
        let policy =
            Policy::compile_closed(PolicyVersion(1), &scene.ports, &scene.lists, &everywhere, &protected);
        let route = match scene.role {
            Role::Unknown => Route::ToKernel,
            _ => Route::OnLink { port: PORT },
        };
        let kernel = SnapshotBuilder::new()
            .route(Ipv4Addr::UNSPECIFIED.into(), 0, 0, route)
            .route(Ipv6Addr::UNSPECIFIED.into(), 0, 0, route)
            .build();
        let rules = match scene.role {
            Role::Unknown => protected.clone(),
            _ => everywhere,
        };
        let own_rules = match policy.port(PORT).map(|port| &port.protection) {
            Some(Protection::Rules(_)) => scene.lists[0].len(),
            _ => 0,
        };
        let umem =
            Umem::new(UmemConfig { frames: 4, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        Self {
            role: scene.role,
            raw_ip: scene.raw_ip,
            is_closed: scene.role == Role::Coarse || own_rules + rules.len() > 0,
            list: RuleList::compile(&rules),
            policy,
            kernel,
            protecting: protected
                .into_iter()
                .filter(|rule| !matches!(rule.action, Action::Jump(_)))
                .collect(),
            pool: umem.pool(4, 4),
        }
    }

    pub fn judge(&mut self, frame: &[u8], direction: Direction) -> Judgement {
        let (network, parsed) = self.parse(frame);
        let ip = match parsed {
            Ok(Some(ip)) => ip,
            Ok(None) => return Judgement::NotIp,
            Err(error) => return Judgement::Malformed(network.and_then(|at| shown(&frame[at..], error))),
        };
        let network = network.expect("a parsed packet has a place");
        let flow = Flow::of(&ip);
        let closed = self.is_closed_for(&flow, direction);
        let payload = (network + usize::from(ip.header_len), network + ip.total_len as usize);
        let not_forwarded = self.confirm(&flow, direction, closed);
        let to_us = direction == Direction::Arrival && self.policy.is_crypto_address(ip.destination);
        let carried = to_us.then(|| self.carried(&frame[network..]));
        Judgement::Packet(Judged { ip, flow, payload, closed, not_forwarded, carried })
    }

    /// Whether the rules forbid that the packet passes in clear.
    pub fn is_closed_for(&self, flow: &Flow, direction: Direction) -> bool {
        let own = match self.policy.port(PORT).map(|port| &port.protection) {
            Some(Protection::Rules(rules)) if self.role != Role::Unknown => Some(&**rules),
            _ => None,
        };
        let mut lists = own.into_iter().chain([&self.list]);
        lists.any(|list| match direction {
            Direction::Departure => list.outbound(flow) != Verdict::Clear,
            Direction::Arrival => list.inbound(flow) != Verdict::Clear,
        })
    }

    /// Whether a packet between these addresses can match a permit of any crypto map, as written.
    pub fn can_match(&self, source: IpAddr, destination: IpAddr) -> bool {
        self.protecting.iter().any(|rule| rule.source.contains(source))
            && self.protecting.iter().any(|rule| rule.destination.contains(destination))
    }

    pub fn is_own(&self, address: IpAddr) -> bool {
        self.policy.is_crypto_address(address)
    }

    fn parse(&self, frame: &[u8]) -> (Option<usize>, Result<Option<IpSummary>, ParseError>) {
        if self.raw_ip {
            return (Some(0), wire::parse::ip_at(frame, 0).map(Some));
        }
        match wire::parse::link(frame) {
            // A third tag: a port with so many does not exist.
            Ok(link) if is_tag(link.ethertype) => (None, Err(ParseError::TruncatedLink)),
            Ok(link) => (Some(usize::from(link.len)), wire::parse::frame(frame).map(|summary| summary.ip)),
            Err(error) => (None, Err(error)),
        }
    }

    /// Checks that the decision of the whole classifier agrees with the rules. Returns whether it
    /// is a decision of forwarding rather than of the rules.
    fn confirm(&self, flow: &Flow, direction: Direction, closed: bool) -> bool {
        if direction == Direction::Arrival {
            if self.role != Role::Unknown {
                let decision = decide(flow, Origin::Port(PORT), &self.kernel, &self.policy);
                let refused = matches!(
                    decision,
                    Decision::Drop(DropReason::ClearOnProtected | DropReason::HiddenPorts)
                );
                let clear = decision != Decision::Drop(DropReason::ClearOnProtected);
                assert!(if closed { refused } else { clear }, "{closed} but {decision:?}: {flow:?}");
            }
            return false;
        }
        let own = Origin::Own { quotes_secret: false };
        let decision = decide(flow, own, &self.kernel, &self.policy);
        match decision {
            Decision::Drop(DropReason::BadSource | DropReason::NotForwardable) => return true,
            Decision::Forward { .. } | Decision::Punt => {
                assert!(!closed, "closed but {decision:?}: {flow:?}")
            }
            Decision::Protect(_) => assert!(closed, "clear but {decision:?}: {flow:?}"),
            Decision::Drop(DropReason::RuleDrop | DropReason::HiddenPorts | DropReason::ClosedEverywhere) => {
                assert!(closed, "clear but {decision:?}: {flow:?}");
            }
            Decision::Drop(reason) => panic!("no reason of rules: {reason:?}: {flow:?}"),
        }
        false
    }

    fn carried(&mut self, packet: &[u8]) -> Carried {
        let mut frame = self.pool.take().unwrap();
        frame.append(packet).unwrap();
        let packet = Packet::from_ip(frame, Origin::Port(PORT)).expect("it was parsed before");
        let carried = carried(&packet);
        self.pool.put(packet.frame);
        carried
    }
}

/// A packet whose IP header can be read although what follows contradicts it: the addresses only.
fn shown(packet: &[u8], error: ParseError) -> Option<Flow> {
    let (source, destination): (IpAddr, IpAddr) = match (packet.first()? >> 4, error) {
        (4, ParseError::BadFragment) => (octets::<4>(packet, 12)?.into(), octets::<4>(packet, 16)?.into()),
        (6, ParseError::BadFragment | ParseError::BadExtension | ParseError::TruncatedIp) => {
            (octets::<16>(packet, 8)?.into(), octets::<16>(packet, 24)?.into())
        }
        _ => return None,
    };
    Some(Flow { source, destination, protocol: Protocol::Hidden, ports: Ports::Hidden })
}

pub fn octets<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}
