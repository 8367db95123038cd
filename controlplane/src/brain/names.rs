//! Peers by name: what is asked, and what an answer leads to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{Brain, Output};
use crate::compile::EntryKey;
use crate::log::Message;
use crate::names::{Answer, NameError, Usable};
use crate::session::Peer;

impl Brain {
    /// The answer to [`Output::Resolve`]. Flows that wait for it go on: to the first usable address of the family that
    /// their entry uses, or, if there is none, with the failure of that peer.
    pub fn resolved(&mut self, now: Duration, name: &str, answer: Result<Answer, NameError>) {
        self.names.answered(name);
        let waiting = std::mem::take(&mut self.resolving);
        let (due, rest) =
            waiting.into_iter().partition::<Vec<_>, _>(|(_, peer, _)| peer.host_name() == Some(name));
        self.resolving = rest;
        let failure = match answer {
            Ok(answer) => {
                let usable = self.believe(now, name, &answer);
                self.take_in(now, name, &usable, answer.ttl);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        for (key, peer, policy) in due {
            let address = self.address_for(&key, &peer).filter(|_| failure.is_none());
            if address.is_some() {
                self.connect(now, &key, peer, policy);
                continue;
            }
            let reason =
                failure.as_deref().unwrap_or("the name does not resolve to an address that can be used");
            self.aborted(now, &key, &peer, reason);
            self.failed.push_back((key, peer));
        }
        self.settle(now);
    }

    /// Somebody types `set peer NAME` and `answer` is what its name resolves to now: from then on the peer has this address.
    /// False if there is none that can be used; the reason stands in the log.
    pub fn specify(&mut self, now: Duration, name: &str, answer: &Result<Answer, NameError>) -> bool {
        let usable = match answer {
            Ok(answer) => self.believe(now, name, answer),
            Err(error) => {
                self.say(Message::Note(format!("name {name}: {error}")));
                return false;
            }
        };
        if usable.is_empty() {
            return false;
        }
        let peer = Peer::Fixed(name.to_owned());
        if self.learn(now, peer, usable, Duration::ZERO) {
            self.refresh_relations(now);
            self.settle(now);
        }
        true
    }

    /// What `ip host` lines say about a name, as an answer of the name service.
    pub fn host_line(&self, name: &str) -> Option<Answer> {
        Some(Answer { addresses: self.host(name)?.to_vec(), ttl: Duration::ZERO })
    }

    /// Names that were typed without `dynamic` and have no address yet, after a start or because the name service was down,
    /// are asked for; those that nobody configures any more are forgotten.
    pub(super) fn look_up_fixed_names(&mut self, now: Duration) {
        let configured = self.named_peers();
        self.names.retain(|peer| configured.contains(peer));
        for peer in configured {
            let Peer::Fixed(name) = &peer else { continue };
            if [false, true].iter().any(|v6| self.names.address(&peer, *v6).is_some()) {
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

    /// The address of a peer, as far as it is known without asking anybody.
    pub(super) fn address_of(&self, peer: &Peer, v6: bool) -> Option<IpAddr> {
        match peer {
            Peer::Address(address) => Some(*address),
            Peer::Name(name) => self.host_of_family(name, v6).or_else(|| self.names.address(peer, v6)),
            Peer::Fixed(_) => self.names.address(peer, v6),
        }
    }

    /// The same in the family of an entry.
    pub(super) fn address_for(&self, key: &EntryKey, peer: &Peer) -> Option<IpAddr> {
        self.address_of(peer, self.plan.entries.get(key)?.local.is_ipv6())
    }

    /// The address to initiate to without asking anybody.
    pub(super) fn address_now(&self, peer: &Peer, v6: bool, now: Duration) -> Option<IpAddr> {
        match peer {
            Peer::Address(address) => Some(*address),
            Peer::Name(name) => self.host_of_family(name, v6).or_else(|| self.names.fresh(peer, v6, now)),
            Peer::Fixed(_) => self.names.fresh(peer, v6, now),
        }
    }

    /// The addresses that an operator means by an address or a name.
    pub(super) fn addresses_of_text(&self, text: &str) -> Vec<IpAddr> {
        if let Ok(address) = text.parse() {
            return vec![address];
        }
        let name = text.to_ascii_lowercase();
        [Peer::Name(name.clone()), Peer::Fixed(name)]
            .iter()
            .flat_map(|peer| [false, true].into_iter().filter_map(|v6| self.address_of(peer, v6)))
            .collect()
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
        let known = [false, true].iter().any(|v6| self.names.address(&fixed, *v6).is_some());
        if configured.contains(&fixed) && !known {
            learnt |= self.learn(now, fixed, usable.clone(), ttl);
        }
        if learnt {
            self.refresh_relations(now);
        }
    }

    /// The usable part of an answer; what is not believed is said, within a limit.
    fn believe(&mut self, now: Duration, name: &str, answer: &Answer) -> Usable {
        let ours: BTreeSet<IpAddr> =
            self.devices.values().flat_map(|device| device.addresses.iter().copied()).collect();
        let usable = Usable::of(&answer.addresses, &ours);
        if !usable.remarks.is_empty() && self.remarks.pass(now) {
            self.say(Message::Note(format!("name {name}: {}", usable.remarks.join("; "))));
        }
        usable
    }

    fn learn(&mut self, now: Duration, peer: Peer, usable: Usable, ttl: Duration) -> bool {
        let addresses: Vec<String> =
            [false, true].iter().filter_map(|v6| Some(usable.address(*v6)?.to_string())).collect();
        let name = peer.to_string();
        let changed = self.names.learn(peer, usable, ttl, now);
        if changed && !addresses.is_empty() {
            self.history.push(now, name, format!("resolves to {}", addresses.join(" and ")));
        }
        changed
    }

    /// Every peer of the configuration that is named and not numbered.
    fn named_peers(&self) -> BTreeSet<Peer> {
        let entries = self.configuration.crypto_maps.values().flat_map(|set| set.entries.values());
        let peers = entries.flat_map(|entry| &entry.body.peers).map(|peer| Peer::of(&peer.name));
        peers.filter(|peer| peer.host_name().is_some()).collect()
    }

    fn host_of_family(&self, name: &str, v6: bool) -> Option<IpAddr> {
        self.host(name)?.iter().find(|address| address.is_ipv6() == v6).copied()
    }

    /// An `ip host` line, by the name as it is or with the domain appended.
    fn host(&self, name: &str) -> Option<&[IpAddr]> {
        let system = &self.configuration.system;
        let long =
            system.domain_name.as_ref().map(|domain| format!("{name}.{}", domain.to_ascii_lowercase()));
        let known = system.hosts.get(name).or_else(|| system.hosts.get(&long?));
        known.map(Vec::as_slice)
    }
}
