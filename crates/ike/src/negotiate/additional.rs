//! Additional key exchanges in proposals (RFC 9370 §2.2.1).

use crate::algorithm::Group;
use crate::message::{Proposal, Transform, transform_type};
use crate::provider::Provider;
use crate::suite::{Additional, AdditionalExchange, Agreed, IkeProposal};

/// The transforms of an offer, one type for each exchange. An optional one also offers NONE.
pub(super) fn offer(exchanges: &[AdditionalExchange], provider: &Provider) -> Vec<Transform> {
    let mut transforms = Vec::new();
    for (kind, number) in kinds() {
        let Some(exchange) = of_number(exchanges, number) else { continue };
        let usable = exchange.groups.iter().filter(|&&group| provider.group(group).is_some());
        transforms.extend(usable.map(|group| Transform::new(kind, group.number())));
        if exchange.optional {
            transforms.push(Transform::new(kind, 0));
        }
    }
    transforms
}

/// One method for each exchange, or `None` if the offer and our configuration have none in common.
/// `main` is the method of the KE payload.
pub(super) fn choose(
    own: &[AdditionalExchange],
    provider: &Provider,
    offered: &Proposal,
    main: Option<Group>,
) -> Option<Additional> {
    let mut agreed = Additional::default();
    for (kind, number) in kinds() {
        let ids: Vec<u16> = offered
            .transforms
            .iter()
            .filter(|transform| transform.kind == kind && !transform.not_understood)
            .map(|transform| transform.id)
            .collect();
        let present = offered.transforms.iter().any(|transform| transform.kind == kind);
        let wanted = of_number(own, number);
        let dispensable = wanted.is_none_or(|exchange| exchange.optional);
        // RFC 9370 §2.2.1: no method is used twice.
        let fresh = |group: &&Group| Some(**group) != main && !agreed.methods().any(|used| used == **group);
        let common = wanted
            .into_iter()
            .flat_map(|exchange| &exchange.groups)
            .filter(fresh)
            .find(|group| ids.contains(&group.number()) && provider.group(**group).is_some());
        let outcome = match common {
            Some(group) => Agreed::Method(*group),
            None if !dispensable => return None,
            None if !present => Agreed::Nothing,
            None if ids.contains(&0) => Agreed::Declined,
            None => return None,
        };
        if let Some(slot) = agreed.0.get_mut(usize::from(number) - 1) {
            *slot = outcome;
        }
    }
    Some(agreed)
}

/// The transforms of an answer: what was chosen, of each type that was offered (RFC 7296 §2.7).
pub(super) fn answer(agreed: &Additional) -> impl Iterator<Item = Transform> + '_ {
    transform_type::ADDITIONAL.into_iter().zip(&agreed.0).filter_map(|(kind, agreed)| match agreed {
        Agreed::Nothing => None,
        Agreed::Declined => Some(Transform::new(kind, 0)),
        Agreed::Method(group) => Some(Transform::new(kind, group.number())),
    })
}

/// The configured exchanges where none can be negotiated: optional ones are dropped, required ones
/// make the proposal fail.
pub(super) fn without_methods(exchanges: &[AdditionalExchange]) -> Vec<AdditionalExchange> {
    exchanges.iter().map(|exchange| AdditionalExchange { groups: vec![], ..exchange.clone() }).collect()
}

/// The additional exchanges of Child SAs that have a key exchange of their own: those of the IKE
/// SA's proposals, all optional, since the child's keys also come from the IKE SA's.
pub(crate) fn of_children(proposals: &[IkeProposal]) -> Vec<AdditionalExchange> {
    let mut exchanges: Vec<AdditionalExchange> = Vec::new();
    for exchange in proposals.iter().flat_map(|proposal| &proposal.additional) {
        match exchanges.iter_mut().find(|known| known.number == exchange.number) {
            Some(known) => {
                let new = exchange.groups.iter().filter(|group| !known.groups.contains(group)).copied();
                let new: Vec<Group> = new.collect();
                known.groups.extend(new);
            }
            None => exchanges.push(AdditionalExchange { optional: true, ..exchange.clone() }),
        }
    }
    exchanges
}

fn kinds() -> impl Iterator<Item = (u8, u8)> {
    transform_type::ADDITIONAL.into_iter().zip(1..)
}

fn of_number(exchanges: &[AdditionalExchange], number: u8) -> Option<&AdditionalExchange> {
    exchanges.iter().find(|exchange| exchange.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::protocol;
    use crate::provider::DEFAULT;

    fn exchange(number: u8, optional: bool) -> AdditionalExchange {
        AdditionalExchange { number, groups: vec![Group::MlKem768], optional }
    }

    fn offered(exchanges: &[AdditionalExchange]) -> Proposal {
        Proposal { number: 1, protocol: protocol::IKE, spi: vec![], transforms: offer(exchanges, &DEFAULT) }
    }

    fn agreed(own: &[AdditionalExchange], theirs: &[AdditionalExchange]) -> Option<Vec<Group>> {
        let main = Some(Group::Curve25519);
        choose(own, &DEFAULT, &offered(theirs), main).map(|agreed| agreed.methods().collect())
    }

    /// RFC 9370 §2.2.1
    #[test]
    fn both_sides_decide_whether_an_exchange_is_needed() {
        let (needed, optional) = ([exchange(1, false)], [exchange(1, true)]);
        assert_eq!(agreed(&needed, &needed), Some(vec![Group::MlKem768]));
        assert_eq!(agreed(&optional, &optional), Some(vec![Group::MlKem768]));
        assert_eq!(agreed(&[], &optional), Some(vec![]), "NONE is answered");
        assert_eq!(agreed(&[], &needed), None, "the peer insists");
        assert_eq!(agreed(&optional, &[]), Some(vec![]));
        assert_eq!(agreed(&needed, &[]), None, "we insist");
        assert_eq!(agreed(&[exchange(2, false)], &needed), None, "another place");
    }

    /// RFC 9370 §2.2.1
    #[test]
    fn no_method_is_used_twice() {
        assert_eq!(
            agreed(&[exchange(1, false), exchange(2, false)], &[exchange(1, false), exchange(2, false)]),
            None
        );
        let twice = [exchange(1, true), exchange(2, true)];
        assert_eq!(agreed(&twice, &twice), Some(vec![Group::MlKem768]));
        assert_eq!(
            choose(&twice, &DEFAULT, &offered(&twice), Some(Group::MlKem768)).unwrap().methods().count(),
            0
        );
    }

    #[test]
    fn an_answer_has_each_type_that_was_offered() {
        let chosen = choose(&[], &DEFAULT, &offered(&[exchange(3, true)]), None).unwrap();
        assert_eq!(answer(&chosen).collect::<Vec<_>>(), [Transform::new(8, 0)]);
    }
}
