//! SA pairs in the shared table: what is written when, and in which order.
//!
//! A new pair: inbound record and SPI first, so that nothing that the peer sends is lost, then the
//! outbound record, then the policy word that sends packets there. An old pair: first the word,
//! then the outbound slot; an inbound slot that was replaced is kept for [`DRAIN`], since packets
//! may still be under way. Keys are erased by the table when every worker has announced that it
//! left them.

mod manual;
mod published;
mod records;
mod resume;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use config::effective_ike::IpsecParameters;
use config::model::DfBit;
use ike::{ChildId, InstallChild};
use sa_table::{
    Capacities, DfPolicy, DscpPolicy, Encapsulation, Filters, FiveTuple, InboundSaRecord, KeyLengthError,
    KeyMaterial, Level, OutboundSaRecord, PeerEndpoint, PolicyId, PolicyVersion, PortRecord, Rule,
    RuntimeReader, SaErrorKind, SlotWord, TableError, TableWriter,
};

use crate::clock::Scale;
use crate::compile::PolicyNumbers;
use crate::plan::{Entry, PolicyKey};
use manual::ManualPair;
use published::PublishedNames;
use records::{algorithm, lifetime, selectors};

pub use manual::ManualRequest;

/// How long a replaced inbound SA goes on receiving, in real milliseconds.
pub const DRAIN: u64 = 5_000;

/// What an entry says about its SAs.
#[derive(Clone, Copy, Debug)]
pub struct PairParameters {
    /// The flow.
    pub policy: PolicyId,
    /// Replay window in packets, 0 for none.
    pub replay_window: u32,
    /// DF bit of the outer header.
    pub df: DfPolicy,
    /// Volume limit in octets, 0 for none.
    pub bytes: u64,
    /// Largest outer packet.
    pub path_mtu: u32,
}

impl PairParameters {
    /// What `entry` says for one of its permits.
    pub fn of(entry: &Entry, policy: PolicyId) -> Self {
        Self::new(&entry.ipsec, policy, entry.mtu)
    }

    /// What `ipsec` says for one permit.
    pub fn new(ipsec: &IpsecParameters, policy: PolicyId, path_mtu: u32) -> Self {
        PairParameters {
            policy,
            replay_window: ipsec.replay_window.map_or(0, u32::from),
            df: match ipsec.df_bit {
                DfBit::Clear => DfPolicy::Clear,
                DfBit::Set => DfPolicy::Set,
                DfBit::Copy => DfPolicy::Copy,
            },
            bytes: ipsec.lifetime_kilobytes.map_or(0, |kilobytes| u64::from(kilobytes) * 1024),
            path_mtu,
        }
    }
}

/// Why a pair cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No algorithm of the table is meant.
    #[error("the agreed algorithms make no ESP: a cipher without its own integrity needs an HMAC")]
    Algorithm,
    /// The keying material does not fit.
    #[error("keying material: {0}")]
    Keys(#[from] KeyLengthError),
    /// Too many selectors.
    #[error("more selectors than an SA record holds; permit fewer ranges in one line")]
    Selectors,
    /// The table refused.
    #[error("SA table: {0}")]
    Table(#[from] TableError),
}

/// What the data plane counted for a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Last authenticated inbound packet, unscaled milliseconds, 0 for never.
    pub last_heard_ms: u64,
    /// Last outbound packet, unscaled milliseconds, 0 for never.
    pub last_sent_ms: u64,
    /// Packets opened.
    pub packets_in: u64,
    /// Packets sealed.
    pub packets_out: u64,
    /// Octets opened.
    pub bytes_in: u64,
    /// Octets sealed.
    pub bytes_out: u64,
    /// Packets whose check value was wrong.
    pub verify_failed: u64,
    /// Packets that were received before, or are older than the window.
    pub replayed: u64,
    /// Packets whose inside is not what the SA is for.
    pub wrong_selector: u64,
    /// Packets that are no ESP.
    pub malformed: u64,
    /// The soft limit by volume or sequence is reached.
    pub soft_limit: bool,
    /// The hard limit is reached; the data plane does not use the pair any more.
    pub hard_limit: bool,
    /// Authenticated ESP-in-UDP came from another endpoint.
    pub new_endpoint: bool,
}

impl Activity {
    /// Packets either way.
    pub fn packets(&self) -> u64 {
        self.packets_in + self.packets_out
    }
}

