//! Addresses of peers that are configured by name: what the name service said, how much of it is believed, and for how long.
//!
//! Pure: answers and times come in by argument. A `dynamic` name ([`Peer::Name`]) is known until its answer's TTL has passed
//! or an initiation to its address failed, whichever is first; any other ([`Peer::Fixed`]) keeps the address that it had when
//! it was typed or the configuration was loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::session::Peer;

/// How long an answer of the name service is waited for; an initiation that waits for it has then failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Addresses of one answer that are looked at.
pub const MAX_ADDRESSES: usize = 16;

/// The longest time that an answer is believed, whatever its TTL says.
const LONGEST_TTL: Duration = Duration::from_secs(86_400);

/// What a name service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The addresses of both families, in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// How long they may be used without asking again.
    pub ttl: Duration,
}

/// Why there is no answer; the text stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// `no ip domain lookup`.
    #[error("the name service is switched off; type \"ip domain lookup\", or \"ip host\" with its address")]
    Off,
    /// Nobody answered in time.
    #[error("the name service does not answer; check \"ip name-server\"")]
    Timeout,
    /// There is no such name, or it has no address.
    #[error("the name does not resolve")]
    NotFound,
    /// The name service or our way to it is in trouble.
    #[error("the name does not resolve: {0}")]
    Service(String),
}

/// The believed part of an answer: the first usable address of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    /// What was not believed, for the log.
    pub remarks: Vec<String>,
}

impl Usable {
    /// Sorts an answer; `ours` are this machine's addresses.
    pub fn of(addresses: &[IpAddr], ours: &BTreeSet<IpAddr>) -> Self {
        let mut usable = Usable::default();
        for address in addresses.iter().take(MAX_ADDRESSES) {
            if let Some(reason) = unusable(*address, ours) {
                usable.remarks.push(format!("{address} is not used: it is {reason}"));
                continue;
            }
            let slot = if address.is_ipv6() { &mut usable.v6 } else { &mut usable.v4 };
            slot.get_or_insert(*address);
        }
        if addresses.len() > MAX_ADDRESSES {
            let count = addresses.len();
            usable
                .remarks
                .push(format!("{count} addresses, of which the first {MAX_ADDRESSES} were looked at"));
        }
        usable
    }

    /// The address of one family.
    pub fn address(&self, v6: bool) -> Option<IpAddr> {
        if v6 { self.v6 } else { self.v4 }
    }

    /// Whether nothing of the answer can be used.
    pub fn is_empty(&self) -> bool {
        self.v4.or(self.v6).is_none()
    }
}

