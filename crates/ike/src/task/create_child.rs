//! CREATE_CHILD_SA for a Child SA: a new one, or one in place of another (RFC 7296 §1.3.1, §1.3.3,
//! §2.8).

use std::time::Duration;

use crate::action::{ChildId, FailReason, LogLevel, RemoveReason};
use crate::algorithm::Group;
use crate::collision::{self, Verdict};
use crate::command::ChildRequest;
use crate::config::ChildTag;
use crate::message::{Exchange, Notify, ParseError, Payload, notify_type, protocol};
use crate::negotiate::{ChildGroups, additional_of_children, first_esp_group};
use crate::provider::PrivateKey;
use crate::sa::IkeSa;
use crate::sa::child::ChildSa;
use crate::secret::Secret;
use crate::selector::TrafficSelector;

use super::child::{self, Attempt, Choice, Chosen, Material, Refusal};
use super::followup::{self, Followup};
use super::parts::{Parts, fail_reason};
use super::{Ctx, Queued, Task};

/// Pause after TEMPORARY_FAILURE, times the number of tries (RFC 7296 §2.25: wait, longer each
/// time).
const PAUSE: Duration = Duration::from_secs(1);
/// Tries before a lasting TEMPORARY_FAILURE is a failure.
const MAX_TRIES: u32 = 6;

/// A child that we request.
pub(crate) struct CreateChild {
    tag: ChildTag,
    trigger: Option<(TrafficSelector, TrafficSelector)>,
    rekeying: Option<ChildId>,
    /// The group that the peer requested by INVALID_KE_PAYLOAD.
    group: Option<Group>,
    /// The peer refused the offer without a key exchange; these groups are offered where none is
    /// configured.
    forward_secrecy: Vec<Group>,
    tries: u32,
    /// The last request had a key exchange of its own.
    had_exchange: bool,
    open: Option<Open>,
    /// Additional key exchanges (RFC 9370) that follow CREATE_CHILD_SA.
    followup: Option<Box<Followup>>,
    /// The peer rekeyed the same child while our request was in flight.
    pub(crate) peer_rekey: Option<PeerRekey>,
    /// SPIs that the peer deleted meanwhile and that we do not know: possibly the child that we are
    /// waiting for.
    pub(crate) deleted_early: Vec<u32>,
}

/// State of the request in flight.
struct Open {
    attempt: Attempt,
    nonce: Vec<u8>,
    exchange: Option<(Group, Box<dyn PrivateKey>)>,
}

/// The peer's rekeying in a simultaneous rekey of the child.
pub(crate) struct PeerRekey {
    /// The child that it created; `None` while additional key exchanges are still to follow.
    pub(crate) child: Option<ChildId>,
    pub(crate) nonces: (Vec<u8>, Vec<u8>),
}

impl CreateChild {
    pub(crate) fn new(request: ChildRequest) -> Self {
        CreateChild {
            tag: request.tag,
            trigger: request.trigger,
            rekeying: None,
            group: None,
            forward_secrecy: vec![],
            tries: 0,
            had_exchange: false,
            open: None,
            followup: None,
            peer_rekey: None,
            deleted_early: vec![],
        }
    }

    pub(crate) fn rekey(child: &ChildSa) -> Self {
        let mut task = Self::new(ChildRequest::new(child.tag));
        task.rekeying = Some(child.id);
        // Unless configured otherwise the group of the child is kept.
        task.group = child.suite.group;
        task
    }

    pub(crate) fn rekeying(&self) -> Option<ChildId> {
        self.rekeying
    }

