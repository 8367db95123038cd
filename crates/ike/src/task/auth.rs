//! IKE_AUTH in both roles: authentication and the first child (RFC 7296 §1.2). AUTH is computed and
//! verified in `proof`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{FailReason, LogLevel};
use crate::command::ChildRequest;
use crate::config::{ChildTag, Connection};
use crate::endpoint::Effect;
use crate::identity::{Identity, IdentityMatch};
use crate::keys::{IkeKeys, KeyInputs};
use crate::message::{Exchange, Header, ParseError, Payload, notify_type, parse};
use crate::negotiate::{ChildGroups, accept_ike, ike_answer};
use crate::provider::{PrivateKey, Provider};
use crate::sa::frame::Framer;
use crate::sa::{IkeSa, Phase, RequestSchedule};
use crate::suite::IkeSuite;
use crate::time::Time;

use super::child::{self, Attempt, Material, Refusal};
use super::intermediate::Progress;
use super::parts::{Parts, fail_reason};
use super::ppk::{self, Way};
use super::proof::{self, Claim, Disproof, Proved};
use super::{Ctx, Task, init, mobike, redirect};

/// Connections of one peer whose keys are tried; a bound on work for an unauthenticated message.
const MAX_CANDIDATES: usize = 8;

/// The state that IKE_SA_INIT leaves for IKE_AUTH.
pub(crate) struct Init {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) nonce_i: Vec<u8>,
    pub(crate) nonce_r: Vec<u8>,
    /// The responder accepts an IKE_AUTH without a child (RFC 6023).
    pub(crate) childless_supported: bool,
    /// IntAuth (RFC 9242 §3.3.2), the last part of the signed octets; empty without
    /// IKE_INTERMEDIATE.
    pub(crate) int_auth: Vec<u8>,
    /// Both ends sent USE_PPK (RFC 8784).
    pub(crate) ppk: bool,
    /// The peer's SIGNATURE_HASH_ALGORITHMS; `None`: it does not support RFC 7427.
    pub(crate) signature_hashes: Option<Vec<u16>>,
    /// The CAs that the responder named in its CERTREQ.
    pub(crate) authorities: Option<Vec<[u8; 20]>>,
}

/// State of an initiator until the answer to IKE_AUTH.
pub(crate) struct AuthState {
    init: Init,
    attempt: Option<Attempt>,
    /// Set if our PPK is mixed in: the keys without it.
    without_ppk: Option<IkeKeys>,
    /// The first unauthenticated error that came in.
    pub(crate) hint: Option<FailReason>,
}

impl AuthState {
    fn new(init: Init, attempt: Option<Attempt>) -> Self {
        AuthState { init, attempt, without_ppk: None, hint: None }
    }

    pub(crate) fn tag(&self) -> Option<ChildTag> {
        self.attempt.as_ref().map(|attempt| attempt.tag)
    }

    pub(crate) fn release(&self, ctx: &mut Ctx<'_>) {
        if let Some(attempt) = &self.attempt {
            attempt.release(ctx);
        }
    }
}

/// State of a responder until IKE_AUTH.
pub(crate) struct HalfOpen {
    pub(crate) init: Init,
    /// The source of IKE_SA_INIT and its SHA-1, to recognise a retransmission.
    pub(crate) origin: SocketAddr,
    pub(crate) digest: [u8; 20],
    pub(crate) suite: IkeSuite,
    pub(crate) private: Box<dyn PrivateKey>,
    pub(crate) peer_public: Vec<u8>,
    /// Additional key exchanges, and the keys that apply once the current one is answered.
    pub(crate) progress: Progress,
    pub(crate) next_keys: Option<IkeKeys>,
    pub(crate) fragment_size: Option<usize>,
    pub(crate) expires_at: Time,
}

// The initiator.

