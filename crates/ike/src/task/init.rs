//! IKE_SA_INIT as the initiator (RFC 7296 §1.2). The answer is not authenticated, so an error only
//! shortens the attempt (§2.21.1).

use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{Action, FailReason, LogLevel};
use crate::algorithm::Group;
use crate::command::ChildRequest;
use crate::config::{ChildTag, Connection};
use crate::keys::{IkeKeys, KeyInputs};
use crate::message::{Exchange, Flags, HEADER_LEN, Header, Notify, Payload, encode, notify_type, parse};
use crate::negotiate::{accept_ike, first_group, ike_offer, offers_group};
use crate::provider::PrivateKey;
use crate::sa::frame::Framer;
use crate::sa::window::InFlight;
use crate::sa::{IkeSa, Nat, Phase};

use super::parts::{Parts, fail_reason};
use super::redirect::Redirects;
use super::{Ctx, auth, intermediate, nat, redirect, signature};

/// How often a COOKIE or INVALID_KE_PAYLOAD makes us restart IKE_SA_INIT; bounded because these
/// notifies can be forged.
const MAX_RESTARTS: u32 = 8;

/// State of an initiator until the answer to IKE_SA_INIT.
pub(crate) struct InitState {
    child: Option<ChildRequest>,
    nonce: Vec<u8>,
    group: Group,
    private: Box<dyn PrivateKey>,
    public: Vec<u8>,
    cookie: Option<Vec<u8>>,
    restarts: u32,
    /// The first unauthenticated error that came in.
    hint: Option<FailReason>,
    /// The request as sent last: covered by AUTH (RFC 7296 §2.15).
    request: Vec<u8>,
}

impl InitState {
    pub(crate) fn tag(&self) -> Option<ChildTag> {
        self.child.as_ref().map(|child| child.tag)
    }

    pub(crate) fn hint(&self) -> Option<FailReason> {
        self.hint
    }
}

/// Begins a new IKE SA; `None` if no proposal is left or the backend fails.
pub(crate) fn begin(
    ctx: &mut Ctx<'_>,
    connection: Arc<Connection>,
    child: Option<ChildRequest>,
    path: (SocketAddr, SocketAddr),
    redirects: Redirects,
) -> Option<IkeSa> {
    let group = first_group(&connection.ike_proposals, ctx.provider())?;
    let (private, public) = ctx.provider().group(group)?.generate(ctx.random).ok()?;
    let nonce = ctx.nonce();
    let state = InitState {
        child,
        nonce,
        group,
        private,
        public,
        cookie: None,
        restarts: 0,
        hint: None,
        request: vec![],
    };
    let id = ctx.names.ike();
    let spi = ctx.ike_spi();
    let phase = Phase::Init(Box::new(state));
    let mut sa = IkeSa::new(id, connection, true, spi, path, phase, ctx.now);
    sa.redirects = redirects;
    sa.log(ctx, LogLevel::Info, "initiating an IKE SA");
    send(&mut sa, ctx);
    Some(sa)
}

/// Builds the request again and sends it. The time that the initiation may take counts from the
/// first one.
fn send(sa: &mut IkeSa, ctx: &mut Ctx<'_>) {
    let spis = (sa.local_spi, 0);
    let pretend = sa.connection.force_udp_encapsulation;
    let detection = nat::payloads(ctx.provider(), ctx.random, spis, (sa.local, sa.remote), pretend);
    let offer = ike_offer(&sa.connection.ike_proposals, ctx.provider(), &[]);
    let redirect = redirect::announcement(sa, ctx);
    let retransmission = sa.connection.initiation;
    let Phase::Init(state) = &mut sa.phase else { return };
    // RFC 7296 §2.6: the cookie goes first, and the rest of the message stays as it was.
    let mut payloads: Vec<Payload> =
        state.cookie.iter().map(|cookie| Payload::notify(notify_type::COOKIE, cookie.clone())).collect();
    payloads.push(Payload::Sa(offer));
    payloads.push(Payload::KeyExchange(state.group.number(), state.public.clone()));
    payloads.push(Payload::Nonce(state.nonce.clone()));
    payloads.extend(detection);
    payloads.extend(redirect);
    if sa.connection.ppk.is_some() {
        payloads.push(Payload::notify(notify_type::USE_PPK, vec![]));
    }
    // RFC 9370 §2.2.1: additional exchanges are proposed together with the exchange that carries
    // them.
    if sa.connection.ike_proposals.iter().any(|proposal| !proposal.additional.is_empty()) {
        payloads.push(Payload::notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED, vec![]));
    }
    if sa.connection.authentication.uses_signatures() {
        // RFC 7427 §4.
        payloads.push(Payload::notify(notify_type::SIGNATURE_HASH_ALGORITHMS, signature::announcement()));
    }
    if ctx.config.fragment_size.is_some() {
        payloads.push(Payload::notify(notify_type::IKEV2_FRAGMENTATION_SUPPORTED, vec![]));
    }
    state.request = message(spis, (true, false), &payloads);
    let packets = vec![state.request.clone()];
    sa.transmit(ctx, &packets, sa.remote);
    let deadline = sa.born + retransmission.give_up;
    let mut request = InFlight::backoff(0, Exchange::IkeSaInit, packets, ctx.now, retransmission);
    request.give_up_by(deadline);
    sa.sender.in_flight = Some(request);
}

