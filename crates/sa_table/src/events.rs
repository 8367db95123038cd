//! Events from workers to the control plane: hints that avoid up to a second of polling delay. Each
//! fact is also stored as level state in the runtime segment, so an event lost to a full ring only
//! costs time.

use core::net::IpAddr;
use core::sync::atomic::AtomicU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::address::{address_from, pair_at, put_address};
use crate::flow::FiveTuple;
use crate::ids::{PolicyId, PolicyVersion, SlotWord, WorkerId};
use crate::layout::{EventWords, EventsControl, EventsLayout, RingIndices};
use crate::mapping::WritableMapping;
use crate::protocol::acquire::FLOW_WORDS;
use crate::protocol::ring::{self, ENTRY_WORDS, Ring};

/// The direction of an SA seen from this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    Inbound,
    /// To the peer.
    Outbound,
}

/// An event of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet waits for an SA of this policy.
    Acquire {
        /// The policy without SA.
        policy: PolicyId,
        /// The packet.
        flow: FiveTuple,
    },
    /// A soft limit was reached: rekey.
    SoftLimit {
        /// The direction of the slot's arena.
        direction: Direction,
        /// The SA.
        slot: SlotWord,
    },
    /// A hard limit was reached, or sequence numbers are used up: the SA is not used any more.
    HardLimit {
        /// The direction of the slot's arena.
        direction: Direction,
        /// The SA.
        slot: SlotWord,
    },
    /// ESP with an SPI that no SA has.
    UnknownSpi {
        /// The SPI, native byte order.
        spi: u32,
        /// Outer source.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
    },
    /// An authenticated packet came from another address or port than expected; see the inbound
    /// statistics.
    PeerEndpoint {
        /// The inbound SA.
        slot: SlotWord,
    },
    /// A packet matched a line with `log` of a filter. There is no level state for it: a lost event
    /// is a lost log line.
    FilterMatch {
        /// The policy in which the list has its index.
        version: PolicyVersion,
        /// Index of the list.
        list: u32,
        /// Whether the packet passed.
        permit: bool,
        /// The packet.
        flow: FiveTuple,
        /// The ingress port, if the line has `log-input` and the packet arrived at a port.
        port: Option<u16>,
        /// Matches since the last event that the rate limit kept from being sent.
        withheld: u16,
    },
}

/// Result of sending an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// In the ring; the control plane was woken if it asked for it.
    Queued,
    /// The ring is full: the hint is lost, the level state is not.
    Full,
}

const KIND_ACQUIRE: u64 = 1;
const KIND_SOFT_LIMIT: u64 = 2;
const KIND_HARD_LIMIT: u64 = 3;
const KIND_UNKNOWN_SPI: u64 = 4;
const KIND_PEER_ENDPOINT: u64 = 5;
const KIND_FILTER_MATCH: u64 = 6;
const OUTBOUND: u64 = 1 << 8;
const SOURCE_V6: u64 = 1 << 9;
const DESTINATION_V6: u64 = 1 << 10;
const PERMIT: u64 = 1 << 11;
const HAS_PORT: u64 = 1 << 12;
const WITHHELD_SHIFT: u32 = 16;
const LIST_SHIFT: u32 = 32;
const PORT_SHIFT: u32 = 48;
const VERSION_MASK: u64 = (1 << PORT_SHIFT) - 1;

const _: () = assert!(EventWords::source == 1 && EventWords::ports == FLOW_WORDS && EventWords::bits == 0);

