//! CREATE_CHILD_SA for a new IKE SA in place of this one (RFC 7296 §1.3.2, §2.18).

use std::time::Duration;

use crate::action::{FailReason, IkeId, LogLevel};
use crate::algorithm::Group;
use crate::collision::{self, Verdict};
use crate::endpoint::Effect;
use crate::keys::{IkeKeys, KeyInputs};
use crate::message::{Exchange, ParseError, Payload, notify_type, protocol};
use crate::negotiate::{accept_ike, choose_ike, first_group, ike_answer, ike_offer, offers_group};
use crate::provider::PrivateKey;
use crate::sa::frame::Framer;
use crate::sa::{IkeSa, Phase};
use crate::secret::Secret;
use crate::suite::IkeSuite;

use super::followup::{self, Followup};
use super::parts::{Parts, fail_reason};
use super::{Ctx, Queued, Task};

/// Pause after a refusal, times the number of tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Tries before the IKE SA is left to its hard limit.
const MAX_TRIES: u32 = 6;
/// How long the surplus IKE SA of a simultaneous rekey waits for the peer to delete it.
const ORPHAN_LIFE: Duration = Duration::from_secs(60);

/// A rekeying of the IKE SA that we begin.
pub(crate) struct RekeyIke {
    group: Option<Group>,
    tries: u32,
    open: Option<Open>,
    /// Additional key exchanges (RFC 9370) that follow CREATE_CHILD_SA.
    followup: Option<Box<Followup>>,
    /// The peer rekeyed the IKE SA while our request was in flight.
    pub(crate) peer_rekey: Option<PeerRekey>,
}

/// State of the request in flight.
struct Open {
    spi: u64,
    nonce: Vec<u8>,
    group: Group,
    private: Box<dyn PrivateKey>,
}

/// The peer's rekeying in a simultaneous rekey of the IKE SA.
pub(crate) struct PeerRekey {
    /// The IKE SA that it created; `None` while additional key exchanges are still to follow.
    pub(crate) ike: Option<IkeId>,
    nonces: (Vec<u8>, Vec<u8>),
}

impl RekeyIke {
    pub(crate) fn new() -> Self {
        RekeyIke { group: None, tries: 0, open: None, followup: None, peer_rekey: None }
    }

    pub(super) fn exchange(&self) -> Exchange {
        if self.followup.is_some() { Exchange::IkeFollowupKe } else { Exchange::CreateChildSa }
    }

    pub(super) fn request(&mut self, sa: &mut IkeSa, ctx: &mut Ctx<'_>) -> Option<Vec<Payload>> {
        if let Some(followup) = &mut self.followup {
            return followup.request(ctx);
        }
        sa.refresh_connection(ctx);
        let proposals = &sa.connection.ike_proposals;
        let agreed = sa.framer.as_ref().map(|framer| framer.suite.group);
        let known = self.group.or(agreed).filter(|&group| offers_group(proposals, ctx.provider(), group));
        let group = known.or_else(|| first_group(proposals, ctx.provider()))?;
        let (private, public) = ctx.provider().group(group)?.generate(ctx.random).ok()?;
        let (spi, nonce) = (ctx.ike_spi(), ctx.nonce());
        // §1.3.2: no traffic selectors, and the new SPI in the proposal.
        let payloads = vec![
            Payload::Sa(ike_offer(proposals, ctx.provider(), &spi.to_be_bytes())),
            Payload::Nonce(nonce.clone()),
            Payload::KeyExchange(group.number(), public),
        ];
        self.open = Some(Open { spi, nonce, group, private });
        Some(payloads)
    }

