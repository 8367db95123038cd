//! Name resolution of peers: requests and the handling of answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{Gateway, Output};
use crate::names::{Answer, NameError, Usable};
use crate::plan::{EntryKey, Peer};

impl Gateway {
    /// The answer to [`Output::Resolve`]. Waiting flows continue with the first usable address of
    /// their entry's address family; if there is none, the initiation to that peer has failed.
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

    /// An operator enters `set peer NAME`, and `answer` is the current result for that name: the
    /// peer keeps this address. False if no address is usable; the reason is logged.
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

    /// The `ip host` lines for a name, in the form of a resolver answer.
    pub fn host_line(&self, name: &str) -> Option<Answer> {
        self.names.host_line(name)
    }

    /// Resolves names that were configured without `dynamic` and have no address yet, after a start
    /// or while name resolution was unavailable. Names that are no longer configured are removed.
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

    /// The address of a peer in the address family of an entry, if it is known without a query.
    pub(super) fn address_for(&self, key: &EntryKey, peer: &Peer) -> Option<IpAddr> {
        self.names.address_of(peer, self.plan.entries.get(key)?.local.is_ipv6())
    }

    /// The resolved peer names: name, addresses, and whether they are still valid.
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
        // A fixed peer keeps its address, whatever later answers for other peers contain.
        if configured.contains(&fixed) && !self.names.is_learnt(&fixed) {
            learnt |= self.learn(now, fixed, usable.clone(), ttl);
        }
        if learnt {
            self.refresh_connections(now);
        }
    }

    /// The usable part of an answer; rejected addresses are logged with a rate limit.
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

    /// Every configured peer given by name.
    fn named_peers(&self) -> BTreeSet<Peer> {
        let entries = self.configuration.crypto_maps.values().flat_map(|set| set.entries.values());
        let peers = entries.flat_map(|entry| &entry.body.peers).map(|peer| Peer::of(&peer.name));
        peers.filter(|peer| peer.host_name().is_some()).collect()
    }
}
