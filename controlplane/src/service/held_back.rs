//! Output that waits until the data plane is ready for a tunnel: its routes wait until the policy
//! is in force in the guard and in every worker; the datagrams to the peer wait until the data
//! plane uses the routes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ike::Transmit;

use crate::routes::RouteChange;

/// Polling interval for the state of the data plane.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How long a datagram waits for the data plane to use the added routes. This normally takes
/// milliseconds; a long routing table must not delay IKE. The wait for the policy is not limited:
/// without it, replies to the peer would leave in clear.
const PATIENCE: Duration = Duration::from_millis(50);

/// Maximum number of batches; newer ones are dropped, and the peer retransmits its requests.
const MOST: usize = 1024;

/// The output of one step of the gateway.
#[derive(Debug)]
struct Batch {
    changes: Vec<RouteChange>,
    datagrams: Vec<Transmit>,
    /// Set when the routes have been added.
    until: Option<Instant>,
}

/// The waiting batches, oldest first.
#[derive(Debug, Default)]
pub(super) struct HeldBack(VecDeque<Batch>);

impl HeldBack {
    /// Whether no batch is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a datagram to this peer is waiting; later ones must then wait too.
    pub(super) fn concerns(&self, peer: SocketAddr) -> bool {
        self.0.iter().flat_map(|batch| &batch.datagrams).any(|datagram| datagram.to == peer)
    }

    /// Adds output that depends on a policy that was just published.
    pub(super) fn hold(&mut self, changes: Vec<RouteChange>, datagrams: Vec<Transmit>) {
        if self.0.len() < MOST && !(changes.is_empty() && datagrams.is_empty()) {
            self.0.push_back(Batch { changes, datagrams, until: None });
        }
    }

    /// To be called once the policy is in force: the route changes of all batches, to be made now.
    pub(super) fn take_changes(&mut self, now: Instant) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        for batch in self.0.iter_mut().filter(|batch| batch.until.is_none()) {
            let adds = batch.changes.iter().any(|change| matches!(change, RouteChange::Add(_)));
            batch.until = Some(if adds { now + PATIENCE } else { now });
            changes.append(&mut batch.changes);
        }
        changes
    }

    /// The datagrams that may be sent now: those whose routes were added, once the data plane uses
    /// all routes, or those that have waited for the maximum time.
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