    /// Our SPI in the request in flight.
    pub(crate) fn open_spi(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.attempt.spi)
    }

    pub(super) fn cancel(self, ctx: &mut Ctx<'_>) -> (ChildTag, Option<ChildId>) {
        if let Some(open) = self.open {
            open.attempt.release(ctx);
        }
        (self.tag, self.rekeying)
    }

    pub(super) fn exchange(&self) -> Exchange {
        if self.followup.is_some() { Exchange::IkeFollowupKe } else { Exchange::CreateChildSa }
    }

    pub(super) fn request(&mut self, sa: &mut IkeSa, ctx: &mut Ctx<'_>) -> Option<Vec<Payload>> {
        if let Some(followup) = &mut self.followup {
            let request = followup.request(ctx);
            if request.is_none() {
                if let Some(open) = self.open.take() {
                    open.attempt.release(ctx);
                }
                self.give_up(sa, ctx, FailReason::NoGroup);
            }
            return request;
        }
        sa.refresh_connection(ctx);
        match self.build(sa, ctx) {
            Ok(payloads) => payloads,
            Err(reason) => {
                self.give_up(sa, ctx, reason);
                None
            }
        }
    }

    /// The request; `Ok(None)` if the child to be replaced is gone, closing or replaced by now.
    fn build(&mut self, sa: &IkeSa, ctx: &mut Ctx<'_>) -> Result<Option<Vec<Payload>>, FailReason> {
        let mut payloads = Vec::new();
        let mut current = None;
        if let Some(id) = self.rekeying {
            let Some(old) = sa.child(id).filter(|child| child.is_current()) else { return Ok(None) };
            // §1.3.3: our inbound SPI.
            payloads.push(Payload::Notify(Notify::about_esp(notify_type::REKEY_SA, old.inbound_spi)));
            current = Some((&old.local_selectors[..], &old.remote_selectors[..]));
        }
        let mut attempt = Attempt::new(ctx, &sa.connection, self.tag, self.trigger, current)?;
        attempt.add_forward_secrecy(&self.forward_secrecy);
        payloads.extend(attempt.offer(ctx, true));
        let nonce = ctx.nonce();
        payloads.push(Payload::Nonce(nonce.clone()));

        let proposals = &attempt.proposals;
        let wanted =
            proposals.iter().any(|proposal| self.group.is_some_and(|group| proposal.groups.contains(&group)));
        let group = self.group.filter(|_| wanted).or_else(|| first_esp_group(proposals, ctx.provider()));
        let mut exchange = None;
        if let Some(group) = group {
            let method = ctx.provider().group(group);
            let Some((private, public)) = method.and_then(|method| method.generate(ctx.random).ok()) else {
                attempt.release(ctx);
                return Err(FailReason::NoGroup);
            };
            payloads.push(Payload::KeyExchange(group.number(), public));
            exchange = Some((group, private));
        }
        payloads.extend(attempt.selectors());
        self.had_exchange = exchange.is_some();
        self.open = Some(Open { attempt, nonce, exchange });
        Ok(Some(payloads))
    }

    pub(super) fn finish(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        ctx: &mut Ctx<'_>,
        answer: Result<Vec<Payload>, ParseError>,
    ) {
        let Some(open) = self.open.take() else { return };
        let Some(parts) = answer.ok().and_then(Parts::of) else {
            // An authentic but invalid answer: the peer must close what it has created.
            sa.enqueue(Task::DeleteSpi { spi: open.attempt.spi }, ctx.now);
            return self.give_up(sa, ctx, FailReason::Syntax);
        };
        if let Some(error) = parts.error() {
            open.attempt.release(ctx);
            let (kind, data) = (error.kind, error.data.clone());
            self.followup = None;
            return self.refused(sa, ctx, kind, &data);
        }
        let next = match &mut self.followup {
            Some(followup) => followup.answered(&parts).map(|last| !last),
            None => self.begin_followup(ctx, &open, parts),
        };
        match next.and_then(|more| if more { Ok(true) } else { self.accept(sa, ctx, &open).map(|()| false) })
        {
            Ok(true) if self.is_surplus(&open) => {
                // RFC 9370 §2.2.4: the initiator of the exchange with the lowest nonce stops;
                // nothing has been created, so there is nothing to delete.
                open.attempt.release(ctx);
                sa.log(ctx, LogLevel::Info, "crossing rekeyings: the peer's child SA stays");
            }
            Ok(true) => {
                self.open = Some(open);
                sa.queue.push_front(Queued { task: Task::CreateChild(self), not_before: ctx.now });
            }
            Ok(false) => {}
            Err(reason) => {
                // The peer has created the child; it must close it again.
                sa.enqueue(Task::DeleteSpi { spi: open.attempt.spi }, ctx.now);
                self.give_up(sa, ctx, reason);
            }
        }
    }

    /// Processes the answer to CREATE_CHILD_SA; true if additional key exchanges follow.
    fn begin_followup(&mut self, ctx: &Ctx<'_>, open: &Open, parts: Parts) -> Result<bool, FailReason> {
        let group = open.exchange.as_ref().map(|(group, _)| *group);
        let additional = open.attempt.agreed_additional(ctx, &parts, group)?;
        self.followup = Some(Box::new(Followup::new(parts, &additional)?));
        Ok(!additional.is_empty())
    }

    /// The peer rekeys the same child, and the lowest nonce is in our exchange.
    fn is_surplus(&self, open: &Open) -> bool {
        let nonce_r = self.followup.as_ref().and_then(|followup| followup.first.nonce.as_deref());
        match (&self.peer_rekey, nonce_r) {
            (Some(peer), Some(nonce_r)) => {
                collision::ours_is_surplus((&open.nonce, nonce_r), (&peer.nonces.0, &peer.nonces.1))
            }
            _ => false,
        }
    }

    /// All exchanges are done.
    fn accept(&self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, open: &Open) -> Result<(), FailReason> {
        let followup = self.followup.as_ref().ok_or(FailReason::Syntax)?;
        let parts = &followup.first;
        let nonce_r = parts.nonce.as_deref().ok_or(FailReason::Syntax)?;
        let group = open.exchange.as_ref().map(|(group, _)| *group);
        let shared = match (&open.exchange, &parts.ke) {
            (None, None) => None,
            (Some((group, private)), Some((number, public))) if *number == group.number() => {
                Some(private.agree(public).map_err(|_| FailReason::Syntax)?)
            }
            _ => return Err(FailReason::Syntax),
        };
        let material = Material {
            nonce_i: &open.nonce,
            nonce_r,
            shared: shared.as_ref(),
            additional: &followup.secrets,
        };
        let replaces = self.rekeying.filter(|&id| sa.child(id).is_some());
        let made = open.attempt.accept(sa, ctx, parts, group, &material, replaces)?;
        if self.deleted_early.contains(&made.child.outbound_spi) {
            // The peer's Delete arrived before its answer.
            open.attempt.release(ctx);
            self.give_up(sa, ctx, FailReason::Cancelled);
            return Ok(());
        }

        if let Some(peer) = &self.peer_rekey {
            if self.is_surplus(open) {
                // Ours is never reported to the caller: the peer's child stays, ours is closed, and
                // the peer deletes the old one.
                sa.log(ctx, LogLevel::Info, "crossing rekeyings: the peer's child SA stays");
                sa.enqueue(Task::DeleteSpi { spi: open.attempt.spi }, ctx.now);
                return Ok(());
            }
            match peer.child {
                Some(id) => {
                    if let Some(surplus) = sa.child_mut(id) {
                        surplus.fate = Some(RemoveReason::Redundant);
                    }
                }
                // The peer has detected that its own is surplus, or will receive STATE_NOT_FOUND.
                None => followup::drop_promise(sa, ctx),
            }
            if let Some(old) = replaces.and_then(|id| sa.child_mut(id)) {
                old.replaced_by = Some(made.child.id);
            }
        }
        if replaces.and_then(|id| sa.child(id)).is_some_and(ChildSa::is_closed_by_caller) {
            sa.enqueue(Task::DeleteSpi { spi: open.attempt.spi }, ctx.now);
            return Ok(());
        }
        child::install(sa, ctx, made);
        if let Some(old) = replaces {
            sa.close_child(ctx, old, RemoveReason::Replaced, false);
        }
        Ok(())
    }

    /// The peer refused (RFC 7296 §2.25, §1.3).
    fn refused(mut self: Box<Self>, sa: &mut IkeSa, ctx: &mut Ctx<'_>, notify: u16, data: &[u8]) {
        if self.peer_rekey.is_some() {
            // The peer saw no collision: it refused ours because its own replacement is done.
            return;
        }
        self.tries += 1;
        match notify {
            notify_type::INVALID_KE_PAYLOAD if self.tries < MAX_TRIES => {
                let number = data.first_chunk::<2>().map(|number| u16::from_be_bytes(*number));
                match number.and_then(Group::from_number) {
                    Some(group) if self.group != Some(group) => {
                        self.group = Some(group);
                        sa.enqueue(Task::CreateChild(self), ctx.now);
                    }
                    _ => self.give_up(sa, ctx, FailReason::NoGroup),
                }
            }
            notify_type::NO_PROPOSAL_CHOSEN if self.forward_secrecy.is_empty() && !self.had_exchange => {
                // The peer may require forward secrecy: offer the group of the IKE SA; the peer may
                // ask for another one.
                let agreed = sa.framer.as_ref().map(|framer| framer.suite.group);
                let configured =
                    sa.connection.ike_proposals.iter().flat_map(|proposal| proposal.groups.clone());
                for group in agreed.into_iter().chain(configured) {
                    if !self.forward_secrecy.contains(&group) {
                        self.forward_secrecy.push(group);
                    }
                }
                sa.enqueue(Task::CreateChild(self), ctx.now);
            }
            notify_type::TEMPORARY_FAILURE | notify_type::STATE_NOT_FOUND if self.tries < MAX_TRIES => {
                let again = ctx.now + PAUSE * self.tries;
                sa.enqueue(Task::CreateChild(self), again);
            }
            notify_type::CHILD_SA_NOT_FOUND if self.rekeying.is_some() => self.unknown_to_peer(sa, ctx),
            other => self.give_up(sa, ctx, fail_reason(other)),
        }
    }

    /// RFC 7296 §2.25: the peer has lost the child. Remove it without a Delete and create it again,
    /// unless another child of the policy exists.
    fn unknown_to_peer(self: Box<Self>, sa: &mut IkeSa, ctx: &mut Ctx<'_>) {
        let Some(id) =
            self.rekeying.filter(|&id| sa.child(id).is_some_and(|child| child.replaced_by.is_none()))
        else {
            return;
        };
        sa.remove_child(ctx, id, RemoveReason::UnknownToPeer);
        if !sa.children.iter().any(|child| child.tag == self.tag && child.is_current()) {
            let again = CreateChild::new(ChildRequest { tag: self.tag, trigger: self.trigger });
            sa.enqueue(Task::CreateChild(Box::new(again)), ctx.now);
        }
    }

    fn give_up(&self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, reason: FailReason) {
        if let Some(old) = self.rekeying.and_then(|id| sa.child_mut(id)) {
            old.rekeying = false;
        }
        sa.child_failed(ctx, self.tag, self.rekeying, reason);
    }
}

