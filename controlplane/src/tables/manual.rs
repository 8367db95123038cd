//! Hand-keyed SA pairs (`ipsec-manual`). They are never rekeyed and stay as long as the
//! configuration is unchanged.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sa_table::{
    DscpPolicy, Encapsulation, InboundSaRecord, KeyMaterial, Lifetime, OutboundSaRecord, PolicyId, Selectors,
    SlotWord,
};

use super::records::{algorithm, selectors};
use super::{Activity, InstallError, PairParameters, Slots, Tables};
use crate::plan::PolicyKey;
use config::effective_ike::ManualParameters;

/// An installed pair and its parameters.
#[derive(Clone, Debug)]
pub(super) struct ManualPair {
    slots: Slots,
    inbound: InboundSaRecord,
    outbound: OutboundSaRecord,
}

/// A configured hand-keyed pair.
#[derive(Debug)]
pub struct ManualRequest<'a> {
    /// The permit.
    pub permit: &'a PolicyKey,
    /// The entry's parameters.
    pub parameters: &'a ManualParameters,
    /// Algorithms.
    pub suite: ike::EspSuite,
    /// Tunnel or transport.
    pub mode: ike::Mode,
    /// Local address.
    pub local: IpAddr,
    /// Parameters common to hand-keyed and negotiated pairs.
    pub pair: PairParameters,
}

impl Tables {
    /// Installs the hand-keyed pair of a policy as requested and sends the flow through it. An
    /// identical pair stays with its sequence numbers; otherwise the old one is removed first,
    /// since both may use the same SPI. Returns `true` for a new pair.
    ///
    /// # Errors
    /// There is no pair then, and the flow is held.
    pub fn set_manual(&mut self, request: &ManualRequest<'_>, now_ms: u64) -> Result<bool, InstallError> {
        let policy = request.pair.policy;
        let (inbound, outbound) = records(request)?;
        if let Some(standing) = self.manual.get(&policy)
            && same(standing, &inbound, &outbound)
        {
            return Ok(false);
        }
        self.remove_manual(policy, now_ms);
        let inbound_slot = self.table.install_inbound(&inbound)?;
        let outbound = OutboundSaRecord { peer: Some(inbound_slot), ..outbound };
        let outbound_slot = match self.table.install_outbound(&outbound) {
            Ok(slot) => slot,
            Err(error) => {
                self.table.retire_inbound(inbound_slot)?;
                return Err(error.into());
            }
        };
        self.table.set_inbound_peer(inbound_slot, Some(outbound_slot))?;
        let slots = Slots { inbound: inbound_slot, outbound: outbound_slot };
        self.manual.insert(policy, ManualPair { slots, inbound, outbound });
        self.table.set_policy_word(policy, Some(outbound_slot))?;
        self.drop_held(policy);
        Ok(true)
    }

    /// Retires the hand-keyed pair of a policy; the flow is held.
    pub fn remove_manual(&mut self, policy: PolicyId, now_ms: u64) {
        let Some(pair) = self.manual.remove(&policy) else { return };
        // All slots belong to this control plane as long as they are in `manual`.
        let _ = self.table.set_policy_word(policy, None);
        let _ = self.table.retire_outbound(pair.slots.outbound);
        let _ = self.table.retire_inbound(pair.slots.inbound);
        self.table.collect(now_ms);
    }

    /// Finds the hand-keyed pairs of a previous control plane, recognised by having neither a
    /// replay window nor a lifetime. A pair that is still configured continues with its sequence
    /// numbers.
    pub(super) fn find_manual(&mut self, kept: &BTreeSet<PolicyId>) {
        let slots: Vec<SlotWord> = self.table.live_outbound().collect();
        for slot in slots {
            let pair = self.table.outbound_record(slot).and_then(|outbound| {
                let inbound_slot = outbound.peer?;
                let inbound = self.table.inbound_record(inbound_slot)?;
                let unlimited = Lifetime::default();
                let is_manual = inbound.replay_window == 0
                    && !outbound.esn
                    && (inbound.lifetime, outbound.lifetime) == (unlimited, unlimited)
                    && inbound.policy == outbound.policy
                    && kept.contains(&outbound.policy);
                let slots = Slots { inbound: inbound_slot, outbound: slot };
                is_manual.then_some(ManualPair { slots, inbound, outbound })
            });
            if let Some(pair) = pair {
                self.manual.insert(pair.outbound.policy, pair);
            }
        }
    }

    /// Inbound and outbound slots of the hand-keyed pairs.
    pub(super) fn manual_slots(&self) -> impl Iterator<Item = (SlotWord, SlotWord)> {
        self.manual.values().map(|pair| (pair.slots.inbound, pair.slots.outbound))
    }

    /// The policies that have a hand-keyed pair.
    pub fn manual_policies(&self) -> Vec<PolicyId> {
        self.manual.keys().copied().collect()
    }

    /// The counters of the hand-keyed pair of a policy.
    pub fn manual_activity(&self, policy: PolicyId) -> Option<Activity> {
        self.activity_of(self.manual.get(&policy)?.slots)
    }

    /// Whether a slot belongs to a hand-keyed pair.
    pub(super) fn is_manual(&self, slot: SlotWord) -> bool {
        self.manual.values().any(|pair| pair.slots.inbound == slot || pair.slots.outbound == slot)
    }
}

fn records(request: &ManualRequest<'_>) -> Result<(InboundSaRecord, OutboundSaRecord), InstallError> {
    let ManualRequest { permit, parameters, suite, mode, local, pair } = request;
    let algorithm = algorithm(suite).ok_or(InstallError::Algorithm)?;
    let selectors: Selectors = selectors(&permit.local, &permit.remote).ok_or(InstallError::Selectors)?;
    let keys = |key: &config::effective_ike::ManualKey| {
        KeyMaterial::new(algorithm, &key.cipher, &key.authenticator, &[])
    };
    let inbound = InboundSaRecord {
        spi: parameters.inbound.spi,
        local: *local,
        peer_address: parameters.peer,
        mode: *mode,
        encapsulation: Encapsulation::None,
        keys: keys(&parameters.inbound)?,
        esn: false,
        replay_window: 0,
        selectors,
        policy: pair.policy,
        peer: None,
        lifetime: Lifetime::default(),
    };
    let outbound = OutboundSaRecord {
        spi: parameters.outbound.spi,
        source: *local,
        destination: parameters.peer,
        mode: *mode,
        encapsulation: Encapsulation::None,
        keys: keys(&parameters.outbound)?,
        esn: false,
        selectors,
        path_mtu: pair.path_mtu,
        df: pair.df,
        dscp: DscpPolicy::Copy,
        policy: pair.policy,
        peer: None,
        lifetime: Lifetime::default(),
    };
    Ok((inbound, outbound))
}

fn same(standing: &ManualPair, inbound: &InboundSaRecord, outbound: &OutboundSaRecord) -> bool {
    let alone = |record: &InboundSaRecord| InboundSaRecord { peer: None, ..record.clone() };
    alone(&standing.inbound) == *inbound
        && OutboundSaRecord { peer: None, ..standing.outbound.clone() } == *outbound
}
