//! Tests with a scripted peer that does what our own endpoint never does: it moves (MOBIKE),
//! redirects, leaves exchanges out, or errs. Without cryptography.

mod intermediate;
mod mobike;
mod redirect;

use std::net::SocketAddr;
use std::time::Duration;

use super::tests::{Counting, endpoint_with, esp_sa, ike_sa, ke, nonce, ours, theirs};
use super::*;
use crate::action::{Action, ChildId, FailReason, IkeDownReason};
use crate::command::ChildRequest;
use crate::config::ChildTag;
use crate::identity::Identity;
use crate::message::{
    DeletePayload, Exchange, Flags, HEADER_LEN, Notify, Payload, encode, notify_type, parse, payload_type,
};
use crate::selector::TrafficSelector;

const PEER_SPI: u64 = 0x1122_3344_5566_7788;

/// A decrypted message of the endpoint.
#[derive(Debug)]
struct Message {
    to: SocketAddr,
    header: Header,
    payloads: Vec<Payload>,
}

impl Message {
    fn notify(&self, kind: u16) -> Option<&Notify> {
        self.payloads.iter().find_map(|payload| match payload {
            Payload::Notify(notify) if notify.kind == kind => Some(notify),
            _ => None,
        })
    }
}

/// The peer's side of one IKE SA.
struct Script {
    endpoint: Endpoint,
    now: Time,
    spi: u64,
    /// The endpoint is the original initiator.
    endpoint_initiates: bool,
    /// The peer's address.
    at: SocketAddr,
    to: SocketAddr,
    sent: Vec<Message>,
    actions: Vec<Action>,
}

impl Script {
    fn new(change: impl FnOnce(&mut EndpointConfig, &mut Connection)) -> Self {
        Script {
            endpoint: endpoint_with(Box::new(Counting(0)), change),
            now: Time::from_millis(5),
            spi: 0,
            endpoint_initiates: false,
            at: theirs(),
            to: ours(),
            sent: vec![],
            actions: vec![],
        }
    }

    /// Established by the peer, with one child; the peer adds `more` to IKE_AUTH.
    fn established_by_peer(more: &[Payload]) -> Self {
        Self::established_in(&[], more)
    }

    /// The same, and the peer adds `in_init` to IKE_SA_INIT.
    fn established_in(in_init: &[Payload], in_auth: &[Payload]) -> Self {
        let mut script = Script::new(|_, _| {});
        let init = [&[ike_sa(&[]), ke(), nonce(1)][..], in_init].concat();
        script.say(Exchange::IkeSaInit, false, 0, &init);
        let auth = auth_payloads(true, in_auth);
        script.say(Exchange::IkeAuth, false, 1, &auth);
        assert!(script.actions.iter().any(|action| matches!(action, Action::InstallChild(_))));
        script.actions.clear();
        script
    }

    /// Initiated by the endpoint; IKE_SA_INIT is answered.
    fn initiated(change: impl FnOnce(&mut EndpointConfig, &mut Connection)) -> Self {
        let mut script = Script::new(change);
        script.endpoint_initiates = true;
        let child = Some(ChildRequest::new(ChildTag(1)));
        let order = Command::Initiate { connection: ConnectionId(1), child, local: ours(), remote: theirs() };
        script.command(order);
        script
    }

    fn command(&mut self, command: Command) {
        self.endpoint.command(self.now, command).unwrap();
        self.settle();
    }

    fn say(&mut self, exchange: Exchange, response: bool, id: u32, payloads: &[Payload]) {
        let (first, plain) = encode(payloads);
        self.say_octets(exchange, response, id, (first, &plain));
    }

    /// Sends a message whose payload chain is `plain`.
    fn say_octets(&mut self, exchange: Exchange, response: bool, id: u32, (first, plain): (u8, &[u8])) {
        let init = exchange == Exchange::IkeSaInit;
        let (spi_i, spi_r) =
            if self.endpoint_initiates { (self.spi, PEER_SPI) } else { (PEER_SPI, self.spi) };
        let header = Header {
            spi_i,
            spi_r,
            next_payload: if init { first } else { payload_type::SK },
            major: 2,
            exchange,
            flags: Flags { initiator: !self.endpoint_initiates, response },
            message_id: id,
        };
        let body = if init {
            plain.to_vec()
        } else {
            let content = [&[0; 8][..], plain, &[0], &[0; 16]].concat();
            let length = u16::try_from(content.len() + 4).unwrap().to_be_bytes();
            [&[first, 0, length[0], length[1]][..], &content].concat()
        };
        let bytes = [&header.encode(HEADER_LEN + body.len())[..], &body].concat();
        self.endpoint.handle_datagram(self.now, self.at, self.to, &bytes);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let header = Header::parse(&transmit.bytes).unwrap();
            let body = &transmit.bytes[HEADER_LEN..];
            let payloads = if header.next_payload == payload_type::SK {
                parse(body[0], &body[4 + 8..body.len() - 17])
            } else {
                parse(header.next_payload, body)
            };
            if self.spi == 0 {
                self.spi = if self.endpoint_initiates { header.spi_i } else { header.spi_r };
            }
            self.sent.push(Message { to: transmit.to, header, payloads: payloads.unwrap() });
        }
        while let Some(action) = self.endpoint.poll_action() {
            if !matches!(action, Action::Log(_) | Action::PeerHeard { .. }) {
                self.actions.push(action);
            }
        }
    }

    fn later(&mut self, time: Duration) {
        self.now = self.now + time;
        self.endpoint.handle_timeout(self.now);
        self.settle();
    }

    fn last(&self) -> &Message {
        self.sent.last().unwrap()
    }

    fn child(&self) -> ChildId {
        self.endpoint.ike_sas().next().unwrap().children[0]
    }
}

