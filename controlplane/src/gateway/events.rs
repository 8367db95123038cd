//! Reports of the data plane: events from the rings, and the same facts as level states, read once
//! a second.
//!
//! An event is a hint and may be lost; the level state is authoritative. Handling both is
//! idempotent.

use std::collections::BTreeSet;
use std::time::Duration;

use ike::{ChildId, Command};
use sa_table::{Direction, Event, FiveTuple, PolicyId};

use super::{Gateway, SCAN_INTERVAL};
use crate::clock::ike_time;
use crate::report::Message;
use crate::tunnels::{SaPair, Seen};

impl Gateway {
    /// Processes one entry of an event ring.
    pub fn handle_event(&mut self, now: Duration, event: &Event) {
        match event {
            Event::Acquire { policy, flow } => self.acquire(now, *policy, flow),
            Event::SoftLimit { direction, slot } => {
                if let Some(child) = self.tables.pair_of(*slot, *direction == Direction::Inbound) {
                    self.volume_limit(now, child);
                }
            }
            Event::HardLimit { direction, slot } => {
                if let Some(child) = self.tables.pair_of(*slot, *direction == Direction::Inbound) {
                    self.delete_child(now, child);
                }
            }
            Event::UnknownSpi { spi, source, destination } => {
                self.report.invalid_spi(now, *spi, *source, *destination);
            }
            Event::FilterMatch { version, list, permit, flow, port, withheld } => {
                let names = self.tables.published();
                let interface = port.and_then(|port| names.port(*version, port)).map(str::to_owned);
                // The names of a publication are only kept until the second next one.
                if let Some(list) = names.list(*version, *list).map(str::to_owned) {
                    self.report.say(Message::FilterMatch { list, permit: *permit, flow: *flow, interface });
                }
                if *withheld > 0 {
                    self.report.say(Message::FilterMatchesWithheld(*withheld));
                }
            }
            Event::PeerEndpoint { slot } => {
                if let Some(child) = self.tables.pair_of(*slot, true) {
                    self.new_endpoint(now, child);
                }
            }
        }
        self.settle(now);
    }

    /// Reads all level states once in every [`SCAN_INTERVAL`]. In between it reads those that a
    /// decision depends on: the pairs of sessions whose timer is due, and of IKE SAs whose peer may
    /// be declared dead.
    pub(super) fn scan(&mut self, now: Duration) {
        let everything = now >= self.next_scan;
        let children: BTreeSet<ChildId> = if everything {
            self.next_scan = now + SCAN_INTERVAL;
            for (policy, flow) in self.tables.acquires() {
                self.acquire(now, policy, &flow);
            }
            self.scan_manual(now);
            self.tunnels.pairs().map(|(child, _)| child).collect()
        } else {
            let due = self.peers.due(now);
            let of_sessions = due.iter().filter_map(|key| self.peers.session(key));
            let of_sessions = of_sessions.flat_map(|session| session.pairs().map(|(child, _)| child));
            let probed = self.endpoint.overdue(ike_time(now));
            let probed = probed.filter(|ike| self.tunnels.is_probing(*ike));
            let of_ikes = self.tunnels.detections_due(now).into_iter().chain(probed);
            of_sessions.chain(of_ikes.flat_map(|ike| self.tunnels.pairs_under(ike))).collect()
        };
        for child in children {
            self.scan_pair(now, child);
        }
        if everything {
            self.scan_adopted(now);
        }
        self.settle(now);
    }

    fn acquire(&mut self, now: Duration, policy: PolicyId, flow: &FiveTuple) {
        let Some((policy, key)) = self.asked_for(now, policy, flow) else { return };
        self.tell(now, &key, |session, intents| session.acquire(now, policy, intents));
    }

    fn scan_pair(&mut self, now: Duration, child: ChildId) {
        let Some(activity) = self.tables.activity(child) else { return };
        let (heard_ms, sent_ms) = (activity.last_heard_ms, activity.last_sent_ms);
        let at = |stamp| self.scale.from_stamp(stamp).map(|at: Duration| at.min(now));
        let (heard, sent) = (at(heard_ms), at(sent_ms));
        let seen = Seen { stamps: (heard_ms, sent_ms), heard, sent, packets: activity.packets() };
        let Some(observed) = self.tunnels.observe(child, &seen) else { return };
        // The peer was heard while a probe was outstanding: the endpoint's retransmission count is
        // reset together with the probe ladder.
        if let Some(ike) = observed.alive {
            self.order(now, Command::PeerAlive { ike });
        }
        if observed.rekey {
            self.order(now, Command::RekeyChild { child });
        }
        if activity.soft_limit {
            self.volume_limit(now, child);
        }
        if activity.hard_limit {
            self.delete_child(now, child);
        }
        if activity.new_endpoint {
            self.new_endpoint(now, child);
        }
        if let Some(key) = observed.news {
            self.tell(now, &key, |session, intents| session.activity(now, child, heard, sent, intents));
        }
    }

    /// The limit of bytes, packets or sequence numbers is near.
    fn volume_limit(&mut self, now: Duration, child: ChildId) {
        if self.tunnels.begin_rekey(child) {
            self.order(now, Command::RekeyChild { child });
        }
    }

    /// Authenticated ESP-in-UDP came from another address or port; the endpoint decides whether to
    /// follow (RFC 7296 §2.23).
    fn new_endpoint(&mut self, now: Duration, child: ChildId) {
        let Some(ike) = self.tunnels.pair(child).and_then(SaPair::ike) else { return };
        if let Some(remote) = self.tables.reported_endpoint(child) {
            self.order(now, Command::PeerEndpoint { ike, remote });
        }
    }
}
