//! Commands of the caller.

use crate::action::{ChildId, IkeDownReason, IkeId, RemoveReason};
use crate::command::{ChildRequest, Command};
use crate::config::{ChildTag, Connection, ConnectionId};
use crate::sa::{IkeSa, Phase};
use crate::task::create_child::CreateChild;
use crate::task::redirect::Redirects;
use crate::task::{Task, init};
use crate::time::Time;

use super::Endpoint;

/// Why a command was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The connection was not set.
    #[error("connection {0:?} is unknown: set it before initiating")]
    UnknownConnection(ConnectionId),
    /// The connection has no such child policy.
    #[error("connection {0:?} has no child policy {1:?}")]
    UnknownChild(ConnectionId, ChildTag),
    /// No proposal is left after leaving out what the cryptographic backend lacks.
    #[error("connection {0:?} has no usable IKE proposal: configure algorithms that this build supports")]
    NoProposal(ConnectionId),
    /// The limit [`EndpointConfig::max_ike_sas`](crate::EndpointConfig::max_ike_sas) is reached.
    #[error("no room for another IKE SA (limit {0})")]
    TooManyIkeSas(usize),
}

impl Endpoint {
    pub(super) fn carry_out(&mut self, now: Time, command: Command) -> Result<Option<IkeId>, CommandError> {
        match command {
            Command::Initiate { connection, child, local, remote } => {
                return self.initiate(now, connection, child, (local, remote)).map(Some);
            }
            Command::CreateChild { ike, child } => {
                if let Some(sa) = self.sas.get(&ike) {
                    let configured = self.connections.get(sa.connection.id).unwrap_or(&sa.connection);
                    known_child(configured, &child)?;
                }
                self.with_sa(now, ike, |sa, ctx| {
                    if takes_orders(sa) {
                        sa.enqueue(Task::CreateChild(Box::new(CreateChild::new(child))), ctx.now);
                    }
                });
            }
            Command::RekeyChild { child } => {
                self.with_child(now, child, |sa| sa.request_child_rekey(child, now));
            }
            Command::RekeyIke { ike } => self.with_sa(now, ike, |sa, ctx| sa.request_rekey(ctx.now)),
            Command::DeleteChild { child } => {
                if let Some(&ike) = self.child_home.get(&child) {
                    self.with_sa(now, ike, |sa, ctx| sa.close_child(ctx, child, RemoveReason::Local, true));
                }
            }
            Command::DeleteIke { ike, notify_peer } => {
                self.with_sa(now, ike, |sa, ctx| match (&sa.phase, notify_peer) {
                    (Phase::Established, true) => sa.close(ctx, IkeDownReason::Local),
                    (Phase::Established | Phase::Init(_) | Phase::Intermediate(_) | Phase::Auth(_), _) => {
                        sa.down(ctx, IkeDownReason::Local, false);
                    }
                    _ => {}
                });
            }
            Command::Liveness { ike, interval, retries } => self.with_sa(now, ike, |sa, ctx| {
                if sa.is_established() {
                    sa.probe(ctx, interval, retries);
                }
            }),
            Command::PeerAlive { ike } => self.with_sa(now, ike, |sa, _| {
                if let Some(request) = &mut sa.sender.in_flight {
                    request.peer_heard();
                }
            }),
            Command::PeerEndpoint { ike, remote } => {
                self.with_sa(now, ike, |sa, ctx| sa.peer_endpoint(ctx, remote));
            }
            Command::UnreachableHint { ike } => {
                self.with_sa(now, ike, |sa, ctx| init::hint(sa, ctx, crate::FailReason::Unreachable));
            }
        }
        Ok(None)
    }

    fn initiate(
        &mut self,
        now: Time,
        id: ConnectionId,
        child: Option<ChildRequest>,
        path: (std::net::SocketAddr, std::net::SocketAddr),
    ) -> Result<IkeId, CommandError> {
        let connection = self.connections.get(id).ok_or(CommandError::UnknownConnection(id))?.clone();
        if let Some(child) = &child {
            known_child(&connection, child)?;
        }
        if self.sas.len() >= self.config.max_ike_sas {
            return Err(CommandError::TooManyIkeSas(self.config.max_ike_sas));
        }
        let mut effects = Vec::new();
        let mut ctx = self.ctx(now, &mut effects);
        let sa = init::begin(&mut ctx, connection, child, path, Redirects::default())
            .ok_or(CommandError::NoProposal(id))?;
        let ike = sa.id;
        self.put_back(Box::new(sa));
        Ok(ike)
    }

    fn with_child(&mut self, now: Time, child: ChildId, change: impl FnOnce(&mut IkeSa)) {
        if let Some(&ike) = self.child_home.get(&child) {
            self.with_sa(now, ike, |sa, _| change(sa));
        }
    }

    /// Ends everything of a connection that was removed.
    pub(super) fn close_connection(&mut self, now: Time, id: ConnectionId) {
        let of_it = |sa: &IkeSa| sa.connection.id == id && sa.is_listed();
        let ids: Vec<IkeId> = self.sas.values().filter(|sa| of_it(sa)).map(|sa| sa.id).collect();
        for ike in ids {
            self.with_sa(now, ike, |sa, ctx| match sa.phase {
                Phase::Established => sa.close(ctx, IkeDownReason::ConnectionRemoved),
                _ => sa.down(ctx, IkeDownReason::ConnectionRemoved, false),
            });
        }
    }
}

fn known_child(connection: &Connection, child: &ChildRequest) -> Result<(), CommandError> {
    match connection.child(child.tag) {
        Some(_) => Ok(()),
        None => Err(CommandError::UnknownChild(connection.id, child.tag)),
    }
}

/// Established, or being initiated by us: commands wait in the queue meanwhile.
fn takes_orders(sa: &IkeSa) -> bool {
    matches!(sa.phase, Phase::Established | Phase::Init(_) | Phase::Intermediate(_) | Phase::Auth(_))
}
