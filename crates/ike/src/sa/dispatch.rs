//! Maps a datagram to its exchange: validate, decrypt, process, change state.

use std::net::SocketAddr;
use std::time::Duration;

use super::frame::{OpenError, Received};
use super::window::Place;
use super::{IkeSa, Phase};
use crate::action::{Action, IkeDownReason, LogLevel};
use crate::endpoint::Effect;
use crate::message::{DeletePayload, Exchange, Header, ParseError, Payload, notify_type, parse};
use crate::task::{
    Ctx, Queued, Task, auth, create_child, followup, informational, init, intermediate, mobike, rekey_ike,
};

impl IkeSa {
    /// Handles a datagram whose header names our SPI. Nothing of the IKE SA changes before it is
    /// found authentic, except by IKE_SA_INIT, which cannot be authenticated yet.
    pub(crate) fn on_datagram(
        &mut self,
        ctx: &mut Ctx<'_>,
        (from, to): (SocketAddr, SocketAddr),
        header: &Header,
        datagram: &[u8],
    ) {
        // RFC 7296 §3.1: the flag marks the original initiator, which must be the other end.
        if header.flags.initiator == self.initiator {
            ctx.counters.out_of_window += 1;
            return;
        }
        if matches!(self.phase, Phase::Init(_)) {
            return init::on_response(self, ctx, from, header, datagram);
        }
        if (header.spi_i, header.spi_r) != self.spis() {
            ctx.counters.unknown_spi += 1;
            return;
        }
        if header.flags.response {
            self.on_response(ctx, (from, to), header, datagram);
        } else {
            self.on_request(ctx, (from, to), header, datagram);
        }
    }

    fn on_response(
        &mut self,
        ctx: &mut Ctx<'_>,
        path: (SocketAddr, SocketAddr),
        header: &Header,
        datagram: &[u8],
    ) {
        let awaited = self.sender.in_flight.as_ref().map(|request| (request.id, request.exchange));
        if awaited != Some((header.message_id, header.exchange)) {
            ctx.counters.out_of_window += 1;
            return;
        }
        let Some(payloads) = self.open(ctx, header, datagram) else { return };
        self.heard(ctx, path);
        self.sender.in_flight = None;
        match self.phase {
            Phase::Intermediate(_) => return intermediate::on_response(self, ctx, payloads),
            Phase::Auth(_) => return auth::on_response(self, ctx, payloads),
            _ => {}
        }
        if payloads.as_deref().is_ok_and(has_invalid_syntax) && self.is_established() {
            // RFC 7296 §2.21.3: the peer has closed its end.
            self.log(ctx, LogLevel::Warning, "the peer says INVALID_SYNTAX");
            return self.down(ctx, IkeDownReason::Protocol, false);
        }
        if let Some(task) = self.active.take() {
            task.finish(self, ctx, payloads);
        }
    }

