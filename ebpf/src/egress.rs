//! Egress guard: what a crypto map protects and comes down the kernel's own path, forwarded or local, is dropped.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use ebpf_abi::{
    ACTION_JUMP, ANY_PROTOCOL, CLASS_DESTINATION, CLASS_OWN, CLASS_SOURCE, Counter, FragmentKey, GuardRule,
    MAX_RULES_PER_PORT, PORT_COARSE, PortConfig,
};

use crate::count::count;
use crate::ingress::{PORT_IKE, PORT_NAT_T, class};
use crate::maps::{IKE_FRAGMENTS, PORTS, RULES};
use crate::summary::{PROTOCOL_UDP, Parsed, Part, Summary, is_neighbour_discovery, parse};

/// How long the later parts of an IKE message may follow the first one. The kernel sends them back to back.
const FRAGMENT_LIFETIME_NS: u64 = 1_000_000_000;

#[inline(always)]
pub fn decide(context: &TcContext) -> i32 {
    let summary = match parse(context) {
        Parsed::Ip(summary) => summary,
        Parsed::NotIp => return pass(Counter::EgressPass),
        Parsed::Malformed => return drop(Counter::EgressMalformed),
    };
    let source = class(summary.version, &summary.source);
    if source & CLASS_OWN != 0 && is_ike(&summary) {
        return pass(Counter::EgressIke);
    }
    if is_neighbour_discovery(context, &summary) {
        return pass(Counter::EgressPass);
    }
    let destination = class(summary.version, &summary.destination);
    if source & CLASS_SOURCE == 0 || destination & CLASS_DESTINATION == 0 {
        return pass(Counter::EgressPass);
    }
    if is_protected(context, &summary) {
        return drop(Counter::EgressProtected);
    }
    pass(Counter::EgressPass)
}

/// IKE from an address of ours. A later fragment has no ports: it passes only behind a first one that passed, or a large
/// datagram of some other program would leave in clear from its second fragment on.
#[inline(always)]
fn is_ike(summary: &Summary) -> bool {
    if summary.opaque || summary.protocol != PROTOCOL_UDP {
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
    let ike = matches!(summary.ports, Some((PORT_IKE | PORT_NAT_T, _)));
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

/// Whether the crypto-map set of the interface protects the packet: the first rule that matches decides.
#[inline(always)]
fn is_protected(context: &TcContext, summary: &Summary) -> bool {
    // An interface without entry is guarded by the address classes alone.
    let Some(port) = port(context) else { return true };
    if port.flags & PORT_COARSE != 0 {
        return true;
    }
    let end = port.rule_first + port.rule_count;
    let mut index = port.rule_first;
    for _ in 0..MAX_RULES_PER_PORT {
        if index >= end {
            return false;
        }
        let Some(rule) = RULES.get(index) else { return true };
        let matches = matches(rule, summary);
        let jump = rule.action == ACTION_JUMP;
        if matches && !jump {
            return true;
        }
        index = if matches { rule.jump } else { index + 1 };
    }
    true
}

#[inline(always)]
fn port(context: &TcContext) -> Option<PortConfig> {
    // SAFETY: the context is valid for the whole run of the program.
    let ifindex = unsafe { (*context.skb.skb).ifindex };
    // SAFETY: the value is copied at once; a concurrent update replaces the whole element.
    unsafe { PORTS.get(ifindex) }.copied()
}

/// What cannot be seen (ports of a later fragment, a header chain that is too long) is taken as matching a rule that
/// protects, and as not matching a rule that exempts.
#[inline(always)]
fn matches(rule: &GuardRule, summary: &Summary) -> bool {
    let exempts = rule.action == ACTION_JUMP;
    let addresses = rule.version == summary.version
        && in_network(&summary.source, &rule.source, &rule.source_mask)
        && in_network(&summary.destination, &rule.destination, &rule.destination_mask);
    let any_protocol = rule.protocol == ANY_PROTOCOL;
    let protocol = any_protocol
        || if summary.opaque { !exempts } else { rule.protocol == u16::from(summary.protocol) };
    let any_ports = rule.source_ports == [0, u16::MAX] && rule.destination_ports == [0, u16::MAX];
    let ports = any_ports
        || match summary.ports {
            Some((source, destination)) => {
                within(source, &rule.source_ports) && within(destination, &rule.destination_ports)
            }
            None => !exempts,
        };
    addresses && protocol && ports
}

#[inline(always)]
fn in_network(address: &[u32; 4], network: &[u32; 4], mask: &[u32; 4]) -> bool {
    let differs = |at: usize| (address[at] & mask[at]) ^ network[at];
    (differs(0) | differs(1) | differs(2) | differs(3)) == 0
}

#[inline(always)]
fn within(port: u16, range: &[u16; 2]) -> bool {
    range[0] <= port && port <= range[1]
}

#[inline(always)]
fn pass(counter: Counter) -> i32 {
    count(counter);
    // Not TC_ACT_OK: that would keep the programs behind this one from running.
    TC_ACT_UNSPEC
}

#[inline(always)]
fn drop(counter: Counter) -> i32 {
    count(counter);
    TC_ACT_SHOT as i32
}
