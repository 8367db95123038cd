//! Handling of a dead peer.
//!
//! `tunnels` counts the probes and declares the peer dead, with everything that ended with it. The
//! sessions respond with the next initiation, which `intents` carries out. The endpoint is
//! instructed once to drop the IKE SA; its later report about that SA finds no entry here and is
//! ignored.

use std::time::Duration;

use ike::{ChildId, Command};

use super::Gateway;
use crate::plan::EntryKey;
use crate::tunnels::{Detected, Ended, SaPair};

impl Gateway {
    /// Polls the detections that are due.
    pub(super) fn detect(&mut self, now: Duration) {
        let mut dead = Vec::new();
        for detected in self.tunnels.detect(now) {
            match detected {
                Detected::Probe { ike, interval, retries } => {
                    self.order(now, Command::Liveness { ike, interval, retries });
                }
                Detected::PeerDead(ended) => {
                    self.order(now, Command::DeleteIke { ike: ended.ike, notify_peer: false });
                    dead.push(ended);
                }
            }
        }
        for ended in dead {
            self.report.ike_down(now, ended.remote, "PeerDead");
            self.peer_dead(now, ended);
        }
        self.settle(now);
    }

    /// The peer of an IKE SA is dead: its sessions move on to the next peer, unless they have
    /// another SA with this one.
    pub(super) fn peer_dead(&mut self, now: Duration, ended: Ended) {
        let lost = self.take_down(now, ended.pairs);
        for attempt in ended.attempts {
            // A session that lost a pair moves its cursor by itself.
            if !lost.iter().any(|(key, _)| *key == attempt.entry) {
                self.failed.push_back((attempt.entry, attempt.peer));
            }
        }
        for (key, children) in lost {
            let with = |child: &ChildId| self.peers.pair(&key, *child).map(|pair| pair.peer.clone());
            let peer = children.iter().find_map(with);
            let elsewhere = self
                .peers
                .session(&key)
                .into_iter()
                .flat_map(|session| session.pairs())
                .any(|(child, pair)| Some(&pair.peer) == peer.as_ref() && !children.contains(&child));
            match peer.filter(|_| !elsewhere) {
                Some(peer) => {
                    self.report.transition(now, &key, format!("{peer} is dead"));
                    self.tell(now, &key, |session, intents| session.peer_dead(now, &peer, intents));
                }
                None => self.children_gone(now, &key, &children),
            }
        }
    }

    /// Retires the slots and removes the routes of pairs that have ended; returns the children of
    /// each session, which the caller notifies.
    pub(super) fn take_down(
        &mut self,
        now: Duration,
        pairs: Vec<(ChildId, SaPair)>,
    ) -> Vec<(EntryKey, Vec<ChildId>)> {
        let mut lost: Vec<(EntryKey, Vec<ChildId>)> = Vec::new();
        for (child, pair) in pairs {
            self.release_pair(now, child, &pair, false);
            match lost.iter_mut().find(|(key, _)| key == pair.entry()) {
                Some((_, children)) => children.push(child),
                None => lost.push((pair.entry().clone(), vec![child])),
            }
        }
        lost
    }

    /// Child SAs of a session are gone although its peer is alive.
    pub(super) fn children_gone(&mut self, now: Duration, key: &EntryKey, children: &[ChildId]) {
        self.tell(now, key, |session, intents| {
            for child in children {
                session.child_gone(now, *child, intents);
            }
        });
    }
}
