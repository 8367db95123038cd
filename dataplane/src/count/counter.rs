//! Counters of a worker other than its drop counters.

use crate::count::tally::{TALLY, Tally, counters};

counters! {
    /// A counter of a worker. The discriminant is the index in the runtime segment.
    pub enum Counter {
        /// Packets received from data-plane ports.
        Received = "received",
        /// Packets handed to transmit rings.
        Transmitted = "transmitted",
        /// Packets taken from this host's own stack.
        FromHost = "from-host",
        /// Packets handed to this host's own stack.
        ToHost = "to-host",
        /// Packets sealed into ESP.
        Sealed = "sealed",
        /// Packets decrypted from ESP and passed on.
        Opened = "opened",
        /// Packets from ports, forwarded in clear because no permit matches.
        ClearForwarded = "clear-forwarded",
        /// Packets that waited for an SA.
        Held = "held",
        /// Packets handed to the worker that owns their SA.
        HandedOver = "handed-over",
        /// Packets fragmented before they were sealed.
        PreFragmented = "pre-fragmented",
        /// ESP packets put together from fragments.
        Reassembled = "reassembled",
        /// ICMP errors sent.
        IcmpErrors = "icmp-errors",
        /// Requests for an SA.
        Acquires = "acquires",
        /// Packets forwarded in clear although the crypto map of another interface protects them.
        ClearElsewhere = "clear-elsewhere",
        /// Times the worker went to sleep.
        Sleeps = "sleeps",
    }
}

const _: () = assert!(Counter::ALL.len() <= TALLY && TALLY <= sa_table::WORKER_COUNTERS);

/// One worker's counters since they were last published.
#[derive(Clone, Debug, Default)]
pub struct Counts(Tally);

impl Counts {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0.add(counter as usize, n);
    }

    /// A counter.
    pub fn of(&self, counter: Counter) -> u64 {
        self.0.of(counter as usize)
    }

    /// Passes each non-zero counter with its index to `sink` and resets it to zero.
    pub fn drain(&mut self, sink: impl FnMut(usize, u64)) {
        self.0.drain(sink);
    }
}