impl Event {
    fn encode(&self) -> [u64; ENTRY_WORDS] {
        let mut words = [0; ENTRY_WORDS];
        let limit =
            |kind, direction: &Direction| kind | if *direction == Direction::Outbound { OUTBOUND } else { 0 };
        match self {
            Self::Acquire { policy, flow } => {
                words[EventWords::bits] = KIND_ACQUIRE;
                words[1..=FLOW_WORDS].copy_from_slice(&flow.encode());
                words[EventWords::subject] = u64::from(policy.0);
            }
            Self::SoftLimit { direction, slot } => {
                words[EventWords::bits] = limit(KIND_SOFT_LIMIT, direction);
                words[EventWords::subject] = slot.raw();
            }
            Self::HardLimit { direction, slot } => {
                words[EventWords::bits] = limit(KIND_HARD_LIMIT, direction);
                words[EventWords::subject] = slot.raw();
            }
            Self::UnknownSpi { spi, source, destination } => {
                put_address(&mut words, EventWords::source, *source);
                put_address(&mut words, EventWords::destination, *destination);
                words[EventWords::bits] = KIND_UNKNOWN_SPI
                    | if source.is_ipv6() { SOURCE_V6 } else { 0 }
                    | if destination.is_ipv6() { DESTINATION_V6 } else { 0 };
                words[EventWords::subject] = u64::from(*spi);
            }
            Self::PeerEndpoint { slot } => {
                words[EventWords::bits] = KIND_PEER_ENDPOINT;
                words[EventWords::subject] = slot.raw();
            }
            Self::FilterMatch { version, list, permit, flow, port, withheld } => {
                words[EventWords::bits] = KIND_FILTER_MATCH
                    | if *permit { PERMIT } else { 0 }
                    | if port.is_some() { HAS_PORT } else { 0 }
                    | u64::from(*withheld) << WITHHELD_SHIFT
                    | u64::from(*list) << LIST_SHIFT;
                words[1..=FLOW_WORDS].copy_from_slice(&flow.encode());
                words[EventWords::subject] =
                    version.0 & VERSION_MASK | u64::from(port.unwrap_or(0)) << PORT_SHIFT;
            }
        }
        words
    }

    fn decode(words: &[u64; ENTRY_WORDS]) -> Option<Self> {
        let bits = words[EventWords::bits];
        let subject = words[EventWords::subject];
        let direction = if bits & OUTBOUND == 0 { Direction::Inbound } else { Direction::Outbound };
        Some(match bits & 0xff {
            KIND_ACQUIRE => {
                let [_, flow @ .., _, _] = *words;
                Self::Acquire {
                    policy: PolicyId(u32::try_from(subject).ok()?),
                    flow: FiveTuple::decode(flow),
                }
            }
            KIND_SOFT_LIMIT => Self::SoftLimit { direction, slot: SlotWord::from_raw(subject)? },
            KIND_HARD_LIMIT => Self::HardLimit { direction, slot: SlotWord::from_raw(subject)? },
            KIND_UNKNOWN_SPI => Self::UnknownSpi {
                spi: u32::try_from(subject).ok()?,
                source: address_from(pair_at(words, EventWords::source), bits & SOURCE_V6 != 0),
                destination: address_from(
                    pair_at(words, EventWords::destination),
                    bits & DESTINATION_V6 != 0,
                ),
            },
            KIND_PEER_ENDPOINT => Self::PeerEndpoint { slot: SlotWord::from_raw(subject)? },
            KIND_FILTER_MATCH => {
                let [_, flow @ .., _, _] = *words;
                Self::FilterMatch {
                    version: PolicyVersion(subject & VERSION_MASK),
                    list: (bits >> LIST_SHIFT) as u32,
                    permit: bits & PERMIT != 0,
                    flow: FiveTuple::decode(flow),
                    port: (bits & HAS_PORT != 0).then_some((subject >> PORT_SHIFT) as u16),
                    withheld: (bits >> WITHHELD_SHIFT) as u16,
                }
            }
            _ => return None,
        })
    }
}

/// The sending end of one worker's ring. One per worker.
pub struct EventSender {
    mapping: WritableMapping,
    layout: EventsLayout,
    worker: WorkerId,
    wake: Arc<OwnedFd>,
}

impl EventSender {
    pub(crate) fn new(
        mapping: WritableMapping,
        layout: EventsLayout,
        worker: WorkerId,
        wake: Arc<OwnedFd>,
    ) -> Self {
        Self { mapping, layout, worker, wake }
    }

