//! IKE_FOLLOWUP_KE in both roles: the additional key exchanges after a CREATE_CHILD_SA
//! (RFC 9370 §2.2.4).
//!
//! The SA is created only after the last of them. The responder links one exchange to the next by
//! an opaque value (ADDITIONAL_KEY_EXCHANGE).

use std::collections::VecDeque;

use crate::action::FailReason;
use crate::algorithm::Group;
use crate::message::{Payload, notify_type};
use crate::provider::PrivateKey;
use crate::sa::IkeSa;
use crate::secret::Secret;
use crate::suite::Additional;
use crate::time::Time;

use super::parts::Parts;
use super::{Ctx, create_child, rekey_ike};

const LINK_LEN: usize = 16;

// The initiator.

/// State of the initiator of a CREATE_CHILD_SA until the last exchange.
pub(crate) struct Followup {
    /// The answer to CREATE_CHILD_SA.
    pub(crate) first: Parts,
    /// The secrets so far.
    pub(crate) secrets: Vec<Secret>,
    remaining: VecDeque<Group>,
    link: Vec<u8>,
    open: Option<(Group, Box<dyn PrivateKey>)>,
}

impl Followup {
    /// Begins after the answer `first`.
    ///
    /// # Errors
    /// If exchanges follow and the answer has no ADDITIONAL_KEY_EXCHANGE.
    pub(crate) fn new(first: Parts, additional: &Additional) -> Result<Self, FailReason> {
        let link = link(&first);
        if !additional.is_empty() && link.is_none() {
            return Err(FailReason::Syntax);
        }
        let remaining = additional.methods().collect();
        Ok(Followup { first, secrets: vec![], remaining, link: link.unwrap_or_default(), open: None })
    }

    /// The next request.
    pub(crate) fn request(&mut self, ctx: &mut Ctx<'_>) -> Option<Vec<Payload>> {
        let group = self.remaining.pop_front()?;
        let (private, public) = ctx.provider().group(group)?.generate(ctx.random).ok()?;
        self.open = Some((group, private));
        Some(vec![
            Payload::KeyExchange(group.number(), public),
            Payload::notify(notify_type::ADDITIONAL_KEY_EXCHANGE, self.link.clone()),
        ])
    }

    /// Processes an answer without an error; true if it was the last one.
    pub(crate) fn answered(&mut self, parts: &Parts) -> Result<bool, FailReason> {
        let (group, private) = self.open.take().ok_or(FailReason::Syntax)?;
        let (_, public) =
            parts.ke.as_ref().filter(|(number, _)| *number == group.number()).ok_or(FailReason::Syntax)?;
        self.secrets.push(private.agree(public).map_err(|_| FailReason::Syntax)?);
        if !self.remaining.is_empty() {
            self.link = link(parts).ok_or(FailReason::Syntax)?;
        }
        Ok(self.remaining.is_empty())
    }
}

fn link(parts: &Parts) -> Option<Vec<u8>> {
    parts.notify(notify_type::ADDITIONAL_KEY_EXCHANGE).map(|notify| notify.data.clone())
}

// The responder.

/// The SA that a responder accepted in CREATE_CHILD_SA and creates after the last additional
/// exchange. At most one per IKE SA: a new one replaces it.
pub(crate) struct Promise {
    link: Vec<u8>,
    remaining: VecDeque<Group>,
    secrets: Vec<Secret>,
    /// Dropped at this time.
    pub(crate) until: Time,
    pub(crate) what: Promised,
}

/// The SA to be created.
pub(crate) enum Promised {
    Child(Box<create_child::PromisedChild>),
    Ike(Box<rekey_ike::PromisedIke>),
}

impl Promise {
    fn release(self, ctx: &mut Ctx<'_>) {
        if let Promised::Child(child) = self.what {
            child.release(ctx);
        }
    }
}

/// Stores a promise and returns the notify that links the next exchange to it.
pub(crate) fn promise(sa: &mut IkeSa, ctx: &mut Ctx<'_>, additional: &Additional, what: Promised) -> Payload {
    drop_promise(sa, ctx);
    let link = new_link(ctx);
    sa.promise = Some(Box::new(Promise {
        link: link.clone(),
        remaining: additional.methods().collect(),
        secrets: vec![],
        until: ctx.now + sa.connection.established.give_up,
        what,
    }));
    Payload::notify(notify_type::ADDITIONAL_KEY_EXCHANGE, link)
}

/// Drops the promise: if the initiator continues, it receives STATE_NOT_FOUND.
pub(crate) fn drop_promise(sa: &mut IkeSa, ctx: &mut Ctx<'_>) {
    if let Some(promise) = sa.promise.take() {
        promise.release(ctx);
    }
}

/// The peer's IKE_FOLLOWUP_KE.
pub(crate) fn answer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, payloads: Vec<Payload>) -> Vec<Payload> {
    let Some(parts) = Parts::of(payloads) else {
        return vec![Payload::notify(notify_type::INVALID_SYNTAX, vec![])];
    };
    let known = |promise: &Promise| link(&parts).is_some_and(|link| link == promise.link);
    if !sa.is_established() || !sa.promise.as_deref().is_some_and(known) {
        // RFC 9370 §2.2.4: never fatal; the peer gives up this SA and may begin again.
        return vec![Payload::notify(notify_type::STATE_NOT_FOUND, vec![])];
    }
    respond(sa, ctx, &parts).unwrap_or_else(|refusal| {
        drop_promise(sa, ctx);
        vec![Payload::notify(refusal, vec![])]
    })
}

fn respond(sa: &mut IkeSa, ctx: &mut Ctx<'_>, parts: &Parts) -> Result<Vec<Payload>, u16> {
    let promise = sa.promise.as_mut().ok_or(notify_type::STATE_NOT_FOUND)?;
    let group = promise.remaining.pop_front().ok_or(notify_type::INVALID_SYNTAX)?;
    let of_group = |(number, _): &&(u16, Vec<u8>)| *number == group.number();
    let (_, public) = parts.ke.as_ref().filter(of_group).ok_or(notify_type::INVALID_SYNTAX)?;
    let method = ctx.provider().group(group).ok_or(notify_type::INVALID_SYNTAX)?;
    let (own, secret) = method.respond(ctx.random, public).map_err(|_| notify_type::INVALID_SYNTAX)?;
    promise.secrets.push(secret);
    let mut payloads = vec![Payload::KeyExchange(group.number(), own)];
    if promise.remaining.is_empty() {
        let Some(promise) = sa.promise.take() else { return Err(notify_type::STATE_NOT_FOUND) };
        match promise.what {
            Promised::Child(child) => child.keep(sa, ctx, &promise.secrets)?,
            Promised::Ike(ike) => ike.keep(sa, ctx, &promise.secrets)?,
        }
    } else {
        let link = new_link(ctx);
        promise.link.clone_from(&link);
        payloads.push(Payload::notify(notify_type::ADDITIONAL_KEY_EXCHANGE, link));
    }
    Ok(payloads)
}

fn new_link(ctx: &mut Ctx<'_>) -> Vec<u8> {
    let mut link = vec![0; LINK_LEN];
    ctx.random.fill(&mut link);
    link
}
