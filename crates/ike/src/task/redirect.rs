//! A gateway that redirects us to another one (RFC 5685), with us as the client.
//!
//! The new gateway replaces the old one: same connection, identities and keys. The number of
//! consecutive redirections is bounded.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::action::{FailReason, IkeId, LogLevel};
use crate::command::ChildRequest;
use crate::config::{ChildTag, Connection};
use crate::endpoint::Effect;
use crate::message::{Notify, Payload, notify_type};
use crate::sa::{IkeSa, Phase};
use crate::time::Time;

use super::parts::Parts;
use super::{Ctx, Queued, Task};

/// Redirections are counted over this time (RFC 5685 §7: REDIRECT_LOOP_DETECT_PERIOD).
const LOOP_PERIOD: Duration = Duration::from_secs(300);
/// Gateway identity types (RFC 5685 §9.2).
const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// Redirection state of an IKE SA.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirects {
    /// We announced support for redirection.
    pub(crate) announced: bool,
    /// The gateway that redirected us here.
    from: Option<IpAddr>,
    /// Times of the redirections that led here.
    times: Vec<Time>,
}

/// The initiation with the gateway that we are redirected to.
pub(crate) struct Onward {
    pub(crate) old: IkeId,
    pub(crate) connection: std::sync::Arc<Connection>,
    pub(crate) children: Vec<ChildRequest>,
    pub(crate) waiting: VecDeque<Queued>,
    pub(crate) path: (SocketAddr, SocketAddr),
    pub(crate) redirects: Redirects,
    /// The old IKE SA is closed when the new one is up.
    pub(crate) replaces: bool,
}

/// The notify of our IKE_SA_INIT: REDIRECT_SUPPORTED, or REDIRECTED_FROM with the redirecting
/// gateway (RFC 5685 §3).
pub(crate) fn announcement(sa: &mut IkeSa, ctx: &Ctx<'_>) -> Option<Payload> {
    sa.redirects.announced = ctx.config.max_redirects.is_some();
    if let Some(from) = sa.redirects.from {
        return Some(Payload::notify(notify_type::REDIRECTED_FROM, identity_octets(from)));
    }
    sa.redirects.announced.then(|| Payload::notify(notify_type::REDIRECT_SUPPORTED, vec![]))
}

/// REDIRECT in the answer to IKE_SA_INIT: it is not authenticated, but its sender knows our nonce.
/// True if the redirection is followed; the IKE SA then has the address of the new gateway.
pub(crate) fn in_init(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    notify: &Notify,
    nonce: &[u8],
) -> Result<(), FailReason> {
    // RFC 5685 §3: without our nonce in it, it is ignored; so is one that we did not ask for.
    let (target, returned) = split(&notify.data).ok_or(FailReason::Redirected)?;
    if !sa.redirects.announced || returned != nonce {
        return Err(FailReason::Syntax);
    }
    let target = follow(sa, ctx, target)?;
    let port = ctx.config.ike_port;
    sa.remote = SocketAddr::new(target, port);
    sa.local.set_port(port);
    Ok(())
}

/// REDIRECT in an authenticated answer to IKE_AUTH (RFC 5685 §6): the IKE SA is closed before it
/// was reported. False if the message has no REDIRECT that concerns us.
pub(crate) fn in_auth(sa: &mut IkeSa, ctx: &mut Ctx<'_>, parts: &Parts, tag: Option<ChildTag>) -> bool {
    let Some(notify) = parts.notify(notify_type::REDIRECT).filter(|_| sa.redirects.announced) else {
        return false;
    };
    let target = split(&notify.data).map(|(target, _)| target).ok_or(FailReason::Redirected);
    match target.and_then(|target| follow(sa, ctx, target)) {
        Ok(target) => {
            if let Phase::Auth(state) = std::mem::replace(&mut sa.phase, Phase::Closing) {
                state.release(ctx);
            }
            let children = tag.map(ChildRequest::new).into_iter().collect();
            onward(sa, ctx, target, children, false);
        }
        Err(reason) => sa.fail_initiation(ctx, reason, true),
    }
    sa.phase = Phase::Closing;
    sa.enqueue(Task::DeleteIke, ctx.now);
    true
}

/// REDIRECT in an INFORMATIONAL request (RFC 5685 §5): the children stay until the new gateway has
/// taken over.
pub(crate) fn in_informational(sa: &mut IkeSa, ctx: &mut Ctx<'_>, parts: &Parts) {
    let Some(notify) = parts.notify(notify_type::REDIRECT) else { return };
    if !sa.redirects.announced || !sa.is_established() {
        return;
    }
    let Some((target, _)) = split(&notify.data) else { return };
    let mut tags: Vec<ChildTag> =
        sa.children.iter().filter(|child| child.is_current()).map(|child| child.tag).collect();
    tags.dedup();
    match follow(sa, ctx, target) {
        Ok(target) => onward(sa, ctx, target, tags.into_iter().map(ChildRequest::new).collect(), true),
        Err(reason) => sa.log(ctx, LogLevel::Warning, format!("stays with this gateway: {reason}")),
    }
}

fn onward(sa: &mut IkeSa, ctx: &mut Ctx<'_>, target: IpAddr, children: Vec<ChildRequest>, replaces: bool) {
    let port = ctx.config.ike_port;
    let path = (SocketAddr::new(sa.local.ip(), port), SocketAddr::new(target, port));
    ctx.effects.push(Effect::Redirect(Box::new(Onward {
        old: sa.id,
        connection: sa.connection.clone(),
        children,
        // Tasks waiting for an IKE SA that will not be established move to the new one.
        waiting: if replaces { VecDeque::new() } else { std::mem::take(&mut sa.queue) },
        path,
        redirects: sa.redirects.clone(),
        replaces,
    })));
}

/// May we follow a redirection to `target`? Counts it if so.
fn follow(sa: &mut IkeSa, ctx: &mut Ctx<'_>, target: Option<IpAddr>) -> Result<IpAddr, FailReason> {
    // Host names are not resolved, so only addresses are usable.
    let usable = |target: &IpAddr| target.is_ipv4() == sa.local.is_ipv4() && !target.is_unspecified();
    let target = target.filter(usable).ok_or(FailReason::Redirected)?;
    let now = ctx.now;
    sa.redirects.times.retain(|&time| now.since(time) < LOOP_PERIOD);
    // RFC 5685 §7: loops between gateways end by this bound.
    let limit = ctx.config.max_redirects.unwrap_or(0);
    if sa.redirects.times.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
        sa.log(
            ctx,
            LogLevel::Warning,
            format!("redirected more than {limit} times in a row, to {target} now"),
        );
        return Err(FailReason::Redirected);
    }
    sa.redirects.times.push(now);
    sa.redirects.from = Some(sa.remote.ip());
    sa.log(ctx, LogLevel::Info, format!("redirected to {target}"));
    Ok(target)
}

/// (address, what follows the identity): RFC 5685 §9.2. `None` in place of the address for a host
/// name.
fn split(data: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let (&[kind, length], rest) = data.split_first_chunk::<2>()?;
    let (identity, rest) = rest.split_at_checked(length.into())?;
    let address = match kind {
        IPV4 => Some(IpAddr::from(<[u8; 4]>::try_from(identity).ok()?)),
        IPV6 => Some(IpAddr::from(<[u8; 16]>::try_from(identity).ok()?)),
        _ => None,
    };
    Some((address, rest))
}

fn identity_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&[IPV4, 4][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[IPV6, 16][..], &address.octets()].concat(),
    }
}
