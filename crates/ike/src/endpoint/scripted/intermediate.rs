//! Additional key exchanges with a peer that does not keep to their order (RFC 9370, RFC 9242).

use super::*;
use crate::algorithm::Group;
use crate::message::{Transform, transform_type};
use crate::suite::AdditionalExchange;

fn hybrid(_: &mut EndpointConfig, connection: &mut Connection) {
    for proposal in &mut connection.ike_proposals {
        proposal.additional =
            vec![AdditionalExchange { number: 1, groups: vec![Group::MlKem768], optional: false }];
    }
}

/// The peer's SA payload with ML-KEM as additional exchange.
fn hybrid_sa() -> Payload {
    let Payload::Sa(mut proposals) = ike_sa(&[]) else { panic!("an SA payload") };
    for proposal in &mut proposals {
        proposal.transforms.push(Transform::new(transform_type::ADDITIONAL[0], Group::MlKem768.number()));
    }
    Payload::Sa(proposals)
}

fn encapsulation_key() -> Payload {
    Payload::KeyExchange(Group::MlKem768.number(), vec![4; 1184])
}

/// ```text
/// peer (initiator)                                endpoint
/// | -- IKE_SA_INIT SA(.. ADDKE1) ---------------> |
/// | -- IKE_AUTH --------------------------------> |   ignored: IKE_INTERMEDIATE must come first
/// | -- IKE_INTERMEDIATE KE ---------------------> |
/// | -- IKE_INTERMEDIATE KE ---------------------> |   ignored: one was agreed on
/// | -- IKE_AUTH --------------------------------> |   established
/// ```
///
/// RFC 9370 §2.2.2
#[test]
fn no_additional_exchange_is_left_out_or_made_twice() {
    let mut script = Script::new(hybrid);
    let supported = notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED);
    script.say(Exchange::IkeSaInit, false, 0, &[hybrid_sa(), ke(), nonce(1), supported]);
    assert!(script.last().notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some());
    script.say(Exchange::IkeAuth, false, 1, &auth_payloads(true, &[]));
    assert!(script.sent.len() == 1 && script.actions.is_empty(), "{:?}", script.sent);
    script.say(Exchange::IkeIntermediate, false, 1, &[encapsulation_key()]);
    assert_eq!(script.last().header.exchange, Exchange::IkeIntermediate);
    script.say(Exchange::IkeIntermediate, false, 2, &[encapsulation_key()]);
    assert!(script.sent.len() == 2 && script.actions.is_empty(), "{:?}", script.sent);
    script.say(Exchange::IkeAuth, false, 2, &auth_payloads(true, &[]));
    assert!(script.actions.iter().any(|action| matches!(action, Action::InstallChild(_))));
}

/// RFC 9370 §2.2.1: additional exchanges need IKE_INTERMEDIATE at both ends.
#[test]
fn additional_exchanges_without_the_exchange_that_carries_them_are_refused() {
    let mut script = Script::new(hybrid);
    script.say(Exchange::IkeSaInit, false, 0, &[hybrid_sa(), ke(), nonce(1)]);
    assert!(script.last().notify(notify_type::NO_PROPOSAL_CHOSEN).is_some());

    let mut script = Script::initiated(hybrid);
    assert!(script.last().notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some());
    script.say(Exchange::IkeSaInit, true, 0, &[hybrid_sa(), ke(), nonce(2)]);
    assert_eq!(script.sent.len(), 1, "the answer is not taken");
    let supported = notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED);
    script.say(Exchange::IkeSaInit, true, 0, &[hybrid_sa(), ke(), nonce(2), supported]);
    assert_eq!(script.last().header.exchange, Exchange::IkeIntermediate);
}

/// ```text
/// endpoint                                         peer
/// | -- IKE_SA_INIT SA(.. ADDKE1) ----------------> |
/// | -- IKE_INTERMEDIATE KE ----------------------> |
/// | <------------------------ IKE_INTERMEDIATE -- |   without KE
/// ```
///
/// RFC 9370 §2.2.2
#[test]
fn an_answer_without_the_key_exchange_ends_the_attempt() {
    let mut script = Script::initiated(hybrid);
    let supported = notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED);
    script.say(Exchange::IkeSaInit, true, 0, &[hybrid_sa(), ke(), nonce(2), supported]);
    script.say(Exchange::IkeIntermediate, true, 1, &[]);
    let failed = |action: &Action| matches!(action, Action::InitiationFailed { protected: true, .. });
    assert!(script.actions.iter().any(failed), "{:?}", script.actions);
    assert!(script.sent.iter().all(|message| message.header.exchange != Exchange::IkeAuth));
}
