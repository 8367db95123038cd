//! Gateways that redirect us (RFC 5685).

use super::*;

fn other_gateway() -> SocketAddr {
    "203.0.113.9:500".parse().unwrap()
}

fn redirect(nonce: &[u8]) -> Payload {
    Payload::notify(notify_type::REDIRECT, [&[1, 4, 203, 0, 113, 9][..], nonce].concat())
}

fn follows(config: &mut EndpointConfig, connection: &mut Connection) {
    config.max_redirects = Some(2);
    connection.remote_identities = vec![crate::identity::IdentityMatch::Any];
}

fn nonce_of(message: &Message) -> Vec<u8> {
    let nonce = message.payloads.iter().find_map(|payload| match payload {
        Payload::Nonce(nonce) => Some(nonce.clone()),
        _ => None,
    });
    nonce.unwrap()
}

/// ```text
/// endpoint                                             gateway      other gateway
/// | -- IKE_SA_INIT N(REDIRECT_SUPPORTED) ------------> |
/// | <-- IKE_SA_INIT N(REDIRECT other gateway, Ni) ---- |
/// | -- IKE_SA_INIT N(REDIRECTED_FROM gateway) --------------------> |
/// ```
///
/// RFC 5685 §3; loops end (RFC 5685 §7).
#[test]
fn an_initiation_goes_on_with_the_gateway_to_which_it_is_redirected() {
    let mut script = Script::initiated(follows);
    assert!(script.last().notify(notify_type::REDIRECT_SUPPORTED).is_some());
    let nonce = nonce_of(script.last());
    script.say(Exchange::IkeSaInit, true, 0, &[redirect(&nonce)]);
    let last = script.last();
    assert_eq!((last.to, last.header.exchange), (other_gateway(), Exchange::IkeSaInit));
    assert_eq!(last.notify(notify_type::REDIRECTED_FROM).unwrap().data, [1, 4, 192, 0, 2, 2]);
    assert_ne!(nonce_of(last), nonce);
    assert!(matches!(script.actions[..], [Action::Redirected { old, new, .. }] if old == new));
    // The third redirection exceeds the limit.
    for expected in [2, 2] {
        script.at = other_gateway();
        let nonce = nonce_of(script.last());
        script.say(Exchange::IkeSaInit, true, 0, &[redirect(&nonce)]);
        let redirected = script.actions.iter().filter(|a| matches!(a, Action::Redirected { .. })).count();
        assert_eq!(redirected, expected);
    }
    script.later(Duration::from_secs(10));
    let failed = |a: &Action| {
        matches!(a, Action::InitiationFailed { reason: FailReason::Redirected, protected: false, .. })
    };
    assert!(script.actions.iter().any(failed), "{:?}", script.actions);
}

/// RFC 5685 §3
#[test]
fn a_redirection_without_our_nonce_or_that_we_did_not_ask_for_is_ignored() {
    let mut script = Script::initiated(follows);
    script.say(Exchange::IkeSaInit, true, 0, &[redirect(&[5; 32])]);
    assert!(script.sent.len() == 1 && script.actions.is_empty());
    let mut script = Script::initiated(|_, _| {});
    assert!(script.last().notify(notify_type::REDIRECT_SUPPORTED).is_none());
    let nonce = nonce_of(script.last());
    script.say(Exchange::IkeSaInit, true, 0, &[redirect(&nonce)]);
    assert!(script.sent.len() == 1 && script.actions.is_empty());
}

/// ```text
/// endpoint                                   gateway      other gateway
/// | -- IKE_AUTH -------------------------> |
/// | <-- IKE_AUTH AUTH, N(REDIRECT) ------- |
/// | -- INFORMATIONAL D -----------------> |
/// | -- IKE_SA_INIT N(REDIRECTED_FROM) -----------------> |
/// ```
///
/// RFC 5685 §6
#[test]
fn a_redirection_in_ike_auth_closes_the_ike_sa_and_begins_another() {
    let mut script = Script::initiated(follows);
    script.say(Exchange::IkeSaInit, true, 0, &[ike_sa(&[]), ke(), nonce(2)]);
    script.sent.clear();
    let answer =
        [Payload::IdR(Identity::Address(theirs().ip())), Payload::Auth(2, vec![0; 32]), redirect(&[])];
    script.say(Exchange::IkeAuth, true, 1, &answer);
    let closed = script.sent.iter().find(|m| m.header.exchange == Exchange::Informational).unwrap();
    assert!(closed.payloads.contains(&Payload::Delete(DeletePayload::Ike)) && closed.to == theirs());
    let begun = script.sent.iter().find(|m| m.header.exchange == Exchange::IkeSaInit).unwrap();
    assert_eq!(begun.to, other_gateway());
    assert!(begun.notify(notify_type::REDIRECTED_FROM).is_some());
    assert!(
        matches!(script.actions[..], [Action::Redirected { old, new, .. }] if old != new),
        "{:?}",
        script.actions
    );
}

