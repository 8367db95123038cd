//! Configured proposals as SA payloads, and the choice among offered ones (RFC 7296 §2.7, §3.3).

mod additional;

use crate::algorithm::{Encryption, Group, Integrity, Prf};
use crate::message::{Proposal, Transform, protocol, transform_type as kind};
use crate::provider::Provider;
use crate::suite::{Additional, AdditionalExchange, EspProposal, EspSuite, IkeProposal, IkeSuite};

pub(crate) use additional::of_children as additional_of_children;

/// The offer for an IKE SA. `spi` is empty in IKE_SA_INIT and ours when rekeying.
pub(crate) fn ike_offer(proposals: &[IkeProposal], provider: &Provider, spi: &[u8]) -> Vec<Proposal> {
    let mut offer = Vec::new();
    for lists in proposals.iter().flat_map(|proposal| ike_lists(proposal, provider)) {
        let mut transforms = encryption_transforms(&lists.encryption);
        transforms.extend(lists.prf.iter().map(|prf| Transform::new(kind::PRF, prf.transform())));
        transforms.extend(lists.integrity.iter().map(|i| Transform::new(kind::INTEGRITY, i.transform())));
        transforms.extend(group_transforms(&lists.groups));
        let plain = transforms.clone();
        transforms.extend(additional::offer(&lists.additional, provider));
        push(&mut offer, protocol::IKE, spi, transforms);
        // A peer that does not know the transform types must skip the first proposal
        // (RFC 7296 §3.3.6).
        if !lists.additional.is_empty() && lists.additional.iter().all(|exchange| exchange.optional) {
            push(&mut offer, protocol::IKE, spi, plain);
        }
    }
    offer
}

/// The first group of the offer: the one that the KE payload is for.
pub(crate) fn first_group(proposals: &[IkeProposal], provider: &Provider) -> Option<Group> {
    proposals
        .iter()
        .flat_map(|proposal| ike_lists(proposal, provider))
        .find_map(|lists| lists.groups.first().copied())
}

/// Every group of the offer.
pub(crate) fn offers_group(proposals: &[IkeProposal], provider: &Provider, group: Group) -> bool {
    proposals
        .iter()
        .flat_map(|proposal| ike_lists(proposal, provider))
        .any(|lists| lists.groups.contains(&group))
}

/// Chooses as a responder: (suite, number of the offered proposal, its SPI).
///
/// Our order of preference decides, except that the group of the received KE payload is preferred
/// if acceptable, which avoids an INVALID_KE_PAYLOAD round trip. `additional`: the peer can do
/// additional key exchanges (RFC 9370 §2.2.1: not without IKE_INTERMEDIATE in IKE_SA_INIT).
pub(crate) fn choose_ike(
    own: &[IkeProposal],
    provider: &Provider,
    offered: &[Proposal],
    ke_group: Option<Group>,
    additional: bool,
) -> Option<(IkeSuite, u8, Vec<u8>)> {
    for lists in own.iter().flat_map(|proposal| ike_lists(proposal, provider)) {
        for offer in offered.iter().filter(|offer| offer.protocol == protocol::IKE) {
            let known = [kind::ENCRYPTION, kind::PRF, kind::INTEGRITY, kind::KEY_EXCHANGE];
            let Some(theirs) = Offered::read(offer, &known) else { continue };
            let Some(suite) = theirs.ike_suite(&lists, ke_group) else { continue };
            let own = if additional {
                lists.additional.clone()
            } else {
                additional::without_methods(&lists.additional)
            };
            if let Some(additional) = additional::choose(&own, provider, offer, Some(suite.group)) {
                return Some((IkeSuite { additional, ..suite }, offer.number, offer.spi.clone()));
            }
        }
    }
    None
}

/// The answer to an offer: exactly the chosen transforms.
pub(crate) fn ike_answer(suite: &IkeSuite, number: u8, spi: &[u8]) -> Proposal {
    let mut transforms = encryption_transforms(&[suite.encryption]);
    transforms.push(Transform::new(kind::PRF, suite.prf.transform()));
    transforms.extend(suite.integrity.map(|i| Transform::new(kind::INTEGRITY, i.transform())));
    transforms.push(Transform::new(kind::KEY_EXCHANGE, suite.group.number()));
    transforms.extend(additional::answer(&suite.additional));
    Proposal { number, protocol: protocol::IKE, spi: spi.to_vec(), transforms }
}

/// Checks an answer as an initiator (RFC 7296 §2.7: it must be one of our proposals, with one
/// transform of each type): (suite, the peer's SPI).
pub(crate) fn accept_ike(
    own: &[IkeProposal],
    provider: &Provider,
    answer: &[Proposal],
) -> Option<(IkeSuite, Vec<u8>)> {
    let [answer] = answer else { return None };
    if !chosen(answer) {
        return None;
    }
    choose_ike(own, provider, std::slice::from_ref(answer), None, true).map(|(suite, _, spi)| (suite, spi))
}

