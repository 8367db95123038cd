//! Negotiating a Child SA: the part common to IKE_AUTH and CREATE_CHILD_SA.

use std::sync::Arc;

use crate::action::{Action, ChildHalf, ChildId, FailReason, InstallChild, LogLevel};
use crate::algorithm::Group;
use crate::config::{ChildTag, Connection, Mode};
use crate::keys::child_keys;
use crate::message::{Notify, Payload, Proposal, notify_type};
use crate::negotiate::{ChildGroups, accept_esp, additional_of_children, choose_esp, esp_answer, esp_offer};
use crate::sa::IkeSa;
use crate::sa::child::{ChildSa, limits};
use crate::secret::Secret;
use crate::selector::{TrafficSelector, is_subset, narrow};
use crate::suite::{Additional, AdditionalExchange, EspProposal, EspSuite};

use super::Ctx;
use super::parts::Parts;

/// Limit of Child SAs that a peer may create on one IKE SA: bounds the resources of an
/// authenticated peer.
pub(crate) const MAX_CHILDREN: usize = 256;

/// Our side of a child that we requested.
pub(crate) struct Attempt {
    pub(crate) tag: ChildTag,
    pub(crate) spi: u32,
    pub(crate) proposals: Vec<EspProposal>,
    /// Additional exchanges of a child with a key exchange of its own.
    pub(crate) additional: Vec<AdditionalExchange>,
    mode: Mode,
    transport_required: bool,
    offered_local: Vec<TrafficSelector>,
    offered_remote: Vec<TrafficSelector>,
}

/// The negotiated parameters, except our SPI.
struct Terms {
    tag: ChildTag,
    outbound_spi: u32,
    suite: EspSuite,
    additional: Additional,
    mode: Mode,
    local_selectors: Vec<TrafficSelector>,
    remote_selectors: Vec<TrafficSelector>,
    tfc_padding_refused: bool,
}

/// A created child: the IKE SA's record of it, and the action that installs it.
pub(crate) struct Made {
    pub(crate) child: ChildSa,
    order: Box<InstallChild>,
}

/// Further inputs of a child's keys: nonces, and the secret of its own key exchange.
pub(crate) struct Material<'a> {
    pub(crate) nonce_i: &'a [u8],
    pub(crate) nonce_r: &'a [u8],
    pub(crate) shared: Option<&'a Secret>,
    /// The secrets of additional key exchanges.
    pub(crate) additional: &'a [Secret],
}

/// An error notify that refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) Vec<u8>);

impl Refusal {
    pub(crate) fn new(notify: u16) -> Self {
        Refusal(notify, vec![])
    }

    pub(crate) fn payload(self) -> Payload {
        Payload::notify(self.0, self.1)
    }
}

impl Attempt {
    /// Allocates an SPI and builds the offer.
    pub(crate) fn new(
        ctx: &mut Ctx<'_>,
        connection: &Arc<Connection>,
        tag: ChildTag,
        trigger: Option<(TrafficSelector, TrafficSelector)>,
        current: Option<(&[TrafficSelector], &[TrafficSelector])>,
    ) -> Result<Self, FailReason> {
        let policy = connection.child(tag).ok_or(FailReason::NoProposal)?;
        let (mut local, mut remote) = (policy.local_selectors.clone(), policy.remote_selectors.clone());
        match (trigger, current) {
            (Some((ours, theirs)), _) => {
                local.insert(0, ours);
                remote.insert(0, theirs);
            }
            (None, Some((ours, theirs))) if !is_subset(ours, &local) || !is_subset(theirs, &remote) => {
                (local, remote) = (ours.to_vec(), theirs.to_vec());
            }
            _ => {}
        }
        let spi = ctx.spis.allocate(ctx.random).ok_or(FailReason::LocalResources)?;
        let additional = additional_of_children(&connection.ike_proposals);
        Ok(Attempt {
            tag,
            spi,
            proposals: policy.proposals.clone(),
            additional,
            mode: policy.mode,
            transport_required: policy.transport_required,
            offered_local: local,
            offered_remote: remote,
        })
    }

