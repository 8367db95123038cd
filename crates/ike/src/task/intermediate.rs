//! IKE_INTERMEDIATE in both roles (RFC 9242): the additional key exchanges between IKE_SA_INIT and
//! IKE_AUTH (RFC 9370 §2.2.2).

use crate::action::FailReason;
use crate::algorithm::Group;
use crate::command::ChildRequest;
use crate::config::ChildTag;
use crate::keys::{IkeKeys, KeyInputs, prf};
use crate::message::{Exchange, HEADER_LEN, ParseError, Payload, encode, notify_type, payload_type};
use crate::provider::{CryptoError, PrivateKey, Provider};
use crate::sa::frame::{Framer, Opened};
use crate::sa::{IkeSa, Phase, RequestSchedule};
use crate::secret::Secret;

use super::Ctx;
use super::auth::{self, Init};
use super::parts::{Parts, fail_reason};

/// Progress of the exchanges, and what of them is covered by AUTH (RFC 9242 §3.3.2).
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Exchanges that are finished.
    done: usize,
    /// IntAuth_iN and IntAuth_rN.
    by_initiator: Vec<u8>,
    by_responder: Vec<u8>,
}

impl Progress {
    /// The method of the next exchange.
    pub(crate) fn next(&self, framer: &Framer) -> Option<Group> {
        framer.suite.additional.methods().nth(self.done)
    }

    /// The exchange that must come next from the initiator.
    pub(crate) fn expected(&self, framer: &Framer) -> Exchange {
        if self.next(framer).is_some() { Exchange::IkeIntermediate } else { Exchange::IkeAuth }
    }

    /// IntAuth = IntAuth_iN | IntAuth_rN | IKE_AUTH_MID; empty without such an exchange.
    pub(crate) fn int_auth(&self) -> Vec<u8> {
        match u32::try_from(self.done) {
            Ok(done @ 1..) => {
                // The message ID of IKE_SA_INIT is 0, and each exchange takes the next.
                let id = (done + 1).to_be_bytes();
                [&self.by_initiator[..], &self.by_responder, &id].concat()
            }
            _ => vec![],
        }
    }

    /// Adds one message: IntAuth_n = prf(SK_p, IntAuth_(n-1) | A | P), with the keys that protect
    /// it. `header` is the IKE header as it was sent; A has it and the header of the encrypted
    /// payload as if the message had come in one piece and without IV, padding and check value.
    fn add(
        &mut self,
        provider: &Provider,
        framer: &Framer,
        by_initiator: bool,
        header: &[u8],
        (first, plain): (u8, &[u8]),
    ) -> Result<(), CryptoError> {
        let (sum, key) = if by_initiator {
            (&mut self.by_initiator, &framer.keys.p_initiator)
        } else {
            (&mut self.by_responder, &framer.keys.p_responder)
        };
        let mut adjusted: [u8; HEADER_LEN] = header.try_into().map_err(|_| CryptoError)?;
        adjusted[16] = payload_type::SK;
        let total = u32::try_from(HEADER_LEN + 4 + plain.len()).map_err(|_| CryptoError)?;
        adjusted[24..].copy_from_slice(&total.to_be_bytes());
        let length = u16::try_from(4 + plain.len()).map_err(|_| CryptoError)?.to_be_bytes();
        let generic = [first, 0, length[0], length[1]];
        *sum = prf(provider, framer.suite.prf, key, &[sum, &adjusted, &generic, plain])?.expose().to_vec();
        Ok(())
    }

    /// The same for a message of our own in `packets`.
    fn add_own(
        &mut self,
        provider: &Provider,
        framer: &Framer,
        packets: &[Vec<u8>],
        payloads: &[Payload],
    ) -> Result<(), CryptoError> {
        let header = packets.first().and_then(|packet| packet.get(..HEADER_LEN)).ok_or(CryptoError)?;
        let (first, plain) = encode(payloads);
        self.add(provider, framer, framer.initiator, header, (first, &plain))
    }
}

/// State of an initiator between IKE_SA_INIT and IKE_AUTH.
pub(crate) struct IntermediateState {
    init: Init,
    child: Option<ChildRequest>,
    progress: Progress,
    group: Group,
    private: Box<dyn PrivateKey>,
    /// The first unauthenticated error that came in.
    pub(crate) hint: Option<FailReason>,
}

impl IntermediateState {
    pub(crate) fn tag(&self) -> Option<ChildTag> {
        self.child.as_ref().map(|child| child.tag)
    }
}

