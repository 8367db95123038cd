//! Filters on the packet path: verdict, counter, match report, and the treatment of denied packets.

use crate::count::drop_reason::DropReason;
use crate::host::kernel::PortId;
use crate::path::context::{Context, Env};
use crate::path::icmp::IcmpError;
use crate::path::packet::{Origin, Packet};
use crate::policy::filter::Ruling;
use crate::policy::flow::Flow;
use af_xdp::Frame;
use sa_table::policy::FilterPoint;
use sa_table::{Direction, Event, FilterLog, PolicyId};

/// Whether a list permits a packet; counts and logs the matching line. `again`: a permitted packet
/// will be checked once more and is counted then.
#[inline]
pub(crate) fn passes(list: u32, packet: &Packet, again: bool, env: &Env<'_>, context: &mut Context) -> bool {
    let policy = &env.views.policy;
    let ruling = policy.filters().remembered_ruling(
        list,
        &packet.ip,
        packet.frame.bytes(),
        policy.version(),
        &mut context.verdicts,
    );
    if ruling.permit && again {
        return true;
    }
    if let Some(log) = policy.filters().count(ruling, env.worker)
        && let Some(withheld) = context.matches.due(context.now_ms)
    {
        context.events.send(&event(ruling, log, packet, env, withheld));
    }
    ruling.permit
}

/// Drops a packet that a filter denies; its sender gets an ICMP error if
/// [`IcmpErrors`](crate::path::icmp::IcmpErrors) allows one.
pub(crate) fn deny(packet: Packet, reason: DropReason, env: &Env<'_>, context: &mut Context) {
    let Context { pool, icmp, now_ms, .. } = context;
    icmp.report(IcmpError::Prohibited, &packet, &env.views.kernel, pool, *now_ms);
    context.drop(packet.frame, reason);
}

/// Applies the `in` list of a policy to a packet that was decrypted by one of its SAs.
#[inline]
pub(crate) fn admit_decrypted(
    packet: Packet,
    policy: PolicyId,
    env: &Env<'_>,
    context: &mut Context,
) -> Option<Packet> {
    let filters = env.views.policy.filters();
    let list = filters.at(FilterPoint::Policy(policy), Direction::Inbound);
    if list.is_none_or(|list| passes(list, &packet, false, env, context)) {
        return Some(packet);
    }
    deny(packet, DropReason::CryptoAccessListIn, env, context);
    None
}

/// Applies the `out` list of a port to an encrypted packet that leaves by it.
#[inline]
pub(crate) fn let_out_sealed(
    frame: Frame,
    port: PortId,
    env: &Env<'_>,
    context: &mut Context,
) -> Option<Frame> {
    let filters = env.views.policy.filters();
    if filters.is_empty() {
        return Some(frame);
    }
    let Some(list) = filters.at(FilterPoint::Port(port), Direction::Outbound) else { return Some(frame) };
    let packet = match Packet::from_ip(frame, Origin::Own { quotes_secret: false }) {
        Ok(packet) => packet,
        Err(frame) => {
            context.drop(frame, DropReason::SealFailed);
            return None;
        }
    };
    if passes(list, &packet, false, env, context) {
        return Some(packet.frame);
    }
    deny(packet, DropReason::AccessListOut, env, context);
    None
}

fn event(ruling: Ruling, log: FilterLog, packet: &Packet, env: &Env<'_>, withheld: u16) -> Event {
    let policy = &env.views.policy;
    let flow = Flow::of(&packet.ip).five_tuple();
    let port = match packet.origin {
        Origin::Port(port) | Origin::Tunnel(port) if log == FilterLog::FlowAndPort => {
            policy.filters().record(port)
        }
        _ => None,
    };
    let Ruling { list, permit, .. } = ruling;
    Event::FilterMatch { version: policy.version(), list, permit, flow, port, withheld }
}

#[cfg(test)]
mod tests;