    /// Offers a key exchange where the configuration names none: for a peer that insists on forward
    /// secrecy.
    pub(crate) fn add_forward_secrecy(&mut self, groups: &[Group]) {
        for proposal in self.proposals.iter_mut().filter(|proposal| proposal.groups.is_empty()) {
            proposal.groups = groups.to_vec();
        }
    }

    /// Releases the SPI: no child was created.
    pub(crate) fn release(&self, ctx: &mut Ctx<'_>) {
        ctx.spis.release(self.spi);
    }

    /// The notifies and the SA payload, which go before nonce and KE.
    pub(crate) fn offer(&self, ctx: &Ctx<'_>, with_groups: bool) -> Vec<Payload> {
        let mut payloads = mode_notifies(self.mode);
        let groups = with_groups.then_some(&self.additional[..]);
        payloads.push(Payload::Sa(esp_offer(&self.proposals, ctx.provider(), self.spi, groups)));
        payloads
    }

    /// The traffic selectors, which go last.
    pub(crate) fn selectors(&self) -> [Payload; 2] {
        [Payload::TsI(self.offered_local.clone()), Payload::TsR(self.offered_remote.clone())]
    }

    /// Checks the peer's answer against the offer.
    fn check(&self, ctx: &Ctx<'_>, parts: &Parts, group: Option<Group>) -> Result<Terms, FailReason> {
        let answer = parts.sa.as_deref().ok_or(FailReason::Syntax)?;
        let exchange = group.map(|group| (group, &self.additional[..]));
        let choice =
            accept_esp(&self.proposals, ctx.provider(), answer, exchange).ok_or(FailReason::NoProposal)?;
        let (local, remote) = (parts.ts_i.clone(), parts.ts_r.clone());
        let (local_selectors, remote_selectors) = local.zip(remote).ok_or(FailReason::Syntax)?;
        // RFC 7296 §2.9: the responder may only narrow.
        let narrowed = is_subset(&local_selectors, &self.offered_local)
            && is_subset(&remote_selectors, &self.offered_remote);
        if local_selectors.is_empty() || remote_selectors.is_empty() || !narrowed {
            return Err(FailReason::TsUnacceptable);
        }
        Ok(Terms {
            tag: self.tag,
            outbound_spi: choice.spi,
            suite: choice.suite,
            additional: choice.additional,
            mode: agreed_mode(self.mode, self.transport_required, parts).ok_or(FailReason::NoProposal)?,
            local_selectors,
            remote_selectors,
            tfc_padding_refused: parts.has(notify_type::ESP_TFC_PADDING_NOT_SUPPORTED),
        })
    }

    /// The additional exchanges that the peer's answer asks for.
    pub(crate) fn agreed_additional(
        &self,
        ctx: &Ctx<'_>,
        parts: &Parts,
        group: Option<Group>,
    ) -> Result<Additional, FailReason> {
        self.check(ctx, parts, group).map(|terms| terms.additional)
    }

    /// Creates the child from the peer's answer. The child then owns the SPI; on an error the
    /// caller must still release it.
    pub(crate) fn accept(
        &self,
        sa: &IkeSa,
        ctx: &mut Ctx<'_>,
        parts: &Parts,
        group: Option<Group>,
        material: &Material<'_>,
        replaces: Option<ChildId>,
    ) -> Result<Made, FailReason> {
        let terms = self.check(ctx, parts, group)?;
        make(sa, ctx, terms, (true, self.spi), material, replaces)
    }
}

/// A child requested by the peer that we accept.
pub(crate) struct Choice {
    terms: Terms,
    /// Number of the chosen proposal.
    number: u8,
}

impl Choice {
    /// The group of the child's own key exchange, if it has one.
    pub(crate) fn group(&self) -> Option<Group> {
        self.terms.suite.group
    }

    pub(crate) fn additional(&self) -> Additional {
        self.terms.additional
    }
}

