//! INFORMATIONAL requests of the peer (RFC 7296 §1.4): liveness, Delete, notifies.

use std::net::SocketAddr;

use crate::action::{ChildId, IkeDownReason, LogLevel, RemoveReason};
use crate::endpoint::Effect;
use crate::message::{DeletePayload, Payload, notify_type};
use crate::sa::{IkeSa, Phase};

use super::parts::Parts;
use super::{Ctx, Task, mobike, redirect};

/// Processes the request and answers it. An empty request gets an empty answer.
pub(crate) fn answer(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    payloads: Vec<Payload>,
    path: (SocketAddr, SocketAddr),
) -> Vec<Payload> {
    let Some(parts) = Parts::of(payloads) else {
        return vec![Payload::notify(notify_type::INVALID_SYNTAX, vec![])];
    };
    if parts.deletes.contains(&DeletePayload::Ike) {
        deleted(sa, ctx);
        return vec![];
    }
    if let Some(error) = parts.error().map(|notify| notify.kind).filter(|&kind| is_fatal(kind)) {
        sa.log(ctx, LogLevel::Warning, format!("the peer reported fatal error {error}"));
        sa.down(ctx, IkeDownReason::Protocol, true);
        return vec![];
    }
    let spis = parts.deletes.iter().flat_map(|delete| match delete {
        DeletePayload::Esp(spis) => spis.as_slice(),
        _ => &[],
    });
    let mut closed = Vec::new();
    for &spi in spis {
        closed.extend(delete_child(sa, ctx, spi));
    }
    redirect::in_informational(sa, ctx, &parts);
    let mut answer = mobike::answer(sa, ctx, &parts, path);
    if !closed.is_empty() {
        answer.push(Payload::Delete(DeletePayload::Esp(closed)));
    }
    answer
}

/// Limit of SPIs in a task that the peer deleted before we knew them.
const MAX_EARLY_DELETES: usize = 16;

/// RFC 7296 §2.21.2, §2.21.3: these end the IKE SA on both ends.
fn is_fatal(notify: u16) -> bool {
    matches!(notify, notify_type::AUTHENTICATION_FAILED | notify_type::INVALID_SYNTAX)
}

/// The peer deletes the IKE SA. The answer is empty (RFC 7296 §1.4.1).
fn deleted(sa: &mut IkeSa, ctx: &mut Ctx<'_>) {
    // A rekeying that the peer began and we answered while ours was in flight: by deleting the old
    // IKE SA the peer shows that its own is the successor (RFC 7296 §2.25.2: our rekeying is
    // forgotten).
    if let Some(Task::RekeyIke(task)) = &sa.active
        && let Some(successor) = task.peer_rekey.as_ref().and_then(|peer| peer.ike)
        && matches!(sa.phase, Phase::Established)
    {
        sa.active = None;
        sa.sender.in_flight = None;
        let estate = sa.hand_over(ctx);
        ctx.effects.push(Effect::Inherit { old: sa.id, new: successor, estate, was_up: sa.reported_up });
        sa.reported_up = false;
    }
    sa.down(ctx, IkeDownReason::DeletedByPeer, true);
}

/// The peer closes the child of its inbound `spi`; returns our inbound SPI for the answer.
///
/// RFC 7296 §1.4.1, §2.25.1: if we are closing it too, the answer does not name it.
fn delete_child(sa: &mut IkeSa, ctx: &mut Ctx<'_>, spi: u32) -> Option<u32> {
    if let (None, Some(Task::CreateChild(task))) =
        (sa.child_by_outbound_spi(spi).map(|child| child.id), &mut sa.active)
        && task.deleted_early.len() < MAX_EARLY_DELETES
    {
        task.deleted_early.push(spi);
    }
    let child = sa.child_by_outbound_spi(spi)?;
    let (id, inbound_spi, deleting): (ChildId, u32, bool) = (child.id, child.inbound_spi, child.deleting);
    let reason =
        if child.replaced_by.is_some() { RemoveReason::Replaced } else { RemoveReason::DeletedByPeer };
    // While our own Delete is open, its answer removes the child; the SPI stays taken until then.
    if deleting {
        return None;
    }
    sa.remove_child(ctx, id, reason);
    Some(inbound_spi)
}
