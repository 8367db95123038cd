//! The gateway's state as the view structs of `config::render_show`; without keys.

mod closed;
mod sas;
mod stats;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use config::command::{Filter, ShowCommand};
use config::render_show::{
    EntryPeersView, PeerStatusView, PeersView, SessionStatus, SessionView, TemporaryEntryView, crypto_map,
    crypto_session, ikev2_sa, ipsec_sa, ipsec_sa_count, isakmp_sa, peers, temporary_entries,
};

use super::Gateway;
use crate::peers::select::Standing;
use crate::peers::session::Session;
use crate::plan::{EntryKey, Peer};
use crate::tunnels::{IkeSa, SaPair};
use closed::{ClosedMap, closed_because, closed_maps};
use stats::ikev2_stats;

/// ESP is sent for this long without any received: the peer is reported in `show tohub peers`.
const SUSPICIOUS: Duration = Duration::from_secs(30);

impl Gateway {
    /// The text of a show command about sessions and SAs; `None` for commands about something else.
    pub fn show(&self, now: Duration, command: &ShowCommand) -> Option<String> {
        Some(match command {
            ShowCommand::CryptoMap(filter) => {
                let temporaries = temporary_entries(&self.configuration, filter, &self.temporary_views());
                let closed = closed_maps(&self.configuration, &self.devices);
                let closed: Vec<_> = closed.into_iter().map(|one| (one.map, one.why)).collect();
                let configured = crypto_map(&self.configuration, filter, &self.current_peers(), &closed);
                configured + &temporaries + &self.edits.line()
            }
            ShowCommand::CryptoSession { detail, brief, filter } => {
                crypto_session(&self.session_views(now, filter), *detail, *brief)
            }
            ShowCommand::CryptoIpsecSa { detail, filter } => {
                ipsec_sa(&self.ipsec_views(now, filter), *detail)
            }
            ShowCommand::CryptoIpsecSaCount => {
                let rekeying = self.tunnels.pairs().filter(|(_, pair)| pair.is_rekeying()).count();
                ipsec_sa_count(self.tunnels.pair_count() * 2, rekeying)
            }
            ShowCommand::CryptoIsakmpSa { detail } => isakmp_sa(&self.isakmp_views(now), *detail),
            ShowCommand::CryptoIkev2Sa { detail, filter } => {
                ikev2_sa(&self.ikev2_views(now, filter), *detail)
            }
            ShowCommand::CryptoIkev2Stats => ikev2_stats(self.endpoint.counters()),
            ShowCommand::TohubPeers => peers(&self.peers_view(now)),
            ShowCommand::TohubHistory => self.render_history(now),
            _ => return None,
        })
    }

    /// The JSON form, if the command has one.
    pub fn show_json(&self, now: Duration, command: &ShowCommand) -> Option<serde_json::Value> {
        match command {
            ShowCommand::TohubPeers => serde_json::to_value(self.peers_view(now)).ok(),
            ShowCommand::TohubHistory => serde_json::to_value(self.history().iter().collect::<Vec<_>>()).ok(),
            _ => None,
        }
    }

    /// `show tohub peers`.
    pub fn peers_view(&self, now: Duration) -> PeersView {
        let closed = closed_maps(&self.configuration, &self.devices);
        let closed = closed.as_slice();
        let entries = self.configuration.crypto_maps.iter().flat_map(|(map, set)| {
            set.entries.iter().flat_map(move |(seq, entry)| {
                let keys: Vec<&EntryKey> = self
                    .plan
                    .entries
                    .keys()
                    .filter(|key| key.map == *map && key.configured() == Some(*seq))
                    .collect();
                if keys.is_empty() {
                    return vec![self.unused_entry(map, *seq, entry, closed)];
                }
                keys.into_iter().filter_map(|key| self.entry_peers(now, key, closed)).collect()
            })
        });
        let temporaries = self.plan.entries.keys().filter(|key| key.configured().is_none());
        let temporaries = temporaries.filter_map(|key| self.entry_peers(now, key, closed));
        PeersView { entries: entries.chain(temporaries).collect() }
    }

