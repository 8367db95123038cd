//! The books of IKE SAs and SA pairs: each entry is found by its connection or its IKE SA without a search through all.

use ike::{ChildId, ConnectionId, IkeId};

use super::{Brain, IkeSa, PairRecord};

impl Brain {
    pub(super) fn enter_ike(&mut self, ike: IkeId, sa: IkeSa) {
        self.ikes_of.insert((sa.connection, ike));
        self.ike_sas.insert(ike, sa);
        self.note_detection(ike);
    }

    pub(super) fn strike_ike(&mut self, ike: IkeId) -> Option<IkeSa> {
        let sa = self.ike_sas.remove(&ike)?;
        self.ikes_of.remove(&(sa.connection, ike));
        self.note_detection(ike);
        Some(sa)
    }

    pub(super) fn enter_pair(&mut self, child: ChildId, record: PairRecord) {
        self.pairs_of.extend(record.ike.map(|ike| (ike, child)));
        self.pairs.insert(child, record);
    }

    pub(super) fn strike_pair(&mut self, child: ChildId) -> Option<PairRecord> {
        let record = self.pairs.remove(&child)?;
        if let Some(ike) = record.ike {
            self.pairs_of.remove(&(ike, child));
        }
        Some(record)
    }

    /// The pairs of `old` are from now on those of `new`.
    pub(super) fn move_pairs(&mut self, old: IkeId, new: IkeId) {
        for child in self.pairs_under(old) {
            self.pairs_of.remove(&(old, child));
            self.pairs_of.insert((new, child));
            if let Some(record) = self.pairs.get_mut(&child) {
                record.ike = Some(new);
            }
        }
    }

    /// The IKE SAs of a connection, those under way included, oldest first.
    pub(super) fn ikes_of(
        &self,
        connection: ConnectionId,
    ) -> impl DoubleEndedIterator<Item = (IkeId, &IkeSa)> {
        let range = self.ikes_of.range((connection, IkeId(0))..=(connection, IkeId(u64::MAX)));
        range.filter_map(|(_, ike)| Some((*ike, self.ike_sas.get(ike)?)))
    }

    /// The pairs that were made over an IKE SA, oldest first.
    pub(super) fn pairs_under(&self, ike: IkeId) -> Vec<ChildId> {
        self.pairs_of.range((ike, ChildId(0))..=(ike, ChildId(u64::MAX))).map(|(_, child)| *child).collect()
    }
}
