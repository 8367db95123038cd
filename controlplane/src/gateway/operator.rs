//! `clear crypto …`: SAs cleared by the operator.

use std::collections::BTreeSet;
use std::time::Duration;

use config::command::{ClearCommand, Filter};
use ike::{ChildId, Command, IkeId};

use super::Gateway;
use crate::plan::EntryKey;
use crate::report::History;
use crate::tunnels::SaPair;

impl Gateway {
    /// Executes a `clear` command that concerns SAs; returns the number of pairs or IKE SAs
    /// removed, or `None` for other commands.
    pub fn clear(&mut self, now: Duration, command: &ClearCommand) -> Option<usize> {
        let (children, ikes): (Vec<ChildId>, Vec<IkeId>) = match command {
            ClearCommand::AllSas => (self.children(|_| true), Vec::new()),
            ClearCommand::SasOfPeer(peer) => {
                let addresses = self.names.addresses_of_text(peer);
                (self.children(|pair| addresses.contains(&pair.facts().remote)), Vec::new())
            }
            ClearCommand::SasOfMap(map) => (self.children(|pair| pair.entry().map == *map), Vec::new()),
            ClearCommand::SaBySpi { destination, spi } => {
                let matches = |pair: &SaPair| {
                    let facts = pair.facts();
                    (facts.remote == *destination && facts.outbound_spi == *spi)
                        || (facts.local == *destination && facts.inbound_spi == *spi)
                };
                (self.children(matches), Vec::new())
            }
            ClearCommand::Isakmp(id) => (Vec::new(), self.ikes(&Filter::default(), *id)),
            ClearCommand::Ikev2Sas(filter) | ClearCommand::Sessions(filter) => {
                // A pair without an IKE SA was adopted from an earlier control plane; it belongs to
                // the session too.
                let adopted = |pair: &SaPair| {
                    pair.ike().is_none()
                        && filter.remote.is_none_or(|remote| pair.facts().remote == remote)
                        && filter.local.is_none_or(|local| pair.facts().local == local)
                };
                (self.children(adopted), self.ikes(filter, None))
            }
            ClearCommand::SaCounters | ClearCommand::AccessListCounters(_) | ClearCommand::Logging => {
                return None;
            }
        };
        let count = children.len() + ikes.len();
        let (ended, closed) = (BTreeSet::from_iter(&children), BTreeSet::from_iter(&ikes));
        let is_touched = |child: &ChildId, pair: &SaPair| {
            ended.contains(child) || pair.ike().is_some_and(|ike| closed.contains(&ike))
        };
        let pairs = self.tunnels.pairs().filter(|(child, pair)| is_touched(child, pair));
        let mut touched: BTreeSet<EntryKey> = pairs.map(|(_, pair)| pair.entry().clone()).collect();
        let given_up = self.tunnels.take_attempts(|attempt| closed.contains(&attempt.ike));
        touched.extend(given_up.into_iter().map(|attempt| attempt.entry));
        if matches!(command, ClearCommand::Sessions(filter) if *filter == Filter::default()) {
            touched.extend(self.peers.sessions().map(|(key, _)| key.clone()));
        }
        for child in children {
            self.delete_child(now, child);
        }
        for ike in ikes {
            self.order(now, Command::DeleteIke { ike, notify_peer: true });
        }
        self.settle(now);
        for key in touched {
            self.report.transition(now, &key, "cleared by the operator");
            self.tell(now, &key, |session, intents| session.cleared(now, intents));
        }
        self.settle(now);
        Some(count)
    }

    /// Orderly shutdown: sends Delete messages, so that the peers need no detection.
    pub fn shut_down(&mut self, now: Duration) {
        for ike in self.ikes(&Filter::default(), None) {
            self.order(now, Command::DeleteIke { ike, notify_peer: true });
        }
        self.settle(now);
    }

    /// `show tohub history`.
    pub fn render_history(&self, now: Duration) -> String {
        History::render(self.report.history(), now)
    }

    fn children(&self, which: impl Fn(&SaPair) -> bool) -> Vec<ChildId> {
        self.tunnels.pairs().filter(|(_, pair)| which(pair)).map(|(id, _)| id).collect()
    }

    fn ikes(&self, filter: &Filter, id: Option<u32>) -> Vec<IkeId> {
        self.tunnels
            .ikes()
            .filter(|(ike, sa)| {
                let relation = self.connections.get(sa.connection());
                filter.remote.is_none_or(|remote| sa.remote().ip() == remote)
                    && filter
                        .local
                        .is_none_or(|local| relation.is_some_and(|relation| relation.key.local == local))
                    && id.is_none_or(|id| u64::from(id) == ike.0)
            })
            .map(|(ike, _)| ike)
            .collect()
    }
}
