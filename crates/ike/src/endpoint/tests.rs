//! The whole endpoint behind a backend without cryptography: any payloads, in any order, in every
//! state.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::action::Action;
use crate::algorithm::{Encryption, Group};
use crate::command::ChildRequest;
use crate::config::{ChildLifetime, ChildPolicy, ChildTag, Mode};
use crate::identity::Identity;
use crate::message::{
    DeletePayload, Exchange, Flags, HEADER_LEN, Notify, Payload, Proposal, Transform, encode, notify_type,
    payload_type, protocol, transform_type,
};
use crate::provider::fake::FAKE;
use crate::secret::Secret;
use crate::selector::TrafficSelector;
use crate::suite::EspProposal;

/// Counts up: SPIs and nonces differ, runs repeat.
pub(super) struct Counting(pub(super) u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            let block = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

pub(super) fn ours() -> SocketAddr {
    "192.0.2.1:500".parse().unwrap()
}

pub(super) fn theirs() -> SocketAddr {
    "192.0.2.2:500".parse().unwrap()
}

fn endpoint() -> Endpoint {
    endpoint_with(Box::new(Counting(0)), |_, _| {})
}

pub(super) fn endpoint_with(
    random: Box<dyn Random>,
    change: impl FnOnce(&mut EndpointConfig, &mut Connection),
) -> Endpoint {
    let mut config = EndpointConfig { provider: &FAKE, ..EndpointConfig::default() };
    let mut connection = Connection::psk(
        ConnectionId(1),
        ours().ip(),
        theirs().ip(),
        Secret::from("a key that nobody checks"),
    );
    let any = TrafficSelector::prefix("0.0.0.0".parse().unwrap(), 0);
    connection.children = vec![ChildPolicy {
        tag: ChildTag(1),
        local_selectors: vec![any],
        remote_selectors: vec![any],
        proposals: EspProposal::defaults(),
        mode: Mode::Transport,
        transport_required: false,
        lifetime: ChildLifetime::default(),
    }];
    change(&mut config, &mut connection);
    let mut endpoint = Endpoint::new(config, random, Box::<RandomSpis>::default());
    endpoint.set_connection(connection);
    endpoint
}

/// A peer that sends arbitrary messages.
struct Peer {
    endpoint: Endpoint,
    now: Time,
    /// (SPI of the endpoint, endpoint is the original initiator, next request of the peer, awaited
    /// response)
    spi: u64,
    endpoint_initiates: bool,
    next_request: u32,
    awaited: Option<(u32, Exchange)>,
    installed: usize,
}

const PEER_SPI: u64 = 0x1122_3344_5566_7788;

impl Peer {
    fn message(&self, exchange: Exchange, response: bool, id: u32, payloads: &[Payload]) -> Vec<u8> {
        let (first, plain) = encode(payloads);
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
        if init {
            return [&header.encode(HEADER_LEN + plain.len())[..], &plain].concat();
        }
        // IV, text, pad length, tag.
        let body = [&[0; 8][..], &plain, &[0], &[0; 16]].concat();
        let length = (body.len() + 4) as u16;
        let generic = [first, 0, length.to_be_bytes()[0], length.to_be_bytes()[1]];
        [&header.encode(HEADER_LEN + 4 + body.len())[..], &generic, &body].concat()
    }

    fn deliver(&mut self, message: &[u8]) {
        self.endpoint.handle_datagram(self.now, theirs(), ours(), message);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let Ok(header) = Header::parse(&transmit.bytes) else { panic!("sent what is not IKE") };
            if header.flags.response {
                self.next_request = self.next_request.max(header.message_id.saturating_add(1));
                if header.exchange == Exchange::IkeSaInit && header.spi_r != 0 {
                    self.spi = header.spi_r;
                }
            } else {
                self.awaited = Some((header.message_id, header.exchange));
            }
        }
        while let Some(action) = self.endpoint.poll_action() {
            match action {
                Action::InstallChild(_) => self.installed += 1,
                Action::RemoveChild { .. } => self.installed -= 1,
                _ => {}
            }
        }
    }

    /// Established by the peer, with one child.
    fn established() -> Self {
        let mut peer = Peer {
            endpoint: endpoint(),
            now: Time::from_millis(5),
            spi: 0,
            endpoint_initiates: false,
            next_request: 0,
            awaited: None,
            installed: 0,
        };
        let init = peer.message(Exchange::IkeSaInit, false, 0, &[ike_sa(&[]), ke(), nonce(1)]);
        peer.deliver(&init);
        // RFC 7296 §3.8: method 2 is the Shared Key Message Integrity Code.
        let auth = [
            Payload::IdI(Identity::Address(theirs().ip())),
            Payload::Auth(2, vec![0; 32]),
            esp_sa(0x1000),
            Payload::TsI(vec![TrafficSelector::host(theirs().ip())]),
            Payload::TsR(vec![TrafficSelector::host(ours().ip())]),
        ];
        let auth = peer.message(Exchange::IkeAuth, false, 1, &auth);
        peer.deliver(&auth);
        assert_eq!((peer.installed, peer.endpoint.ike_sas().filter(|info| info.established).count()), (1, 1));
        peer
    }

    /// The tables agree with each other whatever was sent.
    fn check(&self) {
        let sas: Vec<_> = self.endpoint.ike_sas().collect();
        let children: usize = sas.iter().map(|info| info.children.len()).sum();
        assert_eq!(children, self.installed, "children reported and children held");
        assert!(self.endpoint.by_spi.len() == self.endpoint.sas.len());
        assert!(self.endpoint.deadlines.len() <= self.endpoint.sas.len());
    }
}

