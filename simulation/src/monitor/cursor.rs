//! The cursor rules: a model of every entry's cursor, independent of the control plane's own.
//!
//! Each movement must be reported, start at the previous position, be defined for its reason in the
//! transition table, and have that reason present. An initiation after an idle timeout must start
//! with the default peer.

use controlplane::peers::select::{Reason, Standing};
use controlplane::peers::session::Session;
use controlplane::plan::Peer;

use super::{Invariant, Monitor};
use crate::network::Network;

/// The model of one entry's cursor.
#[derive(Clone, Debug)]
pub(super) struct Track {
    seq: u32,
    peers: Vec<Peer>,
    default_first: bool,
    current: usize,
    /// Number of peers that failed in the current pass; `None` without a pass.
    failed: Option<usize>,
    /// Set if a pass may have been cancelled and restarted unnoticed: the number of failed peers is
    /// then unknown.
    unsure: bool,
    /// Set while an edit is applied: the expected position afterwards.
    edit: Option<Edit>,
}

#[derive(Clone, Debug)]
struct Edit {
    peer_with_sas: Option<Peer>,
    before: Option<Peer>,
}

impl Track {
    fn of(seq: u32, session: &Session) -> Self {
        let selection = session.selection();
        Track {
            seq,
            peers: selection.peers().to_vec(),
            default_first: selection.default_peer().is_some(),
            current: index_of(session),
            failed: session.selection().is_attempting().then_some(0),
            unsure: true,
            edit: None,
        }
    }

    fn next(&self) -> usize {
        if self.peers.is_empty() { 0 } else { (self.current + 1) % self.peers.len() }
    }
}

fn index_of(session: &Session) -> usize {
    let selection = session.selection();
    let current = selection.current();
    selection.peers().iter().position(|peer| Some(peer) == current).unwrap_or(0)
}

fn has_pairs(session: &Session, peer: &Peer) -> bool {
    session.pairs().any(|(_, pair)| pair.peer == *peer)
}

impl Monitor {
    /// A pass through the list may have been cancelled and restarted.
    pub(super) fn unsettle(&mut self, gateway: usize) {
        for track in &mut self.tracks[gateway] {
            track.unsure = true;
        }
    }

    /// Records the state before an edit.
    pub(super) fn before_edit(&mut self, network: &Network, gateway: usize) {
        for (key, session) in network.gateways[gateway].control.sessions() {
            let Some(track) = self.tracks[gateway].iter_mut().find(|track| track.seq == key.seq) else {
                continue;
            };
            let before = session.selection().current().cloned();
            track.edit =
                Some(Edit { peer_with_sas: before.clone().filter(|peer| has_pairs(session, peer)), before });
        }
    }