/// The offer for a Child SA with our inbound SPI. `groups` is `None` in IKE_AUTH (RFC 7296 §1.2),
/// else the additional exchanges of a child with a key exchange of its own.
pub(crate) fn esp_offer(
    proposals: &[EspProposal],
    provider: &Provider,
    spi: u32,
    groups: Option<&[AdditionalExchange]>,
) -> Vec<Proposal> {
    let mut offer = Vec::new();
    for lists in proposals.iter().flat_map(esp_lists) {
        let mut transforms = encryption_transforms(&lists.encryption);
        transforms.extend(lists.integrity.iter().map(|i| Transform::new(kind::INTEGRITY, i.transform())));
        if groups.is_some() {
            transforms.extend(group_transforms(&supported_groups(&lists.groups, provider)));
        }
        transforms.extend(lists.esn.iter().map(|&esn| Transform::new(kind::SEQUENCE_NUMBERS, esn.into())));
        let more = groups.filter(|_| !lists.groups.is_empty()).unwrap_or_default();
        let more = additional::offer(more, provider);
        if !more.is_empty() {
            push(&mut offer, protocol::ESP, &spi.to_be_bytes(), [transforms.clone(), more].concat());
        }
        push(&mut offer, protocol::ESP, &spi.to_be_bytes(), transforms);
    }
    offer
}

/// The group that the KE payload of a CREATE_CHILD_SA is for, if the configuration wants one.
pub(crate) fn first_esp_group(proposals: &[EspProposal], provider: &Provider) -> Option<Group> {
    proposals.iter().find_map(|proposal| supported_groups(&proposal.groups, provider).first().copied())
}

/// How the key exchange transforms of a Child SA proposal are treated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChildGroups<'a> {
    /// IKE_AUTH: there is none, and transforms for one are ignored.
    None,
    /// CREATE_CHILD_SA: the peer's KE payload, if any, and the groups accepted where the
    /// configuration names none (forward secrecy is granted to a peer that asks for it). Additional
    /// exchanges (RFC 9370) are done as far as `additional` allows.
    Wanted { ke_group: Option<Group>, fallback: &'a [Group], additional: &'a [AdditionalExchange] },
}

/// What was chosen for a Child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EspChoice {
    pub(crate) suite: EspSuite,
    pub(crate) additional: Additional,
    /// Number of the offered proposal.
    pub(crate) number: u8,
    /// The peer's SPI.
    pub(crate) spi: u32,
}

/// Chooses as a responder.
pub(crate) fn choose_esp(
    own: &[EspProposal],
    provider: &Provider,
    offered: &[Proposal],
    groups: ChildGroups<'_>,
) -> Option<EspChoice> {
    for lists in own.iter().flat_map(esp_lists) {
        for offer in offered.iter().filter(|offer| offer.protocol == protocol::ESP) {
            let known = [kind::ENCRYPTION, kind::INTEGRITY, kind::KEY_EXCHANGE, kind::SEQUENCE_NUMBERS];
            let Some(theirs) = Offered::read(offer, &known) else { continue };
            let Some(spi) =
                offer.spi.as_slice().try_into().ok().map(u32::from_be_bytes).filter(|&spi| spi >= 256)
            else {
                continue;
            };
            let Some(suite) = theirs.esp_suite(&lists, provider, groups) else { continue };
            let additional = match (groups, suite.group) {
                (ChildGroups::None, _) => Some(Additional::default()),
                (ChildGroups::Wanted { additional: own, .. }, Some(group)) => {
                    additional::choose(own, provider, offer, Some(group))
                }
                (ChildGroups::Wanted { .. }, None) => additional::choose(&[], provider, offer, None),
            };
            if let Some(additional) = additional {
                return Some(EspChoice { suite, additional, number: offer.number, spi });
            }
        }
    }
    None
}

/// The answer to an offer, with our inbound SPI.
pub(crate) fn esp_answer(suite: &EspSuite, additional: &Additional, number: u8, spi: u32) -> Proposal {
    let mut transforms = encryption_transforms(&[suite.encryption]);
    transforms.extend(suite.integrity.map(|i| Transform::new(kind::INTEGRITY, i.transform())));
    transforms.extend(suite.group.map(|group| Transform::new(kind::KEY_EXCHANGE, group.number())));
    transforms.push(Transform::new(kind::SEQUENCE_NUMBERS, suite.esn.into()));
    transforms.extend(additional::answer(additional));
    Proposal { number, protocol: protocol::ESP, spi: spi.to_be_bytes().to_vec(), transforms }
}

