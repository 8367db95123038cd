//! SA pairs adopted from a previous control plane.
//!
//! After a restart the control plane keeps the pairs that it finds in the table: packets continue
//! to flow, the cursors stay where they were, and nothing is renegotiated without a reason. The
//! keys of the IKE SAs are lost, so adopted pairs can be neither rekeyed nor probed. Silence of the
//! peer, or an approaching hard limit, causes a new IKE SA, whose pairs take over the flow.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ike::ChildId;
use sa_table::PolicyId;

use super::Gateway;
use crate::tables::Activity;

/// Silence after which an adopted pair is given up when no keepalive is configured.
const SILENCE: Duration = Duration::from_secs(10);

/// Time before its hard limit at which an adopted pair is replaced.
const MARGIN: Duration = Duration::from_secs(60);

/// Liveness of the peer of adopted pairs.
#[derive(Clone, Copy)]
struct Sign {
    /// Maximum silence.
    patience: Duration,
    /// The last authenticated packet on any of the adopted pairs.
    heard: Option<Duration>,
}

impl Gateway {
    pub(super) fn scan_adopted(&mut self, now: Duration) {
        let adopted: Vec<(ChildId, IpAddr)> =
            self.tunnels.adopted_pairs().map(|(child, pair)| (child, pair.facts().remote)).collect();
        if adopted.is_empty() {
            return;
        }
        let mut signs: BTreeMap<IpAddr, Sign> = BTreeMap::new();
        for relation in self.connections.iter() {
            let patience = relation.ike.dpd.map_or(SILENCE, |dpd| Duration::from_secs(dpd.interval.into()));
            signs.entry(relation.key.remote).or_insert(Sign { patience, heard: None });
        }
        for (child, remote) in &adopted {
            let heard =
                self.tables.activity(*child).and_then(|seen| self.scale.from_stamp(seen.last_heard_ms));
            let sign = signs.entry(*remote).or_insert(Sign { patience: SILENCE, heard: None });
            sign.heard = sign.heard.max(heard.map(|at: Duration| at.min(now)));
        }
        for (child, remote) in adopted {
            if let (Some(activity), Some(sign)) = (self.tables.activity(child), signs.get(&remote)) {
                self.scan_adopted_pair(now, child, &activity, *sign);
            }
        }
    }

    /// Ends the pair when the peer has been silent for as long as detection would wait before its
    /// first probe, because the peer may have deleted its end; shortly before the hard limit, a
    /// successor is negotiated. The silence is measured over all adopted pairs with the peer: the
    /// end of a single pair cannot be signalled, and while others deliver packets the peer would go
    /// on sending on the ended one.
    fn scan_adopted_pair(&mut self, now: Duration, child: ChildId, activity: &Activity, sign: Sign) {
        let Some(pair) = self.tunnels.pair(child) else { return };
        let (key, policy, hard_limit) = (pair.entry().clone(), pair.policy(), pair.facts().hard_limit);
        let stamp = |ms| self.scale.from_stamp(ms).map(|at: Duration| at.min(now));
        let (heard, sent) = (stamp(activity.last_heard_ms), stamp(activity.last_sent_ms));
        let Some((peer, installed)) =
            self.peers.pair(&key, child).map(|pair| (pair.peer.clone(), pair.installed))
        else {
            return self.drop_adopted(now, child, false);
        };
        let last_heard = sign.heard.map_or(installed, |heard| heard.max(installed));
        let silent = now >= last_heard + sign.patience;
        if silent || activity.hard_limit || hard_limit.is_some_and(|limit| now >= limit) {
            self.report.transition(
                now,
                &key,
                format!("the SA pair with {peer} is given up after the restart"),
            );
            return self.drop_adopted(now, child, false);
        }
        let near_end = hard_limit.is_some_and(|limit| now + MARGIN >= limit) || activity.soft_limit;
        if near_end && self.tunnels.begin_replacement(child) {
            self.initiate(now, &key, peer, policy);
        }
        // For the same reason it does not idle out while another adopted pair with the peer is in
        // use.
        let sent = sent.max(sign.heard);
        self.tell(now, &key, |session, intents| session.activity(now, child, heard, sent, intents));
    }

    /// A negotiated pair now carries the flow; the adopted one is removed.
    pub(super) fn replace_adopted(&mut self, now: Duration, policy: PolicyId, remote: IpAddr) {
        let replaced: Vec<ChildId> = self
            .tunnels
            .adopted_pairs()
            .filter(|(_, pair)| pair.policy() == policy && pair.facts().remote == remote)
            .map(|(child, _)| child)
            .collect();
        for child in replaced {
            self.drop_adopted(now, child, true);
        }
    }

    pub(super) fn drop_adopted(&mut self, now: Duration, child: ChildId, drains: bool) {
        if let Some(key) = self.forget_pair(now, child, drains) {
            self.tell(now, &key, |session, intents| session.child_gone(now, child, intents));
        }
    }
}
