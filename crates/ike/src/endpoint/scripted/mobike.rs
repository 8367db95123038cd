//! A peer that moves (RFC 4555); our end does not move.

use super::*;

fn with_mobike() -> Script {
    let script = Script::established_by_peer(&[notify(notify_type::MOBIKE_SUPPORTED)]);
    assert!(script.last().notify(notify_type::MOBIKE_SUPPORTED).is_some());
    script
}

/// ```text
/// peer (initiator)                                 endpoint
/// x   moves
/// | -- INFORMATIONAL N(UPDATE_SA_ADDRESSES) ------> |   the IKE SA is spoken there from now on
/// | <---------------------------- INFORMATIONAL -- |
/// | <------------------- INFORMATIONAL N(COOKIE2) -- |   to the new address
/// | -- INFORMATIONAL N(COOKIE2) ------------------> |   now ESP goes there, too
/// ```
#[test]
fn a_peer_that_moved_gets_its_esp_once_it_has_answered_at_the_new_address() {
    let mut script = with_mobike();
    script.at = mobile();
    script.sent.clear();
    script.say(Exchange::Informational, false, 2, &[notify(notify_type::UPDATE_SA_ADDRESSES)]);
    let [answer, question] = &script.sent[..] else { panic!("{:?}", script.sent) };
    assert!(answer.header.flags.response && answer.to == mobile());
    assert_eq!((question.to, question.header.exchange), (mobile(), Exchange::Informational));
    let cookie = question.notify(notify_type::COOKIE2).unwrap().data.clone();
    let id = question.header.message_id;
    assert!(script.actions.is_empty(), "nothing before the routability check: {:?}", script.actions);
    script.say(Exchange::Informational, true, id, &[Payload::notify(notify_type::COOKIE2, cookie)]);
    let [Action::PeerEndpointChanged { local, remote, udp_encapsulation: None, .. }] = script.actions[..]
    else {
        panic!("{:?}", script.actions)
    };
    assert_eq!((local, remote), (ours(), mobile()));
    let child = script.child();
    script.command(Command::RekeyChild { child });
    assert_eq!(script.last().to, mobile());
}

/// RFC 4555 §3.7
#[test]
fn another_cookie_closes_the_ike_sa() {
    let mut script = with_mobike();
    script.at = mobile();
    script.say(Exchange::Informational, false, 2, &[notify(notify_type::UPDATE_SA_ADDRESSES)]);
    let id = script.last().header.message_id;
    script.say(Exchange::Informational, true, id, &[Payload::notify(notify_type::COOKIE2, vec![1; 16])]);
    let down = |action: &Action| matches!(action, Action::IkeDown { reason: IkeDownReason::Protocol, .. });
    assert!(script.actions.iter().any(down), "{:?}", script.actions);
    assert!(script.last().payloads.contains(&Payload::Delete(DeletePayload::Ike)));
}

#[test]
fn a_move_that_shows_a_nat_turns_encapsulation_on() {
    let mut script = with_mobike();
    script.at = mobile();
    let detection = [notify_type::NAT_DETECTION_SOURCE_IP, notify_type::NAT_DETECTION_DESTINATION_IP];
    let mut payloads = vec![notify(notify_type::UPDATE_SA_ADDRESSES)];
    payloads.extend(detection.map(|kind| Payload::notify(kind, vec![7; 20])));
    script.sent.clear();
    script.say(Exchange::Informational, false, 2, &payloads);
    assert!(detection.iter().all(|&kind| script.sent[0].notify(kind).is_some()), "ours in the answer");
    let (id, cookie) = {
        let question = script.last();
        (question.header.message_id, question.notify(notify_type::COOKIE2).unwrap().data.clone())
    };
    script.say(Exchange::Informational, true, id, &[Payload::notify(notify_type::COOKIE2, cookie)]);
    assert!(
        matches!(
            script.actions[..],
            [Action::PeerEndpointChanged { udp_encapsulation: Some((500, 500)), .. }]
        ),
        "{:?}",
        script.actions
    );
}

