//! What the data plane reports: events as they come, and the same facts as level states, read once a second.
//!
//! An event is a hint that may be lost; the level state is the truth. Handling one twice does no harm.

use std::collections::BTreeSet;
use std::time::Duration;

use ike::{ChildId, Command};
use sa_table::{Direction, Event, FiveTuple, PolicyId};

use super::{Brain, SCAN_INTERVAL};
use crate::clock::ike_time;
use crate::log::Message;

impl Brain {
    /// One entry of an event ring.
    pub fn handle_event(&mut self, now: Duration, event: &Event) {
        match event {
            Event::Acquire { policy, flow } => self.acquire(now, *policy, flow),
            Event::SoftLimit { direction, slot } => {
                if let Some(child) = self.table.pair_of(*slot, *direction == Direction::Inbound) {
                    self.volume_limit(now, child);
                }
            }
            Event::HardLimit { direction, slot } => {
                if let Some(child) = self.table.pair_of(*slot, *direction == Direction::Inbound) {
                    self.delete_child(now, child);
                }
            }
            Event::UnknownSpi { spi, source, destination } => {
                if self.invalid_spi.pass(now) {
                    let message =
                        Message::InvalidSpi { spi: *spi, source: *source, destination: *destination };
                    self.say(message);
                }
            }
            Event::FilterMatch { version, list, permit, flow, port, withheld } => {
                let names = self.table.published();
                let interface = port.and_then(|port| names.port(*version, port)).map(str::to_owned);
                // A report of a policy that is two publications old has lost its names.
                if let Some(list) = names.list(*version, *list).map(str::to_owned) {
                    self.say(Message::FilterMatch { list, permit: *permit, flow: *flow, interface });
                }
                if *withheld > 0 {
                    self.say(Message::FilterMatchesWithheld(*withheld));
                }
            }
            Event::PeerEndpoint { slot } => {
                if let Some(child) = self.table.pair_of(*slot, true) {
                    self.new_endpoint(now, child);
                }
            }
        }
        self.settle(now);
    }

    /// Reads every level state once in [`SCAN_INTERVAL`], and in between those that something is about to be decided by: the pairs of
    /// sessions whose timer runs out, and of IKE SAs whose peer may be given up.
    pub(super) fn scan(&mut self, now: Duration) {
        let everything = now >= self.next_scan;
        let children: BTreeSet<ChildId> = if everything {
            self.next_scan = now + SCAN_INTERVAL;
            for (policy, flow) in self.table.acquires() {
                self.acquire(now, policy, &flow);
            }
            self.scan_manual(now);
            self.pairs.keys().copied().collect()
        } else {
            let of_sessions = self.sessions_due(now).into_iter().filter_map(|key| self.sessions.get(&*key));
            let of_sessions = of_sessions.flat_map(|session| session.pairs().map(|(child, _)| child));
            let probed = self.endpoint.overdue(ike_time(now));
            let probed = probed.filter(|ike| self.ike_sas.get(ike).is_some_and(|sa| sa.probing));
            let of_ikes = self.detections_due(now).into_iter().chain(probed);
            of_sessions.chain(of_ikes.flat_map(|ike| self.pairs_under(ike))).collect()
        };
        for child in children {
            self.scan_pair(now, child);
        }
        if everything {
            self.scan_orphans(now);
        }
        self.settle(now);
    }

    fn acquire(&mut self, now: Duration, policy: PolicyId, flow: &FiveTuple) {
        let Some((policy, key)) = self.asked_for(now, policy, flow) else { return };
        self.with_session(now, &key, |session, intents| session.acquire(now, policy, intents));
    }

    fn scan_pair(&mut self, now: Duration, child: ChildId) {
        let Some(activity) = self.table.activity(child) else { return };
        let Some(record) = self.pairs.get_mut(&child) else { return };
        let key = record.entry.clone();
        let Some(ike) = record.ike else { return };
        let late_rekey = record.soft_passed && !record.rekeying && activity.packets() > 0;
        record.rekeying |= late_rekey;
        // Most of many tunnels are silent, and their sessions know it.
        let stamps = (activity.last_heard_ms, activity.last_sent_ms);
        let news = std::mem::replace(&mut record.told, stamps) != stamps;
        let heard = self.scale.from_stamp(activity.last_heard_ms).map(|at| at.min(now));
        let sent = self.scale.from_stamp(activity.last_sent_ms).map(|at| at.min(now));
        let answered = self.with_liveness(ike, |liveness| {
            heard.into_iter().for_each(|at| liveness.heard(at));
            sent.into_iter().for_each(|at| liveness.sent(at));
            liveness.unanswered() == 0
        });
        let probing = self.ike_sas.get(&ike).is_some_and(|sa| sa.probing);
        // The peer was heard while a probe was out: the endpoint begins its count anew with our ladder.
        if probing && answered == Some(true) {
            self.order(now, Command::PeerAlive { ike });
        }
        if late_rekey {
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
        if news {
            self.with_session(now, &key, |session, intents| {
                session.activity(now, child, heard, sent, intents);
            });
        }
    }

    /// Bytes, packets or sequence numbers are running out.
    fn volume_limit(&mut self, now: Duration, child: ChildId) {
        let Some(record) = self.pairs.get_mut(&child) else { return };
        if record.ike.is_some() && !std::mem::replace(&mut record.rekeying, true) {
            self.order(now, Command::RekeyChild { child });
        }
    }

    /// Authenticated ESP-in-UDP came from elsewhere; the endpoint decides whether to follow (RFC 7296 §2.23).
    fn new_endpoint(&mut self, now: Duration, child: ChildId) {
        let Some(ike) = self.pairs.get(&child).and_then(|record| record.ike) else { return };
        if let Some(remote) = self.table.reported_endpoint(child) {
            self.order(now, Command::PeerEndpoint { ike, remote });
        }
    }
}