    pub(super) fn finish(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        ctx: &mut Ctx<'_>,
        answer: Result<Vec<Payload>, ParseError>,
    ) {
        let Some(open) = self.open.take() else { return };
        let Some(parts) = answer.ok().and_then(Parts::of) else {
            return self.again(sa, ctx, FailReason::Syntax);
        };
        if let Some(error) = parts.error() {
            let (kind, data) = (error.kind, error.data.clone());
            self.followup = None;
            return self.refused(sa, ctx, kind, &data);
        }
        let more = match &mut self.followup {
            Some(followup) => followup.answered(&parts).map(|last| !last),
            None => self.begin_followup(sa, ctx, parts),
        };
        let made = match more {
            // The IKE SA is being closed, and the peer has created nothing yet.
            Ok(true) if !sa.is_established() => return,
            Ok(true) => return self.go_on(sa, ctx, open),
            Ok(false) => self.accept(sa, ctx, &open),
            Err(reason) => Err(reason),
        };
        match made {
            Ok((new, _)) if !sa.is_established() => close_unwanted(ctx, new),
            Ok((new, nonce_r)) => self.decide(sa, ctx, new, (&open.nonce, &nonce_r)),
            Err(reason) => self.again(sa, ctx, reason),
        }
    }

    /// Processes the answer to CREATE_CHILD_SA; true if additional key exchanges follow.
    fn begin_followup(&mut self, sa: &IkeSa, ctx: &Ctx<'_>, parts: Parts) -> Result<bool, FailReason> {
        let answer = parts.sa.as_deref().ok_or(FailReason::Syntax)?;
        let (suite, _) =
            accept_ike(&sa.connection.ike_proposals, ctx.provider(), answer).ok_or(FailReason::NoProposal)?;
        self.followup = Some(Box::new(Followup::new(parts, &suite.additional)?));
        Ok(!suite.additional.is_empty())
    }

    /// Continues with the next additional key exchange, unless the peer's rekeying is the one that
    /// stays: the initiator of the exchange with the lowest nonce stops, as there is nothing to
    /// delete yet (RFC 9370 §2.2.4).
    fn go_on(mut self: Box<Self>, sa: &mut IkeSa, ctx: &mut Ctx<'_>, open: Open) {
        let nonce_r = self.followup.as_ref().and_then(|followup| followup.first.nonce.as_deref());
        if let (Some(peer), Some(nonce_r)) = (&self.peer_rekey, nonce_r)
            && collision::ours_is_surplus((&open.nonce, nonce_r), (&peer.nonces.0, &peer.nonces.1))
        {
            return give_way(sa, ctx, peer.ike);
        }
        self.open = Some(open);
        sa.queue.push_front(Queued { task: Task::RekeyIke(self), not_before: ctx.now });
    }

    /// Our new IKE SA is complete. If the peer created one too, the nonces decide (§2.8.1).
    fn decide(&self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, mut new: Box<IkeSa>, nonces: (&[u8], &[u8])) {
        if let Some(peer) = &self.peer_rekey {
            let theirs = (peer.nonces.0.as_slice(), peer.nonces.1.as_slice());
            if collision::ours_is_surplus(nonces, theirs) {
                // The peer's stays. We close the one that we created; the peer deletes the old one.
                close_unwanted(ctx, new);
                return give_way(sa, ctx, peer.ike);
            }
        }
        let old = sa.id;
        let was_up = std::mem::take(&mut sa.reported_up);
        let estate = sa.hand_over(ctx);
        new.inherit(ctx, old, estate, was_up);
        sa.log(ctx, LogLevel::Info, "IKE SA rekeyed");
        ctx.effects.push(Effect::Adopt(new));
        // §2.8: the initiator of the rekeying deletes the old one.
        sa.phase = Phase::Replaced;
        (sa.rekey_at, sa.keepalive_at) = (None, None);
        sa.enqueue(Task::DeleteIke, ctx.now);
    }

