//! IKE_AUTH in both roles: proof of identity by pre-shared key, and the first child (RFC 7296 §1.2, §2.15).

use std::net::SocketAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::action::{FailReason, LogLevel};
use crate::command::ChildRequest;
use crate::config::{Authentication, ChildTag, Connection};
use crate::endpoint::Effect;
use crate::identity::{Identity, IdentityMatch};
use crate::keys::{IkeKeys, KeyInputs, prf};
use crate::message::{Exchange, Header, ParseError, Payload, notify_type, parse};
use crate::negotiate::{ChildGroups, accept_ike, ike_answer};
use crate::provider::{PrivateKey, Provider};
use crate::sa::frame::Framer;
use crate::sa::{IkeSa, Phase, RequestSchedule};
use crate::secret::Secret;
use crate::suite::IkeSuite;
use crate::time::Time;

use super::child::{self, Attempt, Material, Refusal};
use super::intermediate::Progress;
use super::parts::{Parts, fail_reason};
use super::ppk::{self, Way};
use super::{Ctx, Task, init, mobike, redirect};

/// Shared Key Message Integrity Code, RFC 7296 §3.8.
const SHARED_KEY: u8 = 2;
/// Connections of one peer whose keys are tried; a bound on work for an unauthenticated message.
const MAX_CANDIDATES: usize = 8;

/// What IKE_SA_INIT leaves behind for IKE_AUTH.
pub(crate) struct Init {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) nonce_i: Vec<u8>,
    pub(crate) nonce_r: Vec<u8>,
    /// The responder takes an IKE_AUTH without a child (RFC 6023).
    pub(crate) childless_supported: bool,
    /// IntAuth (RFC 9242 §3.3.2), the last part of the signed octets; empty without IKE_INTERMEDIATE.
    pub(crate) int_auth: Vec<u8>,
    /// Both ends said USE_PPK (RFC 8784).
    pub(crate) ppk: bool,
}

/// What an initiator holds until the answer to IKE_AUTH.
pub(crate) struct AuthState {
    init: Init,
    attempt: Option<Attempt>,
    /// We have mixed our PPK in; the keys without it.
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

/// What a responder holds until IKE_AUTH comes.
pub(crate) struct HalfOpen {
    pub(crate) init: Init,
    /// Where IKE_SA_INIT came from, and its SHA-1: to know a repetition of it.
    pub(crate) origin: SocketAddr,
    pub(crate) digest: [u8; 20],
    pub(crate) suite: IkeSuite,
    pub(crate) private: Box<dyn PrivateKey>,
    pub(crate) peer_public: Vec<u8>,
    /// Additional key exchanges, and the keys that hold once the present one is answered.
    pub(crate) progress: Progress,
    pub(crate) next_keys: Option<IkeKeys>,
    pub(crate) fragment_size: Option<usize>,
    pub(crate) expires_at: Time,
}

// The initiator.

/// Sends IKE_AUTH. The IKE SA has its keys.
pub(crate) fn begin(sa: &mut IkeSa, ctx: &mut Ctx<'_>, init: Init, child: Option<ChildRequest>) {
    let own = sa.connection.local_identity.clone().unwrap_or(Identity::Address(sa.local.ip()));
    sa.local_identity = Some(own.clone());
    let mut payloads = vec![Payload::IdI(own.clone())];
    // §2.4: only if we have no other IKE SA with this peer.
    if sa.connection.initial_contact && !ctx.established.contains_key(&sa.connection.id) {
        payloads.push(Payload::notify(notify_type::INITIAL_CONTACT, vec![]));
    }
    // §3.5: IDr tells the responder whom we want to talk to, if that is one certain name.
    if let [IdentityMatch::Exact(wanted)] = &sa.connection.remote_identities[..] {
        payloads.push(Payload::IdR(wanted.clone()));
    }
    let (ppk_notifies, without_ppk) = mix_ppk(sa, ctx.provider(), &init, &own);
    let Some(proof) = prove(sa, ctx.provider(), &init, &own, true) else {
        sa.phase = Phase::Auth(Box::new(AuthState::new(init, None)));
        return sa.fail_initiation(ctx, FailReason::LocalResources, true);
    };
    payloads.push(Payload::Auth(SHARED_KEY, proof.expose().to_vec()));

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

/// Mixes our PPK in, if both ends have one (RFC 8784 §3): the notifies that say so, and the keys without it, which the responder may fall
/// back to unless we insist.
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
        let proof = prove(sa, provider, init, own, true);
        notifies
            .extend(proof.map(|proof| Payload::notify(notify_type::NO_PPK_AUTH, proof.expose().to_vec())));
    }
    let mixed = ppk::mix(sa, provider, ppk);
    (notifies, mixed.and_then(|keys| ppk::exchange(sa, keys)))
}