/// Handles the peer's request for a child.
pub(crate) fn answer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, payloads: Vec<Payload>) -> Vec<Payload> {
    let Some(parts) = Parts::of(payloads) else {
        return vec![Payload::notify(notify_type::INVALID_SYNTAX, vec![])];
    };
    let rekeyed = parts.notify(notify_type::REKEY_SA).cloned();
    let result = match &rekeyed {
        None => decide(collision::create_child(sa), None).and_then(|()| respond(sa, ctx, &parts, None)),
        Some(notify) => {
            let spi = notify.spi.as_slice().try_into().ok().map(u32::from_be_bytes);
            let spi = spi.filter(|_| notify.protocol == protocol::ESP);
            let old = spi.and_then(|spi| sa.child_by_outbound_spi(spi)).map(|child| child.id);
            let verdict = collision::rekey_child(sa, old.and_then(|id| sa.child(id)));
            decide(verdict, Some(notify)).and_then(|()| respond(sa, ctx, &parts, old))
        }
    };
    result.unwrap_or_else(|payload| {
        if let Payload::Notify(notify) = &payload {
            sa.log(ctx, LogLevel::Info, format!("refused a child SA: {}", fail_reason(notify.kind)));
        }
        vec![payload]
    })
}

fn decide(verdict: Verdict, rekeyed: Option<&Notify>) -> Result<(), Payload> {
    match verdict {
        Verdict::Proceed => Ok(()),
        Verdict::TemporaryFailure => Err(Payload::notify(notify_type::TEMPORARY_FAILURE, vec![])),
        // RFC 7296 §3.10.1: the notify carries the SPI of the request.
        Verdict::ChildNotFound => Err(Payload::Notify(Notify {
            kind: notify_type::CHILD_SA_NOT_FOUND,
            ..rekeyed.cloned().unwrap_or(Notify::new(notify_type::CHILD_SA_NOT_FOUND, vec![]))
        })),
    }
}