    /// All exchanges are done: the new IKE SA, and the peer's nonce.
    fn accept(
        &self,
        sa: &IkeSa,
        ctx: &mut Ctx<'_>,
        open: &Open,
    ) -> Result<(Box<IkeSa>, Vec<u8>), FailReason> {
        let followup = self.followup.as_ref().ok_or(FailReason::Syntax)?;
        let parts = &followup.first;
        let answer = parts.sa.as_deref().ok_or(FailReason::Syntax)?;
        let (suite, spi) =
            accept_ike(&sa.connection.ike_proposals, ctx.provider(), answer).ok_or(FailReason::NoProposal)?;
        let spi_r = spi.as_slice().try_into().ok().map(u64::from_be_bytes).filter(|&spi| spi != 0);
        let spi_r = spi_r.ok_or(FailReason::Syntax)?;
        let nonce_r = parts.nonce.clone().ok_or(FailReason::Syntax)?;
        let (number, public) = parts.ke.as_ref().ok_or(FailReason::Syntax)?;
        if *number != open.group.number() || suite.group != open.group {
            return Err(FailReason::NoGroup);
        }
        let shared = open.private.agree(public).map_err(|_| FailReason::Syntax)?;
        let inputs = KeyInputs {
            nonce_i: &open.nonce,
            nonce_r: &nonce_r,
            spi_i: open.spi,
            spi_r,
            shared: &shared,
            additional: &followup.secrets,
        };
        let new = successor(sa, ctx, suite, &inputs, true).ok_or(FailReason::NoProposal)?;
        Ok((new, nonce_r))
    }

    fn refused(mut self: Box<Self>, sa: &mut IkeSa, ctx: &mut Ctx<'_>, notify: u16, data: &[u8]) {
        if let Some(peer) = &self.peer_rekey {
            // The peer saw no collision, as its own rekeying was complete when ours arrived: its
            // IKE SA is the successor.
            return give_way(sa, ctx, peer.ike);
        }
        if notify == notify_type::INVALID_KE_PAYLOAD {
            let number = data.first_chunk::<2>().map(|number| u16::from_be_bytes(*number));
            let wanted = number.and_then(Group::from_number);
            self.tries += 1;
            if wanted.is_some() && wanted != self.group && self.tries < MAX_TRIES {
                self.group = wanted;
                return sa.enqueue(Task::RekeyIke(self), ctx.now);
            }
        }
        self.again(sa, ctx, fail_reason(notify));
    }

    /// Tries again later; in the end the hard limit of the IKE SA decides.
    fn again(mut self: Box<Self>, sa: &mut IkeSa, ctx: &mut Ctx<'_>, reason: FailReason) {
        if !sa.is_established() {
            return;
        }
        if let Some(peer) = &self.peer_rekey {
            return give_way(sa, ctx, peer.ike);
        }
        self.followup = None;
        self.tries += 1;
        sa.log(ctx, LogLevel::Warning, format!("rekeying the IKE SA failed: {reason}"));
        if self.tries < MAX_TRIES {
            let at = ctx.now + PAUSE * self.tries;
            sa.enqueue(Task::RekeyIke(self), at);
        }
    }
}

/// The peer has created it, so it needs a Delete: the IKE SA that was rekeyed is being closed, or
/// the peer's own successor stays.
fn close_unwanted(ctx: &mut Ctx<'_>, mut new: Box<IkeSa>) {
    new.phase = Phase::Closing;
    new.enqueue(Task::DeleteIke, ctx.now);
    ctx.effects.push(Effect::Adopt(new));
}

/// Drops our rekeying: the peer's IKE SA is the successor, or becomes it when the additional key
/// exchanges are done.
fn give_way(sa: &mut IkeSa, ctx: &mut Ctx<'_>, successor: Option<IkeId>) {
    sa.log(ctx, LogLevel::Info, "crossing rekeyings: the peer's IKE SA stays");
    if let Some(successor) = successor {
        leave_to(sa, ctx, successor);
    }
}

/// The peer's new IKE SA inherits everything; the peer will delete this one.
///
/// Our own request may still be in flight on this one: the IKE SA that it creates is then closed.
pub(crate) fn leave_to(sa: &mut IkeSa, ctx: &mut Ctx<'_>, successor: IkeId) {
    let was_up = std::mem::take(&mut sa.reported_up);
    let estate = sa.hand_over(ctx);
    ctx.effects.push(Effect::Inherit { old: sa.id, new: successor, estate, was_up });
    await_delete(sa, ctx);
}

