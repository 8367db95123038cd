//! Addresses of peers that are configured by name: resolved addresses and their validity, and the
//! flows that wait for an answer.
//!
//! Answers and times are arguments. The address of a `dynamic` name ([`Peer::Name`]) is valid until
//! its TTL has passed or an initiation to it failed, whichever is first. Any other name
//! ([`Peer::Fixed`]) keeps the address that it had when it was configured or when the configuration
//! was loaded.

mod answer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use config::model::System;
use sa_table::PolicyId;

use crate::plan::{EntryKey, Peer};

pub use answer::{Answer, MAX_ADDRESSES, NameError, Usable};

/// Timeout of a name query; the initiation that waits for it has then failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Upper limit for the TTL of an answer.
const LONGEST_TTL: Duration = Duration::from_secs(86_400);

/// A flow that waits for the address of its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its entry.
    pub entry: EntryKey,
    /// The peer.
    pub peer: Peer,
    /// The flow.
    pub policy: PolicyId,
}

#[derive(Clone, Debug)]
struct Known {
    usable: Usable,
    fresh_until: Duration,
}

/// Peer names and their addresses.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `ip host` lines.
    hosts: BTreeMap<String, Vec<IpAddr>>,
    /// `ip domain name`, in lower case.
    domain: Option<String>,
    known: BTreeMap<Peer, Known>,
    /// Pending queries and their timeouts.
    asked: BTreeMap<String, Duration>,
    /// Oldest first.
    waiting: Vec<Waiting>,
}

impl Names {
    /// Applies the `ip host` and `ip domain name` lines.
    pub fn configure(&mut self, system: &System) {
        self.hosts.clone_from(&system.hosts);
        self.domain = system.domain_name.as_ref().map(|domain| domain.to_ascii_lowercase());
    }

    /// The address of a peer, if it is known without a query; it may have expired.
    pub fn address_of(&self, peer: &Peer, v6: bool) -> Option<IpAddr> {
        match peer {
            Peer::Address(address) => Some(*address),
            Peer::Name(name) => self.host_of_family(name, v6).or_else(|| self.learnt(peer, v6)),
            Peer::Fixed(_) => self.learnt(peer, v6),
        }
    }

    /// The address to initiate to, if a valid one is known without a query.
    pub fn address_now(&self, peer: &Peer, v6: bool, now: Duration) -> Option<IpAddr> {
        match peer {
            Peer::Address(address) => Some(*address),
            Peer::Name(name) => self.host_of_family(name, v6).or_else(|| self.fresh(peer, v6, now)),
            Peer::Fixed(_) => self.fresh(peer, v6, now),
        }
    }

    /// The addresses that an operator's input, an address or a name, stands for.
    pub fn addresses_of_text(&self, text: &str) -> Vec<IpAddr> {
        if let Ok(address) = text.parse() {
            return vec![address];
        }
        let name = text.to_ascii_lowercase();
        [Peer::Name(name.clone()), Peer::Fixed(name)]
            .iter()
            .flat_map(|peer| [false, true].into_iter().filter_map(|v6| self.address_of(peer, v6)))
            .collect()
    }

    /// The `ip host` lines for a name, in the form of a resolver answer.
    pub fn host_line(&self, name: &str) -> Option<Answer> {
        Some(Answer { addresses: self.host(name)?.to_vec(), ttl: Duration::ZERO })
    }

    /// Whether an answer for this peer was ever accepted.
    pub fn is_learnt(&self, peer: &Peer) -> bool {
        [false, true].iter().any(|v6| self.learnt(peer, *v6).is_some())
    }

    /// Adds a flow that waits for the address of its peer.
    pub fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// The waiting flows, oldest first.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// Removes waiting flows.
    pub fn forget_waiting(&mut self, which: impl Fn(&Waiting) -> bool) {
        self.waiting.retain(|waiting| !which(waiting));
    }

    fn host_of_family(&self, name: &str, v6: bool) -> Option<IpAddr> {
        self.host(name)?.iter().find(|address| address.is_ipv6() == v6).copied()
    }

    /// An `ip host` line, by the name as it is or with the domain appended.
    fn host(&self, name: &str) -> Option<&[IpAddr]> {
        let long = || Some(format!("{name}.{}", self.domain.as_ref()?));
        let known = self.hosts.get(name).or_else(|| self.hosts.get(&long()?));
        known.map(Vec::as_slice)
    }

    /// The last learnt address, valid or expired.
    fn learnt(&self, peer: &Peer, v6: bool) -> Option<IpAddr> {
        self.known.get(peer)?.usable.address(v6)
    }

    fn fresh(&self, peer: &Peer, v6: bool, now: Duration) -> Option<IpAddr> {
        let known = self.known.get(peer)?;
        let fresh = matches!(peer, Peer::Fixed(_)) || now < known.fresh_until;
        known.usable.address(v6).filter(|_| fresh)
    }

    /// Stores an answer for a peer; true if an address has changed.
    pub fn learn(&mut self, peer: Peer, usable: Usable, ttl: Duration, now: Duration) -> bool {
        let fresh_until = now + ttl.min(LONGEST_TTL);
        let before = self.known.insert(peer.clone(), Known { usable, fresh_until });
        let families = |known: &Known| (known.usable.v4, known.usable.v6);
        before.as_ref().map(families) != self.known.get(&peer).map(families)
    }