pub(super) fn ike_sa(spi: &[u8]) -> Payload {
    let transforms = vec![
        Transform::with_key_bits(transform_type::ENCRYPTION, 20, Some(256)),
        Transform::new(transform_type::PRF, 5),
        Transform::new(transform_type::KEY_EXCHANGE, Group::Ecp256.number()),
    ];
    Payload::Sa(vec![Proposal { number: 1, protocol: protocol::IKE, spi: spi.to_vec(), transforms }])
}

pub(super) fn esp_sa(spi: u32) -> Payload {
    let (id, bits) = Encryption::AesGcm256.transform();
    let transforms = vec![
        Transform::with_key_bits(transform_type::ENCRYPTION, id, bits),
        Transform::new(transform_type::SEQUENCE_NUMBERS, 0),
    ];
    let spi = spi.to_be_bytes().to_vec();
    Payload::Sa(vec![Proposal { number: 1, protocol: protocol::ESP, spi, transforms }])
}

pub(super) fn ke() -> Payload {
    Payload::KeyExchange(Group::Ecp256.number(), vec![4; 64])
}

pub(super) fn nonce(seed: u8) -> Payload {
    Payload::Nonce(vec![seed; 32])
}

/// Payloads that are likely to be accepted, so that the search reaches deep states.
fn payload() -> impl Strategy<Value = Payload> {
    let notifies = [
        notify_type::INVALID_KE_PAYLOAD,
        notify_type::NO_PROPOSAL_CHOSEN,
        notify_type::TEMPORARY_FAILURE,
        notify_type::CHILD_SA_NOT_FOUND,
        notify_type::NO_ADDITIONAL_SAS,
        notify_type::INITIAL_CONTACT,
        notify_type::USE_TRANSPORT_MODE,
        notify_type::COOKIE,
        notify_type::INVALID_SYNTAX,
    ];
    let all = TrafficSelector::prefix("0.0.0.0".parse().unwrap(), 0);
    prop_oneof![
        8 => (0x1000u32..0x1008).prop_map(esp_sa),
        4 => (1u64..4).prop_map(|spi| ike_sa(&spi.to_be_bytes())),
        8 => any::<u8>().prop_map(nonce),
        4 => Just(ke()),
        8 => Just(Payload::TsI(vec![all])),
        8 => Just(Payload::TsR(vec![all])),
        4 => (0x1000u32..0x1008).prop_map(|spi| Payload::Notify(Notify::about_esp(notify_type::REKEY_SA, spi))),
        3 => prop::sample::select(notifies.to_vec()).prop_map(|kind| Payload::notify(kind, vec![0, 31])),
        3 => (0x1000u32..0x1008).prop_map(|spi| Payload::Delete(DeletePayload::Esp(vec![spi]))),
        1 => Just(Payload::Delete(DeletePayload::Ike)),
        1 => Just(Payload::Auth(2, vec![0; 32])),
        1 => Just(Payload::IdR(Identity::Address(theirs().ip()))),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Request(bool, Vec<Payload>),
    Response(Vec<Payload>),
    Wait(u32),
    RekeyChild,
    RekeyIke,
    CreateChild,
    DeleteChild,
    Delete,
    Probe,
    Raw(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), vec(payload(), 0..7)).prop_map(|(informational, payloads)| Step::Request(informational, payloads)),
        6 => vec(payload(), 0..7).prop_map(Step::Response),
        2 => (0u32..100_000).prop_map(Step::Wait),
        2 => Just(Step::RekeyChild),
        2 => Just(Step::RekeyIke),
        1 => Just(Step::CreateChild),
        1 => Just(Step::DeleteChild),
        1 => Just(Step::Delete),
        1 => Just(Step::Probe),
        1 => vec(any::<u8>(), 0..80).prop_map(Step::Raw),
    ]
}