/// Validates the whole request before anything changes.
fn respond(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    parts: &Parts,
    old: Option<ChildId>,
) -> Result<Vec<Payload>, Payload> {
    sa.refresh_connection(ctx);
    let nonce_i =
        parts.nonce.as_deref().ok_or_else(|| Payload::notify(notify_type::INVALID_SYNTAX, vec![]))?;
    let offered_group = parts.ke.as_ref().and_then(|(number, _)| Group::from_number(*number));
    let fallback =
        sa.connection.ike_proposals.iter().flat_map(|proposal| proposal.groups.clone()).collect::<Vec<_>>();
    let additional = additional_of_children(&sa.connection.ike_proposals);
    let groups =
        ChildGroups::Wanted { ke_group: offered_group, fallback: &fallback, additional: &additional };
    let tag = old.and_then(|id| sa.child(id)).map(|child| child.tag);
    let choice = child::choose(sa, ctx, parts, groups, tag).map_err(Refusal::payload)?;
    let (shared, public) = exchange_keys(ctx, parts, &choice).map_err(Refusal::payload)?;

    let nonce_r = ctx.nonce();
    let (group, additional) = (choice.group(), choice.additional());
    let (chosen, answer) = child::answer(ctx, choice).map_err(Refusal::payload)?;
    let nonces = (nonce_i.to_vec(), nonce_r.clone());
    let child = PromisedChild { chosen, nonces, shared, old };
    let mut payloads = answer.before;
    if additional.is_empty() {
        child.make(sa, ctx, &[]).map_err(Refusal::payload)?;
    } else {
        if let Some(task) = crossing(sa, old) {
            task.peer_rekey = Some(PeerRekey { child: None, nonces: child.nonces.clone() });
        }
        let child = followup::Promised::Child(Box::new(child));
        payloads.push(followup::promise(sa, ctx, &additional, child));
    }
    payloads.push(Payload::Nonce(nonce_r));
    payloads.extend(group.zip(public).map(|(group, public)| Payload::KeyExchange(group.number(), public)));
    payloads.extend(answer.behind);
    Ok(payloads)
}

