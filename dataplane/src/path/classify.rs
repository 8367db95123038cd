//! Decides what happens to a packet: route → egress port → that port's rules → policy. The result
//! is kept in one small cache entry.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::{KernelSnapshot, PortId, Route};
use crate::path::context::Views;
use crate::path::decision::Decision;
use crate::path::flow_cache::FlowCache;
use crate::path::icmp::{is_bad_source, is_unforwardable};
use crate::path::packet::Origin;
use crate::policy::flow::Flow;
use crate::policy::rules::Verdict;
use crate::policy::{Policy, Protection};

/// The classifier of one worker.
#[derive(Debug)]
pub struct Classifier {
    cache: FlowCache,
}

impl Classifier {
    /// A classifier with a cache of `flows` flows (rounded up to a power of two).
    pub fn new(flows: usize) -> Classifier {
        Classifier { cache: FlowCache::new(flows) }
    }

    /// The decision for a packet of this flow and origin.
    #[inline]
    pub fn decide(&mut self, flow: &Flow, origin: Origin, views: &Views) -> Decision {
        self.cache.observe(views.policy.version(), views.kernel.generation());
        if let Some(decision) = self.cache.get(flow, origin) {
            return decision;
        }
        let decision = decide(flow, origin, &views.kernel, &views.policy);
        self.cache.insert(flow, origin, decision);
        decision
    }
}

/// The decision without cache: the reference for the cached one.
pub fn decide(flow: &Flow, origin: Origin, kernel: &KernelSnapshot, policy: &Policy) -> Decision {
    if let Origin::Port(port) = origin
        && let Some(reason) = refused_in_clear(flow, port, policy)
    {
        return Decision::Drop(reason);
    }
    if is_bad_source(flow.source) {
        return Decision::Drop(DropReason::BadSource);
    }
    let (port, next_hop) = match kernel.lookup_route(flow.destination) {
        Route::Via { port, next_hop } => (port, next_hop),
        Route::OnLink { port } => (port, flow.destination),
        // Packets from this host's own stack must not be sent back to it.
        Route::Local | Route::ToKernel if origin == Origin::Punt => {
            return Decision::Drop(DropReason::NotForwardable);
        }
        Route::Local => return Decision::Punt,
        Route::ToKernel if is_unforwardable(flow.destination) => {
            return Decision::Drop(DropReason::NotForwardable);
        }
        // The route leads to a device that the configuration does not name.
        Route::ToKernel if policy.is_protected(flow) => return Decision::Drop(DropReason::ClosedEverywhere),
        Route::ToKernel => return Decision::Punt,
        Route::Unreachable => return Decision::Drop(DropReason::Unreachable),
        Route::None => return Decision::Drop(DropReason::NoRoute),
    };
    let Some(egress) = policy.port(port) else { return Decision::Drop(DropReason::NoPolicy) };
    let verdict = match &egress.protection {
        Protection::None => Verdict::Clear,
        Protection::Rules(rules) => rules.outbound(flow),
        Protection::Closed => return Decision::Drop(DropReason::NoPolicy),
    };
    match verdict {
        Verdict::Protect(policy) => Decision::Protect(policy),
        Verdict::Drop => Decision::Drop(DropReason::RuleDrop),
        Verdict::Undecided => Decision::Drop(DropReason::HiddenPorts),
        Verdict::Clear if is_unforwardable(flow.destination) => Decision::Drop(DropReason::NotForwardable),
        Verdict::Clear if origin == (Origin::Own { quotes_secret: true }) && egress.is_protected() => {
            Decision::Drop(DropReason::IcmpWouldLeak)
        }
        Verdict::Clear if policy.is_closed_everywhere(flow) => Decision::Drop(DropReason::ClosedEverywhere),
        Verdict::Clear => {
            Decision::Forward { port, next_hop, elsewhere: policy.is_protected_elsewhere(flow) }
        }
    }
}

/// A clear packet that matches a mirrored permit of the port it came in by should have been
/// protected.
fn refused_in_clear(flow: &Flow, port: PortId, policy: &Policy) -> Option<DropReason> {
    let Some(ingress) = policy.port(port) else { return Some(DropReason::NoPolicy) };
    let verdict = match &ingress.protection {
        Protection::None => Verdict::Clear,
        Protection::Rules(rules) => rules.inbound(flow),
        Protection::Closed => return Some(DropReason::NoPolicy),
    };
    match verdict {
        Verdict::Clear if policy.is_refused_everywhere(flow) => Some(DropReason::ClearOnProtected),
        Verdict::Clear => None,
        Verdict::Protect(_) | Verdict::Drop => Some(DropReason::ClearOnProtected),
        Verdict::Undecided => Some(DropReason::HiddenPorts),
    }
}

#[cfg(test)]
mod tests;
