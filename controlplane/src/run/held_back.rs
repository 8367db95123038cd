//! Datagrams that wait until the data plane forwards by the routes of their tunnels.

use std::time::{Duration, Instant};

use ike::Transmit;

/// How often to look whether the data plane has the routes.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The data plane learns a route within milliseconds. One that is dead, or that has a long table to read, must not keep IKE waiting: the
/// peer would repeat its request after half a second at the earliest.
const PATIENCE: Duration = Duration::from_millis(50);

/// The waiting datagrams, oldest first.
#[derive(Debug, Default)]
pub(super) struct HeldBack(Vec<(Instant, Vec<Transmit>)>);

impl HeldBack {
    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps what is to be sent behind routes that were just added.
    pub(super) fn hold(&mut self, now: Instant, datagrams: Vec<Transmit>) {
        self.0.push((now + PATIENCE, datagrams));
    }

    /// What may leave now: everything once the data plane has all routes, else what has waited long enough.
    pub(super) fn release(&mut self, now: Instant, forwarded: bool) -> Vec<Transmit> {
        let ready = if forwarded { self.0.len() } else { self.0.partition_point(|(until, _)| *until <= now) };
        self.0.drain(..ready).flat_map(|(_, datagrams)| datagrams).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(number: u8) -> Transmit {
        let any = std::net::SocketAddr::from(([192, 0, 2, 1], 500));
        Transmit { from: any, to: any, bytes: vec![number] }
    }

    fn numbers(datagrams: &[Transmit]) -> Vec<u8> {
        datagrams.iter().flat_map(|datagram| datagram.bytes.clone()).collect()
    }

    #[test]
    fn datagrams_leave_in_order_when_the_routes_are_forwarded_by() {
        let (now, mut held) = (Instant::now(), HeldBack::default());
        held.hold(now, vec![datagram(1), datagram(2)]);
        held.hold(now + LOOK_AGAIN, vec![datagram(3)]);
        assert!(held.release(now + LOOK_AGAIN, false).is_empty());
        assert_eq!(numbers(&held.release(now + 2 * LOOK_AGAIN, true)), [1, 2, 3]);
        assert!(held.is_empty());
    }

    #[test]
    fn a_data_plane_that_does_not_follow_delays_them_for_a_bounded_time() {
        let (now, mut held) = (Instant::now(), HeldBack::default());
        held.hold(now, vec![datagram(1)]);
        held.hold(now + LOOK_AGAIN, vec![datagram(2)]);
        assert_eq!(numbers(&held.release(now + PATIENCE, false)), [1]);
        assert_eq!(numbers(&held.release(now + PATIENCE + LOOK_AGAIN, false)), [2]);
    }
}