/// Finds the policy, proposal and selectors for a child that the peer requests. `only`: the policy
/// of the child that it replaces.
pub(crate) fn choose(
    sa: &IkeSa,
    ctx: &Ctx<'_>,
    parts: &Parts,
    groups: ChildGroups<'_>,
    only: Option<ChildTag>,
) -> Result<Choice, Refusal> {
    if sa.children.len() >= MAX_CHILDREN {
        return Err(Refusal::new(notify_type::NO_ADDITIONAL_SAS));
    }
    let syntax = || Refusal::new(notify_type::INVALID_SYNTAX);
    let offered: &[Proposal] = parts.sa.as_deref().ok_or_else(syntax)?;
    let theirs = parts.ts_i.as_deref().ok_or_else(syntax)?;
    let ours = parts.ts_r.as_deref().ok_or_else(syntax)?;

    let mut candidates: Vec<_> = sa
        .connection
        .children
        .iter()
        .filter(|policy| only.is_none_or(|tag| policy.tag == tag))
        .map(|policy| {
            (policy, narrow(ours, &policy.local_selectors), narrow(theirs, &policy.remote_selectors))
        })
        .filter(|(_, local, remote)| !local.is_empty() && !remote.is_empty())
        .collect();
    if candidates.is_empty() {
        return Err(Refusal::new(notify_type::TS_UNACCEPTABLE));
    }
    // RFC 7296 §2.9: prefer a policy that needs no narrowing, then one that contains the triggering
    // packet, which the first selectors describe. Among equals the order of configuration decides.
    let has_trigger = |set: &[TrafficSelector], asked: &[TrafficSelector]| {
        asked.first().is_some_and(|trigger| set.iter().any(|selector| selector.contains(trigger)))
    };
    candidates.sort_by_key(|(_, local, remote)| {
        let whole = is_subset(ours, local) && is_subset(theirs, remote);
        let trigger = has_trigger(local, ours) && has_trigger(remote, theirs);
        (!whole, !trigger)
    });
    for (policy, local_selectors, remote_selectors) in candidates {
        let Some(choice) = choose_esp(&policy.proposals, ctx.provider(), offered, groups) else { continue };
        let Some(mode) = agreed_mode(policy.mode, policy.transport_required, parts) else { continue };
        let terms = Terms {
            tag: policy.tag,
            outbound_spi: choice.spi,
            suite: choice.suite,
            additional: choice.additional,
            mode,
            local_selectors,
            remote_selectors,
            tfc_padding_refused: parts.has(notify_type::ESP_TFC_PADDING_NOT_SUPPORTED),
        };
        return Ok(Choice { terms, number: choice.number });
    }
    Err(Refusal::new(notify_type::NO_PROPOSAL_CHOSEN))
}

/// The payloads of the answer that makes a child, the part before and the part after nonce and KE.
pub(crate) struct Answer {
    pub(crate) before: Vec<Payload>,
    pub(crate) behind: [Payload; 2],
}

/// A chosen child with our SPI, whose keys are not derived yet.
pub(crate) struct Chosen {
    terms: Terms,
    spi: u32,
}

impl Chosen {
    pub(crate) fn release(&self, ctx: &mut Ctx<'_>) {
        ctx.spis.release(self.spi);
    }

    /// Creates the child; on failure the SPI is released.
    pub(crate) fn make(
        self,
        sa: &IkeSa,
        ctx: &mut Ctx<'_>,
        material: &Material<'_>,
        replaces: Option<ChildId>,
    ) -> Result<Made, Refusal> {
        let Chosen { terms, spi } = self;
        make(sa, ctx, terms, (false, spi), material, replaces).map_err(|_| {
            ctx.spis.release(spi);
            Refusal::new(notify_type::NO_PROPOSAL_CHOSEN)
        })
    }
}

/// The answer that accepts the chosen child.
pub(crate) fn answer(ctx: &mut Ctx<'_>, choice: Choice) -> Result<(Chosen, Answer), Refusal> {
    let no_room = || Refusal::new(notify_type::NO_ADDITIONAL_SAS);
    let spi = ctx.spis.allocate(ctx.random).ok_or_else(no_room)?;
    let Choice { terms, number } = choice;
    let mut before = mode_notifies(terms.mode);
    before.push(Payload::Sa(vec![esp_answer(&terms.suite, &terms.additional, number, spi)]));
    let behind = [Payload::TsI(terms.remote_selectors.clone()), Payload::TsR(terms.local_selectors.clone())];
    Ok((Chosen { terms, spi }, Answer { before, behind }))
}

