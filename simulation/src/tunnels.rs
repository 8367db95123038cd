//! A hub and a spoke for each of its crypto map entries: thousands of tunnels between two control
//! planes, in memory.
//!
//! The network has no delay and no loss. Measured is the memory of the two control planes, in the
//! shared segments and on the heap, while tunnels come up, stay idle and are closed by their idle
//! timers. The spokes are one control plane with one interface for each.
//!
//! The caller provides the counting allocator as a function; heap is charged to the control plane
//! that ran when it was allocated or freed.

mod hub;
mod plane;
mod rounds;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use controlplane::gateway::{Load, Output};

use hub::{HUB, IDLE, SPOKES};
use plane::End;

pub use hub::capacities;
pub use rounds::{LEFT, LIMIT, Rounds};

/// Octets of heap in use, as counted by the caller's allocator.
pub type Heap = fn() -> i64;

/// Start time of the clock; not zero, because a time stamp of zero means never.
const ORIGIN: Duration = Duration::from_secs(1000);

/// Number of tunnels requested at the same time.
const AT_ONCE: u32 = 32;

/// Longer than any state that remains after an exchange, and shorter than the idle timer.
const REST: Duration = Duration::from_secs(45);

/// The resources of one control plane at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Octets of its heap.
    pub heap: i64,
    /// Its own resource counts.
    pub load: Load,
    /// Entries in the tables of its IKE endpoint.
    pub ike: ike::Tables,
    /// Policies with an SA, as read by the data plane.
    pub carried: usize,
}

/// Both control planes and the time.
pub struct Tunnels {
    ends: [End; 2],
    count: u32,
    now: Duration,
    /// Datagrams in flight, with the destination.
    wire: VecDeque<(usize, SocketAddr, SocketAddr, Vec<u8>)>,
    /// Calls into the control planes so far.
    steps: u64,
}

impl Tunnels {
    /// Both control planes configured for `count` tunnels, up to 50 000, with none up. The segments
    /// have exactly one slot for each tunnel.
    ///
    /// # Errors
    /// If the segments cannot be created.
    pub fn new(count: u32, heap: Heap) -> Result<Self, crate::network::SimulationError> {
        let mut tunnels = Tunnels {
            ends: [End::new(HUB, count, heap)?, End::new(SPOKES, count, heap)?],
            count,
            now: ORIGIN,
            wire: VecDeque::new(),
            steps: 0,
        };
        for (end, text) in [(HUB, hub::hub(count)), (SPOKES, hub::spokes(count))] {
            tunnels.ends[end].configure(ORIGIN, &text, count);
            tunnels.deliver();
        }
        tunnels.rest();
        Ok(tunnels)
    }

    /// A host behind each spoke sends one packet to the hub and gets a reply: every tunnel comes
    /// up.
    ///
    /// # Panics
    /// If one does not.
    pub fn bring_up(&mut self) {
        for first in (0..self.count).step_by(AT_ONCE as usize) {
            let numbers = first..self.count.min(first + AT_ONCE);
            for number in numbers.clone() {
                self.ends[SPOKES].ask(self.now, number);
                self.deliver();
            }
            for number in numbers {
                let outbound = self.ends[SPOKES].send(self.now, number);
                self.ends[HUB].receive(self.now, outbound);
                let inbound = self.ends[HUB].send(self.now, number);
                self.ends[SPOKES].receive(self.now, inbound);
            }
            self.pass(Duration::from_millis(10));
        }
    }

    /// Waits until state that only remains after an exchange has expired.
    pub fn rest(&mut self) {
        self.pass(REST);
    }

    /// Advances the time without packets until the idle timer of the last tunnel and all remaining
    /// state have expired.
    pub fn idle_out(&mut self) {
        self.pass(IDLE + Duration::from_secs(5));
        self.rest();
    }

    /// The resources of the hub and of the spokes.
    pub fn holdings(&self) -> [Holding; 2] {
        [HUB, SPOKES].map(|end| self.ends[end].holding())
    }

    /// Calls into the control planes so far: datagrams, events, timeouts.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let (at, index) = [HUB, SPOKES]
                .map(|index| (self.ends[index].deadline(), index))
                .into_iter()
                .min()
                .unwrap_or_default();
            // As in the process, overdue timers are served in the next millisecond.
            let at = at.max(self.now + Duration::from_millis(1));
            if at > end {
                break;
            }
            self.now = at;
            self.steps += 1;
            self.ends[index].timeout(at);
            self.deliver();
        }
        self.now = end;
    }

    /// Runs until neither control plane has output.
    fn deliver(&mut self) {
        loop {
            for (index, end) in self.ends.iter_mut().enumerate() {
                while let Some(output) = end.output() {
                    if let Output::Transmit(ike::Transmit { from, to, bytes }) = &output {
                        self.wire.push_back((1 - index, *from, *to, bytes.clone()));
                    }
                    end.discard(output);
                }
            }
            let Some((index, from, to, bytes)) = self.wire.pop_front() else { break };
            self.steps += 1;
            self.ends[index].datagram(self.now, from, to, &bytes);
        }
        for end in &mut self.ends {
            end.store_checkpoint(self.now);
            end.announce();
        }
    }
}
