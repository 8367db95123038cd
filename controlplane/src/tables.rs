//! SA pairs in the shared table: what is written, and in which order.
//!
//! For a new pair: first the inbound record and SPI, so that packets of the peer are accepted, then
//! the outbound record, then the policy word, which sends the flow through the pair. For an old
//! pair: first the policy word, then the outbound slot; a replaced inbound slot is kept for
//! [`DRAIN`], since packets may be in flight. The table erases keys when every worker has announced
//! that it no longer uses them.

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

/// How long a replaced inbound SA continues to receive, in real milliseconds.
pub const DRAIN: u64 = 5_000;

/// Parameters of an entry's SA pairs.
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
    /// The parameters of `entry` for one of its permits.
    pub fn of(entry: &Entry, policy: PolicyId) -> Self {
        Self::new(&entry.ipsec, policy, entry.mtu)
    }

    /// The parameters of `ipsec` for one permit.
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
    /// The table does not support the algorithm.
    #[error("the agreed algorithms make no ESP: a cipher without its own integrity needs an HMAC")]
    Algorithm,
    /// The keying material has the wrong length.
    #[error("keying material: {0}")]
    Keys(#[from] KeyLengthError),
    /// Too many selectors.
    #[error("more selectors than an SA record holds; permit fewer ranges in one line")]
    Selectors,
    /// The table returned an error.
    #[error("SA table: {0}")]
    Table(#[from] TableError),
}

/// Counters and states of a pair, maintained by the data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Last authenticated inbound packet in unscaled milliseconds, 0 for never.
    pub last_heard_ms: u64,
    /// Last outbound packet in unscaled milliseconds, 0 for never.
    pub last_sent_ms: u64,
    /// Decrypted packets.
    pub packets_in: u64,
    /// Encrypted packets.
    pub packets_out: u64,
    /// Decrypted octets.
    pub bytes_in: u64,
    /// Encrypted octets.
    pub bytes_out: u64,
    /// Packets with a wrong ICV.
    pub verify_failed: u64,
    /// Replayed packets, or packets older than the window.
    pub replayed: u64,
    /// Packets whose inner headers do not match the selectors.
    pub wrong_selector: u64,
    /// Packets with malformed ESP.
    pub malformed: u64,
    /// The soft limit by volume or sequence is reached.
    pub soft_limit: bool,
    /// The hard limit is reached; the data plane no longer uses the pair.
    pub hard_limit: bool,
    /// Authenticated ESP-in-UDP came from another address or port.
    pub new_endpoint: bool,
}

impl Activity {
    /// Packets in both directions.
    pub fn packets(&self) -> u64 {
        self.packets_in + self.packets_out
    }
}

/// Usage of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Free inbound and outbound slots.
    pub free: (usize, usize),
    /// Slots of SA pairs in service.
    pub pairs: usize,
    /// Inbound slots being drained.
    pub draining: usize,
    /// Policies in use.
    pub policies: usize,
    /// Policies to be freed.
    pub surplus: usize,
    /// Answered acquire requests that are remembered.
    pub answered: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slots {
    inbound: SlotWord,
    outbound: SlotWord,
}

/// The control plane's access to the table and runtime segments.
pub struct Tables {
    table: TableWriter,
    runtime: RuntimeReader,
    pairs: BTreeMap<ChildId, Slots>,
    /// Hand-keyed pairs.
    manual: BTreeMap<PolicyId, ManualPair>,
    numbers: BTreeMap<PolicyKey, PolicyId>,
    /// Policies that are freed once rules without them are published.
    surplus: BTreeSet<PolicyId>,
    /// Inbound slots being drained, and until when (unscaled milliseconds).
    draining: Vec<(SlotWord, u64)>,
    /// For each policy, the time of the last acquire request that was answered.
    answered: BTreeMap<PolicyId, u64>,
    /// A publication for which the workers were not ready.
    unpublished: Option<(Vec<PortRecord>, Vec<Vec<Rule>>, Filters)>,
    published: PublishedNames,
}

impl Tables {
    /// The policy IDs, for the checkpoint.
    pub fn numbers(&self) -> impl Iterator<Item = (&PolicyKey, PolicyId)> {
        self.numbers.iter().map(|(key, id)| (key, *id))
    }

    /// The slots of a pair, inbound and outbound, for the checkpoint.
    pub fn slots(&self, pair: ChildId) -> Option<(SlotWord, SlotWord)> {
        self.pairs.get(&pair).map(|slots| (slots.inbound, slots.outbound))
    }

