//! Peers by name: what is asked, and what an answer leads to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{Gateway, Output};
use crate::names::{Answer, NameError, Usable};
use crate::plan::{EntryKey, Peer};

impl Gateway {
    /// The answer to [`Output::Resolve`]. Flows that wait for it go on: to the first usable address
    /// of the family that their entry uses, or, if there is none, with the failure of that peer.
    pub fn resolved(&mut self, now: Duration, name: &str, answer: Result<Answer, NameError>) {
        let due = self.names.answered(name);
        let failure = match answer {
            Ok(answer) => {
                let usable = self.believe(now, name, &answer);
                self.take_in(now, name, &usable, answer.ttl);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        for waiting in due {
            let (key, peer) = (waiting.entry, waiting.peer);
            let address = self.address_for(&key, &peer).filter(|_| failure.is_none());
            if address.is_some() {
                self.connect(now, &key, peer, waiting.policy);
                continue;
            }
            let reason =
                failure.as_deref().unwrap_or("the name does not resolve to an address that can be used");
            self.report.aborted(now, &key, &peer, reason);
            self.failed.push_back((key, peer));
        }
        self.settle(now);
    }

    /// Somebody types `set peer NAME` and `answer` is what its name resolves to now: from then on
    /// the peer has this address. False if there is none that can be used; the reason stands in the
    /// log.
    pub fn specify(&mut self, now: Duration, name: &str, answer: &Result<Answer, NameError>) -> bool {
        let usable = match answer {
            Ok(answer) => self.believe(now, name, answer),
            Err(error) => {
                self.report.note(format!("name {name}: {error}"));
                return false;
            }
        };
        if usable.is_empty() {
            return false;
        }
        let peer = Peer::Fixed(name.to_owned());
        if self.learn(now, peer, usable, Duration::ZERO) {
            self.refresh_connections(now);
            self.settle(now);
        }
        true
    }

    /// What `ip host` lines say about a name, as an answer of the name service.
    pub fn host_line(&self, name: &str) -> Option<Answer> {
        self.names.host_line(name)
    }

    /// Names that were typed without `dynamic` and have no address yet, after a start or because
    /// the name service was down, are asked for; those that nobody configures any more are
    /// forgotten.
    pub(super) fn look_up_fixed_names(&mut self, now: Duration) {
        let configured = self.named_peers();
        self.names.retain(|peer| configured.contains(peer));
        for peer in configured {
            let Peer::Fixed(name) = &peer else { continue };
            if self.names.is_learnt(&peer) {
                continue;
            }
            match self.host_line(name) {
                Some(answer) => {
                    let usable = self.believe(now, name, &answer);
                    self.learn(now, peer, usable, Duration::ZERO);
                }
                None => self.ask_for(now, name),
            }
        }
    }

    pub(super) fn ask_for(&mut self, now: Duration, name: &str) {
        if self.names.ask(name, now) {
            self.outputs.push_back(Output::Resolve(name.to_owned()));
        }
    }

    /// The address of a peer in the family of an entry, as far as it is known without asking
    /// anybody.
    pub(super) fn address_for(&self, key: &EntryKey, peer: &Peer) -> Option<IpAddr> {
        self.names.address_of(peer, self.plan.entries.get(key)?.local.is_ipv6())
    }

    /// What the name service said about peers: name, addresses, and whether it would be asked anew.
    pub fn known_names(&self, now: Duration) -> impl Iterator<Item = (&Peer, Vec<IpAddr>, bool)> {
        self.names.iter(now)
    }

    fn take_in(&mut self, now: Duration, name: &str, usable: &Usable, ttl: Duration) {
        let (dynamic, fixed) = (Peer::Name(name.to_owned()), Peer::Fixed(name.to_owned()));
        let configured = self.named_peers();
        let mut learnt = false;
        if configured.contains(&dynamic) {
            learnt |= self.learn(now, dynamic, usable.clone(), ttl);
        }
        // A fixed peer keeps the address that it was given, whatever is answered for others.
        if configured.contains(&fixed) && !self.names.is_learnt(&fixed) {
            learnt |= self.learn(now, fixed, usable.clone(), ttl);
        }
        if learnt {
            self.refresh_connections(now);
        }
    }

    /// The usable part of an answer; what is not believed is said, within a limit.
    fn believe(&mut self, now: Duration, name: &str, answer: &Answer) -> Usable {
        let ours: BTreeSet<IpAddr> =
            self.devices.values().flat_map(|device| device.addresses.iter().copied()).collect();
        let usable = Usable::of(&answer.addresses, &ours);
        if !usable.remarks.is_empty() {
            self.report.remark(now, format!("name {name}: {}", usable.remarks.join("; ")));
        }
        usable
    }

    fn learn(&mut self, now: Duration, peer: Peer, usable: Usable, ttl: Duration) -> bool {
        let addresses: Vec<String> =
            [false, true].iter().filter_map(|v6| Some(usable.address(*v6)?.to_string())).collect();
        let name = peer.to_string();
        let changed = self.names.learn(peer, usable, ttl, now);
        if changed && !addresses.is_empty() {
            self.report.transition(now, name, format!("resolves to {}", addresses.join(" and ")));
        }
        changed
    }

    /// Every peer of the configuration that is named and not numbered.
    fn named_peers(&self) -> BTreeSet<Peer> {
        let entries = self.configuration.crypto_maps.values().flat_map(|set| set.entries.values());
        let peers = entries.flat_map(|entry| &entry.body.peers).map(|peer| Peer::of(&peer.name));
        peers.filter(|peer| peer.host_name().is_some()).collect()
    }
}