/// Sends IKE_AUTH. The IKE SA has its keys.
pub(crate) fn begin(sa: &mut IkeSa, ctx: &mut Ctx<'_>, init: Init, child: Option<ChildRequest>) {
    let connection = sa.connection.clone();
    let credential = proof::credential(&connection.authentication, init.authorities.as_deref());
    let own = connection.local_identity.clone().unwrap_or_else(|| proof::default_identity(sa, credential));
    sa.local_identity = Some(own.clone());
    let (ppk_notifies, without_ppk) = mix_ppk(sa, ctx.provider(), &init, &own);
    let Some(proved) = proof::prove(sa, ctx.provider(), &init, &own, credential, None) else {
        sa.log(
            ctx,
            LogLevel::Warning,
            "there is no key of ours, or none whose signatures the peer can check",
        );
        sa.phase = Phase::Auth(Box::new(AuthState::new(init, None)));
        return sa.fail_initiation(ctx, FailReason::AuthFailed, true);
    };
    sa.local_method = Some(proved.method);
    let mut payloads = vec![Payload::IdI(own)];
    payloads.extend(proved.certificates);
    payloads.extend(proof::certificate_request(std::iter::once(&*connection)));
    // §2.4: only if we have no other IKE SA with this peer.
    if sa.connection.initial_contact && !ctx.established.contains_key(&sa.connection.id) {
        payloads.push(Payload::notify(notify_type::INITIAL_CONTACT, vec![]));
    }
    // §3.5: IDr names the wanted identity, if exactly one is configured.
    if let [IdentityMatch::Exact(wanted)] = &sa.connection.remote_identities[..] {
        payloads.push(Payload::IdR(wanted.clone()));
    }
    payloads.push(proved.auth);

    let mut attempt = None;
    if let Some(request) = child {
        match Attempt::new(ctx, &sa.connection, request.tag, request.trigger, None) {
            Ok(new) => {
                // §1.2: no KE, and so no groups, in IKE_AUTH.
                payloads.extend(new.offer(ctx, false));
                payloads.extend(new.selectors());
                attempt = Some(new);
            }
            Err(reason) => {
                sa.phase = Phase::Auth(Box::new(AuthState::new(init, None)));
                return sa.fail_initiation(ctx, reason, true);
            }
        }
    } else if !init.childless_supported {
        sa.log(ctx, LogLevel::Warning, "the peer does not announce IKE SAs without a child (RFC 6023)");
    }
    payloads.extend(ppk_notifies);
    sa.phase = Phase::Auth(Box::new(AuthState { without_ppk, ..AuthState::new(init, attempt) }));
    let schedule = RequestSchedule::Backoff(sa.connection.initiation);
    sa.send_request(ctx, Exchange::IkeAuth, &payloads, schedule);
}

/// Mixes our PPK in, if both ends have one (RFC 8784 §3): returns the notifies for it and the keys
/// without it, which the responder may fall back to unless we require the PPK.
fn mix_ppk(
    sa: &mut IkeSa,
    provider: &'static Provider,
    init: &Init,
    own: &Identity,
) -> (Vec<Payload>, Option<IkeKeys>) {
    let connection = sa.connection.clone();
    let Some(ppk) = connection.ppk.as_ref().filter(|_| init.ppk) else { return (vec![], None) };
    let mut notifies = vec![ppk::identity(ppk)];
    if !ppk.required {
        let credential = proof::credential(&connection.authentication, init.authorities.as_deref());
        let plain = proof::prove(sa, provider, init, own, credential, None);
        notifies.extend(plain.map(|plain| Payload::notify(notify_type::NO_PPK_AUTH, plain.data())));
    }
    let mixed = ppk::mix(sa, provider, ppk);
    (notifies, mixed.and_then(|keys| ppk::exchange(sa, keys)))
}

/// RFC 8784 §3: without PPK_IDENTITY in its answer the responder has not used the PPK. False if we
/// require it.
fn settle_ppk(sa: &mut IkeSa, parts: &Parts) -> bool {
    let insists = sa.connection.ppk.as_ref().is_some_and(|ppk| ppk.required);
    let Phase::Auth(state) = &mut sa.phase else { return false };
    match (state.without_ppk.take(), parts.has(notify_type::PPK_IDENTITY)) {
        (Some(_), true) => true,
        (Some(keys), false) if !insists => {
            ppk::exchange(sa, keys);
            true
        }
        (None, _) => !insists,
        (Some(_), false) => false,
    }
}