/// An IKE_SA_INIT message as bytes; `flags`: (initiator, response).
pub(crate) fn message((spi_i, spi_r): (u64, u64), flags: (bool, bool), payloads: &[Payload]) -> Vec<u8> {
    let (first, body) = encode(payloads);
    let header = Header {
        spi_i,
        spi_r,
        next_payload: first,
        major: 2,
        exchange: Exchange::IkeSaInit,
        flags: Flags { initiator: flags.0, response: flags.1 },
        message_id: 0,
    };
    [&header.encode(HEADER_LEN + body.len())[..], &body].concat()
}

/// Handles a message that claims to be the answer.
pub(crate) fn on_response(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    from: SocketAddr,
    header: &Header,
    datagram: &[u8],
) {
    let expected = header.exchange == Exchange::IkeSaInit && header.flags.response && header.message_id == 0;
    if !expected || header.spi_i != sa.local_spi || from.ip() != sa.remote.ip() {
        ctx.counters.out_of_window += 1;
        return;
    }
    let parts =
        parse(header.next_payload, datagram.get(HEADER_LEN..).unwrap_or_default()).ok().and_then(Parts::of);
    let Some(parts) = parts else {
        ctx.counters.malformed += 1;
        return;
    };
    if let Some(cookie) = parts.notify(notify_type::COOKIE) {
        // RFC 7296 §2.6: 1 to 64 octets.
        if (1..=64).contains(&cookie.data.len()) {
            let cookie = cookie.data.clone();
            restart(sa, ctx, |state| state.cookie = Some(cookie));
        }
    } else if let Some(notify) = parts.notify(notify_type::REDIRECT) {
        redirected(sa, ctx, notify);
    } else if let Some(notify) = parts.notify(notify_type::INVALID_KE_PAYLOAD) {
        let number = notify.data.first_chunk::<2>().map(|number| u16::from_be_bytes(*number));
        other_group(sa, ctx, number.and_then(Group::from_number));
    } else if let Some(error) = parts.error() {
        hint(sa, ctx, fail_reason(error.kind));
    } else {
        accept(sa, ctx, from, header, datagram, &parts);
    }
}

/// An unauthenticated error: keep listening for a while, then fail (RFC 7296 §2.21.1).
pub(crate) fn hint(sa: &mut IkeSa, ctx: &mut Ctx<'_>, reason: FailReason) {
    let seen = match &mut sa.phase {
        Phase::Init(state) => &mut state.hint,
        Phase::Intermediate(state) => &mut state.hint,
        Phase::Auth(state) => &mut state.hint,
        _ => return,
    };
    if seen.is_none() {
        *seen = Some(reason);
        let until = ctx.now + ctx.config.unauthenticated_error_grace;
        if let Some(request) = &mut sa.sender.in_flight {
            request.give_up_by(until);
        }
        sa.log(ctx, LogLevel::Info, format!("unauthenticated error during the initiation: {reason}"));
    }
}

fn restart(sa: &mut IkeSa, ctx: &mut Ctx<'_>, change: impl FnOnce(&mut InitState)) {
    let Phase::Init(state) = &mut sa.phase else { return };
    if state.restarts < MAX_RESTARTS {
        state.restarts += 1;
        change(state);
        send(sa, ctx);
    }
}

/// RFC 5685 §3: restart with another gateway, with a new key and a new nonce.
fn redirected(sa: &mut IkeSa, ctx: &mut Ctx<'_>, notify: &Notify) {
    let Phase::Init(state) = &sa.phase else { return };
    let (nonce, group) = (state.nonce.clone(), state.group);
    match redirect::in_init(sa, ctx, notify, &nonce) {
        Ok(()) => {}
        Err(FailReason::Syntax) => {
            ctx.counters.not_authentic += 1;
            return;
        }
        Err(reason) => return hint(sa, ctx, reason),
    }
    let Some(Ok((private, public))) = ctx.provider().group(group).map(|method| method.generate(ctx.random))
    else {
        return;
    };
    let nonce = ctx.nonce();
    if let Phase::Init(state) = &mut sa.phase {
        (state.private, state.public, state.nonce) = (private, public, nonce);
        (state.cookie, state.hint) = (None, None);
    }
    let (ike, connection, remote) = (sa.id, sa.connection.id, sa.remote);
    ctx.act(Action::Redirected { old: ike, new: ike, connection, remote });
    send(sa, ctx);
}

