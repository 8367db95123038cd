//! The connections, indexed by ID and by peer address: an IKE_SA_INIT is unauthenticated, so its
//! lookup must not scan all connections (there may be ten thousand).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{AddressMatch, Connection, ConnectionId};

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_id: BTreeMap<ConnectionId, Arc<Connection>>,
    /// Connections with an exact peer address.
    by_address: BTreeSet<(IpAddr, ConnectionId)>,
    /// Connections whose peer address is a prefix or any.
    wide: BTreeSet<ConnectionId>,
}

impl Connections {
    pub(super) fn insert(&mut self, connection: Connection) {
        let id = connection.id;
        self.remove(id);
        for wanted in &connection.remote_addresses {
            match host(wanted) {
                Some(address) => self.by_address.insert((address, id)),
                None => self.wide.insert(id),
            };
        }
        self.by_id.insert(id, Arc::new(connection));
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Arc<Connection>> {
        let connection = self.by_id.remove(&id)?;
        for address in connection.remote_addresses.iter().filter_map(host) {
            self.by_address.remove(&(address, id));
        }
        self.wide.remove(&id);
        Some(connection)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<Connection>> {
        self.by_id.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The connections for this pair of addresses, lowest ID first.
    pub(crate) fn between(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = &Arc<Connection>> {
        let named = self.by_address.range((remote, ConnectionId(0))..=(remote, ConnectionId(u64::MAX)));
        let ids: BTreeSet<ConnectionId> = named.map(|(_, id)| id).chain(&self.wide).copied().collect();
        let fits = move |connection: &&Arc<Connection>| {
            connection.local_address.is_none_or(|address| address == local)
                && connection.remote_addresses.iter().any(|wanted| wanted.accepts(remote))
        };
        ids.into_iter().filter_map(|id| self.by_id.get(&id)).filter(fits)
    }
}

/// The exact address, if it is one.
fn host(wanted: &AddressMatch) -> Option<IpAddr> {
    match *wanted {
        AddressMatch::Prefix(address @ IpAddr::V4(_), 32..) | AddressMatch::Prefix(address, 128..) => {
            Some(address)
        }
        AddressMatch::Prefix(..) | AddressMatch::Any => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_peer_finds_those_that_name_it_and_those_that_are_for_anybody() {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let connection = |id, local, remote: Vec<AddressMatch>| {
            let mut connection = Connection::psk(ConnectionId(id), local, local, Secret::from("key"));
            connection.remote_addresses = remote;
            connection
        };
        let mut connections = Connections::default();
        connections.insert(connection(4, address(1), vec![AddressMatch::exact(address(9))]));
        connections.insert(connection(3, address(1), vec![AddressMatch::Any]));
        connections.insert(connection(2, address(1), vec![AddressMatch::Prefix(address(9), 32)]));
        connections.insert(connection(1, address(2), vec![AddressMatch::exact(address(9))]));
        connections.insert(connection(5, address(1), vec![AddressMatch::Prefix(address(0), 29)]));
        let found = |connections: &Connections, last| -> Vec<u64> {
            connections.between(address(1), address(last)).map(|connection| connection.id.0).collect()
        };
        assert_eq!(found(&connections, 9), [2, 3, 4]);
        assert_eq!(found(&connections, 7), [3, 5]);
        // The same ID with another peer.
        connections.insert(connection(4, address(1), vec![AddressMatch::exact(address(8))]));
        assert_eq!((found(&connections, 9), found(&connections, 8)), (vec![2, 3], vec![3, 4]));
        (1..=5).for_each(|id| drop(connections.remove(ConnectionId(id))));
        assert!(
            connections.by_id.is_empty() && connections.by_address.is_empty() && connections.wide.is_empty()
        );
    }
}
