//! `clear crypto …`: what an operator takes down by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use config::command::{ClearCommand, Filter};
use ike::{ChildId, Command, IkeId};

use super::{Brain, PairRecord};
use crate::compile::EntryKey;
use crate::log::History;

impl Brain {
    /// Carries out a `clear` that concerns SAs; returns how many pairs or IKE SAs it took down. Others are not ours.
    pub fn clear(&mut self, now: Duration, command: &ClearCommand) -> Option<usize> {
        let (children, ikes): (Vec<ChildId>, Vec<IkeId>) = match command {
            ClearCommand::AllSas => (self.children(|_| true), Vec::new()),
            ClearCommand::SasOfPeer(peer) => {
                let addresses = self.addresses_of_text(peer);
                (self.children(|record| addresses.contains(&record.facts.remote)), Vec::new())
            }
            ClearCommand::SasOfMap(map) => (self.children(|record| record.entry.map == *map), Vec::new()),
            ClearCommand::SaBySpi { destination, spi } => {
                let matches = |record: &PairRecord| {
                    let facts = &record.facts;
                    (facts.remote == *destination && facts.outbound_spi == *spi)
                        || (facts.local == *destination && facts.inbound_spi == *spi)
                };
                (self.children(matches), Vec::new())
            }
            ClearCommand::Isakmp(id) => (Vec::new(), self.ikes(&Filter::default(), *id)),
            ClearCommand::Ikev2Sas(filter) | ClearCommand::Sessions(filter) => {
                // A pair without IKE SA is one of an earlier control plane; it belongs to the session, too.
                let orphan = |record: &PairRecord| {
                    record.ike.is_none()
                        && filter.remote.is_none_or(|remote| record.facts.remote == remote)
                        && filter.local.is_none_or(|local| record.facts.local == local)
                };
                (self.children(orphan), self.ikes(filter, None))
            }
            ClearCommand::SaCounters | ClearCommand::AccessListCounters(_) | ClearCommand::Logging => {
                return None;
            }
        };
        let count = children.len() + ikes.len();
        let mut touched: BTreeSet<EntryKey> = children
            .iter()
            .filter_map(|child| self.pairs.get(child))
            .chain(self.pairs.values().filter(|record| record.ike.is_some_and(|ike| ikes.contains(&ike))))
            .map(|record| record.entry.clone())
            .collect();
        touched.extend(
            self.attempts
                .iter()
                .filter(|attempt| ikes.contains(&attempt.ike))
                .map(|attempt| attempt.entry.clone()),
        );
        if matches!(command, ClearCommand::Sessions(filter) if *filter == Filter::default()) {
            touched.extend(self.sessions.keys().cloned());
        }
        self.attempts.retain(|attempt| !ikes.contains(&attempt.ike));
        for child in children {
            self.delete_child(now, child);
        }
        for ike in ikes {
            self.order(now, Command::DeleteIke { ike, notify_peer: true });
        }
        self.settle(now);
        for key in touched {
            self.history.push(now, key.to_string(), "cleared by the operator");
            self.with_session(now, &key, |session, intents| session.cleared(now, intents));
        }
        self.settle(now);
        Some(count)
    }

    /// The control plane ends in order: the peers are told, so that they need no detection.
    pub fn shut_down(&mut self, now: Duration) {
        for ike in self.ikes(&Filter::default(), None) {
            self.order(now, Command::DeleteIke { ike, notify_peer: true });
        }
        self.settle(now);
    }

    /// `show tohub history`.
    pub fn render_history(&self, now: Duration) -> String {
        History::render(&self.history, now)
    }

    fn children(&self, which: impl Fn(&PairRecord) -> bool) -> Vec<ChildId> {
        self.pairs.iter().filter(|(_, record)| which(record)).map(|(id, _)| *id).collect()
    }

    fn ikes(&self, filter: &Filter, id: Option<u32>) -> Vec<IkeId> {
        self.ike_sas
            .iter()
            .filter(|(ike, sa)| {
                let relation = self.relations.get(&sa.connection);
                filter.remote.is_none_or(|remote| sa.remote.ip() == remote)
                    && filter
                        .local
                        .is_none_or(|local| relation.is_some_and(|relation| relation.key.local == local))
                    && id.is_none_or(|id| u64::from(id) == ike.0)
            })
            .map(|(ike, _)| *ike)
            .collect()
    }
}
