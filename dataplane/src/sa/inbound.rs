//! The state of an inbound SA in the worker that owns it.

use super::{Absent, limit, may_go_on, salt};
use crate::path::shared::Shared;
use crate::policy::flow::Flow;
use esp::{InboundParameters, InboundSa, ReplayStore};
use sa_table::record::{Encapsulation, Lifetime, PeerEndpoint, Selectors};
use sa_table::{
    Direction, Event, EventSender, InboundOwner, PolicyId, ReplayWords, SaErrorKind, SlotWord, WorkerId,
};
use std::net::IpAddr;
use std::sync::atomic::Ordering;

/// Keys, selectors and replay window of an inbound SA.
pub struct InboundState {
    sa: InboundSa,
    owner: InboundOwner,
    local: IpAddr,
    selectors: Selectors,
    policy: PolicyId,
    lifetime: Lifetime,
    /// The peer endpoint of the newest authenticated packet.
    endpoint: PeerEndpoint,
}

impl InboundState {
    /// Copies the record, expands the key and claims the replay window.
    pub fn claim(word: SlotWord, worker: WorkerId, shared: &Shared) -> Result<InboundState, Absent> {
        let record = shared.table.inbound(word).ok_or(Absent::Stale)?;
        let keys = &record.keys;
        let parameters = InboundParameters {
            spi: record.spi,
            algorithm: keys.algorithm(),
            key: keys.both_keys(),
            salt: salt(keys),
            extended_sequence: record.esn,
            replay_window: window(record.replay_window, record.esn),
            mode: record.mode,
        };
        let sa = InboundSa::new(shared.backend, &parameters).map_err(|_| Absent::Unusable)?;
        let owner = shared.runtime.claim_inbound(worker, word)?;
        if owner.replay().bitmap.len() < sa.replay_window().words() {
            return Err(Absent::Unusable);
        }
        let port = match record.encapsulation {
            Encapsulation::None => 0,
            Encapsulation::Udp { remote_port, .. } => remote_port,
        };
        Ok(InboundState {
            sa,
            owner,
            local: record.local,
            selectors: record.selectors,
            policy: record.policy,
            lifetime: record.lifetime,
            endpoint: PeerEndpoint { address: record.peer_address, port },
        })
    }

    /// The SA for `esp::open`.
    #[inline]
    pub fn sa(&self) -> &InboundSa {
        &self.sa
    }

    /// The address of ours that its packets are sent to.
    #[inline]
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// The policy of the SA.
    #[inline]
    pub fn policy(&self) -> PolicyId {
        self.policy
    }

    /// The replay window in shared memory.
    #[inline]
    pub fn replay(&self) -> SharedReplay<'_> {
        SharedReplay(self.owner.replay())
    }

    /// Whether the selectors of the SA accept this packet.
    #[inline]
    pub fn carries(&self, flow: &Flow) -> bool {
        flow.within_inbound(&self.selectors)
    }

    /// Whether a limit forbids receiving. Reports limits that are reached, each once.
    #[inline]
    pub fn check_lifetime(&self, now_ms: u64, events: &mut EventSender) -> bool {
        let reached = limit(&self.lifetime, self.owner.received(), now_ms);
        may_go_on(reached, Direction::Inbound, self.owner.slot(), |level| self.owner.raise(level), events)
    }

    /// Records an authenticated packet: the peer is alive. Also called for packets that are dropped
    /// after authentication.
    #[inline]
    pub fn heard(&self, bytes: u64, now_ms: u64) {
        self.owner.add_received(1, bytes);
        self.owner.set_last_heard(now_ms);
    }

    /// Follows a peer whose NAT gave it another address or port (RFC 7296 §2.23): the source of the
    /// newest authenticated packet is its endpoint. Packets that are not the newest are ignored.
    /// `port` is 0 without UDP.
    pub fn heard_from(&mut self, source: IpAddr, port: u16, sequence: u64, events: &mut EventSender) {
        let endpoint = PeerEndpoint { address: source, port };
        // Only a peer behind a NAT may move, which always uses UDP encapsulation.
        if endpoint == self.endpoint || port == 0 || sequence < self.replay().top() {
            return;
        }
        self.endpoint = endpoint;
        self.owner.report_endpoint(endpoint);
        events.send(&Event::PeerEndpoint { slot: self.owner.slot() });
    }

    /// Counts a dropped packet.
    pub fn failed(&self, kind: SaErrorKind) {
        self.owner.add_errors(kind, 1);
    }
}

impl std::fmt::Debug for InboundState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboundState")
            .field("slot", &self.owner.slot())
            .field("sa", &self.sa)
            .finish_non_exhaustive()
    }
}

/// The replay state of one SA in the runtime segment. The owner is the only writer; relaxed stores
/// are enough because a new owner reads them after the death of the former process.
#[derive(Clone, Copy)]
pub struct SharedReplay<'a>(ReplayWords<'a>);

impl ReplayStore for SharedReplay<'_> {
    fn top(&self) -> u64 {
        self.0.top.load(Ordering::Relaxed)
    }

    fn set_top(&self, top: u64) {
        self.0.top.store(top, Ordering::Release);
    }

    fn word(&self, index: usize) -> u64 {
        // A missing word counts as received: fail closed.
        self.0.bitmap.get(index).map_or(u64::MAX, |word| word.load(Ordering::Relaxed))
    }

    fn set_word(&self, index: usize, bits: u64) {
        if let Some(word) = self.0.bitmap.get(index) {
            word.store(bits, Ordering::Release);
        }
    }
}

/// The window size that `esp` uses for a configured one: the next supported power of two. The
/// service cannot be off with extended sequence numbers (RFC 4303 §3.3.3).
fn window(configured: u32, extended: bool) -> u32 {
    const SMALLEST: u32 = esp::ReplayWindow::MIN_SIZE;
    const LARGEST: u32 = esp::ReplayWindow::MAX_SIZE;
    match configured {
        0 if !extended => 0,
        ..=SMALLEST => SMALLEST,
        LARGEST.. => LARGEST,
        between => between.next_power_of_two(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_rounded_up_to_one_that_exists() {
        assert_eq!(window(0, false), 0);
        assert_eq!(window(0, true), 64);
        assert_eq!(window(1, false), 64);
        assert_eq!(window(100, false), 128);
        assert_eq!(window(4096, true), 4096);
        assert_eq!(window(100_000, true), 4096);
    }
}