/// How much of the table is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Free inbound and outbound slots.
    pub free: (usize, usize),
    /// Slots of SA pairs in service.
    pub pairs: usize,
    /// Inbound slots that drain.
    pub draining: usize,
    /// Policies in use.
    pub policies: usize,
    /// Policies to be given back.
    pub surplus: usize,
    /// Answered requests that are remembered.
    pub answered: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slots {
    inbound: SlotWord,
    outbound: SlotWord,
}

/// The control plane's end of the table and runtime segments.
pub struct Tables {
    table: TableWriter,
    runtime: RuntimeReader,
    pairs: BTreeMap<ChildId, Slots>,
    /// Hand-keyed pairs.
    manual: BTreeMap<PolicyId, ManualPair>,
    numbers: BTreeMap<PolicyKey, PolicyId>,
    /// Policies that are given back once rules without them are published.
    surplus: BTreeSet<PolicyId>,
    /// Inbound slots that drain, and until when (unscaled milliseconds).
    draining: Vec<(SlotWord, u64)>,
    /// The time of the last request of a policy that was answered.
    answered: BTreeMap<PolicyId, u64>,
    /// A publication that the workers were not ready for.
    unpublished: Option<(Vec<PortRecord>, Vec<Vec<Rule>>, Filters)>,
    published: PublishedNames,
}

impl Tables {
    /// The policy numbers, for the checkpoint.
    pub fn numbers(&self) -> impl Iterator<Item = (&PolicyKey, PolicyId)> {
        self.numbers.iter().map(|(key, id)| (key, *id))
    }

    /// The slots of a pair, inbound and outbound, for the checkpoint.
    pub fn slots(&self, pair: ChildId) -> Option<(SlotWord, SlotWord)> {
        self.pairs.get(&pair).map(|slots| (slots.inbound, slots.outbound))
    }

    /// Installs a pair: inbound first. It carries nothing until [`Tables::bind`] says so.
    ///
    /// # Errors
    /// Nothing is installed then.
    pub fn install(
        &mut self,
        child: &InstallChild,
        parameters: &PairParameters,
        scale: Scale,
        now: Duration,
    ) -> Result<(), InstallError> {
        let algorithm = algorithm(&child.suite).ok_or(InstallError::Algorithm)?;
        let keys = |half: &ike::ChildHalf| {
            KeyMaterial::new(
                algorithm,
                half.encryption_key.expose(),
                half.integrity_key.expose(),
                half.salt.expose(),
            )
        };
        let selectors =
            selectors(&child.local_selectors, &child.remote_selectors).ok_or(InstallError::Selectors)?;
        let mode = child.mode;
        let encapsulation = match child.udp_encapsulation {
            None => Encapsulation::None,
            Some((local_port, remote_port)) => Encapsulation::Udp { local_port, remote_port },
        };
        let lifetime = lifetime(child, parameters, scale, now);
        let inbound = self.table.install_inbound(&InboundSaRecord {
            spi: child.inbound.spi,
            local: child.local,
            peer_address: child.remote,
            mode,
            encapsulation,
            keys: keys(&child.inbound)?,
            esn: child.suite.esn,
            replay_window: parameters.replay_window,
            selectors,
            policy: parameters.policy,
            peer: None,
            lifetime,
        })?;
        let outbound = keys(&child.outbound).map_err(InstallError::from).and_then(|keys| {
            let record = OutboundSaRecord {
                spi: child.outbound.spi,
                source: child.local,
                destination: child.remote,
                mode,
                encapsulation,
                keys,
                esn: child.suite.esn,
                selectors,
                path_mtu: parameters.path_mtu,
                df: parameters.df,
                dscp: DscpPolicy::Copy,
                policy: parameters.policy,
                peer: Some(inbound),
                lifetime,
            };
            Ok(self.table.install_outbound(&record)?)
        });
        let outbound = match outbound {
            Ok(outbound) => outbound,
            Err(error) => {
                self.table.retire_inbound(inbound)?;
                return Err(error);
            }
        };
        self.table.set_inbound_peer(inbound, Some(outbound))?;
        self.pairs.insert(child.child, Slots { inbound, outbound });
        Ok(())
    }

    /// The fingerprint of the reverse routes that the data plane forwards by.
    pub fn forwarded_reverse_routes(&self) -> u64 {
        self.runtime.reverse_routes()
    }

    /// Counts a change of the kernel's routes or addresses; gives its number.
    pub fn count_kernel_change(&mut self) -> u64 {
        self.table.count_kernel_change()
    }

    /// Whether the data plane forwards by the kernel change of this number.
    pub fn forwards_by(&self, change: u64) -> bool {
        self.runtime.kernel_changes() >= change
    }

