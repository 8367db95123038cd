//! The IKE SAs with one peer: usually one, many where all peers with unconfigured addresses share a
//! connection.

use crate::action::IkeId;

/// A sorted list without spare capacity, as there may be one for each of ten thousand peers.
#[derive(Debug, Default)]
pub(crate) struct Ids(Vec<IkeId>);

impl Ids {
    pub(super) fn insert(&mut self, id: IkeId) {
        if let Err(at) = self.0.binary_search(&id) {
            if self.0.len() == self.0.capacity() {
                self.0.reserve_exact(1 + self.0.len() / 2);
            }
            self.0.insert(at, id);
        }
    }

    pub(super) fn remove(&mut self, id: IkeId) {
        if let Ok(at) = self.0.binary_search(&id) {
            self.0.remove(at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their creation.
    pub(super) fn iter(&self) -> impl Iterator<Item = IkeId> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once_and_in_order() {
        let mut ids = Ids::default();
        [3, 1, 2, 3].into_iter().for_each(|id| ids.insert(IkeId(id)));
        ids.remove(IkeId(2));
        ids.remove(IkeId(7));
        assert!(ids.iter().eq([IkeId(1), IkeId(3)]));
        [1, 3].into_iter().for_each(|id| ids.remove(IkeId(id)));
        assert!(ids.is_empty());
    }
}