/// RFC 4555 §3.9, §4.2.6: source and destination, then their ports.
#[test]
fn a_nat_that_the_peer_does_not_allow_changes_nothing() {
    let mut script = with_mobike();
    script.at = mobile();
    script.sent.clear();
    let path = |from: SocketAddr| {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, ours()) else { panic!("IPv4 here") };
        let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        [&from.ip().octets()[..], &to.ip().octets(), &ports].concat()
    };
    let update = |data| {
        [notify(notify_type::UPDATE_SA_ADDRESSES), Payload::notify(notify_type::NO_NATS_ALLOWED, data)]
    };
    script.say(Exchange::Informational, false, 2, &update(path(theirs())));
    assert_eq!(script.sent.len(), 1);
    assert!(script.last().notify(notify_type::UNEXPECTED_NAT_DETECTED).is_some());
    script.say(Exchange::Informational, false, 3, &update(path(mobile())));
    assert!(script.last().notify(notify_type::COOKIE2).is_some());
}

/// RFC 4555 §3.5
#[test]
fn an_address_that_nobody_can_be_reached_at_is_unacceptable() {
    let mut script = with_mobike();
    script.at = "224.0.0.1:500".parse().unwrap();
    script.say(Exchange::Informational, false, 2, &[notify(notify_type::UPDATE_SA_ADDRESSES)]);
    assert!(script.last().notify(notify_type::UNACCEPTABLE_ADDRESSES).is_some());
    script.at = theirs();
    script.say(Exchange::Informational, false, 3, &[]);
    let child = script.child();
    script.command(Command::RekeyChild { child });
    assert_eq!(script.last().to, theirs(), "nothing has changed");
}

/// RFC 4555 §3.1: both ends must support it.
#[test]
fn without_mobike_an_update_means_nothing_and_nobody_moves() {
    let mut script = Script::established_by_peer(&[]);
    assert!(script.last().notify(notify_type::MOBIKE_SUPPORTED).is_none());
    script.at = mobile();
    script.sent.clear();
    script.say(Exchange::Informational, false, 2, &[notify(notify_type::UPDATE_SA_ADDRESSES)]);
    assert!(script.sent.len() == 1 && script.last().payloads.is_empty());
    assert!(script.actions.is_empty());
}

/// RFC 4555 §3.7, §4.2.5: 8 to 64 octets.
#[test]
fn cookie2_of_a_peer_comes_back_as_it_was() {
    let mut script = with_mobike();
    for (id, length) in [(2, 8), (3, 24), (4, 64)] {
        let cookie = Payload::notify(notify_type::COOKIE2, vec![9; length]);
        script.say(Exchange::Informational, false, id, std::slice::from_ref(&cookie));
        assert_eq!(script.last().payloads, [cookie]);
    }
    for (id, length) in [(5, 0), (6, 7), (7, 65)] {
        let cookie = Payload::notify(notify_type::COOKIE2, vec![9; length]);
        script.say(Exchange::Informational, false, id, &[cookie]);
        assert!(script.last().payloads.is_empty(), "{length} octets are no COOKIE2");
    }
}

/// RFC 4555 §4.2.5: only a peer that receives the request at its new address can answer it.
#[test]
fn each_question_has_a_cookie_of_its_own() {
    let mut script = with_mobike();
    let mut cookies = Vec::new();
    for id in 2..5 {
        script.at = SocketAddr::new(mobile().ip(), 1000 + u16::try_from(id).unwrap());
        script.say(Exchange::Informational, false, id, &[notify(notify_type::UPDATE_SA_ADDRESSES)]);
        let question = script.last();
        let cookie = question.notify(notify_type::COOKIE2).unwrap().clone();
        assert!((8..=64).contains(&cookie.data.len()));
        let answer_id = question.header.message_id;
        script.say(Exchange::Informational, true, answer_id, &[Payload::Notify(cookie.clone())]);
        cookies.push(cookie.data);
    }
    cookies.dedup();
    assert_eq!(cookies.len(), 3);
}

