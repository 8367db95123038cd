//! The fields that a line of an access list compares, and the comparison.

use crate::policy::flow::{Flow, Ports};
use sa_table::policy::{FilterRule, IcmpCondition, PortCondition};
use std::net::IpAddr;
use wire::{IpSummary, protocol};

/// The fields of a packet that lines compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) protocol: u8,
    pub(super) ports: Ports,
    /// The type-of-service octet.
    pub(super) service: u8,
    pub(super) later_fragment: bool,
    /// Whether ACK or RST is set; `None` if the packet does not show TCP flags.
    pub(super) established: Option<bool>,
}

impl Facts {
    /// `packet`: the octets of the IP packet that `ip` summarises. `None` for IPv6.
    #[inline]
    pub(super) fn of(ip: &IpSummary, packet: &[u8]) -> Option<Facts> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (ip.source, ip.destination) else { return None };
        Some(Facts {
            source: source.to_bits(),
            destination: destination.to_bits(),
            protocol: ip.protocol,
            ports: Flow::of(ip).ports,
            service: ip.traffic_class,
            later_fragment: ip.fragment.is_later(),
            established: match ip.protocol {
                protocol::TCP if !ip.fragment.is_later() => {
                    let flags = packet.get(usize::from(ip.header_len) + TCP_FLAGS);
                    flags.map(|flags| flags & (TCP_ACK | TCP_RST) != 0)
                }
                _ => None,
            },
        })
    }
}

/// Offset and bits of the TCP flags (RFC 9293 §3.1).
const TCP_FLAGS: usize = 13;
const TCP_ACK: u8 = 0x10;
const TCP_RST: u8 = 0x04;

/// Whether a line matches. Later fragments do not contain the fields of an upper-layer condition: a
/// permit then matches by the addresses and the protocol alone, a deny does not match, as on IOS.
/// The fragments that it permits cannot be reassembled without the first one. A truncated packet is
/// not a fragment: it matches each deny and no permit.
#[inline]
pub(super) fn fits(rule: &FilterRule, facts: &Facts) -> bool {
    let network = rule.source.accepts(facts.source)
        && rule.destination.accepts(facts.destination)
        && rule.protocol.is_none_or(|protocol| protocol == facts.protocol)
        && rule.service.accepts(facts.service);
    if !network || (rule.fragments && !facts.later_fragment) {
        return false;
    }
    let asks_upper_layer = rule.established
        || rule.icmp.is_some()
        || rule.source_ports != PortCondition::ANY
        || rule.destination_ports != PortCondition::ANY;
    if !asks_upper_layer {
        return true;
    }
    match facts.ports {
        _ if facts.later_fragment => rule.permit,
        Ports::Hidden => !rule.permit,
        Ports::Known { source, destination } => {
            let icmp = |condition: IcmpCondition| {
                let [kind, code] = source.to_be_bytes();
                condition.kind == kind && condition.code.is_none_or(|wanted| wanted == code)
            };
            rule.source_ports.accepts(source)
                && rule.destination_ports.accepts(destination)
                && rule.icmp.is_none_or(icmp)
                && (!rule.established || facts.established.unwrap_or(!rule.permit))
        }
    }
}