    fn unused_entry(
        &self,
        map: &str,
        seq: u16,
        entry: &config::model::CryptoMapEntry,
        closed: &[ClosedMap],
    ) -> EntryPeersView {
        let prefix = format!("crypto map {map} {seq}:");
        let quoted = format!("crypto map \"{map}\" {seq}:");
        let refusal =
            self.plan.notes.iter().find(|note| note.starts_with(&prefix) || note.starts_with(&quoted));
        EntryPeersView {
            map: map.to_owned(),
            seq: seq.into(),
            interface: None,
            state: if refusal.is_some() { "refused" } else { "incomplete" }.to_owned(),
            last_reason: None,
            changes: 0,
            refusal: refusal.cloned(),
            closed: closed_because(closed, map, None),
            idle_seconds: None,
            idle_to_default: false,
            idle_for_ms: None,
            peers: entry
                .body
                .peers
                .iter()
                .map(|peer| PeerStatusView {
                    name: peer.name.to_string(),
                    address: None,
                    default: peer.default,
                    current: false,
                    state: "idle".to_owned(),
                    sas: 0,
                    last_heard_ms: None,
                    suspicious: None,
                })
                .collect(),
        }
    }

    fn entry_peers(&self, now: Duration, key: &EntryKey, closed: &[ClosedMap]) -> Option<EntryPeersView> {
        let session = self.peers.session(key)?;
        let selection = session.selection();
        let changes = self.report.changes_of(key);
        let idle = session.idle_rule();
        let ms = |at: Duration| u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX);
        Some(EntryPeersView {
            map: key.map.clone(),
            seq: key.seq,
            interface: Some(key.interface.to_string()),
            state: text::state(session.state()).to_owned(),
            last_reason: changes.map(|(_, reason)| reason.to_string()),
            changes: changes.map_or(0, |(count, _)| count),
            refusal: None,
            closed: closed_because(closed, &key.map, Some(&key.interface)),
            idle_seconds: idle.after.map(|after| u32::try_from(after.as_secs()).unwrap_or(u32::MAX)),
            idle_to_default: idle.to_default,
            idle_for_ms: selection.last_packet().map(ms),
            peers: selection
                .peers()
                .iter()
                .map(|peer| {
                    let pairs = || session.pairs().filter(|(_, pair)| pair.peer == *peer);
                    PeerStatusView {
                        name: peer.to_string(),
                        address: self.address_for(key, peer).map(|address| address.to_string()),
                        default: selection.default_peer() == Some(peer),
                        current: selection.displayed() == Some(peer),
                        state: self.peer_state(session, key, peer).to_owned(),
                        sas: u32::try_from(pairs().count()).unwrap_or(u32::MAX),
                        last_heard_ms: self.last_heard(key, peer).map(ms),
                        suspicious: self.suspicion(key, session, peer),
                    }
                })
                .collect(),
        })
    }

    fn peer_state(&self, session: &Session, key: &EntryKey, peer: &Peer) -> &'static str {
        if session.pairs().any(|(_, pair)| pair.peer == *peer && pair.standing == Standing::Active) {
            let probing = self.ike_of(key, peer).any(|sa| sa.liveness().is_some_and(|l| l.unanswered() > 0));
            return if probing { "probing" } else { "up" };
        }
        let attempts = self.tunnels.attempts();
        if self.names.waiting().iter().any(|waiting| waiting.entry == *key && waiting.peer == *peer) {
            "resolving"
        } else if attempts.iter().any(|attempt| attempt.entry == *key && attempt.peer == *peer) {
            "negotiating"
        } else {
            "idle"
        }
    }

    /// Reports a peer that answers IKE and from which no ESP arrives although some is sent to it:
    /// ESP is filtered at the peer or on the path, which dead peer detection does not notice.
    fn suspicion(&self, key: &EntryKey, session: &Session, peer: &Peer) -> Option<String> {
        let answered = self.ike_of(key, peer).filter_map(|sa| Some(sa.liveness()?.last_heard()));
        let answered = answered.max()?;
        let carries = |policy, child| session.outbound(policy) == Some(child);
        let mut silent = session.pairs().filter(|(child, pair)| {
            pair.peer == *peer && pair.standing == Standing::Active && carries(pair.policy, *child)
        });
        silent.find_map(|(child, pair)| {
            let activity = self.tables.activity(child)?;
            let heard = self.scale.from_stamp(activity.last_heard_ms).unwrap_or(pair.installed);
            let sent = self.scale.from_stamp(activity.last_sent_ms)?;
            let silence = sent.checked_sub(heard).filter(|silence| *silence >= SUSPICIOUS)?;
            (answered > heard + SUSPICIOUS / 2).then(|| {
                let seconds = silence.as_secs();
                format!(
                    "it answers IKE, but for {seconds} s no ESP came back for what was sent; check its access lists and what filters ESP on the way"
                )
            })
        })
    }

    fn temporary_views(&self) -> Vec<TemporaryEntryView> {
        let mut views: Vec<TemporaryEntryView> = self
            .dynamic
            .derived()
            .temporaries
            .iter()
            .map(|one| TemporaryEntryView {
                map: one.template.map.clone(),
                seq: one.seq,
                interface: one.template.interface.to_string(),
                peer: one.peer.to_string(),
                permits: text::permits(&one.local, &one.remote),
                template: (one.template.dynamic.clone(), one.template.dynamic_seq),
            })
            .collect();
        views.sort_by(|a, b| (&a.map, a.seq).cmp(&(&b.map, b.seq)));
        views
    }

    fn ike_of(&self, key: &EntryKey, peer: &Peer) -> impl Iterator<Item = &IkeSa> {
        let address = self.address_for(key, peer);
        self.tunnels.ikes().map(|(_, sa)| sa).filter(move |sa| Some(sa.remote().ip()) == address)
    }

    fn last_heard(&self, key: &EntryKey, peer: &Peer) -> Option<Duration> {
        let address = self.address_for(key, peer)?;
        let with = |pair: &SaPair| pair.facts().remote == address;
        let pairs = self
            .tunnels
            .pairs()
            .filter(|(_, pair)| with(pair))
            .filter_map(|(child, _)| self.scale.from_stamp(self.tables.activity(child)?.last_heard_ms));
        let ikes = self.ike_of(key, peer).filter_map(|sa| Some(sa.liveness()?.last_heard()));
        ikes.chain(pairs).max()
    }

    fn current_peers(&self) -> BTreeMap<(String, u16), String> {
        self.peers
            .sessions()
            .filter_map(|(key, session)| {
                Some(((key.map.clone(), key.configured()?), session.selection().displayed()?.to_string()))
            })
            .collect()
    }

    fn session_views(&self, now: Duration, filter: &Filter) -> Vec<SessionView> {
        let mut views = Vec::new();
        for (key, session) in self.peers.sessions() {
            let Some(entry) = self.plan.entries.get(key) else { continue };
            if filter.interface.as_ref().is_some_and(|interface| *interface != key.interface)
                || filter.local.is_some_and(|local| local != entry.local)
            {
                continue;
            }
            let current = session.selection().displayed().or(session.selection().current());
            for peer in session.selection().peers() {
                let Some(address) = self.address_for(key, peer) else { continue };
                let up = session.pairs().any(|(_, pair)| pair.peer == *peer);
                let has_ike = self.ike_of(key, peer).next().is_some();
                let shown = up || has_ike || current == Some(peer);
                if shown && filter.remote.is_none_or(|remote| remote == address) {
                    views.push(self.session_view(now, key, session, peer, address));
                }
            }
        }
        views
    }

    fn session_view(
        &self,
        now: Duration,
        key: &EntryKey,
        session: &Session,
        peer: &Peer,
        address: IpAddr,
    ) -> SessionView {
        let ike = self.newest_ike(address);
        let up = session.pairs().any(|(_, pair)| pair.peer == *peer && pair.standing == Standing::Active);
        let established = ike.as_ref().is_some_and(|info| info.established);
        let status = match (up, established, ike.is_some()) {
            (true, true, _) => SessionStatus::UpActive,
            (true, false, _) => SessionStatus::UpNoIke,
            (false, true, _) => SessionStatus::UpIdle,
            (false, false, true) => SessionStatus::DownNegotiating,
            (false, false, false) => SessionStatus::Down,
        };
        let since =
            session.pairs().filter(|(_, pair)| pair.peer == *peer).map(|(_, pair)| pair.installed).min();
        let entry = key.configured().and_then(|seq| self.configuration.entry(&key.map, seq));
        SessionView {
            interface: key.interface.to_string(),
            uptime: since.map(|since| now.saturating_sub(since).as_secs()),
            status,
            peer: (address, ike.as_ref().map_or(500, |info| info.remote.port())),
            phase1_id: ike.as_ref().and_then(|info| info.remote_identity.as_ref()).map(ToString::to_string),
            description: entry.and_then(|entry| entry.body.description.clone()),
            ike: ike.as_ref().map(|info| self.ike_session_view(now, info)),
            flows: self.session_flows(now, key, session, peer),
        }
    }
}