    /// Restores an address from a checkpoint, as an expired one.
    pub fn resume(&mut self, peer: &Peer, address: IpAddr) {
        if peer.host_name().is_some() && !self.known.contains_key(peer) {
            let usable = Usable::of(&[address], &BTreeSet::new());
            self.known.insert(peer.clone(), Known { usable, fresh_until: Duration::ZERO });
        }
    }

    /// An initiation to the peer's address failed: the next one queries again.
    pub fn distrust(&mut self, peer: &Peer) {
        if let Some(known) = self.known.get_mut(peer) {
            known.fresh_until = Duration::ZERO;
        }
    }

    /// Starts a query; false if one is pending already.
    pub fn ask(&mut self, name: &str, now: Duration) -> bool {
        let under_way = self.asked.contains_key(name);
        self.asked.entry(name.to_owned()).or_insert(now + PATIENCE);
        !under_way
    }

    /// The query has been answered: returns the flows that waited for it.
    pub fn answered(&mut self, name: &str) -> Vec<Waiting> {
        self.asked.remove(name);
        self.waiting.extract_if(.., |waiting| waiting.peer.host_name() == Some(name)).collect()
    }

    /// Names whose query has timed out.
    pub fn overdue(&self, now: Duration) -> Vec<String> {
        self.asked.iter().filter(|(_, until)| now >= **until).map(|(name, _)| name.clone()).collect()
    }

    /// When the next query times out.
    pub fn deadline(&self) -> Option<Duration> {
        self.asked.values().min().copied()
    }

    /// Removes peers that are no longer configured.
    pub fn retain(&mut self, keep: impl Fn(&Peer) -> bool) {
        self.known.retain(|peer, _| keep(peer));
    }

    /// The resolved names for `show hosts`: the name, its addresses, and whether they are still
    /// valid.
    pub fn iter(&self, now: Duration) -> impl Iterator<Item = (&Peer, Vec<IpAddr>, bool)> {
        self.known.iter().map(move |(peer, known)| {
            let addresses = known.usable.v4.into_iter().chain(known.usable.v6).collect();
            (peer, addresses, matches!(peer, Peer::Fixed(_)) || now < known.fresh_until)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_dynamic_name_is_fresh_for_its_ttl_and_a_fixed_one_for_ever() {
        let mut names = Names::default();
        let usable = Usable::of(&addresses(&["10.1.1.1"]), &BTreeSet::new());
        let (dynamic, fixed) = (Peer::Name("b".into()), Peer::Fixed("b".into()));
        for peer in [&dynamic, &fixed] {
            assert!(names.learn(peer.clone(), usable.clone(), Duration::from_secs(60), NOW));
            assert!(
                !names.learn(peer.clone(), usable.clone(), Duration::from_secs(60), NOW),
                "the same again"
            );
        }
        let last = NOW + Duration::from_millis(59_999);
        assert!(names.fresh(&dynamic, false, last).is_some());
        assert!(names.fresh(&dynamic, false, NOW + Duration::from_secs(60)).is_none());
        assert!(names.fresh(&dynamic, true, NOW).is_none(), "no address of the other family");
        assert!(names.fresh(&fixed, false, NOW + Duration::from_secs(1_000_000)).is_some());
        names.distrust(&dynamic);
        assert!(names.fresh(&dynamic, false, NOW).is_none());
        assert!(names.learnt(&dynamic, false).is_some(), "its SAs still have it");
    }

    #[test]
    fn a_question_is_put_once_and_given_up_in_time() {
        let mut names = Names::default();
        assert!(names.ask("b", NOW));
        assert!(!names.ask("b", NOW + Duration::from_secs(5)));
        assert_eq!(names.deadline(), Some(NOW + PATIENCE));
        assert!(names.overdue(NOW + PATIENCE - Duration::from_millis(1)).is_empty());
        assert_eq!(names.overdue(NOW + PATIENCE), ["b"]);
        names.answered("b");
        assert_eq!(names.deadline(), None);
        assert!(names.ask("b", NOW));
    }

    #[test]
    fn a_line_of_the_configuration_needs_nobody_and_flows_wait_for_their_own_name() {
        let mut names = Names::default();
        let mut system = System { domain_name: Some("Example.net".into()), ..System::default() };
        system.hosts.insert("b.example.net".into(), addresses(&["10.1.1.1"]));
        names.configure(&system);
        assert_eq!(names.address_now(&Peer::Name("b".into()), false, NOW), Some([10, 1, 1, 1].into()));
        assert_eq!(names.address_now(&Peer::Name("c".into()), false, NOW), None);
        let entry = EntryKey {
            interface: config::model::InterfaceName::parse("Gi0/1").unwrap(),
            map: "m".into(),
            seq: 1,
        };
        let waiting =
            |name: &str| Waiting { entry: entry.clone(), peer: Peer::Name(name.into()), policy: PolicyId(1) };
        names.wait(waiting("c"));
        names.wait(waiting("d"));
        assert_eq!(names.answered("c"), [waiting("c")]);
        assert_eq!(names.waiting(), [waiting("d")]);
    }
}