/// Adds an authentic IKE_INTERMEDIATE message to what AUTH covers.
pub(crate) fn received(sa: &mut IkeSa, ctx: &Ctx<'_>, datagram: &[u8], opened: &Opened) {
    let (Some(framer), Some(header)) = (&sa.framer, datagram.get(..HEADER_LEN)) else { return };
    let by_initiator = !framer.initiator;
    let progress = match &mut sa.phase {
        Phase::Intermediate(state) => &mut state.progress,
        Phase::HalfOpen(state) => &mut state.progress,
        _ => return,
    };
    // An error here means that AUTH cannot be computed either, so authentication fails.
    let _ = progress.add(ctx.provider(), framer, by_initiator, header, (opened.first, &opened.bytes));
}

// The initiator.

/// Runs the exchanges between IKE_SA_INIT and IKE_AUTH, then begins IKE_AUTH. The IKE SA has its
/// keys.
pub(crate) fn begin(sa: &mut IkeSa, ctx: &mut Ctx<'_>, init: Init, child: Option<ChildRequest>) {
    next(sa, ctx, init, child, Progress::default());
}

fn next(sa: &mut IkeSa, ctx: &mut Ctx<'_>, mut init: Init, child: Option<ChildRequest>, progress: Progress) {
    let Some(framer) = &sa.framer else { return };
    let Some(group) = progress.next(framer) else {
        init.int_auth = progress.int_auth();
        return auth::begin(sa, ctx, init, child);
    };
    let generated = ctx.provider().group(group).and_then(|method| method.generate(ctx.random).ok());
    let Some((private, public)) = generated else {
        return sa.fail_initiation(ctx, FailReason::LocalResources, true);
    };
    let state = IntermediateState { init, child, progress, group, private, hint: None };
    sa.phase = Phase::Intermediate(Box::new(state));
    let payloads = [Payload::KeyExchange(group.number(), public)];
    let schedule = RequestSchedule::Backoff(sa.connection.initiation);
    sa.send_request(ctx, Exchange::IkeIntermediate, &payloads, schedule);
    let (Phase::Intermediate(state), Some(framer), Some(request)) =
        (&mut sa.phase, &sa.framer, &sa.sender.in_flight)
    else {
        return;
    };
    if state.progress.add_own(ctx.provider(), framer, &request.packets, &payloads).is_err() {
        sa.fail_initiation(ctx, FailReason::LocalResources, true);
    }
}

/// The answer, protected by the current keys. The peer is not authenticated before IKE_AUTH, but
/// only the end that answered IKE_SA_INIT has these keys.
pub(crate) fn on_response(sa: &mut IkeSa, ctx: &mut Ctx<'_>, answer: Result<Vec<Payload>, ParseError>) {
    let Phase::Intermediate(state) = &sa.phase else { return };
    let parts = answer.ok().and_then(Parts::of);
    if let Some(error) = parts.as_ref().and_then(Parts::error) {
        let reason = fail_reason(error.kind);
        return sa.fail_initiation(ctx, reason, true);
    }
    let shared = match parts.as_ref().and_then(|parts| parts.ke.as_ref()) {
        Some((number, public)) if *number == state.group.number() => state.private.agree(public).ok(),
        _ => None,
    };
    let Some(keys) = shared.and_then(|shared| updated_keys(sa, ctx.provider(), &state.init, &shared)) else {
        return sa.fail_initiation(ctx, FailReason::Syntax, true);
    };
    let Phase::Intermediate(state) = std::mem::replace(&mut sa.phase, Phase::Dead) else { return };
    let IntermediateState { init, child, mut progress, .. } = *state;
    progress.done += 1;
    if let Some(framer) = &mut sa.framer {
        framer.change_keys(keys);
        // Nothing is retransmitted under the old keys.
        framer.previous = None;
    }
    next(sa, ctx, init, child, progress);
}

// The responder.

/// The peer's KE payload: the answer goes out under the present keys, see [`answered`].
pub(crate) fn answer(sa: &mut IkeSa, ctx: &mut Ctx<'_>, payloads: Vec<Payload>) -> Vec<Payload> {
    let result = Parts::of(payloads).and_then(|parts| respond(sa, ctx, &parts));
    result.unwrap_or_else(|| {
        sa.linger(ctx.now);
        vec![Payload::notify(notify_type::INVALID_SYNTAX, vec![])]
    })
}