    /// A reported movement.
    pub(super) fn check_change(
        &mut self,
        network: &Network,
        gateway: usize,
        entry: &str,
        old: &str,
        new: &str,
        reason: Reason,
    ) {
        let seq = entry.rsplit(' ').next().and_then(|seq| seq.parse::<u32>().ok());
        let control = &network.gateways[gateway].control;
        let Some((_, session)) = control.sessions().find(|(key, _)| Some(key.seq) == seq) else { return };
        let Some(at) = self.tracks[gateway].iter().position(|track| Some(track.seq) == seq) else { return };
        let track = &mut self.tracks[gateway][at];
        if reason == Reason::Config {
            // Checked when the edit is complete.
            let expected = track.edit.is_some();
            track.current = index_of(session);
            if !expected {
                self.violated(
                    network,
                    gateway,
                    Invariant::CursorRules,
                    format!("{old} -> {new} by an edit that was none"),
                );
            }
            return;
        }
        let name = |index: usize| track.peers.get(index).map(ToString::to_string).unwrap_or_default();
        let target = track.peers.iter().position(|peer| peer.to_string() == new);
        let allowed: Vec<usize> = match reason {
            Reason::Dpd => survivors(session, old)
                .unwrap_or_else(|| if track.default_first { vec![0] } else { vec![track.next()] }),
            Reason::InitFail => {
                let failed = track.failed.unwrap_or(0) + 1;
                track.failed = Some(failed);
                let exhausted = failed >= track.peers.len();
                match (track.default_first, track.unsure) {
                    (true, true) => vec![0, track.next()],
                    (true, false) if exhausted => vec![0],
                    _ => vec![track.next()],
                }
            }
            Reason::IdleDefault => {
                let rule = session.idle_rule();
                let clock = network.gateways[gateway].clock(network.now);
                let address = self.health.site_of(old).map(|site| self.health.sites()[site].ip());
                let last =
                    address.and_then(|address| network.gateways[gateway].plane.last_packet_with(address));
                let long = match (rule.after, last) {
                    (Some(after), Some(last)) => clock.as_millis() as u64 >= last + after.as_millis() as u64,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if long && rule.to_default && track.default_first { vec![0] } else { Vec::new() }
            }
            Reason::PeerHeard => {
                let heard =
                    |index: &usize| track.peers.get(*index).is_some_and(|peer| has_pairs(session, peer));
                (0..track.peers.len()).filter(heard).collect()
            }
            Reason::Clear => {
                if track.default_first && session.pairs().next().is_none() {
                    vec![0]
                } else {
                    Vec::new()
                }
            }
            Reason::Config => Vec::new(),
        };
        let from = name(track.current);
        let fits = target.is_some_and(|target| allowed.contains(&target)) && from == old;
        let allowed: Vec<String> = allowed.into_iter().map(name).collect();
        if let Some(target) = target {
            track.current = target;
        }
        if reason != Reason::InitFail {
            track.failed = None;
        }
        if !fits {
            let text = format!(
                "{old} -> {new} ({reason}); the cursor was on {from}, and the rules allow {}",
                if allowed.is_empty() { "no movement".to_owned() } else { allowed.join(" or ") }
            );
            self.violated(network, gateway, Invariant::CursorRules, text);
        }
    }

    /// Compares the cursors of a control plane that has processed all events with the model.
    pub(super) fn check_cursors(&mut self, network: &Network, gateway: usize) {
        let control = &network.gateways[gateway].control;
        let mut wrong = None;
        let tracks = &mut self.tracks[gateway];
        tracks.retain(|track| control.sessions().any(|(key, _)| key.seq == track.seq));
        for (key, session) in control.sessions() {
            let Some(track) = tracks.iter_mut().find(|track| track.seq == key.seq) else {
                tracks.push(Track::of(key.seq, session));
                continue;
            };
            let selection = session.selection();
            if let Some(edit) = track.edit.take() {
                wrong = wrong.or(after_edit(track, &edit, session));
                *track = Track::of(key.seq, session);
                continue;
            }
            let index = index_of(session);
            if selection.peers() != track.peers || track.default_first != selection.default_peer().is_some() {
                wrong = Some(format!("the peer list of {key} changed without an edit"));
                *track = Track::of(key.seq, session);
            } else if index != track.current {
                wrong = Some(format!(
                    "the cursor of {key} is on {} and was on {}, without a report",
                    selection.peers()[index],
                    track.peers[track.current]
                ));
                track.current = index;
            }
            if !selection.is_attempting() {
                (track.failed, track.unsure) = (None, false);
            } else if track.failed.is_none() {
                track.failed = Some(0);
                let rule = session.idle_rule();
                if track.default_first && rule.to_default && index != 0 {
                    let subject = &network.gateways[gateway];
                    let clock = subject.clock(network.now).as_millis() as u64;
                    let silence = subject.plane.silence_before_last_request(clock);
                    if rule
                        .after
                        .is_some_and(|after| silence.is_some_and(|s| s >= after.as_millis() as u64 + 1000))
                    {
                        wrong = Some(format!("{key} initiates to a backup after {silence:?} ms of silence"));
                    }
                }
            }
        }
        if let Some(text) = wrong {
            self.violated(network, gateway, Invariant::CursorRules, text);
        }
    }
}

/// The peers that still carry SAs of an entry whose current peer died, if any do.
fn survivors(session: &Session, dead: &str) -> Option<Vec<usize>> {
    let peers = session.selection().peers();
    let newest = session
        .pairs()
        .filter(|(_, pair)| pair.standing == Standing::Active && pair.peer.to_string() != dead)
        .filter(|(_, pair)| peers.contains(&pair.peer))
        .map(|(_, pair)| pair.installed)
        .max()?;
    let with_newest = |peer: &Peer| {
        session.pairs().any(|(_, pair)| {
            pair.peer == *peer && pair.installed == newest && pair.standing == Standing::Active
        })
    };
    Some(peers.iter().enumerate().filter(|(_, peer)| with_newest(peer)).map(|(index, _)| index).collect())
}

/// After an edit the cursor stays on a peer that is still configured and has SAs, otherwise it is
/// on the first one; with an unchanged list it does not move.
fn after_edit(track: &Track, edit: &Edit, session: &Session) -> Option<String> {
    let selection = session.selection();
    let unchanged =
        selection.peers() == track.peers && selection.default_peer().is_some() == track.default_first;
    let kept = if unchanged { edit.before.as_ref() } else { edit.peer_with_sas.as_ref() };
    let expected = kept.filter(|peer| selection.peers().contains(peer)).or(selection.peers().first());
    let current = selection.current();
    (current != expected)
        .then(|| format!("after an edit the cursor is on {current:?} instead of {expected:?}"))
}