/// An IKE_AUTH answer without encryption: it may be forged.
pub(crate) fn on_unprotected(sa: &mut IkeSa, ctx: &mut Ctx<'_>, header: &Header, datagram: &[u8]) {
    let payloads = parse(header.next_payload, datagram.get(crate::message::HEADER_LEN..).unwrap_or_default());
    match payloads.ok().and_then(Parts::of).as_ref().and_then(Parts::error) {
        Some(error) => init::hint(sa, ctx, fail_reason(error.kind)),
        None => ctx.counters.not_authentic += 1,
    }
}

/// The answer, protected by the new keys.
pub(crate) fn on_response(sa: &mut IkeSa, ctx: &mut Ctx<'_>, answer: Result<Vec<Payload>, ParseError>) {
    let Some(parts) = answer.ok().and_then(Parts::of) else {
        return refuse_peer(sa, ctx, FailReason::Syntax, notify_type::INVALID_SYNTAX);
    };
    let claim = parts.id_r.as_ref().and_then(|identity| proof::claim(&parts, identity, false));
    let Some(claim) = claim else {
        // §2.21.2: without AUTH the whole IKE SA has failed.
        let reason = parts.error().map_or(FailReason::Syntax, |error| fail_reason(error.kind));
        return sa.fail_initiation(ctx, reason, true);
    };
    let identity = claim.identity;
    if !accepts(&sa.connection, identity, sa) {
        sa.log(ctx, LogLevel::Warning, format!("the peer says that it is {identity}"));
        return refuse_peer(sa, ctx, FailReason::WrongIdentity, notify_type::AUTHENTICATION_FAILED);
    }
    if !settle_ppk(sa, &parts) {
        return refuse_peer(sa, ctx, FailReason::Ppk, notify_type::AUTHENTICATION_FAILED);
    }
    let Phase::Auth(state) = &sa.phase else { return };
    let proved = match proof::verify(sa, ctx, &sa.connection, &state.init, &claim) {
        Ok(proved) => proved,
        Err(reason) => {
            ctx.counters.authentication_failed += 1;
            sa.log(ctx, LogLevel::Warning, format!("could not authenticate {identity}: {reason}"));
            return refuse_peer(sa, ctx, FailReason::AuthFailed, notify_type::AUTHENTICATION_FAILED);
        }
    };
    let tag = state.tag();
    if redirect::in_auth(sa, ctx, &parts, tag) {
        return;
    }
    let Phase::Auth(state) = std::mem::replace(&mut sa.phase, Phase::Dead) else { return };
    sa.remote_identity = Some(identity.clone());
    sa.established(ctx, proved);
    ctx.effects.push(Effect::Established(sa.id));
    if let Some(attempt) = state.attempt {
        first_child_answered(sa, ctx, &state.init, attempt, &parts);
    }
}

fn first_child_answered(sa: &mut IkeSa, ctx: &mut Ctx<'_>, init: &Init, attempt: Attempt, parts: &Parts) {
    if let Some(error) = parts.error() {
        // §1.2: the IKE SA is established although the child failed.
        attempt.release(ctx);
        return sa.child_failed(ctx, attempt.tag, None, fail_reason(error.kind));
    }
    let material = Material { nonce_i: &init.nonce_i, nonce_r: &init.nonce_r, shared: None, additional: &[] };
    match attempt.accept(sa, ctx, parts, None, &material, None) {
        Ok(made) => child::install(sa, ctx, made),
        Err(reason) => {
            sa.enqueue(Task::DeleteSpi { spi: attempt.spi }, ctx.now);
            sa.child_failed(ctx, attempt.tag, None, reason);
        }
    }
}

/// §2.21.2: an initiator that does not accept the responder reports that in a separate
/// INFORMATIONAL exchange. The initiation is reported as failed at once.
fn refuse_peer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, reason: FailReason, notify: u16) {
    sa.fail_initiation(ctx, reason, true);
    sa.phase = Phase::Closing;
    sa.enqueue(Task::Complain { notify }, ctx.now);
}

// The responder.

