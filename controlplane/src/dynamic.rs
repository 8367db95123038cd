//! Derived entries: temporary entries for the peers of dynamic maps, and host pairs of
//! `level per-host`. Decides when they are created and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ike::TrafficSelector;

use crate::plan::{
    Derived, EntryKey, FIRST_TEMPORARY, HostFlow, MAX_HOST_FLOWS, MAX_TEMPORARIES, Plan, PolicyKey,
    TemplateKey, Temporary,
};

/// How long the flow of a temporary entry is still dropped after its last SA has gone and no
/// configured access list covers it: replies of local hosts to packets that arrived protected must
/// not leave in clear.
pub const LINGER: Duration = Duration::from_secs(10);

/// The derived entries and their removal.
#[derive(Debug, Default)]
pub struct Dynamic {
    derived: Derived,
    /// Set when an entry may have become unused.
    sweep_due: bool,
    /// Temporary entries without an SA, by number, and since when. Their flows are dropped until
    /// [`LINGER`] has passed.
    without_sa: BTreeMap<u32, Duration>,
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Whether host pairs were removed, so that the connections have to be rebuilt.
    pub hosts: bool,
}

impl Dynamic {
    /// The derived entries, for the compiler and the checkpoint.
    pub fn derived(&self) -> &Derived {
        &self.derived
    }

    /// Restores the entries of a checkpoint.
    pub fn restore(&mut self, derived: Derived) {
        self.derived = derived;
    }

    /// An SA or an initiation ended: entries may have become unused.
    pub fn mark(&mut self) {
        self.sweep_due = true;
    }

    /// Requests a sweep if [`LINGER`] has passed for a temporary entry without an SA.
    pub fn mark_lingering(&mut self, now: Duration) {
        self.sweep_due |= self.without_sa.values().any(|since| now >= since.saturating_add(LINGER));
    }

    /// Whether [`Dynamic::sweep`] has to be called; clears the mark.
    pub fn take_sweep_due(&mut self) -> bool {
        std::mem::take(&mut self.sweep_due)
    }

    /// Finds or creates the entry of a peer that a template accepted; the result says whether it is
    /// new. `None` when the limit is reached.
    pub fn accept(
        &mut self,
        template: &TemplateKey,
        peer: IpAddr,
        local: &[TrafficSelector],
        remote: &[TrafficSelector],
    ) -> Option<(EntryKey, bool)> {
        let known = self.derived.temporaries.iter().find(|one| {
            one.template == *template && one.peer == peer && (&*one.local, &*one.remote) == (local, remote)
        });
        if let Some(known) = known {
            return Some((known.key(), false));
        }
        let (template, local, remote) = (template.clone(), local.to_vec(), remote.to_vec());
        let one = Temporary { seq: self.free_number()?, template, peer, local, remote };
        let key = one.key();
        self.derived.temporaries.push(one);
        Some((key, true))
    }

    /// Removes the newest temporary entry, for which the table has no room.
    pub fn withdraw_newest_entry(&mut self) {
        self.derived.temporaries.pop();
    }

    /// Adds a host pair. False when its entry has reached the limit.
    pub fn add_hosts(&mut self, flow: HostFlow) -> bool {
        let count = self.derived.hosts.iter().filter(|other| other.entry == flow.entry).count();
        if count >= MAX_HOST_FLOWS {
            return false;
        }
        self.derived.hosts.push(flow);
        true
    }

    /// Removes the newest host pair, for which the table has no room.
    pub fn withdraw_newest_hosts(&mut self) {
        self.derived.hosts.pop();
    }

    /// Whether a policy belongs to a host pair.
    pub fn is_of_hosts(&self, key: &PolicyKey) -> bool {
        self.derived.hosts.iter().any(|flow| flow.is(key))
    }

    /// After an edit: removes what the configuration no longer covers; its sessions end with their
    /// entries.
    pub fn forget_uncovered(&mut self, plan: &Plan) {
        self.derived.temporaries.retain(|one| plan.entries.contains_key(&one.key()));
        self.derived.hosts.retain(|flow| plan.policies.values().any(|key| flow.is(key)));
    }

