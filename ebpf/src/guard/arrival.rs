//! Arrival: what should have arrived sealed, or is for workers and no worker took it, is dropped.

use aya_ebpf::programs::TcContext;
use ebpf_abi::{CLASS_OWN, Counter};

use super::rules::{Facts, protects};
use super::{Entry, drop, ifindex, pass};
use crate::address::{Owner, class, for_own_address, mirrored};
use crate::packet::Packet;
use crate::summary::{Parsed, Summary, is_neighbour_discovery, parse};

#[inline(always)]
pub fn decide(context: &TcContext) -> i32 {
    let entry = Entry::of(ifindex(context));
    let closed = entry.is_closed();
    let mut summary = Summary::EMPTY;
    match parse(context, entry.is_raw_ip(), &mut summary) {
        Parsed::Ip => {}
        Parsed::Malformed if closed => return drop(Counter::ArrivalMalformed),
        Parsed::Malformed | Parsed::NotIp => return pass(Counter::ArrivalPass),
    }
    let destination = class(summary.version, &summary.destination);
    if destination & CLASS_OWN != 0 {
        match for_own_address(context, &summary) {
            // The kernel would answer with an ICMP error.
            Owner::Worker => return drop(Counter::ArrivalEsp),
            Owner::Ike => return pass(Counter::ArrivalIke),
            Owner::Undecided => {}
        }
    }
    if !closed || is_neighbour_discovery(&summary) {
        return pass(Counter::ArrivalPass);
    }
    if !mirrored(class(summary.version, &summary.source), destination) {
        return pass(Counter::ArrivalPass);
    }
    if entry.is_coarse()
        || protects(
            &Facts::mirrored(&summary, context.unknown_zero()),
            entry.0.rule_first,
            entry.0.rule_count,
        )
    {
        return drop(Counter::ArrivalProtected);
    }
    pass(Counter::ArrivalPass)
}
