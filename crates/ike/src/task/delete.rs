//! Closing Child SAs and IKE SAs (RFC 7296 §1.4.1), as the end that begins it.

use crate::action::{ChildId, RemoveReason};
use crate::message::{DeletePayload, Payload};
use crate::sa::{IkeSa, Phase};

use super::Ctx;

/// The Delete with our inbound SPIs; `None` if the peer has deleted the children meanwhile.
pub(super) fn children_request(sa: &IkeSa, children: &[ChildId]) -> Option<Vec<Payload>> {
    let spis: Vec<u32> =
        children.iter().filter_map(|&id| sa.child(id)).map(|child| child.inbound_spi).collect();
    (!spis.is_empty()).then(|| vec![Payload::Delete(DeletePayload::Esp(spis))])
}

/// The peer has answered, so the child is closed at both ends. The content of the answer does not
/// matter, since an answer without its SPIs means that it closed them on its own (§1.4.1).
pub(super) fn children_answered(sa: &mut IkeSa, ctx: &mut Ctx<'_>, children: &[ChildId]) {
    for &id in children {
        sa.remove_child(ctx, id, RemoveReason::Local);
    }
}

pub(super) fn spi_request(spi: u32) -> Vec<Payload> {
    vec![Payload::Delete(DeletePayload::Esp(vec![spi]))]
}

pub(super) fn ike_request() -> Vec<Payload> {
    vec![Payload::Delete(DeletePayload::Ike)]
}

/// The peer has answered our Delete: the IKE SA ends. Requests that the peer still retransmits are
/// not answered; it has closed the IKE SA.
pub(super) fn ike_answered(sa: &mut IkeSa) {
    sa.phase = Phase::Dead;
}
