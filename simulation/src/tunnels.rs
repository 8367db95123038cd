//! A hub and as many spokes as it has crypto-map entries: thousands of tunnels between two control
//! planes, in memory.
//!
//! The wire takes no time and loses nothing; what is watched is how much the two control planes
//! hold, in the shared segments and on the heap, while tunnels come up, stand idle and are closed
//! by their idle timers. The spokes are one control plane with one interface each.
//!
//! Who calls it brings the counting allocator as a function; heap is charged to the control plane
//! that was at work when it was taken or given back.

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

/// Octets of heap in use, as the caller's allocator counts them.
pub type Heap = fn() -> i64;

/// The clock begins here, so that no time stamp is zero, which means never.
const ORIGIN: Duration = Duration::from_secs(1000);

/// Tunnels that are asked for at the same moment.
const AT_ONCE: u32 = 32;

/// Long enough for everything that only lingers after an exchange, and shorter than the idle timer.
const REST: Duration = Duration::from_secs(45);

/// One control plane at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Octets of its heap.
    pub heap: i64,
    /// What it counts itself.
    pub load: Load,
    /// Entries in the tables of its IKE endpoint.
    pub ike: ike::Tables,
    /// Policies whose packets go through an SA, as the data plane reads it.
    pub carried: usize,
}

/// Both control planes and the time.
pub struct Tunnels {
    ends: [End; 2],
    count: u32,
    now: Duration,
    /// Datagrams under way and the end that they go to.
    wire: VecDeque<(usize, SocketAddr, SocketAddr, Vec<u8>)>,
    /// Calls into the control planes so far.
    steps: u64,
}

impl Tunnels {
    /// Both control planes configured for `count` tunnels, up to 50 000, none of which is up. The
    /// segments have a slot for each tunnel and no more.
    ///
    /// # Errors
    /// If the segments cannot be made.
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

    /// A host behind each spoke sends one packet to the hub, which answers it: every tunnel comes
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

    /// Lets end what only lingers.
    pub fn rest(&mut self) {
        self.pass(REST);
    }

    /// No packet any more, until the idle timer of the last tunnel has run out and what lingers has
    /// ended.
    pub fn idle_out(&mut self) {
        self.pass(IDLE + Duration::from_secs(5));
        self.rest();
    }

    /// What the hub and the spokes hold.
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
            // As the process does it: what is overdue is served in the next millisecond.
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

    /// Until both control planes are quiet.
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