/// Computes the keys of a half-open IKE SA when IKE_AUTH comes: not before, since a peer with a
/// spoofed source address never sends IKE_AUTH. False if the peer's public value is unusable.
pub(crate) fn derive_keys(sa: &mut IkeSa, ctx: &Ctx<'_>) -> bool {
    if sa.framer.is_some() {
        return true;
    }
    let Phase::HalfOpen(state) = &sa.phase else { return false };
    let Ok(shared) = state.private.agree(&state.peer_public) else { return false };
    let inputs = KeyInputs {
        nonce_i: &state.init.nonce_i,
        nonce_r: &state.init.nonce_r,
        spi_i: sa.remote_spi,
        spi_r: sa.local_spi,
        shared: &shared,
        additional: &[],
    };
    let Ok(keys) = IkeKeys::initial(ctx.provider(), &state.suite, &inputs) else { return false };
    let mut framer = Framer::new(false, sa.remote_spi, sa.local_spi, state.suite, keys);
    framer.fragment_size = state.fragment_size;
    sa.framer = Some(framer);
    true
}

/// The peer's IKE_AUTH.
pub(crate) fn answer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, payloads: Vec<Payload>) -> Vec<Payload> {
    let Some(parts) = Parts::of(payloads) else { return fail(sa, ctx, notify_type::INVALID_SYNTAX) };
    let claim = parts.id_i.as_ref().and_then(|identity| proof::claim(&parts, identity, true));
    let Some(claim) = claim else {
        // Without AUTH the peer wants EAP, which is not supported (§2.16).
        return fail(sa, ctx, notify_type::AUTHENTICATION_FAILED);
    };
    let Phase::HalfOpen(state) = &sa.phase else { return vec![] };
    let identity = claim.identity;
    let candidates = candidates(sa, ctx, &state.suite, identity, parts.id_r.as_ref());
    let mut reason: Option<Disproof> = None;
    let mut proved = None;
    for connection in candidates {
        match verify_with_ppk(sa, ctx, &connection, &parts, &claim) {
            Ok(proof) => {
                proved = Some((connection, proof));
                break;
            }
            Err(disproof) => drop(reason.get_or_insert(disproof)),
        }
    }
    let Some((connection, proved)) = proved else {
        ctx.counters.authentication_failed += 1;
        let reason = reason
            .map_or("no connection accepts this identity from here".into(), |reason| reason.to_string());
        sa.log(ctx, LogLevel::Warning, format!("could not authenticate {identity}: {reason}"));
        return fail(sa, ctx, notify_type::AUTHENTICATION_FAILED);
    };
    let credential = proof::credential(&connection.authentication, parts.authorities.as_deref());
    let own = connection.local_identity.clone().unwrap_or_else(|| proof::default_identity(sa, credential));

    let Phase::HalfOpen(state) = std::mem::replace(&mut sa.phase, Phase::Dead) else { return vec![] };
    sa.connection = connection.clone();
    sa.remote_identity = Some(identity.clone());
    sa.local_identity = Some(own.clone());
    let Some(own_proof) = proof::prove(sa, ctx.provider(), &state.init, &own, credential, proved.scheme)
    else {
        sa.log(
            ctx,
            LogLevel::Warning,
            "there is no key of ours, or none whose signatures the peer can check",
        );
        return fail(sa, ctx, notify_type::AUTHENTICATION_FAILED);
    };
    sa.local_method = Some(own_proof.method);
    sa.established(ctx, proved);
    if parts.has(notify_type::INITIAL_CONTACT) {
        ctx.effects.push(Effect::InitialContact(sa.id));
    }
    ctx.effects.push(Effect::Established(sa.id));

    let mut payloads = vec![Payload::IdR(own)];
    payloads.extend(own_proof.certificates);
    payloads.push(own_proof.auth);
    if matches!(ppk::way(&sa.connection, state.init.ppk, &parts), Way::Mixed(_)) {
        payloads.push(Payload::notify(notify_type::PPK_IDENTITY, vec![]));
    }
    // RFC 6023 §3: without an SA payload the peer wants no child.
    if parts.sa.is_some() {
        payloads.extend(first_child(sa, ctx, &state.init, &parts).unwrap_or_else(|refusal| {
            sa.log(ctx, LogLevel::Warning, format!("refused the first child SA: {}", fail_reason(refusal.0)));
            vec![refusal.payload()]
        }));
    }
    payloads.extend(mobike::accept(sa, &parts));
    payloads
}

