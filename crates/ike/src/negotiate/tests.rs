//! Offers, choices and answers.

use super::*;
use crate::provider::DEFAULT;

fn mixed() -> IkeProposal {
    IkeProposal {
        encryption: vec![Encryption::AesCbc256, Encryption::AesGcm128],
        integrity: vec![Integrity::HmacSha256_128],
        prf: vec![],
        groups: vec![Group::Curve25519, Group::Ecp256],
        additional: vec![],
    }
}

/// RFC 7296 §3.3; RFC 5282 §8
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
    let (suite, number, _) = choose_ike(&[mixed()], &DEFAULT, &offer, Some(Group::Ecp256), true).unwrap();
    assert_eq!((suite.encryption, suite.group), (Encryption::AesGcm128, Group::Ecp256));
    let answer = ike_answer(&suite, number, &[]);
    assert_eq!(accept_ike(&IkeProposal::defaults(), &DEFAULT, &[answer]), Some((suite, vec![])));
}

/// RFC 7296 §2.7, §3.3.6
#[test]
fn an_answer_outside_of_the_offer_is_refused() {
    let suite = IkeSuite {
        encryption: Encryption::AesCbc128,
        integrity: Some(Integrity::HmacSha1_96),
        prf: Prf::HmacSha1,
        group: Group::Ecp256,
        additional: Additional::default(),
    };
    assert_eq!(accept_ike(&[mixed()], &DEFAULT, &[ike_answer(&suite, 1, &[])]), None);
    let two = vec![ike_answer(&suite, 1, &[]); 2];
    assert_eq!(accept_ike(&[mixed()], &DEFAULT, &two), None);
    // Both encryption transforms at once: the peer did not choose one.
    let whole = &ike_offer(&IkeProposal::defaults(), &DEFAULT, &[])[..1];
    assert_eq!(accept_ike(&IkeProposal::defaults(), &DEFAULT, whole), None);
}

/// RFC 7296 §3.3.6
#[test]
fn a_proposal_with_an_additional_exchange_that_is_not_wanted_is_passed_over() {
    let mut offer = ike_offer(&[mixed()], &DEFAULT, &[]);
    offer[0].transforms.push(Transform::new(6, 36));
    let (suite, number, _) = choose_ike(&[mixed()], &DEFAULT, &offer, None, true).unwrap();
    assert_eq!((suite.encryption, number), (Encryption::AesCbc256, 2));
}

/// RFC 7296 §1.3.1
#[test]
fn a_proposal_with_an_unknown_transform_type_is_passed_over() {
    let mut offer = ike_offer(&[mixed()], &DEFAULT, &[]);
    offer[0].transforms.push(Transform::new(13, 1));
    let (_, number, _) = choose_ike(&[mixed()], &DEFAULT, &offer, None, true).unwrap();
    assert_eq!(number, 2);
}

/// RFC 9370 §2.2.1
#[test]
fn additional_exchanges_need_a_peer_with_ike_intermediate() {
    let exchange = |optional| AdditionalExchange { number: 1, groups: vec![Group::MlKem768], optional };
    let needed = [IkeProposal { additional: vec![exchange(false)], ..mixed() }];
    let optional = [IkeProposal { additional: vec![exchange(true)], ..mixed() }];
    let offer = ike_offer(&optional, &DEFAULT, &[]);
    assert_eq!(offer.len(), 4, "each with and without it, for peers that do not know the transform type");
    let (suite, number, _) = choose_ike(&needed, &DEFAULT, &offer, None, true).unwrap();
    assert_eq!(suite.additional.methods().collect::<Vec<_>>(), [Group::MlKem768]);
    assert_eq!(accept_ike(&optional, &DEFAULT, &[ike_answer(&suite, number, &[])]), Some((suite, vec![])));
    assert!(choose_ike(&needed, &DEFAULT, &offer, None, false).is_none());
    assert!(choose_ike(&optional, &DEFAULT, &offer, None, false).unwrap().0.additional.is_empty());
    assert!(choose_ike(&[mixed()], &DEFAULT, &offer, None, true).unwrap().0.additional.is_empty());
    assert_eq!(ike_offer(&needed, &DEFAULT, &[]).len(), 2);
}

