//! A peer that moves, with us as the original responder (RFC 4555): it announces its address, we
//! check return routability, and only then ESP is sent there.

use std::net::{IpAddr, SocketAddr};

use crate::action::{Action, IkeDownReason, LogLevel};
use crate::message::{ParseError, Payload, notify_type};
use crate::sa::IkeSa;

use super::parts::Parts;
use super::{Ctx, Queued, Task, nat};

/// Octets of our COOKIE2: 8 to 64 (RFC 4555 §4.2.5).
const COOKIE_LEN: usize = 16;

/// Our answer to an IKE_AUTH request with MOBIKE_SUPPORTED (RFC 4555 §3.1).
pub(crate) fn accept(sa: &mut IkeSa, parts: &Parts) -> Option<Payload> {
    sa.mobike = sa.connection.mobike && !sa.initiator && parts.has(notify_type::MOBIKE_SUPPORTED);
    sa.mobike.then(|| Payload::notify(notify_type::MOBIKE_SUPPORTED, vec![]))
}

/// Processes the MOBIKE notifies of an INFORMATIONAL request received on this path; returns the
/// payloads of the answer. Without MOBIKE these notifies are ignored (RFC 7296 §3.10.1).
pub(crate) fn answer(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    parts: &Parts,
    (from, to): (SocketAddr, SocketAddr),
) -> Vec<Payload> {
    if !sa.mobike {
        return vec![];
    }
    let mut answer = Vec::new();
    // RFC 4555 §3.9: the peer lists the addresses that the packet must have; it accepts no NAT in
    // between.
    if parts.notify(notify_type::NO_NATS_ALLOWED).is_some_and(|notify| notify.data != path_octets(from, to)) {
        answer.push(Payload::notify(notify_type::UNEXPECTED_NAT_DETECTED, vec![]));
    } else if parts.has(notify_type::UPDATE_SA_ADDRESSES) && !acceptable(sa, from.ip(), to.ip()) {
        // RFC 4555 §3.5: nothing changes then.
        sa.log(ctx, LogLevel::Warning, format!("refused the peer's new address {from}"));
        answer.push(Payload::notify(notify_type::UNACCEPTABLE_ADDRESSES, vec![]));
    } else if parts.has(notify_type::UPDATE_SA_ADDRESSES) {
        moved(sa, ctx, parts, (from, to));
    }
    // RFC 4555 §3.8: the peer may use NAT detection in any request.
    if parts.has(notify_type::NAT_DETECTION_SOURCE_IP) && parts.has(notify_type::NAT_DETECTION_DESTINATION_IP)
    {
        let pretend = sa.connection.force_udp_encapsulation;
        answer.extend(nat::payloads(ctx.provider(), ctx.random, sa.spis(), (to, from), pretend));
    }
    // RFC 4555 §3.7: the cookie is returned unchanged, in a refusal too.
    if let Some(cookie) =
        parts.notify(notify_type::COOKIE2).filter(|cookie| (8..=64).contains(&cookie.data.len()))
    {
        answer.push(Payload::notify(notify_type::COOKIE2, cookie.data.clone()));
    }
    answer
}

/// The IKE SA uses the new path from now on; its children follow after the return routability
/// check.
fn moved(sa: &mut IkeSa, ctx: &mut Ctx<'_>, parts: &Parts, (from, to): (SocketAddr, SocketAddr)) {
    if let Some(nat) = nat::detect(ctx.provider(), sa.spis(), (from, to), parts) {
        let forced = sa.connection.force_udp_encapsulation;
        sa.nat = nat;
        sa.nat.local |= forced;
    }
    (sa.local, sa.remote) = (to, from);
    sa.start_keepalive(ctx);
    sa.log(ctx, LogLevel::Info, format!("the peer is now at {from}"));
    // Only the latest address is checked.
    sa.queue.retain(|queued| !matches!(queued.task, Task::Routability { .. }));
    let mut cookie = vec![0; COOKIE_LEN];
    ctx.random.fill(&mut cookie);
    let task = Task::Routability { cookie, remote: from };
    sa.queue.push_front(Queued { task, not_before: ctx.now });
}

/// Our return routability request to the new address (RFC 4555 §3.7).
pub(super) fn request(cookie: &[u8]) -> Vec<Payload> {
    vec![Payload::notify(notify_type::COOKIE2, cookie.to_vec())]
}

/// The peer has answered at its new address: ESP goes there, too.
pub(super) fn answered(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    cookie: &[u8],
    remote: SocketAddr,
    answer: Result<Vec<Payload>, ParseError>,
) {
    let parts = answer.ok().and_then(Parts::of);
    let returned = parts.as_ref().and_then(|parts| parts.notify(notify_type::COOKIE2));
    if returned.is_none_or(|returned| returned.data != cookie) {
        // RFC 4555 §3.7: another cookie closes the IKE SA.
        sa.log(ctx, LogLevel::Warning, "the return routability check failed");
        return sa.close(ctx, IkeDownReason::Protocol);
    }
    // It may have moved again since; then another check is outstanding.
    if remote == sa.remote {
        report(sa, ctx);
    }
}

/// Reports where ESP goes.
pub(crate) fn report(sa: &IkeSa, ctx: &mut Ctx<'_>) {
    ctx.act(Action::PeerEndpointChanged {
        ike: sa.id,
        local: sa.local,
        remote: sa.remote,
        udp_encapsulation: sa.nat.any().then(|| (sa.local.port(), sa.remote.port())),
    });
}

/// Our address must be one of the connection, the peer's any unicast address.
fn acceptable(sa: &IkeSa, from: IpAddr, to: IpAddr) -> bool {
    let own = sa.connection.local_address.is_none_or(|address| address == to);
    own && from.is_ipv4() == to.is_ipv4()
        && !from.is_unspecified()
        && !from.is_multicast()
        && !from.is_loopback()
}

/// Sender, recipient and their ports, as NO_NATS_ALLOWED has them (RFC 4555 §4.2.6).
fn path_octets(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [octets(from.ip()), octets(to.ip()), from.port().to_be_bytes().to_vec(), to.port().to_be_bytes().to_vec()]
        .concat()
}