/// Checks an answer as an initiator. `exchange`: the group of the KE payloads exchanged, if any,
/// and the additional exchanges offered.
pub(crate) fn accept_esp(
    own: &[EspProposal],
    provider: &Provider,
    answer: &[Proposal],
    exchange: Option<(Group, &[AdditionalExchange])>,
) -> Option<EspChoice> {
    let [answer] = answer else { return None };
    if !chosen(answer) {
        return None;
    }
    let group = exchange.map(|(group, _)| group);
    // Without KE payloads an answer with a group does not match our offer.
    if group.is_none() && answer.transforms.iter().any(|t| t.kind == kind::KEY_EXCHANGE && t.id != 0) {
        return None;
    }
    let groups = match exchange {
        None => ChildGroups::None,
        Some((_, additional)) => ChildGroups::Wanted { ke_group: group, fallback: &[], additional },
    };
    let choice = choose_esp(own, provider, std::slice::from_ref(answer), groups)?;
    (choice.suite.group == group).then_some(choice)
}

/// RFC 7296 §2.7: an answer has one transform of each type.
fn chosen(answer: &Proposal) -> bool {
    answer.transforms.iter().enumerate().all(|(position, transform)| {
        answer.transforms.iter().take(position).all(|other| other.kind != transform.kind)
    })
}

fn push(offer: &mut Vec<Proposal>, protocol: u8, spi: &[u8], transforms: Vec<Transform>) {
    // The proposal number is one octet; the configuration never reaches that many proposals.
    if let Ok(number) = u8::try_from(offer.len() + 1) {
        offer.push(Proposal { number, protocol, spi: spi.to_vec(), transforms });
    }
}

fn encryption_transforms(encryption: &[Encryption]) -> Vec<Transform> {
    let transform = |algorithm: &Encryption| {
        let (id, bits) = algorithm.transform();
        Transform::with_key_bits(kind::ENCRYPTION, id, bits)
    };
    encryption.iter().map(transform).collect()
}

fn group_transforms(groups: &[Group]) -> Vec<Transform> {
    groups.iter().map(|group| Transform::new(kind::KEY_EXCHANGE, group.number())).collect()
}

fn supported_groups(groups: &[Group], provider: &Provider) -> Vec<Group> {
    groups.iter().copied().filter(|&group| provider.group(group).is_some() && !group.is_kem()).collect()
}

/// One kind of mode of a configured proposal, without what the backend lacks.
struct IkeLists {
    encryption: Vec<Encryption>,
    integrity: Vec<Integrity>,
    prf: Vec<Prf>,
    groups: Vec<Group>,
    additional: Vec<AdditionalExchange>,
}

/// A configured proposal as up to two wire proposals: combined modes come without integrity
/// transforms and so in one of their own (RFC 7296 §3.3).
fn ike_lists(proposal: &IkeProposal, provider: &Provider) -> Vec<IkeLists> {
    let usable = |combined: bool| {
        let fits = |e: &Encryption| {
            e.is_aead() == combined && e.usable_for_ike() && provider.supports_encryption(*e)
        };
        proposal.encryption.iter().copied().filter(fits).collect::<Vec<_>>()
    };
    let prf: Vec<Prf> =
        proposal.effective_prf().into_iter().filter(|&prf| provider.prf(prf).is_some()).collect();
    let groups = supported_groups(&proposal.groups, provider);
    let combined = IkeLists {
        encryption: usable(true),
        integrity: vec![],
        prf: prf.clone(),
        groups: groups.clone(),
        additional: proposal.additional.clone(),
    };
    let integrity = proposal.integrity.clone();
    let additional = proposal.additional.clone();
    let other = IkeLists { encryption: usable(false), integrity, prf, groups, additional };
    let complete = |lists: &IkeLists, combined: bool| {
        !lists.encryption.is_empty()
            && !lists.prf.is_empty()
            && !lists.groups.is_empty()
            && (combined || !lists.integrity.is_empty())
    };
    [(combined, true), (other, false)]
        .into_iter()
        .filter(|(lists, is_combined)| complete(lists, *is_combined))
        .map(|(lists, _)| lists)
        .collect()
}

fn esp_lists(proposal: &EspProposal) -> Vec<EspProposal> {
    let of_mode = |combined: bool| {
        let encryption: Vec<_> =
            proposal.encryption.iter().copied().filter(|e| e.is_aead() == combined).collect();
        let integrity = if combined { vec![] } else { proposal.integrity.clone() };
        EspProposal { encryption, integrity, groups: proposal.groups.clone(), esn: proposal.esn.clone() }
    };
    let complete = |lists: &EspProposal, combined: bool| {
        !lists.encryption.is_empty() && !lists.esn.is_empty() && (combined || !lists.integrity.is_empty())
    };
    [true, false]
        .into_iter()
        .map(|combined| (of_mode(combined), combined))
        .filter(|(lists, combined)| complete(lists, *combined))
        .map(|(lists, _)| lists)
        .collect()
}