/// RFC 7383 §2.2: IKE_SA_INIT does not come in fragments, so that its key exchange must be a small
/// one.
#[test]
fn ml_kem_is_no_exchange_of_ike_sa_init() {
    let with_kem = IkeProposal { groups: vec![Group::MlKem768, Group::Curve25519], ..mixed() };
    let only = [IkeProposal { groups: vec![Group::MlKem768], ..mixed() }];
    let offer = ike_offer(std::slice::from_ref(&with_kem), &DEFAULT, &[]);
    let groups = |offer: &[Proposal]| -> Vec<u16> {
        offer
            .iter()
            .flat_map(|o| &o.transforms)
            .filter(|t| t.kind == kind::KEY_EXCHANGE)
            .map(|t| t.id)
            .collect()
    };
    assert_eq!(groups(&offer), [31, 31]);
    assert_eq!(first_group(std::slice::from_ref(&with_kem), &DEFAULT), Some(Group::Curve25519));
    assert!(!offers_group(&only, &DEFAULT, Group::MlKem768));
    let mut theirs = offer;
    theirs.iter_mut().for_each(|proposal| {
        proposal.transforms.iter_mut().filter(|t| t.kind == kind::KEY_EXCHANGE).for_each(|t| t.id = 36);
    });
    assert!(choose_ike(&[with_kem], &DEFAULT, &theirs, Some(Group::MlKem768), true).is_none());
}

#[test]
fn a_child_has_the_additional_exchanges_of_its_ike_proposals_where_it_has_an_exchange_at_all() {
    let exchange = AdditionalExchange { number: 1, groups: vec![Group::MlKem768], optional: true };
    let with_pfs = vec![EspProposal { groups: vec![Group::Ecp256], ..EspProposal::defaults()[0].clone() }];
    let more = [exchange];
    let offer = esp_offer(&with_pfs, &DEFAULT, 0x1000, Some(&more));
    assert_eq!(offer.len(), 2);
    let wanted =
        |additional| ChildGroups::Wanted { ke_group: Some(Group::Ecp256), fallback: &[], additional };
    let choice = choose_esp(&with_pfs, &DEFAULT, &offer, wanted(&more)).unwrap();
    assert_eq!(choice.additional.methods().count(), 1);
    let answer = [esp_answer(&choice.suite, &choice.additional, choice.number, 0x2000)];
    let accepted = accept_esp(&with_pfs, &DEFAULT, &answer, Some((Group::Ecp256, &more))).unwrap();
    assert_eq!((accepted.additional, accepted.spi), (choice.additional, 0x2000));
    assert!(choose_esp(&with_pfs, &DEFAULT, &offer, wanted(&[])).unwrap().additional.is_empty());
    assert_eq!(
        esp_offer(&EspProposal::defaults(), &DEFAULT, 0x1000, Some(&more)).len(),
        2,
        "no exchange at all"
    );
}

#[test]
fn forward_secrecy_follows_the_peer_where_nothing_is_configured() {
    let own = EspProposal::defaults();
    let theirs = vec![EspProposal { groups: vec![Group::Curve25519], ..own[0].clone() }];
    let offer = esp_offer(&theirs, &DEFAULT, 0x1000, Some(&[]));
    let wanted = ChildGroups::Wanted {
        ke_group: Some(Group::Curve25519),
        fallback: &[Group::Curve25519],
        additional: &[],
    };
    let choice = choose_esp(&own, &DEFAULT, &offer, wanted).unwrap();
    assert_eq!((choice.suite.group, choice.spi), (Some(Group::Curve25519), 0x1000));
    let answer = [esp_answer(&choice.suite, &choice.additional, choice.number, 0x2000)];
    let accepted = accept_esp(&theirs, &DEFAULT, &answer, Some((Group::Curve25519, &[]))).unwrap();
    assert_eq!((accepted.suite, accepted.spi), (choice.suite, 0x2000));
    assert_eq!(
        accept_esp(&theirs, &DEFAULT, &answer, None),
        None,
        "the answer has a group that was not exchanged"
    );

    let none = ChildGroups::Wanted { ke_group: None, fallback: &[], additional: &[] };
    assert!(choose_esp(&own, &DEFAULT, &offer, none).is_none(), "the peer insists on a group");
    let plain = esp_offer(&own, &DEFAULT, 0x1000, Some(&[]));
    assert!(choose_esp(&theirs, &DEFAULT, &plain, wanted).is_none(), "we insist on a group");
    assert_eq!(choose_esp(&own, &DEFAULT, &offer, ChildGroups::None).unwrap().suite.group, None);
}

/// RFC 4303 §2.2.1
#[test]
fn esp_without_an_esn_transform_means_short_numbers() {
    let own = EspProposal::defaults();
    let mut offer = esp_offer(&own, &DEFAULT, 0x1000, None);
    offer[0].transforms.retain(|t| t.kind != kind::SEQUENCE_NUMBERS);
    assert!(!choose_esp(&own, &DEFAULT, &offer[..1], ChildGroups::None).unwrap().suite.esn);
}