    /// Installs a pair, inbound first. It carries no traffic until [`Tables::bind`] is called.
    ///
    /// # Errors
    /// Nothing is installed in this case.
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

    /// Fingerprint of the reverse routes that the data plane uses.
    pub fn forwarded_reverse_routes(&self) -> u64 {
        self.runtime.reverse_routes()
    }

    /// Counts a change of the kernel's routes or addresses; returns its number.
    pub fn count_kernel_change(&mut self) -> u64 {
        self.table.count_kernel_change()
    }

    /// Whether the data plane uses the kernel state as of this change.
    pub fn forwards_by(&self, change: u64) -> bool {
        self.runtime.kernel_changes() >= change
    }

    /// Whether the last publication is in force in the guard and in every worker.
    pub fn policy_in_force(&self) -> bool {
        let published = self.table.policy_version();
        self.unpublished.is_none()
            && self.runtime.in_force().version >= published
            && self.table.policy_version_in_force() >= published
    }

    /// The version of the last publication.
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
    /// If the table returns an error; the flow is then held.
    pub fn bind(&mut self, policy: PolicyId, pair: Option<ChildId>) -> Result<(), TableError> {
        let slot = pair.and_then(|pair| self.pairs.get(&pair)).map(|slots| slots.outbound);
        self.table.set_policy_word(policy, slot)?;
        if slot.is_some() {
            // The data plane withdraws an acquire request when it sends the held packets. If none
            // are held any more, because they expired or the worker was restarted, the request
            // would remain set and bring up a tunnel again as soon as the current one idles out.
            self.drop_held(policy);
        }
        Ok(())
    }

    /// Marks the acquire request of this flow as answered, whether it succeeded or not: only a
    /// newer packet counts as a request.
    pub fn drop_held(&mut self, policy: PolicyId) {
        if let Some(request) = self.runtime.acquire(policy) {
            self.answered.insert(policy, request.raised_ms);
        }
    }

    /// Retires a pair. With `drains`, the inbound half continues to receive packets in flight for
    /// [`DRAIN`].
    pub fn remove(&mut self, pair: ChildId, drains: bool, now_ms: u64) {
        let Some(slots) = self.pairs.remove(&pair) else { return };
        // Both slots belong to this control plane as long as they are in `pairs`.
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

    /// The source of a pair's last authenticated ESP, if it differs from the expected one.
    pub fn reported_endpoint(&self, pair: ChildId) -> Option<SocketAddr> {
        let stats = self.runtime.inbound(self.pairs.get(&pair)?.inbound)?;
        let endpoint = stats.new_endpoint?.endpoint;
        Some(SocketAddr::new(endpoint.address, endpoint.port))
    }

    /// The counters of a pair.
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

    /// The pair of a slot in an event, inbound or outbound.
    pub fn pair_of(&self, slot: SlotWord, inbound: bool) -> Option<ChildId> {
        let matches = |slots: &Slots| if inbound { slots.inbound == slot } else { slots.outbound == slot };
        self.pairs.iter().find(|(_, slots)| matches(slots)).map(|(pair, _)| *pair)
    }

    /// Policies with an acquire request and without an SA. An answered request counts again when it
    /// is renewed. Requests that the data plane has withdrawn are removed.
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

    /// Publishes ports, rules and filters. If a worker still reads the arena that has to be
    /// written, [`Tables::tick`] tries again.
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

    /// Whether [`Tables::publish`] would accept these ports, rules and filters.
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

    /// The capacities of the table.
    pub fn capacities(&self) -> &Capacities {
        self.table.capacities()
    }

    /// The number of free policy IDs. A freed ID is included once every worker has left the rules
    /// that used it.
    pub fn free_policies(&self) -> usize {
        self.table.free_policies()
    }

    /// The names for the numbers in reports of the data plane.
    pub fn published(&self) -> &PublishedNames {
        &self.published
    }

    /// Frees policies outside of `keep` as soon as the rules that use them are no longer in force.
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

    /// Retires drained slots, erases keys that no worker uses any more, and repeats a delayed
    /// publication.
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
            // A publication that is too large was rejected at the first attempt; this only repeats
            // the delayed one.
            let _ = self.publish(&ports, &rules, &filters);
        }
    }

    /// Usage of the table.
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

    /// Whether this control plane still owns the table; otherwise it must stop.
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