fn auth_payloads(by_initiator: bool, more: &[Payload]) -> Vec<Payload> {
    let (peer, own) = (TrafficSelector::host(theirs().ip()), TrafficSelector::host(ours().ip()));
    let identity = Identity::Address(theirs().ip());
    let mut payloads = match by_initiator {
        true => vec![Payload::IdI(identity), Payload::Auth(2, vec![0; 32]), esp_sa(0x1000)],
        false => vec![Payload::IdR(identity), Payload::Auth(2, vec![0; 32]), esp_sa(0x1000)],
    };
    payloads.extend(match by_initiator {
        true => [Payload::TsI(vec![peer]), Payload::TsR(vec![own])],
        false => [Payload::TsI(vec![own]), Payload::TsR(vec![peer])],
    });
    payloads.extend(more.iter().cloned());
    payloads
}

fn notify(kind: u16) -> Payload {
    Payload::notify(kind, vec![])
}

fn mobile() -> SocketAddr {
    "198.51.100.7:500".parse().unwrap()
}

// Errors.

/// A chain of one unknown payload with the critical bit.
const CRITICAL: (u8, &[u8]) = (200, &[0, 0x80, 0, 4]);

#[test]
fn an_unknown_critical_payload_refuses_the_request_and_keeps_the_ike_sa() {
    let mut script = Script::established_by_peer(&[]);
    script.say_octets(Exchange::Informational, false, 2, CRITICAL);
    // RFC 7296 §2.5: the notify names the payload type.
    assert_eq!(script.last().notify(notify_type::UNSUPPORTED_CRITICAL_PAYLOAD).unwrap().data, [200]);
    assert!(script.actions.is_empty());
    // The same without the bit is skipped.
    script.say_octets(Exchange::Informational, false, 3, (200, &[0, 0, 0, 4]));
    assert!(script.last().payloads.is_empty());
}

#[test]
fn a_peer_that_does_not_know_a_critical_payload_of_ours_fails_the_request_only() {
    let mut script = Script::established_by_peer(&[]);
    let child = script.child();
    script.command(Command::RekeyChild { child });
    let id = script.last().header.message_id;
    let refusal = Payload::notify(notify_type::UNSUPPORTED_CRITICAL_PAYLOAD, vec![33]);
    script.say(Exchange::CreateChildSa, true, id, &[refusal]);
    let failed = |a: &Action| matches!(a, Action::ChildFailed { reason: FailReason::Syntax, .. });
    assert!(script.actions.iter().any(failed), "{:?}", script.actions);
    assert_eq!(script.child(), child, "the old one lives on");
}

#[test]
fn a_malformed_request_is_answered_by_invalid_syntax_and_ends_the_ike_sa() {
    let mut script = Script::established_by_peer(&[]);
    // A notify payload that ends before its type.
    script.say_octets(Exchange::Informational, false, 2, (payload_type::NOTIFY, &[0, 0, 0, 5, 0]));
    assert!(script.last().notify(notify_type::INVALID_SYNTAX).is_some());
    let down = |a: &Action| matches!(a, Action::IkeDown { reason: IkeDownReason::Protocol, .. });
    assert!(script.actions.iter().any(down));
}

#[test]
fn invalid_syntax_of_the_peer_ends_the_ike_sa() {
    let mut script = Script::established_by_peer(&[]);
    let child = script.child();
    script.command(Command::RekeyChild { child });
    let id = script.last().header.message_id;
    script.say(Exchange::CreateChildSa, true, id, &[notify(notify_type::INVALID_SYNTAX)]);
    let down = |a: &Action| matches!(a, Action::IkeDown { reason: IkeDownReason::Protocol, .. });
    assert!(script.actions.iter().any(down));
}

#[test]
fn no_additional_sas_of_the_peer_fails_a_child_and_leaves_the_rest() {
    let mut script = Script::established_by_peer(&[]);
    let ike = script.endpoint.ike_sas().next().unwrap().ike;
    script.command(Command::CreateChild { ike, child: ChildRequest::new(ChildTag(1)) });
    let id = script.last().header.message_id;
    script.say(Exchange::CreateChildSa, true, id, &[notify(notify_type::NO_ADDITIONAL_SAS)]);
    let failed = |a: &Action| matches!(a, Action::ChildFailed { reason: FailReason::NoAdditionalSas, .. });
    assert!(script.actions.iter().any(failed));
    assert_eq!(script.endpoint.ike_sas().next().unwrap().children.len(), 1);
}