/// The IKE SA that the peer made while our own rekeying of `sa` is in flight.
pub(crate) fn crossing_successor(sa: &IkeSa) -> Option<IkeId> {
    match &sa.active {
        Some(Task::RekeyIke(task)) if sa.is_established() => {
            task.peer_rekey.as_ref().and_then(|peer| peer.ike)
        }
        _ => None,
    }
}

/// The IKE SA that the peer created during our own rekeying is gone: our own is the only successor.
pub(crate) fn forget_successor(sa: &mut IkeSa) {
    if let Some(Task::RekeyIke(task)) = &mut sa.active {
        task.peer_rekey = None;
    }
}

/// The old IKE SA waits for the peer's Delete; if it does not arrive in time, we send one.
fn await_delete(sa: &mut IkeSa, ctx: &Ctx<'_>) {
    sa.phase = Phase::Replaced;
    (sa.rekey_at, sa.keepalive_at) = (None, None);
    sa.hard_at = Some(ctx.now + ORPHAN_LIFE);
}

/// The new IKE SA: same connection, peers and path; fresh keys, SPIs and message IDs (§2.18).
fn successor(
    sa: &IkeSa,
    ctx: &mut Ctx<'_>,
    suite: IkeSuite,
    inputs: &KeyInputs<'_>,
    initiator: bool,
) -> Option<Box<IkeSa>> {
    let old = sa.framer.as_ref()?;
    let keys = IkeKeys::rekeyed(ctx.provider(), &suite, old.suite.prf, &old.keys.d, inputs).ok()?;
    let (spi_i, spi_r) = (inputs.spi_i, inputs.spi_r);
    let (local_spi, remote_spi) = if initiator { (spi_i, spi_r) } else { (spi_r, spi_i) };
    let connection = sa.connection.clone();
    let (id, path) = (ctx.names.ike(), (sa.local, sa.remote));
    let mut new =
        Box::new(IkeSa::new(id, connection, initiator, local_spi, path, Phase::Established, ctx.now));
    let mut framer = Framer::new(initiator, spi_i, spi_r, suite, keys);
    framer.fragment_size = old.fragment_size;
    new.framer = Some(framer);
    new.remote_spi = remote_spi;
    new.nat = sa.nat;
    new.mobike = sa.mobike;
    new.redirects = sa.redirects.clone();
    new.local_identity.clone_from(&sa.local_identity);
    (new.local_method, new.remote_method) = (sa.local_method, sa.remote_method);
    new.remote_identity.clone_from(&sa.remote_identity);
    new.established_at = Some(ctx.now);
    new.low_nonce = inputs.nonce_i.min(inputs.nonce_r).to_vec();
    new.origin = Some(Box::new(sa.origin()));
    new.start_timers(ctx);
    Some(new)
}

/// Does this CREATE_CHILD_SA rekey the IKE SA? Its proposals are then for IKE.
pub(crate) fn is_rekey_request(payloads: &[Payload]) -> bool {
    payloads.iter().any(|payload| match payload {
        Payload::Sa(proposals) => proposals.iter().any(|proposal| proposal.protocol == protocol::IKE),
        _ => false,
    })
}

