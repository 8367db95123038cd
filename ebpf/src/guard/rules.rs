//! The walk of a rule list, equal to that of the workers (`dataplane/src/rules.rs`).

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use ebpf_abi::{ClearFlow, GuardRule, HIDDEN_PROTOCOL, MAX_RULES_PER_PORT, NO, YES};

use crate::maps::RULES;
use crate::summary::Summary;

/// What a rule is compared with, conditions as masks.
pub struct Facts {
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
    /// The packet as it leaves. `zero` is 0, which the verifier does not know (`Packet::unknown_zero`): it makes the facts
    /// of all kinds of packets look alike, so that the verifier walks the rules once and not once for each kind.
    #[inline(always)]
    pub fn of(summary: &Summary, zero: u32) -> Self {
        Self {
            version: u32::from(summary.version) | zero,
            source: summary.source.map(|word| word | zero),
            destination: summary.destination.map(|word| word | zero),
            protocol: u32::from(summary.protocol) | zero,
            protocol_known: summary.protocol_known | zero,
            source_port: i64::from(u32::from(summary.source_port) | zero),
            destination_port: i64::from(u32::from(summary.destination_port) | zero),
            ports_known: summary.ports_known | zero,
        }
    }

    /// The packet that arrived, as if it went the other way: rules are written for what leaves.
    #[inline(always)]
    pub fn mirrored(summary: &Summary, zero: u32) -> Self {
        let facts = Self::of(summary, zero);
        Self {
            source: facts.destination,
            destination: facts.source,
            source_port: facts.destination_port,
            destination_port: facts.source_port,
            ..facts
        }
    }

    /// The flow for `ELSEWHERE`. Without branches: the verifier would walk the rules once for each of their outcomes.
    #[inline(always)]
    pub fn flow(&self, ifindex: u32) -> ClearFlow {
        ClearFlow {
            ifindex,
            version: self.version,
            protocol: (self.protocol & self.protocol_known) | (HIDDEN_PROTOCOL & !self.protocol_known),
            source: self.source,
            destination: self.destination,
            ports: [self.source_port as u16, self.destination_port as u16],
        }
    }

    /// 0 when the rule matches as far as can be seen. Straight-line code, see [`YES`].
    #[inline(always)]
    fn differ(&self, rule: &GuardRule) -> u32 {
        let mut differences = self.version ^ rule.version;
        for at in 0..4 {
            differences |= (self.source[at] & rule.source_mask[at]) ^ rule.source[at];
            differences |= (self.destination[at] & rule.destination_mask[at]) ^ rule.destination[at];
        }
        differences |= (self.protocol ^ rule.protocol) & rule.protocol_counts & self.protocol_known;
        differences |= outside(self.source_port, &rule.source_ports) & self.ports_known;
        differences | (outside(self.destination_port, &rule.destination_ports) & self.ports_known)
    }

    /// Not 0 when the rule asks for what the packet does not show (ports of a later fragment, a header chain without end).
    #[inline(always)]
    fn unseen(&self, rule: &GuardRule) -> u32 {
        (rule.protocol_counts & !self.protocol_known) | (rule.ports_count & !self.ports_known)
    }
}

/// The sign of a negative distance, spread over all bits.
#[inline(always)]
fn outside(port: i64, range: &[u16; 2]) -> u32 {
    let below = port - i64::from(range[0]);
    let above = i64::from(range[1]) - port;
    ((below | above) >> 63) as u32
}

/// A walk of a list. It lives on the stack of the program, where each step reads and writes it.
struct Walk<'a> {
    facts: &'a Facts,
    index: u32,
    end: u32,
    /// [`YES`] once a rule protects the packet.
    protects: u32,
    /// Where the doubt ends that an exemption left which asks for what the packet does not show.
    doubtful_until: u32,
}

/// Whether the list protects the packet: the first rule that matches decides. A rule that may match, but asks for what cannot
/// be seen, protects; such an exemption skips nothing. The loop is the kernel's (`bpf_loop`): the verifier looks at one step, not at thousands.
#[inline(always)]
pub fn protects(facts: &Facts, first: u32, count: u32) -> bool {
    let mut walk = Walk { facts, index: first, end: first + count, protects: NO, doubtful_until: 0 };
    // SAFETY: `step` has the signature that the helper calls, and `walk` outlives the call.
    let steps = unsafe { bpf_loop(MAX_RULES_PER_PORT, step as *mut c_void, (&raw mut walk).cast(), 0) };
    // A loop that did not run, or a list that goes on behind the last step, is unknown, hence closed.
    steps < 0 || walk.protects != NO || walk.index < walk.end
}

/// One rule; 1 ends the walk.
unsafe extern "C" fn step(_: u64, walk: *mut c_void) -> i64 {
    // SAFETY: the helper passes the pointer that `protects` gave it, and nobody else uses it meanwhile.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    if walk.index >= walk.end {
        return 1;
    }
    // A list that is not in the table is unknown, hence closed.
    let Some(rule) = RULES.get(walk.index) else {
        walk.protects = YES;
        return 1;
    };
    if walk.facts.differ(rule) != 0 {
        walk.index += 1;
        return 0;
    }
    if rule.exempts == NO {
        walk.protects = YES;
        return 1;
    }
    let in_doubt = ((i64::from(walk.index) - i64::from(walk.doubtful_until)) >> 63) as u32;
    let doubtful = walk.facts.unseen(rule) | in_doubt;
    walk.doubtful_until = walk.doubtful_until.max(rule.jump & doubtful);
    walk.index = (rule.jump & !doubtful) | ((walk.index + 1) & doubtful);
    0
}
