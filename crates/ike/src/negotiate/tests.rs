//! Offers, choices and answers.

use super::*;
use crate::provider::DEFAULT;

fn mixed() -> IkeProposal {
    IkeProposal {
        encryption: vec![Encryption::AesCbc256, Encryption::AesGcm128],
        integrity: vec![Integrity::HmacSha256_128],
        prf: vec![],
        groups: vec![Group::Curve25519, Group::Ecp256],
    }
}

#[test]
fn combined_modes_are_offered_in_a_proposal_of_their_own() {
    let offer = ike_offer(&[mixed()], &DEFAULT, &[]);
    assert_eq!(offer.len(), 2);
    assert!(offer[0].transforms.iter().all(|t| t.kind != kind::INTEGRITY));
    assert!(offer[1].transforms.iter().any(|t| t.kind == kind::INTEGRITY));
    assert_eq!((offer[0].number, offer[1].number), (1, 2));
}

#[test]
fn an_offer_answered_by_its_own_kind_is_accepted() {
    let offer = ike_offer(&IkeProposal::defaults(), &DEFAULT, &[]);
    let (suite, number, _) = choose_ike(&[mixed()], &DEFAULT, &offer, Some(Group::Ecp256)).unwrap();
    assert_eq!((suite.encryption, suite.group), (Encryption::AesGcm128, Group::Ecp256));
    let answer = ike_answer(&suite, number, &[]);
    assert_eq!(accept_ike(&IkeProposal::defaults(), &DEFAULT, &[answer]), Some((suite, vec![])));
}

#[test]
fn an_answer_outside_of_the_offer_is_refused() {
    let suite = IkeSuite {
        encryption: Encryption::AesCbc128,
        integrity: Some(Integrity::HmacSha1_96),
        prf: Prf::HmacSha1,
        group: Group::Ecp256,
    };
    assert_eq!(accept_ike(&[mixed()], &DEFAULT, &[ike_answer(&suite, 1, &[])]), None);
    let two = vec![ike_answer(&suite, 1, &[]); 2];
    assert_eq!(accept_ike(&[mixed()], &DEFAULT, &two), None);
    // Both encryption transforms at once: a peer that did not choose.
    let whole = &ike_offer(&IkeProposal::defaults(), &DEFAULT, &[])[..1];
    assert_eq!(accept_ike(&IkeProposal::defaults(), &DEFAULT, whole), None);
}

#[test]
fn a_proposal_with_an_unknown_transform_type_is_passed_over() {
    let mut offer = ike_offer(&[mixed()], &DEFAULT, &[]);
    offer[0].transforms.push(Transform::new(6, 36));
    let (suite, number, _) = choose_ike(&[mixed()], &DEFAULT, &offer, None).unwrap();
    assert_eq!((suite.encryption, number), (Encryption::AesCbc256, 2));
}

#[test]
fn forward_secrecy_follows_the_peer_where_nothing_is_configured() {
    let own = EspProposal::defaults();
    let theirs = vec![EspProposal { groups: vec![Group::Curve25519], ..own[0].clone() }];
    let offer = esp_offer(&theirs, &DEFAULT, 0x1000, true);
    let wanted = ChildGroups::Wanted { ke_group: Some(Group::Curve25519), fallback: &[Group::Curve25519] };
    let (suite, number, spi) = choose_esp(&own, &DEFAULT, &offer, wanted).unwrap();
    assert_eq!((suite.group, spi), (Some(Group::Curve25519), 0x1000));
    let answer = [esp_answer(&suite, number, 0x2000)];
    assert_eq!(accept_esp(&theirs, &DEFAULT, &answer, Some(Group::Curve25519)), Some((suite, 0x2000)));
    assert_eq!(
        accept_esp(&theirs, &DEFAULT, &answer, None),
        None,
        "the answer has a group that was not exchanged"
    );

    let none = ChildGroups::Wanted { ke_group: None, fallback: &[] };
    assert!(choose_esp(&own, &DEFAULT, &offer, none).is_none(), "the peer insists on a group");
    let plain = esp_offer(&own, &DEFAULT, 0x1000, true);
    assert!(choose_esp(&theirs, &DEFAULT, &plain, wanted).is_none(), "we insist on a group");
    assert_eq!(choose_esp(&own, &DEFAULT, &offer, ChildGroups::None).unwrap().0.group, None);
}

#[test]
fn esp_without_an_esn_transform_means_short_numbers() {
    let own = EspProposal::defaults();
    let mut offer = esp_offer(&own, &DEFAULT, 0x1000, false);
    offer[0].transforms.retain(|t| t.kind != kind::SEQUENCE_NUMBERS);
    assert!(!choose_esp(&own, &DEFAULT, &offer[..1], ChildGroups::None).unwrap().0.esn);
}