    /// Removes entries that have no SA and for which no flow is waiting; `None` if nothing is
    /// removed. `entry_lives` and `hosts_live` tell what is in use, `has_list` whether an access
    /// list drops the flows of a template while no peer carries them.
    pub fn sweep(
        &mut self,
        now: Duration,
        entry_lives: impl Fn(&EntryKey) -> bool,
        hosts_live: impl Fn(&HostFlow) -> bool,
        has_list: impl Fn(&TemplateKey) -> bool,
    ) -> Option<Swept> {
        let without_sa = &mut self.without_sa;
        let before = (self.derived.temporaries.len(), self.derived.hosts.len());
        self.derived.temporaries.retain(|one| {
            if entry_lives(&one.key()) {
                without_sa.remove(&one.seq);
                return true;
            }
            // The time starts with the first sweep that finds the entry without an SA.
            !has_list(&one.template) && now < without_sa.entry(one.seq).or_insert(now).saturating_add(LINGER)
        });
        self.derived.hosts.retain(hosts_live);
        let after = (self.derived.temporaries.len(), self.derived.hosts.len());
        if after == before {
            return None;
        }
        let known: BTreeSet<u32> = self.derived.temporaries.iter().map(|one| one.seq).collect();
        self.without_sa.retain(|seq, _| known.contains(seq));
        Some(Swept { hosts: after.1 != before.1 })
    }

    /// The lowest free number of a temporary entry; `None` when the limit is reached.
    fn free_number(&self) -> Option<u32> {
        if self.derived.temporaries.len() >= MAX_TEMPORARIES {
            return None;
        }
        let taken: BTreeSet<u32> = self.derived.temporaries.iter().map(|one| one.seq).collect();
        (FIRST_TEMPORARY..).find(|number| !taken.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::model::InterfaceName;

    fn template() -> TemplateKey {
        TemplateKey {
            interface: InterfaceName::parse("Gi0/1").unwrap(),
            map: "m".into(),
            seq: 1,
            dynamic: "any".into(),
            dynamic_seq: 1,
        }
    }

    fn accept(dynamic: &mut Dynamic, peer: u8) -> (EntryKey, bool) {
        let host = TrafficSelector::host([192, 168, 1, peer].into());
        dynamic.accept(&template(), [10, 0, 0, peer].into(), &[host], &[host]).unwrap()
    }

    #[test]
    fn a_peer_has_one_entry_and_the_lowest_free_number() {
        let mut dynamic = Dynamic::default();
        let (first, is_new) = accept(&mut dynamic, 1);
        assert!(is_new && first.seq == FIRST_TEMPORARY);
        assert_eq!(accept(&mut dynamic, 2).0.seq, FIRST_TEMPORARY + 1);
        assert_eq!(accept(&mut dynamic, 1), (first.clone(), false));
        let only_second = |key: &EntryKey| *key != first;
        assert_eq!(
            dynamic.sweep(Duration::ZERO, only_second, |_| true, |_| true),
            Some(Swept { hosts: false })
        );
        assert_eq!(accept(&mut dynamic, 3).0.seq, FIRST_TEMPORARY);
    }

    #[test]
    fn a_temporary_entry_without_a_list_outlives_its_last_sa_for_a_while() {
        let mut dynamic = Dynamic::default();
        accept(&mut dynamic, 1);
        let at = |seconds| Duration::from_secs(seconds);
        let sweep = |dynamic: &mut Dynamic, now, lives: bool| {
            dynamic.sweep(now, |_| lives, |_| true, |_| false).is_some()
        };
        dynamic.mark_lingering(at(100));
        assert!(!dynamic.take_sweep_due(), "none is without SA");
        assert!(!sweep(&mut dynamic, at(100), false));
        dynamic.mark_lingering(at(109));
        assert!(!dynamic.take_sweep_due() && !sweep(&mut dynamic, at(109), false));
        dynamic.mark_lingering(at(110));
        assert!(dynamic.take_sweep_due() && sweep(&mut dynamic, at(110), false));
        assert!(dynamic.derived().temporaries.is_empty());
    }
}
