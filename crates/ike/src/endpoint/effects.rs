//! Consequences of an event on one IKE SA for other IKE SAs.

use std::collections::VecDeque;

use crate::action::{Action, IkeDownReason, IkeId, LogLevel};
use crate::sa::IkeSa;
use crate::sa::child::ChildSa;
use crate::task::create_child::CreateChild;
use crate::task::redirect::Onward;
use crate::task::{Queued, Task, init, rekey_ike};
use crate::time::Time;

use super::{Endpoint, Ids};

/// A consequence for other IKE SAs, carried out once the IKE SA that caused it is back in the
/// tables.
pub(crate) enum Effect {
    /// A new IKE SA, made by rekeying.
    Adopt(Box<IkeSa>),
    /// Children and waiting tasks of a replaced IKE SA go to its successor.
    Inherit { old: IkeId, new: IkeId, estate: (Vec<ChildSa>, VecDeque<Queued>), was_up: bool },
    /// The peer uses this one of two simultaneously rekeyed IKE SAs: it is the successor.
    ClaimEstate(IkeId),
    /// The IKE SA whose successor this might have become is being closed: close this one, too.
    CloseOrphan(IkeId),
    /// This one of two simultaneously rekeyed IKE SAs ended before the decision: it inherits
    /// nothing.
    OrphanGone(IkeId),
    /// The peer sent INITIAL_CONTACT on this one.
    InitialContact(IkeId),
    /// The gateway of an IKE SA redirected us.
    Redirect(Box<Onward>),
    /// This one was just established by IKE_AUTH; there may be a second one by a simultaneous
    /// initiation.
    Established(IkeId),
}