/// RFC 8784 §3: without PPK_IDENTITY in its answer the responder has not used the PPK. False if we insist on it.
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

/// An IKE_AUTH answer without encryption: anybody could have sent it.
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
    let (Some(identity), Some((method, proof))) = (&parts.id_r, &parts.auth) else {
        // §2.21.2: without AUTH the whole IKE SA has failed.
        let reason = parts.error().map_or(FailReason::Syntax, |error| fail_reason(error.kind));
        return sa.fail_initiation(ctx, reason, true);
    };
    if !accepts(&sa.connection, identity, sa) {
        sa.log(ctx, LogLevel::Warning, format!("the peer says that it is {identity}"));
        return refuse_peer(sa, ctx, FailReason::WrongIdentity, notify_type::AUTHENTICATION_FAILED);
    }
    if !settle_ppk(sa, &parts) {
        return refuse_peer(sa, ctx, FailReason::Ppk, notify_type::AUTHENTICATION_FAILED);
    }
    let Phase::Auth(state) = &sa.phase else { return };
    if *method != SHARED_KEY
        || !verify(sa, ctx.provider(), &sa.connection, &state.init, identity, false, proof)
    {
        ctx.counters.authentication_failed += 1;
        return refuse_peer(sa, ctx, FailReason::AuthFailed, notify_type::AUTHENTICATION_FAILED);
    }
    let tag = state.tag();
    if redirect::in_auth(sa, ctx, &parts, tag) {
        return;
    }
    let Phase::Auth(state) = std::mem::replace(&mut sa.phase, Phase::Dead) else { return };
    sa.remote_identity = Some(identity.clone());
    sa.established(ctx);
    ctx.effects.push(Effect::Established(sa.id));
    if let Some(attempt) = state.attempt {
        first_child_answered(sa, ctx, &state.init, attempt, &parts);
    }
}

