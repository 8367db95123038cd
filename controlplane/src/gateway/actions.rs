//! Reports of the IKE endpoint about IKE SAs.

use std::net::SocketAddr;
use std::time::Duration;

use ike::{Action, Command, ConnectionId, FailReason, IkeDownReason, IkeId, IkeInfo};

use super::Gateway;
use crate::clock::ike_time;
use crate::tunnels::{Attempt, Ended};

impl Gateway {
    pub(super) fn handle_action(&mut self, now: Duration, action: Action) {
        match action {
            Action::InstallChild(child) => self.install_child(now, &child),
            Action::OutboundReady { child } => self.outbound_ready(now, child),
            Action::RemoveChild { child, reason, .. } => self.child_removed(now, child, reason),
            Action::ChildSoftLimit { child, .. } => self.soft_limit(now, child),
            Action::ChildFailed { ike, tag, rekeying, reason } => {
                self.child_failed(now, ike, tag, rekeying, reason);
            }
            Action::IkeUp(info) => self.ike_up(now, &info),
            Action::IkeRekeyed { old, new } => self.tunnels.ike_rekeyed(old, &new),
            Action::IkeDown { ike, reason, .. } => self.ike_down(now, ike, reason),
            Action::InitiationFailed { ike, connection, reason, .. } => {
                self.initiation_failed(now, ike, connection, reason);
            }
            Action::PeerHeard { ike } => self.tunnels.peer_heard(ike, now),
            Action::PeerEndpointChanged { ike, local, remote, udp_encapsulation } => {
                self.peer_endpoint(now, ike, (local, remote), udp_encapsulation.is_some());
            }
            Action::Redirected { old, new, connection, remote } => {
                self.redirected(now, (old, new), connection, remote);
            }
            Action::Log(record) => self.report.ike_log(now, record),
        }
    }

    fn ike_up(&mut self, now: Duration, info: &IkeInfo) {
        self.tunnels.ike_up(now, info, self.connections.timing(info.connection));
        let began = if info.initiator { "initiator" } else { "responder" };
        self.report.ike_up(now, info.remote, began);
    }

    /// An IKE SA has ended. If `detect` already declared its peer dead, it is unknown here.
    fn ike_down(&mut self, now: Duration, ike: IkeId, reason: IkeDownReason) {
        let Some(ended) = self.tunnels.end_ike(ike) else { return };
        self.report.ike_down(now, ended.remote, &format!("{reason:?}"));
        match reason {
            // A request was not answered.
            IkeDownReason::PeerDead | IkeDownReason::Timeout => self.peer_dead(now, ended),
            _ => self.ike_ended(now, ended, is_no_refusal(reason)),
        }
    }

    /// An IKE SA ended although its peer is alive. If the reason is not a refusal, the exchanges
    /// that were pending on it are started again with the same peer.
    fn ike_ended(&mut self, now: Duration, ended: Ended, no_refusal: bool) {
        let lost = self.take_down(now, ended.pairs);
        if no_refusal {
            for attempt in ended.attempts {
                self.connect_again(now, attempt);
            }
        } else {
            self.fail(now, ended.attempts, FailReason::Cancelled);
        }
        for (key, children) in lost {
            self.children_gone(now, &key, &children);
        }
    }

    fn initiation_failed(&mut self, now: Duration, ike: IkeId, connection: ConnectionId, reason: FailReason) {
        let remote = self.tunnels.initiation_failed(ike);
        let failed = self.tunnels.take_attempts(|attempt| attempt.ike == ike);
        if failed.is_empty() && reason != FailReason::Cancelled {
            let configured = || Some(self.connections.get(connection)?.key.remote);
            let peer = remote.map(|remote| remote.ip()).or_else(configured);
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            self.report.transition(now, peer, format!("IKE failed: {reason}"));
        }
        self.fail(now, failed, reason);
    }

    pub(super) fn fail(&mut self, now: Duration, attempts: Vec<Attempt>, reason: FailReason) {
        for attempt in attempts {
            self.report.aborted(now, &attempt.entry, &attempt.peer, &reason.to_string());
            self.failed.push_back((attempt.entry, attempt.peer));
        }
    }

    /// The peer's address or port changed. ESP is redirected at once; pairs whose records cannot
    /// express the change are rekeyed.
    fn peer_endpoint(
        &mut self,
        now: Duration,
        ike: IkeId,
        (local, remote): (SocketAddr, SocketAddr),
        in_udp: bool,
    ) {
        let (moved, outdated) = self.tunnels.peer_moved(ike, (local, remote), in_udp);
        for child in moved {
            self.tables.endpoint_changed(child, remote);
        }
        for child in outdated {
            self.order(now, Command::RekeyChild { child });
        }
        self.checkpoint.mark();
        self.report.transition(now, remote.ip(), format!("peer endpoint is now {remote}"));
    }

    /// A gateway redirected us to another one (RFC 5685), which stands in for the configured peer:
    /// the cursor does not move.
    fn redirected(
        &mut self,
        now: Duration,
        names: (IkeId, IkeId),
        connection: ConnectionId,
        remote: SocketAddr,
    ) {
        let from = self.tunnels.redirected(names, connection, remote);
        let from = from.map_or_else(|| "a gateway".to_owned(), |from| from.ip().to_string());
        self.report.transition(now, from, format!("redirected to {}", remote.ip()));
    }

    /// The endpoint's information about an IKE SA.
    pub(super) fn ike_info(&self, ike: IkeId) -> Option<IkeInfo> {
        self.endpoint.ike_sa(ike)
    }

    /// Seconds until `at`, for `show`.
    pub(super) fn seconds_until(now: Duration, at: Option<ike::Time>) -> u64 {
        at.map_or(0, |at| at.since(ike_time(now)).as_secs())
    }
}

/// Whether an IKE SA that ended for this reason leaves its peer usable: the peer is alive and did
/// not refuse the request.
fn is_no_refusal(reason: IkeDownReason) -> bool {
    matches!(
        reason,
        IkeDownReason::DeletedByPeer
            | IkeDownReason::InitialContact
            | IkeDownReason::Redundant
            | IkeDownReason::Expired
    )
}