/// The usable transforms of an offered proposal, by type.
struct Offered {
    encryption: Vec<Encryption>,
    integrity: Vec<Integrity>,
    /// The proposal names integrity transforms at all, other than NONE.
    wants_integrity: bool,
    prf: Vec<Prf>,
    groups: Vec<Group>,
    /// No key exchange is acceptable to the peer: there is no such transform, or one of value NONE.
    no_group: bool,
    esn: Vec<bool>,
}

impl Offered {
    /// `None` if a transform type is not known here: the proposal must then not be chosen (RFC 7296
    /// §3.3.6).
    fn read(proposal: &Proposal, known: &[u8]) -> Option<Self> {
        let foreign = |number| !known.contains(&number) && !kind::ADDITIONAL.contains(&number);
        if proposal.transforms.iter().any(|transform| foreign(transform.kind)) {
            return None;
        }
        let of =
            |wanted: u8| proposal.transforms.iter().filter(move |t| t.kind == wanted && !t.not_understood);
        Some(Offered {
            encryption: of(kind::ENCRYPTION)
                .filter_map(|t| Encryption::from_transform(t.id, t.key_bits))
                .collect(),
            integrity: of(kind::INTEGRITY).filter_map(|t| Integrity::from_transform(t.id)).collect(),
            wants_integrity: proposal.transforms.iter().any(|t| t.kind == kind::INTEGRITY && t.id != 0),
            prf: of(kind::PRF).filter_map(|t| Prf::from_transform(t.id)).collect(),
            groups: of(kind::KEY_EXCHANGE).filter_map(|t| Group::from_number(t.id)).collect(),
            no_group: of(kind::KEY_EXCHANGE).all(|t| t.id == 0) || of(kind::KEY_EXCHANGE).any(|t| t.id == 0),
            // RFC 7296 §3.3.2: a proposal without the transform means no ESN; peers of RFC 4306
            // leave it out.
            esn: match of(kind::SEQUENCE_NUMBERS).map(|t| t.id).collect::<Vec<_>>() {
                ids if ids.is_empty() => vec![false],
                ids => ids.into_iter().filter(|&id| id < 2).map(|id| id == 1).collect(),
            },
        })
    }

    fn ike_suite(&self, own: &IkeLists, ke_group: Option<Group>) -> Option<IkeSuite> {
        let (encryption, integrity) = self.cipher(&own.encryption, &own.integrity)?;
        let preferred = ke_group.filter(|group| own.groups.contains(group) && self.groups.contains(group));
        Some(IkeSuite {
            encryption,
            integrity,
            prf: first_common(&own.prf, &self.prf)?,
            group: preferred.or_else(|| first_common(&own.groups, &self.groups))?,
            additional: Additional::default(),
        })
    }

    fn esp_suite(&self, own: &EspProposal, provider: &Provider, groups: ChildGroups<'_>) -> Option<EspSuite> {
        let (encryption, integrity) = self.cipher(&own.encryption, &own.integrity)?;
        let group = match groups {
            ChildGroups::None => None,
            ChildGroups::Wanted { ke_group, fallback, .. } => {
                let accepted =
                    supported_groups(if own.groups.is_empty() { fallback } else { &own.groups }, provider);
                let preferred =
                    ke_group.filter(|group| accepted.contains(group) && self.groups.contains(group));
                match preferred.or_else(|| first_common(&accepted, &self.groups)) {
                    Some(group) => Some(group),
                    None if own.groups.is_empty() && self.no_group => None,
                    None => return None,
                }
            }
        };
        Some(EspSuite { encryption, integrity, esn: first_common(&own.esn, &self.esn)?, group })
    }

    fn cipher(
        &self,
        encryption: &[Encryption],
        integrity: &[Integrity],
    ) -> Option<(Encryption, Option<Integrity>)> {
        let encryption = first_common(encryption, &self.encryption)?;
        if encryption.is_aead() {
            // RFC 5282 §8: no integrity transform beside a combined mode, or only NONE.
            return (!self.wants_integrity).then_some((encryption, None));
        }
        Some((encryption, Some(first_common(integrity, &self.integrity)?)))
    }
}

fn first_common<T: PartialEq + Copy>(own: &[T], theirs: &[T]) -> Option<T> {
    own.iter().copied().find(|candidate| theirs.contains(candidate))
}

#[cfg(test)]
mod tests;