    /// Whether everything that was published is in force: in the guard, and in every worker.
    pub fn policy_in_force(&self) -> bool {
        let published = self.table.policy_version();
        self.unpublished.is_none()
            && self.runtime.in_force().version >= published
            && self.table.policy_version_in_force() >= published
    }

    /// The version of the newest publication.
    pub fn policy_version(&self) -> PolicyVersion {
        self.table.policy_version()
    }

    /// Whether the guard covers exactly these devices, by interface index, under the policy in
    /// force.
    pub fn guard_covers(&self, devices: impl IntoIterator<Item = u32>) -> bool {
        self.policy_in_force() && self.runtime.in_force().devices == sa_table::guard::fingerprint(devices)
    }

    /// Sends the flow through a pair, or holds it.
    ///
    /// # Errors
    /// If the table refuses; the flow is then held.
    pub fn bind(&mut self, policy: PolicyId, pair: Option<ChildId>) -> Result<(), TableError> {
        let slot = pair.and_then(|pair| self.pairs.get(&pair)).map(|slots| slots.outbound);
        self.table.set_policy_word(policy, slot)?;
        if slot.is_some() {
            // The data plane withdraws a request when it sends what waited. If nothing waits any
            // more, because it was too old or its process died, the request would stand, and bring
            // a tunnel back as soon as it has idled out.
            self.drop_held(policy);
        }
        Ok(())
    }

    /// The request that stands for this flow has been answered, for better or worse: only a newer
    /// packet counts.
    pub fn drop_held(&mut self, policy: PolicyId) {
        if let Some(request) = self.runtime.acquire(policy) {
            self.answered.insert(policy, request.raised_ms);
        }
    }

    /// Takes a pair out of use. `drains`: packets for the inbound half may be under way for a
    /// while.
    pub fn remove(&mut self, pair: ChildId, drains: bool, now_ms: u64) {
        let Some(slots) = self.pairs.remove(&pair) else { return };
        // Both slots are ours and live as long as they are in `pairs`.
        let _ = self.table.retire_outbound(slots.outbound);
        if drains {
            let _ = self.table.set_inbound_peer(slots.inbound, None);
            self.draining.push((slots.inbound, now_ms + DRAIN));
        } else {
            let _ = self.table.retire_inbound(slots.inbound);
        }
    }

    /// The peer's address or port changed.
    pub fn endpoint_changed(&mut self, pair: ChildId, remote: SocketAddr) {
        if let Some(slots) = self.pairs.get(&pair) {
            let endpoint = PeerEndpoint { address: remote.ip(), port: remote.port() };
            let _ = self.table.set_peer_endpoint(slots.outbound, endpoint);
        }
    }

    /// Where authenticated ESP of a pair came from last, if not from where it was expected.
    pub fn reported_endpoint(&self, pair: ChildId) -> Option<SocketAddr> {
        let stats = self.runtime.inbound(self.pairs.get(&pair)?.inbound)?;
        let endpoint = stats.new_endpoint?.endpoint;
        Some(SocketAddr::new(endpoint.address, endpoint.port))
    }

    /// What was counted for a pair.
    pub fn activity(&self, pair: ChildId) -> Option<Activity> {
        self.activity_of(*self.pairs.get(&pair)?)
    }

    fn activity_of(&self, slots: Slots) -> Option<Activity> {
        let inbound = self.runtime.inbound(slots.inbound)?;
        let outbound = self.runtime.outbound(slots.outbound)?;
        let level = |level| inbound.levels.contains(level) || outbound.levels.contains(level);
        Some(Activity {
            last_heard_ms: inbound.last_heard_ms,
            last_sent_ms: outbound.last_sent_ms,
            packets_in: inbound.packets,
            packets_out: outbound.packets,
            bytes_in: inbound.bytes,
            bytes_out: outbound.bytes,
            verify_failed: inbound.errors(SaErrorKind::Integrity),
            replayed: inbound.errors(SaErrorKind::Replay),
            wrong_selector: inbound.errors(SaErrorKind::Selectors),
            malformed: inbound.errors(SaErrorKind::Malformed),
            soft_limit: level(Level::SoftLimit),
            hard_limit: level(Level::HardLimit) || level(Level::SequenceExhausted),
            new_endpoint: inbound.new_endpoint.is_some(),
        })
    }