fn respond(sa: &mut IkeSa, ctx: &mut Ctx<'_>, parts: &Parts) -> Option<Vec<Payload>> {
    let Phase::HalfOpen(state) = &sa.phase else { return None };
    let group = state.progress.next(sa.framer.as_ref()?)?;
    let (_, public) = parts.ke.as_ref().filter(|(number, _)| *number == group.number())?;
    let (own, shared) = ctx.provider().group(group)?.respond(ctx.random, public).ok()?;
    let keys = updated_keys(sa, ctx.provider(), &state.init, &shared)?;
    let Phase::HalfOpen(state) = &mut sa.phase else { return None };
    state.next_keys = Some(keys);
    Some(vec![Payload::KeyExchange(group.number(), own)])
}

/// The answer is encrypted and stored: switches to the new keys.
pub(crate) fn answered(sa: &mut IkeSa, ctx: &Ctx<'_>, payloads: &[Payload]) {
    let (Phase::HalfOpen(state), Some(framer)) = (&mut sa.phase, &mut sa.framer) else { return };
    let Some(keys) = state.next_keys.take() else { return };
    let sum = state.progress.add_own(ctx.config.provider, framer, &sa.receiver.reply, payloads);
    if sum.is_err() {
        sa.phase = Phase::Dead;
        return;
    }
    state.progress.done += 1;
    framer.change_keys(keys);
    state.init.int_auth = state.progress.int_auth();
}

fn updated_keys(sa: &IkeSa, provider: &Provider, init: &Init, shared: &Secret) -> Option<IkeKeys> {
    let framer = sa.framer.as_ref()?;
    let inputs = KeyInputs {
        nonce_i: &init.nonce_i,
        nonce_r: &init.nonce_r,
        spi_i: framer.spi_i,
        spi_r: framer.spi_r,
        shared,
        additional: &[],
    };
    IkeKeys::rekeyed(provider, &framer.suite, framer.suite.prf, &framer.keys.d, &inputs).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Encryption, Prf};
    use crate::keys::MessageKeys;
    use crate::provider::DEFAULT;
    use crate::suite::{Additional, IkeSuite};

    fn framer() -> Framer {
        let suite = IkeSuite {
            encryption: Encryption::AesGcm256,
            integrity: None,
            prf: Prf::HmacSha256,
            group: Group::Ecp256,
            additional: Additional::default(),
        };
        let messages = || MessageKeys { encryption: Secret::zeroed(36), integrity: Secret::zeroed(0) };
        let keys = IkeKeys {
            d: Secret::zeroed(32),
            initiator: messages(),
            responder: messages(),
            p_initiator: Secret::from("pi"),
            p_responder: Secret::from("pr"),
        };
        Framer::new(true, 1, 2, suite, keys)
    }

    /// The IKE header of an IKE_INTERMEDIATE message.
    fn header(next: u8, flags: u8, id: u8, length: u8) -> Vec<u8> {
        let spis = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        [&spis[..], &[next, 0x20, 43, flags, 0, 0, 0, id, 0, 0, 0, length]].concat()
    }

    /// RFC 9242 §3.3.2: each message as if it had come in one piece, with lengths without IV,
    /// padding and check value.
    #[test]
    fn int_auth_is_a_chain_over_both_directions_and_the_id_of_ike_auth() {
        let (framer, mut progress) = (framer(), Progress::default());
        assert!(progress.int_auth().is_empty());
        // A KE payload of 5 octets, once as the first of several fragments (53) and once whole
        // (46).
        let plain = [0, 0, 0, 9, 0, 36, 0, 0, 7];
        let mut sums = [vec![], vec![]];
        for (round, next) in [(1, 53), (2, 46)] {
            for (by_initiator, flags, key, sum) in [(true, 8, "pi", 0), (false, 0x20, "pr", 1)] {
                let sent = header(next, flags, round, 200);
                progress.add(&DEFAULT, &framer, by_initiator, &sent, (34, &plain)).unwrap();
                let header = header(46, flags, round, 28 + 4 + 9);
                let parts = [&sums[sum][..], &header, &[34, 0, 0, 4 + 9], &plain];
                let next = prf(&DEFAULT, Prf::HmacSha256, &Secret::from(key), &parts).unwrap();
                sums[sum] = next.expose().to_vec();
            }
            progress.done += 1;
        }
        let [by_initiator, by_responder] = sums;
        assert_eq!(progress.int_auth(), [by_initiator, by_responder, vec![0, 0, 0, 3]].concat());
    }
}