fn first_child(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    init: &Init,
    parts: &Parts,
) -> Result<Vec<Payload>, Refusal> {
    let choice = child::choose(sa, ctx, parts, ChildGroups::None, None)?;
    let material = Material { nonce_i: &init.nonce_i, nonce_r: &init.nonce_r, shared: None, additional: &[] };
    let (chosen, answer) = child::answer(ctx, choice)?;
    let made = chosen.make(sa, ctx, &material, None)?;
    child::install(sa, ctx, made);
    Ok(answer.before.into_iter().chain(answer.behind).collect())
}

/// Ends the IKE SA; it is kept for a while to repeat this answer (§2.21.2).
fn fail(sa: &mut IkeSa, ctx: &mut Ctx<'_>, notify: u16) -> Vec<Payload> {
    sa.linger(ctx.now);
    vec![Payload::notify(notify, vec![])]
}

/// The connections that match this peer: both addresses and its identity match, and the suite
/// agreed in IKE_SA_INIT is one of theirs. Those whose own identity is the one that the peer asked
/// for come first.
fn candidates(
    sa: &IkeSa,
    ctx: &Ctx<'_>,
    suite: &IkeSuite,
    identity: &Identity,
    asked_for: Option<&Identity>,
) -> Vec<Arc<Connection>> {
    let answer = [ike_answer(suite, 1, &[])];
    let mut fitting: Vec<Arc<Connection>> = ctx
        .connections
        .between(sa.local.ip(), sa.remote.ip())
        .filter(|connection| accepts(connection, identity, sa))
        .filter(|connection| accept_ike(&connection.ike_proposals, ctx.provider(), &answer).is_some())
        .cloned()
        .collect();
    fitting.sort_by_key(|connection| match (&connection.local_identity, asked_for) {
        (Some(own), Some(asked_for)) => !own.same_as(asked_for),
        _ => false,
    });
    fitting.truncate(MAX_CANDIDATES);
    fitting
}

/// Does the connection accept `identity`? Where none is configured, it must be the peer's source
/// address.
fn accepts(connection: &Connection, identity: &Identity, sa: &IkeSa) -> bool {
    if connection.remote_identities.is_empty() {
        return identity.same_as(&Identity::Address(sa.remote.ip()));
    }
    connection.remote_identities.iter().any(|wanted| wanted.accepts(identity))
}

/// Verifies an initiator's AUTH as required by the PPK settings of both ends (RFC 8784 §3). On
/// success the keys of `sa` include the PPK.
fn verify_with_ppk(
    sa: &mut IkeSa,
    ctx: &Ctx<'_>,
    connection: &Connection,
    parts: &Parts,
    claim: &Claim<'_>,
) -> Result<Proved, Disproof> {
    let Phase::HalfOpen(state) = &sa.phase else { return Err(Disproof::Ppk) };
    let (data, ppk) = match ppk::way(connection, state.init.ppk, parts) {
        Way::Plain => (claim.auth.1, None),
        Way::Mixed(ppk) => (claim.auth.1, Some(ppk)),
        Way::Without(data) => (data, None),
        Way::Refused => return Err(Disproof::Ppk),
    };
    let claim = Claim { auth: (claim.auth.0, data), ..*claim };
    let before = match ppk.map(|ppk| ppk::mix(sa, ctx.provider(), ppk)) {
        Some(Some(keys)) => ppk::exchange(sa, keys),
        Some(None) => return Err(Disproof::Ppk),
        None => None,
    };
    let Phase::HalfOpen(state) = &sa.phase else { return Err(Disproof::Ppk) };
    let verdict = proof::verify(sa, ctx, connection, &state.init, &claim);
    if let Some(keys) = before.filter(|_| verdict.is_err()) {
        ppk::exchange(sa, keys);
    }
    verdict
}
