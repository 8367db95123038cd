//! Decisions when both ends start exchanges about the same SA simultaneously (RFC 7296 §2.8.1,
//! §2.8.2, §2.25).

use crate::sa::child::ChildSa;
use crate::sa::{IkeSa, Phase};
use crate::task::Task;

/// How a peer's request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer it as usual.
    Proceed,
    /// TEMPORARY_FAILURE: ask again later.
    TemporaryFailure,
    /// CHILD_SA_NOT_FOUND.
    ChildNotFound,
}

/// The peer wants to create a child.
pub(crate) fn create_child(sa: &IkeSa) -> Verdict {
    match sa.phase {
        // §2.25.2: no new children while the IKE SA is being rekeyed or closed. An SA with
        // `orphan_until` waits for the decision which of two simultaneously rekeyed IKE SAs
        // inherits the children.
        Phase::Established if sa.orphan_until.is_some() => Verdict::TemporaryFailure,
        Phase::Established if matches!(sa.active, Some(Task::RekeyIke(_))) => Verdict::TemporaryFailure,
        Phase::Established => Verdict::Proceed,
        _ => Verdict::TemporaryFailure,
    }
}

/// The peer wants to rekey this child (`None`: we know none of that SPI).
pub(crate) fn rekey_child(sa: &IkeSa, child: Option<&ChildSa>) -> Verdict {
    match (create_child(sa), child) {
        // Our own CREATE_CHILD_SA is unanswered, and the peer may already have the child that it
        // creates.
        (Verdict::Proceed, None) if matches!(sa.active, Some(Task::CreateChild(_))) => {
            Verdict::TemporaryFailure
        }
        (Verdict::Proceed, None) => Verdict::ChildNotFound,
        // §2.25.1: we are closing it. If the reason is our finished rekeying, our Delete informs
        // the peer.
        (Verdict::Proceed, Some(child)) if child.deleting => Verdict::TemporaryFailure,
        // A second rekeying of what the peer has already replaced.
        (Verdict::Proceed, Some(child)) if child.replaced_by.is_some() => Verdict::ChildNotFound,
        // §2.25.1: we are rekeying it too: answer as usual, the nonces decide afterwards.
        (verdict, _) => verdict,
    }
}

/// The peer wants to rekey the IKE SA.
pub(crate) fn rekey_ike(sa: &IkeSa) -> Verdict {
    match (&sa.phase, &sa.active) {
        // §2.25.2: a child of it is being created, rekeyed or closed by us.
        (
            Phase::Established,
            Some(
                Task::CreateChild(_)
                | Task::DeleteChild { .. }
                | Task::DeleteSpi { .. }
                | Task::Complain { .. },
            ),
        ) => Verdict::TemporaryFailure,
        (Phase::Established, Some(Task::RekeyIke(task))) if task.peer_rekey.is_some() => {
            Verdict::TemporaryFailure
        }
        (Phase::Established, _) if sa.orphan_until.is_some() => Verdict::TemporaryFailure,
        (Phase::Established, _) => Verdict::Proceed,
        _ => Verdict::TemporaryFailure,
    }
}

/// Two simultaneous exchanges have two nonces each. True if the lowest of the four is in ours: then
/// the SA of our exchange is surplus, and we as its initiator close it (§2.8.1, §2.8.2).
///
/// Nonces are compared octet by octet; one that is the beginning of the other is the lower.
pub(crate) fn ours_is_surplus(ours: (&[u8], &[u8]), theirs: (&[u8], &[u8])) -> bool {
    ours.0.min(ours.1) < theirs.0.min(theirs.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_four_nonces_loses() {
        assert!(ours_is_surplus((&[1], &[9]), (&[2], &[3])));
        assert!(!ours_is_surplus((&[2], &[3]), (&[9], &[1])));
        assert!(ours_is_surplus((&[1], &[9]), (&[1, 0], &[9])), "a prefix is lower");
    }

    #[test]
    fn the_two_ends_never_both_keep_or_both_close() {
        let (mine, other) = ((&[5u8][..], &[7u8][..]), (&[6u8][..], &[8u8][..]));
        assert_ne!(ours_is_surplus(mine, other), ours_is_surplus(other, mine));
    }
}