    /// The pair that a slot of an event belongs to, in either arena.
    pub fn pair_of(&self, slot: SlotWord, inbound: bool) -> Option<ChildId> {
        let matches = |slots: &Slots| if inbound { slots.inbound == slot } else { slots.outbound == slot };
        self.pairs.iter().find(|(_, slots)| matches(slots)).map(|(pair, _)| *pair)
    }

    /// Policies for which traffic asks and that have no SA; a request that was answered counts
    /// again when it is renewed. One that the data plane has withdrawn is forgotten.
    pub fn acquires(&mut self) -> Vec<(PolicyId, FiveTuple)> {
        let runtime = &self.runtime;
        self.answered.retain(|policy, _| runtime.acquire(*policy).is_some());
        let unanswered = |policy: &PolicyId| {
            let request = self.runtime.acquire(*policy).filter(|request| {
                self.answered.get(policy).is_none_or(|answered| request.raised_ms > *answered)
            })?;
            self.table.policy_word(*policy).is_none().then_some((*policy, request.flow))
        };
        self.numbers.values().filter_map(unanswered).collect()
    }

    /// Publishes ports, rules and filters. If a worker still reads the arena that has to be filled,
    /// [`Tables::tick`] tries again.
    ///
    /// # Errors
    /// If the rules do not fit; the previous ones stay in force.
    pub fn publish(
        &mut self,
        ports: &[PortRecord],
        rules: &[Vec<Rule>],
        filters: &Filters,
    ) -> Result<(), TableError> {
        match self.table.publish_filtered_policy(ports, rules, filters) {
            Ok(version) => {
                self.published.add(version, ports, filters);
                self.unpublished = None;
                self.give_back();
                Ok(())
            }
            Err(TableError::ArenaBusy) => {
                self.unpublished = Some((ports.to_vec(), rules.to_vec(), filters.clone()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether [`Tables::publish`] would take these ports, rules and filters.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn check(
        &self,
        ports: &[PortRecord],
        rules: &[Vec<Rule>],
        filters: &Filters,
    ) -> Result<(), TableError> {
        self.table.check_policy(ports, rules, filters)
    }

    /// How much the table holds.
    pub fn capacities(&self) -> &Capacities {
        self.table.capacities()
    }

    /// How many policies can be numbered now; one that was given back counts when every worker has
    /// left its rules.
    pub fn free_policies(&self) -> usize {
        self.table.free_policies()
    }

    /// What the numbers in reports of the data plane stand for.
    pub fn published(&self) -> &PublishedNames {
        &self.published
    }

    /// Policies outside of `keep` are given back as soon as the rules that name them are out of
    /// force.
    pub fn forget_policies(&mut self, keep: impl Fn(PolicyId) -> bool) {
        let gone: Vec<PolicyKey> =
            self.numbers.iter().filter(|(_, id)| !keep(**id)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.surplus.extend(self.numbers.remove(&key));
        }
        if self.unpublished.is_none() {
            self.give_back();
        }
    }

    /// Ends what has drained, erases keys that every worker has left, and repeats a publication
    /// that had to wait.
    pub fn tick(&mut self, now_ms: u64) {
        let (over, rest) =
            std::mem::take(&mut self.draining).into_iter().partition(|(_, until)| now_ms >= *until);
        self.draining = rest;
        let over: Vec<(SlotWord, u64)> = over;
        for (slot, _) in over {
            let _ = self.table.retire_inbound(slot);
        }
        self.table.collect(now_ms);
        if let Some((ports, rules, filters)) = self.unpublished.take() {
            // What is too large was refused when it came; here only the waiting is repeated.
            let _ = self.publish(&ports, &rules, &filters);
        }
    }

    /// How much of the table is in use.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            free: self.table.free_slots(),
            pairs: self.pairs.len(),
            draining: self.draining.len(),
            policies: self.numbers.len(),
            surplus: self.surplus.len(),
            answered: self.answered.len(),
        }
    }

    /// Whether another control plane has taken the table over; this one must stop then.
    pub fn is_current(&self) -> bool {
        self.table.is_current()
    }

    fn give_back(&mut self) {
        for policy in std::mem::take(&mut self.surplus) {
            let _ = self.table.retire_policy(policy);
            self.answered.remove(&policy);
        }
    }
}

impl PolicyNumbers for Tables {
    fn number(&mut self, key: &PolicyKey) -> Option<PolicyId> {
        if let Some(id) = self.numbers.get(key) {
            return Some(*id);
        }
        let id = self.table.allocate_policy().ok()?;
        self.numbers.insert(key.clone(), id);
        Some(id)
    }
}

#[cfg(test)]
mod tests;
