//! The gateway's data about IKE SAs.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::{ConnectionId, IkeId, IkeInfo};

use super::{Liveness, Timing, Tunnels};

/// The gateway's data about an IKE SA; the rest is in the endpoint.
#[derive(Debug)]
pub struct IkeSa {
    connection: ConnectionId,
    remote: SocketAddr,
    identity: Option<String>,
    established: bool,
    pub(super) liveness: Option<Liveness>,
    /// A probe is outstanding; the endpoint retransmits it by itself.
    pub(super) probing: bool,
}

impl IkeSa {
    fn new(connection: ConnectionId, remote: SocketAddr) -> Self {
        IkeSa { connection, remote, identity: None, established: false, liveness: None, probing: false }
    }

    /// Its connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The peer's address and port.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The peer's identity, once authenticated.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Whether the peer is authenticated.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Its dead peer detection, if configured.
    pub fn liveness(&self) -> Option<&Liveness> {
        self.liveness.as_ref()
    }
}

impl Tunnels {
    /// One IKE SA.
    pub fn ike(&self, ike: IkeId) -> Option<&IkeSa> {
        self.ike_sas.get(&ike)
    }

    /// All IKE SAs, including those being negotiated, ordered by ID.
    pub fn ikes(&self) -> impl Iterator<Item = (IkeId, &IkeSa)> {
        self.ike_sas.iter().map(|(ike, sa)| (*ike, sa))
    }

    /// The number of IKE SAs, including those being negotiated.
    pub fn ike_count(&self) -> usize {
        self.ike_sas.len()
    }

    /// The number of IKE SAs that are not established yet.
    pub fn initiating(&self) -> usize {
        self.ike_sas.values().filter(|sa| !sa.established).count()
    }

    /// The connections that have an IKE SA.
    pub fn connections_in_use(&self) -> BTreeSet<ConnectionId> {
        self.ike_sas.values().map(|sa| sa.connection).collect()
    }

    /// Port and identity of an authenticated peer.
    pub fn identity_at(&self, address: IpAddr) -> Option<(u16, &str)> {
        let mut with = self.ike_sas.values().filter(|sa| sa.remote.ip() == address);
        with.find_map(|sa| Some((sa.remote.port(), sa.identity()?)))
    }

    /// The newest IKE SA with an address; established ones are preferred.
    pub fn newest_ike_with(&self, address: IpAddr) -> Option<IkeId> {
        let with = self.ikes().filter(|(_, sa)| sa.remote.ip() == address);
        with.max_by_key(|(ike, sa)| (sa.established, *ike)).map(|(ike, _)| ike)
    }

    /// The IKE SA of a connection to use for a new child: the newest established one, otherwise one
    /// that is being initiated locally.
    pub fn usable_ike(&self, connection: ConnectionId) -> Option<IkeId> {
        let established = self.ikes_of(connection).rfind(|(_, sa)| sa.established).map(|(ike, _)| ike);
        let on_its_way = |ike: &IkeId| self.attempts.iter().any(|attempt| attempt.ike == *ike);
        established.or_else(|| self.ikes_of(connection).map(|(ike, _)| ike).find(on_its_way))
    }

    /// Adds an IKE SA being negotiated; detection starts when it is established.
    pub fn begin_ike(&mut self, ike: IkeId, connection: ConnectionId, remote: SocketAddr) {
        if !self.ike_sas.contains_key(&ike) {
            self.insert_ike(ike, IkeSa::new(connection, remote));
        }
    }

    /// An IKE SA is established. `timing` is that of its detection, if configured.
    pub fn ike_up(&mut self, now: Duration, info: &IkeInfo, timing: Option<Timing>) {
        self.begin_ike(info.ike, info.connection, info.remote);
        if let Some(sa) = self.ike_sas.get_mut(&info.ike) {
            sa.established = true;
            sa.remote = info.remote;
            sa.identity = info.remote_identity.as_ref().map(ToString::to_string);
            sa.liveness = timing.map(|timing| Liveness::new(timing, now));
        }
        self.set_detection_timer(info.ike);
    }

    /// An IKE SA was rekeyed: everything that belonged to `old` moves to its successor.
    pub fn ike_rekeyed(&mut self, old: IkeId, new: &IkeInfo) {
        if let Some(before) = self.remove_ike(old) {
            self.insert_ike(new.ike, IkeSa { remote: new.remote, established: true, ..before });
        }
        self.move_pairs(old, new.ike);
        self.move_attempts(old, new.ike);
    }

    /// An initiation failed; returns the peer's address and port.
    pub fn initiation_failed(&mut self, ike: IkeId) -> Option<SocketAddr> {
        self.remove_ike(ike).map(|sa| sa.remote)
    }

    /// A gateway redirected us to another one (RFC 5685): the initiation `new` replaces `old`.
    /// Returns the address of the redirecting gateway.
    pub fn redirected(
        &mut self,
        (old, new): (IkeId, IkeId),
        connection: ConnectionId,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        let before = self.ike_sas.get(&old).map(|sa| (sa.remote, sa.established));
        if old != new && before.is_some_and(|(_, established)| !established) {
            self.remove_ike(old);
        }
        self.begin_ike(new, connection, remote);
        self.set_remote(new, remote);
        self.move_attempts(old, new);
        before.map(|(remote, _)| remote)
    }

    pub(super) fn set_remote(&mut self, ike: IkeId, remote: SocketAddr) {
        if let Some(sa) = self.ike_sas.get_mut(&ike) {
            sa.remote = remote;
        }
    }
}