fn take(peer: &mut Peer, step: Step) {
    let info = peer.endpoint.ike_sas().find(|info| info.established);
    let ike = info.as_ref().map(|info| info.ike);
    let child = info.as_ref().and_then(|info| info.children.last().copied());
    let (interval, retries) = (Duration::from_secs(1), 2);
    let command = match (step, ike, child) {
        (Step::Request(informational, payloads), ..) => {
            let exchange = if informational { Exchange::Informational } else { Exchange::CreateChildSa };
            let message = peer.message(exchange, false, peer.next_request, &payloads);
            return peer.deliver(&message);
        }
        (Step::Response(payloads), ..) => {
            if let Some((id, exchange)) = peer.awaited.take() {
                let message = peer.message(exchange, true, id, &payloads);
                peer.deliver(&message);
            }
            return;
        }
        (Step::Raw(bytes), ..) => return peer.deliver(&bytes),
        (Step::Wait(milliseconds), ..) => {
            peer.now = peer.now + Duration::from_millis(milliseconds.into());
            peer.endpoint.handle_timeout(peer.now);
            assert!(peer.endpoint.poll_timeout().is_none_or(|at| at > peer.now), "a timer that stays due");
            return peer.settle();
        }
        (Step::RekeyIke, Some(ike), _) => Command::RekeyIke { ike },
        (Step::CreateChild, Some(ike), _) => {
            Command::CreateChild { ike, child: ChildRequest::new(ChildTag(1)) }
        }
        (Step::RekeyChild, _, Some(child)) => Command::RekeyChild { child },
        (Step::DeleteChild, _, Some(child)) => Command::DeleteChild { child },
        (Step::Delete, Some(ike), _) => Command::DeleteIke { ike, notify_peer: true },
        (Step::Probe, Some(ike), _) => Command::Liveness { ike, interval, retries },
        _ => return,
    };
    peer.endpoint.command(peer.now, command).unwrap();
    peer.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_authenticated_peer_may_say_anything(steps in vec(step(), 0..40)) {
        let mut peer = Peer::established();
        for step in steps {
            take(&mut peer, step);
            peer.check();
        }
        // Removing the connection clears all tables.
        peer.endpoint.remove_connection(peer.now, ConnectionId(1));
        peer.settle();
        prop_assert_eq!(peer.installed, 0);
        for _ in 0..200 {
            peer.now = peer.now + Duration::from_secs(1);
            peer.endpoint.handle_timeout(peer.now);
        }
        prop_assert!(peer.endpoint.sas.is_empty(), "an IKE SA that never goes");
    }

    #[test]
    fn a_responder_may_say_anything_to_an_initiator(answers in vec(vec(payload(), 0..7), 0..6)) {
        let mut peer = Peer {
            endpoint: endpoint(), now: Time::from_millis(5), spi: 0, endpoint_initiates: true, next_request: 0,
            awaited: None, installed: 0,
        };
        let child = Some(ChildRequest::new(ChildTag(1)));
        let initiate = Command::Initiate { connection: ConnectionId(1), child, local: ours(), remote: theirs() };
        peer.endpoint.command(peer.now, initiate).unwrap();
        peer.spi = peer.endpoint.ike_sas().next().unwrap().local_spi;
        peer.settle();
        for payloads in answers {
            if let Some((id, exchange)) = peer.awaited.take() {
                let message = peer.message(exchange, true, id, &payloads);
                peer.deliver(&message);
                peer.check();
            }
        }
        peer.now = peer.now + Duration::from_secs(1000);
        peer.endpoint.handle_timeout(peer.now);
    }
}

/// RFC 7296 §2.21.3
#[test]
fn an_authentic_request_that_is_malformed_ends_the_ike_sa() {
    let mut peer = Peer::established();
    let mut message = peer.message(Exchange::Informational, false, peer.next_request, &[nonce(1)]);
    // The length field of the inner payload, after header, payload header and IV.
    message[HEADER_LEN + 4 + 8 + 3] = 0xff;
    peer.deliver(&message);
    assert_eq!((peer.installed, peer.endpoint.ike_sas().count()), (0, 0));
}