/// Why no gateway can have this address.
fn unusable(address: IpAddr, ours: &BTreeSet<IpAddr>) -> Option<&'static str> {
    let canonical = address.to_canonical();
    if ours.contains(&canonical) || ours.contains(&address) {
        return Some("our own address");
    }
    if address != canonical {
        return Some("an IPv4 address in IPv6 form");
    }
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("no address of a host"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ if address.is_unspecified() => Some("no address of a host"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

#[derive(Clone, Debug)]
struct Known {
    usable: Usable,
    fresh_until: Duration,
}

/// The book of names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: BTreeMap<Peer, Known>,
    /// Questions under way, and until when they are waited for.
    asked: BTreeMap<String, Duration>,
}

impl Names {
    /// The last address of a peer, fresh or not.
    pub fn address(&self, peer: &Peer, v6: bool) -> Option<IpAddr> {
        self.known.get(peer)?.usable.address(v6)
    }

    /// The address to initiate to without asking anybody.
    pub fn fresh(&self, peer: &Peer, v6: bool, now: Duration) -> Option<IpAddr> {
        let known = self.known.get(peer)?;
        let fresh = matches!(peer, Peer::Fixed(_)) || now < known.fresh_until;
        known.usable.address(v6).filter(|_| fresh)
    }

    /// Notes an answer for a peer; true if an address is another one than before.
    pub fn learn(&mut self, peer: Peer, usable: Usable, ttl: Duration, now: Duration) -> bool {
        let fresh_until = now + ttl.min(LONGEST_TTL);
        let before = self.known.insert(peer.clone(), Known { usable, fresh_until });
        let families = |known: &Known| (known.usable.v4, known.usable.v6);
        before.as_ref().map(families) != self.known.get(&peer).map(families)
    }

    /// An address that a previous control plane used; it was learnt long ago.
    pub fn resume(&mut self, peer: &Peer, address: IpAddr) {
        if peer.host_name().is_some() && !self.known.contains_key(peer) {
            let usable = Usable::of(&[address], &BTreeSet::new());
            self.known.insert(peer.clone(), Known { usable, fresh_until: Duration::ZERO });
        }
    }

    /// An initiation to the peer's address failed: the next one asks again.
    pub fn distrust(&mut self, peer: &Peer) {
        if let Some(known) = self.known.get_mut(peer) {
            known.fresh_until = Duration::ZERO;
        }
    }

    /// Begins a question; false if it is under way already.
    pub fn ask(&mut self, name: &str, now: Duration) -> bool {
        let under_way = self.asked.contains_key(name);
        self.asked.entry(name.to_owned()).or_insert(now + PATIENCE);
        !under_way
    }

    /// The question has been answered.
    pub fn answered(&mut self, name: &str) {
        self.asked.remove(name);
    }

    /// Names that were asked for too long ago.
    pub fn overdue(&self, now: Duration) -> Vec<String> {
        self.asked.iter().filter(|(_, until)| now >= **until).map(|(name, _)| name.clone()).collect()
    }

    /// When the next question is given up.
    pub fn deadline(&self) -> Option<Duration> {
        self.asked.values().min().copied()
    }

    /// Forgets peers that the configuration no longer has.
    pub fn retain(&mut self, keep: impl Fn(&Peer) -> bool) {
        self.known.retain(|peer, _| keep(peer));
    }

    /// What is known, for `show hosts`: the name, its addresses, and whether they would be used without asking.
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
    fn lies_are_told_apart_and_each_has_its_reason() {
        let ours = BTreeSet::from(["10.9.9.9".parse().unwrap(), "2001:db8::9".parse().unwrap()]);
        let lies = [
            ("0.0.0.0", "no address"),
            ("0.1.2.3", "no address"),
            ("::", "no address"),
            ("127.0.0.1", "loopback"),
            ("127.8.8.8", "loopback"),
            ("::1", "loopback"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("fe80::1", "link-local"),
            ("::ffff:10.1.1.1", "IPv4 address in IPv6"),
            ("10.9.9.9", "our own"),
            ("::ffff:10.9.9.9", "our own"),
            ("2001:db8::9", "our own"),
        ];
        for (lie, reason) in lies {
            let usable = Usable::of(&addresses(&[lie]), &ours);
            assert!(usable.is_empty(), "{lie}");
            assert!(usable.remarks[0].contains(reason), "{lie}: {:?}", usable.remarks);
        }
        let mixed = Usable::of(&addresses(&["127.0.0.1", "10.1.1.1", "10.2.2.2", "2001:db8::1"]), &ours);
        assert_eq!(mixed.address(false), Some("10.1.1.1".parse().unwrap()), "the first that can be used");
        assert_eq!(mixed.address(true), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_hundred_addresses_are_looked_at_within_a_bound() {
        let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([127, 0, 0, n])).collect();
        let usable = Usable::of(&many, &BTreeSet::new());
        assert!(usable.is_empty());
        assert_eq!(usable.remarks.len(), MAX_ADDRESSES + 1);
        assert!(usable.remarks.last().unwrap().contains("100 addresses"), "{:?}", usable.remarks.last());
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
        assert!(names.address(&dynamic, false).is_some(), "its SAs still have it");
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
}