#[test]
fn temporary_failure_is_asked_again_after_a_growing_pause() {
    let mut script = Script::established_by_peer(&[]);
    let child = script.child();
    script.command(Command::RekeyChild { child });
    for pause in [1, 2, 3] {
        let id = script.last().header.message_id;
        let count = script.sent.len();
        script.say(Exchange::CreateChildSa, true, id, &[notify(notify_type::TEMPORARY_FAILURE)]);
        assert_eq!(script.sent.len(), count, "not at once (RFC 7296 §2.25)");
        script.later(Duration::from_secs(pause) - Duration::from_millis(1));
        assert_eq!(script.sent.len(), count);
        script.later(Duration::from_millis(1));
        assert_eq!(script.sent.len(), count + 1);
    }
}

#[test]
fn a_rekeying_of_what_is_not_there_is_answered_by_child_sa_not_found_with_its_spi() {
    let mut script = Script::established_by_peer(&[]);
    let about = Payload::Notify(Notify::about_esp(notify_type::REKEY_SA, 0x9999));
    script.say(Exchange::CreateChildSa, false, 2, &[about, esp_sa(0x2000), nonce(7)]);
    let answer = script.last().notify(notify_type::CHILD_SA_NOT_FOUND).unwrap();
    assert_eq!(answer.spi, 0x9999_u32.to_be_bytes());
    assert!(script.actions.is_empty());
}

#[test]
fn a_later_major_version_is_answered_by_ours_and_its_responses_by_nothing() {
    let mut endpoint = endpoint_with(Box::new(Counting(0)), |_, _| {});
    let header = Header {
        spi_i: PEER_SPI,
        spi_r: 0,
        next_payload: 0,
        major: 3,
        exchange: Exchange::IkeSaInit,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    endpoint.handle_datagram(Time::ZERO, theirs(), ours(), &header.encode(HEADER_LEN));
    let answer = endpoint.poll_transmit().unwrap();
    // RFC 7296 §2.5: the answer has version 2, with our highest version in the version field.
    assert_eq!(answer.bytes[17], 0x20);
    assert!(answer.bytes.len() <= HEADER_LEN + 8, "no amplification worth the name");
    let response = Header { flags: Flags { initiator: true, response: true }, ..header };
    endpoint.handle_datagram(Time::ZERO, theirs(), ours(), &response.encode(HEADER_LEN));
    assert!(endpoint.poll_transmit().is_none());
}

#[test]
fn a_peer_of_another_major_version_shortens_the_initiation() {
    let mut script = Script::initiated(|_, _| {});
    script.say(Exchange::IkeSaInit, true, 0, &[notify(notify_type::INVALID_MAJOR_VERSION)]);
    assert!(script.actions.is_empty(), "nobody has authenticated that");
    script.later(Duration::from_secs(6));
    let failed = |a: &Action| {
        matches!(a, Action::InitiationFailed { reason: FailReason::Version, protected: false, .. })
    };
    assert!(script.actions.iter().any(failed), "{:?}", script.actions);
}

// Rates.

#[test]
fn a_source_that_asks_too_often_must_return_a_cookie_and_others_need_not() {
    let mut endpoint = endpoint_with(Box::new(Counting(0)), |_, connection| {
        connection.remote_addresses = vec![crate::config::AddressMatch::Any];
    });
    let (first, body) = encode(&[ike_sa(&[]), ke(), nonce(1)]);
    let mut ask = |spi: u64, from: SocketAddr, now: Time| {
        let header = Header {
            spi_i: spi,
            spi_r: 0,
            next_payload: first,
            major: 2,
            exchange: Exchange::IkeSaInit,
            flags: Flags { initiator: true, response: false },
            message_id: 0,
        };
        let request = [&header.encode(HEADER_LEN + body.len())[..], &body].concat();
        endpoint.handle_datagram(now, from, ours(), &request);
        let answer = endpoint.poll_transmit().unwrap().bytes;
        let header = Header::parse(&answer).unwrap();
        let payloads = parse(header.next_payload, &answer[HEADER_LEN..]).unwrap();
        matches!(&payloads[..], [Payload::Notify(notify)] if notify.kind == notify_type::COOKIE)
    };
    let now = Time::from_millis(1000);
    let asked: Vec<bool> = (1..=70).map(|spi| ask(spi, theirs(), now)).collect();
    assert_eq!(asked.iter().position(|cookie| *cookie), Some(64));
    assert!(asked[64..].iter().all(|cookie| *cookie));
    assert!(!ask(71, mobile(), now), "another source");
    assert!(!ask(72, theirs(), Time::from_millis(2000)), "the next second");
}