/// The key exchange of the child's own, if the choice has one: (shared secret, our public value).
fn exchange_keys(
    ctx: &mut Ctx<'_>,
    parts: &Parts,
    choice: &Choice,
) -> Result<(Option<Secret>, Option<Vec<u8>>), Refusal> {
    let Some(group) = choice.group() else { return Ok((None, None)) };
    let public = match &parts.ke {
        Some((number, public)) if *number == group.number() => public,
        // RFC 7296 §1.3: the notify carries the group that we accept.
        _ => return Err(Refusal(notify_type::INVALID_KE_PAYLOAD, group.number().to_be_bytes().to_vec())),
    };
    let method = ctx.provider().group(group).ok_or(Refusal::new(notify_type::NO_PROPOSAL_CHOSEN))?;
    let failed = |_| Refusal::new(notify_type::INVALID_SYNTAX);
    let (private, own) = method.generate(ctx.random).map_err(failed)?;
    Ok((Some(private.agree(public).map_err(failed)?), Some(own)))
}

/// A child of the peer's CREATE_CHILD_SA request whose additional key exchanges are still
/// outstanding.
pub(crate) struct PromisedChild {
    chosen: Chosen,
    nonces: (Vec<u8>, Vec<u8>),
    shared: Option<Secret>,
    old: Option<ChildId>,
}

impl PromisedChild {
    pub(crate) fn replaces(&self) -> Option<ChildId> {
        self.old
    }

    pub(crate) fn release(&self, ctx: &mut Ctx<'_>) {
        self.chosen.release(ctx);
    }

    /// The last additional exchange is done: creates the child.
    pub(crate) fn keep(self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, additional: &[Secret]) -> Result<(), u16> {
        // Meanwhile we may have closed or replaced the child; then our Delete is outstanding.
        if self.old.is_some_and(|old| !sa.child(old).is_some_and(ChildSa::is_current)) {
            self.release(ctx);
            return Err(notify_type::STATE_NOT_FOUND);
        }
        self.make(sa, ctx, additional).map_err(|refusal| refusal.0)
    }

    fn make(self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, additional: &[Secret]) -> Result<(), Refusal> {
        let PromisedChild { chosen, nonces, shared, old } = self;
        let material =
            Material { nonce_i: &nonces.0, nonce_r: &nonces.1, shared: shared.as_ref(), additional };
        let made = chosen.make(sa, ctx, &material, old)?;
        let new = made.child.id;
        child::install(sa, ctx, made);
        if let Some(old) = old {
            replaced_by_peer(sa, old, new, nonces);
        }
        Ok(())
    }
}

/// Our own rekeying of the same child, while its request is in flight.
fn crossing(sa: &mut IkeSa, old: Option<ChildId>) -> Option<&mut CreateChild> {
    match &mut sa.active {
        Some(Task::CreateChild(task)) if old.is_some() && task.rekeying == old => Some(task),
        _ => None,
    }
}

/// The peer has replaced `old`. If our own rekeying of it is in flight, it records the collision;
/// if it only waits, it is dropped.
fn replaced_by_peer(sa: &mut IkeSa, old: ChildId, new: ChildId, nonces: (Vec<u8>, Vec<u8>)) {
    if let Some(child) = sa.child_mut(old) {
        child.replaced_by = Some(new);
        child.rekeying = false;
        child.soft_at = None;
    }
    sa.queue.retain(|queued| queued.task.rekeys() != Some(old));
    if let Some(task) = crossing(sa, Some(old)) {
        task.peer_rekey = Some(PeerRekey { child: Some(new), nonces });
    }
}