/// RFC 7296 §3.10.1
#[test]
fn a_refused_rekeying_names_the_child_that_was_asked_for() {
    let mut peer = Peer::established();
    let all = TrafficSelector::prefix("0.0.0.0".parse().unwrap(), 0);
    let unknown = Payload::Notify(Notify::about_esp(notify_type::REKEY_SA, 0x0dea_dbee));
    let payloads = [unknown, esp_sa(0x2000), nonce(1), Payload::TsI(vec![all]), Payload::TsR(vec![all])];
    let message = peer.message(Exchange::CreateChildSa, false, peer.next_request, &payloads);
    peer.endpoint.handle_datagram(peer.now, theirs(), ours(), &message);
    let answer = peer.endpoint.poll_transmit().unwrap().bytes;
    let notify =
        [&[3, 4][..], &notify_type::CHILD_SA_NOT_FOUND.to_be_bytes(), &0x0dea_dbee_u32.to_be_bytes()]
            .concat();
    assert!(answer.windows(notify.len()).any(|part| part == notify), "{answer:02x?}");
}

#[test]
fn even_an_authenticated_peer_gets_a_bounded_number_of_children() {
    let mut peer = Peer::established();
    let all = TrafficSelector::prefix("0.0.0.0".parse().unwrap(), 0);
    for number in 0..300 {
        let payloads = [esp_sa(0x2000 + number), nonce(1), Payload::TsI(vec![all]), Payload::TsR(vec![all])];
        let message = peer.message(Exchange::CreateChildSa, false, peer.next_request, &payloads);
        peer.deliver(&message);
    }
    assert_eq!(peer.installed, crate::task::child::MAX_CHILDREN);
    peer.check();
}

#[test]
fn an_initiation_without_a_common_proposal_is_refused_and_said() {
    let mut peer = Peer {
        endpoint: endpoint(),
        now: Time::from_millis(5),
        spi: 0,
        endpoint_initiates: false,
        next_request: 0,
        awaited: None,
        installed: 0,
    };
    let nothing = Payload::Sa(vec![Proposal {
        number: 1,
        protocol: protocol::IKE,
        spi: vec![],
        transforms: vec![Transform::new(transform_type::ENCRYPTION, 2)],
    }]);
    let init = peer.message(Exchange::IkeSaInit, false, 0, &[nothing, ke(), nonce(1)]);
    peer.endpoint.handle_datagram(peer.now, theirs(), ours(), &init);
    let said = std::iter::from_fn(|| peer.endpoint.poll_action()).any(|action| {
        matches!(action, Action::Log(record) if record.level == crate::LogLevel::Warning
            && record.peer == theirs()
            && record.text == "refused an initiation: no proposal chosen")
    });
    assert!(said);
    assert_eq!(peer.endpoint.sas.len(), 0);
}

#[test]
fn half_open_ike_sas_are_bounded_under_a_million_attempts() {
    let config = EndpointConfig {
        provider: &FAKE,
        half_open_limit: 500,
        half_open_per_source: 500,
        cookie_threshold: Some(100),
        ..EndpointConfig::default()
    };
    let mut endpoint = Endpoint::new(config, Box::new(Counting(0)), Box::<RandomSpis>::default());
    let mut connection = Connection::psk(ConnectionId(1), ours().ip(), theirs().ip(), Secret::from("key"));
    connection.remote_addresses = vec![crate::config::AddressMatch::Any];
    endpoint.set_connection(connection);
    let (first, body) = encode(&[ike_sa(&[]), ke(), nonce(1)]);
    let header = Header {
        spi_i: 1,
        spi_r: 0,
        next_payload: first,
        major: 2,
        exchange: Exchange::IkeSaInit,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    let mut message = [&header.encode(HEADER_LEN + body.len())[..], &body].concat();
    for attempt in 1..=1_000_000u64 {
        message[..8].copy_from_slice(&attempt.to_be_bytes());
        let from = SocketAddr::from(((attempt as u32).to_be_bytes(), 500));
        endpoint.handle_datagram(Time::ZERO, from, ours(), &message);
        while let Some(answer) = endpoint.poll_transmit() {
            assert!(answer.bytes.len() <= message.len() + 80, "no amplification to speak of");
        }
        endpoint.actions.clear();
    }
    assert_eq!(endpoint.sas.len(), 100, "beyond the threshold nothing is remembered without a cookie");
    assert_eq!(endpoint.counters().cookies_sent, 999_900);
}