impl Endpoint {
    pub(super) fn apply(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Adopt(sa) => {
                let id = sa.id;
                self.put_back(sa);
                self.with_sa(now, id, |_, _| {});
            }
            Effect::Inherit { old, new, estate, was_up } => {
                self.with_sa(now, new, |sa, ctx| sa.inherit(ctx, old, estate, was_up));
            }
            Effect::ClaimEstate(id) => self.claim_estate(now, id),
            Effect::CloseOrphan(id) => self.with_sa(now, id, |sa, ctx| {
                if sa.orphan_until.is_some() {
                    sa.close(ctx, IkeDownReason::Local);
                }
            }),
            Effect::OrphanGone(id) => {
                if let Some(old) = self.crossing_predecessor(id) {
                    self.with_sa(now, old, |sa, _| rekey_ike::forget_successor(sa));
                }
            }
            Effect::InitialContact(id) => self.initial_contact(now, id),
            Effect::Redirect(onward) => self.go_to_other_gateway(now, *onward),
            Effect::Established(id) => {
                let forced =
                    |sa: &IkeSa| sa.connection.initial_contact_force && !sa.initiator && sa.is_established();
                if self.sas.get(&id).is_some_and(|sa| forced(sa)) {
                    self.initial_contact(now, id);
                }
                self.close_surplus(now, id);
                self.close_superseded(now, id);
            }
        }
    }

    /// RFC 5685: a new IKE SA with the other gateway, for the same children.
    fn go_to_other_gateway(&mut self, now: Time, onward: Onward) {
        let Onward { old, connection, children, waiting, path, redirects, replaces } = onward;
        let mut children = children.into_iter();
        let (first, id) = (children.next(), connection.id);
        let mut effects = Vec::new();
        let mut ctx = self.ctx(now, &mut effects);
        let Some(mut sa) = init::begin(&mut ctx, connection, first, path, redirects) else { return };
        for child in children {
            sa.enqueue(Task::CreateChild(Box::new(CreateChild::new(child))), now);
        }
        sa.queue.extend(waiting);
        sa.supersedes = Some(old).filter(|_| replaces);
        ctx.act(Action::Redirected { old, new: sa.id, connection: id, remote: sa.remote });
        self.put_back(Box::new(sa));
    }

    /// The new gateway has taken over: send a Delete to the old one.
    fn close_superseded(&mut self, now: Time, id: IkeId) {
        if let Some(old) = self.sas.get(&id).and_then(|sa| sa.supersedes) {
            self.with_sa(now, old, |sa, ctx| {
                if sa.is_established() {
                    sa.close(ctx, IkeDownReason::Redirected);
                }
            });
        }
    }

    /// The IKE SA whose successor this one may become.
    fn crossing_predecessor(&self, id: IkeId) -> Option<IkeId> {
        self.sas.values().find(|sa| rekey_ike::crossing_successor(sa) == Some(id)).map(|sa| sa.id)
    }

    fn claim_estate(&mut self, now: Time, id: IkeId) {
        match self.crossing_predecessor(id) {
            Some(old) => self.with_sa(now, old, |sa, ctx| rekey_ike::leave_to(sa, ctx, id)),
            // The IKE SA that it was to succeed is gone, which was already reported to the caller:
            // close it.
            None => self.with_sa(now, id, |sa, ctx| sa.close(ctx, IkeDownReason::Local)),
        }
    }

    /// RFC 7296 §2.4: the peer knows no other IKE SA with us, so those that we have are left over
    /// from before its restart.
    ///
    /// IKE SAs that were established after this one began are kept: the peer could not yet know of
    /// them.
    fn initial_contact(&mut self, now: Time, id: IkeId) {
        let Some(sa) = self.sas.get(&id) else { return };
        let (born, own) = (sa.born, sa.local_identity.clone());
        let Some(identity) = &sa.remote_identity else { return };
        let left_over = |other: &IkeId| {
            self.sas.get(other).is_some_and(|other| {
                other.id != id
                    && other.local_identity == own
                    && other.established_at.is_some_and(|established| established < born)
            })
        };
        let ids: Vec<IkeId> =
            self.by_peer.get(identity).into_iter().flat_map(Ids::iter).filter(left_over).collect();
        for other in ids {
            self.with_sa(now, other, |sa, ctx| sa.down(ctx, IkeDownReason::InitialContact, false));
        }
    }

    /// Both ends initiated at once: of the two IKE SAs the one with the lowest nonce is surplus.
    ///
    /// RFC 7296 leaves this open; the rule is that of §2.8.1, so that both ends independently reach
    /// the same decision. Only IKE SAs whose negotiations overlapped are compared: a later one is
    /// intended. As packet loss may hide the overlap from one end, the end that sees it closes the
    /// surplus one even if it is not its initiator.
    fn close_surplus(&mut self, now: Time, id: IkeId) {
        let Some(sa) = self.sas.get(&id).filter(|sa| sa.connection.close_duplicates) else { return };
        let Some(identity) = &sa.remote_identity else { return };
        let crossing = |other: &IkeSa| {
            let with_same_ends = other.id != id
                && other.connection.id == sa.connection.id
                && other.remote_identity == sa.remote_identity
                && other.local_identity == sa.local_identity
                // An unresolved simultaneous rekey of it is closed together with the IKE SA that it
                // might succeed.
                && other.orphan_until.is_none();
            with_same_ends && {
                let origin = other.origin();
                origin.initiator != sa.initiator
                    && origin.established_at.is_some_and(|established| established >= sa.born)
            }
        };
        // A peer may have many connections with us, and a connection many peers.
        let (of_peer, of_connection) = (self.by_peer.get(identity), self.established.get(&sa.connection.id));
        let fewest = of_peer.into_iter().chain(of_connection).min_by_key(|ids| ids.len());
        let peers = fewest.into_iter().flat_map(Ids::iter);
        let Some(other) = peers.filter_map(|other| self.sas.get(&other)).find(|other| crossing(other)) else {
            return;
        };
        let lower = if sa.low_nonce < other.origin().low_nonce { sa } else { other };
        let surplus = lower.id;
        self.with_sa(now, surplus, |sa, ctx| {
            sa.log(ctx, LogLevel::Info, "both ends initiated: closing the surplus IKE SA");
            sa.close(ctx, IkeDownReason::Redundant);
        });
    }
}