fn first_child_answered(sa: &mut IkeSa, ctx: &mut Ctx<'_>, init: &Init, attempt: Attempt, parts: &Parts) {
    if let Some(error) = parts.error() {
        // §1.2: the IKE SA is up all the same.
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

/// §2.21.2: an initiator that does not accept the responder says so in an INFORMATIONAL exchange of its own. The initiation
/// has failed for the caller at once.
fn refuse_peer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, reason: FailReason, notify: u16) {
    sa.fail_initiation(ctx, reason, true);
    sa.phase = Phase::Closing;
    sa.enqueue(Task::Complain { notify }, ctx.now);
}

// The responder.

/// Computes the keys of a half-open IKE SA when IKE_AUTH comes: not before, since a peer with a false address gets no farther
/// than IKE_SA_INIT. False if the peer's public value is unusable.
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
    let (Some(identity), Some((method, proof))) = (&parts.id_i, &parts.auth) else {
        // Without AUTH the peer wants EAP, which nothing here is configured for (§2.16).
        return fail(sa, ctx, notify_type::AUTHENTICATION_FAILED);
    };
    let Phase::HalfOpen(state) = &sa.phase else { return vec![] };
    let candidates = candidates(sa, ctx, &state.suite, identity, parts.id_r.as_ref());
    let mut proved = None;
    for connection in candidates {
        if *method == SHARED_KEY && verify_with_ppk(sa, ctx.provider(), &connection, &parts, identity, proof)
        {
            proved = Some(connection);
            break;
        }
    }
    let Some(connection) = proved else {
        ctx.counters.authentication_failed += 1;
        sa.log(ctx, LogLevel::Warning, format!("could not authenticate {identity}"));
        return fail(sa, ctx, notify_type::AUTHENTICATION_FAILED);
    };
    let asked_for = parts.id_r.clone().filter(|_| connection.local_identity.is_none());
    let own = connection.local_identity.clone().or(asked_for.filter(|identity| is_address_of(identity, sa)));
    let own = own.unwrap_or(Identity::Address(sa.local.ip()));

    let Phase::HalfOpen(state) = std::mem::replace(&mut sa.phase, Phase::Dead) else { return vec![] };
    sa.connection = connection;
    sa.remote_identity = Some(identity.clone());
    sa.local_identity = Some(own.clone());
    let Some(proof) = prove(sa, ctx.provider(), &state.init, &own, false) else {
        return fail(sa, ctx, notify_type::AUTHENTICATION_FAILED);
    };
    sa.established(ctx);
    if parts.has(notify_type::INITIAL_CONTACT) {
        ctx.effects.push(Effect::InitialContact(sa.id));
    }
    ctx.effects.push(Effect::Established(sa.id));

    let mut payloads = vec![Payload::IdR(own), Payload::Auth(SHARED_KEY, proof.expose().to_vec())];
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

/// The IKE SA comes to nothing; it lingers to repeat this answer (§2.21.2).
fn fail(sa: &mut IkeSa, ctx: &mut Ctx<'_>, notify: u16) -> Vec<Payload> {
    sa.linger(ctx.now);
    vec![Payload::notify(notify, vec![])]
}

/// The connections that this peer may be speaking of: both addresses and its identity fit, and the suite agreed in
/// IKE_SA_INIT is one of theirs. Those whose own identity is the one that the peer asked for come first.
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
        .values()
        .filter(|connection| fits_addresses(connection, sa))
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

pub(crate) fn fits_addresses(connection: &Connection, sa: &IkeSa) -> bool {
    connection.local_address.is_none_or(|address| address == sa.local.ip())
        && connection.remote_addresses.iter().any(|wanted| wanted.accepts(sa.remote.ip()))
}

/// Is `identity` one that the connection wants of its peer? Where nothing is configured: the address that it comes from.
fn accepts(connection: &Connection, identity: &Identity, sa: &IkeSa) -> bool {
    if connection.remote_identities.is_empty() {
        return identity.same_as(&Identity::Address(sa.remote.ip()));
    }
    connection.remote_identities.iter().any(|wanted| wanted.accepts(identity))
}

fn is_address_of(identity: &Identity, sa: &IkeSa) -> bool {
    identity.same_as(&Identity::Address(sa.local.ip()))
}

/// Verifies an initiator's proof as the PPKs of both ends demand (RFC 8784 §3). With success the keys of `sa` have the PPK in them.
fn verify_with_ppk(
    sa: &mut IkeSa,
    provider: &'static Provider,
    connection: &Connection,
    parts: &Parts,
    identity: &Identity,
    proof: &[u8],
) -> bool {
    let Phase::HalfOpen(state) = &sa.phase else { return false };
    let (proof, ppk) = match ppk::way(connection, state.init.ppk, parts) {
        Way::Plain => (proof, None),
        Way::Mixed(ppk) => (proof, Some(ppk)),
        Way::Without(proof) => (proof, None),
        Way::Refused => return false,
    };
    let mixed = ppk.map(|ppk| ppk::mix(sa, provider, ppk));
    let before = match mixed {
        Some(Some(keys)) => ppk::exchange(sa, keys),
        Some(None) => return false,
        None => None,
    };
    let Phase::HalfOpen(state) = &sa.phase else { return false };
    let proved = verify(sa, provider, connection, &state.init, identity, true, proof);
    if let Some(keys) = before.filter(|_| !proved) {
        ppk::exchange(sa, keys);
    }
    proved
}

// The proof (§2.15).

fn prove(sa: &IkeSa, provider: &Provider, init: &Init, own: &Identity, by_initiator: bool) -> Option<Secret> {
    let Authentication::Psk { local, .. } = &sa.connection.authentication;
    psk_auth(sa, provider, local, init, own, by_initiator)
}

fn verify(
    sa: &IkeSa,
    provider: &Provider,
    connection: &Connection,
    init: &Init,
    peer: &Identity,
    by_initiator: bool,
    proof: &[u8],
) -> bool {
    let Authentication::Psk { remote, .. } = &connection.authentication;
    psk_auth(sa, provider, remote, init, peer, by_initiator)
        .is_some_and(|expected| bool::from(expected.expose().ct_eq(proof)))
}

/// AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), RealMessage | Nonce of the other | prf(SK_p, RestOfIDPayload)
/// | IntAuth) (§2.15, RFC 9242 §3.3.2).
fn psk_auth(
    sa: &IkeSa,
    provider: &Provider,
    psk: &Secret,
    init: &Init,
    identity: &Identity,
    by_initiator: bool,
) -> Option<Secret> {
    let framer = sa.framer.as_ref()?;
    let (message, nonce, p) = if by_initiator {
        (&init.request, &init.nonce_r, &framer.keys.p_initiator)
    } else {
        (&init.response, &init.nonce_i, &framer.keys.p_responder)
    };
    let id_body = Payload::IdI(identity.clone()).body();
    let maced_id = prf(provider, framer.suite.prf, p, &[&id_body]).ok()?;
    let key = prf(provider, framer.suite.prf, psk, &[b"Key Pad for IKEv2"]).ok()?;
    prf(provider, framer.suite.prf, &key, &[message, nonce, maced_id.expose(), &init.int_auth]).ok()
}