/// RFC 7296 §1.2: the peer wants another group; it must be one that we offered.
fn other_group(sa: &mut IkeSa, ctx: &mut Ctx<'_>, group: Option<Group>) {
    let Phase::Init(state) = &sa.phase else { return };
    let usable = |group: &Group| {
        *group != state.group && offers_group(&sa.connection.ike_proposals, ctx.config.provider, *group)
    };
    let Some(group) = group.filter(usable) else { return hint(sa, ctx, FailReason::NoGroup) };
    let generated = ctx.provider().group(group).and_then(|method| method.generate(ctx.random).ok());
    let Some((private, public)) = generated else { return };
    restart(sa, ctx, |state| (state.group, state.private, state.public) = (group, private, public));
}

/// All checks come before any change of state, so that a forged message does not break the attempt.
fn accept(
    sa: &mut IkeSa,
    ctx: &mut Ctx<'_>,
    from: SocketAddr,
    header: &Header,
    datagram: &[u8],
    parts: &Parts,
) {
    let Phase::Init(state) = &sa.phase else { return };
    let (Some(answer), Some((number, public)), Some(nonce_r)) = (&parts.sa, &parts.ke, &parts.nonce) else {
        return hint(sa, ctx, FailReason::Syntax);
    };
    let Some((suite, _)) = accept_ike(&sa.connection.ike_proposals, ctx.provider(), answer) else {
        return hint(sa, ctx, FailReason::NoProposal);
    };
    if header.spi_r == 0 || *number != state.group.number() || suite.group != state.group {
        return hint(sa, ctx, FailReason::Syntax);
    }
    // RFC 9370 §2.2.1: a responder that chooses additional exchanges must also send
    // INTERMEDIATE_EXCHANGE_SUPPORTED.
    if !suite.additional.is_empty() && !parts.has(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED) {
        return hint(sa, ctx, FailReason::Syntax);
    }
    // RFC 8784 §3: no IKE SA without the PPK, if we require it.
    if sa.connection.ppk.as_ref().is_some_and(|ppk| ppk.required) && !parts.has(notify_type::USE_PPK) {
        return hint(sa, ctx, FailReason::Ppk);
    }
    let Ok(shared) = state.private.agree(public) else { return hint(sa, ctx, FailReason::Syntax) };
    let inputs = KeyInputs {
        nonce_i: &state.nonce,
        nonce_r,
        spi_i: sa.local_spi,
        spi_r: header.spi_r,
        shared: &shared,
        additional: &[],
    };
    let Ok(keys) = IkeKeys::initial(ctx.provider(), &suite, &inputs) else { return };

    let spis = (sa.local_spi, header.spi_r);
    let nat = nat::detect(ctx.provider(), spis, (from, sa.local), parts);
    let mut framer = Framer::new(true, sa.local_spi, header.spi_r, suite, keys);
    if parts.has(notify_type::IKEV2_FRAGMENTATION_SUPPORTED) {
        framer.fragment_size = ctx.config.fragment_size;
    }
    sa.remote_spi = header.spi_r;
    sa.framer = Some(framer);
    sa.low_nonce = state.nonce.clone().min(nonce_r.clone());
    sa.nat = nat.unwrap_or_default();
    if sa.connection.force_udp_encapsulation && nat.is_some() {
        sa.nat.local = true;
    }
    let Phase::Init(state) = std::mem::replace(&mut sa.phase, Phase::Dead) else { return };
    if sa.nat.any() {
        float(sa, ctx);
    }
    sa.sender.in_flight = None;
    sa.sender.next_id = 1;
    intermediate::begin(
        sa,
        ctx,
        auth::Init {
            request: state.request,
            response: datagram.to_vec(),
            nonce_i: state.nonce,
            nonce_r: nonce_r.clone(),
            childless_supported: parts.has(notify_type::CHILDLESS_IKEV2_SUPPORTED),
            int_auth: vec![],
            ppk: sa.connection.ppk.is_some() && parts.has(notify_type::USE_PPK),
            signature_hashes: parts.signature_hashes(),
            authorities: parts.authorities.clone(),
        },
        state.child,
    );
}

/// RFC 7296 §2.23: with a NAT everything after IKE_SA_INIT runs between the NAT-T ports.
fn float(sa: &mut IkeSa, ctx: &Ctx<'_>) {
    sa.local.set_port(ctx.config.natt_port);
    if sa.remote.port() == ctx.config.ike_port {
        sa.remote.set_port(ctx.config.natt_port);
    }
    let Nat { local, remote } = sa.nat;
    debug_assert!(local || remote);
}