    /// Sends an event without waiting. A system call happens only when the control plane sleeps,
    /// once per sleep.
    pub fn send(&mut self, event: &Event) -> SendOutcome {
        let words = self.mapping.words();
        let Some(ring) = ring_of(words, &self.layout, self.worker) else { return SendOutcome::Full };
        let queued = ring.push(&event.encode());
        if ring::must_wake(&self.layout.control.all(words)[EventsControl::armed]) {
            // A full eventfd counter is as good as a wake-up.
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
        if queued { SendOutcome::Queued } else { SendOutcome::Full }
    }
}

/// The receiving end of all rings: the control plane.
pub struct EventReceiver {
    mapping: WritableMapping,
    layout: EventsLayout,
    wake: Arc<OwnedFd>,
    /// The next ring to check, so that a busy worker does not starve others.
    next: u16,
    workers: u16,
}

impl EventReceiver {
    pub(crate) fn new(mapping: WritableMapping, layout: EventsLayout, wake: Arc<OwnedFd>) -> Self {
        let workers = layout.indices.items() as u16;
        Self { mapping, layout, wake, next: 0, workers }
    }

    /// The next event of any worker, with the worker; `None` when all rings are empty.
    pub fn receive(&mut self) -> Option<(WorkerId, Event)> {
        for _ in 0..self.workers {
            let worker = WorkerId(self.next);
            self.next = (self.next + 1) % self.workers;
            let Some(ring) = ring_of(self.mapping.words(), &self.layout, worker) else { continue };
            while let Some(entry) = ring.pop() {
                if let Some(event) = Event::decode(&entry) {
                    return Some((worker, event));
                }
            }
        }
        None
    }

    /// Asks to be woken by [`EventReceiver::wake_descriptor`], then returns an event that arrived
    /// in between. Sleep only on `None`.
    pub fn arm(&mut self) -> Option<(WorkerId, Event)> {
        ring::arm(&self.layout.control.all(self.mapping.words())[EventsControl::armed]);
        self.receive()
    }

    /// An eventfd that becomes readable when an event arrives after [`EventReceiver::arm`].
    pub fn wake_descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Makes the eventfd unreadable again; after waking up, before the rings are emptied.
    pub fn clear_wake(&self) {
        let mut counter = [0; 8];
        // Not readable means cleared already.
        let _ = rustix::io::read(&*self.wake, &mut counter);
    }
}

fn ring_of<'a>(
    words: &'a [AtomicU64],
    layout: &EventsLayout,
    worker: WorkerId,
) -> Option<Ring<'a, AtomicU64>> {
    let indices = layout.indices.item(words, usize::from(worker.0))?;
    let entries = layout.entries.item(words, usize::from(worker.0))?;
    Some(Ring { head: &indices[RingIndices::head], tail: &indices[RingIndices::tail], entries })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_survive_as_words() {
        let flow = FiveTuple {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.1.1".parse().unwrap(),
            protocol: 6,
            source_port: 1,
            destination_port: 2,
        };
        let slot = SlotWord::new(3, 4).unwrap();
        let events = [
            Event::Acquire { policy: PolicyId(9), flow },
            Event::SoftLimit { direction: Direction::Inbound, slot },
            Event::HardLimit { direction: Direction::Outbound, slot },
            Event::UnknownSpi {
                spi: 0x1234_5678,
                source: "2001:db8::1".parse().unwrap(),
                destination: "2001:db8::2".parse().unwrap(),
            },
            Event::PeerEndpoint { slot },
            Event::FilterMatch {
                version: PolicyVersion(7),
                list: u32::MAX,
                permit: true,
                flow,
                port: Some(u16::MAX),
                withheld: 3,
            },
            Event::FilterMatch {
                version: PolicyVersion(1 << 40),
                list: 0,
                permit: false,
                flow,
                port: None,
                withheld: u16::MAX,
            },
        ];
        for event in events {
            assert_eq!(Event::decode(&event.encode()), Some(event));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_entries_never_panic(words: [u64; ENTRY_WORDS], kind in 0u64..8) {
            let mut words = words;
            let _ = Event::decode(&words);
            words[0] = words[0] & !0xff | kind;
            let _ = Event::decode(&words);
        }
    }
}
