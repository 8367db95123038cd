//! What waits until the data plane is ready for a tunnel: its routes until the policy is in force
//! in the guard and in every worker, and the datagrams that tell the peer until the data plane
//! forwards by the routes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ike::Transmit;

use crate::routes::RouteChange;

/// How often to look whether the data plane is ready.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How long a datagram waits for routes that were added. The data plane learns a route within
/// milliseconds; one that has a long table to read must not keep IKE waiting. There is no such
/// limit for the policy: without it the peer would be answered in clear.
const PATIENCE: Duration = Duration::from_millis(50);

/// Batches beyond this are dropped, the newest first: the peer repeats what is not answered.
const MOST: usize = 1024;

/// What one step of the gateway wants.
#[derive(Debug)]
struct Batch {
    changes: Vec<RouteChange>,
    datagrams: Vec<Transmit>,
    /// Set when the routes were added.
    until: Option<Instant>,
}

/// The waiting batches, oldest first.
#[derive(Debug, Default)]
pub(super) struct HeldBack(VecDeque<Batch>);

impl HeldBack {
    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something for that peer waits, so that what comes later must wait too.
    pub(super) fn concerns(&self, peer: SocketAddr) -> bool {
        self.0.iter().flat_map(|batch| &batch.datagrams).any(|datagram| datagram.to == peer)
    }

    /// Keeps what belongs behind a policy that was just published.
    pub(super) fn hold(&mut self, changes: Vec<RouteChange>, datagrams: Vec<Transmit>) {
        if self.0.len() < MOST && !(changes.is_empty() && datagrams.is_empty()) {
            self.0.push_back(Batch { changes, datagrams, until: None });
        }
    }

    /// Once the policy is in force: the route changes of every batch, to be carried out now.
    pub(super) fn take_changes(&mut self, now: Instant) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        for batch in self.0.iter_mut().filter(|batch| batch.until.is_none()) {
            let adds = batch.changes.iter().any(|change| matches!(change, RouteChange::Add(_)));
            batch.until = Some(if adds { now + PATIENCE } else { now });
            changes.append(&mut batch.changes);
        }
        changes
    }

    /// What may leave now: everything whose routes were added once the data plane has all routes,
    /// else what has waited long enough.
    pub(super) fn release(&mut self, now: Instant, forwarded: bool) -> Vec<Transmit> {
        let ready = |batch: &Batch| batch.until.is_some_and(|until| forwarded || until <= now);
        let count = self.0.iter().take_while(|batch| ready(batch)).count();
        self.0.drain(..count).flat_map(|batch| batch.datagrams).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(number: u8) -> Transmit {
        let peer = SocketAddr::from(([192, 0, 2, number], 500));
        Transmit { from: SocketAddr::from(([192, 0, 2, 1], 500)), to: peer, bytes: vec![number] }
    }

    fn added() -> RouteChange {
        RouteChange::Add(crate::routes::ReverseRoute {
            prefix: config::model::Prefix::v4([192, 168, 1, 0].into(), 24),
            peer: [10, 9, 9, 9].into(),
            gateway: None,
            device: "outside".into(),
            metric: 1,
        })
    }

    fn numbers(datagrams: &[Transmit]) -> Vec<u8> {
        datagrams.iter().flat_map(|datagram| datagram.bytes.clone()).collect()
    }

    #[test]
    fn nothing_leaves_before_the_policy_is_in_force_however_long_that_takes() {
        let (now, mut held) = (Instant::now(), HeldBack::default());
        held.hold(vec![added()], vec![datagram(1)]);
        assert!(held.release(now + 100 * PATIENCE, true).is_empty());
        assert_eq!(held.take_changes(now), [added()]);
        assert!(held.take_changes(now).is_empty(), "a route is added once");
        assert!(held.release(now, false).is_empty());
        assert_eq!(numbers(&held.release(now, true)), [1]);
        assert!(held.is_empty());
    }

    #[test]
    fn a_data_plane_that_does_not_learn_a_route_delays_for_a_bounded_time() {
        let (now, mut held) = (Instant::now(), HeldBack::default());
        held.hold(vec![added()], vec![datagram(1)]);
        held.take_changes(now);
        held.hold(vec![added()], vec![datagram(2)]);
        held.take_changes(now + LOOK_AGAIN);
        assert_eq!(numbers(&held.release(now + PATIENCE, false)), [1]);
        assert_eq!(numbers(&held.release(now + PATIENCE + LOOK_AGAIN, false)), [2]);
    }

    #[test]
    fn what_comes_later_for_the_same_peer_is_known_to_wait() {
        let mut held = HeldBack::default();
        held.hold(Vec::new(), vec![datagram(1)]);
        assert!(held.concerns(datagram(1).to) && !held.concerns(datagram(2).to));
        let now = Instant::now();
        assert!(held.take_changes(now).is_empty());
        assert_eq!(
            numbers(&held.release(now, false)),
            [1],
            "without a route there is nothing else to wait for"
        );
    }
}