/// The NAT detection hash of an end at `place`: SPIi | SPIr | address | port.
fn detection(kind: u16, (spi_i, spi_r): (u64, u64), place: SocketAddr) -> Payload {
    let SocketAddr::V4(place) = place else { panic!("IPv4 here") };
    let octets =
        [&spi_i.to_be_bytes()[..], &spi_r.to_be_bytes(), &place.ip().octets(), &place.port().to_be_bytes()];
    Payload::notify(kind, (crate::provider::fake::FAKE.sha1)(&octets).to_vec())
}

/// RFC 4555 §3.8: a peer that looks for NATs without moving is answered, and nothing else happens.
#[test]
fn nat_detection_without_an_update_is_answered() {
    let mut script = with_mobike();
    let spis = (PEER_SPI, script.spi);
    let asked = |source, destination| {
        [
            detection(notify_type::NAT_DETECTION_SOURCE_IP, spis, source),
            detection(notify_type::NAT_DETECTION_DESTINATION_IP, spis, destination),
        ]
    };
    script.sent.clear();
    script.say(Exchange::Informational, false, 2, &asked(theirs(), ours()));
    assert_eq!(script.sent.len(), 1);
    assert_eq!(script.last().payloads, asked(ours(), theirs()));
    assert!(script.actions.is_empty(), "{:?}", script.actions);
}

/// RFC 4555 §3.7, §3.8: the answer that refuses a request also returns its COOKIE2 and NAT
/// detection payloads: without its cookie the peer would have to close the IKE SA.
#[test]
fn a_refusal_returns_the_cookie_and_answers_nat_detection() {
    let refused = [
        (notify_type::UNEXPECTED_NAT_DETECTED, mobile(), notify_type::NO_NATS_ALLOWED),
        (
            notify_type::UNACCEPTABLE_ADDRESSES,
            "224.0.0.1:500".parse().unwrap(),
            notify_type::UPDATE_SA_ADDRESSES,
        ),
    ];
    for (refusal, at, reason) in refused {
        let mut script = with_mobike();
        script.at = at;
        let cookie = Payload::notify(notify_type::COOKIE2, vec![9; 24]);
        let detection = [notify_type::NAT_DETECTION_SOURCE_IP, notify_type::NAT_DETECTION_DESTINATION_IP];
        let mut request = vec![notify(reason), cookie.clone()];
        request.extend(detection.map(|kind| Payload::notify(kind, vec![7; 20])));
        script.say(Exchange::Informational, false, 2, &request);
        let answer = script.last();
        assert!(answer.notify(refusal).is_some(), "{answer:?}");
        assert!(answer.payloads.contains(&cookie), "{answer:?}");
        assert!(detection.iter().all(|&kind| answer.notify(kind).is_some()), "{answer:?}");
        assert!(script.actions.is_empty());
    }
}

/// RFC 4555 §3.8: the mapping of the peer's NAT changes. With MOBIKE the peer detects that and
/// sends an update; without MOBIKE we follow the new address.
#[test]
fn a_peer_with_mobike_is_not_followed_before_it_says_so() {
    let behind_nat = [
        Payload::notify(notify_type::NAT_DETECTION_SOURCE_IP, vec![7; 20]),
        detection(notify_type::NAT_DETECTION_DESTINATION_IP, (PEER_SPI, 0), ours()),
    ];
    let supported = [notify(notify_type::MOBIKE_SUPPORTED)];
    for (in_auth, followed) in [(&supported[..], false), (&[], true)] {
        let mut script = Script::established_in(&behind_nat, in_auth);
        script.at = SocketAddr::new(theirs().ip(), 40_000);
        script.say(Exchange::Informational, false, 2, &[]);
        let changed = |action: &Action| matches!(action, Action::PeerEndpointChanged { remote, .. } if remote.port() == 40_000);
        assert_eq!(script.actions.iter().any(changed), followed, "{:?}", script.actions);
        let child = script.child();
        script.command(Command::RekeyChild { child });
        assert_eq!(script.last().to == script.at, followed);
    }
}