/// Emits the install action and stores the child.
pub(crate) fn install(sa: &mut IkeSa, ctx: &mut Ctx<'_>, made: Made) {
    let Made { child, order } = made;
    let show = |selectors: &[TrafficSelector]| {
        selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    let (local, remote) = (show(&child.local_selectors), show(&child.remote_selectors));
    let spis = format!("in {:08x} out {:08x}", child.inbound_spi, child.outbound_spi);
    sa.log(ctx, LogLevel::Info, format!("child SA {local} to {remote} up, {spis}"));
    // Grow by one: most IKE SAs have one child, and there may be ten thousand IKE SAs.
    if sa.children.len() == sa.children.capacity() {
        sa.children.reserve_exact(1 + sa.children.len() / 2);
    }
    sa.children.push(child);
    ctx.act(Action::InstallChild(order));
}

fn make(
    sa: &IkeSa,
    ctx: &mut Ctx<'_>,
    terms: Terms,
    (initiator, inbound_spi): (bool, u32),
    material: &Material<'_>,
    replaces: Option<ChildId>,
) -> Result<Made, FailReason> {
    let framer = sa.framer.as_ref().ok_or(FailReason::Syntax)?;
    let nonces = (material.nonce_i, material.nonce_r);
    let (by_initiator, by_responder) = child_keys(
        ctx.provider(),
        framer.suite.prf,
        &framer.keys.d,
        &terms.suite,
        (material.shared, material.additional),
        nonces,
    )
    .map_err(|_| FailReason::NoProposal)?;
    let (outbound, inbound) =
        if initiator { (by_initiator, by_responder) } else { (by_responder, by_initiator) };
    let lifetime = sa.connection.child(terms.tag).map(|policy| policy.lifetime).unwrap_or_default();
    let (soft_limit, hard_limit) = limits(ctx, lifetime.soft, lifetime.jitter, lifetime.hard);
    // RFC 7296 §2.8: the responder of a rekeying sends on the new SA only after the peer has shown
    // that it is installed.
    let outbound_ready = initiator || replaces.is_none();
    let id = ctx.names.child();
    let child = ChildSa {
        id,
        tag: terms.tag,
        inbound_spi,
        outbound_spi: terms.outbound_spi,
        suite: terms.suite,
        local_selectors: terms.local_selectors.clone(),
        remote_selectors: terms.remote_selectors.clone(),
        rekeying: false,
        replaced_by: None,
        deleting: false,
        reported: false,
        outbound_ready,
        fate: None,
        soft_at: soft_limit,
        hard_at: hard_limit,
    };
    let order = Box::new(InstallChild {
        ike: sa.id,
        child: id,
        connection: sa.connection.id,
        tag: terms.tag,
        initiator,
        replaces,
        inbound: ChildHalf { spi: inbound_spi, ..inbound },
        outbound: ChildHalf { spi: terms.outbound_spi, ..outbound },
        outbound_ready,
        suite: terms.suite,
        mode: terms.mode,
        local_selectors: terms.local_selectors,
        remote_selectors: terms.remote_selectors,
        local: sa.local.ip(),
        remote: sa.remote.ip(),
        udp_encapsulation: sa.nat.any().then(|| (sa.local.port(), sa.remote.port())),
        tfc_padding_refused: terms.tfc_padding_refused,
        soft_limit,
        hard_limit,
    });
    Ok(Made { child, order })
}

/// RFC 7296 §1.3.1: transport mode only if both ends send the notify. `None` if it is required and
/// the peer does not send it: "If this is unacceptable to the initiator, the initiator MUST delete
/// the SA."
fn agreed_mode(own: Mode, transport_required: bool, parts: &Parts) -> Option<Mode> {
    match own {
        Mode::Transport if parts.has(notify_type::USE_TRANSPORT_MODE) => Some(Mode::Transport),
        Mode::Transport if transport_required => None,
        _ => Some(Mode::Tunnel),
    }
}

/// Our data plane neither sends nor wants TFC padding (RFC 7296 §1.3.1).
fn mode_notifies(mode: Mode) -> Vec<Payload> {
    let mut payloads = vec![Payload::Notify(Notify::new(notify_type::ESP_TFC_PADDING_NOT_SUPPORTED, vec![]))];
    if mode == Mode::Transport {
        payloads.push(Payload::notify(notify_type::USE_TRANSPORT_MODE, vec![]));
    }
    payloads
}
