//! Secondary indexes: connection → IKE SAs, IKE SA → SA pairs.

use ike::{ChildId, ConnectionId, IkeId};

use super::{IkeSa, SaPair, Tunnels};

impl Tunnels {
    pub(super) fn insert_ike(&mut self, ike: IkeId, sa: IkeSa) {
        self.by_connection.insert((sa.connection(), ike));
        self.ike_sas.insert(ike, sa);
        self.set_detection_timer(ike);
    }

    pub(super) fn remove_ike(&mut self, ike: IkeId) -> Option<IkeSa> {
        let sa = self.ike_sas.remove(&ike)?;
        self.by_connection.remove(&(sa.connection(), ike));
        self.set_detection_timer(ike);
        Some(sa)
    }

    /// Adds a pair that was installed, or adopted from a previous control plane.
    pub fn insert_pair(&mut self, child: ChildId, pair: SaPair) {
        self.by_ike.extend(pair.ike().map(|ike| (ike, child)));
        self.pairs.insert(child, pair);
    }

    /// Removes a pair.
    pub fn remove_pair(&mut self, child: ChildId) -> Option<SaPair> {
        let pair = self.pairs.remove(&child)?;
        if let Some(ike) = pair.ike() {
            self.by_ike.remove(&(ike, child));
        }
        Some(pair)
    }

    /// Moves the pairs of `old` to `new`.
    pub(super) fn move_pairs(&mut self, old: IkeId, new: IkeId) {
        for child in self.pairs_under(old) {
            self.by_ike.remove(&(old, child));
            self.by_ike.insert((new, child));
            if let Some(pair) = self.pairs.get_mut(&child) {
                pair.move_to(new);
            }
        }
    }

    /// The IKE SAs of a connection, including those being negotiated, oldest first.
    pub(super) fn ikes_of(
        &self,
        connection: ConnectionId,
    ) -> impl DoubleEndedIterator<Item = (IkeId, &IkeSa)> {
        let range = self.by_connection.range((connection, IkeId(0))..=(connection, IkeId(u64::MAX)));
        range.filter_map(|(_, ike)| Some((*ike, self.ike_sas.get(ike)?)))
    }

    /// The pairs of an IKE SA, oldest first.
    pub fn pairs_under(&self, ike: IkeId) -> Vec<ChildId> {
        self.by_ike.range((ike, ChildId(0))..=(ike, ChildId(u64::MAX))).map(|(_, child)| *child).collect()
    }
}