/// Handles the peer's rekeying of the IKE SA.
pub(crate) fn answer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, payloads: Vec<Payload>) -> Vec<Payload> {
    let refuse = |notify: u16, data: Vec<u8>| vec![Payload::notify(notify, data)];
    if collision::rekey_ike(sa) != Verdict::Proceed {
        return refuse(notify_type::TEMPORARY_FAILURE, vec![]);
    }
    let Some(parts) = Parts::of(payloads) else { return refuse(notify_type::INVALID_SYNTAX, vec![]) };
    let (Some(offered), Some(nonce_i), Some((number, public))) = (&parts.sa, &parts.nonce, &parts.ke) else {
        return refuse(notify_type::INVALID_SYNTAX, vec![]);
    };
    sa.refresh_connection(ctx);
    let choice =
        choose_ike(&sa.connection.ike_proposals, ctx.provider(), offered, Group::from_number(*number), true);
    let Some((suite, proposal, spi)) = choice else { return refuse(notify_type::NO_PROPOSAL_CHOSEN, vec![]) };
    let Some(spi_i) = spi.as_slice().try_into().ok().map(u64::from_be_bytes).filter(|&spi| spi != 0) else {
        return refuse(notify_type::INVALID_SYNTAX, vec![]);
    };
    if suite.group.number() != *number {
        return refuse(notify_type::INVALID_KE_PAYLOAD, suite.group.number().to_be_bytes().to_vec());
    }
    let generated = ctx.provider().group(suite.group).and_then(|method| method.generate(ctx.random).ok());
    let Some((private, own_public)) = generated else {
        return refuse(notify_type::NO_PROPOSAL_CHOSEN, vec![]);
    };
    let Ok(shared) = private.agree(public) else { return refuse(notify_type::INVALID_SYNTAX, vec![]) };
    let (spi_r, nonce_r) = (ctx.ike_spi(), ctx.nonce());
    let mut answer = vec![
        Payload::Sa(vec![ike_answer(&suite, proposal, &spi_r.to_be_bytes())]),
        Payload::Nonce(nonce_r.clone()),
        Payload::KeyExchange(suite.group.number(), own_public),
    ];
    let ike = PromisedIke { suite, spis: (spi_i, spi_r), nonces: (nonce_i.clone(), nonce_r), shared };
    if suite.additional.is_empty() {
        if let Err(notify) = ike.keep(sa, ctx, &[]) {
            return refuse(notify, vec![]);
        }
    } else {
        if let Some(Task::RekeyIke(task)) = &mut sa.active {
            task.peer_rekey = Some(PeerRekey { ike: None, nonces: ike.nonces.clone() });
        }
        answer.push(followup::promise(sa, ctx, &suite.additional, followup::Promised::Ike(Box::new(ike))));
    }
    answer
}

/// An IKE SA of the peer's CREATE_CHILD_SA request whose additional key exchanges are still
/// outstanding.
pub(crate) struct PromisedIke {
    suite: IkeSuite,
    /// (initiator's, responder's).
    spis: (u64, u64),
    nonces: (Vec<u8>, Vec<u8>),
    shared: Secret,
}

impl PromisedIke {
    /// The last exchange is done: the new IKE SA takes over, or waits for the decision of a
    /// simultaneous rekey.
    pub(crate) fn keep(self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, additional: &[Secret]) -> Result<(), u16> {
        let PromisedIke { suite, spis: (spi_i, spi_r), nonces, shared } = self;
        if ctx.taken.contains_key(&spi_r) {
            return Err(notify_type::STATE_NOT_FOUND);
        }
        let (nonce_i, nonce_r) = (&nonces.0, &nonces.1);
        let inputs = KeyInputs { nonce_i, nonce_r, spi_i, spi_r, shared: &shared, additional };
        let new = successor(sa, ctx, suite, &inputs, false).ok_or(notify_type::NO_PROPOSAL_CHOSEN);
        let mut new = new?;
        if let Some(Task::RekeyIke(task)) = &mut sa.active {
            // The answer to our own request decides which IKE SA inherits the children.
            new.orphan_until = Some(ctx.now + ORPHAN_LIFE);
            // Until then the peer may have closed it, so it is not rekeyed.
            new.rekey_at = None;
            task.peer_rekey = Some(PeerRekey { ike: Some(new.id), nonces });
        } else {
            let was_up = std::mem::take(&mut sa.reported_up);
            let estate = sa.hand_over(ctx);
            new.inherit(ctx, sa.id, estate, was_up);
            await_delete(sa, ctx);
            sa.log(ctx, LogLevel::Info, "IKE SA rekeyed by the peer");
        }
        ctx.effects.push(Effect::Adopt(new));
        Ok(())
    }
}
