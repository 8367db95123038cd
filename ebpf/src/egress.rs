//! Egress guard: what a crypto map protects and comes down the kernel's own path, forwarded or local, is dropped.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use ebpf_abi::{
    CLASS_DESTINATION, CLASS_OWN, CLASS_SOURCE, Counter, FragmentKey, GuardRule, MAX_RULES_PER_PORT, NO,
    PORT_COARSE, PortConfig, YES,
};

use crate::count::count;
use crate::ingress::{PORT_IKE, PORT_NAT_T, class};
use crate::maps::{IKE_FRAGMENTS, PORTS, RULES};
use crate::summary::{PROTOCOL_UDP, Parsed, Part, Summary, is_neighbour_discovery, parse, quoted_addresses};

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
    if quotes_protected(context, &summary) {
        return drop(Counter::EgressQuote);
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

/// An ICMP error of this host about a packet of a protected flow carries a part of it, up to half a kilobyte, from an address that
/// no permit need match. Judged by the address classes of the quoted packet, in either direction.
#[inline(always)]
fn quotes_protected(context: &TcContext, summary: &Summary) -> bool {
    let Some((source, destination)) = quoted_addresses(context, summary) else { return false };
    let (source, destination) = (class(summary.version, &source), class(summary.version, &destination));
    (source & CLASS_DESTINATION != 0 && destination & CLASS_SOURCE != 0)
        || (source & CLASS_SOURCE != 0 && destination & CLASS_DESTINATION != 0)
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
    let facts = Facts::of(summary);
    let mut index = port.rule_first;
    for _ in 0..MAX_RULES_PER_PORT {
        if index >= end {
            return false;
        }
        let Some(rule) = RULES.get(index) else { return true };
        if facts.differ(rule) != 0 {
            index += 1;
        } else if rule.exempts == NO {
            return true;
        } else {
            index = rule.jump;
        }
    }
    index < end
}

#[inline(always)]
fn port(context: &TcContext) -> Option<PortConfig> {
    // SAFETY: the context is valid for the whole run of the program.
    let ifindex = unsafe { (*context.skb.skb).ifindex };
    // SAFETY: the value is copied at once; a concurrent update replaces the whole element.
    unsafe { PORTS.get(ifindex) }.copied()
}

/// What a rule is compared with, conditions as masks. What cannot be seen (ports of a later fragment, a header chain
/// that is too long) is taken as matching a rule that protects, and as not matching a rule that exempts.
struct Facts {
    version: u32,
    source: [u32; 4],
    destination: [u32; 4],
    protocol: u32,
    protocol_known: u32,
    source_port: i64,
    destination_port: i64,
    ports_known: u32,
}

impl Facts {
    #[inline(always)]
    fn of(summary: &Summary) -> Self {
        let (source_port, destination_port) = summary.ports.unwrap_or((0, 0));
        Self {
            version: u32::from(summary.version),
            source: summary.source,
            destination: summary.destination,
            protocol: u32::from(summary.protocol),
            protocol_known: if summary.opaque { NO } else { YES },
            source_port: i64::from(source_port),
            destination_port: i64::from(destination_port),
            ports_known: if summary.ports.is_some() { YES } else { NO },
        }
    }

    /// 0 when the rule matches. Straight-line code, see [`YES`].
    #[inline(always)]
    fn differ(&self, rule: &GuardRule) -> u32 {
        let mut differences = self.version ^ rule.version;
        for at in 0..4 {
            differences |= (self.source[at] & rule.source_mask[at]) ^ rule.source[at];
            differences |= (self.destination[at] & rule.destination_mask[at]) ^ rule.destination[at];
        }
        differences |= (self.protocol ^ rule.protocol) & rule.protocol_counts & self.protocol_known;
        differences |= outside(self.source_port, &rule.source_ports) & self.ports_known;
        differences |= outside(self.destination_port, &rule.destination_ports) & self.ports_known;
        let unseen = (rule.protocol_counts & !self.protocol_known) | (rule.ports_count & !self.ports_known);
        differences | (unseen & rule.exempts)
    }
}

/// The sign of a negative distance, spread over all bits.
#[inline(always)]
fn outside(port: i64, range: &[u16; 2]) -> u32 {
    let below = port - i64::from(range[0]);
    let above = i64::from(range[1]) - port;
    ((below | above) >> 63) as u32
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