    fn on_request(
        &mut self,
        ctx: &mut Ctx<'_>,
        path: (SocketAddr, SocketAddr),
        header: &Header,
        datagram: &[u8],
    ) {
        let place = self.receiver.place(header.message_id);
        // While our IKE_AUTH is open the peer is not authenticated yet; it will send its request
        // again.
        let too_early = matches!(self.phase, Phase::Auth(_) | Phase::Intermediate(_));
        let unproved = matches!(self.phase, Phase::HalfOpen(_)) && place == Place::New;
        let initial = matches!(header.exchange, Exchange::IkeAuth | Exchange::IkeIntermediate);
        if place == Place::Outside || too_early || (unproved && !initial) {
            ctx.counters.out_of_window += 1;
            return;
        }
        if unproved && !auth::derive_keys(self, ctx) {
            ctx.counters.not_authentic += 1;
            return;
        }
        // RFC 9370 §2.2.2: first all additional key exchanges, then IKE_AUTH.
        if unproved && self.expected_exchange() != Some(header.exchange) {
            ctx.counters.out_of_window += 1;
            return;
        }
        let replay = place == Place::Replay;
        if replay {
            return self.replay(ctx, path.0, header, datagram);
        }
        if matches!(self.phase, Phase::Closed { .. }) {
            return;
        }
        let Some(payloads) = self.open(ctx, header, datagram) else { return };
        self.heard(ctx, path);
        if self.orphan_until.is_some() && payloads.as_deref().is_ok_and(uses_ike_sa) {
            // Simultaneous rekey: the peer uses this IKE SA. It inherits the children now, and the
            // request is processed when it is retransmitted.
            ctx.effects.push(Effect::ClaimEstate(self.id));
            return;
        }
        let reply = match payloads {
            Ok(payloads) => {
                let reply = self.answer(ctx, header.exchange, payloads, path);
                if has_invalid_syntax(&reply) && self.is_established() {
                    self.down(ctx, IkeDownReason::Protocol, true);
                }
                reply
            }
            Err(ParseError::UnsupportedCritical(kind)) => {
                // RFC 7296 §2.5: the request is refused, the IKE SA stays, unless it is IKE_AUTH
                // (§2.21.2).
                self.log(ctx, LogLevel::Warning, format!("refused critical payload of type {kind}"));
                if unproved {
                    self.linger(ctx.now);
                }
                vec![Payload::notify(notify_type::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind])]
            }
            Err(error) => {
                // RFC 7296 §2.21.3: an authentic but malformed request is fatal on both ends.
                self.log(ctx, LogLevel::Warning, format!("malformed {} request: {error}", header.exchange));
                self.down(ctx, IkeDownReason::Protocol, true);
                vec![Payload::notify(notify_type::INVALID_SYNTAX, vec![])]
            }
        };
        self.reply(ctx, header, &reply, path.0);
        intermediate::answered(self, ctx, &reply);
    }

    /// The exchange that a peer must begin next before it is authenticated.
    fn expected_exchange(&self) -> Option<Exchange> {
        match (&self.phase, &self.framer) {
            (Phase::HalfOpen(state), Some(framer)) => Some(state.progress.expected(framer)),
            _ => None,
        }
    }

    fn answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        exchange: Exchange,
        payloads: Vec<Payload>,
        path: (SocketAddr, SocketAddr),
    ) -> Vec<Payload> {
        match (exchange, &self.phase) {
            (Exchange::IkeAuth, Phase::HalfOpen(_)) => auth::answer(self, ctx, payloads),
            (Exchange::IkeIntermediate, Phase::HalfOpen(_)) => intermediate::answer(self, ctx, payloads),
            (Exchange::Informational, _) => informational::answer(self, ctx, payloads, path),
            (Exchange::CreateChildSa, _) if rekey_ike::is_rekey_request(&payloads) => {
                rekey_ike::answer(self, ctx, payloads)
            }
            (Exchange::CreateChildSa, _) => create_child::answer(self, ctx, payloads),
            (Exchange::IkeFollowupKe, _) => followup::answer(self, ctx, payloads),
            _ => {
                self.log(ctx, LogLevel::Warning, format!("unexpected {exchange} request"));
                vec![Payload::notify(notify_type::INVALID_SYNTAX, vec![])]
            }
        }
    }

    /// Encrypts, stores and sends the answer to the request of the window, to where the request
    /// came from (RFC 7296 §2.11).
    fn reply(&mut self, ctx: &mut Ctx<'_>, header: &Header, payloads: &[Payload], to: SocketAddr) {
        let Some(packets) = self.seal(ctx, (header.exchange, header.message_id, true), payloads) else {
            return;
        };
        self.transmit(ctx, &packets, to);
        if self.receiver.answered(packets).is_none() {
            self.down(ctx, IkeDownReason::Exhausted, false);
        }
    }

    /// A request that was answered already gets the same answer, if it is authentic.
    fn replay(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr, header: &Header, datagram: &[u8]) {
        let Some(framer) = &mut self.framer else { return };
        // The last request before a key change is retransmitted under the old keys.
        if framer.opens_under_previous(ctx.config.provider, header, datagram) {
            ctx.counters.replayed_requests += 1;
            let packets = &self.receiver.reply;
            packets.iter().for_each(|packet| ctx.transmit(self.local, from, packet));
            return;
        }
        match framer.open(ctx.config.provider, header, datagram) {
            // RFC 7383 §2.6.1: only the first fragment of a retransmitted request triggers the
            // stored answer.
            Ok(Received::Message(_) | Received::Fragment(true)) => {
                ctx.counters.replayed_requests += 1;
                for packet in &self.receiver.reply {
                    ctx.transmit(self.local, from, packet);
                }
            }
            Ok(Received::Fragment(false)) => {}
            Err(error) => count(ctx, error),
        }
    }

    /// The payloads of an authentic message, or `None` if it is not authentic or not complete yet.
    fn open(
        &mut self,
        ctx: &mut Ctx<'_>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Result<Vec<Payload>, ParseError>> {
        match self.framer.as_mut()?.open(ctx.config.provider, header, datagram) {
            Ok(Received::Message(opened)) => {
                if header.exchange == Exchange::IkeIntermediate {
                    intermediate::received(self, ctx, datagram, &opened);
                }
                Some(parse(opened.first, &opened.bytes))
            }
            Ok(Received::Fragment(_)) => None,
            Err(OpenError::NotEncrypted) if matches!(self.phase, Phase::Auth(_) | Phase::Intermediate(_)) => {
                auth::on_unprotected(self, ctx, header, datagram);
                None
            }
            Err(error) => {
                count(ctx, error);
                None
            }
        }
    }

    /// An authentic, new message came in on this path.
    fn heard(&mut self, ctx: &mut Ctx<'_>, (from, to): (SocketAddr, SocketAddr)) {
        if let Some(request) = &mut self.sender.in_flight {
            request.peer_heard();
        }
        if matches!(self.phase, Phase::HalfOpen(_)) {
            // RFC 7296 §2.23: with a NAT the initiator switches to port 4500 at both ends.
            (self.local, self.remote) = (to, from);
        }
        if self.reported_up {
            ctx.act(Action::PeerHeard { ike: self.id });
            self.peer_endpoint(ctx, from);
        }
    }

    /// Retransmits the request in flight, if there is one.
    pub(crate) fn repeat(&self, ctx: &mut Ctx<'_>) {
        if let Some(request) = &self.sender.in_flight {
            self.transmit(ctx, &request.packets, self.remote);
        }
    }

    /// Checks that the peer is alive; a request in flight serves as the probe.
    pub(crate) fn probe(&mut self, ctx: &mut Ctx<'_>, interval: Duration, retries: u32) {
        let Some(request) = &mut self.sender.in_flight else {
            let queued = Queued { task: Task::Liveness { interval, retries }, not_before: ctx.now };
            return self.queue.push_front(queued);
        };
        if request.turn_into_probe(ctx.now, interval, retries) {
            self.repeat(ctx);
        }
    }

    /// RFC 7296 §2.23: an end that is not behind a NAT follows a peer that is, when it uses a new
    /// address. With MOBIKE the peer announces a new address itself (RFC 4555 §3.8).
    pub(crate) fn peer_endpoint(&mut self, ctx: &mut Ctx<'_>, remote: SocketAddr) {
        let follows = self.nat.remote && !self.nat.local && !self.mobike;
        if remote != self.remote && follows && self.is_established() {
            self.log(ctx, LogLevel::Info, format!("the peer's endpoint changed to {remote}"));
            self.remote = remote;
            mobike::report(self, ctx);
        }
    }
}

/// More than a liveness probe or the end of the IKE SA: only an end that has moved the children to
/// it sends that.
fn uses_ike_sa(payloads: &[Payload]) -> bool {
    !payloads.is_empty() && !payloads.contains(&Payload::Delete(DeletePayload::Ike))
}

/// RFC 7296 §2.21.3: fatal on both ends.
fn has_invalid_syntax(payloads: &[Payload]) -> bool {
    payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(n) if n.kind == notify_type::INVALID_SYNTAX))
}

fn count(ctx: &mut Ctx<'_>, error: OpenError) {
    match error {
        OpenError::Malformed => ctx.counters.malformed += 1,
        OpenError::NotAuthentic | OpenError::NotEncrypted => ctx.counters.not_authentic += 1,
    }
}