/// ```text
/// gateway                                endpoint                  other gateway
/// | -- INFORMATIONAL N(REDIRECT) ------> |
/// | <------------------ INFORMATIONAL -- | -- IKE_SA_INIT, IKE_AUTH -----> |
/// | <---------------- INFORMATIONAL D -- |   once the new IKE SA is up
/// ```
///
/// RFC 5685 §5
#[test]
fn a_redirection_of_an_established_ike_sa_keeps_its_children_until_the_other_gateway_has_taken_over() {
    let mut script = Script::initiated(follows);
    script.say(Exchange::IkeSaInit, true, 0, &[ike_sa(&[]), ke(), nonce(2)]);
    script.say(Exchange::IkeAuth, true, 1, &auth_payloads(false, &[]));
    assert_eq!(script.endpoint.ike_sas().filter(|info| info.established).count(), 1);
    script.actions.clear();
    script.sent.clear();
    script.say(Exchange::Informational, false, 0, &[redirect(&[])]);
    let begun = script.sent.iter().find(|m| m.header.exchange == Exchange::IkeSaInit).unwrap();
    assert_eq!(begun.to, other_gateway());
    assert!(matches!(script.actions[..], [Action::Redirected { .. }]), "{:?}", script.actions);
    script.spi = begun.header.spi_i;
    script.at = other_gateway();
    script.say(Exchange::IkeSaInit, true, 0, &[ike_sa(&[]), ke(), nonce(3)]);
    script.say(Exchange::IkeAuth, true, 1, &auth_payloads(false, &[]));
    let order: Vec<&str> = script
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::IkeUp(_) => Some("up"),
            Action::InstallChild(_) => Some("install"),
            Action::RemoveChild { .. } => Some("remove"),
            Action::IkeDown { reason: IkeDownReason::Redirected, .. } => Some("down"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["up", "install", "remove", "down"]);
    assert_eq!(script.last().to, theirs());
    assert!(script.last().payloads.contains(&Payload::Delete(DeletePayload::Ike)));
}

/// RFC 5685 §9.2: type and length of the identity, the identity, and in IKE_SA_INIT our nonce. Host
/// names are not resolved.
#[test]
fn where_a_redirection_leads_is_an_address_of_our_family() {
    let ipv6 = [&[2, 16][..], &[0x20, 1, 0x0d, 0xb8], &[0; 12]].concat();
    let host = [&[3, 10][..], b"gw.example"].concat();
    let short = vec![1, 4, 203, 0, 113];
    let wrong = vec![1, 3, 203, 0, 113];
    for (identity, followed) in
        [(vec![1, 4, 203, 0, 113, 9], true), (ipv6, false), (host, false), (short, false), (wrong, false)]
    {
        let mut script = Script::initiated(follows);
        let nonce = nonce_of(script.last());
        let data = [&identity[..], &nonce].concat();
        script.say(Exchange::IkeSaInit, true, 0, &[Payload::notify(notify_type::REDIRECT, data)]);
        assert_eq!(script.last().to == other_gateway(), followed, "{identity:02x?}");
        assert_eq!(script.sent.len(), if followed { 2 } else { 1 });
    }
}

/// RFC 5685 §7: redirections are counted over five minutes.
#[test]
fn what_was_redirected_too_often_may_be_redirected_later() {
    let mut script = Script::initiated(follows);
    for _ in 0..2 {
        let nonce = nonce_of(script.last());
        script.say(Exchange::IkeSaInit, true, 0, &[redirect(&nonce)]);
        script.at = other_gateway();
    }
    script.say(Exchange::IkeSaInit, true, 0, &[ike_sa(&[]), ke(), nonce(2)]);
    script.say(Exchange::IkeAuth, true, 1, &auth_payloads(false, &[]));
    assert_eq!(script.endpoint.ike_sas().filter(|info| info.established).count(), 1);
    for (id, pause, followed) in [(0, 0, false), (1, 299, false), (2, 1, true)] {
        script.later(Duration::from_secs(pause));
        script.actions.clear();
        script.say(Exchange::Informational, false, id, &[redirect(&[])]);
        let redirected = |action: &Action| matches!(action, Action::Redirected { .. });
        assert_eq!(script.actions.iter().any(redirected), followed, "{id}");
    }
}
